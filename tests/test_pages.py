"A report as a page: short lines, contents, dark mode, one way to write numbers, the answer first, and the explorer's numbers."
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from xlt.common.text import number, p_text, percent
from xlt.languages.measures import language_table, resource
from xlt.reporting.explorer import explorer
from xlt.reporting.pages import first_screen, cell_text, progress_text, short_verdict, html_table, to_html
from xlt.stats.analysis import analyse_scores
from xlt.stats.conclusion import where_line
from xlt.stats.headline import rests_line, without_each
from xlt.stats.scores import check_scores
from xlt.stats.simulation import simulate

REPO = Path(__file__).resolve().parent.parent
TABLE = simulate(slope=1, tasks=2).query('target in ["panx", "udpos", "tatoeba"]').assign(study='my-study')


class Reader(HTMLParser):
    "The words of a page by the tag that they stand in, its links, ids and pictures."
    def __init__(self, page: str):
        super().__init__()
        self.open, self.words, self.links, self.ids, self.images, self.frames = [], {}, [], set(), [], 0
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if tag not in ('img', 'meta', 'link', 'br'): self.open.append(tag)
        if a.get('id'): self.ids.add(a['id'])
        if tag == 'a': self.links.append(a.get('href', ''))
        if tag == 'img': self.images.append(a)
        if tag == 'table': self.frames += 'div' in self.open

    def handle_endtag(self, tag):
        if tag in self.open: del self.open[len(self.open) - 1 - self.open[::-1].index(tag):]

    def handle_data(self, data):
        for tag in set(self.open): self.words.setdefault(tag, []).append(data)

    def said(self, tag='body') -> str: return ' '.join(' '.join(self.words.get(tag, [])).split())


@pytest.fixture(scope='module')
def folder(table_report) -> Path:
    assert table_report.said.returncode == 0, table_report.said.stderr
    return table_report.folder


@pytest.fixture(scope='module')
def page(folder) -> str: return (folder / 'report.html').read_text()


@pytest.fixture(scope='module')
def reader(page) -> Reader: return Reader(page)


@pytest.fixture(scope='module')
def found(folder) -> dict: return json.loads((folder / 'analysis.json').read_text())


def test_the_title_names_the_study(reader):
    assert reader.said('title') == reader.said('h1') == 'Report: my-study'


def test_contents_lead_to_every_section(page, reader):
    heads = re.findall(r'<h2 id="([^"]+)"', page)
    assert len(heads) > 6 and page.index('<nav') < page.index('<h2')
    assert [link for link in reader.links if link.startswith('#')] == [f'#{h}' for h in heads] and set(heads) <= reader.ids


def test_the_answer_comes_first_and_once(page, reader, found):
    estimate = number(found['primary']['estimate'])
    first = page[:page.index('<h2')]
    assert f'<b>{estimate}</b>' in first and first.count('<figure') == 1 and short_verdict(found).rstrip('.')[1:40] in first
    sentence = found['conclusion']['sentence'][:60].replace(' %', '\N{NO-BREAK SPACE}%')
    assert page.count(f'<b>{estimate}</b>') == 1 and reader.said().replace('\N{NO-BREAK SPACE}', ' ').count(found['conclusion']['sentence'][:60]) == 1, sentence


def test_links_lead_to_every_file_of_the_report(folder, reader):
    files = {p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file()} - {'report.html'}
    assert files <= set(reader.links)
    local = {link for link in reader.links if not re.match('[a-z]+:|#', link)}
    assert [link for link in local if not (folder / link).is_file()] == []


def test_nothing_is_shown_that_is_an_object_in_memory(folder, page):
    assert not re.search(r'(?:<|&lt;)IPython|object at 0x', page)
    assert not re.search(r'<IPython|object at 0x', (folder / 'report.ipynb').read_text())


