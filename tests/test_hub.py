"Hub: the real clients against a small hub on localhost, with the real names, configurations and columns."
import json
import os
import subprocess
import sys
from collections import Counter

import datasets
import huggingface_hub
import pytest
from datasets import Dataset

from xlt.data import hub as module, hub_pins, hub_rows
from hub import TYDI, SNLI, SmallHub, every_split, span, write
from xlt.data.layout import ISO3
from xlt.data.corpora import read_plain
from xlt.data.readers import read_squad
from xlt.data.hub_pins import (CHECKPOINTS, DEV_SPLITS, DEV_IN, MANIFEST, REPOSITORIES, TEST, TRAIN_SPLITS, TRANSLATED_SPLITS,
    Split, test_split as where)
from xlt.data.hub_rows import UNLABELLED
from xlt.data.hub import Hub, compare_pins
from xlt.common.errors import XltError
from xlt.languages.measures import language_table
from xlt.data.examples import FEATURES
from xlt.data.door import load_translated, load, why_missing
from xlt.tasks.cards import NLI, TARGET, TASKS

N = 6  # rows in a split


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    "A hub with six rows in each split, and the manifest that says so."
    root, manifest = tmp_path_factory.mktemp('hub'), {}
    datasets.disable_progress_bars()
    for n, (split, rows, features) in enumerate(every_split(N)): manifest[split] = write(root, split, rows, features, parts=2 if n % 7 == 0 else 1)
    hub = SmallHub(root)
    yield hub, manifest
    hub.close()


@pytest.fixture
def everywhere(monkeypatch):
    "A function that replaces a constant in every module of the hub that uses it."
    def replace(name, value):
        for m in (hub_pins, hub_rows, module):
            if hasattr(m, name): monkeypatch.setattr(m, name, value)
    return replace


@pytest.fixture
def client(world, tmp_path, monkeypatch, everywhere):
    "The real client, pointed at the small hub, with a cache of its own."
    hub, manifest = world
    constants = huggingface_hub.constants
    for name, value in dict(ENDPOINT=hub.url, HF_HUB_OFFLINE=False, HF_HUB_CACHE=str(tmp_path / 'cache'), HUGGINGFACE_HUB_CACHE=str(tmp_path / 'cache')).items():
        monkeypatch.setattr(constants, name, value, raising=False)
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', hub.url + '/{repo_id}/resolve/{revision}/{filename}')
    monkeypatch.setattr(datasets.config, 'HF_DATASETS_CACHE', tmp_path / 'datasets')
    everywhere('MANIFEST', dict(manifest))
    everywhere('UNLABELLED', {SNLI: 1})
    everywhere('LANGUAGE_ROWS', dict.fromkeys(module.LANGUAGE_ROWS, N))
    hub.asked.clear()
    return hub


# Every split loads

@pytest.mark.parametrize('task', [t for t in TASKS if not TASKS[t].hub.missing])
def test_every_task_loads_in_canonical_columns(client, task):
    source, kind = Hub(), TASKS[task].kind
    for split in (('train', 'dev') if TASKS[task].train_on else ()):
        data = load(source, task, split, 'en')
        assert set(data.column_names) == FEATURES[kind].keys() and len(set(data['id'])) == len(data)
    if TASKS[task].role == 'target':
        for language in TASKS[task].languages[:3]:
            data = load(source, task, 'test', language)
            assert set(data.column_names) == FEATURES[kind].keys() and len(data) == N * (2 if kind == 'retrieval' else 1) and len(set(data['id'])) == len(data)
    assert all('/main' not in path and '.py' not in path for path in client.asked), 'only pinned Parquet files are asked for'


def test_labels_are_words(client):
    source = Hub()
    assert set(source.load('mnli', 'dev')['label']) == set(NLI) and set(source.load('qqp', 'dev')['label']) == {'0', '1'} == set(source.load('pawsx', 'dev')['label'])
    assert source.load('udpos', 'test', 'de')[0]['tags'] == ['ADP', 'NOUN'] and source.load('panx', 'test', 'sw')[0]['tags'] == ['B-PER', 'O']
    def labels(task): return Counter(source.load(task, 'dev')['label'])
    assert labels('hellaswag') == {0: 2, 1: 2, 2: 1, 3: 1} and labels('csqa') == Counter(range(5)) + Counter([0])
    assert {'text': [], 'answer_start': []} in source.load('squad_v2', 'dev')['answers'][:] and ['The dog'] in [a['text'] for a in source.load('squad_v2', 'train')['answers']]


