"""Faults that are real, and what is left after them: every time the same command again gives the scores of an undisturbed study.

Kernels are killed, starved and cut off by a full disk here; `test_pipeline.py` kills and stops drivers and runs two at once,
`test_checkpoints.py` cuts training off, `test_results.py` damages results, `test_cluster.py` has jobs cancelled by a real Slurm.
"""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from machine import FILE, play, states, written, xlt

from xlt.runs import worker
from xlt.cli.main import main
from xlt.common.errors import XltError
from xlt.runs.params import Study
from xlt.runs.worker import begin
from xlt.runs.graph import find_run, runs
from xlt.runs.store import in_use, publish, reopen, checkpoint_removed, result
from xlt.runs.status import study_status

STUDY = """\
study: tiny
source: {kind: lab, seed: 1}
encoder: {kind: scratch, steps: 50}
intermediates: [mnli, qqp]
targets: [bucc2018, tatoeba]
retrieval: {layer: 1}
analysis: {resource: corpus_sentences}
"""
SCORES = Path('reports/tiny/scores.csv')
FAULTS = {'none--bucc2018--s0': 'training', 'none--tatoeba--s0': 'evaluation', 'mnli--bucc2018--s0': 'writing', 'mnli--tatoeba--s0': 'memory',
          'qqp--bucc2018--s0': 'disk', 'qqp--tatoeba--s0': 'clock'}


@pytest.fixture
def small(stubs) -> Path:
    "A project whose notebooks only obey, and a study of six pairs."
    Path(FILE).write_text(STUDY)
    return stubs


@pytest.fixture
def mounted():
    "Mount a small disk of its own, gone in the end; False: only root may."
    places = []

    def mount(place: Path, *options):
        place.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', ','.join(options), 'tmpfs', place], capture_output=True, text=True)
        if done.returncode:
            return False
        places.append(place)
        return True

    def unmount():
        while places:
            subprocess.run(['umount', places.pop()], check=True)
    mount.undo = unmount
    yield mount
    unmount()


def test_kernels_killed_starved_and_cut_off(small, mounted):
    "Six pairs, six faults, in one run; then the same command again, undisturbed."
    play('encoder', 'intermediate', 'pair', 'report')
    undisturbed = SCORES.read_text()
    for phase in ('pair', 'report'):
        for path in Path('runs/tiny', phase).glob('*/*/result.json'):
            path.unlink()
    SCORES.unlink()
    full = mounted(Path('runs/tiny/pair/qqp--bucc2018--s0'), 'size=128k')  # else only the disk's fault is left out
    faults = FAULTS if full else {n: fault for n, fault in FAULTS.items() if fault != 'disk'}
    Path('faults.json').write_text(json.dumps(faults))
    said = xlt('run', FILE)
    now = states()
    assert said.returncode == 1 and [n for n in faults if now[n] == 'done'] == ['qqp--tatoeba--s0'], said.stdout
    for name in faults.keys() - {'qqp--tatoeba--s0', 'qqp--bucc2018--s0'}:  # on a full disk nothing can be noted
        assert f'FAILED {name}' in said.stdout
    assert 'MemoryError' in said.stdout and not SCORES.exists()
    if full: assert 'No space left on device' in Path('runs/tiny/logs/qqp--bucc2018--s0.log').read_text()
    backwards = result(find_run(Study.read(FILE), 'pair', 'qqp', 'tatoeba'))
    assert backwards['finished'] < backwards['started'] and backwards['seconds']['total'] >= 0
    mounted.undo()
    Path('faults.json').unlink()
    before, again = written(), xlt('run', FILE)
    assert again.returncode == 0, again.stdout
    assert SCORES.read_text() == undisturbed and before.items() <= written().items()
    assert not [p for p in Path('runs').rglob('.result.json.*')]
    if not full: pytest.skip('nobody may mount a small disk here; the other five faults were tried')


