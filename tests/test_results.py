"Runs, fingerprints, results that survive, and notebooks that run what they were asked for."
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pandas as pd
import pytest

from machine import tuned_model

from xlt.cli import commands, main as cli
from xlt.common import devices
from xlt.data import layout
from xlt.reporting.export import write_tables
from xlt.common.errors import XltError
from xlt.stats.paired import compare_all_pairs
from xlt.runs import provenance
from xlt.runs.params import Study
from xlt.runs.project import root
from xlt.runs.worker import FINISHED, begin, check_history, fail, is_alive, take_device, this_process, track
from xlt.common.digests import checksum
from xlt.runs.store import (runs_to_remake, forget, graded, is_published, lost_languages, mixed_makers, needed_again, note_languages,
    other_trainings, predictions, publish, put_aside_outdated, reopen, result, take_over, to_pack)
from xlt.common.io import write
from xlt.runs.status import collect_scores, study_status
from xlt.runs.graph import find_run, runs
from xlt.paper.submission import write_task

FILE = 'params/tiny.yaml'


@pytest.fixture
def study(project):
    return Study.read(FILE)


def prints(*settings):
    return {r.name: r.fingerprint for r in runs(Study.read(FILE, set=settings))}


def changed(*settings):
    old, new = prints(), prints(*settings)
    return {name for name in old if new.get(name) != old[name]}


def play(study, phase, *args, **kwargs):
    active = begin(study, phase, *args, **kwargs)
    rows = [{'language': c, 'metric': m, 'score': 50., 'n': 10} for c in study.evaluated(active.run.target)
            for m in (('f1', 'exact_match') if active.run.target in ('xquad', 'mlqa') else ('accuracy',))] if phase == 'pair' else []
    return active.finish(rows, tuned_model(active) if phase == 'pair' else [])


def play_all(study):
    for r in runs(study):
        play(study, r.phase, r.intermediate, r.target, r.seed)


def test_order_and_parents(study):
    names = [r.name for r in runs(study)]
    assert names[0] == 'encoder' and names[-1] == 'report' and len(names) == len(set(names)) == 9
    for r in runs(study):
        if r.parent:
            assert names.index(r.parent.name) < names.index(r.name)
    parents = {r.name: r.parent.name for r in runs(study) if r.parent}
    assert parents['mnli--mlqa--s0'] == 'mnli--xquad--s0' and parents['none--xquad--s0'] == 'encoder'
    assert parents['mnli--tatoeba--s0'] == 'mnli--s0' and parents['none--tatoeba--s0'] == 'encoder'


def test_mlqa_trains_when_alone_or_different(project):
    alone, different = Study.read(FILE, set=['targets=[mlqa]']), Study.read(FILE, set=['tasks.mlqa.epochs=9'])
    for study in (alone, different):
        assert find_run(study, 'pair', 'mnli', 'mlqa').parent.name == 'mnli--s0'


def test_order_of_targets_in_the_file_does_not_matter(project):
    assert changed('targets=[tatoeba, mlqa, xquad]') == set()


@pytest.mark.parametrize('setting, what', [
    ('tasks.mnli.epochs=9', {'mnli--s0', 'mnli--xquad--s0', 'mnli--mlqa--s0', 'mnli--tatoeba--s0', 'report'}),
    ('retrieval.neighbours=5', {'none--tatoeba--s0', 'mnli--tatoeba--s0', 'report'}),
    ('tasks.xquad.epochs=9', {f'{i}--{t}--s0' for i in ('none', 'mnli') for t in ('xquad', 'mlqa')} | {'report'}),
    ('analysis.groups=median', {'report'}), ('tasks.ccg.epochs=1', set()), ('phases.intermediate.epochs=2', set())])
def test_only_what_depends_is_renamed(project, setting, what):
    assert changed(setting) == what


def test_source_and_encoder_rename_everything(project):
    assert changed('source.seed=2') == changed('encoder.steps=51') == set(prints())


def test_more_seeds_keep_the_old_runs(project):
    assert changed('seeds=[0, 1]') == {'report'}


def test_result_keeps_its_origin(study):
    done = play(study, 'encoder')
    assert done == result(find_run(study, 'encoder'))
    assert done['parameters'] == json.loads(json.dumps(study.dump())) and done['packages']['python'] and 'dirty' in done['git']
    assert done['seconds']['total'] >= 0 and done['peak_memory_mb'] > 10 and done['seed'] == 0


