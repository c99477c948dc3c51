"Metrics: the traps one by one, properties that must hold for any input, and XTREME's own example submission."
import json
import os
import re
import shutil
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from xlt.common.errors import XltError
from xlt.common.io import write
from xlt.models.metrics import (accuracy, answer_scores, chunk_f1, chunks, correct, entity_f1, mlqa_normal, pair_f1, score_task,
    squad_normal, word_f1)
from xlt.models.submissions import evaluate_submission, evaluate_submitted_file, score_submission
from xlt.tasks.cards import NER, TARGET, TASKS, UPOS

labels = st.sampled_from(['entailment', 'neutral', 'contradiction'])
pairs_of = lambda items: st.lists(st.tuples(items, items), min_size=1, max_size=30)
sentence = lambda tags: st.lists(st.tuples(st.sampled_from(tags), st.sampled_from(tags)), min_size=1, max_size=12)
corpus = lambda tags: st.lists(sentence(tags), min_size=1, max_size=5)
sides = lambda data: ([[g for g, _ in s] for s in data], [[p for _, p in s] for s in data])
words = st.text(st.sampled_from('ab AN.the¿el，北京ال'), max_size=20)


@pytest.fixture(scope='module')
def mock() -> Path:
    "XTREME's example submission, its labels and the official scores: XLT_MOCK, or shared/xtreme-mock."
    folder = Path(os.environ.get('XLT_MOCK') or Path(__file__).resolve().parents[2] / 'shared' / 'xtreme-mock')
    if not folder.is_dir(): pytest.skip(f'no example submission at {folder}: name another folder in XLT_MOCK')
    return folder


# Official numbers

def numbers(tree, path=()):
    "The leaves of nested dictionaries, with their paths."
    if not isinstance(tree, dict): return {path: tree}
    return {p: v for k, sub in tree.items() for p, v in numbers(sub, (*path, k)).items()}


def test_every_number_of_the_official_evaluator(mock):
    ours, official = numbers(score_submission(mock/'predictions', mock/'labels')), numbers(json.loads((mock/'expected.json').read_text()))
    assert ours.keys() == official.keys() and len(official) == 375
    assert max(abs(ours[k] - official[k]) for k in official) < 1e-9


def test_udpos_is_seqeval_0_0_12_and_not_a_later_version(mock):
    result = score_submission(mock/'predictions', mock/'labels')['detailed']['udpos']
    assert result['avg_f1'] == pytest.approx(70.21746048, abs=1e-6)  # later versions: 70.3981


# Traps

def test_equal_neighbours_merge_except_those_that_begin_with_s():
    assert chunks(['NOUN'] * 3) == {('NOUN', 0, 2)}
    assert chunks(['SCONJ'] * 2) == {('SCONJ', 0, 0), ('SCONJ', 1, 1)}
    assert chunks(['INTJ'] * 2) == {('INTJ', 0, 1)}


@given(st.lists(st.sampled_from(UPOS), min_size=1, max_size=20))
def test_chunks_of_bare_tags_are_runs(tags):
    runs, start = set(), 0
    for tag, run in groupby(tags):
        n = len(list(run))
        runs |= {(tag, i, i) for i in range(start, start + n)} if tag[0] == 'S' else {(tag, start, start + n - 1)}
        start += n
    assert chunks(tags) == runs


@settings(deadline=None, max_examples=50)
@given(corpus(NER))
def test_for_entities_old_and_new_seqeval_agree(data):
    assert entity_f1(*sides(data)) == pytest.approx(chunk_f1(*sides(data)))


@pytest.mark.parametrize('task', ['xquad', 'tydiqa'])
def test_squad_normaliser_is_english_in_every_language(task):
    assert score_task(task, [['el Cid']], ['Cid'], 'es')['exact_match'] == 0
    assert score_task(task, [['the Cid']], ['Cid'], 'es')['exact_match'] == 100
    assert score_task(task, [['北京。']], ['北京'], 'zh')['exact_match'] == 0


@pytest.mark.parametrize('language, answer, normal', [
    ('en', 'The  a-b Cat!', 'ab cat'), ('es', '¿Los Unos gatos?', 'gatos'), ('de', 'Dem Hund', 'hund'), ('vi', 'những con mèo', 'con mèo'),
    ('hi', 'the बिल्ली।', 'the बिल्ली'), ('zh', 'UN在北京，1990', 'un 在 北 京 1990'), ('ar', 'القاهرة', 'قاهرة'), ('ar', 'عمال', 'عم'),
    ('ar', 'من اليمن', 'من يمن')])
