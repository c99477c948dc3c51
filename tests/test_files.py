"Files: every reader's refusals, what serves as what, and the sample folder's row counts."
import bz2
import json
import lzma
import re
from pathlib import Path

import pytest

from xlt.files import (NER, NLI, UPOS, Files, describe, evaluated, evaluation_files, evaluation_rows, fused, key, overlap, read_anli, read_bucc, read_ccg, read_conllu,
                       read_cosmosqa, read_csqa, read_file, read_hellaswag, read_json, read_lines, read_pair_table, read_pairs, read_snli,
                       read_squad, read_tagged, read_tatoeba, sentences, training)
from xlt.languages import XltError
from xlt.tasks import TARGET, TASKS


@pytest.fixture
def put(tmp_path):
    "Write a file of a given name and content."
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path
    return write


@pytest.fixture
def folder(tmp_path, monkeypatch):
    "An empty folder as the source, whatever XLT_FILES says."
    monkeypatch.delenv('XLT_FILES', raising=False)
    return Files(folder=str(tmp_path))


def squad(context='The dog sat.', text='dog', start=4, **more):
    "A SQuAD file with one question, q1."
    qa = {'id': 'q1', 'question': 'Who?', 'answers': [{'text': text, 'answer_start': start}]} | more
    return json.dumps({'version': '1.1', 'data': [{'title': 'T', 'paragraphs': [{'context': context, 'qas': [qa]}]}]})


# Refusals: file and line, or question

pairs, tags = (lambda p: read_pairs(p, NLI)), (lambda p: read_tagged(p, NER))
ROW = 'a\tb\tneutral\n'


@pytest.mark.parametrize('read, text, message', [
    (pairs, ROW + 'a\tb\n', ':2: 2 columns, not 3'), (pairs, ROW + 'a\tb\tc\tneutral\n', ':2: 4 columns, not 3'),
    (pairs, ROW + 'a\tb\tmaybe\n', ":2: label 'maybe' is unknown; allowed: entailment"), (pairs, ROW + ' \tb\tneutral\n', ':2: no first sentence'),
    (pairs, '\ufeff' + ROW, ':1: begins with a byte-order mark'), (pairs, ROW + ROW.replace('\n', '\r\n'), ':2: a carriage return'),
    (pairs, ROW.encode() + b'caf\xe9\tb\tneutral\n', ':2: byte 0xe9 is not UTF-8'), (pairs, ROW + '\n', ':2: 1 columns'),
    (tags, 'a\tO\n\n\nb\tO\n', ':3: an empty sentence'), (tags, '\na\tO\n', ':1: an empty sentence'), (tags, 'a\tO\nb\n', ':2: not a token'),
    (tags, 'a\tO\nb c\tO\tO\n', ':2: not a token'), (tags, 'a\tO\n\tO\n', ':2: not a token'), (tags, 'a\tO\nb\tB-DATE\n', ":2: label 'B-DATE' is unknown"),
    (tags, 'a O\n', ':1: not a token'), (tags, 'a\tO\r\n', ':1: a carriage return'),
    (read_squad, squad(start=3), ":1: question 'q1': answer 'dog' is not at character 3"), (read_squad, squad(start=400), 'not at character 400'),
    (read_squad, squad(start=-8), 'not at character -8'), (read_squad, squad(start='4'), 'not at character 4'), (read_squad, squad(text=''), "'q1': no text"),
    (read_squad, squad(answers=[]), "'q1': no answer"), (read_squad, squad(is_impossible=True), 'an impossible question with answer'),
    (read_squad, '{"data": [{}]}', 'not in SQuAD format'), (read_squad, '[]', 'not in SQuAD format'), (read_squad, squad()[:-9], ':1: not JSON'),
    (read_anli, '{"context": "a", "hypothesis": "b", "label": "x"}\n', ":1: label 'x' is unknown"), (read_anli, '{"context": "a", "label": "e"}\n', ':1: no second sentence'),
    (read_anli, '[1]\n', ':1: not a JSON object'), (read_anli, '{}\n{\n', ':2: not JSON'),
    (read_hellaswag, 'c\n0\na\nb\nc\nd\nc\n', '7 lines, not a multiple of six'), (read_hellaswag, 'c\n4\na\nb\nc\nd\n', ":1: label '4' is unknown"),
    (read_hellaswag, 'c\n0\na\n \nc\nd\n', ':1: no text in a choice'), (read_cosmosqa, 'id,context\r\n', ':1: 2 columns, not 8'),
    (read_cosmosqa, 'id,context,question,answer0,answer1,answer2,answer3,label\r\nq,c,q,a,b,c,d,7\r\n', ":2: label '7' is unknown"),
    (read_cosmosqa, 'id,context,question,answer0,answer1,answer2,answer3,label\r\nq,c,q,a,b,c,1\r\n', ':2: 7 columns, not 8'),
    (read_cosmosqa, 'id,context,question,answer0,answer1,answer2,answer3,label\r\nq,"c,q,a,b,c,1\r\n', ':2: not CSV'),
    (read_csqa, '{"id": "a", "question": "q", "choices": {"text": ["x", "y"]}, "answerKey": "C"}\n', ":1: label 'C' is unknown; allowed: A, B"),
    (read_csqa, '{"id": "a", "question": "q"}\n', ':1: not in CommonsenseQA format'), (read_ccg, 'The|DT|NP cat|NN\n', ':1: not `word'), (read_ccg, '\n', ':1: not `word')])
