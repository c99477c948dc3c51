"Features on disk: cut once, whoever asks; and whole, whatever happened to whoever wrote them."
import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from datasets import Dataset

from xlt.models import tokenised as store
from xlt.models.features import features, train_tokenizer
from xlt.data.lab import Lab
from xlt.tasks.cards import TASKS, Phase
from xlt.models.tokenised import content_digest, tokenizer_digest, cached_dataset, features_table, tokenised, tokenised_texts, is_undamaged

LAB = Lab(largest=300, smallest=30, train_examples=40, test_examples=30)
PHASE = Phase(learning_rate=1, batch_size=1, epochs=1, max_length=40, doc_stride=10)


@pytest.fixture(scope='module')
def tokenizer():
    return train_tokenizer(LAB.corpus(), 1200, .5)


def labels(task, data):
    return list(task.labels) if task.labels else sorted({t for tags in data['tags'] for t in tags}) if task.kind == 'tagging' else []


@pytest.mark.parametrize('name', ['mnli', 'csqa', 'ccg', 'squad_v2', 'xquad', 'panx'])
def test_what_is_read_back_is_what_was_cut(tokenizer, tmp_path, name):
    task = TASKS[name]
    data = LAB.load(name, 'train' if task.role == 'intermediate' else 'test', 'qaa')
    plain = features(task, data, tokenizer, PHASE.max_length, PHASE.doc_stride, labels(task, data))
    for folder, chunk in ((None, 10_000), (tmp_path, 10_000), (tmp_path, 10_000), (None, 7)):
        kept = tokenised(task, data, tokenizer, PHASE, labels(task, data), folder, chunk)
        rows = [{k: v for k, v in row.items() if k != 'length'} for row in kept.to_list()]
        assert rows == [{k: [list(o) if o else None for o in v] if k == 'offsets' else v for k, v in f.items()} for f in plain]
        longest = [max(map(len, f['input_ids'])) if task.kind == 'multiple_choice' else len(f['input_ids']) for f in plain]
        assert list(kept['length']) == longest


def test_anything_that_matters_is_another_file(tokenizer, tmp_path):
    task, data = TASKS['udpos'], LAB.load('udpos', 'test', 'qab')
    tags = labels(task, data)
    other = train_tokenizer(LAB.corpus(), 1100, .5)
    ways = [(data, tokenizer, PHASE, tags), (data.select(range(5)), tokenizer, PHASE, tags), (data, other, PHASE, tags),
            (data, tokenizer, PHASE.model_copy(update={'max_length': 30}), tags), (data, tokenizer, PHASE, tags[::-1]),
            (LAB.load('udpos', 'test', 'qac'), tokenizer, PHASE, tags)]
    for n, way in enumerate(ways, 1):
        for _ in range(2):
            tokenised(task, *way, tmp_path)
            assert len(list(tmp_path.glob('*.arrow'))) == n
    tokenised(task, data, tokenizer, PHASE.model_copy(update={'learning_rate': .5, 'epochs': 9}), tags, tmp_path)
    assert len(list(tmp_path.glob('*.arrow'))) == len(ways)  # these do not matter


def test_a_tokenizer_is_known_by_its_rules(tokenizer):
    before = tokenizer_digest(tokenizer)
    tokenizer(['a b'], truncation=True, max_length=4, padding='max_length')
    tokenizer_digest.cache_clear()
    assert tokenizer_digest(tokenizer) == before != tokenizer_digest(train_tokenizer(LAB.corpus(), 1100, .5))
    assert content_digest([{'a': 1}]) != content_digest([{'a': 2}]) and content_digest([['a', 'b']]) != content_digest([['a'], ['b']])


def rows(n: int = 50) -> Dataset:
    return features_table('text', [{'input_ids': [0, i, 2]} for i in range(n)], 0)


def never() -> Dataset:
    raise AssertionError('cut again')


@pytest.mark.parametrize('harm', [lambda b: b[:-1], lambda b: b[:len(b) // 2], lambda b: b'', lambda b: b[:99] + bytes([b[99] ^ 1]) + b[100:]])
def test_a_damaged_file_is_made_again(tmp_path, harm):
    cached_dataset(tmp_path, 'x', rows)
    path, = tmp_path.glob('*.arrow')
    path.write_bytes(harm(path.read_bytes()))
    assert not is_undamaged(path) and cached_dataset(tmp_path, 'x', rows).to_list() == rows().to_list()
    assert cached_dataset(tmp_path, 'x', never).to_list() == rows().to_list()


def write_and_die(folder: str, when: str) -> None:
    "A writer that is killed before or after its draft is complete."
    def die(*args): os.kill(os.getpid(), signal.SIGKILL)
    if when == 'in the middle': os.fsync = die
    if when == 'before the name': os.replace = die
    cached_dataset(Path(folder), 'x', rows)


@pytest.mark.parametrize('when', ['in the middle', 'before the name'])
def test_a_killed_writer_leaves_nothing_behind(tmp_path, when):
    writer = multiprocessing.get_context('spawn').Process(target=write_and_die, args=(str(tmp_path), when))
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL and list(tmp_path.glob('.x.*.*')) and not list(tmp_path.glob('*.arrow'))
    assert cached_dataset(tmp_path, 'x', rows).to_list() == rows().to_list()
    assert [p.suffix for p in tmp_path.iterdir() if p.suffix != '.lock'] == ['.arrow']


def write_slowly(folder: str) -> None:
    def make():
        (Path(folder) / f'made-{os.getpid()}').touch()
        time.sleep(1)
        return rows()
    assert cached_dataset(Path(folder), 'x', make).to_list() == rows().to_list()


def test_many_at_once_cut_once(tmp_path):
    writers = [multiprocessing.get_context('spawn').Process(target=write_slowly, args=(str(tmp_path),)) for _ in range(3)]
    for w in writers: w.start()
    for w in writers: w.join()
    assert [w.exitcode for w in writers] == [0, 0, 0]
    assert len(list(tmp_path.glob('made-*'))) == len(list(tmp_path.glob('*.arrow'))) == 1


def test_a_full_disk_is_an_error_that_leaves_no_litter(tmp_path):
    place = tmp_path / 'small'
    place.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', place], capture_output=True).returncode:
        pytest.skip('needs root, to mount a small disk')
    try:
        with pytest.raises(OSError, match='No space left'): cached_dataset(place, 'x', lambda: rows(20_000))
        assert not [p for p in place.iterdir() if p.suffix != '.lock']
        assert cached_dataset(place, 'x', rows).to_list() == rows().to_list()
    finally:
        subprocess.run(['umount', '-l', place], check=True)


def test_texts_come_back_in_their_order(tokenizer, tmp_path):
    texts = [row['text'] for row in LAB.load('tatoeba', 'test', 'qab')]
    wanted = tokenizer(texts, truncation=True, max_length=12)['input_ids']
    for folder in (None, tmp_path, tmp_path):
        assert tokenised_texts(texts, tokenizer, 12, folder, chunk=7)['input_ids'][:] == wanted
    assert len(list(tmp_path.glob('*.arrow'))) == 1


def test_making_is_asked_for_once(tokenizer, tmp_path, monkeypatch):
    task, data = TASKS['xnli'], LAB.load('xnli', 'test', 'qaa')
    first = tokenised(task, data, tokenizer, PHASE, list(task.labels), tmp_path)
    monkeypatch.setattr(store, 'features', lambda *a: never())
    assert tokenised(task, data, tokenizer, PHASE, list(task.labels), tmp_path).to_list() == first.to_list()
