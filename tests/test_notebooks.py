"The notebooks are the source: the modules are what they export, they are clean, and papermill finds its cell in them."
import ast
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(p for p in (REPO / 'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
STUDY = [p for p in NOTEBOOKS if p.parent.name == 'study']
BIN = Path(sys.executable).parent


def name_of(path: Path) -> str:
    return path.relative_to(REPO / 'nbs').with_suffix('').as_posix()


def cells(path: Path, kind: str = 'code') -> list[dict]:
    return [c for c in json.loads(path.read_text())['cells'] if c['cell_type'] == kind]


def source(cell: dict) -> str:
    return ''.join(cell['source'])


def exported(path: Path) -> list[str]:
    return [source(c) for c in cells(path) if source(c).startswith('#| export')]


@pytest.fixture(scope='module')
def copy(tmp_path_factory) -> Path:
    "The notebooks and what they make, to be exported and cleaned anew."
    folder = tmp_path_factory.mktemp('copy')
    for name in ('settings.ini', 'setup.py', 'pyproject.toml'):
        shutil.copy(REPO / name, folder)
    for name in ('nbs', 'xlt'):
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints'))
    subprocess.run([BIN / 'nbdev_export'], cwd=folder, check=True, capture_output=True)
    subprocess.run([BIN / 'nbdev_clean'], cwd=folder, check=True, capture_output=True)
    return folder


def test_modules_are_what_the_notebooks_export(copy):
    made, kept = ({p.relative_to(folder): p.read_text() for p in (folder / 'xlt').rglob('*.py')} for folder in (copy, REPO))
    assert made.keys() == kept.keys()
    assert [name for name in made if made[name] != kept[name]] == [], 'run `make sync`'


def test_notebooks_are_clean(copy):
    changed = [str(p.relative_to(REPO)) for p in NOTEBOOKS if (copy / p.relative_to(REPO)).read_bytes() != p.read_bytes()]
    assert changed == [], 'run `make sync`'


def test_nbdev_can_process_them(copy, tmp_path):
    """The half of `nbdev_docs` that is not Quarto's, on the first notebook of each folder (the site of test_docs processes all of them):
    what a page defines is found where it is shown. nbdev's own wish to install the project is not granted."""
    (tmp_path / 'pip').write_text('#!/bin/sh\n')
    (tmp_path / 'pip').chmod(0o755)
    few = {min(p for p in NOTEBOOKS if p.parent == folder) for folder in {p.parent for p in NOTEBOOKS}}
    shutil.copytree(copy, tmp_path / 'copy')
    for path in NOTEBOOKS:
        if path not in few: (tmp_path / 'copy' / path.relative_to(REPO)).unlink()
    env = os.environ | {'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'PYTHONPATH': str(copy)}
    done = subprocess.run([BIN / 'nbdev_proc_nbs', '--n_workers', '1'], cwd=tmp_path / 'copy', env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    made = {p.relative_to(tmp_path / 'copy' / '_proc') for p in (tmp_path / 'copy' / '_proc').rglob('*.ipynb')}
    assert made >= {p.relative_to(REPO / 'nbs') for p in few if '_site' not in p.parts} and len(few) > 10


@pytest.mark.parametrize('path', NOTEBOOKS, ids=name_of)
def test_imports_stand_alone(path):
    "As nbdev wants it: it executes cells that import when it makes the documentation."
    for cell in map(source, cells(path)):
        body = ast.parse('\n'.join('' if line.startswith(('%', '!')) else line for line in cell.splitlines())).body
        imports = [node for node in body if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert not imports or len(imports) == len(body), cell


@pytest.mark.parametrize('path', STUDY, ids=lambda p: p.stem)
def test_papermill_finds_its_cell(path, copy):
    for notebook in (path, copy / path.relative_to(REPO)):  # cleaning keeps the tag
        tagged = [c for c in cells(notebook) if 'parameters' in c['metadata'].get('tags', [])]
        assert len(tagged) == 1
        body = ast.parse(source(tagged[0])).body
        assert body and all(isinstance(node, ast.Assign) for node in body), 'the tagged cell holds defaults and nothing else'


@pytest.mark.parametrize('path', [p for p in STUDY if p.stem in ('encoder', 'intermediate', 'pair', 'report')], ids=lambda p: p.stem)
def test_a_study_notebook_shows_its_history(path):
    assert sum('begin(' in source(c) and 'history=In' in source(c) for c in cells(path)) == 1
    assert any('.finish(' in source(c) for c in cells(path))


def test_all_four_study_notebooks_are_there():
    assert {p.stem for p in STUDY} >= {'encoder', 'intermediate', 'pair', 'report'}


@pytest.mark.parametrize('path', NOTEBOOKS, ids=name_of)
def test_a_notebook_opens_with_title_and_subtitle(path):
    first = source(json.loads(path.read_text())['cells'][0])
    assert first.startswith('# ') and '\n> ' in first


def test_exported_cells_are_small():
    lines = sorted(text.count('\n') + 1 for p in NOTEBOOKS for text in exported(p))
    assert lines[len(lines) // 2] <= 12 and lines[int(.9 * len(lines))] <= 25


def test_no_path_or_package_index_of_this_machine(repo):
    listed = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=repo, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip('not a git checkout')
    places = {f'{str(p).rstrip("/")}/' for p in (repo.parent, Path.home())} - {'/', '/tmp/'}  # those are everybody's
    for name in listed.stdout.splitlines():
        path = repo / name
        if path.is_file() and path.suffix in ('.py', '.ipynb', '.yaml', '.ini', '.toml', '.txt', '.md', '.html', '', '.csv', '.json'):
            text = path.read_text(encoding='utf-8', errors='replace')
            assert not [place for place in places if place in text], f'{name} names a path of this machine'
            assert 'index-url' not in text or name == 'tests/test_notebooks.py', f'{name} names a package index'


def test_the_readme_is_the_index():
    readme = (REPO / 'README.md').read_text()
    moved = {'../reports/': 'reports/', '](explanations/': '](nbs/explanations/', '](tutorials/': '](nbs/tutorials/'}  # as `make sync` does
    told = [re.sub('|'.join(map(re.escape, moved)), lambda m: moved[m[0]], source(c)) for c in cells(REPO / 'nbs' / 'index.ipynb', 'markdown')]
    assert [to for to in re.findall(r'\]\(([^):#]+)\)', readme) if not (REPO / to).exists()] == [], 'a link leads nowhere'
    assert [text for text in told if text not in readme] == [], 'run `make sync`'
    several, one = (json.loads((REPO / 'reports' / study / 'summary.json').read_text()) for study in ('lab-seeds', 'lab'))
    assert [line for line in [several['sentence'], *one['headline'][:3]] if line not in readme] == [], 'run `make sync`: the reports say something else'


def outputs(path: Path) -> str:
    found = [o.get('text') or o.get('data', {}).get('text/markdown') or o.get('data', {}).get('text/plain') or [] for c in cells(path) for o in c['outputs']]
    return '\n'.join(''.join(text) for text in found)


@pytest.mark.parametrize('page, study, key', [('tutorials/real_languages', 'e5', 'conclusion'), ('tutorials/laptop', 'lab-quick', 'conclusion'), ('explanations/wide', 'e5-wide', 'conclusion'),
                                              ('explanations/repetition', 'e5', 'repeated'), ('index', 'e5', 'repeated')])
def test_a_page_quotes_the_report_that_is_there(page, study, key):
    said = json.loads((REPO / 'reports' / study / 'summary.json').read_text(encoding='utf-8'))[key]
    assert (said['sentence'] if key == 'conclusion' else said) in outputs(REPO / 'nbs' / f'{page}.ipynb'), 'execute the page again'


def test_the_lab_is_compared_with_as_much_as_there_is():
    rows = list(csv.DictReader((REPO / 'reports' / 'e5' / 'scores.csv').open(encoding='utf-8')))
    cells_of, seeds = len({(r['intermediate'], r['target']) for r in rows}), len({r['seed'] for r in rows})
    text = outputs(REPO / 'nbs' / 'explanations' / 'lab_and_paper.ipynb')
    whole = 'complete' if seeds == 3 else f'every cell, with {seeds} of 3 seeds'
    assert f'**Real languages**: {whole if cells_of == 56 else f"partial, {cells_of} of 56 "}' in text, 'execute the page again'
