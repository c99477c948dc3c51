"`xlt.analyse`: a frame in, an answer out, as an object, a page and tables; names of any kind stay names."
import ast
import builtins
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import xlt
from xlt.reporting.api import study_notebook, table_notebook
from xlt.cli.main import main
from xlt.stats.degradation import primary, resource_measure
from xlt.common.errors import XltError
from xlt.languages.measures import resource
from xlt.stats.scores import check_scores
from xlt.stats.simulation import simulate

TABLE = simulate(slope=1, tasks=1).query('target in ["panx", "udpos"]')


def test_import_is_cheap_and_the_rest_comes_when_asked_for():
    code = 'import sys, xlt; before = [m for m in sys.modules if m.startswith("xlt.")] + [m for m in ("pandas", "numpy") if m in sys.modules]; print(before, xlt.analyse.__module__, "analyse" in dir(xlt))'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout == '[] xlt.reporting.api True\n'
    with pytest.raises(AttributeError, match='no attribute'): xlt.analyze


def test_the_object_says_what_the_command_says(tmp_path, capsys):
    TABLE.to_csv(path := tmp_path / 'scores.csv', index=False)
    assert main(['analyse', str(path), '--json']) == 0
    found = xlt.analyse(TABLE)
    assert json.loads(capsys.readouterr().out) == json.loads(found.to_json()) == json.loads(xlt.analyse(path).to_json())
    assert found.primary == primary(check_scores(TABLE), resource())
    assert found.conclusion['sentence'] in found.summary() == repr(found) and 'Report' not in found.summary()
    page = found._repr_html_()
    assert f'{found.primary["estimate"]:.3f}' in page and f'{found.level_adjusted["estimate"]:.3f}' in page and '<td>' in page


def test_the_measure_in_any_form(tmp_path):
    values = resource_measure('wiki')
    (tmp_path / 'wikipedia.csv').write_text(values.rename('value').rename_axis('language').to_csv())
    named = xlt.analyse(TABLE, 'wiki').primary
    for form in (values, values.to_dict(), values.rename(index={'sw': 'swh', 'he': 'iw'}), tmp_path / 'wikipedia.csv'):
        assert {k: v for k, v in xlt.analyse(TABLE, form).primary.items() if k != 'measure'} == {k: v for k, v in named.items() if k != 'measure'}


def test_what_is_wrong_with_a_frame_is_named():
    with pytest.raises(XltError, match='the table of scores, line 2: score is outside'): xlt.analyse(TABLE.assign(score=TABLE.score.where(TABLE.index > TABLE.index[0], 900)))
    with pytest.raises(XltError, match='--pivot tlh: no score in that language'): xlt.analyse(TABLE, pivot='tlh')
    assert xlt.analyse(TABLE[TABLE.language != 'en']).notes == ['no score in en, so every language counts; if the training language is among them, name it with --pivot']


def test_the_notebook_of_a_table_needs_nothing_of_a_study():
    "Every name that is used in it is made in it: cells that need a study's runs carry the tag `runs`."
    cells = [c.source for c in table_notebook(nbformat.read(study_notebook('report'), 4)).cells if c.cell_type == 'code']
    nodes = list(ast.walk(ast.parse('\n'.join(cells))))
    made = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)} | {a.arg for a in nodes if isinstance(a, ast.arg)} | {f.name for f in nodes if isinstance(f, ast.FunctionDef)}
    made |= {(a.asname or a.name).split('.')[0] for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names}
    assert {n.id for n in nodes if isinstance(n, ast.Name)} - made - set(dir(builtins)) <= {'display'}


IMAGE, FORMULA, CELL = '<img src=x onerror=alert(1)>', 'a$b$_{[c](d)', '=1+1'
MEASURE = f'*gib* | $g$ `h` {IMAGE}'


@pytest.fixture(scope='module')
def written(tmp_path_factory) -> Path:
    "A report on a table with names that do something where they are not escaped."
    place = tmp_path_factory.mktemp('report')
    names = {'intermediate': {'anli_plus': IMAGE}, 'target': {'panx': CELL}, 'language': {'sw': FORMULA}}
    TABLE.replace(names).assign(study=f'{IMAGE}$x$').to_csv(place / 'scores.csv', index=False)
    resource().rename('value').rename(index=names['language']).rename_axis('language').to_csv(place / f'{MEASURE}.csv')
    xlt.analyse(place / 'scores.csv', place / f'{MEASURE}.csv').report(place / 'out')
    return place / 'out'