def test_malformed_files(put, read, text, message):
    path = put('spoilt', text)
    with pytest.raises(XltError, match=re.escape(message)) as e: read(path)
    assert str(path) in str(e.value)


def test_a_table_needs_its_header(put):
    path = put('train.tsv', 'a\tb\n1\t2\n')
    with pytest.raises(XltError, match=":1: no column 'label'"): read_pair_table(path, ['a', 'b', 'label'], NLI)
    with pytest.raises(XltError, match=':1: no column'): read_pair_table(put('empty.tsv', ''), ['a', 'b', 'label'], NLI)


def test_packed_files(put):
    assert read_lines(put('x.bz2', bz2.compress(b'a\nb\n'))) == ['a', 'b'] and read_json(put('x.json.xz', lzma.compress(b'[1]'))) == [1]
    for broken in ('x.bz2', 'x.xz', 'x.gz'):
        with pytest.raises(XltError, match='cannot be read'): read_lines(put(broken, b'no archive'))


def test_parallel_files_of_different_length(put):
    put('s1.dev', 'a\nb\n'), put('s2.dev', 'a\n')
    with pytest.raises(XltError, match='s2.dev has 1 lines'): read_snli(put('labels.dev', 'neutral\nneutral\n'))
    put('tatoeba.swh-eng.eng', 'a\nb\n')
    with pytest.raises(XltError, match='1 lines, but 2 in tatoeba.swh-eng.eng'): read_tatoeba(put('tatoeba.swh-eng.swh', 'a\n'))


@pytest.mark.parametrize('gold, zh, message', [
    ('zh-9\ten-1\n', 'zh-1\ta\n', "zh-en.dev.gold:1: no foreign sentence 'zh-9'"), ('zh-1\ten-1\nen-1\tzh-1\n', 'zh-1\ta\n', ':2: no foreign'),
    ('zh-1\ten-1\n', 'zh-1\ta\tb\n', 'zh-en.dev.zh:1: 3 columns'), ('zh-1\ten-1\n', 'zh-1\ta\nzh-1\tb\n', "zh:2: id 'zh-1' is that of line 1 already"), ('zh-1\n', 'zh-1\ta\n', 'gold:1: 1 columns')])
def test_broken_bucc(put, gold, zh, message):
    put('zh-en.dev.zh', zh), put('zh-en.dev.en', 'en-1\tb\n')
    with pytest.raises(XltError, match=message): read_bucc(put('zh-en.dev.gold', gold))


def conllu(*lines): return '\n'.join('\t'.join(line.split('|')) for line in lines) + '\n\n'


