"Fixtures for every test: sample files, a project folder of one's own, the smallest studies, and a package installed from its wheel."
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

REPO = Path(__file__).resolve().parent.parent
CHROMIUM = os.environ.get('XLT_CHROMIUM') or shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN: signal.signal(signal.SIGINT, signal.default_int_handler)  # started in the background: what the tests start must hear it

TINY = """\
study: tiny
source: {kind: lab, seed: 1}
encoder: {kind: scratch, steps: 50}
intermediates: [mnli]
targets: [xquad, mlqa, tatoeba]
retrieval: {layer: 1}
analysis: {resource: corpus_sentences}
"""


LONGEST = ('test_standin', 'test_wheel', 'test_pipeline', 'test_study', 'test_docs', 'test_survival', 'test_faults', 'test_surroundings', 'test_notebooks', 'test_api', 'test_cluster')


def pytest_collection_modifyitems(items):
    "The longest files first, so that no core waits for them at the end; before test_faults the one that makes the study it compares with."
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope='session')
def once(tmp_path_factory):
    "A function that makes a folder once for all processes of this test run: `make(folder)` fills it, for whoever asks first."
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base

    def folder(name: str, make) -> Path:
        place, made = shared / name, shared / f'{name}.made'
        with FileLock(f'{place}.lock'):
            if not made.exists():
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir()
                make(place)
                made.touch()
        return place
    return folder


@pytest.fixture(scope='session')
def repo() -> Path:
    "The checkout under test."
    return REPO


@pytest.fixture(scope='session')
def sample() -> Path:
    "XTREME's files: the folder that XLT_FILES names, or shared/xtreme beside the checkout."
    folder = Path(os.environ.get('XLT_FILES') or REPO.parent / 'shared' / 'xtreme')
    if not folder.is_dir():
        pytest.skip(f'no XTREME data at {folder}: name another folder in XLT_FILES')
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    "A project folder of one's own, holding params/tiny.yaml; runs and reports go there."
    (tmp_path / 'settings.ini').write_text('[DEFAULT]\n')
    (tmp_path / 'params').mkdir()
    (tmp_path / 'params' / 'tiny.yaml').write_text(TINY)
    monkeypatch.setenv('XLT_ROOT', str(tmp_path))
    for name in ('XLT_EXPECT_FINGERPRINT', 'XLT_DRIVER', 'XLT_STARTED'):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def checkout(project) -> Path:
    "A project folder that also holds the Snakefile, its profile and the study notebooks."
    shutil.copy(REPO / 'Snakefile', project)
    for folder in ('profiles', 'nbs/study'):
        shutil.copytree(REPO / folder, project / folder, ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    return project


@pytest.fixture(scope='session')
def browser():
    "One browser for whatever is looked at: Playwright runs only once in a process."
    playwright = pytest.importorskip('playwright.sync_api', reason='no playwright: the page is not looked at in a browser')
    if not CHROMIUM: pytest.skip('no Chromium (apt install chromium, or name one in XLT_CHROMIUM): the page is not looked at in a browser')
    with playwright.sync_playwright() as p:
        opened = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield opened
        opened.close()


@pytest.fixture
def stubs(checkout, monkeypatch) -> Path:
    "The same with notebooks that only obey (`machine.py`), and a study of five runs; it is the current folder."
    from machine import FILE, STUB, write_stubs
    monkeypatch.chdir(checkout)
    write_stubs(checkout / 'nbs' / 'study')
    Path(FILE).write_text(STUB)
    return checkout


PACKED = ('xlt', 'nbs/study', 'params', 'profiles', 'Snakefile', 'constraints.txt', 'settings.ini', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE')


def install(place: Path) -> None:
    "Build the wheel and install it into an environment of its own; what it requires is taken from here."
    for name in PACKED:
        (place / 'source' / name).parent.mkdir(parents=True, exist_ok=True)
        if (REPO / name).is_dir(): shutil.copytree(REPO / name, place / 'source' / name, ignore=shutil.ignore_patterns('__pycache__', '.*'))
        else: shutil.copy(REPO / name, place / 'source' / name)
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check']
    subprocess.run([*pip, 'wheel', '-q', '--no-deps', '--no-build-isolation', '--wheel-dir', place / 'wheels', place / 'source'], check=True)
    wheel, = (place / 'wheels').glob('xlt-*.whl')
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', place / 'venv'], check=True)
    python = place / 'venv' / 'bin' / 'python'
    subprocess.run([*pip, '--python', python, 'install', '-q', '--no-deps', '--no-index', wheel], check=True)
    site = Path(subprocess.run([python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'], capture_output=True, text=True, check=True).stdout.strip())
    import numpy
    (site / 'required.pth').write_text(str(Path(numpy.__file__).parent.parent))  # no `.pth` of that folder is read, so the clone is not seen


@pytest.fixture(scope='session')
def installed(once):
    "A function that runs a command of an xlt that was installed from its wheel, in a folder."
    place = once('installed', install)
    env = {k: v for k, v in os.environ.items() if not k.startswith(('XLT_', 'PYTHONPATH'))} | {'JUPYTER_PATH': f'{sys.prefix}/share/jupyter', 'HF_HUB_OFFLINE': '1'}

    def run(*args, folder: Path, command=('xlt',)):
        program, *rest = command
        return subprocess.run([place / 'venv' / 'bin' / program, *rest, *args], cwd=folder, env=env, capture_output=True, text=True, timeout=900)
    return run


@pytest.fixture(scope='session')
def undisturbed(once, installed):
    "The smallest real study (tests/params/tiny.yaml), begun and run in an empty folder by the installed package: its `project`, and what was `said`."
    def study(place: Path):
        (place / 'project').mkdir()
        said = [installed('new', 'tiny', '--from', 'lab-quick', folder=place / 'project')]
        shutil.copy(REPO / 'tests' / 'params' / 'tiny.yaml', place / 'project' / 'params')
        said.append(installed('run', 'tiny.yaml', folder=place / 'project'))
        (place / 'said.json').write_text(json.dumps([{k: v for k, v in vars(s).items() if k != 'args'} for s in said]))
    place = once('undisturbed', study)
    return SimpleNamespace(project=place / 'project', said=[SimpleNamespace(**s) for s in json.loads((place / 'said.json').read_text())])


@pytest.fixture(scope='session')
def table_report(once, installed):
    "The report of the installed package on the table of test_pages: its `folder`, and what was `said`."
    def report(place: Path):
        from test_pages import TABLE
        TABLE.to_csv(place / 'scores.csv', index=False)
        said = installed('analyse', 'scores.csv', '--out', 'report', folder=place)
        (place / 'said.json').write_text(json.dumps({k: v for k, v in vars(said).items() if k != 'args'}))
    place = once('table', report)
    return SimpleNamespace(folder=place / 'report', said=SimpleNamespace(**json.loads((place / 'said.json').read_text())))
