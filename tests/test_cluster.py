"The same Snakefile on clusters: a real Slurm on this machine, the Kubernetes profile with a stand-in for kubectl, several GPUs with a stand-in for them."
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest
from machine import FILE, XLT, play, states, write_stubs, xlt

from xlt.runs.params import Study
from xlt.runs.graph import runs

SIX = """\
study: six
source: {kind: lab, seed: 1}
encoder: {kind: scratch, layers: 1, hidden: 32, heads: 2, feed_forward: 64, steps: 200, batch_size: 16}
intermediates: [mnli, qqp]
targets: [xnli, udpos]
phases:
  intermediate: {learning_rate: 1e-3, batch_size: 16, epochs: 1, train_examples: 400, dev_examples: 100, max_length: 48}
  target: {learning_rate: 1e-3, batch_size: 16, epochs: 1, train_examples: 400, dev_examples: 100, max_length: 48}
retrieval: {layer: 1}
analysis: {resource: corpus_sentences}
"""

# One pair waits to be cancelled, the first time; one needs 2.5 GB, always, where 2 GB are asked for at first.
TROUBLE = """\
import time
from pathlib import Path
if (intermediate, target) == ('mnli', 'xnli') and not Path('cancelled').exists():
    Path('to-cancel').touch()
    time.sleep(600)
if (intermediate, target) == ('qqp', 'udpos'):
    much = bytearray(2500 * 2 ** 20)
    time.sleep(5)
    del much"""


@pytest.fixture(scope='module')
def slurm(tmp_path_factory, repo):
    "A Slurm of one node; the folder with its logs."
    needs = [c for c in ('slurmctld', 'slurmd', 'munged', 'sbatch') if not shutil.which(c)]
    if os.environ.get('XLT_CLUSTER') != '1':
        pytest.skip('four minutes: XLT_CLUSTER=1 sets up a Slurm on this machine and runs a study on it')
    if needs or os.geteuid():
        pytest.skip(f'needs root and Debian\'s slurm-wlm and munge; missing: {", ".join(needs) or "root"}')
    folder = tmp_path_factory.mktemp('slurm')
    started = subprocess.run([repo / 'tests' / 'slurm.sh', 'start', folder], capture_output=True, text=True)
    if started.returncode:
        pytest.skip(f'Slurm does not start on this machine: {started.stderr[-500:]}')
    yield folder
    subprocess.run([repo / 'tests' / 'slurm.sh', 'stop', folder], check=True)


