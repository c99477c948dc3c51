"Tables as people have them: read where that is certain, else refused with the reason and the line."
import io
import sys

import pandas as pd
import pytest
from xlt.cli.main import main
from xlt.stats.degradation import degradations, measure_values, primary, resource_measure, split_groups
from xlt.common.errors import XltError
from xlt.languages.measures import code_hint, is_average, language_code, language_forms, language_table, resource
from xlt.runs.status import SCORE_COLUMNS
from xlt.stats.scores import check_scores, open_scores, read_scores
from xlt.common.tables import read_as_text
from xlt.stats.simulation import simulate

CODES = 'sw yo th vi fr ru de es en'.split()


def rows(*treated: str, targets=('xnli',), seeds=(0,), shift=1.5) -> pd.DataFrame:
    "A table in percent in which every intermediate task costs each language a little more than the one before."
    return pd.DataFrame([('mine', i, t, c, 'accuracy', s, round(60 + 2.25 * k - shift * n - .1 * s + .01 * k * n, 2), 100)
                         for n, i in enumerate(('none', *treated)) for t in targets for s in seeds for k, c in enumerate(CODES)], columns=SCORE_COLUMNS)


def refused(call, *arguments, **named) -> str:
    with pytest.raises(XltError) as e: call(*arguments, **named)
    return str(e.value)


# ---- files

def semicolons(table): return table.to_csv(index=False, sep=';', decimal=',').encode('utf-8-sig')
def windows(table): return table.to_csv(index=False, lineterminator='\r\n').encode('utf-8-sig')
def tabs(table): return table.to_csv(index=False, sep='\t').encode('utf-16')
def big_endian(table): return b'\xfe\xff' + table.to_csv(index=False, sep='\t').encode('utf-16-be')
def unmarked(table): return table.to_csv(index=False).encode('utf-16-le')
def pipes(table): return table.to_csv(index=False, sep='|').encode()
def said(table): return b'sep=;\r\n' + semicolons(table)[3:]
def said_in_quotes(table): return b'"sep=,"\n' + table.to_csv(index=False).encode()
def quoted(table): return table.to_csv(index=False, quoting=1).replace('.', ',').encode()
def capitals(table): return table.rename(columns=str.upper).to_csv(index=False).encode()
def aliases(table): return table.rename(columns={'language': 'Lang', 'target': 'Task', 'n': 'Num examples'}).to_csv(index=False).encode()
def trailing(table): return ''.join(f'{line},,\n' for line in table.to_csv(index=False).splitlines()).encode() + b',,,,,,,,,\n'
def percents(table): return table.assign(score=table.score.astype(str) + ' %').to_csv(index=False).encode()
def parquet(table): return table.to_parquet(index=False)


def workbook(table) -> bytes:
    pytest.importorskip('openpyxl')
    with pd.ExcelWriter(data := io.BytesIO()) as book:
        table.to_excel(book, index=False, sheet_name='scores')
        pd.DataFrame().to_excel(book, index=False, sheet_name='Sheet2')
    return data.getvalue()


@pytest.mark.parametrize('write', [semicolons, windows, tabs, big_endian, unmarked, pipes, said, said_in_quotes, quoted, capitals, aliases, trailing, percents, parquet, workbook])
def test_every_form_holds_the_same_scores(tmp_path, write):
    (path := tmp_path / 'scores.csv').write_bytes(write(rows('mnli')))
    pd.testing.assert_frame_equal(read_scores(path), check_scores(rows('mnli')))


def test_standard_input(monkeypatch, capsys):
    class Stdin: buffer = io.BytesIO(semicolons(rows('mnli').drop(columns='study')))
    monkeypatch.setattr(sys, 'stdin', Stdin)
    assert main(['analyse', '-']) == 0 and '1 intermediate' in capsys.readouterr().out


def test_a_second_sheet_with_something_on_it(tmp_path):
    pytest.importorskip('openpyxl')
    with pd.ExcelWriter(path := tmp_path / 's.xlsx') as book:
        for name in ('first', 'second'): rows('mnli').to_excel(book, index=False, sheet_name=name)
    assert '2 sheets hold something (first, second)' in refused(read_scores, path)


def test_without_openpyxl_the_reason_is_said(tmp_path, monkeypatch):
    (path := tmp_path / 's.xlsx').write_bytes(workbook(rows('mnli')))
    monkeypatch.setitem(sys.modules, 'openpyxl', None)
    assert 'pip install openpyxl' in refused(read_scores, path)


@pytest.mark.parametrize('data, message', [
    (b'', 'the file is empty'), (b' \n', 'the file is empty'), (b'{"results": {}}', 'JSON, not a table; xlt convert'), (b'<html>', 'HTML'), (b'\x1f\x8b\x08', 'a compressed file'),
    (b'\xd0\xcf\x11\xe0\xa1\xb1', 'old Excel format'), (b'PK\x05\x06' + bytes(18), 'a zip archive, not a workbook'), (b'study,score\nmine,\xe9t\xe9\n', 'line 2: byte 0xe9 is not utf-8'),
    (b'a,b\n1,\0\n', 'line 2: a NUL byte'), (b'a,b\n1,2\n1,"2\n', 'line 3: not a CSV table'), (b'score,language\n60,86,de\n', 'line 2: 3 fields, but the header has 2 columns .is there a decimal comma'),
    (b'sep=;\nscore;language\n60;86;de\n', 'line 3: 3 fields, but the header has 2 columns$')])