def test_conllu_as_xtreme_prepares_it(put):
    text = conllu('1-2|don\'t|_|_|_|_|_|_|_|_', '1|do|_|AUX|_|_|3|aux|_|_', '2|n\'t|_|PART|_|_|3|advmod|_|_', '3|go a\u200cway|_|VERB|_|_|0|root|_|_', '3.1|gone|_|VERB|_|_|_|_|_|_')
    row, = read_conllu(put('en_x-ud-test.conllu', '# a comment\n' + text), 'en')
    assert (row['tokens'], row['tags']) == (["don't", 'goaway'], ['AUX', 'VERB'])


def test_the_highest_part_of_a_multi_word_token_decides():
    block = [line.split('|') for line in ('1-2|x|_|_|_|_|_|_|_|_', '1|a|_|VERB|_|_|2|dep|_|_', '2|b|_|PUNCT|_|_|0|root|_|_')]
    assert fused(block, ['VERB', 'PUNCT']) == [('x', 'PUNCT')]
    equals = [line.split('|') for line in ('1-2|x|_|_|_|_|_|_|_|_', '1|a|_|ADP|_|_|3|dep|_|_', '2|b|_|DET|_|_|3|dep|_|_', '3|c|_|NOUN|_|_|0|root|_|_')]
    assert fused(equals, ['DET', 'ADP'])[0] == ('x', 'DET')


@pytest.mark.parametrize('line, message', [('1|a|_|NOUN|_', ':1: 5 columns, not 10'), ('1|a|_|NOUNS|_|_|0|root|_|_', ":1: label 'NOUNS' is unknown"),
                                           ('1-2|a|_|_|_|_|_|_|_|_', ':1: a broken sentence')])
def test_broken_conllu(put, line, message):
    with pytest.raises(XltError, match=message): read_conllu(put('de_x-ud-test.conllu', conllu(line)), 'de')


@pytest.mark.parametrize('name, text, message', [
    ('xnli/test-sw.tsv', 'a\tb\tc\tneutral\nx\ty\tneutral\n', 'test-sw.tsv:1: 4 columns, not 3'), ('panx/test-sw.tsv', 'Ana\nAna\tB-PER\n', 'test-sw.tsv:1: not a token and a tag')])
def test_one_broken_row_does_not_make_a_test_unlabelled(put, folder, name, text, message):
    put(name, text), put(name.replace('test', 'dev'), 'x\ty\tneutral\n' if 'xnli' in name else 'Ana\tB-PER\n')
    with pytest.raises(XltError, match=message): folder.load(name.split('/')[0], 'test', 'sw')
    put(name, 'a\tb\nx\ty\n' if 'xnli' in name else 'Ana\n\nIva\n')
    assert len(folder.load(name.split('/')[0], 'test', 'sw')) == 1, 'without labels, the development file serves'


def test_snli_multinli_and_hellaswag_as_published(put, folder):
    nli = '\n'.join(json.dumps(dict(sentence1=f'a{n}', sentence2='b', gold_label=label)) for n, label in enumerate(('neutral', '-', 'entailment', 'contradiction'))) + '\n'
    put('snli_1.0/snli_1.0_train.jsonl', nli), put('multinli_1.0/multinli_1.0_train.jsonl', nli.replace('"a', '"c'))
    put('hellaswag/hellaswag_train.jsonl', json.dumps(dict(ind=1, ctx='A man', endings=['runs', 'eats', 'sits', 'flies'], label=2)) + '\n')
    put('hellaswag/hellaswag_val.jsonl', json.dumps(dict(ind=2, ctx='A cat', endings=['runs', 'eats', 'sits', 'flies'], label=0)) + '\n')
    assert len(folder.load('mnli', 'train')) + len(folder.load('mnli', 'dev')) == 3 and any('did not agree on a label (-): 1 ex' in note for note in folder.notes('mnli'))
    assert folder.load('hellaswag', 'train')[0]['label'] == 2 and folder.load('hellaswag', 'dev')[0]['context'] == 'A cat'
    put('hellaswag/hellaswag_train.jsonl', json.dumps(dict(ctx='A man', endings=['runs'], label=0)) + '\n')
    with pytest.raises(XltError, match='hellaswag_train.jsonl:1: `endings` are not a list of four'): folder.load('hellaswag', 'train')
    put('squad/train-v1.1.csv', 'x')
    with pytest.raises(XltError, match='train-v1.1.csv: no format is known by this name'): folder.load('squad_v1', 'train')


