"The real notebooks after real faults: a kernel killed in training, a checkpoint altered, sub-words cut short, a result torn."
import json
import os
import shutil
from pathlib import Path

import nbformat
from machine import FILE, XLT, git, states, xlt

from xlt.runs.params import Study
from xlt.runs.graph import find_run
from xlt.runs.store import result

# The first pair that trains is killed at its fourth step, once; every step is saved, so that the next attempt goes on from the third.
KILL = """\
import os, signal
from pathlib import Path
from transformers import TrainerCallback
from xlt.models import checkpoints, training
class Kill(TrainerCallback):
    first = None
    def on_step_end(self, args, state, control, **kwargs):
        if self.first is None:
            self.first = state.global_step
            with open('first-steps.txt', 'a') as f: f.write(f'{intermediate} {self.first}\\n')
        if state.global_step == 4 and not Path('killed').exists():
            Path('killed').touch()
            os.kill(os.getpid(), signal.SIGKILL)
begin_training = checkpoints.ResumableTrainer.__init__
def with_kill(self, *args, **kwargs):
    begin_training(self, *args, **kwargs)
    self.add_callback(Kill())
checkpoints.ResumableTrainer.__init__ = with_kill
training.fit.__defaults__ = (None, 0.)"""


def test_the_report_is_that_of_an_undisturbed_study(checkout, repo, undisturbed, monkeypatch):
    "Which the installed package made, and which is committed here: all runs made again, by other code at another time, leave the tree clean."
    monkeypatch.chdir(checkout)
    shutil.copy(repo / 'tests' / 'params' / 'tiny.yaml', FILE)
    assert undisturbed.said[-1].returncode == 0 and 'the committed report' not in undisturbed.said[-1].stdout
    shutil.copytree(undisturbed.project / 'reports', 'reports')
    scores = Path('reports/tiny/scores.csv').read_bytes()

    pair = Path('nbs/study/pair.ipynb')
    notebook = nbformat.read(pair, 4)
    at = next(i for i, c in enumerate(notebook.cells) if 'begin(study' in c.source)
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(KILL))
    nbformat.write(notebook, pair)
    Path('.gitignore').write_text('/runs/\n.snakemake/\nreports/*/notebooks/\nkilled\nfirst-steps.txt\n')
    git('init', '-q'), git('add', '.'), git('commit', '-qm', 'A report')
    said = xlt('run', FILE, '--cores', '1', command=XLT)
    now = states()
    failed, = (name for name in now if now[name] == 'failed')
    other, = {'none--xnli--s0', 'mnli--xnli--s0'} - {failed}
    assert said.returncode == 1 and f'FAILED {failed}' in said.stdout and now[other] == 'done', said.stdout
    assert [p.name for p in Path('runs').rglob('checkpoint-3')], 'what the killed training goes on from'

    def alter(path: Path, how):
        path.write_bytes(how(path.read_bytes()))
    study = Study.read(FILE)
    alter(find_run(study, 'intermediate', 'mnli').folder / 'checkpoint' / 'model.safetensors', lambda b: b[:-4] + bytes(4))
    alter(find_run(study, 'pair', other.partition('--')[0], 'xnli').folder / 'result.json', lambda b: b[:-50])
    for path in Path('runs/_tokenised').glob('*.arrow'):
        alter(path, lambda b: b[:len(b) // 2])
    Path('first-steps.txt').unlink()
    said = xlt('run', FILE, '--cores', '1', command=XLT)
    assert said.returncode == 0, said.stdout + said.stderr
    assert Path('reports/tiny/scores.csv').read_bytes() == scores
    assert said.stdout.splitlines()[-1].startswith('This reproduces the committed report to the digit: 32 scores; low minus high '), said.stdout
    assert git('status', '--porcelain') == ''
    made, kept = result(find_run(study, 'report'))['git']['commit'], json.loads(Path('reports/tiny/summary.json').read_text())['commit']
    assert kept is None and (made or not (repo / '.git').exists()), 'the package has no commit, the clone has one'
    first = [line.split() for line in Path('first-steps.txt').read_text().splitlines()]  # one or two attempts each
    assert {name: int(step) for name, step in reversed(first)} == {failed.partition('--')[0]: 4, other.partition('--')[0]: 1}, 'the killed training goes on'
    assert not any(p.stat().st_size == 0 for p in Path('runs/_tokenised').glob('*.arrow')) and not list(Path('runs').rglob('training'))
    assert os.path.exists('killed')
    assert xlt('run', FILE, command=XLT).stdout.count('nothing to do') == 1, 'what was put back is what is on record'