def test_mlqa_normalisers(language, answer, normal):
    assert mlqa_normal(answer, language) == normal


def test_the_labs_languages_get_the_default_rule():
    assert mlqa_normal('The el Cid', 'qaa') == squad_normal('The el Cid') == 'el cid'
    assert score_task('mlqa', [['x y']], ['x'], 'qtz')['f1'] == pytest.approx(200 / 3)


def test_answers_that_normalise_to_nothing():
    assert answer_scores('xquad', ['the'], 'a', 'en') == (0, 1)  # SQuAD v1.1: equal, and yet no word in common
    assert answer_scores('squad_v2', ['the'], 'a', 'en') == (1, 1)
    for gold in ([], ['']):
        assert answer_scores('squad_v2', gold, '', 'en') == (1, 1) and answer_scores('squad_v2', gold, 'x', 'en') == (0, 0)
    assert answer_scores('squad_v2', ['x'], '', 'en') == (0, 0)


def test_a_question_without_gold_is_an_error_outside_squad_v2():
    with pytest.raises(XltError, match='without an acceptable answer'): score_task('xquad', [[]], ['x'], 'en')


def test_metrics_come_in_the_order_of_the_registry():
    gold = {'sentence_pair': ['neutral'], 'multiple_choice': [2], 'span': [['x']], 'tagging': [['B-PER']], 'retrieval': [('a', 'b')]}
    for task in TASKS.values():
        answer = ['x'] if task.kind == 'span' else gold[task.kind]
        scores = score_task(task.name, gold[task.kind], answer, 'en')
        assert tuple(scores) == task.metrics and set(scores.values()) == {100}


# Properties

@given(pairs_of(labels))
def test_accuracy(pairs):
    gold, guess = zip(*pairs)
    value = accuracy(list(gold), list(guess))
    assert 0 <= value <= 100 and accuracy(list(gold), list(gold)) == 100
    assert value == accuracy(list(gold)[::-1], list(guess)[::-1])
    assert value == pytest.approx(100 * sum(correct('xnli', gold, guess, 'sw')) / len(gold))


@given(corpus(UPOS))
def test_chunk_f1_is_symmetric_and_perfect_only_for_equals(data):
    gold, guess = sides(data)
    there, back = chunk_f1(gold, guess), chunk_f1(guess, gold)
    assert there['f1'] == pytest.approx(back['f1']) and there['precision'] == pytest.approx(back['recall'])
    assert 0 <= there['f1'] <= 100.0001 and chunk_f1(gold, gold)['f1'] == 100
    assert (there['f1'] == 100) == (gold == guess)


@given(words, words)
def test_word_f1(a, b):
    a, b = squad_normal(a), squad_normal(b)
    assert word_f1(a, b) == word_f1(b, a) and 0 <= word_f1(a, b) <= 1
    assert word_f1(a, a) == bool(a)
    if a and b: assert word_f1(a, b, no_answer=True) == word_f1(a, b)


@given(words, st.sampled_from(['en', 'es', 'hi', 'vi', 'de', 'zh', 'qaa']))
def test_normalising_gives_clean_words(answer, language):
    normal = mlqa_normal(answer, language)
    assert normal == ' '.join(normal.split()) == normal.lower()


@given(words, st.lists(words, min_size=1, max_size=4))
def test_more_acceptable_answers_never_hurt(guess, gold):
    few, many = answer_scores('mlqa', gold[:1], guess, 'en'), answer_scores('mlqa', gold, guess, 'en')
    assert many[0] >= few[0] and many[1] >= few[1]


@given(st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5))), st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5))))
def test_pair_f1(gold, guess):
    s = pair_f1(gold, guess)
    assert s == pair_f1(list(gold) * 2, guess) and s['f1'] == pytest.approx(pair_f1(guess, gold)['f1'])
    assert (s['f1'] == 0) == (not gold & guess)
    if gold: assert s['recall'] == pytest.approx(100 * sum(correct('bucc2018', list(gold), guess, 'zh')) / len(gold))


@given(corpus(NER))
def test_correct_tags_weighted_by_length_are_the_accuracy(data):
    gold, guess = sides(data)
    shares = correct('udpos', gold, guess, 'yo')
    weighted = sum(s * len(g) for s, g in zip(shares, gold)) / sum(map(len, gold))
    assert 100 * weighted == pytest.approx(score_task('udpos', gold, guess, 'yo')['accuracy'])


