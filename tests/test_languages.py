"Two hundred and fifty languages: their measures, their codes, and what becomes of those without any text."
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from xlt.common.errors import XltError
from xlt.languages.measures import MEASURES, code_hint, language_code, language_table, resource, without_text
from xlt.reporting import figures
from xlt.reporting.language_figures import resource_positions
from xlt.stats.analysis import analyse_scores, to_json
from xlt.stats.comparisons import compare_variants
from xlt.stats.headline import slope_line
from xlt.stats.conclusion import unseen_line
from xlt.stats.degradation import average_loss, comparable_scores, compare_groups, degradations, language_effects, primary, set_apart, split_groups
from xlt.stats.dose import dose
from xlt.stats.scores import check_scores, open_scores
from xlt.stats.simulation import simulate

REPO = Path(__file__).resolve().parent.parent
FACTS = REPO.parent / 'shared' / 'facts'
facts = pytest.mark.skipif(not (FACTS / 'languages_all.csv').is_file(), reason='the table that the figures were carried over from is not here')


@pytest.fixture(scope='module')
def carried() -> pd.DataFrame:
    "The table that the figures were carried over from, with the code used here."
    table = pd.read_csv(FACTS / 'languages_all.csv', keep_default_na=False)
    return table.assign(code=[language_code(i) for i in table.id])


# ---- figures and codes

def test_the_forty_keep_their_values():
    forty, every = language_table(), language_table(every=True)
    assert len(forty) == 40 and every.index.is_unique and list(every.index[:40]) == list(forty.index)
    pd.testing.assert_frame_equal(every.loc[forty.index], forty, check_dtype=False)
    for measure in MEASURES: pd.testing.assert_series_equal(resource(measure, every=True)[forty.index], resource(measure))


@facts
def test_the_forty_are_those_of_the_published_table():
    given = pd.read_csv(FACTS / 'languages.csv', index_col='iso', keep_default_na=False)
    pd.testing.assert_frame_equal(language_table(), given, check_dtype=False)


@facts
def test_the_others_have_the_figures_they_were_given(carried):
    rows = carried[~carried.code.isin(language_table().index)].set_index('code')
    every = language_table(every=True)
    assert rows.index.is_unique and set(rows.index) == set(every.index) - set(language_table().index) and len(every) == len(carried) - 1  # Chinese has two rows
    shared = rows.cc100_macro_code != ''
    assert shared.sum() > 15 and every.cc100_gib[rows.index[shared]].isna().all(), 'how much of the figure was theirs is not known'
    assert (every.cc100_gib[rows.index[~shared]] == rows.cc100_gib[~shared].astype(float)).all()
    assert (every.joshi_class[rows.index] == pd.to_numeric(rows.joshi_class)).sum() == (rows.joshi_class != '').sum()
    assert (every.wiki_size_bytes_compressed_20201001[rows.index] == rows.wiki_size.astype(float)).all() and (every.script[rows.index] == rows.script).all()
    assert (every.cc100_gib == 0).sum() > 100 and set(every.index[every.cc100_gib == 0]) == set(without_text(resource(every=True)))


@facts
@pytest.mark.parametrize('column', ['code_flores', 'xtreme_code', 'xtremer_code', 'tatoeba_code', 'americasnli_code', 'masakhane_code', 'iso639_1'])
def test_codes_of_every_collection_are_understood(carried, column):
    "But where a code stands for several entries, as that of a language in two scripts, it is the one without a script."
    rows = carried[carried[column] != '']
    found = {label: language_code(label) for label in rows[column]}
    assert None not in found.values(), [k for k, v in found.items() if v is None]
    wrong = {r.id: found[getattr(r, column)] for r in rows.itertuples() if found[getattr(r, column)] != r.code.split('_')[0] and found[getattr(r, column)] != r.code}
    assert not wrong


def test_a_script_with_an_entry_of_its_own_is_kept():
    forms = {'hin_Latn': 'hi_Latn', 'hi-Latn': 'hi_Latn', 'hin_Deva': 'hi', 'ace_Arab': 'ace_Arab', 'ace_Latn': 'ace', 'kas_Deva': 'ks_Deva', 'knc-Arab': 'kr_Arab', 'arb_Latn': 'ar_Latn'}
    assert {form: language_code(form) for form in forms} == forms
    assert resource(every=True)['hi_Latn'] != resource(every=True)['hi']
    assert code_hint('Bambarra') == ' (did you mean bm?)'


# ---- languages without any text

