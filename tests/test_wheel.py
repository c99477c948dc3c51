"The wheel alone: in an empty folder, without a clone, a study is begun, run and reported."
import json
import shlex
import shutil
import subprocess
import tomllib
from configparser import ConfigParser

import pandas as pd
import yaml

from xlt.runs.project import find_params, project_file, root


def test_the_clone_is_not_seen(installed, tmp_path):
    where = installed('-c', 'import xlt; print(xlt.__file__)', folder=tmp_path, command=['python']).stdout
    assert '/installed/venv/' in where, where


def test_a_study_without_a_clone(undisturbed, installed, tmp_path):
    began, ran = undisturbed.said
    assert began.returncode == 0 and 'params/tiny.yaml is yours to edit' in began.stdout, began.stderr
    assert ran.returncode == 0, ran.stdout + ran.stderr
    project = tmp_path / 'moved'
    shutil.copytree(undisturbed.project, project)
    assert {p.name for p in project.iterdir()} <= {'params', 'runs', 'reports', '.snakemake'}
    for name in ('report.html', 'scores.csv', 'summary.json'): assert (project / 'reports/tiny' / name).stat().st_size
    again = installed('run', 'tiny.yaml', folder=project / 'params')
    assert again.returncode == 0 and 'nothing to do' in again.stdout, 'found from inside, too: ' + again.stdout + again.stderr
    said = installed('doctor', folder=project)
    assert 'will run      params/tiny.yaml' in said.stdout and 'in the tested versions' in said.stdout, said.stdout


def test_an_empty_folder_has_the_studies_that_come_along(installed, tmp_path):
    "By name and as the documentation writes them; what is printed can be typed again."
    said = installed('doctor', folder=tmp_path)
    assert 'will run      lab-quick\n' in said.stdout, said.stdout + said.stderr
    said = installed('plan', 'params/lab-quick.yaml', folder=tmp_path)
    trial = shlex.split(said.stdout.splitlines()[-1])
    assert trial[:3] == ['xlt', 'run', 'lab-quick'] and installed('plan', *trial[2:], folder=tmp_path).stdout.startswith('trial-lab-quick: 5 runs')
    assert 'no folder' in installed('replicate', 'e5-tatoeba', folder=tmp_path).stderr, 'the study is found, its data are not'
    assert 'params' not in {p.name for p in tmp_path.iterdir()}, 'looking makes no project'


def test_a_study_is_begun_and_planned(installed, tmp_path):
    assert installed('new', 'my-study', '--from', 'lab-quick', folder=tmp_path).returncode == 0
    said = installed('plan', 'my-study.yaml', folder=tmp_path)
    assert said.returncode == 0 and said.stdout.startswith('my-study: '), said.stderr


def test_an_own_checkpoint_and_own_files_to_a_report(installed, repo, tmp_path, monkeypatch):
    "The folder that the tutorial makes: a checkpoint, files, a study; without a clone and without a network."
    (tmp_path / 'nbs/tutorials').mkdir(parents=True)
    monkeypatch.chdir(tmp_path / 'nbs/tutorials')
    for name in ('XLT_ROOT', 'HF_HUB_OFFLINE'): monkeypatch.setenv(name, '1')  # the tutorial sets them, and they are set back
    made = {}
    for cell in json.loads((repo / 'nbs/tutorials/own_model.ipynb').read_text())['cells']:
        if "main(['plan'" in (text := ''.join(cell['source'])): break
        if cell['cell_type'] == 'code': exec(text, made)
    few = [word for phase in ('intermediate', 'target') for word in ('--set', f'phases.{phase}.train_examples=64')]
    said = installed('run', 'my-model', *few, folder=made['folder'])
    assert said.returncode == 0, said.stdout + said.stderr
    scores = pd.read_csv(made['folder'] / 'reports/my-model/scores.csv')
    assert set(scores.language) == {'en', 'sw', 'ur', 'th', 'de', 'fr', 'ru'} and set(scores.intermediate) == {'none', 'mnli'} and len(scores) == 14
    assert (made['folder'] / 'reports/my-model/report.html').stat().st_size > 50_000
    shutil.rmtree(made['folder'] / 'my-encoder'), shutil.rmtree(made['folder'] / 'files')
    said = installed('status', 'my-model', *few, folder=made['folder'])
    assert said.returncode == 0 and '5 of 5 runs' in said.stdout and 'no folder' in said.stderr, 'without model and data'


def test_analyse_without_a_clone(table_report):
    said = table_report.said
    assert said.returncode == 0 and (table_report.folder / 'report.html').stat().st_size > 50_000, said.stdout + said.stderr


def test_a_profile_comes_with_the_package(installed, tmp_path):
    said = installed('run', 'lab-quick', '--profile', 'nonsense', folder=tmp_path)
    assert said.returncode == 2 and 'choose from default, kubernetes, slurm' in said.stderr


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