def test_numbers_are_written_in_one_way(page, reader):
    words = reader.said().replace('\N{NO-BREAK SPACE}', ' ')
    assert re.findall(r'\d%', words) == [], 'a space before the percent sign'
    assert re.findall(r'[^\w.–-]-\d', words) == [], 'a true minus'
    assert '\N{NO-BREAK SPACE}%' in page and not re.search(r'\d %', re.sub(r'<style>.*?</style>', '', page, flags=re.S)), 'a percent sign stays with its number'
    for head, digits in (('pairs of tasks', 0), ('points lost', 2), ('language effect', 2), ('95 % from', 2), ('languages', 0)):
        columns = columns_of(page, head)
        assert columns, head
        for values in columns: assert {decimals(v) for v in values if v != '–'} == {digits}, (head, values)
    for heads, rows in tables(page):
        for at, head in enumerate(heads):
            if head in ('p', 'Holm'): continue
            found = {decimals(r[at]) for r in rows if re.fullmatch(r'−?[\d,]+(\.\d+)?', r[at])}
            assert len(found) <= 1, f'{head}: numbers with {found} decimals in one column'


def decimals(text: str) -> int: return len(text.partition('.')[2])


def tables(page: str) -> list[tuple[list[str], list[list[str]]]]:
    "The heads and the rows of every table."
    clean = lambda t: re.sub('<[^>]+>', '', t).replace('\N{NO-BREAK SPACE}', ' ').strip()
    rows = lambda text: [[clean(c) for c in re.findall(r'<t[dh][ >].*?</t[dh]>', row)] for row in re.findall(r'<tr>(.*?)</tr>', text, re.S)]
    return [(found[0], found[1:]) for text in re.findall(r'<table.*?</table>', page, re.S) if (found := rows(text))]


def columns_of(page: str, head: str) -> list[list[str]]:
    "The cells of every table's column of this name."
    return [[r[heads.index(head)] for r in rows] for heads, rows in tables(page) if head in heads]


def test_every_table_has_its_frame_and_every_picture_its_words(page, reader):
    assert page.count('<table') == page.count('class="scroll') == reader.frames > 4
    assert len(reader.images) >= 7 and all(len(i['alt']) > 60 and re.search(r'\d', i['alt']) for i in reader.images)


def test_every_picture_says_what_made_it_and_can_be_dark(folder):
    for path in (folder / 'figures').glob('*.svg'):
        text = path.read_text()
        assert 'my-study · seed' in text and 'prefers-color-scheme: dark' in text, path.name


def test_links_to_the_documentation_lead_to_the_site_from_elsewhere(reader):
    site = re.search(r'doc_host = (\S+)', (REPO / 'settings.ini').read_text())[1] + re.search(r'doc_baseurl = (\S+)', (REPO / 'settings.ini').read_text())[1]
    assert any(link == f'{site}/explanations/validation.html' for link in reader.links)
    assert not [link for link in reader.links if 'nbs/' in link]


def test_links_of_the_study_notebook_lead_to_files_of_the_repository():
    "From the folder of a report, which is as deep as its own."
    cells = nbformat.read(REPO / 'nbs' / 'study' / 'report.ipynb', 4).cells
    links = [link for c in cells if c.cell_type == 'markdown' for link in re.findall(r'\]\(([^)]+)\)', c.source) if not link.startswith('http')]
    away = [link for link in links if link.startswith('..')]
    assert away and [link for link in away if not (REPO / 'reports' / 'x' / link).resolve().is_file()] == []
    assert not any('xlt-study' in c.source for c in cells)


def test_no_line_of_code_writes_percent_or_numbers_its_own_way():
    "What is shown to people goes through `number`, `percent` and `p_text`."
    paths = [*(REPO / 'xlt' / 'stats').glob('*.py'), *(REPO / 'xlt' / 'reporting').glob('*.py'), REPO / 'nbs' / 'study' / 'report.ipynb']
    assert [f'{p.name}: {m}' for p in paths for m in re.findall(r'\{[^{}]*:\.\d%\}', p.read_text())] == []
    assert (number(-1.005, 1), percent(.881), p_text(.04)) == ('−1.0', '88 %', 'p = 0.04')