def test_xnli_is_developed_on_its_own_english(client):
    assert Hub().load('xnli', 'dev')['id'][0].startswith('en/validation') and Hub().load('xnli', 'train')['id'][0].startswith('mnli/train')


def test_some_targets_can_be_developed_in_other_languages(client):
    source = Hub()
    assert source.dev_languages('xnli')[:2] == ['en', 'ar'] and len(source.dev_languages('panx')) == 40 and source.dev_languages('udpos') == ['en']
    assert source.load('xnli', 'dev', 'sw')['id'][0].startswith('sw/validation') and source.load('panx', 'dev', 'yo')[0]['tags'] == ['B-PER', 'O']
    with pytest.raises(XltError, match="udpos: there are no dev data in 'de'"): source.load('udpos', 'dev', 'de')


def test_an_id_is_the_row_of_the_hub_also_behind_a_pair_without_a_label(client):
    labels = module.read_split(SNLI, {'label'})['label'][:]
    assert -1 in labels[:-1]
    assert module.canonical_dataset('anli_plus', SNLI)['id'][:] == [f'plain_text/train:{n}' for n, label in enumerate(labels) if label != -1]


def test_anli_plus_is_three_data_sets_shuffled(client):
    train = Hub().load('anli_plus', 'train')
    assert Counter(i.split('/')[1].split(':')[0] for i in train['id'] if i.startswith('plain_text/train_r')) == dict(train_r1=N, train_r2=N, train_r3=N)
    assert len(train) == 5 * N - 1, 'all but the SNLI pair without a label'
    assert list(train['id']) == list(Hub().load('anli_plus', 'train')['id']) != sorted(train['id'])
    assert {i.split(':')[0] for i in Hub().load('anli_plus', 'dev')['id'][:8]} > {'plain_text/dev_r1'}, 'the first examples are a fair sample'


def test_the_first_rows_are_a_fair_sample(client):
    "Whatever the order of the published file; a parallel set comes in the same order in every language."
    def lines(*args): return [i.rpartition(':')[2] for i in Hub().load(*args)['id']]
    for args in (('squad_v1', 'train'), ('hellaswag', 'dev'), ('mnli', 'train'), ('qqp', 'dev')):
        assert lines(*args) != sorted(lines(*args)) and lines(*args) == lines(*args)
    assert lines('xnli', 'dev', 'en') == lines('xnli', 'dev', 'sw') == lines('xnli', 'dev', 'ar') != sorted(lines('xnli', 'dev', 'sw'))


def test_squads_development_set_loses_xquads_paragraphs(client):
    assert {r['context'] for r in Hub().load('xquad', 'dev')} == {'The dog saw a cat.'} == {r['context'] for r in Hub().load('squad_v1', 'dev')}


def test_tydi_is_told_apart_by_its_ids(client):
    source = Hub(dev_share=.3)
    assert {i.split('-')[0] for i in source.load('tydiqa', 'test', 'sw')['id']} == {'swahili'}
    train, dev = source.load('tydiqa', 'train'), source.load('tydiqa', 'dev')
    assert len(train) + len(dev) == N and not set(train['context']) & set(dev['context']) and {i.split('-')[0] for i in train['id']} == {'english'}


def test_mnli_in_translation(client):
    source = Hub()
    assert source.translations('mnli')[0] == 'en' and len(source.translations('mnli')) == 15 and source.translations('csqa') == []
    data = load_translated(source, 'mnli')
    assert [i.split('/')[0] for i in data['id']] == source.translations('mnli')[:N] and data['id'][1] == 'ar/ar/train:1'
    assert list(data['label']) == [NLI[i % 3] for i in range(N)]


def test_wikipedia_without_what_is_tested(client, monkeypatch):
    repository = REPOSITORIES['wikipedia']
    for code in ('en', 'sw'):
        folder = client.folder / 'datasets' / repository.name / repository.revision / f'20231101.{code}'
        folder.mkdir(parents=True, exist_ok=True)
        Dataset.from_list([dict(id='1', text=f'The dog sat on the mat. A {code} dog.\nA {code} dog. Another.')]).to_parquet(str(folder / 'train-00000-of-00002.parquet'))
    monkeypatch.setattr(module, 'language_table', lambda: language_table().loc[['en', 'sw']])
    assert Hub().corpus(('xquad',)) == {c: [f'A {c} dog.', 'Another.'] for c in ('en', 'sw')}
    assert Hub().sizes()['en'] > Hub().sizes()['sw'] > 0