def table_of(size: pd.Series, targets=('tatoeba', 'panx'), **truth) -> pd.DataFrame:
    "A simulated study of these languages, complete."
    places = pd.DataFrame([(t, c) for t in targets for c in size.index], columns=['target', 'language'])
    return check_scores(simulate(places=places, measure=size, **truth))


def sixty() -> pd.Series:
    "Forty-five languages with text, fifteen without."
    size = resource(every=True).drop('en').dropna()
    return pd.concat([size[size > 0].sort_values().iloc[::2].head(45), size[size == 0].iloc[::7].head(15)])


@pytest.fixture(scope='module')
def wide():
    size = sixty()
    scores = table_of(size, slope=1., step=2.)
    return size, scores, analyse_scores(scores, size, facts=language_table(every=True))


def test_with_one_such_language_nothing_changes():
    "Yoruba stays among the low-resource languages of XTREME, and all of the primary answer what it was."
    scores = check_scores(simulate(slope=1))
    lost, found = degradations(scores), primary(scores, resource())
    values = language_effects(lost)
    order = sorted(values.index, key=lambda c: (resource()[c], c))
    assert 'yo' == order[0] and found['groups'] == dict(low=order[:13], high=order[-13:])
    by_hand = compare_groups(values + average_loss(lost, values), order[:13], order[-13:])
    assert {k: found[k] for k in by_hand if k != 'note'} == {k: v for k, v in by_hand.items() if k != 'note'}
    assert set_apart(values.index, resource()) == ([], [])


def test_the_committed_answer_of_the_lab_is_unchanged():
    folder = REPO / 'reports' / 'lab-quick'
    summary, scores = json.loads((folder / 'summary.json').read_text()), open_scores(pd.read_csv(folder / 'scores.csv'))[0]
    measure = pd.Series({r['language']: r['resource'] for r in summary['per_language']}, name=summary['primary']['measure'])
    found, old = primary(scores, measure, summary['primary']['grouping'], summary['pivot']), summary['primary']
    assert found['groups'] == old['groups'] and {k: found[k] for k in ('estimate', 'ci_low', 'ci_high', 'p_value')} == pytest.approx({k: old[k] for k in ('estimate', 'ci_low', 'ci_high', 'p_value')})
    slope = dose(degradations(scores, summary['pivot']), measure, pd.Series({r['language']: r['family'] for r in summary['per_language']}))
    keys = [k for k in slope if summary['mixed_model'].get(k) and k != 'without_text']  # no `step`: none of them is without text
    assert {'slope_per_tenfold_less', 'ci_low', 'ci_high', 'p_value'} < set(keys)
    assert {k: slope[k] for k in keys} == pytest.approx({k: summary['mixed_model'][k] for k in keys}, rel=1e-5)
    assert slope['without_text'] == summary['mixed_model'].get('without_text', []) == []


def test_low_against_high_is_what_it_would_be_without_them(wide):
    size, scores, found = wide
    fewer = analyse_scores(scores[scores.language.map(size) > 0], size, facts=language_table(every=True))
    for key in ('primary', 'level_adjusted', 'equivalence', 'minimum_detectable_effect', 'false_alarms', 'cells', 'baseline_dependence', 'specification_curve'):
        assert found[key] == fewer[key], key
    for whole, part in zip(found['by_target'], fewer['by_target'], strict=True):
        assert (whole['n'], whole['tested'], part['tested']) == (45, 60, 45) and whole | dict(tested=45) == part
    assert sum(r['n'] for r in found['by_family']) == 60 and sum(r['n'] for r in fewer['by_family']) == 45, 'families have languages without text, too'
    assert not set(without_text(size)) & {c for g in found['primary']['groups'].values() for c in g}
    assert found['languages'] == 60 and fewer['languages'] == 45 and fewer['unseen'] is None


def test_the_new_group_is_told_apart_in_tables_and_words(wide):
    size, scores, found = wide
    rows = pd.DataFrame(json.loads(to_json(found))['per_language']).set_index('language')
    assert set(rows.index[rows.group == 'unseen']) == set(without_text(size)) == set(found['unseen']['languages'])
    gap = rows.effect[rows.group == 'unseen'].mean() - rows.effect[rows.group == 'low'].mean()
    assert gap == pytest.approx(found['unseen']['minus_low']['estimate']) and rows.effect[rows.group != 'unseen'].mean() == pytest.approx(0, abs=1e-9)
    said = found['conclusion']['sentence'] + slope_line(found['mixed_model'], 'cc100_gib', 60)
    assert 'The 15 languages without any CC-100 text are a group of their own' in said and '0.1' not in said.replace('0.10', '')
    raw = rows.degradation.groupby(rows.group).mean()  # where every language is in every cell, plain means say the same
    assert gap == pytest.approx(raw['unseen'] - raw['low']) and found['unseen']['mean'] == pytest.approx(raw['unseen'])


