"XTREME-R: the tasks that it adds, its further languages, and its averages."
import csv
import json
import re
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, strategies as st

from xlt.cli.main import main
from xlt.common.errors import XltError
from xlt.data.corpora import read_xquad_r
from xlt.data.door import load, sample_queries, why_missing
from xlt.data.examples import dataset
from xlt.data.files import Files
from xlt.data.hub import Hub
from xlt.data.lab import Lab
from xlt.data.layout import evaluation_files
from xlt.data.leakage import check_leakage, load_test_sets
from xlt.data.readers import read_copa
from xlt.models.retrieval_evaluation import AnswerPool, evaluate_retrieval, nearest_answers
from xlt.models.evaluation import evaluate
from xlt.models.features import features, train_tokenizer
from xlt.models.heads import load_encoder, new_model, save_encoder, with_head
from xlt.languages.measures import language_table
from xlt.models.metrics import average_precision, correct, score_task
from xlt.models.submissions import score_submission
from xlt.paper import selection
from xlt.paper.xtreme_r import benchmark_averages, benchmark_groups
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


def test_copas_own_training_set_by_the_card_of_the_lesson(root, monkeypatch):
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
        monkeypatch.setattr(selection, 'result', lambda run: {'history': {'best': 62.5}})
        found = selection.dev_scores(read)
        assert set(zip(found.target, found.metric)) == {('xcopa_copa', 'accuracy'), ('xcopa', 'accuracy')} and set(found.score) == {62.5}, 'in the report of targets beyond the nine, too'
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


# ---- LAReQA: the metric

@pytest.mark.parametrize('right, ranked, value', [
    ('a', 'a', 1), ('a', 'xa', Fraction(1, 2)), ('a', 'xyz', 0),
    ('abc', 'axbyc', (1 + Fraction(2, 3) + Fraction(3, 5)) / 3),  # several right ones
    ('abc', 'ax', Fraction(1, 3)),  # fewer candidates than 20, and than right answers
    ('ab', 'aab', (1 + Fraction(2, 3)) / 2),  # the same one twice counts once
    ('a', ['x'] * 19 + ['a'], Fraction(1, 20)), ('a', ['x'] * 20 + ['a'], 0),  # the 20th counts, the 21st does not
    (range(25), range(20), 1), (range(25), range(19), Fraction(19, 20)),  # more right ones than ranks
    (range(11), range(11), 1), (range(11), ['x'] * 9 + list(range(11)), sum(Fraction(i, i + 9) for i in range(1, 12)) / 11)])
def test_average_precision_by_hand(right, ranked, value):
    assert average_precision(list(right), list(ranked)) == pytest.approx(float(value), abs=1e-12)


@given(st.sets(st.integers(0, 30), min_size=1), st.lists(st.integers(0, 30), max_size=40, unique=True))
def test_average_precision_by_definition(right, ranked):
    "The mean over the right answers of the precision at each one's rank, 0 where it has none among the first 20."
    hit = np.isin(ranked[:20], sorted(right))
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    assert average_precision(list(right), ranked) == pytest.approx(precision[hit].sum() / min(len(right), 20))


def test_the_score_is_the_mean_over_questions_and_wants_an_answer():
    gold, found = [['a', 'b'], ['c']], [['a', 'x', 'b'], ['x', 'c']]
    assert score_task('lareqa', gold, found, 'ru') == {'map_at_20': pytest.approx(100 * (5 / 6 + 1 / 2) / 2)}
    assert correct('lareqa', gold, found, 'ru') == pytest.approx([5 / 6, 1 / 2])
    with pytest.raises(XltError, match='without a right answer'): score_task('lareqa', [[]], [['a']], 'ru')
    with pytest.raises(XltError, match='1 predictions, but 2 gold'): score_task('lareqa', gold, found[:1], 'ru')