@pytest.mark.parametrize('harm', [lambda t: t[:len(t) // 2], lambda t: '', lambda t: t.replace('"n": 10', '"n": 11', 1),
                                  lambda t: '[]', lambda t: '\x00' * len(t), lambda t: json.dumps({**json.loads(t), 'checksum': None})])
def test_a_damaged_result_is_set_aside(study, harm):
    play(study, 'encoder')
    play(study, 'pair', 'none', 'tatoeba')
    run = find_run(study, 'pair', 'none', 'tatoeba')
    path = run.folder / 'result.json'
    path.write_text(harm(path.read_text()))
    assert result(run) is None and not path.exists() and list(run.folder.glob('result.set-aside-*.json'))
    play(study, 'pair', 'none', 'tatoeba')
    assert result(run)


def test_a_result_stands_with_its_files(study, project):
    active = begin(study, 'encoder')
    file = project / 'reports' / 'tiny' / 'summary.json'
    write(file, '{}')
    active.finish(files=[file])
    assert result(active.run)['files'].keys() == {'reports/tiny/summary.json'}
    file.write_text('{"a": 1}')
    assert result(active.run) is None


def test_an_early_report_is_no_result(study, project):
    play(study, 'encoder')
    begin(study, 'report').finish()
    assert result(find_run(study, 'report')) is None
    play_all(study)
    assert result(find_run(study, 'report')) and not any(row['state'] != 'done' for row in study_status(study))


def test_write_leaves_no_litter(project, monkeypatch):
    write(project / 'a' / 'x', 'old')
    monkeypatch.setattr(os, 'fsync', lambda f: (_ for _ in ()).throw(OSError(28, 'No space left on device')))
    with pytest.raises(OSError):
        write(project / 'a' / 'x', 'new')
    assert [p.name for p in (project / 'a').iterdir()] == ['x'] and (project / 'a' / 'x').read_text() == 'old'


def test_finish_refuses_bad_scores(study):
    play(study, 'encoder')
    row = {'language': 'qab', 'metric': 'accuracy', 'score': 50., 'n': 3}
    rows = [row | {'language': c} for c in study.evaluated('tatoeba')]
    for bad in ([], rows[1:], rows + rows[:1], [{**rows[0], 'score': float('nan')}, *rows[1:]], [{**rows[0], 'score': 101}, *rows[1:]],
                [{**rows[0], 'n': 0}, *rows[1:]], [{'language': 'qab'}]):
        with pytest.raises(ValueError):
            begin(study, 'pair', 'none', 'tatoeba').finish(bad)
    assert result(find_run(study, 'pair', 'none', 'tatoeba')) is None


def test_begin_refuses_what_is_not_in_the_study(study):
    with pytest.raises(XltError, match="no pair run ccg--xquad--s0"):
        begin(study, 'pair', 'ccg', 'xquad')
    with pytest.raises(XltError, match='starts from encoder, which is not finished'):
        begin(study, 'pair', 'none', 'xquad')


def test_begin_refuses_another_fingerprint(study, monkeypatch):
    monkeypatch.setenv('XLT_EXPECT_FINGERPRINT', '0123456789')
    with pytest.raises(XltError, match='the parameters or the data have changed meanwhile'):
        begin(study, 'encoder')


DEFAULTS = "study = 'params/tiny.yaml'\nintermediate = 'none'\ntarget = 'xquad'\nseed = 0"
ASKED = '# Parameters\nstudy = "params/tiny.yaml"\nintermediate = "mnli"\ntarget = "mlqa"\nseed = 0\n'


BEGIN = "run = begin(study, 'pair')\nstudy = run.study"


@pytest.mark.parametrize('history, values, error', [
    (['', DEFAULTS, ASKED, BEGIN], ('mnli', 'mlqa', 0), None),
    (['', DEFAULTS, BEGIN], ('none', 'xquad', 0), None),
    (['', '%matplotlib inline\n!ls', DEFAULTS, ASKED, BEGIN], ('mnli', 'mlqa', 0), None),
    (['', ASKED, DEFAULTS, BEGIN], ('none', 'xquad', 0), "intermediate='mnli'"),
    (['', ASKED.replace('mnli', 'none').replace('mlqa', 'xquad'), DEFAULTS, BEGIN], ('none', 'xquad', 0), 'tag `parameters`'),
    (['', ASKED, DEFAULTS + '\n' + BEGIN], ('none', 'xquad', 0), "intermediate='mnli'"),
    (['', DEFAULTS, ASKED, 'seed = 1', BEGIN], ('mnli', 'mlqa', 1), 'seed=0'),
    (['', DEFAULTS, ASKED + 'taget = "xnli"\n', BEGIN], ('mnli', 'mlqa', 0), "has no parameter 'taget'")])
def test_history(project, history, values, error):
    values = dict(zip(('study', 'intermediate', 'target', 'seed'), (FILE, *values)))
    if error is None:
        return check_history(history, values)
    with pytest.raises(XltError, match=error):
        check_history(history, values)


def test_the_same_file_by_another_name_is_the_same_study(project):
    asked = ASKED.replace('params/tiny.yaml', str(project / FILE))
    check_history(['', DEFAULTS, asked, BEGIN], {'study': FILE, 'intermediate': 'mnli', 'target': 'mlqa', 'seed': 0})


def test_states(study, project):
    play(study, 'encoder')
    active = begin(study, 'intermediate', 'mnli')
    run = active.run
    assert {r['run']: r['state'] for r in study_status(study)}['mnli--s0'] == 'running'
    note = json.loads((run.folder / 'running.json').read_text())
    write(run.folder / 'running.json', json.dumps(note | {'created': 0}))
    assert {r['run']: r['state'] for r in study_status(study)}['mnli--s0'] == 'waiting'
    (project / 'log').write_text('\n'.join(f'line {i}' for i in range(30)) + '\n\x1b[31mboom\x1b[0m\n\n')
    fail(run.folder, project / 'log', lines=2)
    row = next(r for r in study_status(study) if r['run'] == 'mnli--s0')
    assert row['state'] == 'failed' and row['last'] == ['line 29', 'boom']
    active.finish()
    assert {r['run']: r['state'] for r in study_status(study)}['mnli--s0'] == 'done'
    assert not (run.folder / 'failed.json').exists()


def test_notes_of_other_machines_are_believed():
    assert is_alive(this_process() | {'host': 'elsewhere', 'pid': 1}) and not is_alive(this_process() | {'pid': 2 ** 22 + 1})


def test_collect(study):
    play(study, 'encoder')
    play(study, 'pair', 'none', 'xquad')
    scores, metrics, missing = collect_scores(study)
    assert list(scores) == 'study intermediate target language metric seed score n'.split()
    assert set(scores.metric) == {'f1'} and set(metrics.metric) == {'exact_match'} and len(missing) == 5
    assert len(scores) == len(study.evaluated('xquad')) and scores.score.dtype == float


def test_collect_nothing(study):
    scores, metrics, missing = collect_scores(study)
    assert scores.empty and list(scores) == list(metrics) and len(missing) == 6


def hold(folder):
    os.environ['XLT_ROOT'] = str(folder)
    active = begin(FILE, 'encoder')  # noqa: F841, holds the lock
    time.sleep(60)


def test_a_run_waits_until_it_is_alone(study, project, capsys):
    other = multiprocessing.get_context('spawn').Process(target=hold, args=(project,))
    other.start()
    note = find_run(study, 'encoder').folder / 'running.json'
    while not note.exists():
        time.sleep(.05)
    killer = subprocess.Popen([sys.executable, '-c', f'import os, time; time.sleep(1); os.kill({other.pid}, {int(signal.SIGKILL)})'])
    play(study, 'encoder')
    assert 'another process is working on' in capsys.readouterr().out
    killer.wait()
    other.join()
    assert other.exitcode == -signal.SIGKILL and result(find_run(study, 'encoder'))


def hold_and_finish(folder):
    os.environ['XLT_ROOT'] = str(folder)
    active = begin(FILE, 'encoder')
    time.sleep(2)
    active.finish()


def test_a_run_that_waited_does_not_repeat_what_was_finished(study, project):
    other = multiprocessing.get_context('spawn').Process(target=hold_and_finish, args=(project,))
    other.start()
    run = find_run(study, 'encoder')
    while not (run.folder / 'running.json').exists():
        time.sleep(.05)
    with pytest.raises(XltError, match=f'encoder {FINISHED}'):
        begin(study, 'encoder')
    other.join()
    assert other.exitcode == 0 and result(run)
    assert play(study, 'encoder')['started'] > 0  # who did not have to wait may do it again


def test_a_result_written_meanwhile_is_not_set_aside(study, monkeypatch):
    "Between the look at a damaged result and its removal, another process writes a good one."
    play(study, 'encoder')
    run = find_run(study, 'encoder')
    good = (run.folder / 'result.json').read_text()
    (run.folder / 'result.json').write_text(good[:-9])

    def then_written(path, stamp):
        write(path, good)
        return None
    monkeypatch.setattr('xlt.runs.store.verified', then_written)
    assert result(run) is None
    monkeypatch.undo()
    assert result(run) and not list(run.folder.glob('result.set-aside-*'))


def test_leash(project):
    code = f'from xlt.runs.worker import begin; import time; begin({FILE!r}, "encoder"); print("begun", flush=True); time.sleep(60)'
    driver = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
    env = os.environ | {'XLT_DRIVER': f'{os.uname().nodename}:{driver.pid}'}
    child = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True, env=env)
    assert child.stdout.readline() == 'begun\n'
    driver.kill()
    driver.wait()
    assert child.wait(timeout=10) == 1