# What is refused

def spoil(client, monkeypatch, split, rows, **more):
    "Serve other rows, under another revision."
    repository = REPOSITORIES[split.repository]
    fresh = repository._replace(revision=f'{len(rows):040x}')
    monkeypatch.setitem(REPOSITORIES, split.repository, fresh)
    write(client.folder, split, rows, **more)


@pytest.mark.parametrize('rows, message', [
    ([dict(sentence1='a', sentence2='b', label='1')] * 5, 'google/xtreme, PAWS-X.ko, test: 5 rows, but the manifest says 6 for revision 0000'),
    ([dict(sentence1='a', sentence2='b', gold='1')] * 6, 'google/xtreme, PAWS-X.ko, test: no column label; there is sentence1, sentence2, gold'),
    ([dict(sentence1='a', sentence2='b', label='1')] * 5 + [dict(sentence1='a', sentence2='b', label='2')], "PAWS-X.ko/test:5: label '2' is unknown"),
    ([dict(sentence1='a', sentence2='b', label='1')] * 5 + [dict(sentence1=' ', sentence2='b', label='1')], 'PAWS-X.ko/test:5: no first sentence')])
def test_wrong_rows(client, monkeypatch, rows, message):
    spoil(client, monkeypatch, where('pawsx', 'ko'), rows)
    with pytest.raises(XltError) as e: Hub().load('pawsx', 'test', 'ko')
    assert message in str(e.value)


def test_an_empty_split(client, monkeypatch):
    split = where('pawsx', 'fr')
    monkeypatch.setitem(REPOSITORIES, 'xtreme', REPOSITORIES['xtreme']._replace(revision='e' * 40))
    write(client.folder, split, [dict(sentence1='a', sentence2='b', label='1')])
    folder = client.folder / 'datasets/google/xtreme' / ('e' * 40) / split.config
    Dataset.from_list([dict(sentence1='a', sentence2='b', label='1')]).select([]).to_parquet(str(folder / 'test-00000-of-00001.parquet'))
    with pytest.raises(XltError, match=r'google/xtreme, PAWS-X\.fr, test: 0 rows, but the manifest says 6'): Hub().load('pawsx', 'test', 'fr')


def test_an_answer_beside_its_place(client, monkeypatch):
    rows = [span(str(i), title=False) for i in range(5)] + [span('5', title=False) | {'answers': {'text': ['dog'], 'answer_start': [3]}}]
    spoil(client, monkeypatch, where('xquad', 'de'), rows)
    with pytest.raises(XltError, match=r"XQuAD\.de/validation:5: answer 'dog' is not at character 3"): Hub().load('xquad', 'test', 'de')


def test_a_missing_part_of_a_split(client, monkeypatch):
    spoil(client, monkeypatch, where('pawsx', 'ja'), [dict(sentence1='a', sentence2='b', label='1')] * 6, parts=3)
    place = client.folder / 'datasets/google/xtreme' / REPOSITORIES['xtreme'].revision / 'PAWS-X.ja'
    (place / 'test-00002-of-00003.parquet').unlink()
    with pytest.raises(XltError, match='PAWS-X.ja, test: 4 rows, but the manifest says 6'): Hub().load('pawsx', 'test', 'ja')


def test_a_broken_file(client, monkeypatch):
    spoil(client, monkeypatch, where('pawsx', 'es'), [dict(sentence1='a', sentence2='b', label='1')] * 6)
    place = client.folder / 'datasets/google/xtreme' / REPOSITORIES['xtreme'].revision / 'PAWS-X.es'
    (place / 'test-00000-of-00001.parquet').write_bytes(b'PAR1 not really')
    with pytest.raises(XltError, match='PAWS-X.es, test: test-00000-of-00001.parquet cannot be read'): Hub().load('pawsx', 'test', 'es')


@pytest.mark.parametrize('change, message', [(dict(revision='d' * 40), 'does not give it, at revision dddd.*RevisionNotFoundError'),
                                             (dict(name='google/extreme'), 'RepositoryNotFoundError'), (dict(files='{config}/x-{split}.parquet'), 'no file PAWS-X.de/x-test.parquet')])
def test_what_the_hub_does_not_have(client, monkeypatch, change, message):
    monkeypatch.setitem(REPOSITORIES, 'xtreme', REPOSITORIES['xtreme']._replace(**change))
    with pytest.raises(XltError, match=message): Hub().load('pawsx', 'test', 'de')


