"Cards of one's own: what is wrong in one is said with file and line, its data are read as it says, and what decides its scores is in the fingerprints of the runs that use it."
import gzip
import json
import os
from pathlib import Path

import pytest
import yaml

from xlt.cli.main import main
from xlt.common.errors import XltError
from xlt.data.door import load, why_missing
from xlt.data.files import Files
from xlt.data.hub_pins import Split
from xlt.languages.measures import language_code
from xlt.runs.config import read_card, read_cards
from xlt.runs.graph import runs
from xlt.runs.params import Study
from xlt.tasks import cards
from xlt.tasks.cards import TASKS, VARIANTS, find_task

REPO = Path(__file__).resolve().parent.parent
REAL = REPO.parent / 'shared' / 'xtreme'
CARD = dict(task='topics', kind='classification', languages='en sw yo de', labels=['sports', 'travel'], licence='CC0', citation='https://example.org/topics',
            files=dict(format='tsv', path='topics/{language}/{split}.tsv', columns=dict(id='n', text='text', label='category')))


COPA = dict(kind='multiple_choice', labels=None)


@pytest.fixture(autouse=True)
def only_built_in():
    "What a test registers is gone after it."
    tasks, variants = dict(TASKS), dict(VARIANTS)
    yield
    for known, before in ((TASKS, tasks), (VARIANTS, variants)):
        known.clear()
        known.update(before)


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')
    return path


def card(folder: Path, name: str = 'topics.yaml', **changed) -> Path:
    return put(folder / name, yaml.safe_dump({k: v for k, v in (CARD | changed).items() if v is not None}, sort_keys=False))


def topics(folder: Path, names=('eng_Latn', 'swh_Latn', 'yor_Latn', 'deu_Latn')) -> None:
    "Twenty English training texts, four test texts in each language, three of them parallel."
    def text(name, split, n): return 'n\tcategory\ttext\n' + ''.join(f'{i}\t{("sports", "travel")[i % 2]}\tText number {i} of the {split} set in {name}.\n' for i in range(n))
    put(folder / 'topics/eng_Latn/train.tsv', text('eng_Latn', 'train', 20))
    for name in names: put(folder / f'topics/{name}/test.tsv', text(name, 'test', 4))


@pytest.fixture
def data(tmp_path) -> Path:
    topics(tmp_path / 'data')
    return tmp_path / 'data'


def study(tmp_path: Path, data: Path, **changed) -> Path:
    asked = dict(study='own', cards=['topics.yaml'], source=dict(kind='files', folder=str(data)), encoder=dict(kind='scratch', layers=1, hidden=16),
                 intermediates=['mnli'], targets=['topics'], analysis=dict(groups='median'))
    return put(tmp_path / 'own.yaml', yaml.safe_dump(asked | changed))


def mnli(data: Path) -> None:
    label = ('entailment', 'neutral', 'contradiction')
    put(data / 'mnli/rows.csv', 'label,text,assertion\n' + ''.join(f'{label[i % 3]},Premise number {i} stands here.,Hypothesis {i}.\n' for i in range(12)))


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv('XLT_ROOT', str(tmp_path))
    monkeypatch.delenv('XLT_FILES', raising=False)
    return tmp_path


# ---- what is wrong with a card