@pytest.mark.parametrize('value, digits, shown', [(5., 0, '5'), (5, 2, '5'), (-.004, 2, '0.00'), (1234.5, 1, '1,234.5'), (float('nan'), 2, '–'), (.00001, 'p', '< 0.0001'), (True, 2, 'yes'), ('a<b', 2, 'a<b')])
def test_a_value_in_a_table(value, digits, shown):
    assert cell_text(value, digits) == shown
    assert shown.replace('<', '&lt;') in html_table(pd.DataFrame({'x': [value], 'y': [1.]}), 2, x=digits).html


# ---- the first sentence

HALF = dict(intermediates=['mnli'], targets=['panx', 'tatoeba'], seeds=[0])


@pytest.mark.parametrize('done, wanted, seeds, said', [
    (4, 27, [0, 1, 2], 'Only 4 of 27 pairs, baselines counted, are finished: 1 of 2 intermediate tasks (mnli), 2 of 3 target tasks (panx, tatoeba), 1 of 3 seeds. So far, '),
    (3, 27, [0, 1, 2], 'Only 3 of 27 pairs, baselines counted, are finished: 1 of 2 intermediate tasks (mnli), 2 of 3 target tasks (panx, tatoeba), 1 of 3 seeds; among these, one pair is missing. So far, '),
    (9, 9, [0], 'With one seed, '), (9, 9, [0, 1], '')])
def test_what_is_not_finished_is_said_first(done, wanted, seeds, said):
    part = HALF | dict(seeds=[0] if done < wanted else seeds)
    before = progress_text(part, ['mnli', 'qqp'], ['panx', 'tatoeba', 'xnli'], seeds, done, wanted)
    assert before == said.strip()
    full = analyse_scores(check_scores(TABLE), resource())
    assert repr(first_screen(full, before)).startswith(said or short_verdict(full))


@pytest.mark.parametrize('seeds, done, said', [
    ([0], 4, 'Only 1 of 3 seeds is finished, with all 4 pairs of tasks, baselines counted. So far,'),
    ([0, 1], 8, 'Only 2 of 3 seeds are finished, with all 4 pairs of tasks each, baselines counted. So far,'),
    ([0, 1], 7, 'Only 7 of 12 pairs, baselines counted, are finished: 1 of 1 intermediate task, 2 of 2 target tasks, 2 of 3 seeds; among these, one pair is missing. So far,')])
def test_whole_seeds_that_are_missing_are_said_to_be(seeds, done, said):
    assert progress_text(HALF | dict(seeds=seeds), ['mnli'], ['panx', 'tatoeba'], [0, 1, 2], done, 12) == said


def test_made_up_languages_are_said_to_be_made_up():
    full = analyse_scores(check_scores(TABLE), resource())
    assert 'made up' in first_screen(full, made_up=True).html and 'made up' not in first_screen(full).html


def test_an_answer_that_one_target_carries_says_so_before_anything_else():
    "As in the first scores of the real study, where Tatoeba alone made the difference."
    flat = check_scores(simulate(slope=0., seed=3, tasks=1).query('target in ["panx", "udpos", "tatoeba"]'))
    poor = (flat.target == 'tatoeba') & (flat.intermediate == 'none') & flat.language.map(resource()).lt(8)
    full = analyse_scores(moved := flat.assign(score=flat.score + 20. * poor), resource())
    every = without_each(moved, resource())
    shown = first_screen(full, '', rests=rests_line(full['primary'], every))
    without = next(r for r in every if r['target'] == 'tatoeba')
    assert 'That rests on tatoeba' in shown.html and number(without['estimate']) in shown.html.split('</p>')[0]
    assert rests_line(full['primary'], [r for r in every if r['target'] != 'tatoeba']) == ''
    assert where_line(full['by_target']) and where_line(full['by_target']) in shown.text


