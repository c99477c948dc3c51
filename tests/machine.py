"""For tests of the whole machine: commands to drive it, and study notebooks that do nothing but obey."""
import os
import subprocess
import sys
from pathlib import Path

import nbformat

from xlt.runs.params import Study
from xlt.runs.store import result
from xlt.runs.graph import runs
from xlt.runs.status import study_status

FILE = 'params/tiny.yaml'
STUB = """\
study: tiny
source: {kind: lab, seed: 1}
encoder: {kind: scratch, steps: 50}
intermediates: [mnli]
targets: [tatoeba]
retrieval: {layer: 1}
analysis: {resource: corpus_sentences}
"""
ME = {f'GIT_{who}_{what}': value for who in ('AUTHOR', 'COMMITTER') for what, value in (('NAME', 'Test'), ('EMAIL', 'test@example.org'))}
XLT = [sys.executable, '-c', 'import sys; from xlt.cli.main import main; sys.exit(main())']
STUBS = [*XLT[:2], 'import xlt.runs.kernel_pool; xlt.runs.kernel_pool.IMPORTS = ["ipykernel.kernelapp"]; ' + XLT[2]]  # kernels that only obey need nothing imported


def tuned_model(active) -> list[Path]:
    "The file of a model that other pairs start from, if this pair's model is shared."
    if not any(r.parent == active.run for r in runs(active.study)): return []
    (place := active.folder / 'checkpoint').mkdir(exist_ok=True)
    (place / 'model.safetensors').write_bytes(b'tuned')
    return [place / 'model.safetensors']


def xlt(*args, command=STUBS, **kwargs) -> subprocess.CompletedProcess:
    "Run an xlt command to its end."
    return subprocess.run([*command, *args], capture_output=True, text=True, timeout=600, **kwargs)


def launch(*args, seconds: float = 0) -> subprocess.Popen:
    "Start an xlt command whose pairs take so many seconds."
    return subprocess.Popen([*STUBS, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env=os.environ | {'STUB_SECONDS': str(seconds)})


def git(*args: str) -> str:
    "What git says, in this folder."
    return subprocess.run(['git', *args], check=True, capture_output=True, text=True, env=os.environ | ME).stdout


def states() -> dict[str, str]:
    "How each run stands."
    return {row['run']: row['state'] for row in study_status(Study.read(FILE))}


def written() -> dict[str, int]:
    "When each finished run's result was written, in nanoseconds."
    return {r.name: (r.folder / 'result.json').stat().st_mtime_ns for r in runs(Study.read(FILE)) if result(r)}


PARAMETERS = {'study': "'params/tiny.yaml'", 'intermediate': "'none'", 'target': "'tatoeba'", 'seed': '0'}

ENCODER = """\
import os, time
from xlt.runs.worker import begin
run = begin(study, 'encoder', history=In)
run.finish()"""

INTERMEDIATE = """\
import os, time
from xlt.runs.worker import begin
run = begin(study, 'intermediate', intermediate, seed=seed, history=In)
run.finish()"""

PAIR = """\
import json, os, signal, time, zlib
from pathlib import Path
from xlt.runs.graph import runs
from xlt.runs.worker import begin
from xlt.tasks.cards import TASKS
run = begin(study, 'pair', intermediate, target, seed, history=In)
fault = json.loads(Path('faults.json').read_text()).get(run.run.name) if Path('faults.json').exists() else None
def die(*args): os.kill(os.getpid(), signal.SIGKILL)
with run.timed('training'):
    time.sleep(float(os.environ.get('STUB_SECONDS', 0)))
    if fault == 'training': die()
    if fault == 'memory':
        import psutil, resource
        resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2 ** 30,) * 2)  # as `ulimit -v` does
        bytearray(2 ** 31)
with run.timed('evaluation'):
    if fault == 'evaluation': die()
if fault == 'disk': (run.folder / 'predictions').write_bytes(bytes(2 ** 20))
if fault == 'writing': os.replace = die  # all is written but its name
if fault == 'clock':
    then = time.time() - 86400
    time.time = lambda: then
model = run.folder / 'checkpoint' / 'model.safetensors'
if shared := any(r.parent == run.run for r in runs(run.study)): model.parent.mkdir(exist_ok=True), model.write_bytes(b'tuned')
run.finish([{'language': c, 'metric': TASKS[target].metrics[0], 'n': 10, 'score': zlib.crc32(f'{run.run.name} {c}'.encode()) % 1000 / 10}
            for c in run.study.evaluated(target)], files=[model] * shared)"""

REPORT = """\
import json
from xlt.runs.project import root
from xlt.runs.status import collect_scores
from xlt.common.io import write
from xlt.runs.worker import begin
run = begin(study, 'report', history=In)
scores, metrics, missing = collect_scores(run.study)
folder = root() / 'reports' / run.study.study
write(folder / 'scores.csv', scores.to_csv(index=False))
write(folder / 'summary.json', json.dumps({'headline': [f'line {i}' for i in range(1, 6)]}))
run.finish(files=[folder / 'scores.csv', folder / 'summary.json'])"""

def play(*phases: str) -> None:
    "Do what the notebooks of these phases would do, here and now."
    work = {'encoder': ENCODER, 'intermediate': INTERMEDIATE, 'pair': PAIR, 'report': REPORT}
    for run in runs(Study.read(FILE)):
        given = {'study': FILE, 'intermediate': run.intermediate, 'target': run.target, 'seed': run.seed, 'In': []}
        if run.phase in phases: exec(work[run.phase], given)


NOTEBOOKS = {'encoder': (['study'], ENCODER), 'intermediate': (['study', 'intermediate', 'seed'], INTERMEDIATE),
             'pair': (['study', 'intermediate', 'target', 'seed'], PAIR), 'report': (['study'], REPORT)}


def write_stubs(folder: Path) -> None:
    "Write the four notebooks."
    folder.mkdir(parents=True, exist_ok=True)
    for name, (parameters, work) in NOTEBOOKS.items():
        defaults = nbformat.v4.new_code_cell('\n'.join(f'{p} = {PARAMETERS[p]}' for p in parameters), metadata={'tags': ['parameters']})
        kernel = {'kernelspec': {'name': 'python3', 'display_name': 'python3', 'language': 'python'}}
        nbformat.write(nbformat.v4.new_notebook(cells=[defaults, nbformat.v4.new_code_cell(work)], metadata=kernel), folder / f'{name}.ipynb')