def test_bucc_needs_what_its_threshold_is_tuned_on(put, folder):
    for split in ('test', 'dev'):
        for side, text in (('zh', 'zh-1\ta\n'), ('en', 'en-1\tb\n'), ('gold', 'zh-1\ten-1\n')): put(f'bucc2018/zh-en.{split}.{side}', text)
    assert folder.languages('bucc2018') == ['zh']
    (Path(folder.folder) / 'bucc2018' / 'zh-en.dev.en').unlink()
    assert folder.languages('bucc2018') == []


# What serves as what

def test_labelled_tests_come_before_development_files(put, folder):
    put('xnli/dev-sw.tsv', ROW), put('xnli/test-sw.tsv', 'a\tb\n')
    assert [f.name for f in evaluation_files(folder.root, 'xnli', 'sw')] == ['dev-sw.tsv']
    put('xnli/test-sw.tsv', ROW)
    assert [f.name for f in evaluation_files(folder.root, 'xnli', 'sw')] == ['test-sw.tsv']
    put('xquad/xquad.el.json', squad(text='', start=0))
    assert folder.languages('xquad') == []


def test_a_development_file_that_is_tested_on_is_not_trained_with(put, folder):
    put('panx/train-en.tsv', ''.join(f'w{i}\tO\n\n' for i in range(20)).rstrip('\n') + '\n'), put('panx/dev-en.tsv', 'x\tO\n')
    assert len(folder.load('panx', 'dev')) == 2 and folder.load('panx', 'test')['tokens'] == [['x']]
    put('panx/test-en.tsv', 'y\tO\n')
    assert folder.load('panx', 'dev')['tokens'] == [['x']] and len(folder.load('panx', 'train')) == 20


def test_two_different_examples_with_one_id(put, folder):
    row = '{"id": "a", "question": "%s", "choices": {"text": ["x", "y"]}, "answerKey": "A"}\n'
    put('commonsenseqa/dev.jsonl', row % 'Where?'), put('commonsenseqa/own.jsonl', row % 'Why?')
    with pytest.raises(XltError, match="two different examples have the id 'a'"): folder.load('csqa', 'train')


def test_files_of_one_name_in_several_folders_are_all_kept(put, folder):
    for i in (1, 2, 3): put(f'anli/R{i}/dev.jsonl', json.dumps({'context': f'c{i}', 'hypothesis': 'h', 'label': 'e'}) + '\n')
    assert len(folder.load('anli_plus', 'train')) + len(folder.load('anli_plus', 'dev')) == 3


def test_ccg_says_what_is_missing(put, folder):
    with pytest.raises(XltError, match=r'no English training data for ccg; expected ccg/train'): folder.load('ccg', 'train')
    assert folder.languages('ccg') == []
    put('ccg/train.stagged', 'a|DT|NP/N b|NN|N\nc|DT|NP/N d|NN|N\n'), put('ccg/dev.stagged', 'a|DT|NP/N\n')
    assert folder.load('ccg', 'train')['tags'] == [['NP/N', 'N']] * 2 and folder.load('ccg', 'dev')['tokens'] == [['a']]


@pytest.mark.parametrize('task, split, language, message', [
    ('xnil', 'test', 'en', "did you mean 'xnli'"), ('xnli', 'valid', 'en', "'valid' is unknown; allowed: train, dev, test"), ('xnli', 'test', 'sw', "no labelled xnli test data in 'sw'"),
    ('panx', 'train', 'sw', 'are English'), ('tatoeba', 'dev', 'sw', 'tatoeba has no dev split'), ('mnli', 'test', 'en', 'mnli has no test split')])
def test_what_cannot_be_loaded(folder, task, split, language, message):
    with pytest.raises(XltError, match=message): folder.load(task, split, language)