# Refusals

@pytest.mark.parametrize('task, gold, guess, message', [
    ('xnli', ['neutral'], [], '0 predictions, but 1'), ('tatoeba', [], [], 'no predictions'), ('panx', [['O']], [['O', 'O']], 'sentence 1 has 2 tags'),
    ('udpos', [['NOUN']], [['']], 'empty tag'), ('xquad', [['x']], [], '0 answers'), ('xnil', [], [], "did you mean 'xnli'")])
def test_scores_that_cannot_be(task, gold, guess, message):
    with pytest.raises(XltError, match=message): score_task(task, gold, guess, 'en')


@pytest.fixture
def submission(mock, tmp_path) -> Path:
    "A copy of the example predictions to spoil."
    return Path(shutil.copytree(mock/'predictions', tmp_path/'predictions'))


def drop(path): path.unlink()
def shorten(path): path.write_text('\n'.join(path.read_text().splitlines()[:-1]) + '\n')
def lengthen(path): path.write_text(path.read_text().rstrip('\n') + '\n\nO\n')
def garble(path): path.write_bytes(b'neutr\xe4l\n' + path.read_bytes())
def mark(path): path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
def cut(path): path.write_text(path.read_text()[:-5])
def forget(path): path.write_text(json.dumps(dict(list(json.loads(path.read_text()).items())[1:])))
def invent(path): path.write_text(json.dumps(json.loads(path.read_text()) | {'zzz': 'answer'}))
def listed(path): path.write_text('["answer"]')
def nested(path): path.write_text('{"a": ' * 50_000 + '"b"' + '}' * 50_000)
def endless(path): path.write_text('{"a": ' + '9' * 5000 + '}')
def null(path): path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()))))
def untab(path): path.write_text(path.read_text().replace('\t', ' '))


@pytest.mark.parametrize('spoil, name, message', [
    (drop, 'xnli/test-sw.tsv', 'is missing'), (drop, 'xquad/test-el.json', 'is missing'), (shorten, 'pawsx/test-ko.tsv', 'predictions, but'),
    (shorten, 'tatoeba/test-af.tsv', 'predictions, but'), (lengthen, 'panx/test-yo.tsv', 'sentences, but'),
    (garble, 'xnli/test-ur.tsv', ':1: byte 0xe4 is not UTF-8'), (cut, 'mlqa/test-vi.json', 'not JSON'), (listed, 'xquad/test-hi.json', 'not a JSON object'), (null, 'xquad/test-hi.json', 'the answer to .* is None, not a text'),
    (nested, 'xquad/test-hi.json', 'not JSON that can be read .nested too deeply.'), (endless, 'xquad/test-hi.json', 'not JSON that can be read .Exceeds the limit')])
def test_a_broken_submission_is_refused_by_name(mock, submission, spoil, name, message):
    spoil(submission/name)
    with pytest.raises(XltError, match=message) as e: score_submission(submission, mock/'labels')
    assert name in str(e.value)


def test_windows_line_ends_are_read_as_the_official_script_reads_them(mock, submission):
    path = submission/'xnli'/'test-de.tsv'
    path.write_bytes(path.read_bytes().replace(b'\n', b'\r\n'))
    assert score_submission(submission, mock/'labels')['overall']['all_task'] == pytest.approx(62.17319850507248, abs=1e-9)


def test_only_what_is_complete_is_averaged(mock, submission):
    shutil.rmtree(submission/'bucc2018')
    result = score_submission(submission, mock/'labels')
    assert set(result['overall']) == {'classification', 'tagging', 'qa'} and set(result['detailed']) == set(TARGET) - {'bucc2018'}


def test_folders_that_are_no_submission(tmp_path):
    with pytest.raises(XltError, match='no such folder'): score_submission(tmp_path/'none', tmp_path)
    with pytest.raises(XltError, match='share no task'): score_submission(tmp_path, tmp_path)


# Odd submissions, scored as the official script scores them

def official_squad(task, language, gold, given):
    "What evaluate_squad.py and evaluate_mlqa.py do: every question of the labels, each time it stands there; without a prediction 0."
    f1, exact = zip(*(answer_scores(task, answers, given[id], language) if id in given else (0, 0) for id, answers in gold))
    return {'f1': 100 * sum(f1) / len(f1), 'exact_match': 100 * sum(exact) / len(exact)}