def test_what_another_set_of_languages_says_names_its_size():
    "Without the target that most languages are tested in, the groups are others: then the numbers of languages are said."
    found = dict(estimate=-1., ci_low=-5., ci_high=3., n_low=26, n_high=26)
    other = dict(target='tatoeba112', estimate=2.2, ci_low=.8, ci_high=3.6, n_low=16, n_high=16)
    assert rests_line(found, [other]) == 'In points, the answer depends on tatoeba112: without it, 2.20 points, 0.80 to 3.60, 16 against 16 languages.'
    assert rests_line(found, [other | dict(n_low=26, n_high=26)]).endswith('0.80 to 3.60.')


@pytest.mark.parametrize('raw, fair, said', [((1, 2), (1, 2), 'lost more'), ((-2, -1), (-2, -1), 'lost less'), ((1, 2), (-1, 2), 'only before'), ((-1, 2), (1, 2), 'only after'),
                                             ((1, 2), (-2, -1), 'changes sides'), ((-1, 2), (-1, 2), 'no clear difference'), ((None, None), (None, None), 'too few')])
def test_the_sentence_is_the_verdict(raw, fair, said):
    ends = lambda pair: dict(zip(('ci_low', 'ci_high'), pair))
    assert said in short_verdict(dict(primary=ends(raw), level_adjusted=ends(fair), equivalence=dict(equivalent=False, margin=1.)))


def test_a_name_with_markup_stays_a_name_in_the_title():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell('# Report')])
    made = to_html(notebook, '<script>alert(1)</script> \\1 & co')
    assert '<script>' not in made and 'Report: &lt;script&gt;alert(1)&lt;/script&gt; \\1 &amp; co</title>' in made


# ---- explorer and report

def datasets(html: str) -> list[list[dict]]:
    "The tables in the page of an explorer."
    spec = json.loads(re.search(r"vegaEmbed\('#chart', (.*), \{mode: 'vega-lite'", html, re.S)[1])
    return list(spec['datasets'].values())


def test_explorer_and_report_give_the_same_number_for_the_same_cell(folder, found, page):
    tables = datasets((folder / 'explorer.html').read_text())
    own = f'{found["primary"]["measure"]}, {found["primary"]["grouping"]}'
    cells = {(r['intermediate'], r['target']): r for t in tables for r in t if r.get('way') == own and 'intermediate' in r}
    assert len(cells) == len(found['cells']) > 1
    for c in found['cells']:
        there = cells[c['intermediate'], c['target']]
        for digits in (1, 2): assert number(there['estimate'], digits) == number(c['estimate'], digits), c
        assert there['mean'] == pytest.approx(c['mean'], abs=1e-5)
    drawn = (folder / 'figures' / 'cells.svg').read_text()
    for c in cells.values(): assert f'>{number(c["estimate"], 1)}' in drawn
    over = next(r for t in tables for r in t if r.get('way') == own and 'n_low' in r)
    for key in ('estimate', 'ci_low', 'ci_high', 'p_value', 'n_low', 'n_high'): assert over[key] == pytest.approx(found['primary'][key], rel=1e-9), key


def test_the_first_way_of_the_explorer_is_the_report_own():
    measure = resource('wiki')
    full = analyse_scores(check_scores(TABLE), measure, 'median')
    tables = datasets(explorer(check_scores(TABLE), measure, language_table()))
    ways = list(dict.fromkeys(r['way'] for t in tables for r in t if 'way' in r))
    over = next(r for t in tables for r in t if r.get('way') == 'wiki, median' and 'n_low' in r)
    assert ways[0].startswith('wiki') and over['estimate'] == pytest.approx(full['primary']['estimate'], rel=1e-9)


# ---- in a browser

