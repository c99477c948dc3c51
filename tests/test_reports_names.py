"A real report on a study whose names do something where they are not escaped: the encoder's folder, languages that are gone, leaked texts."
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from machine import FILE, play
from nbconvert import HTMLExporter
from safetensors.numpy import save_file
from test_pack import answer

from xlt.reporting.api import execute_notebook
from xlt.runs.params import Study
from xlt.runs.worker import begin
from xlt.runs.store import note_languages
from xlt.runs.graph import runs

ODD = '<img src=x onerror=alert(1)> *b* | $x$ `c` [d](e)'


class Reader(HTMLParser):
    "The tags and the words of a page."
    def __init__(self):
        super().__init__()
        self.tags, self.words, self.skip = [], '', False
    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.skip = tag in ('script', 'style')
    def handle_endtag(self, tag): self.skip = False
    def handle_data(self, data): self.words += data * (not self.skip)


@pytest.fixture
def odd(checkout, monkeypatch) -> Study:
    "A study that has all its results; its encoder is a folder of an odd name."
    monkeypatch.chdir(checkout)
    place = checkout / ODD
    place.mkdir()
    (place / 'config.json').write_text(json.dumps({'model_type': 'xlm-roberta', 'num_hidden_layers': 2, 'max_position_embeddings': 130}))
    (place / 'tokenizer.json').write_text('{}')
    save_file({'embeddings.word_embeddings.weight': pd.Series([1.]).to_numpy()}, place / 'model.safetensors')
    given = {'kind': 'folder', 'path': f'../{ODD}'}
    Path(FILE).write_text(f'study: tiny\nsource: {{kind: lab, seed: 1}}\nencoder: {json.dumps(given)}\nintermediates: [mnli]\n'
                          'targets: [xquad, tatoeba]\nretrieval: {layer: 1}\nanalysis: {resource: corpus_sentences}\n')
    study = Study.read(FILE)
    play('encoder')
    begin(study, 'intermediate', 'mnli').finish(leakage=[{'read_by': ODD, 'target': 'xquad', 'language': 'qab', 'items': 9, 'touched': 1, 'percent': 11.,
                                                          'removed': 0, 'short': 0, 'example': '=HYPERLINK("http://x")'}])
    for run in runs(study):
        if run.phase == 'pair': answer(begin(study, 'pair', run.intermediate, run.target, run.seed))
    note_languages(study)
    note = Path('runs/tiny/languages.json')
    noted = json.loads(note.read_text())
    noted['targets']['xquad'].append(ODD)
    note.write_text(json.dumps(noted))
    return study


def test_a_study_of_odd_names(odd, repo, checkout):
    notebook = nbformat.read(repo / 'nbs/study/report.ipynb', 4)
    parameters = next(c for c in notebook.cells if 'parameters' in c.metadata.get('tags', []))
    parameters.source = f"study = '{FILE}'"
    page, _ = HTMLExporter(exclude_input=True).from_notebook_node(execute_notebook(notebook, checkout))
    reader = Reader()
    reader.feed(page)
    assert [t for t in reader.tags if 'onerror' in t[1] or t[1].get('src') == 'x' or t[1].get('href') == 'e'] == []
    words = re.sub(r'\s+', ' ', reader.words)
    assert words.count(f'xquad lacks {ODD}, in which') == 1 and f'path {ODD}' in words, 'shown as they are'
    assert words.count(ODD) >= 3, 'in the table of leaked texts, too'
    leaked = pd.read_csv('reports/tiny/leakage.csv')
    assert leaked.example.tolist() == ["'=HYPERLINK(\"http://x\")"]
