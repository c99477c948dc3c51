"The documentation as a site: it builds without a warning, nothing leads nowhere, everything is documented; and a browser reads it."
import ast
import functools
import http.server
import json
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

REPO = Path(__file__).resolve().parent.parent
SHOTS = REPO / 'build' / 'screenshots'


class Reader(HTMLParser):
    "What a page points to, what can be pointed to in it, its pictures and its name."
    def __init__(self, path: Path):
        super().__init__()
        self.links, self.assets, self.ids, self.images, self.titles = [], [], set(), [], 0
        self.heading, self.inside = '', False
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        self.ids |= {a[k] for k in ('id', 'name') if a.get(k)}
        if tag == 'a' and a.get('href'): self.links.append(a['href'])
        if tag in ('script', 'img', 'iframe') and a.get('src'): self.assets.append(a['src'])
        if tag == 'link' and a.get('rel') in ('stylesheet', 'icon', 'preload', 'shortcut icon'): self.assets.append(a['href'])
        if tag == 'img': self.images.append((a.get('src', ''), a.get('alt', '')))
        self.titles += tag == 'h1'
        self.inside = self.inside or tag == 'h1'

    def handle_data(self, data): self.heading += data * self.inside

    def handle_endtag(self, tag): self.inside = self.inside and tag != 'h1'


@pytest.fixture(scope='session')
def site(tmp_path_factory) -> Path:
    "The site, built as `make docs` builds it."
    pytest.importorskip('furo', reason='no furo: the site cannot be built')
    folder = tmp_path_factory.mktemp('site')
    subprocess.run([sys.executable, REPO / 'nbs' / '_site' / 'pages.py', folder / 'pages'], check=True, cwd=folder)
    built = subprocess.run([sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-c', REPO / 'nbs' / '_site', '-d', folder / 'doctrees',
                            folder / 'pages', folder / 'html'], capture_output=True, text=True, cwd=folder)
    assert built.returncode == 0, built.stderr[-3000:]
    return folder / 'html'


@pytest.fixture(scope='session')
def pages(site) -> dict[str, Reader]:
    return {p.relative_to(site).as_posix(): Reader(p) for p in sorted(site.rglob('*.html')) if '_static' not in p.parts}


def local(pages, site):
    "Every link and asset inside the site: page, address, file, anchor."
    for name, page in pages.items():
        for url in [*page.links, *page.assets]:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc: continue
            target = (site / name).parent / unquote(parts.path) if parts.path else site / name
            yield name, url, target.resolve(), unquote(parts.fragment)


def test_nothing_leads_nowhere(site, pages):
    broken = []
    for name, url, target, anchor in local(pages, site):
        target = target / 'index.html' if target.is_dir() else target
        inside = target.relative_to(site.resolve()).as_posix() if target.is_relative_to(site.resolve()) else None
        if not target.is_file(): broken.append((name, url))
        elif anchor and inside in pages and anchor not in pages[inside].ids: broken.append((name, url))
    assert broken == []


def test_nothing_is_fetched_from_elsewhere(pages):
    assert [(name, url) for name, page in pages.items() for url in page.assets if re.match(r'(https?:)?//', url)] == []


def test_links_to_the_repository_lead_to_files(pages):
    settings = (REPO / 'settings.ini').read_text()
    blob = re.search(r'git_url = (\S+)', settings)[1] + '/blob/main/'
    found = {url.removeprefix(blob).split('#')[0] for page in pages.values() for url in page.links if url.startswith(blob)}
    assert found and [path for path in found if not (REPO / path).is_file()] == []


def test_pictures_say_what_they_show(pages):
    images = [(name, alt) for name, page in pages.items() for _, alt in page.images]
    assert len(images) > 10
    assert [(name, alt) for name, alt in images if len(alt) < 20 or alt.endswith(('.png', '.svg'))] == []


def test_every_page_has_one_title_and_stays_light(site, pages):
    assert {name for name, page in pages.items() if page.titles != 1} <= {'search.html'}
    for name in pages:
        files = {t for n, _, t, _ in local({name: pages[name]}, site) if t.suffix in ('.png', '.svg', '.css', '.js')}
        weight = (site / name).stat().st_size + sum(f.stat().st_size for f in files)
        assert weight < 3e6, f'{name}: {weight / 1e6:.1f} MB'


def test_no_two_pages_have_one_name(pages):
    names = {}
    for name, page in pages.items():
        if page.heading: names.setdefault(' '.join(page.heading.removesuffix('¶').split()), []).append(name)
    assert {title: where for title, where in names.items() if len(where) > 1} == {}