def test_of_equally_near_sentences_the_first_of_the_pool_is_first():
    vectors = np.array([[0, 1], [1, 0], [1, 0], [.6, .8]], np.float32)
    pool = AnswerPool(np.array(['ar:1.0', 'de:1.0', 'en:1.0', 'zh:1.0']), vectors, {'q': ['en:1.0', 'zh:1.0']})
    data = dataset([dict(id='q', side='question', text='?', matches=['en:1.0']), dict(id='en:1.0', side='answer', text='!', matches=[])], 'retrieval')
    ids, golds, found = nearest_answers(data, pool, lambda texts: np.array([[1, 0]] * len(texts), np.float32))
    assert (ids, golds, found) == (['q'], [['en:1.0', 'zh:1.0']], [['de:1.0', 'en:1.0', 'zh:1.0', 'ar:1.0']]), 'fewer than 20 candidates: all of them'
    assert score_task('lareqa', golds, found, 'en')['map_at_20'] == pytest.approx(100 * (1 / 2 + 2 / 3) / 2)


# ---- LAReQA: the data

SAID = ['The bridge was built in nineteen thirty-two.', 'It is very long indeed.', 'The poet was born in the old town.', 'He wrote three books there.']


def xquad_r(language: str, **changed) -> dict:
    "Two paragraphs of two sentences, and three questions."
    def paragraph(first, asked):
        one, two = (f'[{language}] {s}' for s in SAID[first:first + 2])
        context = f'{one} {two}'
        qas = [dict(id=id, question=f'[{language}] {q}', answers=[dict(text=word, answer_start=context.index(word))]) for id, q, word in asked]
        return dict(context=context, sentence_breaks=[[0, len(one)], [len(one) + 1, len(context)]], sentences=[one, two], qas=qas) | changed
    return dict(version='1.1', data=[dict(title='T', paragraphs=[paragraph(0, [('q1', 'When was it built?', 'nineteen'), ('q2', 'How long is it?', 'very')])]),
                                     dict(title='U', paragraphs=[paragraph(2, [('q3', 'How many books?', 'three')])])])


def answers(folder: Path, languages=TASKS['lareqa'].languages, place='xquad-r') -> None:
    for code in languages: put(folder / place / f'{code}.json', json.dumps(xquad_r(code)))


@pytest.mark.parametrize('place', ['xquad-r', 'lareqa/xquad-r'])
def test_questions_and_candidates(tmp_path, monkeypatch, place):
    monkeypatch.delenv('XLT_FILES', raising=False)
    answers(tmp_path, place=place)
    source = Files(folder=str(tmp_path))
    rows = load(source, 'lareqa', 'test', 'de').to_list()
    assert source.languages('lareqa') == list(TASKS['lareqa'].languages) and source.unread() == []
    assert {r['id']: r['matches'] for r in rows if r['side'] == 'question'} == {'q1': ['de:1.0'], 'q2': ['de:1.1'], 'q3': ['de:2.1']}
    assert {r['id']: r['text'] for r in rows if r['side'] == 'answer'} == {f'de:{n // 2 + 1}.{n % 2}': f'[de] {s}' for n, s in enumerate(SAID)}
    sampled = {code: sample_queries(load(source, 'lareqa', 'test', code), 2) for code in ('de', 'zh')}
    assert len({tuple(sorted(d.filter(lambda r: r['side'] == 'question')['id'])) for d in sampled.values()}) == 1, 'the same questions in every language'
    assert all(d['side'].count('question') == 2 and d['side'].count('answer') == 4 for d in ({'side': list(d['side'])} for d in sampled.values()))


@pytest.mark.parametrize('changed, message', [
    (dict(sentence_breaks=[[0, 5]]), 'question q1: its answer is in no sentence'), (dict(sentence_breaks=None), "not in XQuAD-R's format"), (dict(sentence_breaks=[[0, 60], [60, 60]]), 'no sentence'),
    (dict(qas=[dict(id='q', question='Who?', answers=[])]), "not in XQuAD-R's format"), (dict(qas=[dict(id='q', question=' ', answers=[dict(text='b', answer_start=1)])]), 'question q: no question'),
    (dict(qas=[dict(id='q', question='Who?', answers=[dict(text='b', answer_start=1)])]), "two examples have the id 'q'")])
def test_what_is_wrong_in_a_file_of_xquad_r(tmp_path, changed, message):
    path = put(tmp_path / 'de.json', json.dumps(xquad_r('de', **changed)))
    with pytest.raises(XltError, match=re.escape(message)): read_xquad_r(path, 'de')