def test_the_folder(folder, tmp_path, monkeypatch):
    assert folder.root == tmp_path
    monkeypatch.setenv('XLT_FILES', str(tmp_path / 'none'))
    with pytest.raises(XltError, match='none.*XLT_FILES'): folder.root
    with pytest.raises(ValueError, match='extra'): Files(folder='x', directory='y')


def test_identity_follows_names_and_contents(put, folder):
    put('a', 'x')
    one = folder.identity()
    assert one == folder.identity() and set(one) == {'kind', 'dev_share', 'digest'}
    put('a', 'y')
    assert folder.identity() != one, 'another content of the same length'
    put('a', 'x'), put('b', 'x')
    assert folder.identity() != one


def test_texts_are_compared_by_letters():
    assert key('Two dogs , Running .') == key('two dogs, running.') and overlap(['...'], ['!'])['shared'] == 0
    assert sentences('Mr. J. Smith left. He ran') == ['Mr.', 'J. Smith left.', 'He ran']


# The sample

COUNTS = {r'xnli/dev-\w+\.tsv': 2490, r'xnli/sw\.genre\.test\.tsv': 5010, r'pawsx/dev-\w+\.tsv': 2000, r'panx/train-en\.tsv': 20000,
          r'panx/dev-(en|de|zh|fi|eu|ar)\.tsv': 10000, r'panx/dev-(hi|sw|tl|ta|te|mr|kk)\.tsv': 1000, r'panx/dev-(yo|my|jv)\.tsv': 100,
          r'udpos/train-en\.tsv': 21253, r'xquad/xquad\.\w+\.json': 1190, r'mlqa/dev-context-en-question-en\.json': 1148, r'tydiqa/train/tydiqa\.goldp\.en.*': 3696,
          r'tydiqa/train/tydiqa\.goldp\.sw.*': 2755, r'bucc2018/zh-en\.dev\.zh': 8624, r'bucc2018/zh-en\.dev\.en': 13589, r'bucc2018/zh-en\.dev\.gold': 257,
          r'intermediate/squad/dev-v1.*': 10570, r'intermediate/squad/dev-v2.*': 11873, r'intermediate/snli/esnli_tokenised/labels\.dev': 9842,
          r'intermediate/snli/esnli_tokenised/labels\.test': 9824, r'intermediate/snli/cad_original/train\.tsv': 1666, r'intermediate/snli/cad_original/dev\.tsv': 200,
          r'intermediate/snli/cad_original/test\.tsv': 400, r'intermediate/hellaswag/.*bz2': 10042, r'intermediate/cosmosqa/valid\.csv': 2985,
          r'intermediate/commonsenseqa/dev.*': 1221, r'intermediate/commonsenseqa/commonsenseqa_200.*': 200, r'intermediate/anli/R[12]/.*jsonl': 1000,
          r'intermediate/anli/R3/.*jsonl': 1200} | {rf'ud_r2\.5/.*/{code}_.*-test\.conllu': n for code, n in dict(
              yo=100, tl=55, ta=120, te=146, mr=47, kk=1047, eu=1799, de=977, zh=500, fi=1555, vi=800, tr=983, th=1000).items()}


@pytest.fixture(scope='module')
def counts(sample):
    "Rows of every data file of the sample; reading checks labels, columns and spans."
    names = [p.relative_to(sample).as_posix() for p in sorted(sample.rglob('*')) if p.is_file()]
    assert all(re.search(r'(README|LICENSE).*\.(md|txt)$', n) for n in names if not describe(n))
    return {n: len(read_file(sample, sample / n)) for n in names if describe(n)}


@pytest.mark.parametrize('pattern, n', COUNTS.items())
def test_row_counts_are_the_readmes(counts, pattern, n):
    # one differs: train-en has 21,253 sentences, the README counts the 21,252 blank lines between them
    found = {name: rows for name, rows in counts.items() if re.fullmatch(pattern, name)}
    assert found and set(found.values()) == {n}