def test_a_hub_that_is_down(client, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, 'ENDPOINT', 'http://127.0.0.1:9')
    monkeypatch.setattr('time.sleep', lambda seconds: None)  # the client tries again and again
    with pytest.raises(XltError, match='facebook/xnli, sw, test: http://127.0.0.1:9 does not give it, at revision b8dd5d7a'): Hub().load('xnli', 'test', 'sw')


def test_a_script_is_never_fetched(client, monkeypatch):
    monkeypatch.setitem(REPOSITORIES, 'csqa', REPOSITORIES['csqa']._replace(revision='c' * 40))
    place = client.folder / 'datasets/tau/commonsense_qa' / ('c' * 40)
    place.mkdir(parents=True, exist_ok=True)
    (place / 'commonsense_qa.py').write_text('raise SystemExit("a script was run")')
    with pytest.raises(XltError, match='tau/commonsense_qa, default, train: no file data/train'): Hub().load('csqa', 'train')
    assert not any(p.endswith('.py') for p in client.asked)


def test_other_refusals(client, tmp_path):
    source = Hub()
    for args, message in ((('xnli', 'test', 'yo'), "xnli is not tested in 'yo'"), (('xnli', 'tset', 'en'), "split 'tset'"), (('mnli', 'test', 'en'), 'mnli has no test split'),
                          (('mnli', 'train', 'sw'), "no train data in 'sw'"), (('ccg', 'train', 'en'), 'CCGbank is licensed'), (('bucc2018', 'test', 'zh'), 'only the gold pairs')):
        with pytest.raises(XltError, match=message): source.load(*args)
    with pytest.raises(XltError, match='hub has no|no folder'): Hub(ccg_folder=str(tmp_path / 'none')).load('ccg', 'train')
    assert why_missing(source, 'ccg').startswith('CCGbank') and why_missing(source, 'xnli') is None and source.languages('ccg') == []


# The user's own copies

def test_ccgbank_from_ones_own_copy(tmp_path):
    for section, word in (('00', 'Zero'), ('02', 'Two'), ('21', 'Last'), ('23', 'Test')):
        place = tmp_path / 'data' / 'AUTO' / section
        place.mkdir(parents=True)
        (place / f'wsj_{section}01.auto').write_text(f'ID=wsj_{section}01.1 PARSER=GOLD NUMPARSE=1\n(<T S[dcl] 1 2> (<L NP NNP NNP {word} NP>) (<L S[dcl]\\NP VBZ VBZ runs S[dcl]\\NP_3>) ) \n')
    source = Hub(ccg_folder=str(tmp_path))
    assert source.available('ccg') is None and source.languages('ccg') == ['en']
    assert {r['tokens'][0] for r in source.load('ccg', 'train')} == {'Two', 'Last'} and source.load('ccg', 'dev')[0]['tags'] == ['NP', r'S[dcl]\NP']
    assert source.identity() != Hub().identity()
    (tmp_path / 'data/AUTO/02/wsj_0201.auto').write_text('nonsense\n')
    with pytest.raises(XltError, match='wsj_0201.auto:1: not a CCGbank derivation'): source.load('ccg', 'train')


def test_ccgbank_as_tagged_lines(tmp_path):
    (tmp_path / 'train.stagged').write_text('The|DT|NP[nb]/N cat|NN|N\n')
    source = Hub(ccg_folder=str(tmp_path))
    assert source.load('ccg', 'train')[0]['tags'] == ['NP[nb]/N', 'N']
    with pytest.raises(XltError, match='no dev part of CCGbank'): source.load('ccg', 'dev')


def test_bucc_from_ones_own_copy(tmp_path):
    (tmp_path / 'zh-en.dev.zh').write_text('zh-1\t一\nzh-2\t二\n'), (tmp_path / 'zh-en.dev.en').write_text('en-1\tTwo\n'), (tmp_path / 'zh-en.dev.gold').write_text('zh-2\ten-1\n')
    source = Hub(bucc_folder=str(tmp_path))
    assert len(load(source, 'bucc2018', 'dev', 'zh')) == 3 and source.languages('bucc2018') == ['de', 'fr', 'ru', 'zh']
    with pytest.raises(XltError, match='no zh-en.test.gold'): source.load('bucc2018', 'test', 'zh')


# Pins and manifest