@pytest.fixture(scope='module')
def unpacked(sample, tmp_path_factory) -> Path:
    "The archives of XTREME-R's data, unpacked."
    folder = tmp_path_factory.mktemp('extras')
    for name in ('lareqa_xquad-r', 'xtreme-r_panx_udpos', 'tatoeba_v1_other_languages'):
        path = sample / 'extras' / f'{name}.tar.xz'
        if not path.is_file(): pytest.skip(f'no {path}')
        shutil.unpack_archive(path, folder)
    return folder


def test_lareqas_real_files(unpacked, monkeypatch):
    monkeypatch.delenv('XLT_FILES', raising=False)
    source, right, sentences = Files(folder=str(unpacked)), {}, 0
    for code in source.languages('lareqa'):
        raw = json.loads((unpacked / f'xquad-r/{code}.json').read_text(encoding='utf-8'))
        paragraphs = [p for d in raw['data'] for p in d['paragraphs']]
        rows = load(source, 'lareqa', 'test', code).to_list()
        told = [r for r in rows if r['side'] == 'answer']
        assert len(rows) - len(told) == sum(len(p['qas']) for p in paragraphs) == 1190 and len(told) == sum(len(p['sentence_breaks']) for p in paragraphs), code
        sentences += len(told)
        texts = {r['id']: r['text'] for r in told}
        for r in rows: right.setdefault(r['id'], []).extend(texts[m] for m in r['matches']) if r['side'] == 'question' else None
        said = {q['id']: q['answers'][0]['text'] for p in paragraphs for q in p['qas']}
        assert sum(said[r['id']].strip() in texts[r['matches'][0]] for r in rows if r['side'] == 'question') > 1150, 'an answer stands in its sentence, but for the few that end in the next'
    assert sentences == 13_014 and len(right) == 1190 and {len(r) for r in right.values()} == {11} == {len(TASKS['lareqa'].languages)}


# ---- LAReQA: evaluated and refused

def test_lareqa_from_files_to_scores(tmp_path, monkeypatch):
    "Against scores worked out from the model's own hidden states, with a plain sort."
    monkeypatch.delenv('XLT_FILES', raising=False)
    answers(tmp_path)
    source, task = Files(folder=str(tmp_path)), TASKS['lareqa']
    tests = {code: load(source, 'lareqa', 'test', code).to_list() for code in task.languages}
    folder, tokenizer = encoder(tmp_path / 'encoder', [r['text'] for rows in tests.values() for r in rows])
    model, asked = load_encoder(folder), ['en', 'th', 'zh']
    scores, kept = evaluate_retrieval(source, task, model, tokenizer, 1, 64, 4, asked, keep=tmp_path / 'kept')
    def vector(text):
        with torch.no_grad(): hidden = model(**tokenizer(text, truncation=True, max_length=64, return_tensors='pt'), output_hidden_states=True).hidden_states[1][0]
        mean = hidden.double().mean(0).numpy()
        return mean / np.linalg.norm(mean)
    pool = [(r['id'], vector(r['text'])) for rows in tests.values() for r in rows if r['side'] == 'answer']
    right = {q: {m for rows in tests.values() for r in rows if r['id'] == q for m in r['matches']} for q in ('q1', 'q2', 'q3')}
    assert len(pool) == 44 and {len(r) for r in right.values()} == {11}
    for row in scores:
        aps = []
        for q in (r for r in tests[row['language']] if r['side'] == 'question'):
            mine = vector(q['text'])
            first = sorted(pool, key=lambda p: -round(float(mine @ p[1]), 9))[:20]
            hits = [n for n, (id, _) in enumerate(first, 1) if id in right[q['id']]]
            aps.append(sum(i / n for i, n in enumerate(hits, 1)) / 11)
        assert row['metric'] == 'map_at_20' and row['n'] == 3 and row['score'] == pytest.approx(100 * np.mean(aps), abs=1e-6)
    assert set(kept.language) == set(asked) and kept.correct.between(0, 1).all()
    again, _ = evaluate_retrieval(source, task, model, tokenizer, 1, 64, 4, asked, keep=tmp_path / 'kept')
    put(tmp_path / 'xquad-r/ar.json', json.dumps(xquad_r('arabic, said otherwise')))
    evaluate_retrieval(source, task, model, tokenizer, 1, 64, 4, ['zh'], keep=tmp_path / 'kept')
    assert again == scores and len(list((tmp_path / 'kept').glob('*.json'))) == 4, 'kept scores are taken, unless the pool is another, in whatever language'


