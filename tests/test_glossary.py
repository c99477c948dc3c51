"The glossary names modules that exist, and the words that it retires are gone from pages, messages and parameter files."
import json
import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
PAGE = REPO / 'nbs' / 'explanations' / 'glossary.ipynb'
CELLS = [''.join(c['source']) for c in json.loads(PAGE.read_text(encoding='utf-8'))['cells']]


def table(head: str) -> list[list[str]]:
    "The rows of the table whose first line begins so."
    lines = next(c for c in CELLS if f'\n{head}' in c).split(f'\n{head}')[1].split('\n')[2:]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines if line.startswith('|')]


TERMS, RETIRED = table('| term'), table('| not used here')


def texts() -> dict[str, str]:
    "What people read: notebooks without outputs, parameter files, the README, the change log, Snakefile and Makefile."
    found = {}
    for path in [*(REPO / 'nbs').rglob('*.ipynb'), *(REPO / 'params').glob('*.yaml')] + [REPO / n for n in ('README.md', 'CHANGELOG.md', 'Snakefile', 'Makefile')]:
        text = path.read_text(encoding='utf-8')
        if path.suffix == '.ipynb': text = '\n'.join(''.join(c['source']) for c in json.loads(text)['cells'])
        if path != PAGE: found[path.relative_to(REPO).as_posix()] = text
    return found


def test_every_term_has_one_line_and_a_module_that_exists():
    assert len(TERMS) > 30 and len({row[0] for row in TERMS}) == len(TERMS)
    for term, meaning, _, link in TERMS:
        module, notebook = re.fullmatch(r'\[`([\w.]+)`\]\(\.\./(.+)\)', link).groups()
        assert meaning and (REPO / 'xlt' / f'{module.replace(".", "/")}.py').is_file() and (REPO / 'nbs' / notebook).is_file(), term
        assert notebook.split('/')[0] == module.split('.')[0] and notebook.endswith(f'_{module.split(".")[1]}.ipynb'), term


@pytest.mark.parametrize('words', [row[0] for row in RETIRED])
def test_a_retired_term_is_used_nowhere(words):
    for word in words.split(', '):
        found = [f'{name}: …{text[max(0, m.start() - 40):m.end() + 20]!r}' for name, text in texts().items()
                 for m in re.finditer(rf'\b{re.escape(word)}\b', text)]
        assert not found, '\n'.join(found)


def test_the_page_is_in_the_navigation():
    assert "'explanations/glossary'" in (REPO / 'nbs' / '_site' / 'pages.py').read_text(encoding='utf-8')