@pytest.mark.parametrize('changed, line, said', [
    (dict(knd='x'), True, "knd is unknown (did you mean 'kind'?)"),
    (dict(kind='clasification'), True, "kind is 'clasification' (did you mean 'classification'?)"),
    (dict(licence=None), False, 'licence is missing'),
    (dict(labels=None), False, 'labels: a task of kind classification has at least two'),
    (dict(languages='en swahilli'), True, "languages: 'swahilli' is unknown (did you mean sw?)"),
    (dict(languages='en sw swh_Latn'), True, "languages: 'sw' is listed twice"),
    (dict(metric='f1'), True, "metric is 'f1'; classification has accuracy"),
    (dict(files=CARD['files'] | dict(columns=dict(txt='text', label='category'))), True, "files.columns.txt is unknown (did you mean 'text'?)"),
    (dict(files=CARD['files'] | dict(columns=dict(text='text'))), True, 'files.columns.label is missing'),
    (dict(files=CARD['files'] | dict(columns=dict(text=1, label='category'))), True, 'names and numbers are mixed'),
    (dict(files=CARD['files'] | dict(format='conll')), True, "files.format is 'conll', but classification is read from format: tsv or csv or jsonl"),
    (dict(files=CARD['files'] | dict(path='topics/{lang}/{split}.tsv')), True, 'files.path: {lang} is not allowed; it may contain {language} and {split}'),
    (dict(files=CARD['files'] | dict(path='topics/{language/{split}.tsv')), True, 'files.path: { is not allowed; it may contain'),
    (dict(files=CARD['files'] | dict(path='/data/{language}/{split}.tsv')), True, "files.path is '/data/{language}/{split}.tsv', but it must be relative to the folder of the source, or to files.folder"),
    (dict(files=CARD['files'] | dict(path=['{language}/{split}.tsv', '~/{language}/{split}.tsv'])), True, "files.path is '~/{language}/{split}.tsv', but it must be relative to"),
    (dict(files=CARD['files'] | dict(path='')), True, "files.path is '', but it must name a file"),
    (dict(files=CARD['files'] | dict(path='../')), True, "files.path is '../', but it must name a file"),
    (dict(files=CARD['files'] | dict(splits=dict(test='test*'))), True, 'files.splits.test: * is not allowed'),
    (dict(files=CARD['files'] | dict(path='**own/{language}/{split}.tsv')), True, 'files.path: * is not allowed; it may contain {language} and {split}'),
    (dict(files=CARD['files'] | dict(path='topics-*/{language}/{split}.tsv')), True, 'files.path: * is not allowed; it may contain {language} and {split}'),
    (dict(files=CARD['files'] | dict(path='topics [1]/{language}/{split}.tsv')), True, 'files.path: [ is not allowed; it may contain'),
    (dict(hub=dict(repository='a/b', revision='0' * 40, config='{code}')), True, 'hub.config: {code} is not allowed; it may contain {language}'),
    (dict(hub=dict(repository='a/b', revision='0' * 40, config='{language')), True, 'hub.config: { is not allowed; it may contain {language}'),
    (dict(hub=dict(repository='a/b', revision='0' * 40, files='{language}/{split}.parquet')), True, 'hub.files: {language} is not allowed; it may contain {config} and {split}'),
    (dict(hub=dict(repository='a/b', revision='0' * 40, files='**{split}.parquet')), True, "hub.files is '**{split}.parquet', but it must be a pattern for files in the repository"),
    (dict(hub=dict(repository='a/b', revision='0' * 40, files='/{split}.parquet')), True, "hub.files is '/{split}.parquet', but it must be"),
    (dict(kind='retrieval', labels=None, languages='de', files=dict(format='lines', path='{language}.txt', english='/x/{lang}.txt')), True, 'files.english: {lang} is not allowed'),
    (dict(kind='retrieval', labels=None, languages='de', files=dict(format='lines', path='{language}.txt', english='/')), True, "files.english is '/', but it must name a file"),
    (dict(files=CARD['files'] | dict(path='topics/{language}.tsv')), True, 'files.path has no {split}'),
    (dict(files=CARD['files'] | dict(path='topics/{split}.tsv')), True, 'files.path has no {language}'),
    (dict(files=CARD['files'] | dict(relabel=dict(sport='sprots'))), True, "files.relabel.sport is 'sprots' (did you mean 'sports'?)"),
    (dict(files=None), False, 'files is missing'),
    (dict(kind='tagging', labels=['O', 'B-PER', 'I-PER']), True, "files.format is 'tsv', but tagging is read from format: conll"),
    (dict(task='multi'), True, "task is 'multi', a name that xlt uses for an intermediate training"),
    (dict(task='none'), True, "task is 'none', a name that xlt uses"),
    (dict(task='My-Task'), True, "task is 'My-Task', but a name has a-z, 0-9 and _, at most 40 characters, and begins with a letter"),
    (dict(citation='Smith 2020'), True, "citation is 'Smith 2020', but the address of a paper (https://…) is needed"),
    (dict(hub=dict(repository='a/b', revision='main')), True, "hub.revision is 'main', but a commit of 40 hexadecimal digits is needed, not a branch"),
    (dict(entities=True), True, 'entities is only for tagging, and this task is of kind classification'),
    (dict(choices=4), True, 'choices is only for multiple_choice, and this'),
    (dict(no_answer=True), True, 'no_answer is only for span, and this'),
    (dict(normaliser='per_language'), True, 'normaliser is only for span, and this'),
    (dict(kind='tagging', labels=['O', 'PER'], entities=True), True, "entities: true is for labels such as O, B-PER and I-PER, and 'PER' is no such label"),
    (dict(kind='tagging', labels=['O', 'I-PER'], entities=True), True, "'I-PER' is no such label"),
    (dict(languages='en, sw'), True, "languages: 'en,' has a comma; write codes with spaces, or a list such as [en, sw]"),
    (dict(languages='en,sw'), True, "languages: 'en,sw' has a comma"),
    (dict(languages=5), True, 'languages is 5, but it should be a list such as [5]'),
    (dict(labels='pos, neg'), True, "labels: 'pos,' ends with a comma"),
    (dict(files=CARD['files'] | dict(names=dict(fr='fra'))), True, 'files.names.fr is not one of the languages'),
    (dict(files=CARD['files'] | dict(names=dict(swh='swh_Latn', sw='swa_Latn'))), True, "files.names is {'swh': 'swh_Latn', 'sw': 'swa_Latn'}, but swh and sw are the same"),
    (dict(files=CARD['files'] | dict(columns=dict(text=0, label=1))), True, 'files.columns.text is 0, but it must be a name or a number from 1'),
    (dict(files=CARD['files'] | dict(separator=';')), True, 'files.separator is only for format: conll'),
    (dict(kind='tagging', files=dict(format='conll', path='{language}/{split}', incomplete='skip')), True, 'files.incomplete: skip is only for format: tsv or csv or jsonl'),
    (COPA | dict(files=dict(format='tsv', path='{language}/{split}', columns=dict(choices=['c1'], label='right'))), True, 'files.columns.choices is a list of one column'),
    (COPA | dict(choices=2, files=dict(format='tsv', path='{language}/{split}', columns=dict(choices='c1', label='right'))), True, 'files.columns.choices is one column, but each choice has a column'),
    (COPA | dict(files=dict(format='tsv', path='{language}/{split}', columns=dict(choices=['a', 'b'], label='right'), relabel={1: 0, 2: 2})), True, "files.relabel.2 is '2'; choose from 0, 1"),
    (dict(recipe=dict(learning_rate=2, batch_size=8, epochs=1)), True, 'recipe.learning_rate is 2'),
    (dict(role='intermediate'), True, "role is 'intermediate': such a task has a training set of its own, in English alone"),
])
def test_what_is_wrong_in_a_card_is_said_with_file_and_line(root, changed, line, said):
    path = card(root, **changed)
    with pytest.raises(XltError) as e: read_card(path)
    told = next(m for m in str(e.value).splitlines() if said in m)
    place, _, rest = told.partition(': ')
    assert place.startswith('topics.yaml') and (':' in place) == line
    if line:
        key = rest.split(' ')[0].rstrip(':').split('.')[-1]
        named = path.read_text().splitlines()[int(place.split(':')[1]) - 1]
        assert key in named or rest.split('.')[0].split(' ')[0].rstrip(':') in named or 'columns' in named


@pytest.mark.parametrize('changed, said', [
    (dict(task='xnli'), "task is 'xnli', which is a task of the library already"),
    (dict(train_on='mnlii'), "train_on is 'mnlii' (did you mean 'mnli'?)"),
    (dict(train_on='mnli'), "train_on is 'mnli', a task of kind sentence_pair, but this one is of kind classification"),
    (dict(train_on='xnli'), "which has no training set of its own; it trains on mnli"),
    (dict(kind='sentence_pair', train_on='mnli', files=CARD['files'] | dict(columns=dict(sentence1='a', sentence2='b', label='c'))), 'labels are not those of mnli'),
])
def test_a_card_agrees_with_the_tasks_there_are(root, changed, said):
    with pytest.raises(XltError, match='topics.yaml') as e: read_cards([card(root, **changed)])
    assert said in str(e.value) and 'topics' not in TASKS