def test_both_truths_are_found(wide):
    "A point per tenfold less text, and two more at the step to none: in the mean of studies, and inside nineteen of twenty intervals."
    size = wide[0]
    fits = [dose(degradations(table_of(size, tasks=2, seeds=1, slope=1., step=2., seed=s)), size) for s in range(16)]
    for truth, rows in ((1., [f | dict(estimate=f['slope_per_tenfold_less']) for f in fits]), (2., [f['step'] for f in fits])):
        error = np.array([r['estimate'] for r in rows]) - truth
        assert abs(error.mean()) < 3 * error.std(ddof=1) / 4 and sum(r['ci_low'] < truth < r['ci_high'] for r in rows) >= 13
    nothing = dose(degradations(table_of(size, slope=1., seed=1)), size)
    assert nothing['step']['ci_low'] < 0 < nothing['step']['ci_high']


def test_a_dose_does_not_depend_on_where_none_would_stand(wide):
    "The same slope, whatever those without text lost."
    size, scores, found = wide
    lost = degradations(scores)
    none = lost.language.isin(without_text(size))
    moved = dose(lost.assign(degradation=lost.degradation + 30 * none), size)
    plain = dose(lost, size)
    assert moved['slope_per_tenfold_less'] == pytest.approx(plain['slope_per_tenfold_less'], abs=1e-6) and moved['step']['estimate'] == pytest.approx(plain['step']['estimate'] + 30, abs=1e-4)
    without = dose(lost[~none], size)
    assert without['step'] is None and without['slope_per_tenfold_less'] == pytest.approx(plain['slope_per_tenfold_less'], abs=.02)


def test_of_a_language_whose_resource_is_not_known_nothing_is_claimed(wide):
    size, scores, found = wide
    odd = scores[scores.language == 'sw'].assign(language='arz', score=50.)
    more = analyse_scores(check_scores(pd.concat([scores, odd])), pd.concat([size, pd.Series({'arz': np.nan})]).rename('cc100_gib'), facts=language_table(every=True))
    assert more['primary'] | {'note': ''} == found['primary'] | {'note': ''} and 'arz left out' in more['primary']['note'] and 'no value of cc100_gib is known' in more['primary']['note']
    assert more['mixed_model'] == found['mixed_model'] and more['unseen'] == found['unseen']
    assert [r['group'] for r in more['per_language'] if r['language'] == 'arz'] == ['unknown'] and json.loads(to_json(more))
    with pytest.raises(XltError, match='no value for xx'): primary(check_scores(pd.concat([scores, odd.assign(language='xx')])), size)


def test_a_test_that_only_they_have_says_nothing_of_them(wide):
    size, scores, _ = wide
    alone = check_scores(pd.concat([scores, scores[(scores.language == 'yo') & (scores.target == 'panx')].assign(target='americasnli', language='quy')]))
    found = analyse_scores(alone, pd.concat([size, pd.Series({'quy': 0.})]).rename('cc100_gib'))
    assert found['unseen']['not_compared'] == ['quy'] and 'quy cannot be compared' in unseen_line(found['unseen'], 'cc100_gib')
    assert 'quy' not in {r['language'] for r in found['per_language']}
    with pytest.raises(XltError, match='low and high cannot be told apart'): comparable_scores(scores[scores.language.map(size) == 0], size)


def test_variants_are_compared_among_languages_with_text(wide):
    size, scores, _ = wide
    name = sorted(set(scores.intermediate) - {'none'})[0]
    rows = scores[scores.intermediate == 'mnli'] if 'mnli' in set(scores.intermediate) else scores[scores.intermediate == name].assign(intermediate='mnli')
    table = check_scores(pd.concat([scores[scores.intermediate == 'none'], rows, rows.assign(intermediate='mnli-mlm', score=rows.score - .5 * (rows.language.map(size) == 0))]))
    found = compare_variants(table, size).iloc[0]
    assert found.estimate == pytest.approx(0, abs=1e-9) and (found.n_low, found.n_high) == (15, 15)


