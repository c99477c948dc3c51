"A run says what it does while it does it, and an evaluation that was killed goes on at the next language."
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from machine import play

from xlt.cli import main as cli, terminal
from xlt.common import progress
from xlt.models.checkpoints import load_or_train, seal
from xlt.runs.params import Study
from xlt.common.progress import done_and_total, write_progress_file, report_progress, progress_report
from xlt.runs.worker import begin
from xlt.runs.status import doing, study_status
from xlt.runs.graph import find_run
from xlt.runs.store import result

FILE = 'params/tiny.yaml'
STUDY = """\
study: tiny
source: {kind: lab, seed: 1, n_languages: 5, train_examples: 64, dev_examples: 20, test_examples: 60, largest: 300, smallest: 50}
encoder: {kind: scratch, steps: 20, layers: 1, hidden: 32, vocabulary: 600, batch_size: 8}
intermediates: [mnli]
targets: [xnli, tatoeba]
phases: {target: {epochs: 1, learning_rate: 0.001, batch_size: 16}}
retrieval: {layer: 1}
analysis: {resource: corpus_sentences}
"""
# a study notebook's cells in a process of their own, killed when it has kept so many languages; it says which languages it computed
CHILD = """\
import json, os, signal, sys
from xlt.common.arithmetic import prepare
prepare()  # before anything imports numpy, as the notebooks do
import xlt.models.evaluation as e
target, after, *notebooks = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
kept, write = [], e.write_without_sync
def written(path, text):
    write(path, text)
    kept.append(path)
    if len(kept) == after: os.kill(os.getpid(), signal.SIGKILL)
e.write_without_sync = written
given = {'In': [], 'display': lambda *args: None}
for cell in (cell for notebook in notebooks for cell in json.load(open(f'nbs/study/{notebook}.ipynb'))['cells']):
    if cell['cell_type'] != 'code' or ''.join(cell['source']).startswith('table.style'): continue
    exec(''.join(cell['source']), given)
    if 'parameters' in cell['metadata'].get('tags', []): given |= {'study': 'params/tiny.yaml', 'target': target}
print('COMPUTED', len(kept))
"""


@pytest.fixture
def small(checkout, monkeypatch) -> Path:
    monkeypatch.chdir(checkout)
    Path(FILE).write_text(STUDY)
    return checkout


def child(*notebooks: str, target: str, after: int = 0) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', CHILD, target, str(after), *notebooks], capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize('target', ['xnli', 'tatoeba'])
def test_an_evaluation_that_was_killed_goes_on_with_the_same_digits(small, target):
    first, run = child('encoder', 'pair', target=target), find_run(Study.read(FILE), 'pair', 'none', target)
    assert first.returncode == 0, first.stderr
    undisturbed, predictions = result(run), (run.folder / 'predictions.parquet').read_bytes()
    languages = len({s['language'] for s in undisturbed['scores']})
    assert f'COMPUTED {languages}' in first.stdout and not (run.folder / 'evaluated').exists() and languages > 4
    for path in sorted(run.folder.rglob('*'), reverse=True): path.rmdir() if path.is_dir() else path.unlink()

    killed = child('pair', target=target, after=3)
    assert killed.returncode == -9 and not result(run)
    kept = sorted((run.folder / 'evaluated').glob('*.json'))
    assert len(kept) == 3 and (target == 'tatoeba' or (run.folder / 'training' / 'finished').is_dir())
    kept[0].write_text(kept[0].read_text().replace('"correct": [', '"correct": [1.0, ', 1))  # a better score than was had
    again = child('pair', target=target)
    assert again.returncode == 0, again.stderr
    assert f'COMPUTED {languages - 2}' in again.stdout, 'two languages were there, one was damaged'
    done = result(run)
    assert done['scores'] == undisturbed['scores'] and done['history'] == undisturbed['history']
    assert (run.folder / 'predictions.parquet').read_bytes() == predictions
    assert 'training' not in done['work'], 'it was trained again'
    assert not [p.name for p in run.folder.iterdir() if p.name in ('evaluated', 'training', 'progress.json')]


def test_another_model_takes_nothing_that_is_kept(tmp_path):
    from xlt.models.evaluation import evaluate_languages
    made = []
    def one(language):
        def make():
            made.append(language)
            return [{'language': language}], pd.DataFrame({'id': ['a'], 'language': [language]})
        return ['xnli', {'epochs': 1}], make
    model, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    for m in (model, model, other): evaluate_languages(['sw', 'de'], one, tmp_path, m)
    assert made == ['sw', 'de', 'sw', 'de']
    model.weight.data[0, 0] += 1e-6
    evaluate_languages(['sw'], one, tmp_path, model)
    assert made[4:] == ['sw']
    evaluate_languages(['sw'], lambda code: (['xnli', {'epochs': 2}], one(code)[1]), tmp_path, model)
    assert made[5:] == ['sw'], 'another recipe'