def test_checksum_covers_everything_but_itself():
    assert checksum({'a': 1, 'checksum': 'x'}) == checksum({'a': 1}) != checksum({'a': 2})


def test_a_tracker_is_named_or_refused(project, monkeypatch):
    names = {r.name: r.fingerprint for r in runs(Study.read('params/tiny.yaml'))}
    study = Study.read('params/tiny.yaml', ['track=mlflow'])
    assert {r.name: r.fingerprint for r in runs(study)} == names, 'the results are the same'
    with monkeypatch.context() as m:
        m.setattr('xlt.runs.worker.find_spec', lambda name: None)
        with pytest.raises(XltError, match='track: mlflow is not installed'): track(study, runs(study)[0])
    monkeypatch.setattr('xlt.runs.worker.find_spec', lambda name: name)
    for name in ('WANDB_PROJECT', 'MLFLOW_EXPERIMENT_NAME', 'TENSORBOARD_LOGGING_DIR'): monkeypatch.setenv(name, '')
    track(study, runs(study)[0])
    active = begin(study, 'encoder')
    assert active.tracking == {'tracker': 'mlflow', 'run_name': 'tiny/encoder'} and os.environ['MLFLOW_EXPERIMENT_NAME'] == 'tiny'
    active._lock.release(), active.life.set()
    with pytest.raises(XltError, match='track'): Study.read('params/tiny.yaml', ['track=paper'])