def test_a_report_on_a_table(written):
    assert {p.name for p in written.iterdir()} == {'report.html', 'report.ipynb', 'explorer.html', 'analysis.json', 'scores.csv', 'resource.csv', 'by_task.csv', 'language_effects.csv', 'figures'}
    found, page = json.loads((written / 'analysis.json').read_text()), (written / 'report.html').read_text()
    text = re.sub(r'<[^>]+>', '', page)
    sentence = found['conclusion']['sentence'].split(' (')[0]
    assert sentence in text and 'Which tasks' in text and 'no attribute' not in text and 'Traceback' not in text and '<IPython' not in text
    assert page.count('<img alt=') >= 5 and {p.suffix for p in (written / 'figures').iterdir()} == {'.png', '.svg'}
    notebook = json.loads((written / 'report.ipynb').read_text())
    assert not any(o['output_type'] == 'error' for c in notebook['cells'] for o in c.get('outputs', [])) and str(written) not in (written / 'report.ipynb').read_text()


def test_its_tables_hold_the_numbers_of_the_analysis(written):
    found = json.loads((written / 'analysis.json').read_text())
    tasks, effects = (pd.read_csv(written / f'{name}.csv') for name in ('by_task', 'language_effects'))
    assert tasks.query('kind == "target"').estimate.tolist() == pytest.approx([row['estimate'] for row in found['by_target']])
    assert effects.resource.tolist() == [row['resource'] for row in found['per_language']] and len(effects) == found['languages']
    assert "'=1+1" in set(tasks.task) and pd.read_csv(written / 'scores.csv').score.tolist() == pytest.approx(TABLE.score.tolist())


def test_names_stay_names(written):
    from html.parser import HTMLParser
    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.images, self.words, self.script = [], '', False
        def handle_starttag(self, tag, attributes):
            if tag == 'img': self.images.append(dict(attributes))
            self.script = tag in ('script', 'style')
        def handle_endtag(self, tag): self.script = False
        def handle_data(self, data): self.words += data * (not self.script)
    for name in ('report.html', 'explorer.html'):
        reader = Reader()
        reader.feed((written / name).read_text())
        assert [i for i in reader.images if 'onerror' in i or i.get('src') == 'x'] == []
        assert IMAGE in reader.words, f'{name} shows the name'
        if name == 'report.html': assert f'tenfold smaller value of {MEASURE}' in ' '.join(reader.words.split()), 'in sentences, too'
    assert FORMULA in reader.words or FORMULA in (written / 'report.html').read_text()


def test_no_table_is_executed_by_a_spreadsheet(written):
    "And what is written so is read as it was."
    import csv
    cells = [cell for path in written.glob('*.csv') for line in csv.reader(path.read_text().splitlines()) for cell in line]
    assert f"'{CELL}" in cells and [c for c in cells if c[:1] in '=+@' and c or c.startswith('-') and not c[1:2].isdigit()] == []
    assert CELL in set(xlt.analyse(written / 'scores.csv', resource=written / 'resource.csv').scores.target)


def test_a_notebook_that_fails_is_told_in_one_sentence(tmp_path, monkeypatch):
    from xlt.reporting import api
    broken = {'cells': [{'cell_type': 'code', 'metadata': {}, 'source': 'raise ValueError("no such thing")', 'outputs': [], 'execution_count': None}], 'metadata': {}, 'nbformat': 4, 'nbformat_minor': 4}
    (tmp_path / 'nbs' / 'study').mkdir(parents=True)
    (tmp_path / 'settings.ini').write_text('[DEFAULT]\n')
    (tmp_path / 'nbs' / 'study' / 'report.ipynb').write_text(json.dumps(broken))
    monkeypatch.setenv('XLT_ROOT', str(tmp_path))
    monkeypatch.setattr(api, 'write_files', lambda *_: None)
    with pytest.raises(XltError, match='could not be made .ValueError: no such thing.; report-error.txt'): xlt.analyse(TABLE).report(tmp_path / 'out')
    assert not (tmp_path / 'out' / 'report.html').exists() and 'no such thing' in (tmp_path / 'out' / 'report-error.txt').read_text()


