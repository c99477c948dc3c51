"A card whose candidates are one file for all languages, as Mewsli-X has them: what is read, how it is scored, and what is refused."
import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from xlt.cli.main import main
from xlt.common.errors import XltError
from xlt.data.door import load, sample_queries, why_missing
from xlt.data.files import Files
from xlt.models import retrieval_evaluation
from xlt.models.retrieval_evaluation import evaluate_retrieval
from xlt.runs import planning
from xlt.runs.config import read_card, read_cards
from xlt.runs.graph import runs
from xlt.runs.params import Study
from xlt.tasks.cards import TASKS
from xlt.tasks.own import decides

FILES = dict(format='jsonl', path='mewslix/{language}/test.jsonl', columns=dict(id='id', text='text', answer='entity'),
             candidates=dict(path='mewslix/candidates.jsonl', columns=dict(id='entity', text='description')))
CARD = dict(task='mewsli_x', kind='retrieval', pooled=True, languages='de tr', metric='map_at_20', licence='CC0',
            citation='https://arxiv.org/abs/2104.07412', files=FILES)
POOL = [('Q64', 'Hauptstadt Deutschlands'), ('Q90', 'capital of France'), ('Q406', 'Türkiye’nin en kalabalık şehri'), (220, 'capital de Italia')]
MENTIONS = {'de': [(1, 'Sie wohnt in Berlin.', 'Q64'), (2, 'Er fuhr nach Rom.', 220)], 'tr': [(1, 'İstanbul kalabalık.', 'Q406'), (2, 'Paris’e gitti.', 'Q90')]}


@pytest.fixture(autouse=True)
def only_built_in():
    "What a test registers is gone after it."
    before = dict(TASKS)
    yield
    TASKS.clear()
    TASKS.update(before)


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv('XLT_ROOT', str(tmp_path))
    monkeypatch.delenv('XLT_FILES', raising=False)
    return tmp_path


def put(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(json.dumps(r) + '\n' for r in rows), encoding='utf-8')
    return path


def put_pool(data: Path, pool=POOL) -> Path:
    return put(data / 'mewslix/candidates.jsonl', [dict(entity=id, description=text) for id, text in pool])


@pytest.fixture
def data(root) -> Path:
    for code, rows in MENTIONS.items(): put(root / f'data/mewslix/{code}/test.jsonl', [dict(zip(('id', 'text', 'entity'), r)) for r in rows])
    put_pool(root / 'data')
    return root / 'data'


def card(root: Path, **changed) -> Path:
    path = root / 'mewsli.yaml'
    path.write_text(yaml.safe_dump({k: v for k, v in (CARD | changed).items() if v is not None}, sort_keys=False), encoding='utf-8')
    return path


def source(root: Path, data: Path, **changed) -> Files:
    read_cards([card(root, **changed)])
    return Files(folder=str(data))


def study(root: Path, data: Path, **changed) -> Path:
    asked = dict(study='own', cards=['mewsli.yaml'], source=dict(kind='files', folder=str(data)), encoder=dict(kind='scratch', layers=1, hidden=16),
                 intermediates=['mnli'], targets=['mewsli_x'], retrieval=dict(layer=1), analysis=dict(groups='median'))
    path = root / 'own.yaml'
    path.write_text(yaml.safe_dump(asked | changed), encoding='utf-8')
    mnli = data / 'mnli/rows.csv'
    mnli.parent.mkdir(exist_ok=True)
    mnli.write_text('label,text,assertion\n' + ''.join(f'{("entailment", "neutral", "contradiction")[i % 3]},Premise number {i}.,Hypothesis {i}.\n' for i in range(12)))
    return path


# ---- what is read

def test_mentions_and_candidates_are_read(root, data):
    files = source(root, data)
    assert files.languages('mewsli_x') == ['de', 'tr'] and why_missing(files, 'mewsli_x') is None
    assert load(files, 'mewsli_x', 'test', 'de').to_list() == [
        dict(id='de:1', side='question', text='Sie wohnt in Berlin.', matches=['Q64']), dict(id='de:2', side='question', text='Er fuhr nach Rom.', matches=['220'])]
    pool = load(files, 'mewsli_x', 'candidates', 'en').to_list()
    assert [(r['id'], r['text']) for r in pool] == [(str(id), text) for id, text in POOL] and {r['side'] for r in pool} == {'answer'}
    assert [s['id'] for s in (sample_queries(load(files, 'mewsli_x', 'test', c), 1) for c in MENTIONS)] in ([['de:1'], ['tr:1']], [['de:2'], ['tr:2']]), 'the same items of all languages'
    assert any('the candidates are those of mewslix/candidates.jsonl' in note for note in files.notes('mewsli_x'))


def test_a_table_without_a_header_is_read_alike(root, data):
    wanted = [load(source(root, data), 'mewsli_x', *which).to_list() for which in (('test', 'tr'), ('candidates', 'en'))]
    (data / 'tr').write_text(''.join('\t'.join(map(str, r)) + '\n' for r in MENTIONS['tr']), encoding='utf-8')
    (data / 'pool').write_text(''.join(f'{text}\t{id}\n' for id, text in POOL), encoding='utf-8')
    files = source(root, data, files=dict(format='tsv', path='{language}', columns=dict(id=1, text=2, answer=3), candidates=dict(path='pool', columns=dict(id=2, text=1))))
    assert [load(files, 'mewsli_x', *which).to_list() for which in (('test', 'tr'), ('candidates', 'en'))] == wanted


