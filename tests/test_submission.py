"Submission folders: XTREME's own example goes through a study's predictions and comes out with its official scores."
import json
import os
from pathlib import Path

import pandas as pd
import pytest
from machine import tuned_model

import xlt.paper.submission as module
from xlt.data.files import Files
from xlt.data.examples import dataset
from xlt.data.hub_pins import CHECKPOINTS
from xlt.common.errors import XltError
from xlt.models.submissions import id_pairs, label_lines, score_submission, tag_sentences
from xlt.runs.params import Study
from xlt.runs.worker import begin
from xlt.data.door import load
from xlt.paper.submission import submitted_tasks, prediction_lines, write_submission, numbered_lines
from xlt.tasks.cards import TARGET

NAME = 'FacebookAI/xlm-roberta-large'
REVISION = CHECKPOINTS[NAME]


def make_study(project, **more):
    "A study on the hub with every target, in a project folder."
    (project / 'bucc').mkdir(exist_ok=True)
    data = dict(study='all', source=dict(kind='hub', bucc_folder=str(project / 'bucc')), encoder=dict(kind='pretrained', name=NAME, revision=REVISION),
                intermediates=['mnli', 'ccg'], targets=list(TARGET)) | more
    data['source']['ccg_folder'] = str(project / 'bucc')
    (project / 'params' / 'all.yaml').write_text(json.dumps(data))
    return Study.read('params/all.yaml')


def kept(target, language, labels, predictions):
    "A language of XTREME's example, as a pair keeps it."
    suffix = 'json' if TARGET[target].kind == 'span' else 'tsv'
    gold, given = (folder / target / f'test-{language}.{suffix}' for folder in (labels, predictions))
    if suffix == 'json':
        answers = json.loads(given.read_text())
        return pd.DataFrame({'id': list(answers), 'gold': '', 'prediction': list(answers.values())})
    if target == 'bucc2018':
        right, found = set(id_pairs(gold)), set(id_pairs(given))
        return pd.DataFrame([dict(id=f'{i} {j}', gold=j if (i, j) in right else '', prediction=j if (i, j) in found else '') for i, j in sorted(right | found)])
    read = (lambda p: [' '.join(s) for s in tag_sentences(p)]) if TARGET[target].kind == 'tagging' else label_lines
    rows = pd.DataFrame({'gold': read(gold), 'prediction': read(given)})
    if target == 'tatoeba':  # a number that is nobody's gold cannot be, where every sentence is somebody's translation
        other = dict(zip(rows.gold, [*rows.gold[1:], rows.gold[0]]))
        rows['prediction'] = [p if p in other else other[g] for p, g in zip(rows.prediction, rows.gold)]
    return rows.assign(id=[str(n) for n in range(len(rows))])


def questions(target, language, labels):
    "The questions of XTREME's example, with their gold."
    data = json.loads((labels / target / f'test-{language}.json').read_text())['data']
    return dataset([dict(id=q['id'], title='', context=p.get('context', ''), question=q.get('question', ''),
                         answers={'text': [a['text'] for a in q['answers']], 'answer_start': [a.get('answer_start', 0) for a in q['answers']]})
                    for d in data for p in d['paragraphs'] for q in p['qas']], 'span')


def sides(gold):
    "Both sides of a Tatoeba test of which only the labels are known: ids as `kept` has them, English sentences in this order."
    return dataset([dict(id=str(n), side='english', text=f'{n:04d}', matches=[]) for n in range(len(gold))]
                   + [dict(id=id, side='foreign', text='x', matches=[]) for id in sorted(gold, key=int)], 'retrieval')


def play(study, intermediate, target, frame, best=None):
    "Finish a pair with these predictions."
    run = begin(study, 'pair', intermediate, target)
    frame.to_parquet(run.folder / 'predictions.parquet')
    metric = TARGET[target].metrics[0]
    scores = [dict(language=c, metric=metric, score=50., n=1) for c in study.evaluated(target)]
    run.finish(scores, files=[run.folder / 'predictions.parquet', *tuned_model(run)], history={} if best is None else {'best': best})


@pytest.fixture(scope='module')
def mock(repo):
    "XTREME's example submission: the folder that XLT_MOCK names, or shared/xtreme-mock."
    folder = Path(os.environ.get('XLT_MOCK') or repo.parent / 'shared' / 'xtreme-mock')
    if not folder.is_dir(): pytest.skip(f'no example submission at {folder}: name another folder in XLT_MOCK')
    return folder


def test_the_example_keeps_its_official_scores(project, mock, monkeypatch):
    study = make_study(project)
    begin(study, 'encoder').finish()
    for target in study.targets:
        frame = pd.concat([kept(target, c, mock / 'labels', mock / 'predictions').assign(language=c) for c in TARGET[target].languages], ignore_index=True)
        play(study, 'none', target, frame, None if target in ('bucc2018', 'tatoeba', 'mlqa') else 50.)
    monkeypatch.setattr(module, 'load', lambda source, task, split, language: sides(label_lines(mock / 'labels' / task / f'test-{language}.tsv'))
                        if task == 'tatoeba' else questions(task, language, mock / 'labels'))
    table = write_submission(study, 'none', project / 'out', labels=project / 'gold')
    assert list(table.languages) == [len(TARGET[t].languages) for t in table.index] and not table.missing.any()
    official, ours = json.loads((mock / 'expected.json').read_text()), score_submission(project / 'out', project / 'gold')
    assert ours['overall'] == pytest.approx(official['overall'], abs=1e-9)
    for task, found in official['detailed'].items():
        for name, value in found.items(): assert ours['detailed'][task][name] == pytest.approx(value, abs=1e-9), (task, name)
    for file in (mock / 'predictions').rglob('test-*'):
        if file.suffix == '.tsv' and file.parent.name not in ('bucc2018', 'tatoeba'):
            assert tag_sentences(project / 'out' / file.relative_to(mock / 'predictions')) == tag_sentences(file)