def test_lareqa_is_refused_where_its_pool_is_not_whole(root, capsys):
    answers(root / 'data', TASKS['lareqa'].languages[:-2])
    csqa(root / 'data')
    refused = [(dict(kind='files', folder=str(root / 'data')), f'{root / "data"} has no data for lareqa in vi, zh, and its candidates are those of all 11 languages'),
               (dict(kind='lab'), 'source lab has no lareqa data'), (dict(kind='hub'), 'the hub has no sentence limits of LAReQA')]
    for source, message in refused:
        hub = dict(encoder=dict(kind='pretrained', name='FacebookAI/xlm-roberta-base', revision='e73636d4f797dec63c3081bb6ed5c7b0bb3f2089')) if source['kind'] == 'hub' else {}
        assert main(['plan', str(study(root, source, targets=['lareqa'], retrieval=dict(layer=1), **hub))]) == 2
        said = capsys.readouterr().err.strip()
        assert len(said.splitlines()) == 1 and f'targets: lareqa: {message}' in said
    answers(root / 'data')
    assert main(['plan', str(study(root, refused[0][0], targets=['lareqa'], retrieval=dict(layer=1)))]) == 0
    for source in (Lab(), Hub()):
        with pytest.raises(XltError, match='lareqa'): source.load('lareqa', 'test', 'qaa' if source.kind == 'lab' else 'de')


def test_lareqa_is_sampled_planned_and_guarded(root):
    answers(root / 'data')
    csqa(root / 'data')
    read = Study.read(study(root, dict(kind='files', folder=str(root / 'data')), targets=['lareqa'], retrieval=dict(layer=1), test_examples=2))
    spec = next(r.spec for r in runs(read) if r.target == 'lareqa')
    assert read.tested('lareqa') == 2 == spec['test_examples'] and spec['cards']['lareqa']['pooled'] is True and any('not comparable' in n for n in read.source.notes('lareqa'))
    seen = {'squad train': dataset([dict(id='1', title='', context=' '.join(f'[de] {s}' for s in SAID[2:]), question='Who?', answers=dict(text=[], answer_start=[]))], 'span')}
    with pytest.raises(XltError, match="2 of the 7 test items .* of lareqa in 'de'"): check_leakage(load_test_sets(read.source, {'lareqa': ['de']}), seen)


# ---- further languages

FURTHER = [(t.name, code) for t in TARGET.values() for code in t.further]


def test_xtreme_rs_fifty_languages():
    "Its paper counts 50 languages, 38 for parts of speech, 48 for entities, 41 for Tatoeba; every one is known, with its resource measures."
    tested = {c for t in (TARGET | XTREME_R).values() if 'XTREME-R' in t.benchmarks for c in (*t.languages, *t.further)}
    assert len(tested) == 50 and tested <= set(language_table(every=True).index)
    assert {t: len(TASKS[t].languages) + len(TASKS[t].further) for t in ('udpos', 'panx', 'tatoeba')} == dict(udpos=38, panx=48, tatoeba=41)
    assert not any(set(t.languages) & set(t.further) for t in TASKS.values())


@pytest.mark.parametrize('task, language', FURTHER)
def test_the_real_files_of_a_further_language(unpacked, sample, monkeypatch, task, language):
    monkeypatch.delenv('XLT_FILES', raising=False)
    home = sample if language == 'wo' else unpacked
    source = Files(folder=str(home))
    if not evaluation_files(home, task, language): pytest.skip(f'no {task} in {language}')
    assert language in source.further(task) and language not in source.languages(task)
    file, = evaluation_files(home, task, language)
    with open(sample / 'MANIFEST.tsv', newline='') as f: counts = {r['path'].rpartition('!')[2]: r['count'] for r in csv.DictReader(f, delimiter='\t')}
    data = load(source, task, 'test', language)
    assert len(data) == int(counts[file.relative_to(home).as_posix()]) * (2 if task == 'tatoeba' else 1) == len(set(data['id'])) >= 100


def tagged(folder: Path, task: str, codes: str, tag: str = 'NOUN') -> None:
    for code in codes.split(): put(folder / f'{task}/dev-{code}.tsv', ''.join(f'word{i}{code}\t{tag}\n\n' for i in range(3)))
    put(folder / f'{task}/train-en.tsv', ''.join(f'english{i}\t{tag}\n\n' for i in range(20)))


