"Leakage: what is counted, what is refused, and what really overlaps in the lab and in the sample."
import pytest

from xlt.files import Files, dataset, read_squad, training
from xlt.lab import Lab
from xlt.languages import XltError
from xlt.leakage import check_leakage, in_pivot, overlap_of, overlaps, read_of, too_much, whole
from xlt.sources import load

SPAN = dict(id='1', title='', context='The dog sat. It rained.', question='Who sat?', answers={'text': ['The dog'], 'answer_start': [0]})


class Fake:
    "A source with one test set."
    kind, pivot = 'fake', 'en'
    def __init__(self, kind, rows): self.data = dataset(rows, kind)
    def load(self, task, split, language): return self.data


def pairs(*rows): return [dict(id=str(i), sentence1=a, sentence2=b, label='neutral') for i, (a, b) in enumerate(rows)]
def tagged(*texts): return [dict(id=str(i), tokens=t.split(), tags=['X'] * len(t.split())) for i, t in enumerate(texts)]
def sides(*texts): return [dict(id=str(i), side='foreign', text=t, matches=[]) for i, t in enumerate(texts)]


def test_a_text_is_its_letters():
    assert whole(pairs(('Two dogs .', 'A-b'))[0]) == ('twodogs', 'ab') and whole(tagged('zum Markt')[0]) == ('zummarkt',)
    assert whole(SPAN) == ('thedogsatitrained', 'whosat')


def test_paragraphs_are_read_sentence_by_sentence():
    assert overlap_of(read_of({'en': ['We left. It is raining. Home.']}), sides('It is raining!'))['shared inputs'] == 1


def test_punctuation_is_nobodys_exam():
    assert overlap_of(read_of({'en': ['a']}), tagged('...', 'b'))['shared inputs'] == 0
    assert overlap_of(read_of(tagged('!!!')), tagged('...'))['shared inputs'] == 0


@pytest.mark.parametrize('kind, target, test, train, refused', [
    ('sentence_pair', 'xnli', pairs(('a', 'b'), ('c', 'd')), pairs(('a', 'b')), True),
    ('sentence_pair', 'xnli', pairs(('a', 'b'), ('c', 'd')), pairs(('a', 'd'), ('c', 'b')), False),  # texts, but not together
    ('sentence_pair', 'xnli', pairs(('a', 'b')), pairs(('b', 'a')), False),
    ('span', 'xquad', [SPAN], [SPAN | {'answers': {'text': [], 'answer_start': []}}], True),
    ('span', 'xquad', [SPAN], [SPAN | {'question': 'When?'}], False),
    ('tagging', 'udpos', tagged(*(f'word{i}' for i in range(100))), tagged(*(f'word{i}' for i in range(5))), False),
    ('tagging', 'udpos', tagged(*(f'word{i}' for i in range(100))), tagged(*(f'word{i}' for i in range(6))), True),
    ('retrieval', 'tatoeba', sides(*(f'word{i}' for i in range(10))), {'sw': ['word1', 'word2']}, True),
    ('retrieval', 'tatoeba', sides(*(f'word{i}' for i in range(100))), {'sw': ['word1', 'word2']}, False)])
def test_what_is_refused(kind, target, test, train, refused):
    source = Fake(kind, test)
    table = overlaps(source, {'mine': train}, {target: ['en']})
    assert len(table) == 1 and table['shared texts'][0] > 0, 'whatever is shared is reported'
    if refused:
        with pytest.raises(XltError, match=f'mine contains .* of the .* test inputs of {target} in \'en\''): check_leakage(source, {'mine': train}, {target: ['en']})
    else: assert check_leakage(source, {'mine': train}, {target: ['en']}).equals(table)
    assert check_leakage(source, {'mine': train}, {target: ['en']}, tolerated=100).equals(table)


def test_many_overlaps_make_one_message():
    source = Fake('sentence_pair', pairs(('a', 'b')))
    with pytest.raises(XltError) as e: check_leakage(source, {f't{i}': pairs(('a', 'b')) for i in range(9)}, {'xnli': ['en']})
    assert 't0' in str(e.value) and 'and 4 more' in str(e.value)


@pytest.fixture(scope='module')
def lab(): return Lab(seed=1, largest=3000, smallest=50, train_examples=1500, test_examples=120)


@pytest.mark.parametrize('task', ['anli_plus', 'mnli', 'qqp', 'squad_v1', 'squad_v2', 'hellaswag', 'ccg', 'cosmosqa', 'csqa', 'pawsx', 'udpos', 'panx', 'tydiqa'])
def test_the_lab_never_trains_on_a_test_input(lab, task):
    targets = in_pivot(lab, {t: lab.languages(t) for t in ('xnli', 'pawsx', 'udpos', 'panx', 'xquad', 'mlqa', 'tydiqa', 'bucc2018', 'tatoeba')})
    read = {f'{task} {split}': load(lab, task, split, 'qaa') for split in ('train', 'dev')}
    table = check_leakage(lab, read, targets)
    print('\n', table.to_string())
    assert not table[~table.target.isin(['udpos', 'panx', 'tatoeba', 'bucc2018'])]['shared inputs'].any()


@pytest.fixture(scope='module')
def files(sample): return Files(folder=str(sample))


def test_every_english_side_of_tatoeba_is_looked_at(files, monkeypatch):
    monkeypatch.delenv('XLT_FILES', raising=False)
    read = {'mine': sides(*(r['text'] for r in load(files, 'tatoeba', 'test', 'sw').to_list() if r['side'] == 'english'))}
    with pytest.raises(XltError, match="mine contains 390 of the 780 test inputs of tatoeba in 'sw'"):
        check_leakage(files, read, in_pivot(files, {'tatoeba': files.languages('tatoeba')}))


def test_xquad_is_in_squads_development_set(files, sample, monkeypatch):
    monkeypatch.delenv('XLT_FILES', raising=False)
    everything = read_squad(sample / 'intermediate' / 'squad' / 'dev-v1.1.from-explorer-html.json')
    table = overlaps(files, {'all of SQuAD dev': everything}, {'xquad': ['en']})
    print('\n', table.to_string())
    assert table['shared inputs'][0] >= 1180
    with pytest.raises(XltError, match='all of SQuAD dev contains 1,1.. of the 1,190 test inputs of xquad'): check_leakage(files, {'all of SQuAD dev': everything}, {'xquad': ['en']})


def test_what_the_files_source_gives_to_train_is_clean(files, monkeypatch):
    monkeypatch.delenv('XLT_FILES', raising=False)
    read = {f'{task} {split}': rows for task in ('squad_v1', 'mnli', 'udpos', 'panx') for split, rows in zip(('train', 'dev'), training(files.root, task, .1))}
    tests = {'xquad': ['en'], 'mlqa': ['en'], 'xnli': ['en'], 'udpos': ['en'], 'panx': ['en', 'de'], 'tatoeba': ['sw']}
    table = check_leakage(files, read, tests)
    print('\n', table.to_string())
    assert not len(too_much(table, read)) and not table[table.target.isin(['xquad', 'mlqa', 'xnli'])]['shared inputs'].any()