def test_a_clock_that_was_set_repeats_nothing(small):
    play('encoder', 'intermediate', 'pair', 'report')
    report = find_run(Study.read(FILE), 'report')
    for page in (report.folder / 'report.html', Path('executed.ipynb')): page.write_text('{}')
    publish(report.folder, 'executed.ipynb', 'reports/tiny')
    for n, path in enumerate(sorted(Path('runs').rglob('result.json'))):  # some from the past, some from the future
        os.utime(path, (1e9 + n, 1e9 + n) if n % 2 else (4e9 - n, 4e9 - n))
    said = subprocess.run([sys.executable, '-m', 'snakemake', '--config', f'study={FILE}', '--dry-run'], capture_output=True, text=True)
    assert 'Nothing to be done' in said.stdout + said.stderr, said.stdout + said.stderr


@pytest.mark.parametrize('place', ['runs', 'reports'])
def test_a_disk_that_cannot_be_written(small, mounted, place):
    if os.geteuid():
        (small / place).mkdir(mode=0o555)
    elif not mounted(small / place, 'ro'):
        pytest.skip('even root may not mount a disk here')
    said = xlt('run', FILE)
    assert (said.returncode, said.stdout) == (2, '') and f'{place}/tiny cannot be written (' in said.stderr and 'Traceback' not in said.stderr
    assert not Path('runs/tiny/encoder').exists()


def checkpoint(run, size=100) -> list[Path]:
    "Leave a checkpoint."
    (run.folder / 'checkpoint').mkdir(parents=True)
    (run.folder / 'checkpoint' / 'model.safetensors').write_bytes(os.urandom(size))
    return [run.folder / 'checkpoint' / 'model.safetensors']


def finish(study, phase, *which, size=100):
    active = begin(study, phase, *which)
    if active.run.target:
        return active.finish([{'language': c, 'metric': 'f1' if which[1] == 'bucc2018' else 'accuracy', 'score': 50., 'n': 1} for c in study.evaluated(which[1])])
    return active.finish(files=checkpoint(active.run, size))


def test_a_truncated_checkpoint_is_made_again(small):
    study = Study.read(FILE)
    finish(study, 'encoder')
    file = find_run(study, 'encoder').folder / 'checkpoint' / 'model.safetensors'
    os.truncate(file, 50)
    assert result(find_run(study, 'encoder')) is None


def test_a_large_checkpoint_is_read_before_it_is_used(small):
    "One flipped byte in two million is found when a run is about to start from it."
    study = Study.read(FILE)
    finish(study, 'encoder', size=2_000_000)
    encoder = find_run(study, 'encoder')
    with open(encoder.folder / 'checkpoint' / 'model.safetensors', 'r+b') as f:
        f.seek(1_000_000)
        old = f.read(1)
        f.seek(1_000_000)
        f.write(bytes([old[0] ^ 1]))
    assert result(encoder)
    with pytest.raises(XltError, match='starts from encoder, but .*model.safetensors is damaged; xlt run makes encoder again'):
        begin(study, 'intermediate', 'mnli')
    assert result(encoder) is None


def test_checkpoints_go_when_no_run_needs_them(small, monkeypatch):
    monkeypatch.setenv('XLT_KEEP_MB', '0')
    study = Study.read(FILE)

    def there():
        return {r.name for r in runs(study) if (r.folder / 'checkpoint').exists()}
    for what in (('encoder',), ('intermediate', 'mnli'), ('intermediate', 'qqp')):
        finish(study, *what)
    finish(study, 'pair', 'mnli', 'bucc2018')
    assert there() == {'encoder', 'mnli--s0', 'qqp--s0'} and in_use(study, find_run(study, 'intermediate', 'mnli'))
    finish(study, 'pair', 'mnli', 'tatoeba')
    assert there() == {'encoder', 'qqp--s0'}
    for pair in (('qqp', 'bucc2018'), ('qqp', 'tatoeba'), ('none', 'bucc2018'), ('none', 'tatoeba')):
        finish(study, 'pair', *pair)
    assert there() == set() and [s['state'] for s in study_status(study)].count('done') == 9  # all but the report
    assert reopen(study) == []
    lost = find_run(study, 'pair', 'mnli', 'tatoeba')
    (lost.folder / 'result.json').unlink()
    with pytest.raises(XltError, match='whose checkpoint was removed'):
        begin(study, 'pair', 'mnli', 'tatoeba')
    assert [r.name for r in reopen(study)] == ['mnli--s0', 'encoder']
    finish(study, 'encoder')
    finish(study, 'intermediate', 'mnli')
    assert there() == {'mnli--s0'} and not checkpoint_removed(find_run(study, 'intermediate', 'mnli'))
    finish(study, 'pair', 'mnli', 'tatoeba')
    assert there() == set() and reopen(study) == []
    checkpoint(find_run(study, 'intermediate', 'qqp'))  # two last pairs that ended at once, on two machines, may leave one
    play('report')
    assert there() == set() and {s['state'] for s in study_status(study)} == {'done'}