def test_mlqa_and_tatoeba_counts(counts):
    assert all(500 <= n <= 517 for name, n in counts.items() if re.fullmatch(r'mlqa/.*(ar|de|es|hi|vi|zh)-q.*|mlqa/.*question-de.*', name))
    tatoeba = {n.split('.')[-1]: rows for n, rows in counts.items() if n.startswith('tatoeba') and not n.endswith('.eng')}
    assert len(tatoeba) == 36 and max(tatoeba.values()) == 1000 and tatoeba['jav'] == 205


def test_our_conllu_is_xtremes(sample):
    content = lambda rows: [(r['tokens'], r['tags']) for r in rows]
    for code, treebank in dict(mr='UD_Marathi-UFAL/mr_ufal', ta='UD_Tamil-TTB/ta_ttb', te='UD_Telugu-MTG/te_mtg', en='UD_English-ParTUT/en_partut').items():
        ours = content(read_conllu(sample / f'ud_r2.5/{treebank}-ud-dev.conllu', code))
        theirs = content(read_tagged(sample / f'udpos/dev-{code}.tsv', UPOS))
        assert ours == theirs if code != 'en' else all(row in theirs for row in ours)


def test_canonical_datasets_of_the_sample(sample, monkeypatch):
    monkeypatch.setenv('XLT_FILES', str(sample))
    source = Files(folder='elsewhere')
    assert len(source.load('squad_v1', 'train')) + len(source.load('squad_v1', 'dev')) == 10570 - 1190
    assert len(source.load('anli_plus', 'train')) + len(source.load('anli_plus', 'dev')) == 6400 + 9824
    assert len(source.load('mnli', 'train')) + len(source.load('mnli', 'dev')) == 3 + 9842 + 1666
    assert len(source.load('csqa', 'train')) + len(source.load('csqa', 'dev')) == 1221 + 200 - 24
    for task, language in dict(xnli='sw', pawsx='ko', udpos='th', panx='my', xquad='el', mlqa='hi', tydiqa='sw', bucc2018='zh', tatoeba='tl').items():
        data = source.load(task, 'test', language)
        assert len(data) == len(set(data['id'])) == len(evaluation_rows(sample, task, language))
    v2 = source.load('squad_v2', 'dev')
    assert {bool(a['text']) for a in v2['answers']} == {True, False}


def test_no_tested_text_is_trained_on(sample):
    pairs = lambda rows: [r['sentence1'] + '|' + r['sentence2'] for r in rows]
    data = {t: sum(training(sample, t, .1), []) for t in ('mnli', 'anli_plus', 'squad_v1', 'squad_v2')}
    for t in ('mnli', 'anli_plus'): assert overlap(pairs(data[t]), pairs(evaluation_rows(sample, 'xnli', 'en')))['shared'] == 0
    assert overlap(pairs(data['mnli']), pairs(data['anli_plus']))['shared'] == 0
    for t in ('squad_v1', 'squad_v2'):
        for target in ('xquad', 'mlqa'):
            assert overlap([r['context'] for r in data[t]], [r['context'] for r in evaluation_rows(sample, target, 'en')])['shared'] == 0
    for train, dev in [training(sample, 'squad_v1', .1), training(sample, 'squad_v2', .1)]:
        assert not {r['context'] for r in train} & {r['context'] for r in dev}


def test_the_corpus_holds_nothing_that_is_evaluated(sample):
    targets = ('xnli', 'udpos', 'panx', 'xquad', 'tatoeba')
    source, banned = Files(folder=str(sample)), evaluated(sample, targets)
    corpus = source.corpus(list(targets))
    assert not any(key(s) in banned for found in corpus.values() for s in found)
    assert len(corpus['en']) > 200_000 and len(corpus['sw']) > 10_000 and set(corpus) <= set(source.facts().index)


def test_what_the_sample_holds(sample, monkeypatch):
    monkeypatch.setenv('XLT_FILES', str(sample))
    source = Files(folder='elsewhere')
    held = {t: len(source.languages(t)) for t in TARGET}
    assert held == dict(xnli=12, pawsx=7, udpos=16, panx=16, xquad=11, mlqa=7, tydiqa=1, bucc2018=1, tatoeba=36)
    assert [t for t in TASKS if not source.languages(t)] == ['ccg']
    assert any('1,190 examples' in n for n in source.notes('xquad'))
