"XTREME-R: the tasks that it adds, its further languages, and its averages."
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from xlt.cli.main import main
from xlt.common.errors import XltError
from xlt.data.door import load, why_missing
from xlt.data.examples import dataset
from xlt.data.files import Files
from xlt.data.hub import Hub
from xlt.data.lab import Lab
from xlt.data.layout import describe, evaluation_files
from xlt.data.leakage import check_leakage, load_test_sets
from xlt.data.readers import read_copa
from xlt.models.evaluation import evaluate
from xlt.models.features import features, train_tokenizer
from xlt.models.heads import new_model, save_encoder, with_head
from xlt.models.metrics import score_task
from xlt.runs.graph import runs
from xlt.runs.params import Study
from xlt.tasks.card import Recipe
from xlt.tasks.cards import BUILT_IN, TARGET, TASKS, XTREME_R

REPO = Path(__file__).resolve().parent.parent
COPA = ['The vase fell.', 'I was hungry.', 'It rained.', 'She ran.', 'The lamp went out.', 'He laughed.']
TINY = Recipe(layers=1, hidden=16, heads=2, feed_forward=32, vocabulary=400, max_length=64)


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def copa(path: Path, language: str) -> Path:
    "Six items in a language, with the authors' Windows line ends: the right choice is the first, and in the last two the second."
    rows = [dict(premise=f'{text} [{language}]', choice1=f'One {i} {language}.', choice2=f'Two {i} {language}.', question=('cause', 'effect')[i % 2], label=int(i > 3), idx=i, changed=False)
            for i, text in enumerate(COPA)]
    return put(path, ''.join(json.dumps(r) + '\r\n' for r in rows))


def csqa(folder: Path) -> None:
    rows = [dict(id=f'q{i}', question=f'Where does thing number {i} belong?', choices=dict(label=list('ABCDE'), text=[f'place {i} {n}' for n in range(5)]), answerKey='ABCDE'[i % 5]) for i in range(20)]
    put(folder / 'commonsenseqa/train.jsonl', ''.join(json.dumps(r) + '\n' for r in rows))


def study(root: Path, source: dict, **changed) -> Path:
    asked = dict(study='r', source=source, encoder=dict(kind='scratch', layers=1, hidden=16), intermediates=['csqa'], targets=['xcopa'], analysis=dict(groups='median'))
    return put(root / 'r.yaml', yaml.safe_dump(asked | changed))


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv('XLT_ROOT', str(tmp_path))
    monkeypatch.delenv('XLT_FILES', raising=False)
    return tmp_path


def encoder(folder: Path, texts: list[str]):
    "A tiny encoder, untrained, and its tokenizer."
    tokenizer = train_tokenizer({'en': texts}, TINY.vocabulary, 1., 64)
    save_encoder(new_model(TINY, tokenizer, 0), tokenizer, folder)
    return folder, tokenizer


# ---- what belongs to which benchmark

def test_the_added_tasks_are_no_part_of_the_nine():
    assert len(TARGET) == 9 and not TARGET.keys() & XTREME_R.keys() and list(BUILT_IN)[-len(XTREME_R):] == list(XTREME_R)
    assert {t for t in TARGET if 'XTREME-R' not in TARGET[t].benchmarks} == {'pawsx', 'bucc2018'}
    assert all(t.benchmarks == ('XTREME-R',) and t.note and t.role == 'target' for t in XTREME_R.values())


# ---- XCOPA

def test_xcopas_real_files(sample):
    source = Files(folder=str(sample))
    if not source.languages('xcopa'): pytest.skip(f'{sample} has no xcopa')
    assert source.languages('xcopa') == list(TASKS['xcopa'].languages) and len(TASKS['xcopa'].languages) == 11
    asked = {}
    for language in source.languages('xcopa'):
        data = load(source, 'xcopa', 'test', language)
        assert len(data) == TASKS['xcopa'].hub.usual_rows == 500 == len(set(data['id'])), language
        assert {len(c) for c in data['choices']} == {2}
        asked[language] = list(data['question'])
        raw = [json.loads(line) for line in evaluation_files(sample, 'xcopa', language)[0].read_text(encoding='utf-8').splitlines()]
        assert [r['label'] for r in raw] == list(data['label']) and [[r['choice1'].strip(), r['choice2'].strip()] for r in raw] == list(data['choices'])
    wrong = {c: sum(q != usual for q, usual in zip(asked[c], asked['zh'])) for c in asked}
    assert asked['zh'].count('cause') == 250 and {c: n for c, n in wrong.items() if n} == dict(id=4, it=4, sw=37, th=250, tr=51), "the lesson's counts"
    assert any('CommonsenseQA' in note and 'not comparable' in note for note in source.notes('xcopa'))


