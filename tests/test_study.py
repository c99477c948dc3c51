"The real notebooks on a real study, as small as it gets; its data speak HTML, which no report may obey."
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from machine import FILE, XLT, written, xlt
from nbconvert import HTMLExporter

from xlt.runs.footprint import checkpoint_size, computed_size
from xlt.runs.params import Study
from xlt.runs.status import restarts

# Every sentence of the lab's text begins with a program, and so does the name of every language.
POISON = """\
from xlt.data import lab, lab_tasks
join, facts = lab_tasks.join, lab.Lab.facts
def poisoned(tokens): return '<script>document.title="xlt-poison"</script> <img src=x onerror=\\'document.title="xlt-poison"\\'> ' + join(tokens)
lab_tasks.join = poisoned
speak = lab.speak_corpus
def clean(*args):  # what the encoder reads is shown nowhere, and there is much of it
    lab_tasks.join = join
    try: return speak(*args)
    finally: lab_tasks.join = poisoned
lab.speak_corpus = clean
def named(self): return facts(self).assign(name=lambda t: '<script>document.title="xlt-poison"</script>' + t['name'])
lab.Lab.facts = named
from xlt.models import checkpoints, training  # and every checkpoint of a training is noted
seal, training.fit.__defaults__, training.pretrain.__defaults__ = checkpoints.seal, (None, 0.), (None, 0.)
def noted(folder):
    with open('sealed.txt', 'a') as f: f.write(f'{folder}\\n')
    seal(folder)
checkpoints.seal = noted"""


class Active(HTMLParser):
    "Collects what a browser would run that speaks of poison."
    def __init__(self):
        super().__init__()
        self.found, self.inside = [], False
    def handle_starttag(self, tag, attrs):
        self.inside = tag == 'script'
        self.found += [f'{tag} {a}' for a in attrs if 'xlt-poison' in str(a[1]) and (a[0].startswith('on') or a[0] in ('src', 'href'))]
    def handle_data(self, data):
        if self.inside and 'xlt-poison' in data: self.found.append(data[:200])
    def handle_endtag(self, tag): self.inside = False


def active(html: str) -> list[str]:
    parser = Active()
    parser.feed(html)
    return parser.found


@pytest.fixture
def title(request):
    "A function that says the title of a page after a browser has opened it; None: there is no browser here."
    try: browser = request.getfixturevalue('browser')
    except pytest.skip.Exception: browser = None

    def opened(path: Path) -> str | None:
        if browser is None: return None
        tab = browser.new_page(offline=True)
        tab.goto(path.resolve().as_uri())
        found = tab.title()
        tab.close()
        return found
    return opened


def test_two_pairs_for_real(checkout, repo, title, monkeypatch):
    "Every file that a reader expects is there; a second run finds nothing to do; what was trained twice is said; no text is obeyed."
    shutil.copy(repo / 'tests' / 'params' / 'tiny.yaml', checkout / FILE)
    monkeypatch.chdir(checkout)
    for path in Path('nbs/study').glob('*.ipynb'):
        notebook = nbformat.read(path, 4)
        at = next((i for i, c in enumerate(notebook.cells) if 'parameters' in c.metadata.get('tags', [])), 0)
        notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(POISON))
        nbformat.write(notebook, path)
    said = xlt('run', FILE, command=XLT)
    assert said.returncode == 0, said.stdout + said.stderr
    assert len(said.stdout.splitlines()[-5:]) == 5
    reports = Path('reports') / Study.read(FILE).study
    for name in ('scores.csv', 'summary.json', 'report.html', 'report.ipynb'):
        assert (reports / name).is_file(), name
    assert list((reports / 'figures').glob('*.png'))
    summary = json.loads((reports / 'summary.json').read_text())
    assert summary['primary'].keys() >= {'estimate', 'ci_low', 'ci_high', 'p_value', 'n_low', 'n_high', 'groups'}
    before, again = written(), xlt('run', FILE, command=XLT)
    assert again.returncode == 0 and written() == before and 'nothing to do' in again.stdout

    sealed = Path('sealed.txt').read_text()  # where training goes on after a fault; when it is done, they are gone
    assert all(f'/{phase}/{name}/' in sealed for phase, name in (('encoder', 'encoder'), ('intermediate', 'mnli--s0'), ('pair', 'mnli--xnli--s0')))
    assert '/training/attempt-1/checkpoint-' in sealed and not list(Path('runs').rglob('training'))
    size, how = checkpoint_size(Study.read(FILE))  # the encoder with its head
    assert how == 'measured' and 1 <= size / computed_size(Study.read(FILE).encoder) < 1.5

    twice = restarts(Study.read(FILE))  # 20 steps of pretraining teach nothing, so some training ends at chance
    assert len(twice) and set(twice.seed) == {0, 10_000} and twice.groupby('run').counts.sum().eq(1).all()
    said = xlt('status', FILE).stdout
    assert all(run in said and run in (reports / 'report.html').read_text() for run in twice.run)

    read = 0
    for path in [*Path('runs').rglob('notebooks/*.ipynb'), *reports.glob('notebooks/*.ipynb')]:
        html, _ = HTMLExporter().from_filename(path)
        read += 'xlt-poison' in html
        assert active(html) == [], path
        Path('opened.html').write_text(html)
        assert title(Path('opened.html')) != 'xlt-poison', path
    assert read
    page = (reports / 'report.html').read_text()
    assert 'No description has been provided' not in page and page.count('<img alt="') > 3, 'pictures for those who do not see'
    assert not re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(?:https?:)?//', page), 'nobody is asked for anything'
    explorer = (reports / 'explorer.html').read_text()  # there the text is inside a script, as a string with its < escaped
    assert active(page) == [] and 'xlt-poison' in explorer and '<script>document.title' not in explorer
    for name in ('report.html', 'explorer.html'): assert title(reports / name) != 'xlt-poison', name

    kept = {name: (reports / name).read_text() for name in ('scores.csv', 'metrics.csv', 'dev.csv', 'paired.csv')}  # and from the pack alone
    assert xlt('pack', FILE).returncode == 0
    shutil.rmtree('runs')
    for name in (*kept, 'report.html'): (reports / name).unlink()
    said = xlt('run', FILE, command=XLT)
    assert said.returncode == 0, said.stdout + said.stderr
    assert {p.parent.parent.name for p in Path('runs').rglob('result.json')} == {'report'}, 'nothing else was run'
    assert {name: (reports / name).read_text() for name in kept} == kept and (reports / 'report.html').is_file()
    if title(reports / 'report.html') is None: pytest.skip('no browser to open the pages with: all else passed')


@pytest.mark.parametrize('html', ['<script>document.title="xlt-poison"</script>', '<img src=x onerror=\'document.title="xlt-poison"\'>',
                                  '<a href="javascript:document.title=xlt-poison">x</a>'])
def test_the_search_finds_what_it_looks_for(html, title, tmp_path):
    assert active(html) and not active(html.replace('<', '&lt;'))
    (tmp_path / 'page.html').write_text(f'<html><head><title>x</title></head><body>{html}</body></html>')
    assert title(tmp_path / 'page.html') in ('x' if 'href' in html else 'xlt-poison', None)
