"""The whole machine: xlt, Snakemake, papermill, kernels. It is run, killed in the middle, and run again.

The notebooks used here only obey (`machine.py`), since what the runs compute does not matter; `test_study.py` runs the real ones.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from machine import FILE, STUB, launch, states, write_stubs, written, xlt

from xlt.runs.params import Study
from xlt.runs.graph import find_run, runs
from xlt.runs.store import result

SCORES = 'reports/tiny/scores.csv'


def wait_for(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f'waited {seconds} s in vain; the runs are {states()}'
        time.sleep(.1)


def kernel_of(run):
    "The process of a run's kernel, once it is at work."
    def pid():
        try: note = json.loads((run.folder / 'running.json').read_text())
        except (OSError, ValueError): return None
        return note['pid'] if 'created' in note else None  # without it, it is the shell's
    wait_for(pid)
    return pid()


def children(pid):
    return psutil.Process(pid).children(recursive=True)


@pytest.fixture(scope='session')
def finished(tmp_path_factory, repo):
    "A project whose stub study has run; and what `xlt run` said."
    folder = tmp_path_factory.mktemp('finished')
    shutil.copy(repo / 'Snakefile', folder)
    shutil.copytree(repo / 'profiles', folder / 'profiles')
    write_stubs(folder / 'nbs' / 'study')
    (folder / 'settings.ini').write_text('[DEFAULT]\n')
    (folder / 'params').mkdir()
    (folder / FILE).write_text(STUB)
    clean = {k: v for k, v in os.environ.items() if not k.startswith('XLT_')}
    return folder, xlt('run', FILE, cwd=folder, env=clean)


@pytest.fixture
def done(finished, tmp_path, monkeypatch):
    "A copy of the finished project, to be harmed."
    folder = tmp_path / 'project'
    shutil.copytree(finished[0], folder, ignore=shutil.ignore_patterns('.snakemake'))
    monkeypatch.setenv('XLT_ROOT', str(folder))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def undone(done):
    "A copy in which the pairs and the report have yet to run."
    for phase in ('pair', 'report'):
        shutil.rmtree(done / 'runs' / 'tiny' / phase)
    return done


def test_one_command_runs_everything(finished, done):
    folder, said = finished
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.splitlines()[-5:] == [f'line {i}' for i in range(1, 6)]
    assert '5 of 5 runs' in said.stdout and ' runs done · running: ' in said.stdout
    assert set(states().values()) == {'done'}
    for place in ('runs/tiny/notebooks/encoder.ipynb', 'runs/tiny/notebooks/mnli--s0.ipynb', 'runs/tiny/logs/none--tatoeba--s0.log',
                  'reports/tiny/notebooks/mnli--tatoeba--s0.ipynb', 'reports/tiny/report.ipynb', 'reports/tiny/report.html'):
        assert (folder / place).is_file(), place


def test_the_result_says_where_the_time_went(done):
    seconds = result(find_run(Study.read(FILE), 'pair', 'none', 'tatoeba'))['seconds']
    assert seconds.keys() == {'start_up', 'training', 'evaluation', 'total'} and 0 < seconds['start_up'] <= seconds['total'] < 60


def test_nothing_changed_nothing_run(done):
    before = written()
    said = xlt('run', FILE)
    assert said.returncode == 0 and 'nothing to do' in said.stdout and said.stdout.endswith('line 5\n')
    assert written() == before


def test_snakemake_alone_agrees(done):
    said = subprocess.run([sys.executable, '-m', 'snakemake', '--config', f'study={FILE}', '--dry-run'], capture_output=True, text=True)
    assert 'Nothing to be done' in said.stdout + said.stderr
    nameless = subprocess.run([sys.executable, '-m', 'snakemake', '--dry-run'], capture_output=True, text=True)
    assert nameless.returncode and 'which study?' in nameless.stdout + nameless.stderr


def test_one_change_runs_only_what_depends_on_it(done):
    "The change is made by --set, which keeps what was run in a file of its own."
    before = written()
    said = xlt('run', FILE, '--set', 'tasks.mnli.epochs=9')
    assert said.returncode == 0, said.stdout
    [copy] = Path('runs/tiny/params').glob('*.yaml')
    variant = {r.name: r for r in runs(Study.read(copy))}
    new = {n for n, r in variant.items() if r.folder != find_run(Study.read(FILE), r.phase, r.intermediate, r.target, r.seed).folder}
    assert new == {'mnli--s0', 'mnli--tatoeba--s0', 'report'} and all(map(result, variant.values()))
    assert written().items() >= {n: t for n, t in before.items() if n != 'report'}.items()


def test_what_is_damaged_or_lost_is_done_again_and_nothing_else(done):
    run, before = find_run(Study.read(FILE), 'intermediate', 'mnli'), written()
    path = run.folder / 'result.json'
    path.write_text(path.read_text()[:100])
    (done / 'reports' / 'tiny' / 'summary.json').unlink()
    assert {n for n, s in states().items() if s == 'waiting'} == {'mnli--s0', 'report'}
    assert xlt('run', FILE).returncode == 0
    after = written()
    assert {n for n in after if after[n] != before[n]} == {'mnli--s0', 'report'}


def test_a_killed_kernel_fails_its_pair_alone(undone, finished):
    study = Study.read(FILE)
    victim, page = find_run(study, 'pair', 'mnli', 'tatoeba'), undone / 'reports' / 'tiny' / 'report.html'
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text('committed')
    process = launch('run', FILE, seconds=4)
    os.kill(kernel_of(victim), signal.SIGKILL)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 1 and page.read_text() == 'committed'
    assert 'FAILED mnli--tatoeba--s0: runs/tiny/logs/mnli--tatoeba--s0.log' in said and 'not run: report' in said
    assert 'its process was killed' in said, said
    assert states() == {'encoder': 'done', 'mnli--s0': 'done', 'none--tatoeba--s0': 'done', 'mnli--tatoeba--s0': 'failed',
                        'report': 'waiting'}
    early = xlt('report', FILE)  # a report of what is there is no result
    assert early.returncode == 0 and 'omits 1 pair without a result: mnli--tatoeba--s0' in early.stdout, early.stdout + early.stderr
    assert (undone / 'reports' / 'tiny' / 'report.html').is_file() and states()['report'] == 'waiting'
    before = written()
    assert xlt('run', FILE).returncode == 0
    after = written()
    assert {n for n in after if n not in before} == {'mnli--tatoeba--s0', 'report'} and before.items() <= after.items()
    assert (undone / SCORES).read_text() == (finished[0] / SCORES).read_text()


def test_the_driver_killed_and_resumed(undone, finished):
    study = Study.read(FILE)
    process = launch('run', FILE, seconds=30)
    kernel_of(find_run(study, 'pair', 'none', 'tatoeba'))
    family = children(process.pid)
    kernels = [p for p in family if 'ipykernel' in ' '.join(p.cmdline())]
    process.kill()
    process.communicate()
    again = xlt('run', FILE)  # at once: it has to get on with what is left of the first
    assert again.returncode == 0, again.stdout
    assert set(states().values()) == {'done'} and kernels
    assert (undone / SCORES).read_text() == (finished[0] / SCORES).read_text()
    gone, alive = psutil.wait_procs(family, timeout=20)
    assert not alive


def loses_nothing(process, by):
    "Stop a driver whose pairs have just begun."
    family = children(process.pid)
    process.send_signal(by)
    said = process.communicate(timeout=30)[0]
    assert process.returncode == 130 and 'stopped. Run the same command to resume' in said and 'Traceback' not in said
    assert not psutil.wait_procs(family, timeout=5)[1]
    assert states() == {'encoder': 'done', 'mnli--s0': 'done', 'none--tatoeba--s0': 'waiting', 'mnli--tatoeba--s0': 'waiting',
                        'report': 'waiting'}


def test_interrupting_loses_nothing(undone):
    process = launch('run', FILE, seconds=60)
    kernel_of(find_run(Study.read(FILE), 'pair', 'none', 'tatoeba'))
    loses_nothing(process, signal.SIGINT)


def test_status_while_running_and_a_second_driver_and_terminating(undone):
    process = launch('run', FILE, seconds=600)
    try:
        kernel_of(find_run(Study.read(FILE), 'pair', 'none', 'tatoeba'))
        rows = {r['run']: r for r in json.loads(xlt('status', FILE, '--json').stdout)}
        assert rows['none--tatoeba--s0']['state'] == 'running' and rows['none--tatoeba--s0']['seconds'] > 0
        assert 'running' in xlt('status', FILE).stdout
        second = xlt('run', FILE)
        assert second.returncode == 2 and f'process {process.pid} on' in second.stderr and 'already at work on tiny' in second.stderr
    except BaseException:
        process.terminate()
        process.communicate()
        raise
    loses_nothing(process, signal.SIGTERM)


def test_the_parameters_tag_removed_is_refused(undone):
    path = undone / 'nbs' / 'study' / 'pair.ipynb'
    notebook = nbformat.read(path, 4)
    notebook.cells[0].metadata.pop('tags')
    nbformat.write(notebook, path)
    said = xlt('run', FILE)
    assert said.returncode == 1 and 'does the cell with its defaults still have the tag `parameters`?' in said.stdout
    assert {states()[f'{i}--tatoeba--s0'] for i in ('none', 'mnli')} == {'failed'}


def test_a_pair_by_hand(undone):
    command = [sys.executable, '-m', 'papermill', 'nbs/study/pair.ipynb', 'out.ipynb', '-p', 'study', FILE, '-p', 'intermediate', 'mnli',
               '-p', 'target', 'tatoeba', '-p', 'seed', '0']
    subprocess.run(command, check=True, capture_output=True)
    assert states()['mnli--tatoeba--s0'] == 'done' and states()['none--tatoeba--s0'] == 'waiting'
    wrong = subprocess.run([*command[:-1], '7'], capture_output=True, text=True)
    assert wrong.returncode and 'no pair run mnli--tatoeba--s7' in wrong.stderr


def test_no_report_of_nothing(undone):
    said = xlt('report', FILE)
    assert said.returncode == 2 and 'no pair has a result yet' in said.stderr


@pytest.mark.parametrize('setting, part', [('seedz=[0]', "did you mean 'seeds'?"), ('targets=[xnil]', "'xnli'"), ('source.kind=lap', "'lab'"),
                                           ('languages=[zzz]', "'zzz' is unknown"), ('phases.target.epochs=0', 'greater than 0')])
def test_bad_input_writes_nothing(project, setting, part):
    before = sorted(project.rglob('*'))
    said = xlt('run', FILE, '--set', setting)
    assert said.returncode == 2 and said.stdout == '' and sorted(project.rglob('*')) == before
    assert said.stderr.startswith(f'xlt: {FILE}: ') and part in said.stderr and 'Traceback' not in said.stderr


def test_snakemake_killed_alone(undone):
    "Nobody waits in silence: what it started is ended, it is said, and the same command goes on."
    process = launch('run', FILE, seconds=600)
    kernel_of(find_run(Study.read(FILE), 'pair', 'none', 'tatoeba'))
    family = children(process.pid)
    next(p for p in family if 'snakemake' in p.cmdline() and '--mode' not in p.cmdline()).kill()
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 1 and 'Snakemake was killed (signal 9), and its runs with it' in said and 'Traceback' not in said, said
    assert not psutil.wait_procs(family, timeout=10)[1]
    assert xlt('run', FILE).returncode == 0