def queue(form) -> list[str]:
    return subprocess.run(['squeue', '--noheader', '--states=all', '--format', form], capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture
def six(checkout, monkeypatch):
    "A study of six pairs, for the Slurm of this machine."
    monkeypatch.chdir(checkout)
    Path(FILE).write_text(SIX)
    with open('profiles/slurm/config.yaml', 'a') as profile:
        profile.write('slurm-status-command: squeue\n')  # there is no accounting database here


def test_slurm_stopped(six, slurm):
    "Ctrl-C leaves no job behind."
    driver = subprocess.Popen([*XLT, 'run', FILE, '--profile', 'slurm'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 60
    while 'RUNNING' not in queue('%T'):
        assert time.monotonic() < end and driver.poll() is None, driver.communicate()[0]
        time.sleep(1)
    driver.send_signal(signal.SIGINT)
    said = driver.communicate(timeout=90)[0]
    assert driver.returncode == 130 and 'stopped. Run the same command to resume' in said, said
    assert not {'RUNNING', 'PENDING'} & set(queue('%T')) and 'CANCELLED' in queue('%T')


def test_slurm(six, slurm):
    "One job cancelled, one killed for its memory: the study is finished by retries, and its scores are those of an undisturbed one."
    pair = Path('nbs/study/pair.ipynb')
    untroubled = nbformat.read(pair, 4)
    troubled = nbformat.read(pair, 4)
    at = next(i for i, c in enumerate(troubled.cells) if 'begin(study' in c.source)
    troubled.cells.insert(at + 1, nbformat.v4.new_code_cell(TROUBLE))
    nbformat.write(troubled, pair)
    driver = subprocess.Popen([*XLT, 'run', FILE, '--profile', 'slurm'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 300
    while not Path('to-cancel').exists():
        assert time.monotonic() < end and driver.poll() is None, driver.communicate()[0]
        time.sleep(1)
    assert states()['mnli--xnli--s0'] == 'running'
    job = next(line.split()[0] for line in queue('%i %T %k') if 'mnli--xnli--s0' in line and 'RUNNING' in line)
    Path('cancelled').touch()
    subprocess.run(['scancel', job], check=True)
    said = driver.communicate(timeout=600)[0]
    ended = queue('%i %T %k')
    print(said, *ended, sep='\n')
    assert driver.returncode == 0, said + Path('runs/six/logs/snakemake.log').read_text()
    assert set(states().values()) == {'done'}
    assert any(line.startswith(f'{job} CANCELLED ') for line in ended)
    assert sum('qqp--udpos--s0' in line for line in ended) == 2 and sum('mnli--xnli--s0' in line for line in ended) == 2
    memory = (slurm / 'slurmd.log').read_text()
    assert 'exceeded memory limit' in memory or 'Exceeded job memory limit' in memory
    scores = Path('reports/six/scores.csv').read_text()
    assert len({line.split(',')[6] for line in scores.splitlines()}) > 20  # something was learnt, so that there is something to compare
    nbformat.write(untroubled, pair)
    shutil.rmtree('runs'), shutil.rmtree('reports')
    assert xlt('run', FILE).returncode == 0
    assert Path('reports/six/scores.csv').read_text() == scores


KUBECTL = """\
#!{python}
"A stand-in: what kubectl is asked to create is run here, in the background."
import json, os, subprocess, sys
from pathlib import Path
place, args = Path('{folder}'), sys.argv[3:]  # after --namespace NAME
if args[0] == 'create':
    job = json.load(sys.stdin)
    pod = job['spec']['template']['spec']['containers'][0]
    name = job['metadata']['name']
    (place / f'{{name}}.json').write_text(json.dumps(job))
    script = '"$@"; echo $? > ' + str(place / f'{{name}}.rc')
    subprocess.Popen(['sh', '-c', script, 'sh', *pod['command']], cwd=pod['workingDir'], stdout=open(place / f'{{name}}.log', 'w'), stderr=subprocess.STDOUT,
                     start_new_session=True)
    print(f'job.batch/{{name}} created')
elif args[0] == 'get':
    done = place / f'{{args[2]}}.rc'
    print('' if not (place / f'{{args[2]}}.json').exists() else ',' if not done.exists() else '1,' if done.read_text() == '0\\n' else ',1', end='')
"""


@pytest.fixture
def kubectl(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / 'kubectl'
    folder.mkdir()
    (folder / 'kubectl').write_text(KUBECTL.format(python=sys.executable, folder=folder))
    (folder / 'kubectl').chmod(0o755)
    monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
    return folder


def test_kubernetes_scripts(kubectl, repo, tmp_path, monkeypatch):
    "What is asked of the cluster, and what is said of its answers."
    monkeypatch.chdir(tmp_path)
    scripts = repo / 'profiles' / 'kubernetes'
    (tmp_path / 'good.sh').write_text('exit 0\n')
    (tmp_path / 'bad.sh').write_text('exit 3\n')
    for script, gpus, end in (('good.sh', '1', 'success'), ('bad.sh', '0', 'failed')):
        name = subprocess.run([scripts / 'submit', '4', '32000', '1440', gpus, script], capture_output=True, text=True, check=True).stdout.strip()
        job = json.loads((kubectl / f'{name}.json').read_text())
        pod = job['spec']['template']['spec']['containers'][0]
        assert pod['resources']['limits'] == {'cpu': '4', 'memory': '32000M'} | ({'nvidia.com/gpu': '1'} if gpus == '1' else {})
        assert job['spec']['activeDeadlineSeconds'] == 86400 and pod['volumeMounts'][0]['mountPath'] == str(tmp_path)

        def status():
            return subprocess.run([scripts / 'status', name], capture_output=True, text=True, check=True).stdout.strip()
        while status() == 'running':
            time.sleep(.1)
        assert status() == end
    assert subprocess.run([scripts / 'status', 'xlt-none'], capture_output=True, text=True).stdout == 'failed\n'


@pytest.mark.parametrize('profile', ['slurm', 'kubernetes'])
def test_profiles_plan_everything(checkout, monkeypatch, profile):
    monkeypatch.chdir(checkout)
    said = subprocess.run([sys.executable, '-m', 'snakemake', '--config', f'study={FILE}', '--workflow-profile', f'profiles/{profile}', '--dry-run'],
                          capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert re.search(r'^pair +4\npair_first +2$', said.stdout + said.stderr, re.M)
    for script in ('submit', 'status', 'cancel') if profile == 'kubernetes' else ():
        assert Path('profiles/kubernetes', script).stat().st_mode & stat.S_IXUSR, script


@pytest.mark.skipif(os.environ.get('XLT_CLUSTER') != '1', reason='a minute: XLT_CLUSTER=1 runs a study by the Kubernetes profile, with a stand-in for kubectl')
def test_kubernetes_runs_a_study(checkout, kubectl, monkeypatch):
    monkeypatch.chdir(checkout)
    write_stubs(checkout / 'nbs' / 'study')
    said = xlt('run', FILE, '--profile', 'kubernetes')
    assert said.returncode == 0, said.stdout + Path('runs/tiny/logs/snakemake.log').read_text()
    assert set(states().values()) == {'done'} and len(list(kubectl.glob('xlt-*.json'))) == len(runs(Study.read(FILE)))


def test_one_gpu_for_each_pair(checkout, monkeypatch):
    "Two stand-ins for GPUs, more pairs than that: each pair sees one GPU, and no GPU is seen by two at a time."
    monkeypatch.chdir(checkout)
    write_stubs(checkout / 'nbs' / 'study')
    Path(FILE).write_text(SIX.replace('xnli, udpos', 'bucc2018, tatoeba').replace('mnli, qqp', 'mnli') + '\ndevice: gpu\nprecision: fp32\n')
    names = f'stand-in-{os.getpid()}-0,stand-in-{os.getpid()}-1'  # no run of another test has these
    monkeypatch.setenv('XLT_DEVICES', names)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')  # put back afterwards: runs in this process set it
    play('encoder', 'intermediate')
    pair = Path('nbs/study/pair.ipynb')
    notebook = nbformat.read(pair, 4)
    notebook.cells[-1].source = notebook.cells[-1].source.replace('run.finish(', "begun = time.time()\ntime.sleep(2)\nrun.finish(gpu=[os.environ['CUDA_VISIBLE_DEVICES'], begun, time.time()], scores=")
    nbformat.write(notebook, pair)
    env = os.environ | {'STUB_SECONDS': '0'}
    said = subprocess.run([sys.executable, '-m', 'snakemake', '--config', f'study={FILE}', '--set-resources', 'pair:gpu=1', '--cores', '8', '--quiet',
                           '--resources', 'gpu=2', '--until', 'pair'], env=env, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    seen = {}
    for path in Path('runs/six/pair').glob('*/*/result.json'):
        device, begun, ended = json.loads(path.read_text())['gpu']
        seen.setdefault(device, []).append((begun, ended))
    assert set(seen) == set(names.split(',')) and sum(map(len, seen.values())) == 4
    for spans in map(sorted, seen.values()):
        assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:]))
    for lock in Path(tempfile.gettempdir()).glob(f'xlt-*-gpu-stand-in-{os.getpid()}-*.lock'):
        lock.unlink()


def test_runs_of_a_published_encoder_share_a_processor(stubs):
    "One thread each, and as many at a time as there are cores."
    encoder = {'kind': 'pretrained', 'name': 'intfloat/multilingual-e5-small', 'revision': '0' * 40}
    Path(FILE).write_text(SIX.replace('study: six', 'study: tiny\ndevice: cpu').replace('{kind: scratch, layers: 1, hidden: 32, heads: 2, feed_forward: 64, steps: 200, batch_size: 16}', json.dumps(encoder)).replace('mnli, qqp', 'mnli'))
    play('encoder', 'intermediate')
    pair = Path('nbs/study/pair.ipynb')
    notebook = nbformat.read(pair, 4)
    notebook.cells[-1].source = notebook.cells[-1].source.replace('run.finish(', "begun = time.time()\ntime.sleep(2)\nrun.finish(how=[os.environ['OMP_NUM_THREADS'], begun, time.time()], scores=")
    nbformat.write(notebook, pair)
    said = xlt('run', FILE, '--cores', '2')
    assert said.returncode == 0, said.stdout + Path('runs/tiny/logs/snakemake.log').read_text()
    hows = [json.loads(p.read_text())['how'] for p in Path('runs/tiny/pair').glob('*/*/result.json')]
    assert {threads for threads, *_ in hows} == {'1'} and len(hows) == 4
    at_once = [sum(a <= begun < b for _, a, b in hows) for _, begun, _ in hows]
    assert max(at_once) == 2