def official_chunks(sentences):
    "As seqeval 0.0.12 does it: one long list, an O after each sentence."
    return chunks([tag for sentence in sentences for tag in [*sentence, 'O']])


def official(task, language, predictions, labels):
    if TARGET[task].kind == 'span':
        gold = [(q['id'], [a['text'] for a in q['answers']]) for d in json.loads(labels.read_text())['data'] for p in d['paragraphs'] for q in p['qas']]
        return official_squad(task, language, gold, json.loads(predictions.read_text()))
    lines = [[line.strip() for line in open(p, encoding='utf-8')] for p in (labels, predictions)]
    if task == 'bucc2018': gold, given = ({tuple(line.split('\t')) for line in side} for side in lines)
    elif TARGET[task].kind == 'tagging': gold, given = (official_chunks([block.split('\n') if block else [] for block in '\n'.join(side).removesuffix('\n').split('\n\n')]) for side in lines)
    else: return {'accuracy': 100 * sum(g == p for g, p in zip(*lines)) / len(lines[0])}
    right = len(gold & given)
    p, r = (right / len(given), right / len(gold)) if right else (0, 0)
    return {'f1': 100 * 2 * p * r / (p + r) if right else 0, 'precision': 100 * p, 'recall': 100 * r}


def rename(path): path.write_text(path.read_text().replace('neutral', 'Neutral', 1))
def retag(path): path.write_text(path.read_text().replace('NOUN', 'NOMEN', 1))
def count(path): path.write_text(path.read_text().replace('\n', 'th\n', 1))
def uneven(path): path.write_text('X\n' + path.read_text())
def blank(path): path.write_text('\n' + '\n'.join(path.read_text().splitlines()[1:]) + '\n')
def twice(path): path.write_text(path.read_text() + path.read_text().splitlines()[0] + '\n')
def repeat(path):
    given = json.loads(path.read_text())
    path.write_text('{' + f'{json.dumps(list(given)[0])}: "no such answer", ' + path.read_text().strip()[1:])
def old_mac(path): path.write_bytes(path.read_bytes().replace(b'\n', b'\r'))
def nothing(path): path.write_text('{}')
def bare(path): path.write_text(re.sub('[BI]-', '', path.read_text()))
def dashes(path): path.write_text(re.sub(r'(?m)^O$', '_', path.read_text()))
def columns(path): path.write_text(re.sub(r'(?m)^(?=.)', 'word\t', path.read_text()))


@pytest.mark.parametrize('spoil, name, words', [
    (forget, 'tydiqa/test-sw.json', '1 of '), (forget, 'mlqa/test-de.json', 'without an answer, counted 0'), (nothing, 'xquad/test-en.json', 'without an answer'), (invent, 'xquad/test-th.json', 'the labels do not have, ignored (zzz)'),
    (repeat, 'xquad/test-hi.json', 'answered more than once'), (rename, 'xnli/test-sw.tsv', "'Neutral' is not a label of the gold file"), (mark, 'xnli/test-ur.tsv', ":1: '\\ufeff"), (blank, 'pawsx/test-de.tsv', ":1: '' is not a label"),
    (retag, 'udpos/test-de.tsv', "'NOMEN' is not a tag of the gold files"), (uneven, 'udpos/test-yo.tsv', 'sentence 1 has'), (uneven, 'panx/test-de.tsv', 'sentence 1 has'), (count, 'tatoeba/test-sw.tsv', 'is not a number'),
    (untab, 'bucc2018/test-zh.tsv', 'is not a pair of ids'), (twice, 'bucc2018/test-de.tsv', '1 pair repeats an earlier one and does not count'), (old_mac, 'xnli/test-de.tsv', None),
    (bare, 'panx/test-de.tsv', "'PER' is not a tag of the gold files"), (dashes, 'panx/test-sw.tsv', "'_' is not a tag"), (columns, 'panx/test-de.tsv', ':1: several columns, the last of which is a tag'), (columns, 'xnli/test-sw.tsv', ':1: several columns, the last of which is a label')])
