"Files: every reader's refusals, what serves as what, and the sample folder's row counts."
import bz2
import csv
import gzip
import io
import json
import lzma
import re
from pathlib import Path

import pytest

from xlt.data.layout import ISO3, describe, evaluation_files, read_file, training_files
from xlt.data.files import Files
from xlt.data.splits import carve, evaluated_keys, evaluation_rows, training
from xlt.data.examples import text_digest, key, shared_texts, sentences
from xlt.data.corpora import fused, read_bucc, read_ccg, read_conllu, read_tagged, read_tatoeba
from xlt.data.readers import (incomplete, read_anli, read_cosmosqa, read_csqa, read_hellaswag, read_pair_table, read_pairs,
    read_qqp_csv, read_qqp_lines, read_snli, read_squad, split_rows)
from xlt.tasks.cards import NER, NLI, UPOS, INTERMEDIATE, TARGET, TASKS
from xlt.languages.measures import language_table
from xlt.common.digests import list_files
from xlt.common.io import read_json, read_lines, read_text
from xlt.common.errors import XltError


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

pairs, tags, german = (lambda p: read_pairs(p, NLI)), (lambda p: read_tagged(p, NER)), (lambda p: read_tagged(p, NER, language='de'))
ROW = 'a\tb\tneutral\n'


