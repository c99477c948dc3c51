"Leakage: what is compared, refused, removed and remembered, on small cases, in the lab, and in published files."
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from xlt.data import lab_speech as world
from xlt.data.files import Files
from xlt.data.splits import training
from xlt.data.examples import dataset, key
from xlt.data.readers import read_squad
from xlt.data.lab import Lab
from xlt.data.lab_speech import Speaker, hidden, reserved
from xlt.common.errors import XltError
from xlt.data.leakage import LEAKAGE_LIMIT, SHORT_TEXT, TestSet, check_leakage, load_test_sets, is_short, leakage_table, ancestor_digests, digest_rows, save_digests, count_touched
from xlt.runs.params import Study
from xlt.runs.graph import runs
from xlt.data.door import load_translated, load
from xlt.tasks.cards import INTERMEDIATE, TARGET, TASKS

CONTEXT = 'The quick dog sat on the mat. It rained in Boston all day.'
SPAN = dict(id='1', title='', context=CONTEXT, question='Who sat on the mat yesterday?', answers={'text': ['dog'], 'answer_start': [10]})


class Fake:
    "A source with one test set."
    kind, pivot = 'fake', 'en'
    def __init__(self, kind, rows): self.data = dataset(rows, kind)
    def load(self, task, split, language): return self.data
    def languages(self, task): return ['en', 'sw']


def pairs(*rows): return [dict(id=str(i), sentence1=a, sentence2=b, label='neutral') for i, (a, b) in enumerate(rows)]
def tagged(*texts): return [dict(id=str(i), tokens=t.split(), tags=['X'] * len(t.split())) for i, t in enumerate(texts)]
def sides(*texts): return [dict(id=str(i), side='foreign', text=t, matches=[]) for i, t in enumerate(texts)]
def choice(*choices): return [dict(id='1', context='A context that stands in no test.', question='', choices=list(choices), label=0)]
def exam(rows, target='tatoeba', language='sw'): return TestSet(target, language, len(rows), digest_rows(rows))
def share(test, read): return count_touched(exam(test), np.unique(digest_rows(read).digests))['percent']


SAID = 'It rained in Boston all day.'


@pytest.mark.parametrize('read', [
    pairs(('Nobody went out.', SAID)), pairs((SAID, 'Nobody went out.')), pairs((f'We stayed at home. {SAID}', 'Nobody went out.')),  # one of two sentences
    [SPAN], [SPAN | {'context': 'Nothing of the sort.', 'question': SAID}], choice('It snowed.', SAID), tagged('It rained in Boston all day .'), [f'We left. {SAID} Home.']])
def test_a_tested_sentence_is_found_in_whatever_role_it_was_read(read):
    assert share(sides(SAID), read) == 100 == share(tagged(SAID[:-1]), read) == share(pairs(('Something quite different.', SAID)), read)
    assert share(sides('It rained in Boston all night.'), read) == 0


@pytest.mark.parametrize('read, percent', [(pairs(('Who sat on the mat yesterday?', 'x')), 100), (sides('The quick dog sat on the mat!'), 100), (sides(CONTEXT), 100),
                                           (sides('Who sat on the mat today?'), 0)])
def test_a_question_is_touched_by_its_words_its_paragraph_or_a_sentence_of_it(read, percent): assert share([SPAN], read) == percent


def test_every_tatoeba_sentence_as_a_hypothesis_is_refused():
    "What the guard of before let pass: a test of one sentence, a training row of two."
    test = sides(*(f'The {n} boats left the harbour.' for n in range(200)))
    mnli = pairs(*((f'Premise number {n} of the set.', row['text']) for n, row in enumerate(test)))
    with pytest.raises(XltError) as e: check_leakage([exam(test)], {'intermediate mnli: mnli train': mnli})
    assert all(part in str(e.value) for part in ('200 of the 200 test items (100 %)', 'tatoeba', "'sw'", 'boats left the harbour.', 'leakage: remove'))


def test_more_than_one_percent_is_refused_and_one_percent_is_not():
    test = sides(*(f'The {n} boats left the harbour.' for n in range(300)))
    table = check_leakage([exam(test)], {'mine': test[:3]}).table
    assert table.percent.tolist() == [LEAKAGE_LIMIT] and table.touched.tolist() == [3] and table.example[0].endswith('boats left the harbour.')
    with pytest.raises(XltError, match=r'mine holds a text of 4 of the 300 test items \(1.33 %\)'): check_leakage([exam(test)], {'mine': test[:4]})