def test_a_finished_model_is_trained_once_and_a_damaged_one_again(tmp_path):
    calls = []
    def train(): calls.append(1); return torch.tensor([1 / 3]), {'best': 1 / 3, 'dev': [{'step': 1, 'score': .1 + .2}]}
    def save(model, folder): folder.mkdir(parents=True); torch.save(model, folder / 'model')
    def load(folder): return torch.load(folder / 'model')
    both = [load_or_train(tmp_path / 'training', train, save, load) for _ in range(2)]
    assert both[0] == both[1] and len(calls) == 1
    with open(tmp_path / 'training' / 'finished' / 'model', 'ab') as f: f.write(b'x')
    load_or_train(tmp_path / 'training', train, save, load)
    assert len(calls) == 2


def test_checkpoints_stay_until_the_model_is_saved(tmp_path):
    checkpoint = tmp_path / 'training' / 'attempt-1' / 'checkpoint-7'
    def train(): checkpoint.mkdir(parents=True, exist_ok=True); return torch.ones(1), {}
    def full(model, folder): raise OSError('No space left on device')
    def save(model, folder): folder.mkdir(parents=True); torch.save(model, folder / 'model')
    with pytest.raises(OSError): load_or_train(tmp_path / 'training', train, full, None)
    assert checkpoint.exists()
    load_or_train(tmp_path / 'training', train, save, None)
    assert [p.name for p in (tmp_path / 'training').iterdir()] == ['finished']


def test_time_left_counts_from_where_a_run_went_on(monkeypatch):
    clock = iter([100., 200.])
    monkeypatch.setattr(progress.time, 'time', lambda: next(clock))
    progress.NOW.clear()
    report_progress(phase='training')
    assert progress_report(dict(progress.NOW), 50.)['left'] is None
    report_progress(step=600, steps=900)  # from a checkpoint
    report_progress(step=700, steps=900, loss=.5)
    assert progress_report(dict(progress.NOW), 150.)['left'] == pytest.approx(100)
    report_progress(step=10, steps=900)  # a second attempt
    report_progress(step=20, steps=900)
    assert progress_report(dict(progress.NOW), 210.)['left'] == pytest.approx(880)
    report_progress(phase='evaluation')
    assert done_and_total(progress.NOW) is None and 'loss' not in progress.NOW


def test_progress_costs_little_and_fails_nothing(tmp_path):
    (tmp_path / 'folder').mkdir()
    end = write_progress_file(tmp_path / 'folder' / 'progress.json', every=.01)
    (tmp_path / 'folder' / 'progress.json').unlink(missing_ok=True)
    for path in (tmp_path / 'folder').iterdir(): path.unlink()
    os.rename(tmp_path / 'folder', tmp_path / 'gone')  # the disk is away
    report_progress(phase='training', step=1, steps=2, loss=math.nan)
    time.sleep(.1)
    begun = time.perf_counter()
    for step in range(10_000): report_progress(step=step, steps=10_000)
    assert (time.perf_counter() - begun) / 10_000 < 1e-4
    os.rename(tmp_path / 'gone', tmp_path / 'folder')
    for _ in range(500):
        if (tmp_path / 'folder' / 'progress.json').is_file(): break
        time.sleep(.01)
    assert json.loads((tmp_path / 'folder' / 'progress.json').read_text())['loss'] is None
    end()
    assert not list((tmp_path / 'folder').iterdir())


def test_status_shows_what_a_run_is_doing(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    play('encoder')
    study = Study.read(FILE)
    run = begin(FILE, 'intermediate', 'mnli')
    with run.timed('training'):
        report_progress(step=0, steps=900); report_progress(step=310, steps=900, loss=.62)
        for _ in range(1000):
            rows = study_status(study)
            here = next(r for r in rows if r['run'] == 'mnli--s0')
            if (here.get('progress') or {}).get('step') == 310: break
            time.sleep(.01)
        assert here['state'] == 'running' and here['progress']['rate'] > 0
        line = terminal.running(rows)[0]
        assert line.startswith('mnli--s0 · step 310/900 · loss 0.62 · ') and line.endswith(' left')
        assert cli.main(['status', FILE]) == 0
        assert 'mnli--s0 · step 310/900 · loss 0.62' in capsys.readouterr().out
        assert cli.main(['status', FILE, '--json']) == 0
        assert [r['progress']['steps'] for r in json.loads(capsys.readouterr().out) if r.get('progress')] == [900]
    assert doing(run.run, time.time() + 60) is None, 'of an earlier attempt'
    run.end_progress()
    for text in ('', '{', '[]', 'null', '{"phase": 1, "time": 1e12}', '{"phase": "training", "time": 1e12, "step": 3}',
                 '{"phase": "training", "time": 1e12, "steps": "many", "step": 1}', '{"phase": "evaluation", "time": 1e12, "languages": 3, "number": 1}'):
        (run.folder / 'progress.json').write_text(text)
        assert terminal.running(study_status(study)) == ['mnli--s0'], 'a damaged note'
    (run.folder / 'progress.json').unlink()
    run.finish()
    assert not (run.folder / 'progress.json').exists() and not terminal.running(study_status(study))
