"A card is all that the library knows of a task: no module asks for one by name."
import ast
import importlib
import json
import sys
from pathlib import Path

import pytest

import xlt.tasks
from xlt.common.errors import XltError
from xlt.data.lab_tasks import EXAMPLE_MAKERS
from xlt.data.layout import READERS
from xlt.tasks.cards import INTERMEDIATE, TARGET, TASKS, collect

REPO = Path(__file__).resolve().parent.parent
PUBLISHED = {'paper/published.py'}  # names the columns of other people's tables


@pytest.fixture(scope='module')
def modules() -> dict[str, ast.Module]:
    return {p.relative_to(REPO / 'xlt').as_posix(): ast.parse(p.read_text(encoding='utf-8')) for p in sorted((REPO / 'xlt').rglob('*.py')) if p.name != '_modidx.py'}


def test_no_other_module_names_a_task(modules):
    for name, tree in modules.items():
        if name in PUBLISHED or name.startswith('tasks/'): continue
        named = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and n.value in TASKS}
        assert not named, f'xlt/{name} asks for {", ".join(sorted(named))} by name; make what sets it apart a property of its card'


def test_a_card_names_only_tasks_there_are():
    for t in TASKS.values(): assert {t.train_on, t.tested_by, t.sibling} - {None} <= TASKS.keys()
    for t in TASKS.values():
        assert {f.reader for f in t.files.forms} | ({t.files.both_sides} - {''}) | set((t.files.translated or ())[1:]) <= READERS.keys()
        assert t.sibling is None or TASKS[t.sibling].sibling == t.name


def test_the_site_has_a_section_of_tasks():
    sys.path.insert(0, str(REPO / 'nbs' / '_site'))
    from pages import groups, sources
    assert {n.removeprefix('tasks/') for n in groups(sources())['tasks/index']} == TASKS.keys()


@pytest.mark.parametrize('name', TASKS)
def test_a_task_stands_in_its_own_module_and_notebook(name):
    notebook, = (REPO / 'nbs' / 'tasks').glob(f'[0-9]*_{name}.ipynb')
    cells = json.loads(notebook.read_text(encoding='utf-8'))['cells']
    text = '\n'.join(''.join(c['source']) for c in cells)
    for heading in ('## The hub', '## The card', '## Score', '## In the lab'): assert heading in text, f'{notebook.name} lacks {heading}'
    assert getattr(importlib.import_module(f'xlt.tasks.{name}'), name.upper()) is TASKS[name]


def test_every_card_is_complete():
    for t in TASKS.values():
        assert t.licence and t.citation.startswith('https://'), t.name
        assert (t.choices > 1) == (t.kind == 'multiple_choice') and (t.recipe is None) == (t.kind == 'retrieval')
        assert (t.lab is None) == (t.kind == 'retrieval') and (t.lab is None or t.lab.maker in EXAMPLE_MAKERS)
        assert bool(t.hub.missing) != bool(t.hub.columns) and (t.hub.missing or not t.hub.folder), 'on the hub, or why not'
    assert [t.place for t in INTERMEDIATE.values()] == [t.place for t in TARGET.values()] == list(range(9))
    names = [(toolkit, n) for t in TASKS.values() for toolkit, of in t.elsewhere.items() for n in of]
    assert len(set(names)) == len(names), 'two tasks have the same name in another toolkit'


def test_a_new_card_is_collected_without_a_list(tmp_path, monkeypatch):
    (tmp_path / 'rte.py').write_text("from xlt.tasks.card import intermediate\nRTE = intermediate('rte', 'sentence_pair', 24, 3, ('yes', 'no'))\n")
    (tmp_path / 'notacard.py').write_text('x = 1\n')
    monkeypatch.setattr(xlt.tasks, '__path__', [*xlt.tasks.__path__, str(tmp_path)])
    assert list(collect('intermediate')) == [*INTERMEDIATE, 'rte'] and list(collect('target')) == list(TARGET)


def test_a_card_of_another_name_than_its_module_is_refused(tmp_path, monkeypatch):
    (tmp_path / 'wrong.py').write_text("from xlt.tasks.card import intermediate\nWRONG = intermediate('mnli', 'sentence_pair', 24, 3, ('yes', 'no'))\n")
    monkeypatch.setattr(xlt.tasks, '__path__', [*xlt.tasks.__path__, str(tmp_path)])
    with pytest.raises(XltError, match="wrong.*'mnli'"): collect('intermediate')