def test_small_checkpoints_stay(small):
    study = Study.read(FILE)
    for what in (('encoder',), ('intermediate', 'mnli'), ('intermediate', 'qqp')):
        finish(study, *what)
    for run in (r for r in runs(study) if r.phase == 'pair'):
        finish(study, 'pair', run.intermediate, run.target)
    assert (find_run(study, 'encoder').folder / 'checkpoint').exists()


def test_removed_and_needed_again_is_done_again(small, monkeypatch):
    "By the Snakefile: the lost pair, the intermediate task before it and the encoder; nothing else."
    monkeypatch.setenv('XLT_KEEP_MB', '0')
    study = Study.read(FILE)
    for what in (('encoder',), ('intermediate', 'mnli'), ('intermediate', 'qqp')):
        finish(study, *what)
    play('pair')
    (find_run(study, 'pair', 'qqp', 'tatoeba').folder / 'result.json').unlink()
    command = [sys.executable, '-m', 'snakemake', '--config', f'study={FILE}']
    before = written()
    subprocess.run([*command, '--dry-run'], capture_output=True, check=True)
    assert written() == before  # looking changes nothing
    subprocess.run([*command, '--list-rules'], capture_output=True, check=True)  # the Snakefile is read, and would now run
    seen = subprocess.run([*command, '--dry-run'], capture_output=True, text=True)
    jobs = re.findall(r'output: runs/tiny/\w+/([\w-]+)/', seen.stdout + seen.stderr)
    assert sorted(jobs) == ['encoder', 'qqp--s0', 'qqp--tatoeba--s0', 'report'], seen.stdout


def test_signs_of_life_from_another_machine(small, monkeypatch):
    monkeypatch.setattr(worker.start_heartbeat, '__defaults__', (.05,))
    study = Study.read(FILE)
    active = begin(study, 'encoder')
    note = active.folder / 'running.json'
    os.utime(note, (1e9, 1e9))
    while note.stat().st_mtime == 1e9:
        pass
    monkeypatch.setattr(worker.socket, 'gethostname', lambda: 'login')
    assert study_status(study)[0]['state'] == 'running'
    active.life.set()
    os.utime(note, (1e9, 1e9))
    assert study_status(study)[0]['state'] == 'waiting'


@pytest.mark.parametrize('top', ['runs', 'reports'])
def test_a_study_does_not_leave_its_folder(small, tmp_path_factory, capsys, top):
    elsewhere = tmp_path_factory.mktemp('elsewhere')
    (small / top).mkdir()
    (small / top / 'tiny').symlink_to(elsewhere)
    for command in ('run', 'status', 'plan'):
        assert main([command, FILE]) == 2 and f'{top}/tiny is a link to {elsewhere}' in capsys.readouterr().err
    assert not list(elsewhere.iterdir())
    (small / top / 'tiny').unlink(), (small / top).rmdir()
    (small / top).symlink_to(elsewhere)  # the whole of it on another disk is fine
    assert main(['status', FILE]) == 0
