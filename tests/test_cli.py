"The command line: its help, its messages, its exit status, its progress."
import json
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from machine import play

from xlt.cli import drive, main as cli, terminal
from xlt.runs import footprint, planning as plan
from xlt.common.errors import XltError
from xlt.common.text import duration
from xlt.runs.params import Study
from xlt.runs.graph import runs

FILE = 'params/tiny.yaml'


def row(run, state, seconds=None, phase='pair', target='xnli', last=()):
    return dict(run=run, phase=phase, target=target, state=state, seconds=seconds, last=list(last))


def test_help_shows_examples_and_commands(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(['--help'])
    said = capsys.readouterr().out
    assert end.value.code == 0
    for word in ('xlt run params/lab-quick.yaml', 'status', 'report', 'analyse', 'score', 'tasks', 'languages', 'exit status'):
        assert word in said


@pytest.mark.parametrize('argv', [[], ['walk'], ['run'], ['run', FILE, '--cores', '0'], ['run', FILE, '--cores', 'many'], ['score', 'a']])
def test_misuse_is_status_2(argv, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    assert end.value.code == 2 and 'usage: xlt' in capsys.readouterr().err


@pytest.mark.parametrize('command', ['run', 'status', 'report', 'plan'])
def test_bad_input_is_one_message_and_status_2(project, capsys, command):
    before = sorted(project.rglob('*'))
    assert cli.main([command, 'params/tinny.yaml']) == 2
    said = capsys.readouterr()
    assert said.out == '' and said.err == "xlt: params/tinny.yaml: no such file (did you mean 'tiny.yaml'?); there is tiny.yaml\n"
    assert sorted(project.rglob('*')) == before


def test_status(project, capsys):
    assert cli.main(['status', FILE]) == 0
    said = capsys.readouterr().out
    assert 'mnli--xquad--s0' in said and '0 of 9 runs' in said
    assert cli.main(['status', FILE, '--json', '--set', 'seeds=[0, 1]']) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 16 and {r['state'] for r in rows} == {'waiting'} and rows[0]['run'] == 'encoder'


def test_status_is_live(project, capsys, monkeypatch):
    "It looks again and again, says what has changed, and ends when all is done."
    waits = iter([lambda: play('encoder'), lambda: None, lambda: play('intermediate', 'pair'), lambda: play('report')])
    monkeypatch.chdir(project)
    monkeypatch.setattr(drive.time, 'sleep', lambda seconds: seconds == 2 and next(waits)())
    assert cli.main(['status', FILE, '--watch']) == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if ' of 9 runs' in line] == [f'{n} of 9 runs done' for n in (0, 1, 8, 9)]


def test_plan(project, capsys, monkeypatch):
    "Counted and computed at first; measured when something is done; nothing is guessed."
    monkeypatch.chdir(project)
    assert cli.main(['plan', FILE, '--cores', '3']) == 0
    said = capsys.readouterr().out
    assert 'tiny: 9 runs, 0 of them done' in said and 'computed from its shape' in said and 'not measured' in said and 'time: not known: no encoder, intermediate or pair run' in said
    trial = shlex.split(said.splitlines()[-1])
    assert trial[:3] == ['xlt', 'run', FILE] and cli.main(['plan', *trial[2:]]) == 0, 'what is printed can be typed'
    assert 'trial-tiny: 5 runs, 0 of them done' in capsys.readouterr().out
    play('encoder', 'intermediate', 'pair')
    assert cli.main(['plan', FILE]) == 0
    assert 'time: every run is done' in capsys.readouterr().out
    assert cli.main(['plan', FILE, '--set', 'seeds=[0, 1]', '--cores', '3']) == 0
    assert 'to go with' in capsys.readouterr().out


@pytest.mark.parametrize('settings', [[], ['seeds=[3]', 'targets=[mlqa, tatoeba]'], ['intermediates=[multi-mlm]', 'tasks.mnli.epochs=2']])
def test_a_trial_is_a_study(project, settings):
    "One pair, few examples, the settings kept that do not contradict it."
    study = Study.read(FILE, set=settings)
    _, command, file, *words = shlex.split(plan.trial_command(study, settings))
    trial = Study.read(file, set=[w for w in words if w != '--set'])
    assert command == 'run' and trial.study == 'trial-tiny' and trial.seeds == study.seeds[:1] and trial.intermediates == study.intermediates[:1]
    assert len([r for r in runs(trial) if r.phase == 'pair']) <= 4 and trial.encoder == study.encoder and trial.tasks == study.tasks
    assert trial.recipe('target', trial.targets[0]).train_examples == 500 and trial.tested('xnli') == 100


E5, LARGE = ({'kind': 'pretrained', 'name': name, 'revision': '0' * 40} for name in ('intfloat/multilingual-e5-small', 'FacebookAI/xlm-roberta-large'))
SCRATCH, OTHER = {'kind': 'scratch', 'steps': 50}, {'kind': 'pretrained', 'name': 'some/encoder', 'revision': '0' * 40}


@pytest.mark.parametrize('encoder, gpus, cores, gigabytes, at_once', [
    (SCRATCH, '', 3, 1, 3), (E5, '', 2, 16, 2), (E5, '', 2, 6, 1), (E5, '', 16, 20, 5), (LARGE, '', 2, 16, 1), (LARGE, '', 2, 64, 2), (OTHER, '', 2, 24, 1), (OTHER, '', 2, 80, 2),
    (LARGE, '0', 16, 24, 1), (E5, '0,1', 16, 24, 2), (LARGE, '0,1', 6, 24, 1)])
def test_how_many_runs_at_a_time(project, monkeypatch, encoder, gpus, cores, gigabytes, at_once):
    monkeypatch.setenv('XLT_DEVICES', gpus)
    monkeypatch.setattr(footprint.psutil, 'virtual_memory', lambda: SimpleNamespace(total=gigabytes * 10 ** 9))
    study = Study.read(FILE, set=[f'encoder={json.dumps(encoder)}', 'precision=fp32'])
    assert footprint.at_a_time(study, cores) == at_once
    limits = footprint.shared_resources(study)
    assert list(limits) == ([] if encoder is SCRATCH else ['gpu'] if gpus else ['mem_mb'])
    if 'mem_mb' in limits: assert all(footprint.memory(study, r) <= limits['mem_mb'] for r in runs(study)), 'a run that wants more than there is would never start'


def test_memory_follows_the_batch(project):
    def wants(*settings):
        study = Study.read(FILE, set=[f'encoder={json.dumps(E5)}', 'device=cpu', *settings])
        return {r.name: footprint.memory(study, r) for r in runs(study)}
    plain, long = wants(), wants('tasks={xquad: {max_length: 512}, mlqa: {max_length: 512}}')
    assert {n for n in plain if plain[n] != long[n]} == {'none--xquad--s0', 'mnli--xquad--s0'}, 'MLQA is tested with the model of XQuAD, Tatoeba without training'
    assert wants('precision=bf16')['mnli--s0'] < plain['mnli--s0'] and wants('intermediates=[multi]')['multi--s0'] > plain['mnli--s0']


def test_plan_counts_disk(project, monkeypatch):
    study = Study.read(FILE, set=['seeds=[0, 1, 2]'])
    monkeypatch.setattr(footprint, 'checkpoint_size', lambda study: (2_000_000_000, 'measured'))
    monkeypatch.setattr(footprint.shutil, 'disk_usage', lambda place: type('Usage', (), {'free': 10 ** 9}))
    need = footprint.disk(study, at_once=4)  # the encoder; mnli in three seeds; xquad's model for mlqa, with and without mnli, in three seeds
    assert need['checkpoints'] == 1 + 3 + 6 and need['peak'] == 2e9 * (10 + 8 * 4) and need['end'] == 0
    assert any(line.startswith('warning') for line in plan.plan_lines(study, 4))
    monkeypatch.setattr(footprint, 'checkpoint_size', lambda study: (None, 'as the hub lists it'))
    assert any('disk: not known' in line for line in plan.plan_lines(study, 4))


def test_an_unknown_profile(project, capsys):
    assert cli.main(['run', FILE, '--profile', 'slurn']) == 2
    assert "no profile 'slurn'; choose from default, kubernetes, slurm" in capsys.readouterr().err


def test_tasks_and_languages(capsys):
    assert cli.main(['tasks']) == cli.main(['languages']) == 0
    said = capsys.readouterr().out
    assert 'anli_plus' in said and 'tatoeba' in said and 'Swahili' in said


def test_a_reader_that_has_seen_enough():
    said = subprocess.run(f'"{sys.executable}" -c "import sys; from xlt.cli.main import main; sys.exit(main([\'languages\']))" | head -n 1',
                          shell=True, capture_output=True, text=True)
    assert said.stderr == '' and len(said.stdout.splitlines()) == 1


def test_help_needs_nothing_heavy():
    code = 'import sys, xlt.cli.main; print([m for m in ("torch", "datasets", "pydantic", "snakemake", "scipy") if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout == '[]\n'


def test_score(tmp_path, capsys):
    languages = 'de en es fr ja ko zh'.split()
    for side, text in (('p', '1\n0\n0\n1\n'), ('l', '1\n0\n1\n1\n')):
        (tmp_path / side / 'pawsx').mkdir(parents=True)
        for code in languages:
            (tmp_path / side / 'pawsx' / f'test-{code}.tsv').write_text(text)
    assert cli.main(['score', str(tmp_path / 'p'), str(tmp_path / 'l'), '--json']) == 0
    assert json.loads(capsys.readouterr().out)['detailed']['pawsx']['avg_metric'] == 75
    assert cli.main(['score', str(tmp_path / 'p'), str(tmp_path / 'l')]) == 0 and '75.00' in capsys.readouterr().out
    assert cli.main(['score', str(tmp_path / 'nowhere'), str(tmp_path / 'l')]) == 2 and 'nowhere' in capsys.readouterr().err


@pytest.fixture
def scores(tmp_path) -> Path:
    codes = 'sw yo th vi fr ru de es zh'.split()
    lines = ['study,intermediate,target,language,metric,seed,score,n', *(
        f's,{i},xnli,{c},accuracy,0,{60 + k - (5 if i == "mnli" and k < 3 else 0)},100' for i in ('none', 'mnli') for k, c in enumerate(codes))]
    (tmp_path / 'scores.csv').write_text('\n'.join(lines) + '\n')
    return tmp_path / 'scores.csv'


def test_analyse(scores, tmp_path, capsys):
    assert cli.main(['analyse', str(scores)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert cli.main(['analyse', str(scores), '--json']) == 0
    assert json.loads(capsys.readouterr().out)['primary']['n_low'] == 3
    assert cli.main(['analyse', str(scores), '--resource', 'cc101']) == 2 and "'cc101' is unknown" in capsys.readouterr().err


def test_time_left_needs_something_to_judge_by():
    waiting = [row('a', 'waiting'), row('b', 'running', 10.)]
    assert plan.time_left(waiting, {'a': (60., 'alike')}, 2) is None, 'nothing is known of b'
    assert 'to go' not in terminal.progress_line(waiting, None)
    known = {'a': (60., 'alike'), 'b': (30., 'rates')}
    assert plan.time_left(waiting, known, 1) == 60 + 20 and plan.time_left(waiting, known, 8) == 40
    line = terminal.progress_line(waiting, 80.)
    assert line.index('to go') < line.index('running'), 'a narrow terminal cuts off the end'
    assert plan.time_left([row('b', 'running', 100.)], known, 1) == 0


def test_durations():
    assert [duration(s) for s in (4.4, 89, 90, 600, 5400, 90000)] == ['4 s', '89 s', '2 min', '10 min', '1 h 30 min', '25 h 0 min']


def test_failures_name_log_and_reason():
    rows = [row('a', 'failed', last=['Traceback', 'ValueError: x']), row('b', 'waiting'), row('c', 'done', 1.)]
    assert drive.failures(rows, Path('logs')) == ['FAILED a: logs/a.log', '    ValueError: x', 'not run: b']


@pytest.mark.parametrize('last, said', [
    (['Traceback (most recent call last):', '  raise E', 'torch.cuda.OutOfMemoryError: no memory', 'papermill ends'], 'OutOfMemoryError: no memory'),
    (['ValueError: first', 'During handling of the above exception', 'nbclient.exceptions.DeadKernelError: Kernel died'], drive.KILLED),
    (['xlt.common.errors.XltError: params/x.yaml: no'], 'params/x.yaml: no'), (['WorkflowError:', '    Failed to run sinfo: no controller', 'Shutting down'], 'WorkflowError: Failed to run sinfo: no controller'), (['a', 'WorkflowError:'], 'WorkflowError:'), (['Killed'], 'Killed'),
    (['Exception in run_job for rule encoder: Failed to run sinfo: no controller', 'WorkflowError:', 'At least one job did not complete successfully.'], 'Failed to run sinfo: no controller'),
    ([], 'the log is empty'), (['MemoryError'], 'MemoryError')])
def test_one_sentence_of_a_log(last, said):
    assert drive.last_error(last) == said


def test_status_without_the_data(project, capsys, monkeypatch, tmp_path):
    "The folder of data is gone, or the encoder; what was done is shown all the same, here and from a pack."
    monkeypatch.chdir(project)
    play('encoder', 'intermediate', 'pair')
    name = Path(FILE)
    was = yaml.safe_load(name.read_text())
    for change in ({'source': {'kind': 'files', 'folder': 'not-here'}}, {'encoder': {'kind': 'folder', 'path': 'not-there'}}):
        name.write_text(yaml.safe_dump(was | change))
        assert cli.main(['status', FILE]) == 0
        said = capsys.readouterr()
        assert '8 of 9 runs' in said.out and 'report waiting' in ' '.join(said.out.split())
        assert said.err.count('\n') == 1 and 'not-' in said.err and 'Showing whatever is in runs/tiny' in said.err
        assert cli.main(['status', FILE, '--json']) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [r['state'] for r in rows] == ['done'] * 8 + ['waiting'] and all(r['fingerprint'] and r['seconds'] is not None for r in rows[:-1])
        for command in ('plan', 'run'):
            assert cli.main([command, FILE]) == 2
            assert 'not-' in capsys.readouterr().err
    name.write_text(yaml.safe_dump(was | {'source': {'kind': 'files', 'folder': 'not-here'}, 'targets': ['xnil']}))
    assert cli.main(['status', FILE]) == 2, 'what is wrong in the file itself is still an error'
    assert "did you mean 'xnli'?" in capsys.readouterr().err


def test_a_study_by_its_name(project, capsys, monkeypatch):
    monkeypatch.chdir(tmp := project / 'params')
    assert cli.main(['plan', 'tiny']) == 0
    assert 'tiny: 9 runs' in capsys.readouterr().out
    assert cli.main(['plan', 'tinny']) == 2
    assert "params/tinny.yaml: no such file (did you mean 'tiny.yaml'?)" in capsys.readouterr().err
    (tmp / 'tiny.yaml').rename(project / 'tiny.yml')
    assert cli.main(['plan', 'tiny']) == 2 and 'xlt new NAME writes one' in capsys.readouterr().err


def test_one_driver(project):
    study = Study.read(FILE)
    with drive.only_driver(study):
        with pytest.raises(XltError, match=r'process \d+ on .* is already at work on tiny'), drive.only_driver(study):
            pass
    with drive.only_driver(study):
        pass


def test_without_a_report_the_headline_says_so(project):
    with pytest.raises(XltError, match='reports/tiny/summary.json: no report with a headline'):
        drive.report_headline(Study.read(FILE))


def test_snakemake_that_gives_up_shows_its_log(project, capsys):
    log = project / 'runs' / 'tiny' / 'logs' / 'snakemake.log'
    log.parent.mkdir(parents=True)
    log.write_text('WorkflowError: no such rule\n')
    assert drive.conclude(Study.read(FILE), 1) == 1
    assert 'WorkflowError: no such rule' in capsys.readouterr().out


def test_no_snakefile(project, monkeypatch, tmp_path_factory):
    monkeypatch.setattr('xlt.runs.project.files', lambda name: tmp_path_factory.mktemp('elsewhere') / 'xlt')
    with pytest.raises(XltError, match='no Snakefile'):
        drive.snakefile()