def test_precision_device_and_compilation_are_part_of_what_a_run_is_named_by(study):
    trained = {r.name for r in runs(study)}
    for setting in ('precision=bf16', 'device=gpu', 'compile=yes'):
        assert changed(setting) == trained, setting
    assert not changed('precision=fp32') and not changed('device=cpu'), 'what auto means here'


def test_a_gpu_that_is_not_there_is_missed_only_by_what_runs(project, monkeypatch):
    monkeypatch.setenv('XLT_DEVICES', '')
    study = Study.read(FILE, set=['device=gpu'])
    assert {row['state'] for row in study_status(study)} == {'waiting'}
    with pytest.raises(XltError, match='needs a GPU .device: gpu.; none found'): begin(study, 'encoder')
    assert not (find_run(study, 'encoder').folder).exists(), 'nothing is written'


@pytest.mark.parametrize('asked, seen', [('-1', []), ('1,-1,2', ['1']), ('3,4,0', ['3']), ('', []), ('2, 3', ['2', '3']), (None, ['0', '1', '2', '3'])])
def test_gpus_are_hidden_as_cuda_hides_them(monkeypatch, asked, seen):
    monkeypatch.delenv('XLT_DEVICES', raising=False)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False) if asked is None else monkeypatch.setenv('CUDA_VISIBLE_DEVICES', asked)
    monkeypatch.setattr(devices, 'present_gpus', lambda: ['0', '1', '2', '3'])
    assert devices.visible_gpus() == seen
    monkeypatch.setattr(devices, 'present_gpus', list)
    assert devices.visible_gpus() == [], 'a number makes no GPU'


@pytest.fixture
def filed(project, sample):
    "A study of files that may be changed, and their folder."
    folder = project / 'data'
    keep = shutil.ignore_patterns(*(p.name for p in sample.iterdir() if p.name not in ('tatoeba', 'xnli', 'intermediate', 'xquad')))
    shutil.copytree(sample, folder, ignore=keep)
    (project / FILE).write_text(f'study: tiny\nsource: {{kind: files, folder: {folder}}}\nencoder: {{kind: scratch, steps: 50}}\n'
                                'intermediates: [squad_v1]\ntargets: [xquad, tatoeba]\nretrieval: {layer: 1}\n')
    return Study.read(FILE), folder


def test_data_that_change_during_a_run_are_refused(filed):
    study, folder = filed
    active = begin(study, 'encoder')
    file = next(f for f in sorted(folder.glob('tatoeba/**/*')) if f.is_file())
    file.write_bytes(file.read_bytes() + b'\n')
    with pytest.raises(XltError, match='the data or the encoder changed while encoder ran'): active.finish()
    assert result(active.run) is None and not list(active.folder.glob('result*'))
    active._lock.release()
    assert play(study, 'encoder')['fingerprint'] != active.run.fingerprint


def test_files_are_looked_for_once_however_many_runs_there_are(filed, monkeypatch):
    study, folder = filed
    looked, find = [], layout.find
    monkeypatch.setattr(layout, 'find', lambda root, patterns: looked.append(patterns) or find(root, patterns))
    before = [r.fingerprint for r in runs(study)]
    looked.clear()
    assert [r.fingerprint for r in runs(study)] == before and looked == []
    next(f for f in sorted(folder.glob('tatoeba/**/*')) if f.is_file()).unlink()
    assert [r.fingerprint for r in runs(study)] != before and looked


def test_a_language_that_is_gone_is_said(filed, capsys):
    study, folder = filed
    lost = study.evaluated('tatoeba')[-1]
    note_languages(study)
    for file in [f for f in folder.glob('tatoeba/**/*') if f.is_file() and lost in f.name.replace('-', '.').split('.')] or list(folder.glob(f'tatoeba/**/*{lost}*')):
        file.unlink()
    now = Study.read(FILE)
    if lost in now.evaluated('tatoeba'):  # files are named by three letters
        from xlt.data.layout import ISO3
        for file in folder.glob(f'tatoeba/**/*.{ISO3[lost]}-eng.*'): file.unlink()
    assert lost not in now.evaluated('tatoeba') and lost_languages(now) == {'tatoeba': [lost]}
    assert cli.main(['status', FILE]) == 0 and f'tatoeba is now without {lost}, which it had when tiny last ran' in capsys.readouterr().err
    note_languages(now)
    assert lost_languages(now) == {'tatoeba': [lost]}, 'said until the file is back, or the study says which languages it wants'
    assert not lost_languages(Study.read(FILE, [f'languages=[{", ".join(["en", *now.evaluated("tatoeba")])}]']))
    assert not lost_languages(Study.read(FILE, ['source.dev_share=0.2'])), 'another source has other languages'


@pytest.mark.parametrize('other, harm', [
    (('pair', 'none', 'tatoeba'), lambda data: data), (('pair', 'mnli', 'xquad'), lambda data: data | {'fingerprint': 'own', 'run': 'own'}),
    (None, lambda data: data | {'study': 'another'}), (None, lambda data: data | {'files': {'/etc/hostname': [1, '']}}),
    (None, lambda data: data | {'files': {'runs/../../x': [1, '']}}), (None, lambda data: data | {'spec': data['spec'] | {'seed': 7}}),
    (None, lambda data: data | {'files': None}), (None, lambda data: {k: v for k, v in data.items() if k != 'spec'})])