def test_every_split_of_every_task_is_in_the_manifest():
    named = {s for table in (*TRAIN_SPLITS.values(), *DEV_SPLITS.values()) for s in table} | {where(t, c) for t in TEST for c in TASKS[t].languages}
    assert named | set(TRANSLATED_SPLITS['mnli'].values()) | {s for table in DEV_IN.values() for s in table.values()} == set(MANIFEST) and all(n > 0 for n in MANIFEST.values())
    assert {t for t in TASKS if TASKS[t].role == 'intermediate'} - set(TRAIN_SPLITS) == {'ccg'} and UNLABELLED == {SNLI: 785}
    assert MANIFEST[Split('glue', 'mnli', 'train')] == 392_702 and MANIFEST[where('tydiqa', 'te')] == 5077
    assert sum(MANIFEST[where('xnli', c)] for c in TARGET['xnli'].languages) == 75_150


def test_pins(client, tmp_path):
    for name, revision in CHECKPOINTS.items(): (client.folder / 'models' / name / revision).mkdir(parents=True, exist_ok=True)
    wikipedia = REPOSITORIES['wikipedia']
    (client.folder / 'datasets' / wikipedia.name / wikipedia.revision).mkdir(parents=True, exist_ok=True)
    (client.folder / 'datasets/nyu-mll/glue' / ('f' * 40)).mkdir(exist_ok=True)
    table = compare_pins()
    assert list(table.there) == [True] * (len(REPOSITORIES) + len(CHECKPOINTS)) and table.newest['nyu-mll/glue'] == 'f' * 40 != table.pinned['nyu-mll/glue']
    os.rmdir(client.folder / 'datasets/nyu-mll/glue' / ('f' * 40))


# Real rows, real counts

@pytest.mark.parametrize('language', ['ar', 'th', 'zh'])
def test_xquad_with_its_real_rows(client, sample, monkeypatch, everywhere, language):
    rows = [{k: r[k] for k in ('id', 'context', 'question', 'answers')} for r in read_squad(sample / 'xquad' / f'xquad.{language}.json')]
    everywhere('MANIFEST', MANIFEST)
    spoil(client, monkeypatch, where('xquad', language), rows)
    assert len(Hub().load('xquad', 'test', language)) == MANIFEST[where('xquad', language)] == 1190


@pytest.mark.parametrize('language', TARGET['tatoeba'].languages)
def test_tatoebas_counts_are_the_files(sample, language):
    lines = read_plain(sample / 'tatoeba/v1' / f'tatoeba.{ISO3[language]}-eng.eng')
    assert len(lines) == MANIFEST[where('tatoeba', language)]


# The environment's settings, in a process of its own

CODE = """
import json, sys
from xlt.data.hub_pins import MANIFEST
from xlt.data.hub import Hub
MANIFEST.update({s: 6 for s in MANIFEST})
print(json.dumps(list(Hub().load('xnli', 'test', 'sw')['label'])))
if sys.argv[1:]:
    from xlt.models.heads import load_encoder, load_tokenizer
    print(load_encoder(*sys.argv[1:]).config.hidden_size, len(load_tokenizer(*sys.argv[1:])))
"""


def run(code, *args, **env):
    "Python with these settings and no others of Hugging Face's."
    clean = {k: v for k, v in os.environ.items() if not k.startswith('HF_')}
    return subprocess.run([sys.executable, '-c', code, *args], capture_output=True, text=True, env=clean | {'HF_HUB_DISABLE_TELEMETRY': '1'} | env, timeout=300)


@pytest.fixture(scope='module')
def checkpoint(world):
    "A tiny XLM-R as safetensors, and one as a pickle, on the small hub."
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM
    from xlt.models.features import train_tokenizer
    tokenizer = train_tokenizer({'en': ['the dog sat on the mat'] * 20}, vocabulary=400, alpha=1)
    model = XLMRobertaForMaskedLM(XLMRobertaConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32))
    name, revision = 'FacebookAI/xlm-roberta-base', CHECKPOINTS['FacebookAI/xlm-roberta-base']
    good, pickled = world[0].folder / 'models' / name / revision, world[0].folder / 'models' / 'some/pickle' / ('b' * 40)
    for folder in (good, pickled): model.save_pretrained(folder), tokenizer.save_pretrained(folder)
    (pickled / 'model.safetensors').unlink()
    torch.save(model.state_dict(), pickled / 'pytorch_model.bin')
    return name, revision