def test_the_figures_draw_them_apart(wide):
    size, _, found = wide
    rows = pd.DataFrame(found['per_language']).set_index('language')
    x = resource_positions(rows)
    none = without_text(size)
    assert x[none].max() < x.drop(none).min() / 1.5 and x[none].nunique() == 15 and x.drop(none).equals(rows.resource.drop(none))
    fig = figures.against_resource(rows)
    drawn = [t.get_text() for t in fig.axes[0].texts]
    assert len(set(drawn)) == len(drawn) >= .9 * len(size) and set(drawn) <= set(size.index)  # crowded labels are left out,
    assert len(drawn) == len(size) or f'{len(drawn)} labelled' in fig.axes[0].get_title(loc='left')  # and counted
    ticks = dict(zip((t.get_text() for t in fig.axes[0].get_xticklabels()), fig.axes[0].get_xticks()))
    assert ticks['none'] < x.drop(none).min() and all(v >= x.drop(none).min() / 2 for k, v in ticks.items() if k != 'none')
    labels = [t.get_text() for t in fig.axes[0].get_legend().get_texts()]
    assert 'without any text (15)' in labels and 'low-resource (15)' in labels
    assert 'without any text' in [t.get_text() for t in figures.dumbbells(rows).axes[0].get_legend().get_texts()]


def test_groups_by_joshi_leave_them_out_too(wide):
    size, scores, _ = wide
    found = primary(scores, size, 'joshi')
    classes = resource('joshi', every=True)
    assert all(size[c] > 0 and classes[c] <= 2 for c in found['groups']['low']) and all(classes[c] >= 4 for c in found['groups']['high'])
    assert split_groups([c for c in size.index if size[c] > 0], size, 'joshi') == (found['groups']['low'], found['groups']['high'])


# ---- studies

def test_a_study_names_languages_in_any_form(tmp_path):
    from xlt.runs.params import Study
    asked = lambda *codes: Study.read(str(REPO / 'params' / 'e5-hub.yaml'), [f'languages=[{", ".join(codes)}]'])
    assert asked('swh_Latn', 'German', 'yor', 'iw', 'fr').languages == ['sw', 'de', 'yo', 'he', 'fr']
    with pytest.raises(XltError, match="'sw' is listed twice"): asked('sw', 'swa', 'de', 'fr')
    with pytest.raises(XltError, match=r"'Swahilli' is unknown \(did you mean sw\?\)"): asked('Swahilli', 'de', 'fr', 'ru')


def test_groups_of_a_study_are_drawn_among_languages_with_text():
    from types import SimpleNamespace
    from xlt.runs.params import check_groups
    size = resource(every=True)
    study = SimpleNamespace(analysis=SimpleNamespace(groups='tertiles', resource='cc100_gib'))
    assert check_groups(study, size[['wo', 'ht', 'yo', 'ln', 'sw', 'de', 'fr']]) == []
    assert 'do not form two groups' in check_groups(study, size[['wo', 'ht', 'yo', 'ln', 'sw', 'de']])[0]


def test_the_list_of_languages(capsys):
    from xlt.cli.main import main
    assert main(['languages', '--all']) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert len(rows) == 248 and rows['nn'].split()[-3] == '?' and '?' not in rows['wo']
    assert main(['languages']) == 0 and len(capsys.readouterr().out.splitlines()) == 41
    none = [code for code, line in rows.items() if line.split()[-3] == '0']
    assert len(none) > 50 and none == sorted(none), 'languages with as much text are in the order of their codes'


def test_the_explorer_shows_them_as_a_group(wide):
    from xlt.reporting.explorer import explorer
    size, scores, _ = wide
    page = explorer(scores, size, language_table(every=True))
    assert page.count('"unseen"') > 15
    narrow = explorer(scores[scores.language.map(size) > 0], size, language_table(every=True))
    assert '"unseen"' not in narrow


def test_a_report_reads_back_what_is_not_known(wide, tmp_path):
    from xlt.reporting.api import analyse as whole, reopen_report, write_files
    _, scores, _ = wide
    kept = scores[scores.language.isin(sorted(set(scores.language))[::3] + ['yo', 'ay', 'bm'])]
    found = whole(pd.concat([kept, kept[kept.language == 'yo'].assign(language='nno_Latn')]))
    write_files(found, tmp_path)
    back, measure, facts, pivot, analysis = reopen_report(tmp_path)
    assert 'nn left out' in analysis['primary']['note'] and np.isnan(measure['nn']) and measure['yo'] == 0 and set(back.language) <= set(facts.index)
    pd.testing.assert_series_equal(measure, found.measure, check_names=False, check_index_type=False)


@pytest.mark.parametrize('label, code', [('ful', 'ff'), ('din', 'dik'), ('kau', 'kr'), ('chm', 'mhr'), ('cbk-zam', 'cbk'), ('no', 'nb'), ('nor', 'nb'), ('Norwegian', 'nb')])
def test_codes_of_macrolanguages_and_of_wikipedia(label, code):
    assert language_code(label) == code