def test_a_file_that_is_no_table(tmp_path, data, message):
    import re
    (path := tmp_path / 'scores.csv').write_bytes(data)
    found = refused(read_scores, path)
    assert re.search(message, found) and str(path) in found
    assert main(['analyse', str(path)]) == 2


def test_lines_are_those_of_the_file(tmp_path):
    text = rows('mnli').assign(score='60,5').to_csv(index=False, sep=';').splitlines()
    text[3] = text[3].replace('60,5', '605')
    (path := tmp_path / 's.csv').write_text('\n'.join(['sep=;', *text]))
    assert 'line 5: score is outside' in refused(read_scores, path)


# ---- columns

def test_optional_columns(tmp_path):
    rows('mnli').drop(columns=['study', 'seed', 'n', 'metric']).to_csv(path := tmp_path / 'my-study.csv', index=False)
    table = read_scores(path)
    assert set(table.study) == {'my-study'} and set(table.seed) == {0} and table.n.isna().all() and set(table.metric) == {'accuracy'}
    assert main(['analyse', str(path), '--json']) == 0


def test_unknown_n_changes_nothing_in_points():
    known, unknown = rows('mnli'), rows('mnli').drop(columns='n')
    assert primary(check_scores(known), resource())['estimate'] == primary(check_scores(unknown), resource())['estimate']
    some = check_scores(known.astype({'n': object}).assign(n=[100, ''] * 9))
    assert some.n.isna().sum() == 9 and some.n.max() == 100


def test_seeds_without_a_column_are_asked_for():
    assert 'add a column seed' in refused(open_scores, rows('mnli', seeds=(0, 1)).drop(columns='seed'))


def test_a_missing_column_names_what_is_like_it():
    assert "score (did you mean 'scoer'?)" in refused(open_scores, rows('mnli').rename(columns={'score': 'scoer'}))
    assert 'two columns score' in refused(open_scores, rows('mnli').assign(Score=1.))


def wide(table, by='language'):
    other = [c for c in SCORE_COLUMNS if c not in (by, 'score', 'n')]
    return table.pivot(index=other, columns=by, values='score').reset_index()


def test_wide_tables():
    table = rows('mnli', 'qqp', targets=('xnli', 'pawsx'))
    expected = table.assign(n='').sort_values(SCORE_COLUMNS[:6]).reset_index(drop=True)
    for by in ('language', 'intermediate'):
        found, said = open_scores(wide(table, by))
        assert f'one {by} per column' in said[0]
        pd.testing.assert_frame_equal(found.sort_values(SCORE_COLUMNS[:6]).reset_index(drop=True), check_scores(expected).sort_values(SCORE_COLUMNS[:6]).reset_index(drop=True))


def test_a_wide_table_with_gaps_averages_and_strange_columns():
    table = wide(rows('mnli')).assign(avg=65.)
    table.loc[0, 'sw'] = None
    found, said = open_scores(table)
    assert len(found) == 17 and any('avg is a mean' in line for line in said)
    assert 'column epoch is neither a language nor' in refused(open_scores, table.assign(epoch=3))
    assert 'a wide table: one language per column (de, en, es, fr, …), but no column target' in refused(open_scores, table.drop(columns=['target', 'metric']))


def test_the_baseline_under_another_name():
    found, said = open_scores(rows('mnli').replace({'intermediate': {'none': 'Baseline'}}))
    assert 'intermediate Baseline is read as none, the baseline' in said and 'none' in set(found.intermediate)
    assert 'no row is a baseline, the intermediate tasks are mnli, scratch' in refused(open_scores, rows('mnli').replace({'intermediate': {'none': 'scratch'}}))


# ---- languages

@pytest.mark.parametrize('form', ['iso3', 'flores', 'upper', 'bcp', 'name', 'b'])
def test_codes_of_every_form(form):
    three = dict(sw='swh', yo='yor', th='tha', vi='vie', fr='fra', ru='rus', de='deu', es='spa', en='eng')
    forms = dict(iso3=three, flores={c: f'{t}_{dict(th="Thai", ru="Cyrl").get(c, "Latn")}' for c, t in three.items()}, upper={c: c.upper() for c in CODES}, bcp={c: f'{c}-XX' for c in CODES},
                 name=language_table().name.to_dict(), b=dict(fr='fre', de='ger'))[form]
    found, said = open_scores(rows('mnli').replace({'language': forms}))
    pd.testing.assert_frame_equal(found, check_scores(rows('mnli')))
    assert all(f'{forms[c]} = {c}' in ''.join(said) for c in CODES if c in forms)


def test_old_codes_regions_and_names():
    expected = {'iw': 'he', 'in': 'id', 'jw': 'jv', 'ji': 'yi', 'pt-br': 'pt', 'PT_BR': 'pt', 'zh-Hans-CN': 'zh', 'zho_Hant': 'zh', 'cmn': 'zh', 'arb_Arab': 'ar', 'es-419': 'es',
                'zsm': 'ms', 'fil': 'tl', 'Farsi': 'fa', 'amh': 'am', 'quy_Latn': 'qu', 'ben': 'bn', 'Chinese': 'zh'}
    assert {form: language_code(form) for form in expected} == expected
    assert not any(map(language_code, ('de-en', 'mlqa_de_de', 'zh-yue', 'qaa', 'qtz', 'xx', '', 'deu-eng')))
    assert set(language_table().index) <= set(language_forms()) and all(language_code(c) == c for c in language_table().index)