def test_an_odd_submission_has_the_official_score_and_is_said_to_be_odd(mock, submission, spoil, name, words):
    task, file = name.split('/')
    language = file.split('-')[1].split('.')[0]
    before = (submission/name).read_bytes()
    spoil(submission/name)
    assert (submission/name).read_bytes() != before
    scores, n, said = evaluate_submitted_file(task, language, submission/name, mock/'labels'/name)
    assert scores == pytest.approx(official(task, language, submission/name, mock/'labels'/name), abs=1e-9) and n > 0
    whole, examples, warned = evaluate_submission(submission, mock/'labels')
    assert {m: whole['detailed'][task][m][language] for m in scores} == scores and examples[task][language] == n
    if words is None: assert warned == []; return
    assert any(words in line and name in line for line in warned) and set(warned) <= set(said)
    with pytest.raises(XltError, match=re.escape(name)): evaluate_submission(submission, mock/'labels', strict=True)


def test_files_of_no_task_or_language_are_named(mock, submission):
    (submission/'tatoeba').rename(submission/'Tatoeba')
    for name in ('xnli/test-ja.tsv', 'pawsx/test_de.tsv', 'mlqa/notes.txt', '.cache/x', 'bucc/test-de.tsv'): write(submission/name, '')
    scores, _, notes = evaluate_submission(submission, mock/'labels')
    assert set(TARGET) - set(scores['detailed']) == {'tatoeba'} and [note.removeprefix(f'{submission}/') for note in notes] == [
        "Tatoeba: not a task of XTREME (did you mean 'tatoeba'?), ignored", "bucc: not a task of XTREME (did you mean 'bucc2018'?), ignored",
        'pawsx: test_de.tsv: not in pawsx of XTREME, ignored', 'xnli: test-ja.tsv: not in xnli of XTREME, ignored']
    with pytest.raises(XltError, match='and 3 more like it'): evaluate_submission(submission, mock/'labels', strict=True)


def test_all_missing_files_are_named(mock, submission):
    for code in ('sw', 'ur'): drop(submission/f'xnli/test-{code}.tsv')
    with pytest.raises(XltError, match=r'test-sw.tsv is missing, and so are test-ur.tsv; xnli needs all of'): score_submission(submission, mock/'labels')


def test_numbers_beyond_the_last_sentence(tmp_path):
    "Counted from 1 instead of 0, the last number is nobody's; a zero too many is another number."
    write(tmp_path/'gold', '2\n0\n1\n'), write(tmp_path/'given', '3\n1\n01\n')
    scores, _, notes = evaluate_submitted_file('tatoeba', 'sw', tmp_path/'given', tmp_path/'gold')
    assert scores == {'accuracy': 0} and [note.rpartition('given')[2] for note in notes] == [f":{n}: '{text}' is not a number from 0 to 2, counted wrong" for n, text in ((1, '3'), (3, '01'))]


def test_a_gold_question_without_an_answer(tmp_path):
    write(tmp_path/'gold.json', '[{"paragraphs": [{"qas": [{"id": "a", "answers": []}]}]}]'), write(tmp_path/'given.json', '{"a": "x"}')
    with pytest.raises(XltError, match="gold.json: question 'a' has no answer"): evaluate_submitted_file('xquad', 'en', tmp_path/'given.json', tmp_path/'gold.json')


def test_the_example_submission_is_not_odd(mock):
    assert evaluate_submission(mock/'predictions', mock/'labels', strict=True)[2] == []


def test_a_question_that_stands_twice_in_the_labels_counts_twice(tmp_path):
    question = lambda id, text: {'id': id, 'answers': [{'text': text}]}
    (tmp_path/'gold.json').write_text(json.dumps({'data': [{'paragraphs': [{'qas': [question('a', 'x'), question('a', 'y'), question('b', 'z')]}]}]}))
    (tmp_path/'given.json').write_text('{"a": "x", "b": "z"}')
    assert evaluate_submitted_file('xquad', 'en', tmp_path/'given.json', tmp_path/'gold.json')[0]['exact_match'] == pytest.approx(200 / 3)


def test_an_empty_answer_is_not_a_missing_one(tmp_path):
    "SQuAD's normaliser takes articles away: the gold answer `the` is then empty, and so is an empty answer; a missing one counts 0."
    (tmp_path/'gold.json').write_text('[{"paragraphs": [{"qas": [{"id": "a", "answers": [{"text": "the"}]}]}]}]')
    for given, exact in (('{"a": ""}', 100), ('{}', 0)):
        (tmp_path/'given.json').write_text(given)
        assert evaluate_submitted_file('xquad', 'en', tmp_path/'given.json', tmp_path/'gold.json')[0]['exact_match'] == exact