def test_what_a_model_has_read_counts_together(tmp_path):
    test = sides(*(f'The {n} boats left the harbour.' for n in range(300)))
    read = {'encoder: pretraining text': test[:2], 'mnli train': test[1:3]}
    assert check_leakage([exam(test)], read).table[['read_by', 'touched']].values.tolist() == [['encoder: pretraining text', 2], ['mnli train', 2], ['everything read', 3]]
    with pytest.raises(XltError, match='everything read holds a text of 4 of the 300 .*the model descends from mnli--s0'):
        check_leakage([exam(test)], {'own train': test[:2] + sides(SAID)}, 'remove', ancestor_digests(line(tmp_path, {'first': test[2:4], 'second': test[4:6]})))
    with pytest.raises(XltError, match='everything read holds a text of 4 of the 300'): check_leakage([exam(test)], {'own train': test[:2], 'own dev': test[2:4]})


def test_short_texts_are_counted_apart():
    test = sides('Yes.', 'Come in.', "I don't know.", '我不知道', 'نعم فعلا', SAID)
    found = check_leakage([exam(test)], {'mine': test[:5]}, 'remove')
    assert (found.table.touched[0], found.table.short[0], found.table.removed[0]) == (0, 5 - (not is_short(key('我不知道'))), (not is_short(key('我不知道'))))
    assert is_short('x' * (SHORT_TEXT - 1)) and not is_short('x' * SHORT_TEXT) and not is_short('京' * (SHORT_TEXT // 3)), 'a Chinese character says more than a letter'


def test_marks_are_letters():
    assert share(sides('वह आज दिल्ली की सड़क पर है'), sides('वह आज दिल्ली का सड़क पर है')) == 0, 'की is not का'
    assert share(sides('เขากินข้าวที่บ้านทุกวัน'), sides('เขากนข้าวที่บ้านทุกวัน')) == 0, 'กิน is not กน'
    assert key('Café') == key('CAFE\N{COMBINING ACUTE ACCENT}') and key('…—') == ''


def test_removing_drops_the_rows_that_hold_a_test_text_and_says_how_many():
    data = dataset(pairs(('A first premise of the set.', SAID), ('A second premise of the set.', 'Yes.'), (f'We stayed. {SAID}', 'A hypothesis of the set.')), 'sentence_pair')
    found = check_leakage([exam(sides(SAID, 'Yes.')), exam(sides('A second language is here.'), language='fi')], {'mnli train': data}, 'remove')
    assert found.data['mnli train']['id'] == ['1'] and len(found.table) == 1
    assert found.table[['target', 'language', 'removed', 'touched', 'short']].values.tolist() == [['tatoeba', 'sw', 2, 0, 1]]
    assert np.array_equal(found.digests['mnli train'], np.unique(digest_rows(found.data['mnli train']).digests)), 'what is kept is what is left'
    with pytest.raises(XltError, match='mnli train: every row holds a text of a test'): check_leakage([exam(sides(SAID))], {'mnli train': pairs((SAID, 'x'))}, 'remove')


def test_removing_from_text_by_language():
    found = check_leakage([exam(sides(SAID))], {'text': {'en': ['We left.', f'Well. {SAID}'], 'sw': [SAID]}}, 'remove')
    assert found.data == {'text': {'en': ['We left.']}} and found.table.removed.tolist() == [2]


def test_the_pivots_test_is_looked_at_even_where_it_is_not_evaluated():
    "The other languages' items are its translations."
    assert [(e.target, e.language) for e in load_test_sets(Fake('sentence_pair', pairs((SAID, SAID))), {'xnli': ['sw']})] == [('xnli', 'en'), ('xnli', 'sw')]


def line(tmp_path, read):
    "A run whose parent has read something."
    known = check_leakage([], read).digests
    save_digests(tmp_path, known)
    return SimpleNamespace(parent=SimpleNamespace(name='mnli--s0', folder=tmp_path, parent=None))


def test_a_target_added_later_is_compared_with_what_its_ancestors_read(tmp_path):
    run = line(tmp_path, {'intermediate mnli: mnli train': pairs(('A premise.', SAID))})
    with pytest.raises(XltError, match='intermediate mnli: mnli train holds .*mnli--s0, trained before this was tested; to repeat it: xlt run STUDY --remake mnli--s0'):
        check_leakage([exam(sides(SAID))], {}, 'remove', ancestor_digests(run))
    with pytest.raises(XltError, match='set `leakage: remove`'): check_leakage([exam(sides(SAID))], {}, 'refuse', ancestor_digests(run))
    assert not len(check_leakage([exam(sides('Another sentence of the test.'))], {}, 'refuse', ancestor_digests(run)).table)
    (tmp_path / 'read.npz').unlink()
    with pytest.raises(XltError, match='what mnli--s0 has read is not known; to repeat that run: xlt run STUDY --remake mnli--s0'): ancestor_digests(run)


def test_a_message_has_at_most_five_tests():
    with pytest.raises(XltError) as e: check_leakage([exam(sides(SAID), language=c) for c in 'abcdefghi'], {'mine': [SAID]})
    assert "'e'" in str(e.value) and "'f'" not in str(e.value) and 'and 4 more' in str(e.value)


def test_a_report_says_each_thing_once():
    table = check_leakage([exam(sides(SAID, *map('Sentence number {} of many.'.format, range(200))))], {'mine': [SAID]}).table.to_dict('records')
    assert len(leakage_table([{'leakage': table}, {'leakage': table}, {'leakage': []}, {}])) == 1


def specs(*settings):
    "Each run's own part of what decides its result."
    return {r.name: {k: v for k, v in r.spec.items() if k != 'parent'} for r in runs(Study.read('tests/params/tiny.yaml', set=settings))}


def test_removing_makes_targets_and_languages_part_of_what_a_run_is(monkeypatch, repo):
    monkeypatch.setenv('XLT_ROOT', str(repo))
    remove, more, fewer = 'leakage=remove', 'targets=[xnli, xquad, mlqa]', 'languages=[qaa, qab, qac, qad]'
    assert specs()['mnli--s0'] == specs(more)['mnli--s0'] == specs(fewer)['mnli--s0'], 'what is refused is not trained otherwise'
    for name in ('encoder', 'mnli--s0', 'mnli--xnli--s0'): assert specs()[name] != specs(remove)[name], 'what is removed is not read'
    for setting in (more, fewer): assert specs(remove)['mnli--s0'] != specs(remove, setting)['mnli--s0']
    assert specs(remove, more)['none--xquad--s0']['left_out'].keys() == {'xquad', 'mlqa'}, 'one training serves both, so it does without both tests'
    assert 'left_out' not in specs(remove, more)['none--mlqa--s0']


@pytest.fixture(scope='module')
def spoken():
    "All clauses that the lab says in training data, in text and in translations, and those of a test, for three seeds."
    said, now, real = {'read': Counter(), 'tested': Counter()}, ['read'], Speaker.clause
    def listen(self, clause):
        said[now[0]][clause] += 1
        return real(self, clause)
    world.Speaker.clause = listen
    try:
        for seed in (1, 2, 3):
            lab = Lab(seed=seed, n_languages=3, largest=2000, smallest=50, train_examples=150, dev_examples=30, test_examples=30)
            for task in TASKS:
                now[0] = 'read'
                if TASKS[task].train_on: [lab.load(task, split, 'qaa') for split in ('train', 'dev')]
                if TASKS[task].role == 'intermediate': load_translated(lab, task, .3)
                now[0] = 'tested'
                if task in TARGET: lab.load(task, 'test', 'qab')
            now[0] = 'read'
            lab.corpus()
    finally: world.Speaker.clause = real
    return said


def test_no_clause_that_is_reserved_for_tests_is_said_in_training_or_pretraining_text(spoken):
    assert len(spoken['read']) > 10_000 and any(c.asked for c in spoken['read'])
    assert not [c for c in spoken['read'] if reserved(c) or c.asked and reserved(hidden(c))]


def test_tests_say_only_what_is_reserved_for_them(spoken):
    assert len(spoken['tested']) > 1000
    assert not [c for c in spoken['tested'] if not reserved(hidden(c) if c.asked else c)]


def test_a_slip_never_says_what_is_reserved():
    lab = Lab(n_languages=3)
    speaker = Speaker(0, lab.world()['qab'], .5, world.draw('slips'))
    clauses = [world.fresh(world.draw(i), 0, False) for i in range(500)]
    slipped = [speaker.slipped(c) for c in clauses]
    assert sum(a != b for a, b in zip(clauses, slipped)) > 250 and not any(map(reserved, slipped))


@pytest.mark.parametrize('seed', [1, 2, 3])
def test_the_guard_finds_nothing_in_the_lab(seed):
    lab = Lab(seed=seed, n_languages=3, largest=2000, smallest=50, train_examples=300, dev_examples=50, test_examples=60)
    read = {f'{task} {split}': load(lab, task, split, 'qaa') for task in TASKS if TASKS[task].train_on == task for split in ('train', 'dev')}
    read |= {f'{task} in translation': load_translated(lab, task, .1) for task in INTERMEDIATE} | {'pretraining text': lab.corpus()}
    assert check_leakage(load_test_sets(lab, {t: lab.languages(t) for t in TARGET}), read).table.empty


@pytest.mark.parametrize('task, labels', [('xnli', 3), ('pawsx', 2)])
def test_the_labs_tests_are_balanced_and_no_easier_than_its_training_data(task, labels):
    "The share of second sentences that repeat the first, by label, is the same in both."
    lab = Lab(seed=1, n_languages=3, train_examples=1500, test_examples=1500)
    def verbatim(split):
        rows = load(lab, task, split, 'qaa').to_list()
        counts = Counter(r['label'] for r in rows)
        assert len(counts) == labels and max(counts.values()) < 1.15 * min(counts.values())
        return {label: sum(r['sentence1'] == r['sentence2'] for r in rows if r['label'] == label) / n for label, n in counts.items()}
    train, test = verbatim('train'), verbatim('test')
    assert all(abs(train[label] - test[label]) < .07 for label in train), (train, test)


@pytest.fixture(scope='module')
def files(sample): return Files(folder=str(sample))


def test_every_english_side_of_tatoeba_is_looked_at(files, monkeypatch):
    monkeypatch.delenv('XLT_FILES', raising=False)
    rows = [r for r in load(files, 'tatoeba', 'test', 'sw').to_list() if r['side'] == 'english']
    firm = sum(not is_short(key(r['text'])) for r in rows)
    with pytest.raises(XltError, match=f"mine holds a text of {firm} of the 780 test items .* of tatoeba in 'sw'"):
        check_leakage(load_test_sets(files, {'tatoeba': files.languages('tatoeba')}), {'mine': pairs(*((f'Premise {r["id"]}', r['text']) for r in rows))})


def test_xquad_is_in_squads_development_set(files, sample, monkeypatch):
    monkeypatch.delenv('XLT_FILES', raising=False)
    everything = read_squad(sample / 'intermediate' / 'squad' / 'dev-v1.1.from-explorer-html.json')
    with pytest.raises(XltError, match="all of SQuAD dev holds a text of 1,1.. of the 1,190 test items .* of xquad in 'en'"):
        check_leakage(load_test_sets(files, {'xquad': ['de']}), {'all of SQuAD dev': everything})


def test_xnlis_development_file_is_refused_where_it_is_the_test(files, sample, monkeypatch):
    monkeypatch.delenv('XLT_FILES', raising=False)
    with pytest.raises(XltError, match="xnli in 'en'"): check_leakage(load_test_sets(files, {'xnli': ['en']}), {'mine': load(files, 'xnli', 'test', 'en')})


def test_what_the_files_source_gives_to_train(files, monkeypatch):
    "All is clean but WikiANN, which repeats sentences between its own splits; removing them leaves nothing."
    monkeypatch.delenv('XLT_FILES', raising=False)
    exams = load_test_sets(files, {'xquad': ['en'], 'mlqa': ['en'], 'xnli': ['en'], 'udpos': ['en'], 'tatoeba': ['sw'], 'panx': ['en']})
    for task in ('squad_v1', 'mnli', 'udpos'):  # each as one model reads it
        read = {f'{task} {split}': dataset(rows, TASKS[task].kind) for split, rows in zip(('train', 'dev'), training(files.root, task, .1))}
        assert (check_leakage(exams, read).table.percent <= LEAKAGE_LIMIT).all()
    panx = {'panx train': dataset(training(files.root, 'panx', .1)[0], 'tagging')}
    with pytest.raises(XltError, match="panx train holds .* of panx in 'en'"): check_leakage(exams, panx)
    found = check_leakage(exams, panx, 'remove')
    own = found.table[(found.table.target == 'panx') & (found.table.language == 'en')].iloc[0]
    assert own.touched == 0 < own.removed and len(found.data['panx train']) < len(panx['panx train'])