@pytest.mark.parametrize('read, text, message', [
    (pairs, ROW + 'a\tb\n', ':2: 2 columns, not 3'), (pairs, ROW + 'a\tb\tc\tneutral\n', ':2: 4 columns, not 3'),
    (pairs, ROW + 'a\tb\tmaybe\n', ":2: label 'maybe' is unknown; allowed: entailment"), (pairs, ROW + ' \tb\tneutral\n', ':2: no first sentence'),
    (pairs, '\ufeff' + ROW, ':1: begins with a byte-order mark'), (pairs, ROW + ROW.replace('\n', '\r\n'), ':2: a carriage return'),
    (pairs, ROW + 'a\0\tb\tneutral\n', ':2: a NUL byte'), (read_qqp_lines, '1\ta\tb\n', ':1: 3 columns, not 4'),
    (read_qqp_csv, '\tid\tsentence1\tsentence2\tis_duplicate\n1\tq\ta\tb\t2.0\n', ":2: label '2.0' is unknown"), (read_qqp_csv, 'a\tb\n', ':1: 2 columns, not 5'),
    (pairs, '"a ""b"" c"\tb\tneutral\r\n"a ""b"" c\tb\tneutral\r\n', ":2: not quoted as Python's csv writer does it, but line 1 is"),
    (german, 'de:a\tO\nde:b\tO\nc\tO\n', ":3: no 'de:' before the token"),
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
    whole = gzip.compress(b'a\nb\n' * 100)
    for damaged in (whole[:10] + b'\xff' + whole[11:], whole[:-4], whole[:20] + bytes(255 - b for b in whole[20:])):
        with pytest.raises(XltError, match='x.gz: cannot be read'): read_lines(put('x.gz', damaged))


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


AS_WRITTEN = [('He said "no" .', 'He left .', 'neutral'), ('"Yes"', 'a "b', 'entailment'), ('no marks', 'it\'s', 'contradiction'), ('""', 'two\nlines', 'neutral')]


def written(rows, end, quoting=csv.QUOTE_MINIMAL):
    "Rows as Python's csv writer writes them."
    text = io.StringIO(newline='')
    csv.writer(text, delimiter='\t', lineterminator=end, quoting=quoting).writerows(rows)
    return text.getvalue()


@pytest.mark.parametrize('end, form', [('\r\n', 'quoted, CR LF'), ('\n', 'quoted')])
def test_what_the_csv_writer_wrote_is_read_back(put, folder, end, form):
    path = put('xnli/dev-de.tsv', written(AS_WRITTEN, end))
    assert [(r['sentence1'], r['sentence2'], r['label']) for r in read_pairs(path, NLI)] == AS_WRITTEN and split_rows(path)[1] == form
    assert any('csv writer' in note and 'xnli/dev-de.tsv' in note for note in folder.notes('xnli'))


@pytest.mark.parametrize('end', ['\n', '\r\n'])
def test_plain_lines_keep_their_quotation_marks(put, end):
    plain = AS_WRITTEN[:3]
    path = put('pawsx/dev-de.tsv', ''.join('\t'.join(row) + end for row in plain))
    assert [row for _, row in split_rows(path)[0]] == [list(row) for row in plain] and split_rows(path)[1].startswith('plain')


def test_a_plain_file_with_a_field_that_looks_quoted_is_read_as_it_stands_and_said(put, folder):
    put('xnli/dev-de.tsv', 'a "b" c\td\tneutral\n"e ""f"" g"\th\tneutral\n')
    assert folder.load('xnli', 'test', 'de')['sentence1'] == ['a "b" c', '"e ""f"" g"']
    assert any('1 fields that look quoted' in note for note in folder.notes('xnli'))


def test_a_folder_of_xtremes_own_script(put, folder):
    rows = AS_WRITTEN[:3]
    for code in ('en', 'de'):
        put(f'xnli/test-{code}.tsv', written([row[:2] for row in rows], '\r\n')), put(f'xnli/dev-{code}.tsv', written(rows, '\r\n'))
    put('xnli/train-en.tsv', written(rows, '\r\n'))
    assert folder.languages('xnli') == ['de', 'en'] and folder.load('xnli', 'test', 'de')['sentence1'][0] == rows[0][0]
    assert len(folder.load('mnli', 'train')) + len(folder.load('mnli', 'dev')) == 3 and folder.available('xnli') is None


def test_panx_with_the_language_before_each_token(put, folder):
    lines = 'de:Berlin\tB-LOC\nde::\tO\n\nde:de:x\tO\n'
    put('panx/dev-de.tsv', lines), put('panx/dev-sw.tsv', 'de:Berlin\tB-LOC\nni\tO\n')
    assert folder.load('panx', 'test', 'de')['tokens'] == [['Berlin', ':'], ['de:x']] and folder.load('panx', 'test', 'sw')['tokens'] == [['de:Berlin', 'ni']]
    assert [note for note in folder.notes('panx') if 'language before each token' in note] == ['Read without the language before each token (`xx:…`): panx/dev-de.tsv.']
    put('panx/test-de.tsv', 'de:Berlin\n')
    assert folder.load('panx', 'test', 'de')['tags'][0] == ['B-LOC', 'O'], 'a test file without tags stays unlabelled'


def test_packed_files_are_found_like_plain_ones(put, folder):
    put('xnli/dev-sw.tsv.xz', lzma.compress(ROW.encode())), put('xquad/xquad.el.json.xz', lzma.compress(squad().encode()))
    assert len(folder.load('xnli', 'test', 'sw')) == 1 and folder.languages('xquad') == ['el']


def test_a_file_that_is_there_plain_and_compressed_is_refused(put, folder):
    put('xnli/test-de.tsv', ROW * 6), put('xnli/test-en.tsv', ROW), put('mnli/rows.csv', 'label,text,assertion\nneutral,a,b\nneutral,c,d\n')
    assert len(folder.load('xnli', 'test', 'de')) == 6 and folder.languages('xnli') == ['de', 'en']
    packed = put('xnli/test-de.tsv.gz', gzip.compress(ROW.encode() * 6))
    for ask in (lambda: folder.load('xnli', 'test', 'de'), lambda: folder.languages('xnli'), lambda: folder.notes('xnli')):
        with pytest.raises(XltError, match='xnli/test-de.tsv and test-de.tsv.gz differ only in their compression; keep one of them'): ask()
    (folder.root / 'xnli/test-de.tsv').rename(folder.root / 'xnli/test-de.tsv.bz2')
    with pytest.raises(XltError, match='test-de.tsv.bz2 and test-de.tsv.gz differ only'): folder.load('xnli', 'test', 'de')
    (folder.root / 'xnli/test-de.tsv.bz2').unlink()
    assert len(folder.load('xnli', 'test', 'de')) == 6 and packed.is_file()


def pack(root: Path, *names: str) -> None:
    "Put compressed files in place of plain ones."
    for name in names:
        (root / f'{name}.gz').write_bytes(gzip.compress((root / name).read_bytes()))
        (root / name).unlink()


@pytest.mark.parametrize('packed', [('deu', 'eng'), ('deu',), ('eng',)])
def test_either_side_of_tatoeba_may_be_compressed(put, folder, packed):
    put('tatoeba/tatoeba.deu-eng.deu', 'Es ist heiß.\nEs regnet.\n'), put('tatoeba/tatoeba.deu-eng.eng', 'It is hot.\nIt rains.\n')
    plain = folder.load('tatoeba', 'test', 'de').to_list()
    pack(folder.root, *(f'tatoeba/tatoeba.deu-eng.{side}' for side in packed))
    assert folder.languages('tatoeba') == ['de'] and folder.load('tatoeba', 'test', 'de').to_list() == plain
    both = put('tatoeba/tatoeba.deu-eng.eng.xz', b'')
    put('tatoeba/tatoeba.deu-eng.eng.bz2', b'')
    with pytest.raises(XltError, match='tatoeba.deu-eng.eng.* differ only'): folder.load('tatoeba', 'test', 'de')
    assert both.is_file()


@pytest.mark.parametrize('packed', [('gold', 'zh', 'en'), ('gold',), ('zh',)])
def test_the_files_of_bucc_may_be_compressed(put, folder, packed):
    for split in ('test', 'dev'):
        for side, text in (('zh', 'zh-1\ta\n'), ('en', 'en-1\tb\n'), ('gold', 'zh-1\ten-1\n')): put(f'bucc2018/zh-en.{split}.{side}', text)
    plain = [folder.load('bucc2018', split, 'zh').to_list() for split in ('test', 'dev')]
    pack(folder.root, *(f'bucc2018/zh-en.{split}.{side}' for split in ('test', 'dev') for side in packed))
    assert folder.languages('bucc2018') == ['zh'] and [folder.load('bucc2018', split, 'zh').to_list() for split in ('test', 'dev')] == plain
    side = next((folder.root / 'bucc2018').glob('zh-en.test.zh*'))
    side.unlink()
    assert [f.name.removesuffix('.gz') for f in evaluation_files(folder.root, 'bucc2018', 'zh')] == ['zh-en.dev.gold'], 'a test without its sentences is none'


def test_compressed_snli_is_read_like_plain(put, folder):
    put('snli/tok/labels.dev', 'neutral\nentailment\n'), put('snli/tok/s1.dev', 'a\nb\n'), put('snli/tok/s2.dev', 'c\nd\n')
    nli = ''.join(json.dumps(dict(sentence1=f'x{n}', sentence2='b', gold_label=label)) + '\n' for n, label in enumerate(('neutral', '-', 'entailment')))
    put('snli_1.0/snli_1.0_dev.jsonl', nli)
    def read(end): return [[r | {'id': ''} for r in read_file(folder.root, folder.root / f'{name}{end}')] for name in ('snli/tok/labels.dev', 'snli_1.0/snli_1.0_dev.jsonl')]
    plain = read('')
    pack(folder.root, *(f'snli/tok/{name}.dev' for name in ('labels', 's1', 's2')), 'snli_1.0/snli_1.0_dev.jsonl')
    assert read('.gz') == plain and [len(rows) for rows in plain] == [2, 2]


def test_a_target_without_training_data_is_refused_with_the_file_that_is_missing(put, folder):
    put('pawsx/dev-de.tsv', 'a\tb\t1\n')
    assert folder.languages('pawsx') == ['de'] and 'no English training data for pawsx; expected pawsx/train-en.tsv' in folder.available('pawsx')
    assert 'expected xquad/xquad.*.json' in folder.available('xquad') and 'expected ccg/train*' in folder.available('ccg')


def test_which_side_an_example_is_on_depends_on_its_premise_alone():
    rows = [dict(id=str(i), sentence1=f'premise {i // 3}', sentence2=str(i), label='neutral') for i in range(3000)]
    train, dev = carve(rows, .1)
    assert .07 < len(dev) / len(rows) < .13 and not {r['sentence1'] for r in train} & {r['sentence1'] for r in dev}
    again = carve(rows[600:], .1)
    assert again == ([r for r in train if int(r['id']) >= 600], [r for r in dev if int(r['id']) >= 600])
    for share in (.001, .999): assert all(carve(rows[:6], share))


def test_an_example_of_two_files_is_used_once(put, folder):
    put('qqp/deep1994/dev.tsv', '1\tWhy?\tHow come?\t18\n0\tWho?\tWhere?\t19\n0\tWho?\tWhere?\t20\n')
    put('qqp/cs224n/quora-dev.csv', '\tid\tsentence1\tsentence2\tis_duplicate\n7\tx\tWhy?\tHow come?\t1.0\n8\ty\tWhen?\tNow?\t0.0\n9\tz\tWho?\t\t\n')
    found = [*folder.load('qqp', 'train'), *folder.load('qqp', 'dev')]
    assert sorted(r['sentence1'] for r in found) == ['When?', 'Who?', 'Who?', 'Why?'], 'a file that repeats itself is left as it is'
    said = ' '.join(folder.notes('qqp'))
    assert 'they stand in two of the files: 1 example.' in said and 'no question or no label: 1 example.' in said


def test_data_that_change_are_read_again(put, folder):
    put('cosmosqa/valid.csv', COSMOS_ROWS)
    before = folder.load('cosmosqa', 'train').to_list() + folder.load('cosmosqa', 'dev').to_list()
    put('cosmosqa/valid.csv', COSMOS_ROWS.replace('Rain', 'Snow'))
    assert folder.load('cosmosqa', 'train').to_list() + folder.load('cosmosqa', 'dev').to_list() != before


def test_files_that_come_change_or_go_are_noticed_by_whoever_asked_before(put, folder):
    put('panx/train-en.tsv', 'w0\tO\n\nw1\tO\n')
    path = put('panx/dev-en.tsv', 'x\tO\n')
    assert folder.languages('panx') == ['en'] and training_files(folder.root, 'panx')[1] == []
    put('panx/test-sw.tsv', 'y\n')  # without labels
    assert folder.languages('panx') == ['en']
    put('panx/test-sw.tsv', 'y\tO\n')
    assert folder.languages('panx') == ['en', 'sw']
    put('panx/test-en.tsv', 'y\tO\n')
    assert training_files(folder.root, 'panx')[1] == [path]
    (folder.root / 'panx' / 'test-sw.tsv').unlink(), path.unlink()
    assert folder.languages('panx') == ['en'] and training_files(folder.root, 'panx')[1] == []


def test_what_was_found_is_not_changed_by_whoever_got_it(put, folder):
    put('panx/train-en.tsv', 'w0\tO\n'), put('panx/dev-en.tsv', 'x\tO\n')
    folder.languages('panx').append('xx'), training_files(folder.root, 'panx')[0].clear()
    assert folder.languages('panx') == ['en'] and [f.name for f in training_files(folder.root, 'panx')[0]] == ['train-en.tsv']


def test_links_to_nothing_are_no_files(put, folder):
    put('a/b/c', 'x'), put('d', 'y')
    before = folder.identity()
    (folder.root / 'a' / 'gone').symlink_to('nowhere')
    assert [name for name, _ in list_files(folder.root)] == ['a/b/c', 'd'] and folder.identity() == before


COSMOS_ROWS = 'id,context,question,answer0,answer1,answer2,answer3,label\r\nq1,It rained.,Why?,Rain,b,c,d,0\r\nq2,It shone.,Why?,Rain,b,c,d,1\r\n'


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
    assert 1 <= len(folder.load('panx', 'dev')) == 20 - len(folder.load('panx', 'train')) and folder.load('panx', 'test')['tokens'] == [['x']]
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
    assert key('Two dogs , Running .') == key('two dogs, running.') and shared_texts(['...'], ['!'])['shared'] == 0
    assert sentences('Mr. J. Smith left. He ran') == ['Mr.', 'J. Smith left.', 'He ran']


# The real folder

@pytest.fixture(scope='module')
def manifest(sample):
    "The number of rows that the folder's own index gives for each data file."
    if not (sample / 'MANIFEST.tsv').is_file(): pytest.skip(f'{sample} has no MANIFEST.tsv')
    with open(sample / 'MANIFEST.tsv', newline='') as f: rows = list(csv.DictReader(f, delimiter='\t'))
    return {r['path']: int(r['count']) for r in rows if r['count'] and (sample / r['path']).is_file()}


def test_row_counts_are_the_manifests(sample, manifest):
    "Reading checks labels, columns and spans."
    differ = {name: (len(read_file(sample, sample / name)), n, incomplete(sample / name)) for name, n in manifest.items() if describe(name)}
    assert {name: found for name, (read, n, lost) in differ.items() if (found := (read, n, lost)) and read + lost != n} == {}
    assert {name.split('/')[0] for name in differ} > {'xnli', 'pawsx', 'panx', 'udpos', 'ud_r2.5', 'xquad', 'mlqa', 'tydiqa', 'bucc2018', 'tatoeba', 'mlm', 'intermediate'}


def test_what_is_not_read_belongs_to_no_task(sample, manifest):
    others = r'(mlm/mlm_sources.tsv|(extras|sib200|masakhane_pos|americasnli|jampatoisnli|xnli/extra|intermediate/paws)/.*)'
    assert [name for name in Files(folder=str(sample)).unread() if name in manifest and not re.fullmatch(others, name)] == []


def test_every_target_in_every_language(sample, manifest):
    source, table = Files(folder=str(sample)), []
    for task in TARGET:
        codes = source.languages(task)
        for code in codes:
            files = [f.relative_to(sample).as_posix() for f in evaluation_files(sample, task, code)]
            if task == 'bucc2018': files = [files[0].removesuffix('gold') + side for side in (code, 'en')]
            n = sum(manifest[f] for f in files) * (1 + (task == 'tatoeba'))  # two sides
            data = source.load(task, 'test', code)
            assert len(data) == n and len(set(data['id'])) == n, f'{task} {code}'
            table.append((task, code, n))
        named = {code for name in manifest for code in re.findall({'tatoeba': r'^tatoeba/.*-eng\.(\w+)$', 'mlqa': r'^mlqa/.*-question-(\w+)\.json$'}.get(task, rf'^{task}/(?:.+[-.])?(\w\w)(?:\.dev)?\.(?:tsv|json)$'), name)}
        iso = {code: language for language, code in ISO3.items()}
        if task not in ('bucc2018', 'udpos'): assert set(codes) == {iso.get(code, code) for code in named} & set(TARGET[task].languages)
    print(*('{:10}{:4}{:8,}'.format(*row) for row in table), sep='\n')
    assert sorted(source.languages('udpos')) == sorted(TARGET['udpos'].languages)
    assert {t for t in TARGET if source.available(t)} == {'pawsx'} and 'expected pawsx/train-en.tsv' in source.available('pawsx')


def test_every_training_set(sample, manifest):
    source, of = Files(folder=str(sample)), lambda pattern: sum(n for name, n in manifest.items() if re.fullmatch(pattern, name))
    mnli, found = of(r'intermediate/mnli/mlengineershub/.*'), {t: (len(source.load(t, 'train')), len(source.load(t, 'dev'))) for t in [*INTERMEDIATE, 'udpos', 'panx', 'tydiqa'] if t != 'ccg'}
    print(*(f'{t:10}{train:8,}{dev:8,}' for t, (train, dev) in found.items()), sep='\n')
    total = {t: sum(counts) for t, counts in found.items()}
    anli = of(r'intermediate/anli/R\d/.*') + of(r'intermediate/snli/esnli_tokenised/labels.*') + of('intermediate/snli/cad_original/train.tsv')
    assert total['mnli'] == mnli and total['anli_plus'] == anli + mnli
    assert total['hellaswag'] == of('intermediate/hellaswag/.*') and total['cosmosqa'] == of('intermediate/cosmosqa/.*')
    assert found['csqa'] == (of('intermediate/commonsenseqa/train.*'), of('intermediate/commonsenseqa/dev.*'))
    trained, (dev,) = set(source.load('squad_v2', 'train')['context']), sample.glob('intermediate/squad/dev-v1.1.minus-xquad*')
    kept = [q for q in read_squad(dev) if q['context'] not in trained]  # squad_v2 has no other training file here than the same articles
    assert found['squad_v1'] == (of(r'intermediate/squad/train.*'), len(kept)) and 0 < len(kept) < of(r'intermediate/squad/dev-v1.1.minus-xquad.*')
    for t, path in dict(udpos='udpos/train-en.tsv', panx='panx/train-en.tsv', tydiqa='tydiqa/train/tydiqa.goldp.en.train.json').items(): assert total[t] == manifest[path]
    assert all(.05 < dev / total[t] < .15 for t, (_, dev) in found.items() if t not in ('squad_v1', 'csqa'))


def test_qqps_different_pairs(sample):
    "The README counts raw lines: 45 pairs that one mirror quotes once more, and the two incomplete ones, are different to it."
    said = re.search(r'([\d,]+) different pairs', (sample / 'README.md').read_text())
    if not said: pytest.skip('the folder says nothing of QQP')
    folder, pairs = sample / 'intermediate' / 'qqp', []
    for name in ('dev', 'test'): pairs += [tuple(line.split('\t')[1:3]) for line in read_text(folder / 'deep1994' / f'{name}.tsv', errors='replace').split('\n')[:-1]]
    raw = [line.split('\t') for line in read_lines(folder / 'cs224n' / 'quora-dev.csv.xz')[1:]]
    assert len({*pairs, *((r[2], r[3]) for r in raw)}) == int(said[1].replace(',', ''))
    once = {*pairs, *((r['sentence1'], r['sentence2']) for r in read_qqp_csv(folder / 'cs224n' / 'quora-dev.csv.xz'))}
    strip = lambda pairs: {(a.strip(), b.strip()) for a, b in pairs}
    assert {(r['sentence1'], r['sentence2']) for part in training(sample, 'qqp', .1) for r in part} == strip(once)


def test_the_notes_say_that_these_are_development_sets_and_how_they_were_read(sample, manifest):
    source = Files(folder=str(sample))
    for task in ('xnli', 'panx', 'udpos', 'mlqa'): assert any(f'Development files serve as {task} test' in note for note in source.notes(task))
    assert any("TyDiQA's development set is what XTREME tests on" in note for note in source.notes('tydiqa'))
    quoted = next(note for note in source.notes('pawsx') if 'quoted; lines end in LF' in note)
    assert 'pawsx/dev-fr.tsv' in quoted and 'pawsx/dev-en.tsv' not in quoted
    assert not any('""' in s for s in source.load('pawsx', 'test', 'ko')['sentence1'])
    assert any("are also XQuAD's" in note for note in source.notes('squad_v2')) and not any("also XQuAD's" in note for note in source.notes('squad_v1'))


def test_our_conllu_is_xtremes(sample):
    content = lambda rows: [(r['tokens'], r['tags']) for r in rows]
    for code, treebank in dict(mr='UD_Marathi-UFAL/mr_ufal', ta='UD_Tamil-TTB/ta_ttb', te='UD_Telugu-MTG/te_mtg').items():
        assert content(read_conllu(sample / f'ud_r2.5/{treebank}-ud-dev.conllu', code)) == content(read_tagged(sample / f'udpos/dev-{code}.tsv', UPOS))
    partut = sample.parent / 'xtreme-sample/ud_r2.5/UD_English-ParTUT/en_partut-ud-dev.conllu'
    if not partut.is_file(): pytest.skip(f'no {partut.name}, one of the treebanks of udpos/dev-en.tsv')
    theirs = content(read_tagged(sample / 'udpos/dev-en.tsv', UPOS))
    assert all(row in theirs for row in content(read_conllu(partut, 'en')))


def test_no_tested_text_is_trained_on(sample):
    pairs = lambda rows: [r['sentence1'] + '|' + r['sentence2'] for r in rows]
    data = {t: sum(training(sample, t, .1), []) for t in ('mnli', 'anli_plus', 'squad_v1', 'squad_v2')}
    for t in ('mnli', 'anli_plus'): assert shared_texts(pairs(data[t]), pairs(evaluation_rows(sample, 'xnli', 'en')))['shared'] == 0
    for t in ('squad_v1', 'squad_v2'):
        for target in ('xquad', 'mlqa'):
            assert shared_texts([r['context'] for r in data[t]], [r['context'] for r in evaluation_rows(sample, target, 'en')])['shared'] == 0


def test_development_data_are_held_out(sample):
    for t in [t for t in INTERMEDIATE if t != 'ccg'] + ['udpos', 'panx', 'tydiqa']:
        train, dev = training(sample, t, .1)
        field = next(f for f in ('context', 'sentence1', 'question', 'tokens') if train[0].get(f))
        if t != 'csqa': assert not {str(r[field]) for r in train} & {str(r[field]) for r in dev}, t
        assert [r['id'] for r in train] == sorted((r['id'] for r in train), key=text_digest)
    assert not {r['sentence1'] for r in training(sample, 'mnli', .1)[1]} & {r['sentence1'] for r in training(sample, 'anli_plus', .1)[0]}, 'held out of both'


def paragraphs(*contexts: str, version: str = '1.1') -> str:
    "A SQuAD file with a question about each of these paragraphs."
    return json.dumps({'version': version, 'data': [{'title': 'T', 'paragraphs': [
        {'context': c, 'qas': [{'id': f'{version} {c}', 'question': 'Who?', 'answers': [{'text': c.split()[0], 'answer_start': 0}]}]} for c in contexts]}]})


def contexts(rows: list[dict]) -> set[str]:
    return {r['context'] for r in rows}


@pytest.mark.parametrize('files', [
    {'train-v1.1': range(40, 50), 'dev-v1.1': range(40), 'dev-v2.0': range(30)},  # SQuAD 2.0 has to be trained on its development paragraphs
    {'dev-v1.1': range(40), 'dev-v2.0': range(10, 50)},  # both are carved
    {'dev-v1.1': range(40), 'train-v2.0': range(20, 50), 'dev-v2.0': range(50, 60)},
    {'train-v1.1': range(30), 'dev-v1.1': range(30, 40), 'train-v2.0': range(35), 'dev-v2.0': range(25, 45)}])
def test_no_task_is_trained_on_what_another_stops_early_by(folder, put, files):
    for name, numbers in files.items():
        put(f'squad/{name}.json', paragraphs(*(f'Word{n} stands in paragraph {n}.' for n in numbers), version=name[-3:]))
    train, dev = ([contexts(folder.load(t, part)) for t in ('squad_v1', 'squad_v2')] for part in ('train', 'dev'))
    assert all([*train, *dev]) and not set.union(*train) & set.union(*dev)
    here = sum(len(folder.load(t, part)) for t in ('squad_v1', 'squad_v2') for part in ('train', 'dev'))
    said = [int(re.search(r'other side: (\d+)', n)[1]) for t in ('squad_v1', 'squad_v2') for n in folder.notes(t) if 'other side' in n]
    assert here + sum(said) == sum(map(len, files.values())), 'what is left out is counted'


def test_nothing_left_to_check_on_is_said(folder, put):
    words = [f'Word{n} stands in paragraph {n}.' for n in range(40)]
    put('squad/dev-v2.0.json', paragraphs(*words, version='2.0'))
    held = contexts(folder.load('squad_v2', 'dev'))
    put('squad/train-v1.1.json', paragraphs('Another one.')), put('squad/dev-v1.1.json', paragraphs(*(w for w in words if w not in held)))
    with pytest.raises(XltError, match='squad_v1: squad_v2 is trained on every development paragraph of it'): folder.load('squad_v1', 'dev')


def test_siblings_of_the_sample_are_apart(sample):
    data = {t: training(sample, t, .1) for t in ('squad_v1', 'squad_v2', 'mnli', 'anli_plus')}
    for one, other in (('squad_v1', 'squad_v2'), ('squad_v2', 'squad_v1'), ('mnli', 'anli_plus'), ('anli_plus', 'mnli')):
        texts = lambda rows: [r.get('context') or r['sentence1'] for r in rows]
        assert shared_texts(texts(data[one][0]), texts(data[other][1]))['shared'] == 0, (one, other)


def test_the_corpus_holds_nothing_that_is_evaluated(sample):
    targets = ('xnli', 'udpos', 'xquad', 'tatoeba')
    source, banned = Files(folder=str(sample)), evaluated_keys(sample, targets)
    corpus = source.corpus(list(targets))
    assert not any(key(s) in banned for found in corpus.values() for s in found)
    assert set(corpus) == set(language_table().index) and min(len(found) for found in corpus.values()) > 1000