def test_links_to_files_of_the_repository_are_relative():
    "Wherever a copy of it stands, a notebook leads to the files beside it; only what is elsewhere has an address."
    settings = dict(re.findall(r'(?m)^(\w+) = (\S+)', (REPO / 'settings.ini').read_text()))
    away = re.compile(re.escape(settings['git_url']) + '/(?:blob|tree)/|' + re.escape(settings['doc_host'] + settings['doc_baseurl']))
    texts = {p: p.read_text() for p in [*(REPO / 'nbs').rglob('*.ipynb'), *REPO.glob('*.md')] if '.ipynb_checkpoints' not in p.parts}
    prose = {p: text if p.suffix == '.md' else '\n'.join(''.join(c['source']) for c in json.loads(text)['cells'] if c['cell_type'] == 'markdown') for p, text in texts.items()}
    assert [p.relative_to(REPO).as_posix() for p, text in prose.items() if away.search(text)] == []


def test_every_exported_name_is_in_the_reference(site, pages):
    missing = []
    for path in sorted((REPO / 'xlt').glob('*/[!_]*.py')):
        body = ast.parse(path.read_text()).body
        names = next((ast.literal_eval(n.value) for n in body if isinstance(n, ast.Assign) and getattr(n.targets[0], 'id', '') == '__all__'), [])
        module = f'{path.parent.name}.{path.stem}'
        missing += [f'xlt.{module}.{n}' for n in names if f'xlt.{module}.{n}' not in pages[f'{path.parent.name}/{path.stem}.html'].ids]
    assert missing == []


def test_an_entry_has_all_its_parts(site):
    text = (site / 'languages' / 'measures.html').read_text()
    entry = text[text.index('id="xlt.languages.measures.groups"'):]
    shown = re.sub(r'<[^>]+>', '', entry[:9000])
    assert 'resource of each language, indexed by code' in shown  # a parameter's comment
    assert 'low and high, each from least to most resource' in shown  # what it returns
    assert 'Raises' in shown and 'grouping … is unknown' in shown
    assert 'Source of groups' in shown and shown.index('Source of groups') < shown.index('assert')  # the example follows
    line = re.search(r'blob/main/xlt/languages/measures.py#L(\d+)-L(\d+)', entry)
    code = (REPO / 'xlt' / 'languages' / 'measures.py').read_text().splitlines()
    assert code[int(line[1]) - 1].startswith('def groups(') and 'return' in code[int(line[2]) - 1]


def test_a_link_to_nothing_stops_the_build(tmp_path):
    sys.path.insert(0, str(REPO / 'nbs' / '_site'))
    from pages import Page, sources
    page = Page('tasks/cards', REPO / 'nbs' / 'tasks' / '90_cards.ipynb', sources(), {'tasks.cards': {'find_task'}}, tmp_path)
    page.module = 'tasks.cards'
    assert page.prose('[a](../languages/00_measures.ipynb) [b](../explanations/validation.ipynb#x) [c](../../params/lab.yaml) [d](https://x.org)').split() == [
        '[a](../languages/measures.ipynb)', '[b](../explanations/validation.ipynb#x)',
        '[c](../files/params-lab.yaml)', '[d](https://x.org)']
    assert page.prose('`find_task`, `nothing`') == '{py:obj}`find_task <xlt.tasks.cards.find_task>`, `nothing`'
    assert page.prose('```\n[x](nowhere.ipynb) `find_task`\n```') == '```\n[x](nowhere.ipynb) `find_task`\n```'
    with pytest.raises(SystemExit, match='90_cards.ipynb: a link leads to 99_nothing.ipynb'):
        page.prose('[a](99_nothing.ipynb)')


# ---- in a browser

@pytest.fixture(scope='session')
def address(site):
    "The site, served on this machine."
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_): pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/'
    server.shutdown()


@pytest.fixture(params=['desktop', 'phone'])
def tab(browser, address, request):
    "A tab that minds errors and requests to elsewhere; the desktop is light, the phone dark."
    width, height, scheme = {'desktop': (1440, 900, 'light'), 'phone': (390, 844, 'dark')}[request.param]
    context = browser.new_context(viewport={'width': width, 'height': height}, color_scheme=scheme)
    page, wrong = context.new_page(), []
    page.on('console', lambda m: m.type in ('error', 'warning') and wrong.append(f'{m.type}: {m.text}'))
    page.on('pageerror', lambda e: wrong.append(f'page error: {e}'))
    page.on('request', lambda r: r.url.startswith((address, 'data:')) or wrong.append(f'request to {r.url}'))
    page.on('response', lambda r: r.status < 400 or wrong.append(f'{r.status} {r.url}'))
    page.kind = request.param
    yield page
    context.close()
    assert wrong == []


def look(tab, url: str, name: str) -> None:
    "Open a page; it fits the width of the screen. A picture of it is kept."
    tab.goto(url, wait_until='networkidle')
    assert tab.evaluate('document.documentElement.scrollWidth <= window.innerWidth'), f'{name} is wider than a {tab.kind}'
    if '#' in url: tab.wait_for_timeout(800)  # it glides there
    SHOTS.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=SHOTS / f'{name}-{tab.kind}.png')