def test_codes_are_joined_where_the_table_mixes_them():
    mixed = rows('mnli')
    mixed.loc[(mixed.intermediate == 'mnli') & (mixed.language == 'de'), 'language'] = 'deu'
    assert len(degradations(open_scores(mixed)[0])) == 8
    twice = pd.concat([rows('mnli'), rows('mnli').query('language == "de"').assign(language='deu')])
    assert 'the same intermediate, target, language and seed' in refused(open_scores, twice)


def test_two_scripts_of_a_language_stay_two():
    table = pd.concat([rows('mnli'), *(rows('mnli').query('language == "de"').assign(language=c) for c in ('zho_Hans', 'zho_Hant'))])
    scores = open_scores(table)[0]
    assert {'zho_Hans', 'zho_Hant'} < set(scores.language)
    assert 'zho_Hans and zho_Hant (they are all zh: keep one of them)' in refused(primary, scores, resource())


@pytest.mark.parametrize('label', ['avg', 'AVG', 'Average', 'mean', 'Mean (w/o en)', 'all', 'macro-avg', 'avg.', 'overall'])
def test_averages_are_left_out(label):
    more = pd.concat([rows('mnli'), rows('mnli').query('language == "de"').assign(language=label)])
    found, said = open_scores(more)
    pd.testing.assert_frame_equal(found, check_scores(rows('mnli')))
    assert f'{label} is a mean over languages, not a language: 2 rows are left out' in said


def test_a_slip_is_named_and_not_sent_to_a_file():
    message = refused(primary, open_scores(rows('mnli').replace({'language': {'ru': 'jp'}}))[0], resource())
    assert 'jp (did you mean ja?)' in message and 'FILE.csv' not in message
    assert 'FILE.csv' in refused(measure_values, ['tlh', 'jp'], resource())
    assert code_hint('Swahilli') == ' (did you mean sw?)' and code_hint('qab') == '' and not is_average('mal')


def test_the_pivot_in_any_form(tmp_path, capsys):
    rows('mnli').to_csv(path := tmp_path / 's.csv', index=False)
    assert main(['analyse', str(path), '--pivot', 'deu_Latn', '--json']) == 0 and '"pivot": "de"' in capsys.readouterr().out


# ---- scales and metrics

def shrink(table, **where):
    chosen = pd.concat([table[k] == v for k, v in where.items()], axis=1).all(axis=1)
    return table.assign(score=table.score.where(~chosen, table.score / 100))


@pytest.mark.parametrize('where, lines', [
    (dict(target='pawsx', intermediate='mnli'), 9), (dict(target='pawsx'), 18), (dict(intermediate='none'), 18), (dict(intermediate='mnli', seed=1), None),
    (dict(intermediate='mnli', target='xnli', language='sw'), 1), (dict(intermediate='none', target='xnli', language='sw'), 1)])
def test_fractions_are_found_wherever_they_hide(tmp_path, where, lines):
    table = rows('mnli', targets=('xnli', 'pawsx'), seeds=(0, 1) if 'seed' in where else (0,))
    message = refused(open_scores, shrink(table, **where))
    first = int(pd.concat([table[k] == v for k, v in where.items()], axis=1).all(axis=1).idxmax()) + 2
    assert 'fraction' in message and f' {first}' in message and (lines is None or lines < 6 or f'and {lines - 5} more' in message)
    shrink(table, **where).to_csv(path := tmp_path / 's.csv', index=False)
    assert main(['analyse', str(path)]) == 2 and main(['analyse', str(path), '--percent']) == 0