def test_a_card_that_is_missing_or_named_twice_is_refused(root, data, capsys):
    card(root)
    assert main(['plan', str(study(root, data, cards=['topcs.yaml']))]) == 2 and "did you mean 'topics.yaml'" in capsys.readouterr().err
    card(root, 'again.yaml')
    assert main(['plan', str(study(root, data, cards=['topics.yaml', 'again.yaml']))]) == 2 and "task 'topics' is already defined in" in capsys.readouterr().err
    assert not (root / 'runs').exists()


def test_all_that_is_misspelt_in_a_study_is_said_at_once(root, data, capsys):
    card(root)
    path = put(root / 'own.yaml', study(root, data, targets=['topcs'], tasks=dict(mnly={}), targts=['xnli']).read_text())
    assert main(['plan', str(path)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3 and all(line.startswith('xlt: own.yaml: ') or line.startswith('own.yaml: ') for line in said)
    for key in ("targts is unknown (did you mean 'targets'?)", "targets: target 'topcs' is unknown (did you mean 'topics'?)", "tasks: task 'mnly' is unknown (did you mean 'mnli'?)"):
        assert key in ' '.join(said)


def test_a_source_without_a_task_or_a_folder_is_named(root, data, capsys):
    mnli(data), card(root)
    assert main(['plan', str(study(root, data, targets=['xnli']))]) == 2
    assert f'own.yaml: targets: xnli: {data} has no data for xnli; expected xnli/test' in capsys.readouterr().err
    assert main(['plan', str(study(root, root / 'nowhere'))]) == 2
    assert f"own.yaml: source: no folder '{root}/nowhere'; set source.folder in the study" in capsys.readouterr().err
    for place in ('yor_Latn', 'deu_Latn'): (data / f'topics/{place}/test.tsv').unlink()
    for changed, said in ((dict(), 'targets: test data only in sw besides en; two groups of languages by median need at least 2'),
                          (dict(languages=['en', 'sw']), 'languages: sw besides the pivot en; two groups')):
        assert main(['plan', str(study(root, data, **changed))]) == 2 and said in capsys.readouterr().err


def test_empty_languages_are_said(root):
    path = put(root / 'topics.yaml', card(root).read_text().replace('languages: en sw yo de', 'languages:'))
    with pytest.raises(XltError, match='topics.yaml:3: languages is empty; it needs at least one value'): read_card(path)


@pytest.mark.parametrize('changed, said', [
    (dict(cards=['topics.yaml', './topics.yaml']), 'cards: topics.yaml is listed twice'), (dict(cards='topics.yaml'), "cards is 'topics.yaml', but it should be a list such as [topics.yaml]"),
    (dict(seeds=0), 'seeds is 0, but it should be a list such as [0]'), (dict(targets={'a': 1}), 'targets is {\'a\': 1}, but it should be a list\n')])
def test_lists_in_a_study(root, data, capsys, changed, said):
    card(root)
    assert main(['plan', str(study(root, data, **changed))]) == 2
    assert said in capsys.readouterr().err


def test_an_own_intermediate_task_is_among_the_choices(root, data, capsys):
    mnli(data), card(root, role='intermediate', languages='en')
    assert main(['plan', str(study(root, data, intermediates=['topics-mt'], targets=['xnli']))]) == 2
    assert 'multi, topics, each also with -mt, -mlm or -mt-mlm (but topics only with -mlm)' in capsys.readouterr().err


def test_a_study_knows_its_own_cards_alone(root, data):
    mnli(data), card(root)
    assert Study.read(study(root, data)).targets == ['topics']
    with pytest.raises(XltError, match="'topics' is not a built-in task; if it is your own, add its file to cards"): Study.read(study(root, data, cards=[]))


# ---- how files are read

def rows(root: Path, data: Path, split: str = 'test', language: str = 'sw', **changed):
    read_cards([card(root, **changed)])
    return load(Files(folder=str(data)), 'topics', split, language).to_list()


def test_the_same_rows_are_read_from_every_format(root, data):
    wanted = rows(root, data)
    assert [r['label'] for r in wanted] == ['sports', 'travel', 'sports', 'travel'] and wanted[1]['id'] == '1'
    for form, text in (('csv', '"n","category","text"\n' + ''.join(f'{r["id"]},{r["label"]},"{r["text"]}"\n' for r in wanted)),
                       ('jsonl', ''.join(json.dumps(dict(n=int(r['id']), category=r['label'], text=r['text'])) + '\n' for r in wanted))):
        put(data / f'{form}/sw-test', text)
        assert rows(root, data, files=CARD['files'] | dict(format=form, path=form + '/{language}-{split}')) == wanted
    put(data / 'bare/sw-test', ''.join(f'{r["text"]}\t{i % 2}\t{r["id"]}\n' for i, r in enumerate(wanted)))
    bare = dict(format='tsv', path='bare/{language}-{split}', columns=dict(text=1, label=2, id=3))
    assert rows(root, data, files=bare | dict(relabel={0: 'sports', 1: 'travel'})) == wanted, 'no header, and labels by number'
    with pytest.raises(XltError, match="sw-test:1: label '0' is unknown; write in files.relabel which label each number is, such as relabel: {0: sports, 1: travel}"):
        rows(root, data, files=bare)
    assert [r['label'] for r in rows(root, data, files=bare, labels=[1, 0])] == ['0', '1', '0', '1'], 'labels that are numbers are no positions'
    assert rows(root, data, labels='sports travel') == wanted, 'labels in one line'
    put(data / 'one/test', 'lang\tn\tcategory\ttext\n' + ''.join(f'{code}\t{r["id"]}\t{r["label"]}\t{r["text"]}\n' for r in wanted for code in ('deu', 'swa')))
    assert rows(root, data, files=CARD['files'] | dict(path='one/{split}', columns=CARD['files']['columns'] | dict(language='lang'))) == wanted, 'all languages in one file'


def test_languages_are_found_in_any_usual_form(root, data):
    assert Files(folder=str(data)).languages(read_cards([card(root)])['topics'].name) == ['en', 'sw', 'yo', 'de']
    put(data / 'topics/sw/test.tsv', 'n\tcategory\ttext\n')
    with pytest.raises(XltError, match='is of the same language, sw; say which in files.names'): Files(folder=str(data)).languages('topics')
    for code in ('sw', 'swh', 'swa'):
        assert read_cards([card(root, files=CARD['files'] | dict(names={code: 'swh_Latn'}))])['topics'].own.files.names == {'sw': 'swh_Latn'}
    assert len(Files(folder=str(data)).load('topics', 'test', 'sw')) == 4


def test_a_file_that_is_there_plain_and_compressed_is_refused(root, data):
    plain = data / 'topics/swh_Latn/test.tsv'
    plain.with_name('test.tsv.gz').write_bytes(gzip.compress(plain.read_bytes()))
    with pytest.raises(XltError, match='swh_Latn/test.tsv and test.tsv.gz differ only'): rows(root, data)
    plain.unlink()
    assert len(rows(root, data)) == 4


def test_a_path_may_be_written_in_several_ways(root, data):
    wanted = rows(root, data)
    for path in ('./topics/{language}/{split}.tsv', 'topics//{language}/{split}.tsv', '..//data/topics/{language}/{split}.tsv', 'topics/../topics/{language}/./{split}.tsv'):
        assert rows(root, data, files=CARD['files'] | dict(path=path)) == wanted


@pytest.mark.parametrize('text, said', [
    ('n\tcategory\ttext\n0\tsports\n', ':2: 2 columns, not 3'),
    ('n\tcategory\ttext\n0\tspots\tSome text.\n', ":2: label 'spots' is unknown"),
    ('n\tcategory\ttext\n0\tsports\t \n', ':2: no text'),
    ('n\tkind\ttext\n0\tsports\tSome text.\n', ":2: no column 'category' for files.columns.label; there is n, kind, text"),
    ('n\tcategroy\ttext\n0\tsports\tSome text.\n', ":2: no column 'category' (did you mean 'categroy'?) for files.columns.label"),
    ('n,category,text\n0,sports,Some text.\n', 'there is n,category,text, a single column (fields are separated by tabs in format: tsv, by commas in format: csv)'),
    ('n\tcategory\ttext\n0\tsports\tOne.\n0\tsports\tTwo.\n', ":3: id '0' is that of line 2 already; an example has one row"),
    ('n\tcategory\ttext\n0\t\tSome text.\n', ':2: no label')])
def test_what_is_wrong_in_a_file_is_said_with_its_line(root, data, text, said):
    path = put(data / 'topics/swh_Latn/test.tsv', text)
    with pytest.raises(XltError) as e: rows(root, data)
    assert str(e.value).startswith(str(path)) and said in str(e.value)


def test_quotation_marks_that_are_text_stay(root, data):
    texts = ['"Yes"', 'He said "no".', 'a "" b']
    put(data / 'topics/swh_Latn/test.tsv', 'n\tcategory\ttext\n' + ''.join(f'{i}\tsports\t{t}\n' for i, t in enumerate(texts)))
    assert [r['text'] for r in rows(root, data)] == texts
    def noted(): return [n for n in Files(folder=str(data)).notes('topics') if 'quotation marks' in n]
    assert not noted()
    put(data / 'topics/swh_Latn/test.tsv', 'n\tcategory\ttext\n0\tsports\tPlain.\n1\tsports\t"A ""quoted"" text"\n')
    assert rows(root, data)[1]['text'] == '"A ""quoted"" text"'
    assert noted() == ['Read with the quotation marks that CSV puts around a text, as part of it: 1 test item (in format: tsv, a quotation mark is text).']


def test_labels_in_json_are_read_as_they_are_written(root, data):
    from xlt.data.own_readers import label_text
    assert [label_text(v, 'f:1') for v in (True, False, 1.0, 2, '1.0', 'A')] == ['true', 'false', '1', '2', '1.0', 'A']
    for nothing in (None, '', ' '):
        with pytest.raises(XltError, match='f:1: no label'): label_text(nothing, 'f:1')


def test_rows_with_an_empty_column_are_skipped_and_counted_where_the_card_says_so(root, data):
    put(data / 'topics/swh_Latn/test.tsv', 'n\tcategory\ttext\n0\tsports\tOne.\n1\tsports\t \n2\ttravel\tTwo.\n')
    with pytest.raises(XltError, match='test.tsv:3: no text'): rows(root, data)
    assert [r['id'] for r in rows(root, data, files=CARD['files'] | dict(incomplete='skip'))] == ['0', '2']
    assert 'a text or label is empty: 1 test item.' in ' '.join(Files(folder=str(data)).notes('topics'))


def test_skipped_rows_of_training_files_are_counted(root, data):
    put(data / 'topics/eng_Latn/train.tsv', 'n\tcategory\ttext\n' + ''.join(f'{i}\tsports\t{f"Text {i}." if i > 1 else ""}\n' for i in range(12)))
    read_cards([card(root, files=CARD['files'] | dict(incomplete='skip'))])
    source = Files(folder=str(data))
    def said(): return [note for note in source.notes('topics') if 'Left out' in note]
    assert len(source.load('topics', 'train')) + len(source.load('topics', 'dev')) == 10
    assert said() == ['Left out because a text or label is empty: 2 training or development examples.']
    put(data / 'topics/eng_Latn/dev.tsv', 'n\tcategory\ttext\n90\tsports\tAnother text.\n91\t\tOne more.\n')
    assert said() == ['Left out because a text or label is empty: 3 training or development examples.']
    assert '90' in source.load('topics', 'dev')['id']


def test_rows_in_no_known_language_are_counted_and_named(root, data):
    names = {'train': ['eng'] * 4 + ['Englsh'], 'test': ['eng', 'swh', 'Kiswahilli', 'deu', 'Kiswahilli', '', 'fra', 'yor']}
    for split, codes in names.items():
        put(data / 'one' / split, 'lang\tcategory\ttext\n' + ''.join(f'{c}\tsports\tText {i} of {split}.\n' for i, c in enumerate(codes)))
    one = CARD['files'] | dict(path='one/{split}', columns=dict(text='text', label='category', language='lang'))
    read_cards([card(root, files=one)])
    source = Files(folder=str(data))
    def said(): return [note for note in source.notes('topics') if 'Left out' in note]
    assert said() == ["Left out because their language is unknown: 3 test items ('Kiswahilli', '').",
                      "Left out because their language is unknown: 1 training or development example ('Englsh')."]
    put(data / 'one/test', (data / 'one/test').read_text() + 'swh\t\tText without a label.\nfra\t\tNot in a language of the card.\n')
    put(data / 'one/train', (data / 'one/train').read_text() + 'swh\t\tNot English.\n')
    read_cards([card(root, files=one | dict(incomplete='skip'))])
    assert said()[0] == 'Left out because a text or label is empty: 1 test item.' and len(said()) == 3
    put(data / 'one/test', (data / 'one/test').read_text() + ''.join(f'xx{i}\tsports\tText.\n' for i in range(20)))
    assert "23 test items ('Kiswahilli', '', 'xx0', …)" in ' '.join(said())


def test_development_data_are_kept_from_training_unless_there_is_a_file(root, data):
    sides = [rows(root, data, split, 'en') for split in ('train', 'dev')]
    assert sum(map(len, sides)) == 20 and sides[1] and not {r['id'] for r in sides[0]} & {r['id'] for r in sides[1]}
    put(data / 'topics/eng_Latn/dev.tsv', 'n\tcategory\ttext\n90\tsports\tAnother text.\n')
    assert [r['id'] for r in rows(root, data, 'dev', 'en')] == ['90'] and len(rows(root, data, 'train', 'en')) == 20
    tested = CARD['files'] | dict(splits=dict(test='dev'))
    assert [r['id'] for r in rows(root, data, 'test', 'en', files=tested)] == ['90']
    assert '90' not in [r['id'] for r in rows(root, data, 'dev', 'en', files=tested)], 'what is tested on is not what a model is chosen by'


def test_columns_of_tags_are_read_and_renamed(root, data):
    put(data / 'ner/wol/test.txt', '\ufeffAyda B-PER\n, O\n\nWéer B-DATE\n')
    one, two = rows(root, data, language='wo', kind='tagging', languages='wo', labels=['O', 'B-PER', 'I-PER', 'B-ORG', 'I-ORG', 'B-LOC', 'I-LOC'], train_on='panx', entities=True,
                    files=dict(format='conll', path='ner/{language}/{split}.txt', separator=' ', relabel={'B-DATE': 'O'}))
    assert (one['tokens'], one['tags'], two['tags']) == (['Ayda', ','], ['B-PER', 'O'], ['O'])


def test_comments_before_a_sentence_of_columns_are_not_read(root, data):
    tags = dict(kind='tagging', languages='sw', labels=['NOUN', 'VERB'])
    put(data / 'pos/sw-test', '# newdoc id = 1\n# text = Kwaya inaimba\nKwaya\tNOUN\n# sasa\tVERB\n\n#Kwaya\tNOUN\n')
    for separator in ('\t', None):
        if separator is None: put(data / 'pos/sw-test', (data / 'pos/sw-test').read_text().replace('# sasa', '#'))
        one, two = rows(root, data, **tags, files=dict(format='conll', path='pos/{language}-{split}', separator=separator))
        assert one['tags'] == ['NOUN', 'VERB'] and one['tokens'][0] == 'Kwaya' and two['tokens'] == ['#Kwaya']
    put(data / 'pos/sw-test', '# NUON\nKwaya NOUN\n')
    with pytest.raises(XltError, match="sw-test:1: label 'NUON' is unknown"): rows(root, data, **tags, files=dict(format='conll', path='pos/{language}-{split}'))


def test_what_is_no_token_in_columns_is_left_out(root, data):
    tags = dict(kind='tagging', languages='sw', labels=['ADP', 'DET', 'NOUN'])
    put(data / 'pos/sw-test', '# text = Im Haus\n1-2\tIm\t_\t_\n1\tIn\tin\tADP\n2\tdem\tder\tDET\n2.1\tnichts\t_\t_\n3\tHaus\tHaus\tNOUN\n')
    one, = rows(root, data, **tags, files=dict(format='conll', path='pos/{language}-{split}', columns=dict(tokens=2, tags=4)))
    assert (one['tokens'], one['tags']) == (['In', 'dem', 'Haus'], ['ADP', 'DET', 'NOUN'])
    put(data / 'pos/sw-test', '-DOCSTART- -X- -X- O\n\nHaus NOUN\n1-2 NOUN\n')  # a score is a token where the first column has the tokens
    one, = rows(root, data, **tags, files=dict(format='conll', path='pos/{language}-{split}', separator=' '))
    assert one['tokens'] == ['Haus', '1-2']


def test_a_comma_too_many_is_no_tab(root, data):
    put(data / 'sw-test', 'text,category\nOne, two,sports\n')
    with pytest.raises(XltError, match='sw-test:2: 3 columns, not 2 .a comma in a text without quotation marks'):
        rows(root, data, files=dict(format='csv', path='{language}-{split}', columns=dict(text='text', label='category')))


def test_parallel_lines_may_have_the_same_ending(root, data):
    "As in `de.txt` and `en.txt`: the side, not the file's ending, tells the sentences apart."
    put(data / 'par/de.txt', 'Guten Tag\nDanke\n'), put(data / 'par/en.txt', 'Good day\nThank you\n')
    found = rows(root, data, language='de', kind='retrieval', labels=None, languages='de', files=dict(format='lines', path='par/{language}.txt', english='en.txt'))
    texts = {r['id']: r['text'] for r in found}
    assert [(r['side'], r['text'], [texts[m] for m in r['matches']]) for r in found] == [
        ('foreign', 'Guten Tag', ['Good day']), ('foreign', 'Danke', ['Thank you']), ('english', 'Good day', ['Guten Tag']), ('english', 'Thank you', ['Danke'])]


def test_parallel_lines_may_lie_beside_the_folder(root, data):
    put(data / 'par/swh-eng.swh', 'Kuna joto.\n'), put(data / 'par/swh-eng.eng', 'It is hot.\n')
    put(root / 'more/par/yor-eng.yor', 'Ó gbóná.\nÓ tutù.\n'), put(root / 'more/par/yor-eng.eng', 'It is hot.\nIt is cold.\n')
    form = dict(format='lines', path=['par/{language}-eng.{language}', '../more/par/{language}-eng.{language}'], english='{language}-eng.eng')
    found = rows(root, data, language='yo', kind='retrieval', labels=None, languages='sw yo', files=form)
    assert [(r['side'], r['text']) for r in found][::2] == [('foreign', 'Ó gbóná.'), ('english', 'It is hot.')] and found[1]['matches'] == [found[3]['id']]
    assert Files(folder=str(data)).languages('topics') == ['sw', 'yo'] and why_missing(Files(folder=str(data)), 'topics') is None
    put(root / 'more/par/yor-eng.eng', 'It is hot.\n')
    with pytest.raises(XltError, match='yor-eng.yor: 2 lines, but 1 in yor-eng.eng'): load(Files(folder=str(data)), 'topics', 'test', 'yo')


def test_questions_with_choices_are_read(root, data):
    put(data / 'copa/sw-test.jsonl', json.dumps(dict(premise='Alikuwa na njaa.', a='Alikula.', b='Alilala.', question='effect', label=0)) + '\n')
    row, = rows(root, data, kind='multiple_choice', labels=None, files=dict(format='jsonl', path='copa/{language}-{split}.jsonl',
                columns=dict(context='premise', question='question', choices=['a', 'b'], label='label')))
    assert find_task('topics').choices == 2 and (row['choices'], row['label']) == (['Alikula.', 'Alilala.'], 0)
    put(data / 'copa/sw-test.csv', 'a,b,label\nAlikula.,Alilala.,2\n')
    row, = rows(root, data, kind='multiple_choice', labels=None, files=dict(format='csv', path='copa/{language}-{split}.csv', columns=dict(choices=['a', 'b'], label='label'), relabel={1: 0, 2: 1}))
    assert row['label'] == 1


@pytest.mark.parametrize('column', ['context', 'question'])
@pytest.mark.parametrize('value', [7, 0, ['why'], {'a': 1}])
def test_a_context_or_question_that_is_no_text_is_refused(root, data, column, value):
    def write(what): put(data / 'copa/sw-test.jsonl', json.dumps(dict(context='Njaa.', a='Alikula.', b='Alilala.', question='effect', label=0) | {column: what}) + '\n')
    write(value)
    asked = dict(kind='multiple_choice', labels=None, files=dict(format='jsonl', path='copa/{language}-{split}.jsonl',
                 columns=dict(context='context', question='question', choices=['a', 'b'], label='label')))
    with pytest.raises(XltError) as e: rows(root, data, **asked)
    assert str(e.value).endswith(f'sw-test.jsonl:1: {column} is {value!r}, not a text')
    write(None)
    assert rows(root, data, **asked)[0][column] == ''


# ---- before a study begins

TAGGING = dict(kind='tagging', labels=['O', 'X'], files=dict(format='conll', path='topics/{language}/{split}.tsv'))

@pytest.mark.parametrize('changed, file, text, said', [
    ({}, 'swh_Latn/test', 'n\tkind\ttext\n0\tsports\tOne.\n', "no column 'category'"),
    ({}, 'swh_Latn/test', 'n\tcategory\ttext\n0\tspots\tOne.\n', "label 'spots' is unknown"),
    ({}, 'swh_Latn/test', 'n,category,text\n0,sports,One.\n', "no column 'n'"),
    ({}, 'swh_Latn/test', '', 'holds no examples of topics'),
    ({}, 'swh_Latn/test', 'n\tcategory\ttext\n', 'holds no examples of topics'),
    ({}, 'eng_Latn/train', 'n\tcategory\ttext\n', 'holds no examples of topics'),
    ({}, 'eng_Latn/train', 'n\tcategory\ttext\n0\tsports\tOne.\n', 'topics: too few different paragraphs or sentences to train and to check on: 1'),
    ({}, 'eng_Latn/dev', 'n\tcategory\ttext\n', 'holds no examples of topics'),
    (TAGGING, 'swh_Latn/test', 'One\tO\nTwo\n', ':2: not a token and a tag'),
])
@pytest.mark.parametrize('command', ['plan', 'run'])
def test_files_of_a_card_that_cannot_be_read_are_refused_before_a_study_begins(root, data, capsys, changed, file, text, said, command):
    mnli(data), card(root, **changed)
    if changed:
        for place in data.glob('topics/*/*.tsv'): put(place, ''.join(f'w{i}\t{"OX"[i % 2]}\n\n' for i in range(20)))
    path = put(data / f'topics/{file}.tsv', text)
    assert main([command, str(study(root, data))]) == 2
    told = capsys.readouterr().err
    assert f'{path}:' in told and said in told and not list(root.glob('runs/*/encoder'))


def test_a_column_of_languages_without_rows_in_one_is_refused(root, data, capsys):
    mnli(data), card(root, files=CARD['files'] | dict(path='one/{split}', columns=dict(text='text', label='category', language='lang')))
    for split, codes in (('train', ['en']), ('test', ['en', 'sw', 'yo'])):
        put(data / 'one' / split, 'lang\tcategory\ttext\n' + ''.join(f'{c}\tsports\tText {i} of {split}.\n' for i in range(20) for c in codes))
    assert main(['plan', str(study(root, data))]) == 2 and f"{data}/one/test: holds no examples of topics in 'de'" in capsys.readouterr().err


def test_a_plan_says_which_languages_of_a_card_have_no_file(root, data, capsys):
    mnli(data), card(root, languages='en sw yo de fr fi')
    assert main(['plan', str(study(root, data))]) == 0
    assert 'xlt: topics is evaluated without 2 of the languages on its card, because no file of theirs is here: fr, fi\n' in capsys.readouterr().err
    assert main(['plan', str(study(root, data, languages=['en', 'sw', 'yo', 'de']))]) == 0 and 'without' not in capsys.readouterr().err


# ---- fingerprints

def prints(path: Path) -> dict[str, str]: return {r.name: r.fingerprint for r in runs(Study.read(path))}


def wide(root: Path, data: Path, **changed) -> Path:
    for code in ('sw', 'de', 'en'): put(data / f'xnli/dev-{code}.tsv', f'Statement in {code}.\tAnother in {code}.\tneutral\n')
    return study(root, data, targets=['topics', 'xnli'], **changed)


def test_what_decides_a_score_is_in_the_fingerprint_of_the_runs_that_use_it_and_of_no_other(root, data):
    mnli(data), card(root)
    published = dict(encoder=dict(kind='pretrained', name='some/encoder', revision='0' * 40))
    before = prints(wide(root, data, **published))
    uses, others = {n for n in before if '--topics--' in n}, {n for n in before if '--topics--' not in n and n != 'report'}
    def changed(**what):
        card(root, **what)
        now = prints(wide(root, data, **published))
        return {n for n in now if now[n] != before[n]} - {'report'}
    assert uses and others
    assert changed(licence='CC BY 4.0', note='News.', source='elsewhere') == set(), 'what is only for people'
    assert changed(labels=['travel', 'sports']) == uses
    assert changed(files=CARD['files'] | dict(relabel=dict(sport='sports'))) == uses
    assert changed(recipe=dict(learning_rate=1e-4, batch_size=8, epochs=1)) == uses
    hub = dict(repository='some/topics', revision='0' * 40, names=dict(en='eng_Latn', sw='swh_Latn'), columns=dict(text='text', label='topic'))
    assert changed(hub=hub) == set(), 'a repository that a source of files does not read'
    assert changed() == set()


def test_a_file_beside_the_folder_changes_only_the_runs_that_read_it(root, data):
    (data / 'topics').rename(root / 'elsewhere')
    mnli(data), card(root, files=CARD['files'] | dict(path='../elsewhere/{language}/{split}.tsv'))
    published = dict(encoder=dict(kind='pretrained', name='some/encoder', revision='0' * 40))
    before = prints(wide(root, data, **published))
    put(root / 'elsewhere/swh_Latn/test.tsv', 'n\tcategory\ttext\n7\tsports\tA new text.\n')
    now = prints(wide(root, data, **published))
    assert {n for n in now if now[n] != before[n]} - {'report'} == {n for n in now if '--topics--' in n}


def test_the_test_of_a_card_decides_what_is_removed_from_other_training_data(root, data):
    asked = dict(leakage='remove', encoder=dict(kind='pretrained', name='some/encoder', revision='0' * 40))
    (data / 'topics').rename(root / 'elsewhere')
    mnli(data), card(root, files=CARD['files'] | dict(path='../elsewhere/{language}/{split}.tsv'))
    before = prints(wide(root, data, **asked))
    put(root / 'elsewhere/swh_Latn/test.tsv', 'n\tcategory\ttext\n7\tsports\tA new text.\n')
    now = prints(wide(root, data, **asked))
    assert now['mnli--s0'] != before['mnli--s0'] and now['encoder'] == before['encoder']
    assert now['none--xnli--s0'] == before['none--xnli--s0'], 'from its training data its own test is removed'


def test_a_card_leaves_the_fingerprints_of_other_studies_alone(root, data):
    mnli(data)
    plain = dict(cards=[], targets=['xnli'])
    wide(root, data)
    before = prints(study(root, data, **plain))
    card(root), Study.read(study(root, data))
    assert prints(study(root, data, **plain)) == before


def test_intermediate_runs_can_be_those_of_another_study(root, data):
    mnli(data), card(root), wide(root, data)
    narrow = prints(study(root, data, cards=[], targets=['xnli'], leakage='remove', encoder=dict(kind='pretrained', name='some/encoder', revision='0' * 40)))
    asked = dict(leakage='remove', encoder=dict(kind='pretrained', name='some/encoder', revision='0' * 40))
    assert prints(study(root, data, **asked))['mnli--s0'] != narrow['mnli--s0'], 'its tests are others, so other rows may be removed'
    assert prints(study(root, data, leave_out=['xnli'], **asked))['mnli--s0'] == narrow['mnli--s0']
    with pytest.raises(XltError, match='leave_out is only for leakage: remove'): Study.read(study(root, data, leave_out=['xnli']))
    with pytest.raises(XltError, match="leave_out: target 'xnl' is unknown"): Study.read(study(root, data, leave_out=['xnl'], **asked))


# ---- what goes with a task

def test_tasks_are_listed_with_those_of_a_study(root, data, capsys):
    mnli(data), card(root)
    assert main(['tasks']) == 0 and 'topics' not in capsys.readouterr().out
    assert main(['tasks', str(study(root, data))]) == 0
    out = capsys.readouterr().out
    assert 'topics.yaml' in out
    _, scored, added, mine = (part.split(':\n')[-1] for part in out.split('\nlanguages '))
    assert 'xnli      ar bg' in scored and 'xcopa' not in scored and 'lareqa' not in scored
    assert 'xcopa     et ht' in added and 'lareqa    ar' in added and 'udpos     lt pl ro uk wo\n' in added and 'xnli' not in added
    assert mine == 'topics    en sw yo de\n'
    assert main(['tasks', str(study(root, data, cards=['nowhere.yaml']))]) == 2


def test_a_report_says_which_languages_have_no_file(root, data):
    mnli(data)
    read_cards([card(root, languages='en sw yo de fr', note='Short texts.')])
    said = ' '.join(Files(folder=str(data)).notes('topics'))
    assert 'in 4 languages: en, sw, yo, de' in said and 'No file here for one more language on the card: fr.' in said and 'Short texts.' in said and 'trained on 18 English examples' in said
    import shutil
    shutil.rmtree(data / 'topics/swh_Latn')
    assert Files(folder=str(data)).languages('topics') == ['en', 'yo', 'de']
    assert 'No file here for 2 more languages on the card: sw, fr.' in Files(folder=str(data)).notes('topics')


def test_a_lost_language_is_noted(root, data):
    from xlt.runs.store import lost_languages, note_languages
    mnli(data), card(root)
    note_languages(Study.read(study(root, data)))
    (data / 'topics/swh_Latn/test.tsv').unlink()
    assert lost_languages(Study.read(study(root, data))) == {'topics': ['sw']}


def test_a_test_text_in_the_training_data_is_found(root, data):
    from xlt.data.leakage import check_leakage, load_test_sets
    read_cards([card(root)])
    source, text = Files(folder=str(data)), 'Text number 2 of the test set in swh_Latn.'
    exams = load_test_sets(source, {'topics': ['sw', 'yo']})
    assert [(e.target, e.language) for e in exams] == [('topics', 'en'), ('topics', 'sw'), ('topics', 'yo')]
    with pytest.raises(XltError, match="1 of the 4 test items .25 %. of topics in 'sw'"): check_leakage(exams, {'a training set': [text]})
    kept = check_leakage(exams, {'a training set': [text, 'Another text of the training set.']}, 'remove')
    assert kept.data['a training set'] == ['Another text of the training set.'] and kept.table.removed.sum() == 1


def test_a_card_of_its_own_can_be_an_intermediate_task(root, data):
    mnli(data), topics(data)
    for code in ('sw', 'de'): put(data / f'xnli/dev-{code}.tsv', f'Statement in {code}.\tAnother in {code}.\tneutral\n')
    card(root, role='intermediate', languages='en')
    found = Study.read(study(root, data, intermediates=['topics'], targets=['xnli']))
    assert found.mixture('topics').tasks.keys() == {'topics'} and 'topics' not in cards.INTERMEDIATE
    spec = {r.name: r.spec for r in runs(found)}
    assert 'cards' in spec['topics--s0'] and 'cards' not in spec['topics--xnli--s0']


# ---- the cards that come with the project

@pytest.mark.parametrize('path', sorted((REPO / 'params' / 'cards').glob('*.yaml')), ids=lambda p: p.stem)
def test_the_cards_of_the_project_can_be_read(path):
    task, = read_cards([path]).values()
    assert task.licence and task.citation and task.own.source and task.name == path.stem


@pytest.mark.skipif(not REAL.is_dir(), reason='the real data are not here')
@pytest.mark.parametrize('name, languages, language, n', [('sib200', 68, 'yo', 204), ('americasnli', 10, 'qu', 750), ('masakhaner', 4, 'wo', 539),
                                                          ('masakhane_pos', 4, 'luo', 606),
                                                          ('tatoeba112', 112 if (REAL.parent / 'xtreme-more').is_dir() else 36, 'sw', 780)])
def test_the_cards_of_the_project_read_the_real_files(name, languages, language, n):
    read_cards([REPO / 'params' / 'cards' / f'{name}.yaml'])
    source = Files(folder=str(REAL))
    assert why_missing(source, name) is None and len(source.languages(name)) == languages
    assert len(load(source, name, 'test', language)) == n
    for code in source.languages(name): assert len(load(source, name, 'test', code)) > 90
    if name == 'sib200':
        assert len(load(source, name, 'train', 'en')) == 701 and len(load(source, name, 'dev', 'en')) == 99
        ids = [set(load(source, name, 'test', c)['id']) for c in ('en', 'zh', 'wo')]
        assert ids[0] == ids[1] == ids[2] and len(ids[0]) == 204


def test_sib200_has_a_configuration_on_the_hub_for_each_of_its_languages():
    task, = read_cards([REPO / 'params/cards/sib200.yaml']).values()
    assert task.hub.names.keys() == set(task.languages) and len(set(task.hub.names.values())) == len(task.languages) == 204
    assert {c for c, name in task.hub.names.items() if language_code(name) != c} == set() and task.hub.names['zh'] == task.own.files.names['zh']
    if REAL.is_dir(): assert {p.name for p in (REAL / 'sib200').iterdir() if p.is_dir()} <= set(task.hub.names.values())
    assert Split(*task.hub.test[:1], 'swh_Latn', 'test').place.files == '{split}/{config}.parquet' and task.hub.dev == {('sib200', 'eng_Latn', 'validation'): 0}


@pytest.mark.skipif(not REAL.is_dir(), reason='the real data are not here')
def test_the_wide_study_trains_the_intermediate_runs_of_the_narrow_one(monkeypatch):
    monkeypatch.setenv('XLT_FILES', str(REAL))
    narrow, wide = ({r.name: r for r in runs(Study.read(REPO / 'params' / f'{n}.yaml'))} for n in ('e5', 'e5-wide'))
    shared = {n for n, r in wide.items() if r.phase in ('encoder', 'intermediate')}
    assert len(shared) == 22 and {n: wide[n].fingerprint for n in shared} == {n: narrow[n].fingerprint for n in shared}


# ---- classification, trained and tested

def test_a_classification_task_is_learnt(tmp_path):
    from xlt.data.examples import dataset
    from xlt.models.evaluation import chance, development_score, evaluate
    from xlt.models.features import train_tokenizer
    from xlt.models.heads import new_model, save_encoder, with_head
    from xlt.models.tokenised import tokenised
    from xlt.models.training import fit
    from xlt.tasks.card import Phase, Recipe, Task
    words = {'sports': 'ball goal team match', 'travel': 'train ticket hotel beach'}
    def text(i): return dict(id=str(i), text=' '.join(words[("sports", "travel")[i % 2]].split()[n % 4] for n in (i // 2, i // 8)), label=('sports', 'travel')[i % 2])
    train, test = (dataset([text(i) for i in part], 'classification') for part in (range(64), range(64, 96)))
    task = Task(name='topics', role='target', kind='classification', metrics=('accuracy',), labels=('sports', 'travel'), train_on='topics', languages=('en',))
    cards.use_cards({'topics': task})
    recipe = Recipe(layers=1, hidden=32, heads=2, feed_forward=64, vocabulary=320, max_length=32)
    tokenizer = train_tokenizer({'en': [r['text'] for r in train]}, recipe.vocabulary, 1., 64)
    save_encoder(new_model(recipe, tokenizer, 0), tokenizer, tmp_path)
    how = Phase(learning_rate=5e-3, batch_size=16, epochs=20, max_length=16)
    model = with_head(tmp_path, 'classification', list(task.labels), 0)
    fit(model, tokenizer, 'classification', tokenised(task, train, tokenizer, how, list(task.labels)), how, 0,
        lambda m: development_score(task, m, tokenizer, train, how, list(task.labels), 'en'))
    class One:
        kind, pivot = 'one', 'en'
        def load(self, *which): return test
    scores, rows = evaluate(One(), task, model, tokenizer, how, list(task.labels), ['en'])
    assert chance(task, test, how, 'en') == 50 and scores[0]['score'] > 90 and set(rows.prediction) == {'sports', 'travel'}
