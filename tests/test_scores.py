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
    (b'\xd0\xcf\x11\xe0\xa1\xb1', 'old Excel format'), (b'PK\x05\x06' + bytes(18), 'not an Excel workbook|NUL'), (b'study,score\nmine,\xe9t\xe9\n', 'line 2: byte 0xe9 is not utf-8'),
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
    assert "score (did you mean 'scores'?)" in refused(open_scores, rows('mnli').rename(columns={'score': 'scores'}))
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
    forms = dict(iso3=three, flores={c: f'{t}_Latn' for c, t in three.items()}, upper={c: c.upper() for c in CODES}, bcp={c: f'{c}-XX' for c in CODES},
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
    assert 'zho_Hans (did you mean zh?)' in refused(primary, scores, resource())


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