def test_a_result_belongs_to_its_run(study, other, harm):
    "Copied from another run, relabelled, or naming files elsewhere, with a good checksum: none of them counts."
    play_all(study)
    run = find_run(study, 'pair', 'mnli', 'tatoeba')
    data = harm(dict(result(find_run(study, *other) if other else run)))
    data |= {key: getattr(run, 'fingerprint' if key == 'fingerprint' else 'name') for key in ('fingerprint', 'run') if data.get(key) == 'own'}
    data['checksum'] = checksum(data)
    write(run.folder / 'result.json', json.dumps(data))
    assert result(run) is None and list(run.folder.glob('result.set-aside-*.json'))


def predicted(study, *which, rows=60_000):
    "A pair with predictions of more than 1 MB."
    active = begin(study, 'pair', *which)
    codes = study.evaluated(active.run.target)
    table = pd.DataFrame({'id': [f'{i:x}' for i in range(rows)], 'language': [codes[i % len(codes)] for i in range(rows)], 'gold': 'a', 'prediction': [os.urandom(12).hex() for _ in range(rows)],
                          'correct': [float(i % 3 > 0) for i in range(rows)]})
    table.to_parquet(active.folder / 'predictions.parquet')
    active.finish([{'language': c, 'metric': 'accuracy', 'score': 50., 'n': 10} for c in codes], files=[active.folder / 'predictions.parquet'])
    return active.run


@pytest.mark.parametrize('reader', [predictions, graded, lambda run: to_pack(run), lambda run: compare_all_pairs(Study.read(FILE)),
                                    lambda run: write_task(Study.read(FILE), 'tatoeba', 'none', 0, {}), lambda run: write_tables(Study.read(FILE), root() / 'out')])
def test_one_byte_of_large_predictions_is_missed_by_nobody(study, reader):
    play(study, 'encoder')
    run = predicted(study, 'none', 'tatoeba')
    path = run.folder / 'predictions.parquet'
    write(root() / 'reports' / 'tiny' / 'scores.csv', 'a\n1\n')
    assert path.stat().st_size > 1_000_000 and reader(run) is not None
    shutil.rmtree(root() / 'out', ignore_errors=True)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert result(run), 'nobody reads it through at every look'
    with pytest.raises(XltError, match='predictions.parquet is damaged; xlt run makes none--tatoeba--s0 again'): reader(run)
    assert result(run) is None


def test_targets_left_out_of_text_are_part_of_what_masked_training_is_named_by(project):
    mlm = ['intermediates=[mnli, mnli-mlm]']
    before = prints(*mlm)
    after = prints(*mlm, 'targets=[xquad, mlqa, tatoeba, panx]', 'encoder={kind: pretrained, name: x/y, revision: "' + '0' * 40 + '"}')
    base = prints(*mlm, 'encoder={kind: pretrained, name: x/y, revision: "' + '0' * 40 + '"}')
    assert before['mnli--s0'] != before['mnli-mlm--s0']
    assert after['mnli--s0'] == base['mnli--s0'] and after['mnli-mlm--s0'] != base['mnli-mlm--s0']