# ---- how it is scored

VECTORS = {'Hauptstadt Deutschlands': 0, 'capital of France': 80, 'Türkiye’nin en kalabalık şehri': 180, 'capital de Italia': 20,
           'Sie wohnt in Berlin.': 1, 'Er fuhr nach Rom.': 5, 'İstanbul kalabalık.': 30, 'Paris’e gitti.': 79}  # degrees


@pytest.fixture
def embedded(monkeypatch) -> list:
    "An encoder that turns texts into the directions above; the lists of texts that it has read."
    read = []
    def embed(model, tokenizer, texts, *how, **settings):
        read.append(list(texts))
        angles = np.radians([VECTORS[t] for t in texts])
        return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    monkeypatch.setattr(retrieval_evaluation, 'embed', embed)
    return read


def test_scores_by_hand(root, data, embedded):
    "Ranks of the right entity: de 1 and 2, tr 4 and 1. Mentions of two languages have the same numbers."
    files = source(root, data)
    scores, kept = evaluate_retrieval(files, TASKS['mewsli_x'], None, None, 1, 64, 4, ['de', 'tr'])
    assert {r['language']: (r['metric'], r['n'], pytest.approx(r['score'])) for r in scores} == {
        'de': ('map_at_20', 2, 100 * (1 + 1 / 2) / 2), 'tr': ('map_at_20', 2, 100 * (1 / 4 + 1) / 2)}
    assert kept.correct.tolist() == pytest.approx([1, 1 / 2, 1 / 4, 1])
    assert [len(texts) for texts in embedded].count(len(POOL)) == 1, 'candidates are embedded once for all languages'


def test_kept_scores_are_those_of_the_same_candidates(root, data, embedded, monkeypatch):
    class Model: config = None
    monkeypatch.setattr(retrieval_evaluation, 'evaluate_languages', lambda languages, one, keep, model: [one(c)[0] for c in languages])
    files = source(root, data)
    def said(): return evaluate_retrieval(files, TASKS['mewsli_x'], None, None, 1, 64, 4, ['de'], keep=root / 'kept')
    before = said()
    assert said() == before
    put_pool(data, [*POOL[:3], (220, 'capital de Italia y del Lacio')])
    assert said() != before


# ---- fingerprints

def test_candidates_decide_the_runs_that_rank_them_and_no_others(root, data):
    data = Path(os.path.abspath(data))
    (data / 'mewslix').rename(root / 'beside')
    card(root, files=FILES | dict(path='../beside/{language}/test.jsonl', candidates=FILES['candidates'] | dict(path='../beside/candidates.jsonl')))
    path = study(root, data, encoder=dict(kind='pretrained', name='some/encoder', revision='0' * 40))  # one from scratch reads text without them
    def prints(): return {r.name: r.fingerprint for r in runs(Study.read(path))}
    before, digest = prints(), Files(folder=str(data)).card_digest('mewsli_x')
    put(root / 'beside/candidates.jsonl', [dict(entity=id, description=f'{text}.') for id, text in POOL])
    now = prints()
    assert Files(folder=str(data)).card_digest('mewsli_x') != digest
    assert {n for n in now if now[n] != before[n]} - {'report'} == {n for n in now if '--mewsli_x--' in n} != set()


def test_what_other_cards_decide_is_what_it_was(root):
    paired = read_card(card(root, pooled=None, metric=None, files=dict(format='tsv', path='{language}.tsv', columns=dict(foreign='f', english='e'))))
    assert json.dumps(decides(paired)) == (
        '{"name": "mewsli_x", "kind": "retrieval", "metrics": ["accuracy"], "labels": null, "train_on": null, "entities": false, "normaliser": "english", "no_answer": false, '
        '"choices": 1, "files": {"format": "tsv", "path": ["{language}.tsv"], "english": "", "splits": {}, "columns": {"foreign": "f", "english": "e"}, "names": {}, '
        '"separator": null, "incomplete": "refuse", "relabel": {}}, "hub": null}')
    pooled = decides(read_card(card(root)))
    assert pooled['pooled'] is True and pooled['files']['candidates'] == FILES['candidates']


def test_a_plan_counts_the_candidates(root, data):
    card(root)
    read = Study.read(study(root, data))
    few = planning.to_test(read, 'mewsli_x')
    put_pool(data, [*POOL, *((f'Q{i}0000', 'a town') for i in range(100))])
    n, size = planning.data_size(read, 'mewsli_x', 'candidates', 'en')
    assert main(['plan', str(root / 'own.yaml')]) == 0 and n == 104 and planning.to_test(read, 'mewsli_x') > few + 90 * size / 2


# ---- what is refused

