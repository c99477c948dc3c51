"Fixtures for every test: sample files, a project folder of one's own, and the smallest studies."
import os
import shutil
import signal
from pathlib import Path

import pytest

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


def pytest_collection_modifyitems(items):
    "The longest first, so that no core waits for them at the end."
    items.sort(key=lambda item: item.path.stem not in ('test_pipeline', 'test_study', 'test_standin', 'test_survival', 'test_docs', 'test_faults'))


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