@pytest.mark.parametrize('name', ['xcopa/test.{}.jsonl', 'xcopa/test-{}.jsonl', 'xcopa/data/{0}/test.{0}.jsonl'])
def test_xcopa_in_every_layout(tmp_path, name, monkeypatch):
    monkeypatch.delenv('XLT_FILES', raising=False)
    for code in ('et', 'qu'): copa(tmp_path / name.format(code), code)
    csqa(tmp_path)
    source = Files(folder=str(tmp_path))
    assert source.languages('xcopa') == ['et', 'qu'] and source.available('xcopa') is None and source.unread() == []
    assert load(source, 'xcopa', 'test', 'qu')[4]['choices'] == ['One 4 qu.', 'Two 4 qu.'] and list(load(source, 'xcopa', 'test', 'qu')['label']) == [0, 0, 0, 0, 1, 1]
    assert len(load(source, 'xcopa', 'train', 'en')[0]['choices']) == 5, 'the training set is CommonsenseQA'


@pytest.mark.parametrize('changed, message', [
    (dict(question='reason'), "r.jsonl:1: question: label 'reason' is unknown; allowed: cause, effect"), (dict(label=2), "r.jsonl:1: label '2' is unknown; allowed: 0, 1"),
    (dict(choice2=' '), 'r.jsonl:1: no `choice2`'), (dict(premise=None), 'r.jsonl:1: no `premise`'), (dict(label=None), "r.jsonl:1: label 'None' is unknown")])
def test_what_is_wrong_in_a_copa_file(tmp_path, changed, message):
    row = dict(premise='It rained.', choice1='Wet.', choice2='Dry.', question='effect', label=0) | changed
    with pytest.raises(XltError, match=re.escape(message)): read_copa(put(tmp_path / 'r.jsonl', json.dumps(row) + '\n'))


def test_without_its_training_set_xcopa_is_refused_in_one_message(root, capsys):
    for code in ('et', 'qu', 'it', 'zh'): copa(root / f'data/xcopa/test.{code}.jsonl', code)
    put(root / 'data/mnli/rows.csv', 'label,text,assertion\n' + ''.join(f'neutral,Premise {i} is here.,Hypothesis {i}.\n' for i in range(4)))
    path = study(root, dict(kind='files', folder=str(root / 'data')), intermediates=['mnli'])
    assert main(['plan', str(path)]) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1 and 'targets: xcopa: ' in said and 'no English training data for csqa; expected commonsenseqa/train*.jsonl' in said
    csqa(root / 'data')
    assert main(['plan', str(path)]) == 0


def test_the_model_reads_the_question_and_the_guard_only_its_keyword(tmp_path, monkeypatch):
    monkeypatch.delenv('XLT_FILES', raising=False)
    copa(tmp_path / 'xcopa/test.et.jsonl', 'et')
    data = load(Files(folder=str(tmp_path)), 'xcopa', 'test', 'et')
    _, tokenizer = encoder(tmp_path / 'encoder', ['What was the cause? What was the effect? It rained. The vase fell. One 0 et.', *data['context']])
    def first(data, at): return tokenizer.decode(features(TASKS['xcopa'], data, tokenizer, 64, 0, [])[at]['input_ids'][0])
    assert 'What was the cause?' in first(data, 0) and 'What was the effect?' in first(data, 1)
    trained = dataset([dict(id='q', context='', question='Where is it?', choices=['here', 'there'], label=0)], 'multiple_choice')
    assert 'Where is it?' in first(trained, 0), 'a question that is no keyword stays what it is'
    read = {'squad train': dataset([dict(id='1', title='', context='It burnt down. What was the cause?', question='What was the effect?', answers=dict(text=[], answer_start=[]))], 'span')}
    assert check_leakage(load_test_sets(Files(folder=str(tmp_path)), {'xcopa': ['et']}), read).table.touched.sum() == 0
    leak = {'csqa train': dataset([dict(id='1', context='', question=data[4]['context'], choices=['a', 'b'], label=0)], 'multiple_choice')}
    with pytest.raises(XltError, match="1 of the 6 test items .* of xcopa in 'et'"): check_leakage(load_test_sets(Files(folder=str(tmp_path)), {'xcopa': ['et']}), leak)


