"The wheel alone: in an empty folder, without a clone, a study is begun, run and reported."
import os
import shutil
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

from xlt.runs.project import find_params, project_file, root

COPIED = ('xlt', 'nbs/study', 'params', 'profiles', 'Snakefile', 'constraints.txt', 'settings.ini', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE')


@pytest.fixture(scope='module')
def installed(repo, tmp_path_factory):
    "A function that runs a command of an xlt that was installed from its wheel, in an empty folder; what it requires is taken from here."
    place = tmp_path_factory.mktemp('wheel')
    for name in COPIED:
        (place / 'source' / name).parent.mkdir(parents=True, exist_ok=True)
        if (repo / name).is_dir(): shutil.copytree(repo / name, place / 'source' / name, ignore=shutil.ignore_patterns('__pycache__', '.*'))
        else: shutil.copy(repo / name, place / 'source' / name)
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check']
    subprocess.run([*pip, 'wheel', '-q', '--no-deps', '--no-build-isolation', '--wheel-dir', place / 'wheels', place / 'source'], check=True)
    wheel, = (place / 'wheels').glob('xlt-*.whl')
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', place / 'venv'], check=True)
    python = place / 'venv' / 'bin' / 'python'
    subprocess.run([*pip, '--python', python, 'install', '-q', '--no-deps', '--no-index', wheel], check=True)
    site = Path(subprocess.run([python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'], capture_output=True, text=True, check=True).stdout.strip())
    import numpy
    (site / 'required.pth').write_text(str(Path(numpy.__file__).parent.parent))  # no `.pth` of that folder is read, so the clone is not seen
    (place / 'empty').mkdir()
    env = {k: v for k, v in os.environ.items() if not k.startswith(('XLT_', 'PYTHONPATH'))} | {'JUPYTER_PATH': f'{sys.prefix}/share/jupyter', 'HF_HUB_OFFLINE': '1'}

    def run(*args, folder='empty', **more):
        return subprocess.run([place / 'venv/bin/xlt', *args], cwd=place / folder, env=env | more, capture_output=True, text=True, timeout=900)
    where = subprocess.run([python, '-c', 'import xlt; print(xlt.__file__)'], cwd=place / 'empty', env=env, capture_output=True, text=True).stdout.strip()
    assert where.startswith(str(place)), where
    return run, place / 'empty'


def test_a_study_without_a_clone(installed, repo):
    run, empty = installed
    said = run('new', 'my-study', '--from', 'lab-quick')
    assert said.returncode == 0 and 'params/my-study.yaml is yours to edit' in said.stdout, said.stderr
    said = run('plan', 'my-study.yaml')
    assert said.returncode == 0 and said.stdout.startswith('my-study: '), said.stderr
    (empty / 'params' / 'my-study.yaml').write_text((repo / 'tests/params/tiny.yaml').read_text().replace('study: tiny', 'study: my-study'))  # as small as it gets
    said = run('run', 'my-study.yaml')
    assert said.returncode == 0, said.stdout + said.stderr
    assert {p.name for p in empty.iterdir()} <= {'params', 'runs', 'reports', '.snakemake'}
    for name in ('report.html', 'scores.csv', 'summary.json'): assert (empty / 'reports/my-study' / name).stat().st_size
    again = run('run', 'my-study.yaml', folder='empty/params')
    assert again.returncode == 0 and 'nothing to do' in again.stdout, 'found from inside, too: ' + again.stdout + again.stderr
    said = run('doctor')
    assert 'will run      params/my-study.yaml' in said.stdout and 'in the tested versions' in said.stdout, said.stdout


def test_analyse_without_a_clone(installed, tmp_path):
    from test_api import TABLE
    run, empty = installed
    TABLE.to_csv(empty / 'scores.csv', index=False)
    said = run('analyse', 'scores.csv', '--out', 'table')
    assert said.returncode == 0 and (empty / 'table/report.html').stat().st_size > 50_000, said.stdout + said.stderr


def test_a_profile_comes_with_the_package(installed):
    run, _ = installed
    said = run('run', 'lab-quick', '--profile', 'nonsense')
    assert said.returncode == 2 and 'there is default, kubernetes, slurm' in said.stderr


def test_files_of_others_are_not_taken_for_the_projects(tmp_path, monkeypatch):
    "A Snakefile, notebooks and settings of another project in the folder where somebody works with an installed xlt."
    code = tmp_path / 'site-packages' / 'xlt'
    (code / 'project' / 'params').mkdir(parents=True)
    for place in (tmp_path / 'work', code / 'project', code.parent):
        (place / 'nbs' / 'study').mkdir(parents=True)
        for name in ('Snakefile', 'nbs/study/report.ipynb'): (place / name).write_text('')
    (code / 'project' / 'params' / 'lab-quick.yaml').write_text('')
    monkeypatch.delenv('XLT_ROOT', raising=False)
    monkeypatch.setattr('xlt.runs.project.files', lambda name: code)
    monkeypatch.chdir(tmp_path / 'work')
    assert root() == tmp_path / 'work' and project_file('Snakefile') == code / 'project' / 'Snakefile'
    assert project_file('nbs', 'study', 'report.ipynb').is_relative_to(code / 'project') and project_file('nothing') is None
    assert find_params('lab-quick') == code / 'project' / 'params' / 'lab-quick.yaml'
    for name in ('params', 'runs'): (tmp_path / 'work' / name).mkdir()
    monkeypatch.chdir(tmp_path / 'work' / 'params')
    assert root() == tmp_path / 'work', 'above is a folder with studies of one\'s own'


def test_the_commit_is_that_of_the_code(tmp_path, monkeypatch):
    "An installed package has none, even inside a repository of something else."
    from xlt.runs import provenance
    place = tmp_path / 'venv' / 'xlt'
    place.mkdir(parents=True)
    git = ['git', '-C', tmp_path, '-c', 'user.name=a', '-c', 'user.email=a@b']
    for command in (['init', '-q'], ['commit', '-q', '--allow-empty', '-m', 'x']): subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(provenance, 'files', lambda name: place)
    assert provenance.commit() == {'commit': None, 'dirty': None}


def test_pyproject_says_what_settings_say(repo):
    project = tomllib.loads((repo / 'pyproject.toml').read_text())['project']
    parser = ConfigParser(delimiters=['='], interpolation=None)
    parser.read(repo / 'settings.ini', encoding='utf-8')
    cfg = parser['DEFAULT']
    assert (project['name'], project['description'], project['requires-python']) == (cfg['lib_name'], cfg['description'], f'>={cfg["min_python"]}')
    assert project['authors'] == [{'name': cfg['author'], 'email': cfg['author_email']}] and project['keywords'] == cfg['keywords'].split()
    assert project['urls']['Homepage'] == cfg['git_url'] and project['urls']['Documentation'] == cfg['doc_host'] + cfg['doc_baseurl']


def test_the_image_holds_what_its_recipe_names(repo):
    "There is no docker where tests run: what the Dockerfile copies and ignores is looked at. A workflow builds it and runs a study in it."
    steps = yaml.safe_load((repo / '.github/workflows/test.yml').read_text())['jobs']['package']['steps']
    assert any('docker run --rm --network none' in step.get('run', '') for step in steps)
    recipe, ignored = (repo / 'Dockerfile').read_text(), (repo / '.dockerignore').read_text().split()
    assert not set(ignored) & {'xlt', 'nbs', 'params', 'profiles', 'Snakefile', 'constraints.txt', 'settings.ini', 'setup.py', 'pyproject.toml', 'README.md'}
    assert 'COPY constraints.txt' in recipe and 'HF_HUB_OFFLINE=1' in recipe and find_params('lab-quick').is_file()