def edited(repo, tmp_path, monkeypatch, name, change):
    "A copy of the package in which one module is edited, as the code of today."
    copy = tmp_path / 'copy' / 'xlt'
    if not copy.exists():
        shutil.copytree(repo / 'xlt', copy, ignore=shutil.ignore_patterns('__pycache__'))
        shutil.copytree(repo / 'nbs' / 'study', copy.parent / 'nbs' / 'study', ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    path = copy / f'{name.replace(".", "/")}.py'
    path.write_text(change(path.read_text()))
    monkeypatch.setattr('xlt.runs.provenance.files', lambda package: copy)


def test_results_of_other_code_are_said_and_repeated_on_request(study, repo, tmp_path, monkeypatch, capsys):
    play_all(study)
    assert not any(row['code'] for row in study_status(study)) and runs_to_remake(study, ['CODE_CHANGED']) == []
    edited(repo, tmp_path, monkeypatch, 'models.training', lambda text: text.replace('"Train a model on', '"Fit a model on') + '\n# a comment\n')
    assert not any(row['code'] for row in study_status(study)), 'what is only said of code does not count'
    edited(repo, tmp_path, monkeypatch, 'models.training', lambda text: text + '\nMORE = 1\n')
    changed = {row['run']: row['code'] for row in study_status(study) if row['code']}
    assert changed and set(map(tuple, changed.values())) == {('models.training',)} and 'report' not in changed
    assert cli.main(['status', FILE]) == 0
    assert f'{len(changed)} runs were made by other code than today\'s (models.training)' in capsys.readouterr().out
    assert all(result(r) for r in runs(study) if r.phase != 'report'), 'nothing is repeated unasked'
    assert {r.name for r in runs_to_remake(study, ['CODE_CHANGED'])} == changed.keys()


def test_what_is_made_again_takes_with_it_what_starts_from_it(study):
    play_all(study)
    assert {r.name for r in runs_to_remake(study, ['mnli--s0'])} == {'mnli--s0', *(f'mnli--{t}--s0' for t in study.targets)}
    assert {r.name for r in runs_to_remake(study, ['none--xquad--s0'])} == {'none--xquad--s0', 'none--mlqa--s0'}
    with pytest.raises(XltError, match="--remake mnli--so: no such run .did you mean 'mnli--s0'"): runs_to_remake(study, ['mnli--so'])
    for run in runs_to_remake(study, ['mnli--s0']): forget(run)
    assert {row['run'] for row in study_status(study) if row['state'] == 'waiting'} == {'mnli--s0', 'report', *(f'mnli--{t}--s0' for t in study.targets)}


def test_a_report_is_out_of_date_when_its_code_its_notebook_or_its_inputs_change(study, repo, tmp_path, monkeypatch):
    play_all(study)
    report = find_run(study, 'report')
    assert result(report)
    play(study, 'pair', 'mnli', 'tatoeba')  # once more, with the same fingerprint
    assert result(report) is None and (report.folder / 'result.json').exists(), 'looking moves nothing'
    put_aside_outdated(study)
    assert not (report.folder / 'result.json').exists()
    play(study, 'report')
    with monkeypatch.context() as m:
        edited(repo, tmp_path, m, 'stats.analysis', lambda text: text + '\nMORE = 1\n')
        assert result(report) is None and not any(row['code'] for row in study_status(study) if row['phase'] != 'report'), 'no run uses the analysis'
    assert result(report)
    (root() / 'nbs' / 'study').mkdir(parents=True)
    notebook = json.loads((repo / 'nbs' / 'study' / 'report.ipynb').read_text())
    notebook['cells'].append({'cell_type': 'code', 'metadata': {}, 'source': ['1 + 1'], 'outputs': [], 'execution_count': None, 'id': 'more'})
    (root() / 'nbs' / 'study' / 'report.ipynb').write_text(json.dumps(notebook))
    assert result(report) is None


def test_code_edited_while_a_run_is_under_way_vouches_for_nothing(study, monkeypatch):
    monkeypatch.setattr('xlt.runs.provenance.LOADED', {})
    play(study, 'encoder')
    assert {'models.training', 'models.checkpoints'} <= set(next(row['code'] for row in study_status(study) if row['run'] == 'encoder'))


def test_mixed_makers_are_listed(study, monkeypatch):
    play(study, 'encoder')
    assert mixed_makers(study).empty
    with monkeypatch.context() as m:
        m.setattr('xlt.runs.worker.versions', lambda: {'python': '3.11', 'torch': '1.0'})
        m.setattr('xlt.runs.worker.this_machine', lambda: {'processor': 'Abacus'})
        play(study, 'intermediate', 'mnli')
    found = mixed_makers(study)
    assert {'torch', 'processor', 'numpy'} <= set(found.what) and 'Abacus' in set(found.value) and (found.runs == 1).all()


def test_a_page_that_is_cut_or_gone_is_not_published(study):
    play_all(study)
    report, reports = find_run(study, 'report'), root() / 'reports' / 'tiny'
    for harm in (lambda p: p.write_text(''), lambda p: p.write_text('<html>'), lambda p: p.unlink()):
        for name in ('report.html', 'report.ipynb'):
            for made in ('report.html', 'executed.ipynb'): write(report.folder / made, f'<html>{made}</html>')
            publish(str(report.folder), str(report.folder / 'executed.ipynb'), str(reports))
            assert is_published(study)
            harm(reports / name)
            assert not is_published(study)


def test_locks_of_gpus_lie_in_a_folder_of_ones_own(tmp_path, monkeypatch, capsys):
    "Not in one that somebody else has put there; and a user needs no name, as in a container."
    monkeypatch.setattr('xlt.runs.worker.tempfile.gettempdir', lambda: str(tmp_path))
    monkeypatch.setattr('pwd.getpwuid', lambda uid: (_ for _ in ()).throw(KeyError(uid)))
    for name in ('LOGNAME', 'USER', 'LNAME', 'USERNAME', 'SLURM_JOB_ID'): monkeypatch.delenv(name, raising=False)
    for name, value in (('XLT_DEVICES', '0'), ('XLT_GPUS', '1'), ('CUDA_VISIBLE_DEVICES', '')): monkeypatch.setenv(name, value)
    lock, place = take_device(), tmp_path / f'xlt-{os.getuid()}'
    assert os.environ['CUDA_VISIBLE_DEVICES'] == '0' and place.stat().st_mode & 0o777 == 0o700
    waiting = threading.Thread(target=lambda: take_device().release())
    waiting.start()
    waiting.join(1.2)
    lock.release()
    waiting.join(10)
    assert not waiting.is_alive() and capsys.readouterr().out.count('all GPUs (0) are in use') == 1, 'said once'
    shutil.rmtree(place)
    for prepare in (lambda: place.symlink_to(tmp_path), lambda: place.write_text(''), lambda: (place.mkdir(), place.chmod(0o777))):
        prepare()
        with pytest.raises(XltError, match='is not a folder that only you can write to'): take_device()
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()


def test_two_commands_with_other_settings_do_not_disturb_each_other(study, capsys):
    "The file of the first is as it was after a second command, and after one that is refused."
    def asked(*settings): return commands.resolved(SimpleNamespace(params=FILE, set=list(settings)))
    first = asked('seeds=[1]')
    names = {r.fingerprint for r in runs(first)}
    asked('seeds=[2]'), asked('retrieval.neighbours=5')
    with pytest.raises(XltError): asked('seeds=[2]', 'targets=[xnil]')
    again = Study.read(first.file)
    assert again.seeds == [1] and {r.fingerprint for r in runs(again)} == names and asked('seeds=[1]').file == first.file


@pytest.fixture
def twin(study):
    "A study with another name and one more intermediate task, so most of its runs are those of `study`."
    (root() / 'params/twin.yaml').write_text((root() / FILE).read_text().replace('study: tiny', 'study: twin'))
    return Study.read('params/twin.yaml', ['intermediates=[mnli, qqp]'])


def with_checkpoint(study, *which):
    active = begin(study, *which)
    (place := active.folder / 'checkpoint').mkdir(exist_ok=True)
    (place / 'model.safetensors').write_bytes(b'weights' * 300_000)
    active.finish(files=[place / 'model.safetensors'])
    return active.run


def test_a_run_that_another_study_has_done_is_taken_over(study, twin):
    made = with_checkpoint(study, 'encoder')
    play(study, 'pair', 'none', 'tatoeba')
    taken = {run.name: other for run in runs(twin) if (other := take_over(run))}
    assert taken == {'encoder': 'tiny', 'none--tatoeba--s0': 'tiny'}
    assert take_over(find_run(twin, 'pair', 'none', 'xquad')) is None  # not there
    mine = find_run(twin, 'encoder')
    done, theirs = result(mine), result(made)
    assert done['taken_over_from'] == 'tiny' and done['study'] == 'twin' and done['git'] == theirs['git'] and done['seconds'] == theirs['seconds']
    weights = [run.folder / 'checkpoint/model.safetensors' for run in (made, mine)]
    assert os.path.samefile(*weights), 'no second copy'
    play(twin, 'pair', 'none', 'xquad')  # starts from what was taken over
    shutil.rmtree(made.folder)
    assert result(mine) and weights[1].stat().st_size == 2_100_000, 'and owes the other study nothing'
    assert not [run.name for run in runs(twin) if take_over(run)], 'once'


@pytest.mark.parametrize('harm', ['checkpoint damaged', 'a file that the result does not name', 'a byte changed', 'another process runs it', 'checkpoint removed', 'result damaged', 'to be made again', 'already done', 'other settings'])
def test_what_is_not_the_same_finished_run_is_not_taken_over(study, twin, harm):
    made, mine = with_checkpoint(study, 'encoder'), find_run(twin, 'encoder')
    weights = made.folder / 'checkpoint/model.safetensors'
    if harm == 'checkpoint damaged': weights.write_bytes(weights.read_bytes()[:-1])
    elif harm == 'a file that the result does not name': (weights.parent / 'tokenizer_config.json').write_text('{}')
    elif harm == 'a byte changed': weights.write_bytes(weights.read_bytes()[:-1] + b'?')  # of a large file only the size is looked at
    elif harm == 'another process runs it':
        mine.folder.mkdir(parents=True)
        holder = subprocess.Popen([sys.executable, '-c', f'from filelock import FileLock; lock = FileLock({str(mine.folder / ".lock")!r}); lock.acquire(); print("held", flush=True); input()'],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout.readline() == 'held\n'
    elif harm == 'checkpoint removed': (made.folder / 'checkpoint.removed').touch()
    elif harm == 'result damaged': (made.folder / 'result.json').write_bytes((made.folder / 'result.json').read_bytes().replace(b'"files"', b'"flies"'))
    elif harm == 'to be made again': mine.folder.mkdir(parents=True), forget(mine)
    elif harm == 'already done': with_checkpoint(twin, 'encoder')
    else: mine = find_run(Study.read('params/twin.yaml', ['encoder.steps=21']), 'encoder')
    assert take_over(mine) is None
    if harm == 'another process runs it': holder.communicate('\n')
    assert bool(result(mine)) == (harm == 'already done') and 'taken_over_from' not in (result(mine) or {})


def test_a_run_that_was_taken_over_is_repeated_without_harm_to_the_other_study(study, twin):
    made = with_checkpoint(study, 'encoder')
    mine = find_run(twin, 'encoder')
    assert take_over(mine) == 'tiny'
    forget(mine)
    weights = begin(twin, 'encoder').folder / 'checkpoint/model.safetensors'
    weights.write_bytes(b'others ' * 300_000)  # as a table of predictions is written: in place, and here of the same size
    assert result(made) and (made.folder / 'checkpoint/model.safetensors').read_bytes()[:7] == b'weights'


def test_whoever_begins_a_shared_run_again_loses_no_result(study, twin):
    made, mine = with_checkpoint(study, 'encoder'), find_run(twin, 'encoder')
    assert take_over(mine)
    left(begin(study, 'encoder'))
    assert result(made) and result(mine)
    play(study, 'pair', 'none', 'xquad')
    assert take_over(find_run(twin, 'pair', 'none', 'xquad')) == 'tiny'


def left(active, *places):
    "A run that is killed, and what it leaves for another attempt."
    for place in places: (active.folder / place).mkdir()
    active.life.set(), active.end_progress(), active._lock.release()
    return active.run


def test_what_is_resumed_came_from_the_same_parent_and_its_code_is_named(study, repo, tmp_path, monkeypatch, capsys):
    play(study, 'encoder'), play(study, 'intermediate', 'mnli')
    run = left(begin(study, 'pair', 'mnli', 'tatoeba'), 'training', 'evaluated')
    there = lambda: [place for place in ('training', 'evaluated') if (run.folder / place).exists()]
    edited(repo, tmp_path, monkeypatch, 'models.training', lambda text: text + '\nMORE = 1\n')
    monkeypatch.setattr(provenance, 'LOADED', provenance.module_hashes())  # another process, started with today's code
    left(begin(study, 'pair', 'mnli', 'tatoeba'))
    assert there() == ['training', 'evaluated'] and 'resumes what other code began (changed: models.training)' in capsys.readouterr().out
    play(study, 'pair', 'mnli', 'tatoeba')
    assert {row['run']: row['code'] for row in study_status(study)}['mnli--tatoeba--s0'] == ['models.training'] and not there()
    forget(run), left(begin(study, 'pair', 'mnli', 'tatoeba'), 'training', 'evaluated')
    play(study, 'intermediate', 'mnli')  # trained again
    left(begin(study, 'pair', 'mnli', 'tatoeba'))
    assert not there(), 'what was tuned from the earlier model is not gone on with'
    (run.folder / 'begun.json').unlink(missing_ok=True), (run.folder / 'training').mkdir()  # as an earlier version left it
    left(begin(study, 'pair', 'mnli', 'tatoeba'))
    assert there() == ['training'] and 'resumes what other code began' in capsys.readouterr().out
    forget(run)
    assert not there(), 'what is to be made again is made from nothing'


def test_a_finished_run_keeps_its_result_until_there_is_another(study):
    play(study, 'encoder'), play(study, 'pair', 'none', 'tatoeba')
    before = result(find_run(study, 'pair', 'none', 'tatoeba'))
    run = left(begin(study, 'pair', 'none', 'tatoeba'))
    assert result(run) == before
    assert play(study, 'pair', 'none', 'tatoeba')['started'] > before['started']


def test_runs_from_another_training_of_their_parent_are_named(study):
    play_all(study)
    assert other_trainings(study) == []
    play(study, 'intermediate', 'mnli')
    assert other_trainings(study) == [f'mnli--{t}--s0' for t in ('xquad', 'tatoeba')]



def test_a_target_that_is_added_later_gets_its_model(study):
    "Alone, a pair saves no model; a second target with the same training needs one."
    published = f'encoder={{kind: pretrained, name: some/encoder, revision: "{"0" * 40}"}}'
    alone, both = (Study.read(FILE, [f'targets={targets}', published]) for targets in ('[xquad]', '[xquad, mlqa]'))
    for r in runs(alone): play(alone, r.phase, r.intermediate, r.target, r.seed)
    assert needed_again(alone) == [] and {r.name for r in needed_again(both)} == {'none--xquad--s0', 'mnli--xquad--s0'}
    with pytest.raises(XltError, match='none--mlqa--s0 starts from none--xquad--s0, which saved no model'): begin(both, 'pair', 'none', 'mlqa')
    assert {r.name for r in reopen(both)} == {'none--xquad--s0', 'mnli--xquad--s0'}
    play(both, 'pair', 'none', 'xquad'), play(both, 'pair', 'none', 'mlqa')


def test_a_pair_without_its_model_is_not_taken_over_where_the_model_is_needed(study):
    published = f'encoder={{kind: pretrained, name: some/encoder, revision: "{"0" * 40}"}}'
    alone, both = (Study.read(FILE, [f'targets={targets}', published, f'study={name}']) for targets, name in (('[xquad]', 'alone'), ('[xquad, mlqa]', 'both')))
    for r in runs(alone): play(alone, r.phase, r.intermediate, r.target, r.seed)
    run = find_run(both, 'pair', 'none', 'xquad')
    assert take_over(run, True) is None and take_over(run, False) == 'alone'


def test_a_report_is_out_of_date_when_the_scores_of_repeated_runs_change(study):
    play_all(study)
    report, twice = find_run(study, 'report'), root() / 'reports' / 'tiny' / 'repeated.csv'
    assert result(report)
    write(twice, 'study,intermediate\n')
    assert result(report) is None
    play(study, 'report')
    assert result(report)


def test_xlt_run_takes_over_before_anything_is_trained(study, twin, monkeypatch, capsys):
    from xlt.cli import drive
    with_checkpoint(study, 'encoder')
    monkeypatch.setattr(drive, 'start_snakemake', lambda *args, **kwargs: SimpleNamespace(pid=0))
    monkeypatch.setattr(drive, 'watch_progress', lambda *args: 0)
    monkeypatch.setattr(drive, 'stop_tree', lambda *args, **kwargs: None)
    assert drive.drive(twin, 1) == 0
    assert 'already done by another study: encoder (from tiny)' in capsys.readouterr().out and result(find_run(twin, 'encoder'))