def test_xcopa_from_files_to_scores(tmp_path, monkeypatch):
    monkeypatch.delenv('XLT_FILES', raising=False)
    for code in ('et', 'qu'): copa(tmp_path / f'xcopa/test.{code}.jsonl', code)
    csqa(tmp_path)
    source, task = Files(folder=str(tmp_path)), TASKS['xcopa']
    folder, tokenizer = encoder(tmp_path / 'encoder', [*load(source, 'xcopa', 'test', 'et')['context'], *load(source, 'xcopa', 'train', 'en')['question']])
    scores, rows = evaluate(source, task, with_head(folder, task.kind, [], 0), tokenizer, task.recipe.model_copy(update={'max_length': 32}), [], ['et', 'qu'])
    for row in scores:
        mine = rows[rows.language == row['language']]
        assert row['metric'] == 'accuracy' and row['n'] == 6 and list(mine.gold) == list('000011')
        assert row['score'] == pytest.approx(100 * np.mean(mine.gold.to_numpy() == mine.prediction.to_numpy())) and set(mine.prediction) <= {'0', '1'}


def test_what_decides_an_added_task_is_in_its_fingerprint_and_in_no_other(root):
    hub = study(root, dict(kind='hub'), encoder=dict(kind='pretrained', name='FacebookAI/xlm-roberta-base', revision='e73636d4f797dec63c3081bb6ed5c7b0bb3f2089'), targets=['xcopa', 'xnli'])
    specs = {r.target: r.spec for r in runs(Study.read(hub)) if r.phase == 'pair'}
    pinned = TASKS['xcopa'].hub.repositories['xcopa']
    card = specs['xcopa']['cards']['xcopa']
    assert card['hub']['repositories']['xcopa'] == list(pinned) and card['wording'] == TASKS['xcopa'].wording
    assert 'cards' not in specs['xnli'] and pinned.name not in specs['xnli']['source']['revisions']
    assert specs['xcopa']['languages'] == list(TASKS['xcopa'].languages)


def test_copas_own_training_set_by_the_card_of_the_lesson(root):
    lesson = json.loads((REPO / 'nbs/tasks/29_xcopa.ipynb').read_text(encoding='utf-8'))
    text, = [m[1] for c in lesson['cells'] for m in [re.search(r'```yaml\n(.*?)```', ''.join(c['source']), re.S)] if m]
    put(root / 'mine.yaml', text)
    for code in ('et', 'qu', 'it', 'zh'): copa(root / f'data/xcopa/test.{code}.jsonl', code)
    copa(root / 'data/copa/train.en.jsonl', 'en')
    csqa(root / 'data')
    before = dict(TASKS)
    try:
        read = Study.read(study(root, dict(kind='files', folder=str(root / 'data')), cards=['mine.yaml'], targets=['xcopa_copa', 'xcopa']))
        data = [{c: list(load(read.source, t, 'test', 'qu')[c]) for c in ('context', 'question', 'choices', 'label')} for t in read.targets]
        assert data[0] == data[1], 'the same test'
        trained = [r for split in ('train', 'dev') for r in load(read.source, 'xcopa_copa', split, 'en')]
        assert len(trained) == 6 and all(len(r['choices']) == 2 and '[en]' in r['context'] for r in trained)
    finally: TASKS.clear(); TASKS.update(before)


def test_the_labs_counterpart_of_xcopa():
    lab = Lab(dev_examples=8, test_examples=40, train_examples=8)
    data = {code: lab.load('xcopa', 'test', code) for code in list(lab.world())[:3]}
    assert all({len(c) for c in d['choices']} == {2} and set(d['label']) == {0, 1} for d in data.values())
    assert len({tuple(d['label']) for d in data.values()}) == 1, 'the same examples in every language'
    assert {len(c) for c in lab.load('xcopa', 'train', lab.pivot)['choices']} == {5} and why_missing(lab, 'xcopa') is None
    assert score_task('xcopa', list(data['qaa']['label']), [0] * 40, 'qaa')['accuracy'] == 100 * list(data['qaa']['label']).count(0) / 40