LINES = """() => {
  let most = [0, ''];
  for (const e of document.querySelectorAll('p, li, blockquote, h1, h2')) {
    const words = document.createTreeWalker(e, NodeFilter.SHOW_TEXT), rows = {};
    while (words.nextNode()) {
      const node = words.currentNode;
      for (let i = 0; i < node.length; i++) {
        const r = document.createRange(); r.setStart(node, i); r.setEnd(node, i + 1);
        const box = r.getClientRects()[0]; if (!box || !box.width) continue;
        const y = Math.round(box.bottom / 8); rows[y] = (rows[y] || '') + node.data[i];
      }
    }
    for (const row of Object.values(rows)) if (row.trim().length > most[0]) most = [row.trim().length, row];
  }
  return most;
}"""


@pytest.mark.parametrize('width, scheme', [(1280, 'light'), (1280, 'dark'), (400, 'light'), (400, 'dark')])
def test_the_page_on_a_screen(browser, folder, width, scheme):
    context = browser.new_context(viewport={'width': width, 'height': 900}, color_scheme=scheme)
    tab, wrong = context.new_page(), []
    tab.on('console', lambda m: m.type in ('error', 'warning') and wrong.append(m.text))
    tab.on('request', lambda r: r.url.startswith(('file:', 'data:')) or wrong.append(r.url))
    tab.goto((folder / 'report.html').as_uri())
    assert tab.evaluate('document.documentElement.scrollWidth <= window.innerWidth') and wrong == []
    longest, line = tab.evaluate(LINES)
    assert 20 < longest <= 75, line
    paper = [int(v) for v in re.findall(r'\d+', tab.evaluate('getComputedStyle(document.body).backgroundColor'))[:3]]
    assert (sum(paper) < 200) == (scheme == 'dark')
    for name in ('.lead', '.number b') + (('figure img',) if width == 1280 else ()):  # on the first screen
        box = tab.locator(name).first.bounding_box()
        assert box['y'] + box['height'] <= 900, name
    for frame in tab.locator('.scroll').all():
        assert frame.evaluate('e => getComputedStyle(e).borderRightWidth') == '1px'
        box = frame.bounding_box()
        assert box['x'] + box['width'] <= width
    context.close()


def test_pictures_are_dark_on_a_dark_screen(browser, folder):
    "The corner of a picture, as it is drawn."
    from io import BytesIO
    from PIL import Image
    for scheme in ('light', 'dark'):
        context = browser.new_context(viewport={'width': 1280, 'height': 900}, color_scheme=scheme)
        tab = context.new_page()
        tab.goto((folder / 'report.html').as_uri())
        for picture in tab.locator('figure img').all():
            shot = Image.open(BytesIO(picture.screenshot())).convert('L')
            assert (shot.getpixel((2, 2)) < 60) == (scheme == 'dark')
            seen = [level for level, n in enumerate(shot.histogram()) if n > shot.width * shot.height / 2000]
            assert seen[-1] - seen[0] > 100, 'ink differs from paper'
        context.close()


def test_every_name_in_the_report_is_made_in_it():
    "With its runs, too, which only a whole study would otherwise try."
    import ast
    import builtins
    cells = [c.source for c in nbformat.read(REPO / 'nbs' / 'study' / 'report.ipynb', 4).cells if c.cell_type == 'code']
    nodes = list(ast.walk(ast.parse('\n'.join(cells))))
    made = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)} | {n.arg for n in nodes if isinstance(n, ast.arg)}
    made |= {n.name for n in nodes if isinstance(n, ast.FunctionDef)} | {(a.asname or a.name).split('.')[0] for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names}
    assert {n.id for n in nodes if isinstance(n, ast.Name)} - made - set(dir(builtins)) <= {'In'}


def test_a_name_in_the_first_screen_is_not_executed():
    image = '<img src=x onerror=alert(1)>'
    row = dict(n=9, tested=9, shared=2, tasks=2, n_low=2, n_high=3)
    rows = [dict(row, target=image, mean=30., mean_shared=30.), dict(row, target='xnli', mean=1., mean_shared=1.)]
    shown = first_screen(analyse_scores(simulate(slope=2.), resource()) | {'by_target': rows})
    assert image in shown.text and image not in shown.html and '&lt;img' in shown.html