def test_home(tab, address):
    look(tab, address, 'home')
    assert tab.locator('h1').inner_text().startswith('xlt')
    colour = tab.evaluate('getComputedStyle(document.body).backgroundColor')
    assert (sum(map(int, re.findall(r'\d+', colour)[:3])) < 200) == (tab.kind == 'phone'), f'{tab.kind}: {colour}'
    assert tab.evaluate('[...document.images].every(i => i.naturalWidth > 0)')
    if tab.kind == 'phone': tab.locator('.nav-overlay-icon').click()
    tab.get_by_role('link', name='The architecture').first.click()
    assert tab.locator('h1').inner_text().startswith('The architecture')


def test_search(tab, address):
    look(tab, f'{address}search.html?q=permutation', 'search')
    tab.locator('ul.search li a').first.wait_for(timeout=10_000)
    tab.screenshot(path=SHOTS / f'search-{tab.kind}.png')
    found = tab.locator('ul.search li a').all_inner_texts()
    assert any('permutation' in text.lower() for text in found) and len(found) > 3
    tab.locator('ul.search li a').first.click()
    assert tab.locator('h1').count() == 1


@pytest.mark.parametrize('word', ['leakage', 'explorer'])
def test_search_names_pages_before_functions(tab, address, word):
    tab.goto(f'{address}search.html?q={word}', wait_until='networkidle')
    tab.locator('ul.search li a').first.wait_for(timeout=10_000)
    found = tab.locator('ul.search li a').evaluate_all('links => links.map(a => [a.innerText, a.getAttribute("href")])')
    assert word in found[0][0].lower() and '#xlt.' not in found[0][1], found[:3]


def test_code_scrolls_inside_its_box(tab, address):
    "Also where a line is longer than the screen is wide."
    look(tab, f'{address}stats/analysis.html', 'code')
    for source in tab.locator('details > summary').all(): source.evaluate('e => e.parentElement.open = true')
    boxes = tab.locator('article pre').evaluate_all('all => all.map(e => [e.scrollWidth > e.clientWidth + 1, getComputedStyle(e).overflowX, getComputedStyle(e).whiteSpace, e.getBoundingClientRect().right])')
    width = tab.evaluate('window.innerWidth')
    assert boxes and all(not wide or overflow in ('auto', 'scroll') or space == 'pre-wrap' for wide, overflow, space, _ in boxes)
    assert all(right <= width for *_, right in boxes) and tab.evaluate('document.documentElement.scrollWidth <= window.innerWidth')


def test_a_reference_page(tab, address):
    look(tab, f'{address}stats/degradation.html#xlt.stats.degradation.degradations', 'reference')
    assert tab.locator('[id="xlt.stats.degradation.degradations"]').is_visible()
    source = tab.locator('details', has_text='Source of degradations').first
    assert not source.locator('pre').is_visible()
    source.locator('summary').click()
    assert 'def degradations' in source.locator('pre').inner_text()


def test_the_report(tab, address):
    look(tab, f'{address}reports/lab-quick.html', 'report')
    assert tab.locator('h1').inner_text().startswith('Report: lab-quick')
    assert tab.locator('article img').count() >= 5 and tab.evaluate('[...document.images].every(i => i.naturalWidth > 0)')
    assert tab.locator('div.cell_input').count() == 0


def test_the_explorer(tab, address):
    look(tab, f'{address}files/reports-lab-quick-explorer.html', 'explorer')
    tab.locator('#chart svg').wait_for()
    told = '[...document.querySelectorAll("#chart svg [aria-label]")].map(e => e.getAttribute("aria-label")).sort().join("; ")'  # what marks say they show
    drawn, select = lambda: tab.evaluate(told), lambda name: tab.locator(f'select[name={name}]')
    assert tab.locator('#chart svg').evaluate('e => e.getBoundingClientRect().width <= window.innerWidth')
    first = drawn()
    ways = select('way').locator('option').all_inner_texts()
    select('way').focus()
    tab.keyboard.press('ArrowDown')
    assert select('way').input_value() == ways[1] and (second := drawn()) != first
    select('way').select_option(ways[0])
    assert drawn() == first != second
    cells = tab.locator('#chart svg [aria-roledescription="rect mark"]')
    before = select('cell_target').input_value()
    cells.nth(cells.count() - 1).click(force=True)
    assert select('cell_target').input_value() != before and drawn() != first
    tab.locator('#chart svg [aria-roledescription="point"]').last.hover(force=True)
    tab.locator('#vg-tooltip-element').wait_for()
    assert 'family' in tab.locator('#vg-tooltip-element').inner_text()
