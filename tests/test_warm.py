"Kernels that are copies of one process: each is its own, and nothing outlives its owner."
import json
import os
import resource
import signal
import subprocess
import sys

import psutil
import pytest
from xlt.runs.kernel_pool import LIMITS, warm_kernels

CODE = "import json, os, resource, sys, random; print(json.dumps([os.getpid(), os.environ.get('WHO'), os.getcwd(), 'decimal' in sys.modules, " \
       "resource.getrlimit(resource.RLIMIT_NOFILE), random.random(), sys.argv[1:]]), flush=True)"


@pytest.fixture
def warm(tmp_path_factory, monkeypatch):
    "A server whose 'kernels' are plain scripts: what they are given is what a kernel would be given."
    folder = tmp_path_factory.mktemp('w')
    modules = folder / 'modules' / 'ipykernel'
    modules.mkdir(parents=True)
    (modules / '__init__.py').write_text('')
    (modules / 'kernelapp.py').write_text('import os\ndef launch_new_instance(): exec(os.environ["CODE"])\n')
    (modules / 'kernelspec.py').write_text('def get_kernel_dict(): return {"display_name": "p", "language": "python", "metadata": {}}\n')
    (modules.parent / 'ipykernel_launcher.py').write_text('import os\nexec(os.environ["CODE"])\n')
    monkeypatch.setenv('PYTHONPATH', str(modules.parent))
    with warm_kernels(folder / 'k', ('ipykernel.kernelapp', 'decimal')) as env:
        spec = json.loads((folder / 'k' / 'kernels' / 'python3' / 'kernel.json').read_text())
        assert env['JUPYTER_PATH'].split(os.pathsep)[0] == str(folder / 'k')
        yield spec['argv']


def start(argv, code, cwd=None, **kwargs):
    return subprocess.Popen([a.replace('{connection_file}', 'c.json') for a in argv], env=os.environ | {'CODE': code, 'WHO': 'me'}, cwd=cwd,
                            stdout=subprocess.PIPE, text=True, **kwargs)


def lower():
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))


def test_each_kernel_is_its_own(warm, tmp_path):
    first, second = (json.loads(start(warm, CODE, tmp_path, preexec_fn=limit).communicate(timeout=30)[0]) for limit in (None, lower))
    assert first[0] != second[0] and first[5] != second[5]
    assert first[1:4] == ['me', str(tmp_path), True] and second[4] == [200, 300] != first[4]
    assert first[6][:2] == ['-f', 'c.json'] and resource.RLIMIT_AS in LIMITS


@pytest.mark.parametrize('code, status', [('raise SystemExit(3)', 3), ('os.kill(os.getpid(), 9)', 256 - 9), ('pass', 0)])
def test_the_end_is_told(warm, code, status):
    process = start(warm, code)
    process.communicate(timeout=30)
    assert process.returncode == status


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_kernel_does_not_outlive_what_stands_for_it(warm, number):
    process = start(warm, CODE + '\nimport time; time.sleep(60)')
    kernel = psutil.Process(json.loads(process.stdout.readline())[0])
    assert kernel.is_running() and kernel.pid != process.pid
    process.send_signal(number)
    psutil.wait_procs([kernel], timeout=10)
    assert not kernel.is_running()
    process.communicate(timeout=10)


def test_without_a_server_a_kernel_starts_alone(warm):
    argv = [a + '-gone' if a.endswith('/socket') else a for a in warm]
    process = start(argv, CODE)
    said = json.loads(process.communicate(timeout=30)[0])
    assert said[0] == process.pid and said[1] == 'me' and not said[3]


def test_the_server_ends_with_its_owner(tmp_path):
    code = 'import os, sys\nfrom xlt.runs.kernel_pool import warm_kernels\nwith warm_kernels(sys.argv[1], ()): print("up", flush=True); os.read(0, 1)'
    owner = subprocess.Popen([sys.executable, '-c', code, str(tmp_path / 'k')], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    owner.stdout.readline()
    servers = psutil.Process(owner.pid).children()
    owner.kill()
    owner.communicate()
    assert servers and not psutil.wait_procs(servers, timeout=10)[1]