def test_low_scores_are_no_fractions():
    low = rows('mnli', targets=('xnli', 'tatoeba'))
    low = low.assign(score=low.score.where(~((low.target == 'tatoeba') & (low.language == 'yo')), [.4, .9] * (len(low) // 2)))
    found, said = open_scores(low)
    assert any('no score of this language and target is above 1' in line for line in said)
    assert open_scores(rows('mnli').assign(score=lambda t: t.score.where(t.language != 'yo', 0.)))[0].score.min() == 0


def test_a_slip_of_the_point_is_named():
    table = rows('mnli')
    table.loc[12, 'score'] = 6.1
    assert open_scores(table)[1] == ['line 14: less than a fifth of the other scores of the same language and target; is it a slip?']


@pytest.mark.parametrize('metric', ['perplexity', 'WER', 'eval_loss', 'word_perplexity,none', 'cross-entropy', 'bits_per_byte', 'RMSE'])
def test_metrics_where_lower_is_better(metric):
    assert f'metric {metric} is better when it is lower' in refused(open_scores, rows('mnli').assign(metric=metric))


def test_versions_of_a_test_never_meet():
    table = rows('mnli', targets=('bucc2018',)).assign(metric='f1', version='mteb BUCC')
    assert len(open_scores(table)[0]) == 18
    mixed = table.assign(version=table.version + table.intermediate.map({'none': '', 'mnli': '.v2'}))
    assert 'two versions of bucc2018 are not compared: mteb BUCC and mteb BUCC.v2' in refused(open_scores, mixed)
    assert len(open_scores(mixed.assign(version=mixed.version.where(mixed.intermediate != 'none', '')))[0]) == 18, 'an unknown version is not another one'


# ---- what is worth a word

def test_equal_runs_are_said_to_be_equal():
    assert open_scores(rows('mnli', shift=0).assign(score=lambda t: t.groupby('language').score.transform('first')))[1] == ['every score with mnli is that of the baseline: is it the same file?']
    two = rows('mnli', 'qqp')
    same = two.assign(score=two.groupby(['language', two.intermediate == 'none']).score.transform('first'))
    assert open_scores(same)[1] == ['every score with mnli is that of qqp: is it the same file?']
    seeds = rows('mnli', seeds=(0, 1))
    seeds = seeds.assign(score=seeds.groupby(['intermediate', 'language']).score.transform('first'))
    assert open_scores(seeds)[1] == [f'every score of {i} is the same with seeds 0 and 1: is it the same file?' for i in ('none', 'mnli')]
    part = rows('mnli', targets=('pawsx', 'xnli'))
    part.loc[(part.target == 'xnli') & (part.intermediate == 'mnli'), 'score'] = part.score[(part.target == 'xnli') & (part.intermediate == 'none')].to_numpy()
    assert open_scores(part)[1] == ['every score of xnli with mnli is that of the baseline: is it the same file?']
    assert open_scores(rows('mnli', 'qqp', seeds=(0, 1)))[1] == [] == open_scores(simulate(slope=1))[1]


def test_unequal_seeds_are_listed():
    table = rows('mnli', 'qqp', seeds=(0, 1, 2))
    assert open_scores(table[(table.intermediate != 'qqp') | (table.seed == 1)])[1] == ['seeds differ between cells: 0, 1, 2 in mnli × xnli, none × xnli; 1 in qqp × xnli']


# ---- resource files

def resource_file(path, text):
    path.write_text(text)
    return resource_measure(str(path))


def test_a_resource_file_is_read_like_a_table(tmp_path):
    plain = resource_file(tmp_path / 'gdp.csv', 'language,value\nsw,1.5\nde,40\n')
    for text in ('Language;Value\nswh;1,5\ndeu;40\n', 'sep=;\nlang;value\nsw_Latn;1,5\nGerman;40\n', 'code\tx\tvalue\n'.replace('code', 'iso') + 'SW\t\t1.5\nDE\t\t40\n'):
        pd.testing.assert_series_equal(resource_file(tmp_path / 'gdp.csv', text), plain)


@pytest.mark.parametrize('text, message', [
    ('language,value\nsw,1\n,2\n', 'line 3: language is empty'), ('language,value\nsw,1\navg,2\n', 'line 3: a mean is not a language'), ('language,value\nsw,1\nswh,2\n', 'line 3: the same language'),
    ('language,value\nsw,inf\n', 'line 2: value is not'), ('language,value\nsw,1,5\n', 'line 2: 3 fields'), ('language,size\nsw,1\n', 'columns language and value; there is language, size')])
def test_a_resource_file_is_checked_like_a_table(tmp_path, text, message):
    assert message in refused(resource_file, tmp_path / 'gdp.csv', text)


def test_groups_by_joshi_are_those_of_the_file_if_it_holds_classes(tmp_path):
    codes = 'amh hau pcm wol swa yor'.split()
    own = resource_file(tmp_path / 'joshi.csv', 'language,value\n' + ''.join(f'{c},{v}\n' for c, v in zip(codes, (2, 2, 0, 4, 2, 5))))
    assert split_groups(list(own.index), own, 'joshi') == (['pcm', 'am', 'ha', 'sw'], ['wo', 'yo'])
    other = pd.concat([own, pd.Series({'hne': 3., 'tlh': 3.})]).rename('bytes') * 1000
    assert 'classes that come with xlt have no value for hne, tlh' in refused(split_groups, list(other.index), other, 'joshi')
    xtreme = pd.Series({c: 1000. * k for k, c in enumerate('sw yo de fr'.split())}, name='bytes')
    assert split_groups(list(xtreme.index), xtreme, 'joshi') == split_groups(list(xtreme.index), resource(), 'joshi'), 'for these there are classes'


# ---- further kinds of table that people have

def read(tmp_path, data, name='scores.csv'):
    (path := tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    table = read_as_text(path)
    return open_scores(table, path.name, 'mine')


def same(found, table=None):
    "The same scores, whatever the order and whether `n` is known."
    key = SCORE_COLUMNS[:6]
    order = lambda t: t[[*key, 'score']].sort_values(key).reset_index(drop=True)
    pd.testing.assert_frame_equal(order(found), order(check_scores(rows('mnli') if table is None else table)))


def titled(csv): return 'Results of our study\n\n' + csv
def commented(csv): return '# made on Monday, by me\n' + csv
def gaps(csv): return csv.replace('\n', '\n\n')
def markdown(csv): return ''.join(f'| {line.replace(",", " | ")} |\n' + ('|---' * 8 + '|\n') * (i == 0) for i, line in enumerate(csv.splitlines()))
def blanks(csv): return csv.replace(',', ' , ')
def apostrophes(csv): return '\n'.join("'" + line.replace(',', "','") + "'" for line in csv.splitlines())
def carriage(csv): return csv.replace('\n', '\r')


@pytest.mark.parametrize('form', [titled, commented, gaps, markdown, blanks, apostrophes, carriage])
def test_text_around_a_table(tmp_path, form):
    same(read(tmp_path, form(rows('mnli').to_csv(index=False)))[0])


@pytest.mark.parametrize('module', ['gzip', 'bz2', 'lzma'])
def test_compressed_tables(tmp_path, module):
    from importlib import import_module
    packed = import_module(module).compress(rows('mnli').to_csv(index=False).encode())
    same(read(tmp_path, packed, 'scores.csv.gz')[0])
    assert 'a compressed file that is damaged' in refused(read, tmp_path, packed[:40], 'scores.csv.gz')


def sheet(table, change=lambda sheet: None, start=1) -> bytes:
    openpyxl = pytest.importorskip('openpyxl')
    book = openpyxl.Workbook()
    for i, row in enumerate([list(table), *table.values.tolist()], start):
        for j, value in enumerate(row, 1): book.active.cell(i, j, value)
    change(book.active)
    book.save(data := io.BytesIO())
    return data.getvalue()


def test_excel_as_people_use_it(tmp_path):
    def percent(s):
        for row in s.iter_rows(min_row=2, min_col=7, max_col=7): row[0].number_format = '0.0%'
    def merge(s):
        for first, last in ((2, 10), (11, 19)): s.merge_cells(start_row=first, end_row=last, start_column=2, end_column=2)
    table = rows('mnli')
    same(read(tmp_path, sheet(table.assign(score=table.score / 100), percent))[0])
    same(read(tmp_path, sheet(table, merge))[0])
    same(read(tmp_path, sheet(table, lambda s: (s.cell(1, 1, 'Results'), s.merge_cells('A1:H1')), start=4))[0])
    assert set(read(tmp_path, sheet(table.assign(n=1234567.)))[0].n) == {1234567}
    def twelfth_of_may(s):
        import datetime
        s['G3'] = datetime.datetime(2026, 5, 12)
    assert 'line 3: score is not a number (2026-05-12 00:00:00: a date, as Excel makes of 12.5)' in refused(read, tmp_path, sheet(table, twelfth_of_may))
    assert 'no sheet has anything on it' in refused(read, tmp_path, sheet(pd.DataFrame()))
    assert 'damaged' in refused(read, tmp_path, sheet(table)[:3000])


@pytest.mark.parametrize('name, what', [('mimetype', 'an OpenDocument file'), ('xl/workbook.bin', 'a binary Excel workbook'), ('scores.csv', 'a zip archive')])
def test_archives_that_are_no_xlsx(tmp_path, name, what):
    import zipfile
    with zipfile.ZipFile(data := io.BytesIO(), 'w') as z: z.writestr(name, 'x')
    assert what in refused(read, tmp_path, data.getvalue())


def test_damaged_and_foreign_files(tmp_path):
    assert 'a Parquet file that cannot be read' in refused(read, tmp_path, rows('mnli').to_parquet(index=False)[:200])
    assert 'no comma, semicolon, tab or | divides the header' in refused(read, tmp_path, rows('mnli').to_csv(index=False, sep=' '))
    assert 'line 20: most fields are empty: a total or a remark' in refused(read, tmp_path, rows('mnli').to_csv(index=False) + 'Source: our paper\n')


def test_columns_by_their_usual_names():
    other = rows('mnli').rename(columns=dict(language='Language Code', target='Dataset', score='Score (%)', intermediate='Intermediate Task', seed='run', n='Num. examples'.replace('.', '')))
    found, said = open_scores(other)
    same(found)
    assert 'column Dataset is read as target' in said
    found, said = open_scores(rows('mnli').drop(columns='metric').rename(columns={'score': 'Accuracy'}))
    same(found)
    assert said == ['column Accuracy is read as score']
    assert 'f1 and EM are two metrics' in refused(open_scores, rows('mnli').drop(columns='metric').rename(columns={'score': 'f1'}).assign(EM=50.))
    assert 'columns task and dataset may both be target' in refused(open_scores, rows('mnli').rename(columns={'target': 'task'}).assign(dataset='xnli'))
    assert "intermediate (is it 'model'? rename it)" in refused(open_scores, rows('mnli').rename(columns={'intermediate': 'model'}))
    named = rows('mnli').rename(columns={'seed': 'trial'}).assign(trial=[f'mnli-{i}' for i in range(18)])
    assert open_scores(named)[1] == ['column trial is not read, though the rows differ in it'], 'a name is no seed'


@pytest.mark.parametrize('by', ['target', 'seed', 'intermediate'])
def test_other_wide_tables_leave_out_their_means(by):
    table = rows('mnli', targets=('xnli', 'pawsx'), seeds=(0, 1))
    broad = wide(table, by).rename(columns=lambda c: f'seed{c}' if by == 'seed' and c in (0, 1) else str(c))
    values = [c for c in broad if c not in SCORE_COLUMNS]
    found, said = open_scores(broad.assign(avg=broad[values].mean(axis=1)))
    same(found, table)
    assert any(line.startswith('avg is a mean over') for line in said)


def test_a_column_of_differences_is_no_training():
    broad = wide(rows('mnli'), 'intermediate')
    same(open_scores(broad.assign(diff=broad.mnli - broad['none']))[0])


def test_a_wide_table_hides_nothing():
    table = wide(rows('mnli'))
    gap = table.rename(columns={'sw': 'swx'}).astype({'swx': object})
    gap.loc[0, 'swx'] = '-'
    assert 'column swx is neither a language (did you mean sw or sv?)' in refused(open_scores, gap), 'a column with a gap is one of numbers, too'
    assert 'de and deu are one language, de' in refused(open_scores, table.assign(deu=table.de))
    assert '2 (diff)' in refused(open_scores, wide(rows('mnli'), 'intermediate').assign(qqp=-3.)).replace('(qqp)', '(diff)'), 'the column is named with the line'


@pytest.mark.parametrize('column, label', [('target', 'avg'), ('target', 'Overall'), ('target', 'Mean of tasks'), ('intermediate', 'average'), ('seed', 'mean'), ('seed', 'std'), ('language', 'median'), ('language', 'Ø')])
def test_a_summary_is_not_counted_beside_what_it_summarises(column, label):
    table = rows('mnli', 'qqp', targets=('xnli', 'pawsx'), seeds=(0, 1))
    more = table[table.intermediate != 'none'] if column == 'intermediate' else table
    key = [c for c in SCORE_COLUMNS[:6] if c != column]
    more = more.groupby(key, as_index=False).score.mean().assign(**{column: label})
    found, said = open_scores(pd.concat([table, more])[SCORE_COLUMNS])
    same(found, table)
    assert any(line.startswith(f'{label} is a ') and line.endswith(f'{len(more)} rows are left out') for line in said)


def test_a_training_on_all_tasks_is_no_summary():
    assert set(open_scores(rows('all', 'mnli'))[0].intermediate) == {'none', 'all', 'mnli'}
    assert set(open_scores(rows('mnli').replace({'target': {'xnli': 'all-nli'}}))[0].target) == {'all-nli'}


# ---- names

@pytest.mark.parametrize('name', ['Base', 'NONE', '-', 'no', 'w/o', 'without', 'None (baseline)', 'no intermediate task', 'base model', 'no-intermediate', ' none '])
def test_names_of_the_baseline(name): same(open_scores(rows('mnli').replace({'intermediate': {'none': name}}))[0])


@pytest.mark.parametrize('name', ['direct', 'scratch', '0', 'baseball', 'no-mnli', 'xlmr-base'])
def test_what_may_not_be_the_baseline_is_not_taken_for_it(name):
    assert f'no row is a baseline, the intermediate tasks are {", ".join(sorted(["mnli", name]))}' in refused(open_scores, rows('mnli').replace({'intermediate': {'none': name}}))


def test_a_misspelt_baseline():
    assert '(is basline the baseline? call it none)' in refused(open_scores, rows('mnli').replace({'intermediate': {'none': 'basline'}}))
    assert 'intermediate basline is taken as an intermediate task (did you mean none, the baseline?)' in open_scores(rows('mnli', 'basline'))[1]
    assert 'two baselines, none and baseline' in refused(open_scores, rows('mnli', 'baseline'))
    table = rows('mnli', targets=('xnli', 'pawsx'))
    same(open_scores(table.assign(intermediate=table.intermediate.mask((table.target == 'pawsx') & (table.intermediate == 'none'), 'Baseline')))[0], table)


@pytest.mark.parametrize('label, name', [('XNLI', 'xnli'), ('Tatoeba', 'tatoeba'), ('PAN-X', 'panx'), ('UD-POS', 'udpos'), ('TyDiQA-GoldP', 'tydiqa'), ('TyDi QA', 'tydiqa'), ('MLQA', 'mlqa'), ('PAWS-X', 'pawsx'), ('BUCC', 'bucc2018'), ('WikiANN', 'panx')])
def test_targets_in_any_form(label, name):
    found, said = open_scores(rows('mnli').drop(columns='metric').assign(target=label))
    assert set(found.target) == {name} and f'targets: {label} = {name}' in said


@pytest.mark.parametrize('empty', [None, '', float('nan'), ' '])
def test_an_empty_baseline(empty):
    "As pandas reads `None`; but the blanks below a name in a spreadsheet mean that name, and are refused."
    table = rows('mnli', 'qqp').astype({'intermediate': object})
    found, said = open_scores(table.assign(intermediate=table.intermediate.where(table.intermediate != 'none', empty)))
    same(found, rows('mnli', 'qqp'))
    assert 'an empty intermediate is read as none, the baseline' in said
    assert 'intermediate is empty' in refused(open_scores, table.assign(intermediate=table.intermediate.where(~table.intermediate.duplicated(), empty)))
    below = table.replace({'intermediate': {'none': 'Basis'}})
    assert 'intermediate is empty' in refused(open_scores, below.assign(intermediate=below.intermediate.where(~below.intermediate.duplicated(), empty)))
    assert 'intermediate is empty' in refused(open_scores, table.assign(intermediate=table.intermediate.where(table.intermediate != 'mnli', empty)))


def test_a_baseline_in_a_column_beside_the_score():
    table = rows('mnli').query('intermediate == "mnli"')
    for name in ('baseline', 'Baseline score', 'none'): assert f'in a column of their own, {name}' in refused(open_scores, table.assign(**{name: 60.}))


def test_targets_that_are_nearly_one():
    assert "target xnlii is taken as a task of your own (did you mean 'xnli'?)" in open_scores(rows('mnli', targets=('xnli', 'xnlii')))[1]
    assert open_scores(rows('mnli', targets=('xnli', 'my-task')))[1] == [] and set(open_scores(rows('mnli').assign(target='BUCC.v2'))[0].target) == {'BUCC.v2'}
    apart = rows('mnli')
    apart = apart.assign(target=apart.target.mask(apart.intermediate == 'mnli', 'xnlii'))
    assert "as for xnlii sw (did you mean 'xnli'?)" in refused(open_scores, apart)
    assert "tatoba (did you mean 'tatoeba'?) is not" in refused(open_scores, rows('mnli').drop(columns='metric').assign(target='tatoba'))


def test_names_that_differ_in_capitals_are_one():
    table = rows('mnli', targets=('xnli', 'my_task'))
    change = (table.intermediate == 'mnli') & (table.target == 'my_task')
    found, said = open_scores(table.assign(intermediate=table.intermediate.mask(change, 'MNLI'), target=table.target.mask(change, 'My-Task'), metric=table.metric.mask(change, 'Acc (%)')))
    same(found, table)
    assert {'intermediate MNLI is read as mnli', 'target My-Task is read as my_task'} < set(said)
    both = pd.concat([table, table[table.intermediate == 'mnli'].assign(intermediate='MNLI', score=50.)])
    assert {'mnli', 'MNLI'} < set(open_scores(both)[0].intermediate), 'unless both have the same scores to tell'
    assert 'xnli has EM and F1' in refused(open_scores, pd.concat([rows('mnli').assign(metric='EM'), rows('mnli').assign(metric='F1')]))


def test_languages_in_their_own_words():
    expected = {'Deutsch': 'de', 'Español': 'es', 'Espanol': 'es', 'français': 'fr', 'Kiswahili': 'sw', 'русский': 'ru', '中文': 'zh', 'العربية': 'ar', 'Yorùbá': 'yo', 'Bahasa Indonesia': 'id', 'Tiếng Việt': 'vi',
                'Swahili (sw)': 'sw', 'sw (Swahili)': 'sw', 'de: German': 'de', 'Chinese (Simplified)': 'zh', 'Simplified Chinese': 'zh', 'Brazilian Portuguese': 'pt', 'zh_CN.UTF-8': 'zh', 'zh-cmn-Hans': 'zh', 'Punjabi': 'pa',
                'Latvian': 'lv', 'zho_Hans_CN': 'zh', 'jpn_Jpan': 'ja', 'kor_Hang': 'ko', 'urd_Arab': 'ur', 'mya_Mymr': 'my'}
    assert {form: language_code(form) for form in expected} == expected
    assert not any(map(language_code, ('Swahili (de)', 'de_test', 'deu_news', 'de - fr')))


@pytest.mark.parametrize('label, code', [('zho_Latn', 'zh'), ('ara_Latn', 'ar'), ('heb_Latn', 'he'), ('rus-Latn', 'ru'), ('deu_Cyrl', 'de')])
def test_another_script_is_another_language_whichever_it_is(label, code):
    "Romanised Arabic has an entry and romanised Chinese has none; of neither is known how much text there was."
    codes = ['sw', 'yo', 'th', 'vi', 'fr', 'es', 'id', 'en', code]
    table = rows('mnli').replace({'language': dict(zip(CODES, codes))})
    found, said = open_scores(table.replace({'language': {code: label}}), measure=resource(every=True))
    script = f'{code}_{label[-4:]}'
    assert script in set(found.language) and any('in a script in which it is not usually written' in line for line in said)
    answer = primary(found, resource(every=True))
    assert f'{script} left out, for which no value of cc100_gib is known' in answer['note'] and script not in sum(answer['groups'].values(), [])
    assert answer['estimate'] == primary(check_scores(table[table.language != code]), resource(every=True))['estimate']


def test_two_forms_of_one_language_are_named_together():
    table = rows('mnli')
    both = pd.concat([table, table[table.language == 'de'].assign(language='de_AT')])
    said = refused(open_scores, both, measure=resource(every=True))
    assert 'lines 20, 21: ' in said and 'de and de_AT (they are all de: keep one of them)' in said


@pytest.mark.parametrize('label, words', [('swx', 'swx (did you mean sw or sv?)'), ('dex', 'dex (did you mean de?)'), ('jap', 'jap (did you mean ja?)'), ('cn', 'cn (did you mean zh?)'), ('en-sw', 'en-sw (did you mean sw?)'), ('Swahilli', 'Swahilli (did you mean sw?)'), ('xx', 'xx; give a FILE.csv')])
def test_a_code_that_does_not_exist_is_named_with_its_lines(tmp_path, capsys, label, words):
    rows('mnli').replace({'language': {'sw': label}}).to_csv(path := tmp_path / 'scores.csv', index=False)
    assert main(['analyse', str(path), '--out', str(tmp_path / 'out')]) == 2 and not (tmp_path / 'out').exists()
    assert f"{path}, lines 2, 11: resource measure 'cc100_gib' has no value for {words}" in capsys.readouterr().err


# ---- numbers

def test_numbers_as_they_are_written():
    table = rows('mnli')
    assert set(open_scores(table.assign(n='5,010'))[0].n) == {5010} == set(open_scores(table.assign(n='5.010', score=table.score.astype(str).str.replace('.', ',')))[0].n)
    same(open_scores(rows('mnli', seeds=(0, 1)).assign(seed=lambda t: 'seed_' + t.seed.astype(str)))[0], rows('mnli', seeds=(0, 1)))
    for value, words in {'n/a': 'there is no score: leave the line out', '61,5': 'other scores have a decimal point', '61.5 ± 0.3': '(61.5 ± 0.3)', '1,061.5': '(1,061.5)'}.items():
        message = refused(open_scores, table.astype({'score': object}).assign(score=[value, *table.score[1:]]))
        assert 'line 2: score is not a number' in message and words in message
    assert 'score is outside 0 to 100 (-60; scores are percent)' in refused(open_scores, table.astype({'score': object}).assign(score=['−60', *table.score[1:]]))
    assert 'mnli xnli en has' in refused(open_scores, pd.concat([table, table[-1:].assign(score=12.)])) and '12' in refused(open_scores, pd.concat([table, table[-1:].assign(score=12.)]))


@pytest.mark.parametrize('metric', ['evalLoss', 'WordErrorRate', 'log loss', 'KL divergence', 'edit distance', 'median rank', 'negative log-likelihood', 'MAPE', 'bits per character', 'TER'])
def test_more_metrics_where_lower_is_better(metric): assert 'is better when it is lower' in refused(open_scores, rows('mnli').assign(metric=metric))


@pytest.mark.parametrize('metric', ['1-WER', '100 - CER', '1 − error rate', 'gloss accuracy', 'accuracy per token', 'F1', 'rank correlation', 'MRR', 'chrF++'])
def test_metrics_where_higher_is_better(metric): assert len(open_scores(rows('mnli').assign(metric=metric))[0]) == 18


def test_a_language_in_fractions_throughout():
    "Guessing alone scores a third in XNLI; elsewhere the two more decimals tell."
    table = rows('mnli', 'qqp', targets=('xnli', 'tatoeba'))
    for where in (dict(language='sw', target='xnli'), dict(language='sw', target='tatoeba'), dict(language='sw')):
        message = refused(open_scores, shrink(table, **where))
        assert 'a score of at most 1' in message and 'sw: 0.6' in message
    some = table.assign(score=table.score.mask((table.language == 'sw') & (table.target == 'tatoeba') & (table.intermediate != 'none'), table.score / 100))
    assert 'a fraction among percentages' in refused(open_scores, some), 'two of three'
    coarse = table.assign(score=table.score.mask((table.language == 'sw') & (table.target == 'xnli'), .6))
    assert '(xnli sw: 0.6)' in refused(open_scores, coarse)


# ---- resource files

@pytest.mark.parametrize('text, message', [
    ('language,value\nsw,\n', 'line 2: value is not a number of at least 0 (empty; ? if it is not known)'), ('language,value\nsw,much\n', '(much)'), ('language,value\n', 'no rows'), ('sw,1.5\nde,40\n', 'there is sw, 1.5'),
    ('language;value\nsw;1,234\nde;55,600\n', 'does the comma of 1,234 divide thousands, or is it decimal')])
def test_more_wrong_resource_files(tmp_path, text, message): assert message in refused(resource_file, tmp_path / 'gdp.csv', text)


def test_amounts_with_thousands_where_they_are_certain(tmp_path):
    for text in ('sw;1,234\nde;1,234,567\n', 'sw;1,234.0\nde;1,234,567.0\n', 'sw;1234\nde;1234567\n'):
        assert resource_file(tmp_path / 'gdp.csv', 'language;value\n' + text).to_dict() == {'sw': 1234, 'de': 1234567}
    assert resource_file(tmp_path / 'gdp.csv', 'language;value\nsw;1,234\nde;5,6\n').to_dict() == {'sw': 1.234, 'de': 5.6}
    assert resource_file(tmp_path / 'gdp.csv', 'language,value\nsw,?\nde,5\n').isna().to_dict() == {'sw': True, 'de': False}


def test_a_resource_in_any_file(tmp_path):
    table = pd.DataFrame(dict(language=['sw', 'de'], value=[1.5, 40]))
    table.to_csv(tmp_path / 'a.tsv', index=False, sep='\t')
    (tmp_path / 'a.xlsx').write_bytes(sheet(table))
    assert resource_measure(str(tmp_path / 'a.tsv')).to_dict() == resource_measure(str(tmp_path / 'a.xlsx')).to_dict() == {'sw': 1.5, 'de': 40}
    assert "(did you mean 'joshi'?)" in refused(resource_measure, 'jshi') and 'no such file' in refused(resource_measure, str(tmp_path / 'b.csv'))


def test_what_an_own_measure_lacks(tmp_path):
    own = resource_file(tmp_path / 'gdp.csv', 'language,value\n' + ''.join(f'{c},{k}\n' for k, c in enumerate(CODES[1:], 1)) + 'swx,4\n')
    assert "'gdp' has no value for sw; is swx there meant to be one of them?" in refused(measure_values, CODES, own)
    assert "'gdp' has no value for sw; is swh_Arab there meant to be one of them?" in refused(measure_values, CODES, own.rename({'swx': 'swh_Arab'}))
    assert "'gdp' has no value for sw; add it to that measure" in refused(measure_values, CODES, own.drop('swx'))
    seven = pd.Series({c: float(k) for k, c in enumerate(CODES[:-1])}, name='gdp')
    table = check_scores(rows('mnli'))
    assert 'gdp holds other values than classes 0 to 5, so low and high go by the classes that come with xlt' in primary(table, seven, 'joshi')['note']
    assert 'classes that come' not in primary(table, seven.clip(upper=5), 'joshi')['note']


def test_too_few_languages_say_how_many_are_needed():
    table = check_scores(rows('mnli'))
    some = lambda *codes: table[table.language.isin([*codes, 'en'])]
    assert "2 languages do not form two groups by 'tertiles', which needs at least 3 besides the training language; other groupings: median, joshi" in refused(primary, some('sw', 'de'), resource())
    assert "1 language does not form two groups by 'median', which needs at least 2" in refused(primary, some('sw'), resource(), 'median')
    assert 'needs some in classes 0 to 2 and some in 4 and 5 (low: none; high: ru, de)' in refused(primary, some('ru', 'de'), resource(), 'joshi')


def test_columns_that_are_called_by_numbers(): same(open_scores(rows('mnli').assign(extra=1).rename(columns={'extra': 0}))[0])