def test_endpoint_offline_and_mirror(world, checkpoint, tmp_path):
    hub, _ = world
    online = run(CODE, *checkpoint, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path))
    assert online.returncode == 0, online.stderr[-2000:]
    labels, encoder = online.stdout.splitlines()
    assert json.loads(labels)[:3] == list(NLI) and encoder.startswith('32 ')
    asked = len(hub.asked)
    offline = run(CODE, *checkpoint, HF_HUB_OFFLINE='1', HF_HOME=str(tmp_path))
    assert offline.returncode == 0 and offline.stdout == online.stdout, offline.stderr[-2000:]
    assert len(hub.asked) == asked, 'offline, nothing is asked'
    empty = run(CODE, HF_HUB_OFFLINE='1', HF_HOME=str(tmp_path / 'empty'))
    assert 'XltError: facebook/xnli, sw, test: offline (HF_HUB_OFFLINE) and not in the cache, at revision b8dd5d7a' in empty.stderr
    mirror = SmallHub(hub.folder)  # another address with the same repositories
    try: assert run(CODE, HF_ENDPOINT=mirror.url, HF_HOME=str(tmp_path / 'mirrored')).returncode == 0 and mirror.asked
    finally: mirror.close()


def test_a_pickle_is_refused(world, checkpoint, tmp_path):
    code = "import sys; from xlt.models.heads import load_encoder; load_encoder('some/pickle', 'b' * 40)"
    done = run(code, HF_ENDPOINT=world[0].url, HF_HOME=str(tmp_path))
    assert done.returncode and 'safetensors' in done.stderr


# Cards of one's own

def test_a_card_of_its_own_is_read_from_a_repository(client, world, tmp_path, monkeypatch):
    "A repository that nobody knows, with class numbers, without a development split, and languages under names of its own."
    from datasets import ClassLabel, Features, Value
    from xlt.tasks import cards
    from xlt.tasks.own import OwnCard, decides, own_task
    hub, _ = world
    def rows(name, n): return [dict(index=100 + i, body=f'Text {i} in {name}.', topic=i % 2) for i in range(n)]
    features = Features(dict(index=Value('int64'), body=Value('string'), topic=ClassLabel(names=['x', 'y'])))
    for config, split, n in (('eng_Latn', 'train', 10), ('eng_Latn', 'test', 4), ('swh_Latn', 'test', 4)):
        place = hub.folder / 'datasets' / 'some' / 'topics' / ('b' * 40) / config
        place.mkdir(parents=True, exist_ok=True)
        Dataset.from_list(rows(config, n), features=features).to_parquet(place / f'{split}-00000-of-00001.parquet')
    asked = dict(task='topics', kind='classification', labels=('sports', 'travel'), languages='en sw', licence='CC0', citation='https://example.org',
                 hub=dict(repository='some/topics', revision='b' * 40, names=dict(en='eng_Latn', sw='swh_Latn'), columns=dict(id='index', text='body', label='topic')))
    task = own_task(OwnCard(**asked), 'topics.yaml')
    monkeypatch.setattr(cards, 'TASKS', cards.TASKS)
    monkeypatch.setitem(cards.TASKS, 'topics', task)
    source = Hub(dev_share=.2)
    assert why_missing(source, 'topics') is None and source.languages('topics') == ['en', 'sw']
    assert [(r['id'], r['label']) for r in load(source, 'topics', 'test', 'sw')] == [('100', 'sports'), ('101', 'travel'), ('102', 'sports'), ('103', 'travel')]
    turned = own_task(OwnCard(**asked | {'labels': ('travel', 'sports')}), 'topics.yaml')
    with monkeypatch.context() as corrected:
        corrected.setitem(cards.TASKS, 'topics', turned)
        assert [r['label'] for r in load(source, 'topics', 'test', 'sw')] == ['travel', 'sports', 'travel', 'sports'], 'nothing of the earlier card is kept'
    train, dev = (load(source, 'topics', split, 'en')['id'] for split in ('train', 'dev'))
    assert (len(train), len(dev)) == (8, 2) and not set(train) & set(dev)
    assert decides(task, 'hub')['hub']['repositories']['topics'][:2] == ['some/topics', 'b' * 40] and 'some/topics in swh_Latn' not in str(source.identity())
    other = own_task(OwnCard(**asked | {'hub': asked['hub'] | {'revision': 'c' * 40}}), 'topics.yaml')
    assert decides(other, 'hub') != decides(task, 'hub')
    nowhere = own_task(OwnCard(**asked | {'hub': None, 'files': dict(format='tsv', path='{language}/{split}', columns=dict(text='a', label='b'))}), 'topics.yaml')
    monkeypatch.setitem(cards.TASKS, 'topics', nowhere)
    assert why_missing(source, 'topics') == 'topics.yaml names no repository of the hub' and source.languages('topics') == []