@pytest.fixture
def played(project):
    "A study of PAWS-X, XQuAD, MLQA and Tatoeba, whose pairs are done, with other development scores for each."
    study = make_study(project, intermediates=['mnli', 'qqp'], targets=['pawsx', 'xquad', 'mlqa', 'tatoeba'])
    begin(study, 'encoder').finish(), begin(study, 'intermediate', 'mnli').finish(), begin(study, 'intermediate', 'qqp').finish()
    for intermediate, dev in (('none', dict(pawsx=70., xquad=50.)), ('mnli', dict(pawsx=80., xquad=40.)), ('qqp', dict(pawsx=80., xquad=45.))):
        for target in study.targets:
            codes = TARGET[target].languages
            frame = pd.DataFrame(dict(id=['a', 'b'] * len(codes), language=[c for c in codes for _ in 'ab'], gold=['0', '1'] * len(codes), prediction=['1', '1'] * len(codes)))
            play(study, intermediate, target, frame, dev.get(target))
    return study


def test_best_goes_by_the_development_score(played, project, monkeypatch):
    monkeypatch.setattr(module, 'load', lambda *_: dataset([dict(id=id, side=side, text='x', matches=[]) for id, side in zip('ab01', ('english', 'english', 'foreign', 'foreign'))], 'retrieval'))
    table = write_submission(played, 'qqp', project / 'best', best=True)
    assert table.intermediate.to_dict() == dict(pawsx='mnli', xquad='none', mlqa='none', tatoeba='qqp'), 'the first of equals; retrieval as asked for'
    assert table.dev['mlqa'] == 50 and pd.isna(table.dev['tatoeba'])
    assert tuple(submitted_tasks(played, 'mnli', False, 0).loc['mlqa']) == ('mnli', 40.)
    assert json.loads((project / 'best/mlqa/test-hi.json').read_text()) == {'a': '1', 'b': '1'} and (project / 'best/tatoeba/test-sw.tsv').read_text() == '1\n1\n'


def test_refusals(played, project):
    (project / 'full').mkdir(), (project / 'full' / 'x').write_text('')
    with pytest.raises(XltError, match='is there already'): write_submission(played, 'mnli', project / 'full')
    with pytest.raises(XltError, match="--intermediate 'mnl' is not in the study .did you mean 'mnli'.*; choose from none, mnli, qqp"): write_submission(played, 'mnl', project / 'new')
    with pytest.raises(XltError, match='no pair run none--pawsx--s7'): write_submission(played, 'none', project / 'new', seed=7)
    changed = Study.read('params/all.yaml', ['tasks.mnli.epochs=9'])
    with pytest.raises(XltError, match='mnli--pawsx--s0 is not finished; xlt run params/all.yaml'): write_submission(changed, 'mnli', project / 'new')
    assert not (project / 'new').exists()


def test_a_task_without_all_its_languages_is_left_out(project):
    study = make_study(project, intermediates=['mnli'], targets=['pawsx', 'tatoeba'], languages=['de', 'en', 'es', 'fr', 'ja', 'ko', 'zh'])
    begin(study, 'encoder').finish()
    for target in study.targets:
        frame = pd.DataFrame([dict(id='a', language=c, gold='0', prediction='0') for c in study.evaluated(target)])
        play(study, 'none', target, frame, 50. if target == 'pawsx' else None)
    table = write_submission(study, 'none', project / 'out')
    assert table.missing['pawsx'] == '' and table.missing['tatoeba'].startswith('af ar bg') and not (project / 'out/tatoeba').exists()


def test_the_lab_has_nothing_to_submit(project):
    study = Study.read('params/tiny.yaml', ['targets=[tatoeba]'])
    begin(study, 'encoder').finish()
    play(study, 'none', 'tatoeba', pd.DataFrame([dict(id='a', language=c, gold='0', prediction='0') for c in study.evaluated('tatoeba')]))
    with pytest.raises(XltError, match="no target was evaluated in all of XTREME's languages; tatoeba lacks af ar"): write_submission(study, 'none', project / 'out')


def test_lines_of_mined_pairs():
    rows = pd.DataFrame([dict(id='de-1 en-1', gold='en-1', prediction=''), dict(id='de-2 en-7', gold='', prediction='en-7'), dict(id='de-3 en-3', gold='en-3', prediction='en-3')])
    assert prediction_lines('bucc2018', rows, 'prediction') == ['de-2\ten-7', 'de-3\ten-3'] and prediction_lines('bucc2018', rows, 'gold') == ['de-1\ten-1', 'de-3\ten-3']


@pytest.mark.parametrize('language', ['af', 'sw', 'de', 'te'])
def test_tatoeba_is_in_the_order_of_xtremes_script(sample, mock, language):
    "The first labels of the official example are those of the real sentences."
    data = load(Files(folder=str(sample)), 'tatoeba', 'test', language).to_list()
    rows = pd.DataFrame([dict(id=r['id'], gold=r['matches'][0]) for r in data if r['side'] == 'english'])
    ours, official = numbered_lines(rows, data, 'gold'), label_lines(mock / 'labels' / 'tatoeba' / f'test-{language}.tsv')
    assert ours[:len(official)] == official and sorted(map(int, ours)) == list(range(len(rows)))