@pytest.mark.parametrize('changed, said', [
    (dict(pooled=None, metric=None), 'files.candidates is only for pooled retrieval'),
    (dict(kind='classification', labels=['a', 'b'], metric=None), 'pooled is only for retrieval, and this task is of kind classification'),
    (dict(metric='accuracy'), "metric is 'accuracy'; pooled retrieval has map_at_20"),
    (dict(files={k: v for k, v in FILES.items() if k != 'candidates'}), 'files.candidates is missing'),
    (dict(files=FILES | dict(columns=dict(text='text'))), 'files.columns.answer is missing; pooled retrieval needs text, answer'),
    (dict(files=FILES | dict(columns=dict(foreign='text', answer='entity'))), 'files.columns.foreign is unknown; choose from text, answer, id, language'),
    (dict(files=FILES | dict(format='lines', english='x')), "files.format is 'lines', but pooled retrieval is read from format: tsv or csv or jsonl"),
    (dict(files=FILES | dict(candidates=dict(path='pool/{language}.jsonl', columns=FILES['candidates']['columns']))), 'files.candidates.path: {language} is not allowed'),
    (dict(files=FILES | dict(candidates=dict(path='pool*.jsonl', columns=FILES['candidates']['columns']))), 'files.candidates.path: * is not allowed'),
    (dict(files=FILES | dict(candidates=dict(path='**pool.jsonl', columns=FILES['candidates']['columns']))), 'files.candidates.path: * is not allowed'),
    (dict(files=FILES | dict(candidates=dict(path='/pool.jsonl', columns=FILES['candidates']['columns']))), "files.candidates.path is '/pool.jsonl', but it must be relative to the folder"),
    (dict(files=FILES | dict(candidates=dict(path='', columns=FILES['candidates']['columns']))), "files.candidates.path is '', but it must name a file"),
    (dict(files=FILES | dict(candidates=dict(path='pool.jsonl', columns=dict(id='entity')))), 'files.candidates.columns.text is missing; a candidate needs id, text'),
    (dict(files=FILES | dict(candidates=dict(path='pool.jsonl', columns=dict(id='e', text='d', lang='l')))), 'files.candidates.columns.lang is unknown; choose from id, text'),
    (dict(files=FILES | dict(candidates=dict(path='pool.jsonl', colums={}))), 'files.candidates.colums is unknown'),
    (dict(train_on='mnli'), 'train_on: retrieval is not trained'),
])
def test_what_is_wrong_in_a_card_is_said_with_its_line(root, changed, said):
    path = card(root, **changed)
    with pytest.raises(XltError) as e: read_card(path)
    line = next(m for m in str(e.value).splitlines() if said in m)
    assert line.startswith('mewsli.yaml:')


@pytest.mark.parametrize('pool, said', [
    ([], 'candidates.jsonl: holds no candidates'),
    (POOL[1:], "de/test.jsonl:1: the answer of '1' is 'Q64', which is no id of "),
    ([*POOL, ('Q90', 'the city of light')], "candidates.jsonl:5: id 'Q90' is that of line 2 already"),
    ([*POOL, ('Q1', ' ')], 'candidates.jsonl:5: no text'),
    ([*POOL, (None, 'nothing')], 'candidates.jsonl:5: no id'),
    (None, 'has no candidates for mewsli_x; expected mewslix/candidates.jsonl'),
])
@pytest.mark.parametrize('command', ['plan', 'run'])
def test_candidates_that_cannot_be_used_are_refused_before_a_study_begins(root, data, capsys, pool, said, command):
    card(root)
    if pool is None: (data / 'mewslix/candidates.jsonl').unlink()
    else: put_pool(data, pool)
    assert main([command, str(study(root, data))]) == 2
    told = capsys.readouterr().err
    assert said in told and len(told.strip().splitlines()) == 1 and not list(root.glob('runs/*/encoder'))


@pytest.mark.parametrize('row, said', [
    (dict(id=3, text='Ohne Antwort.'), "test.jsonl:1: no column 'entity' for files.columns.answer"),
    (dict(id=3, text='Ohne Antwort.', entity=None), 'test.jsonl:1: no answer'),
    (dict(id=3, text='', entity='Q64'), 'test.jsonl:1: no text'),
])
def test_mentions_without_an_answer_are_refused(root, data, row, said):
    put(data / 'mewslix/de/test.jsonl', [row])
    with pytest.raises(XltError) as e: load(source(root, data), 'mewsli_x', 'test', 'de')
    assert said in str(e.value)


def test_a_candidate_without_its_column_is_named(root, data):
    put(data / 'mewslix/candidates.jsonl', [dict(entity='Q64', descr='x')])
    with pytest.raises(XltError, match="candidates.jsonl:1: no column 'description' .*for files.candidates.columns.text"): load(source(root, data), 'mewsli_x', 'test', 'de')


def test_a_corrected_file_of_candidates_is_read_anew(root, data):
    put_pool(data, POOL[1:])
    files = source(root, data)
    with pytest.raises(XltError, match='which is no id'): load(files, 'mewsli_x', 'test', 'de')
    put_pool(data)
    assert len(load(files, 'mewsli_x', 'test', 'de')) == 2
