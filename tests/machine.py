"""For tests of the whole machine: commands to drive it, and study notebooks that do nothing but obey."""
import os
import subprocess
import sys
from pathlib import Path

import nbformat

from xlt.params import Study
from xlt.results import result, runs, status

FILE = 'params/tiny.yaml'
XLT = [sys.executable, '-c', 'import sys; from xlt.cli import main; sys.exit(main())']


def xlt(*args, **kwargs) -> subprocess.CompletedProcess:
    "Run an xlt command to its end."
    return subprocess.run([*XLT, *args], capture_output=True, text=True, timeout=600, **kwargs)


def launch(*args, seconds: float = 0) -> subprocess.Popen:
    "Start an xlt command whose pairs take so many seconds."
    return subprocess.Popen([*XLT, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env=os.environ | {'STUB_SECONDS': str(seconds)})


def states() -> dict[str, str]:
    "How each run stands."
    return {row['run']: row['state'] for row in status(Study.read(FILE))}


def written() -> dict[str, int]:
    "When each finished run's result was written, in nanoseconds."
    return {r.name: (r.folder / 'result.json').stat().st_mtime_ns for r in runs(Study.read(FILE)) if result(r)}


PARAMETERS = {'study': "'params/tiny.yaml'", 'intermediate': "'none'", 'target': "'tatoeba'", 'seed': '0'}

ENCODER = """\
import os, time
from xlt.results import begin
run = begin(study, 'encoder', history=In)
run.finish()"""

INTERMEDIATE = """\
import os, time
from xlt.results import begin
run = begin(study, 'intermediate', intermediate, seed=seed, history=In)
run.finish()"""

PAIR = """\
import os, time
from xlt.results import begin
from xlt.tasks import TASKS
run = begin(study, 'pair', intermediate, target, seed, history=In)
with run.timed('training'): time.sleep(float(os.environ.get('STUB_SECONDS', 0)))
run.finish([{'language': c, 'metric': TASKS[target].metrics[0], 'score': 50, 'n': 10} for c in run.study.evaluated(target)])"""

REPORT = """\
import json
from xlt.params import root
from xlt.results import begin, collect, write
run = begin(study, 'report', history=In)
scores, metrics, missing = collect(run.study)
folder = root() / 'reports' / run.study.study
write(folder / 'scores.csv', scores.to_csv(index=False))
write(folder / 'summary.json', json.dumps({'headline': [f'line {i}' for i in range(1, 6)]}))
run.finish(files=[folder / 'scores.csv', folder / 'summary.json'])"""

NOTEBOOKS = {'encoder': (['study'], ENCODER), 'intermediate': (['study', 'intermediate', 'seed'], INTERMEDIATE),
             'pair': (['study', 'intermediate', 'target', 'seed'], PAIR), 'report': (['study'], REPORT)}


def write_stubs(folder: Path) -> None:
    "Write the four notebooks."
    folder.mkdir(parents=True, exist_ok=True)
    for name, (parameters, work) in NOTEBOOKS.items():
        defaults = nbformat.v4.new_code_cell('\n'.join(f'{p} = {PARAMETERS[p]}' for p in parameters), metadata={'tags': ['parameters']})
        kernel = {'kernelspec': {'name': 'python3', 'display_name': 'python3', 'language': 'python'}}
        nbformat.write(nbformat.v4.new_notebook(cells=[defaults, nbformat.v4.new_code_cell(work)], metadata=kernel), folder / f'{name}.ipynb')