def test_a_further_language_is_tested_where_it_is_named(root):
    tagged(root / 'data', 'udpos', 'en de fi tr lt wo')
    for code, three in (('de', 'deu'), ('fi', 'fin'), ('lt', 'lit')):
        for side in (three, 'eng'): put(root / f'data/tatoeba/v1/tatoeba.{three}-eng.{side}', ''.join(f'Sentence {i} {side}.\n' for i in range(3)))
    csqa(root / 'data')
    asked = dict(targets=['udpos', 'tatoeba'], retrieval=dict(layer=1))
    source = dict(kind='files', folder=str(root / 'data'))
    usual, named = (Study.read(study(root, source, **asked, **more)) for more in ({}, dict(languages=['en', 'de', 'fi', 'lit', 'wol_Latn'])))
    assert [usual.evaluated(t) for t in usual.targets] == [['de', 'en', 'fi', 'tr'], ['de', 'fi']]
    assert [named.evaluated(t) for t in named.targets] == [['de', 'en', 'fi', 'lt', 'wo'], ['de', 'fi', 'lt']]
    assert {r.target: r.spec['languages'] for r in runs(named) if r.phase == 'pair'} == {t: named.evaluated(t) for t in named.targets}
    with pytest.raises(XltError, match="languages: 'pl' is unknown"): Study.read(study(root, source, **asked, languages=['en', 'de', 'fi', 'pl']))
    hub = dict(encoder=dict(kind='pretrained', name='FacebookAI/xlm-roberta-base', revision='e73636d4f797dec63c3081bb6ed5c7b0bb3f2089'))
    with pytest.raises(XltError, match="languages: 'lt' is unknown"): Study.read(study(root, dict(kind='hub'), targets=['udpos'], languages=['en', 'de', 'fi', 'lt'], **hub))


# ---- averages

def test_the_averages_of_xtreme_are_its_evaluators(repo):
    "On XTREME's mock submission, whose scores by language make a tidy table."
    mock = repo.parent / 'shared' / 'xtreme-mock'
    if not mock.is_dir(): pytest.skip(f'no {mock}')
    found = score_submission(mock / 'predictions', mock / 'labels')
    rows = [dict(intermediate='none', target=t, language=c, metric=m, score=s) for t, by in found['detailed'].items() for m, of in by.items() if isinstance(of, dict) for c, s in of.items()]
    table = pd.DataFrame(rows)
    first = table.target.map(lambda t: TASKS[t].metrics[0]) == table.metric
    means = benchmark_averages(table[first], table[~first], 'XTREME').loc['none']
    official = {g.replace('all_task', 'all'): score for g, score in found['overall'].items()}
    assert len(official) == 5 and means.to_dict() == pytest.approx(official)


def test_the_averages_of_xtreme_r():
    groups = benchmark_groups()
    assert groups == {'classification': ('xnli', 'xcopa'), 'tagging': ('udpos', 'panx'), 'qa': ('xquad', 'mlqa', 'tydiqa'), 'retrieval': ('tatoeba', 'lareqa', 'mewslix')}
    rng = np.random.default_rng(0)
    scores, others, by_task = [], [], {}
    for t in (t for of in groups.values() for t in of):
        values = rng.uniform(0, 100, (2, 4))
        for metric, row, table in (('f1', values[0], scores), ('exact_match', values[1], others))[:1 + (t in groups['qa'])]:
            table += [dict(intermediate='mnli', target=t, language=c, metric=metric, score=s) for c, s in zip('abcd', row)]
        by_task[t] = values[:1 + (t in groups['qa'])].mean()
    means = benchmark_averages(pd.DataFrame(scores), pd.DataFrame(others)).loc['mnli']
    assert means['all'] == pytest.approx(sum(by_task.values()) / 10) and means['qa'] == pytest.approx(sum(by_task[t] for t in groups['qa']) / 3)
    without = benchmark_averages(pd.DataFrame([r for r in scores if r['target'] != 'mewslix']), pd.DataFrame(others)).loc['mnli']
    assert np.isnan(without['all']) and np.isnan(without['retrieval']) and without['classification'] == means['classification']
    with pytest.raises(XltError, match="'XTREME-UP' is unknown; choose from XTREME, XTREME-R"): benchmark_groups('XTREME-UP')