# ---- what people hand over

def test_a_table_in_any_python_form():
    from xlt.reporting.api import table_of
    from xlt.stats.scores import open_scores
    key = ['intermediate', 'target', 'language', 'seed', 'score']
    read = lambda form: open_scores(table_of(form)[0])[0][key].sort_values(key).reset_index(drop=True)
    table, want = TABLE.reset_index(drop=True), read(TABLE)
    wide = table.pivot(index=['intermediate', 'target', 'seed', 'metric'], columns='language', values='score')
    for form in (table.to_dict('records'), table.to_dict('list'), table.set_index(key[:4]), table.astype({c: 'category' for c in key[:3]}),
                 table.astype({'language': 'string', 'score': object}), wide, wide.assign(mean=wide.mean(axis=1))):
        pd.testing.assert_frame_equal(read(form), want)
    with pytest.raises(XltError, match='2 levels of columns'): xlt.analyse(table.pivot(index=['intermediate', 'seed'], columns=['target', 'language'], values='score'))
    with pytest.raises(XltError, match='not a int'): xlt.analyse(3)


def test_a_measure_is_checked_in_any_form():
    for wrong, message in (({'sw': 'much', 'de': 1}, 'value is not a number of at least 0 .much'), ({'sw': -1, 'de': 1}, '-1'), ({'sw': 1, 'swh': 2}, 'the same language as an earlier line .sw'), (7, 'resource is a int')):
        with pytest.raises(XltError, match=message): xlt.analyse(TABLE, wrong)


def small(*codes: str) -> pd.DataFrame: return TABLE[TABLE.language.isin([*codes, 'en'])]


DOZEN = 'sw yo jv te ml eu th fr ru de es zh'.split()


def test_one_language_in_a_group_says_what_cannot_be_estimated():
    said = xlt.analyse(small('sw', 'de', 'fr')).conclusion['sentence']
    assert 'among languages of the same level the difference cannot be estimated, for they are too few' in said
    assert 'No interval can be estimated, so nothing can be decided: a group has 1 language, and an interval needs at least three in each' in said
    assert 'a number of points' not in said and '1 against 1 language)' in said
    assert 'only 3 of 4 languages have any CC-100 text' in xlt.analyse(small('sw', 'de', 'fr', 'yo')).summary()


def test_a_treated_table_equal_to_its_baseline_says_so():
    table = small(*DOZEN)
    same = table.assign(score=table.groupby(['target', 'language', 'seed']).score.transform('first'))
    found = xlt.analyse(same)
    assert found.conclusion['sentence'] == 'Undecided: every score is equal to that of the baseline, so nothing was lost or gained.'
    assert 'changed nothing on average' in found.summary() and 'gain of 0.00' not in found.summary()
    assert 'every language lost the same' in xlt.analyse(same.assign(score=same.score.where(same.intermediate == 'none', same.score - 2))).conclusion['sentence']


def test_a_table_without_the_training_language_does_not_name_it_as_left_out():
    table = small(*DOZEN)
    found = xlt.analyse(table[table.language != 'en'])
    assert '12 languages (no score in en)' in found.summary() and '12 languages besides en' in xlt.analyse(table).summary()
    with pytest.raises(XltError, match='--pivot dex .did you mean de..: no score in that language'): xlt.analyse(table, pivot='dex')


def test_a_report_with_a_language_in_another_script(tmp_path):
    from xlt.reporting.api import reopen_report, what_was_read, write_files
    found = xlt.analyse(small(*DOZEN).replace({'language': {'zh': 'zho_Latn'}}))
    write_files(found, tmp_path)
    scores, measure, facts, pivot, analysis = reopen_report(tmp_path)
    assert {'zh_Latn'} == {r['language'] for r in analysis['per_language'] if r['group'] == 'unknown'} and 'zh_Latn' in set(scores.language)
    assert analysis['by_family'] and 'besides the training language en' in what_was_read(scores, measure, analysis)
    assert xlt.analyse(tmp_path / 'scores.csv', tmp_path / 'resource.csv').primary['estimate'] == found.primary['estimate']
