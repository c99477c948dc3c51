"The definitions of the primary result, and the tables that are refused."
from itertools import combinations
import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from xlt.stats.degradation import (CELL, average_loss, compare_groups, connected, degradations, effects_of, language_effects, measure_values,
    permutation_interval, permutation_null, permutation_p, primary, resource_measure, split_groups,
    welch_interval)
from xlt.stats.scores import check_scores, read_scores
from xlt.common.errors import XltError
from xlt.languages.measures import language_table, resource
from xlt.runs.status import SCORE_COLUMNS
from xlt.stats.simulation import simulate

GOOD = [('s', 'none', 'xnli', 'sw', 'accuracy', 0, 60, 100), ('s', 'none', 'xnli', 'de', 'accuracy', 0, 70, 100),
        ('s', 'mnli', 'xnli', 'sw', 'accuracy', 0, 58, 100), ('s', 'mnli', 'xnli', 'de', 'accuracy', 0, 71, 100)]


def table(rows=GOOD): return pd.DataFrame(rows, columns=SCORE_COLUMNS)


def changed(row, **cells):
    out = table().astype(object)
    for column, value in cells.items(): out.loc[row, column] = value
    return out


@pytest.mark.parametrize('bad, message', [
    (table().drop(columns='language'), 'no column language'),
    (table()[:0], 'no rows'),
    (table()[:2], 'every row is a baseline'),
    (table()[1:], 'line 3: no baseline'),
    (changed(2, score=120), 'line 4: score is outside 0 to 100'),
    (changed(2, score=-.1), 'line 4: score is outside 0 to 100'),
    (changed(2, score='n/a'), 'line 4: score is not a number'),
    (changed(2, score=np.nan), 'line 4: score is empty'),
    (changed(2, score=np.inf), 'line 4: score is not a number'),
    (changed(2, score=''), 'line 4: score is empty'),
    (changed(2, language=' '), 'line 4: language is empty'),
    (changed(2, seed=.5), 'line 4: seed is not a whole number'),
    (changed(2, n=0), 'line 4: n is less than 1'),
    (changed(3, metric='f1'), 'line 5: a second metric for the same target'),
    (changed(3, study='t'), "line 5: a second study in a table of 's'"),
    (changed(3, language='sw'), 'line 5: the same intermediate, target, language and seed'),
])
def test_a_bad_table_is_refused_by_line(bad, message):
    with pytest.raises(XltError, match=message) as error: check_scores(bad, 'scores.csv')
    assert str(error.value).startswith('scores.csv')


def test_many_bad_lines_are_counted():
    rows = [('s', i, 'xnli', f'l{k}', 'accuracy', 0, 50, 10) for i in ('none', 'mnli') for k in range(9)]
    with pytest.raises(XltError, match='lines 2, 3, 4, 5, 6 and 13 more: score'): check_scores(table(rows).assign(score=101), 'x.csv')


def test_files(tmp_path):
    file = tmp_path / 'scores.csv'
    with pytest.raises(XltError, match='no such file'): read_scores(file)
    file.write_text('')
    with pytest.raises(XltError, match='the file is empty'): read_scores(file)
    file.write_bytes(b'\xff\xfe\x00study')
    with pytest.raises(XltError): read_scores(file)
    table().to_csv(file, index=False)
    pd.testing.assert_frame_equal(read_scores(file), check_scores(table()))
    lines = file.read_text().splitlines()
    file.write_text('\n'.join([*lines[:2], '', *lines[2:]]))
    pd.testing.assert_frame_equal(read_scores(file), check_scores(table()))
    file.write_text('\n'.join([*lines[:2], ',,,,,,63.2', *lines[2:]]))
    with pytest.raises(XltError, match='line 3: most fields are empty: a total or a remark'): read_scores(file)


def test_extra_columns_and_their_order_do_not_matter():
    shuffled = table()[list(reversed(SCORE_COLUMNS))].assign(remark='x')
    pd.testing.assert_frame_equal(check_scores(shuffled), check_scores(table()))


def rows(**seeds):  # {'none': {0: 50, 1: 60}, 'mnli': {1: 40}}
    return table([('s', i, 'xnli', c, 'accuracy', s, v, 100) for i, run in seeds.items() for s, v in run.items() for c in ('sw', 'en')])


def test_pairing_is_by_common_seed():
    lost = degradations(check_scores(rows(none={0: 50, 1: 60}, mnli={1: 40, 2: 10})))
    assert lost[['language', 'baseline', 'score', 'degradation', 'seeds']].values.tolist() == [['sw', 60, 40, 20, 1]]


def test_without_a_common_seed_means_are_compared():
    lost = degradations(check_scores(rows(none={0: 50, 1: 60}, mnli={2: 40, 3: 10})))
    assert lost[['baseline', 'score', 'degradation', 'seeds']].values.tolist() == [[55, 25, 30, 2]]


def test_pairing_is_decided_for_each_language_of_each_cell():
    both = rows(none={0: 50, 1: 60}, mnli={0: 40, 1: 40}).query("not (language == 'en' and intermediate == 'mnli' and seed == 0)")
    lost = degradations(check_scores(both), pivot='none of them').set_index('language').degradation
    assert lost.to_dict() == {'sw': 15, 'en': 20}


def test_only_the_pivot_is_an_error():
    with pytest.raises(XltError, match="besides the pivot 'en'"): degradations(check_scores(table().assign(language=['en', 'de'] * 2)[::2]))


def by_the_book(scores, measure, pivot='en'):
    "The primary result by statsmodels' least squares with a dummy for every cell and language, and plain Python."
    score = {(r.intermediate, r.target, r.language, r.seed): r.score for r in scores.itertuples() if r.language != pivot}
    lost = {}
    for (i, t, l, s), v in score.items():
        if i != 'none' and ('none', t, l, s) in score: lost.setdefault((i, t, l), []).append(score['none', t, l, s] - v)
    rows = pd.DataFrame([dict(cell=f'{i} {t}', language=l, lost=sum(v) / len(v)) for (i, t, l), v in lost.items()])
    fit, codes = smf.ols('lost ~ 0 + C(cell) + C(language)', rows).fit(), sorted(rows.language.unique())
    values = {c: fit.params.get(f'C(language)[T.{c}]', 0.) for c in codes}
    order = sorted(values, key=lambda l: (measure[l], l))
    k = len(order) // 3
    low, high = order[:k], order[-k:]
    mean = lambda codes: sum(values[c] for c in codes) / len(codes)
    estimate = mean(low) - mean(high)
    pool = low + high
    differences = [mean(c) - mean([p for p in pool if p not in c]) for c in combinations(pool, k)]
    return low, high, float(estimate), sum(abs(d) >= abs(estimate) - 1e-9 for d in differences) / len(differences)


@pytest.mark.parametrize('seed', range(4))
def test_agrees_with_an_independent_calculation(seed):
    measure = resource()
    keep = [*language_table().sample(13, random_state=seed).index, 'en']
    scores = check_scores(simulate(slope=.5, seed=seed, seeds=2).query('language in @keep and target in ("panx", "udpos", "tatoeba")').round({'score': 3}))
    low, high, estimate, p = by_the_book(scores, measure)
    found = primary(scores, measure)
    assert found['groups'] == {'low': low, 'high': high}
    assert found['estimate'] == pytest.approx(estimate, abs=1e-9) and found['p_value'] == pytest.approx(p, abs=1e-12) and found['exact']


def test_ties_go_by_code():
    equal = pd.Series([1., 1, 1, 2, 2, 2], index=list('abcdef'), name='m')
    assert split_groups(list('fbadce'), equal) == (['a', 'b'], ['e', 'f'])
    with pytest.raises(XltError, match="'m' is 1 for languages of both groups"): split_groups(list('abcdef'), equal * 0 + 1)


def test_ties_at_the_line_are_said():
    table = check_scores(pd.DataFrame([dict(study='s', intermediate=i, target='xnli', language=c, metric='accuracy', seed=0, score=50. + n * (i != 'none'), n=9)
                                       for i in ('none', 'mnli') for n, c in enumerate('abcdef')]))
    assert 'c has the same m as a language inside a group' in primary(table, pd.Series([1., 2, 2, 3, 4, 5], index=list('abcdef'), name='m'))['note']
    assert primary(table, pd.Series([1., 2, 3, 3, 4, 5], index=list('abcdef'), name='m'))['note'] == 'a group has fewer than three languages: no interval'


def test_random_arrangements_count_the_observed_one():
    a, b = np.arange(13.) + 100, np.arange(13.)
    assert permutation_p(a, b, draws=999) == {'p_value': .001, 'arrangements': 999, 'exact': False}


def test_random_arrangements_agree_with_all_of_them():
    rng = np.random.default_rng(0)
    a, b = rng.normal(.8, 1, 8), rng.normal(0, 1, 8)
    exact, random = permutation_p(a, b), permutation_p(a, b, limit=10)
    assert exact['exact'] and exact['arrangements'] == 12870 and not random['exact']
    assert random['p_value'] == pytest.approx(exact['p_value'], abs=.005)


def test_exactly_200000_arrangements_is_the_limit():
    assert permutation_p(np.arange(10.), np.arange(10.) + 1)['arrangements'] == 184_756
    assert permutation_p(np.arange(11.), np.arange(11.) + 1)['arrangements'] == 100_000


def test_the_same_seed_gives_the_same_numbers():
    scores = check_scores(simulate(slope=1))
    assert primary(scores, resource(), seed=3) == primary(scores, resource(), seed=3)


def test_swapping_the_groups_turns_the_sign():
    rng = np.random.default_rng(1)
    a, b = rng.normal(1, 1, 6), rng.normal(0, 1, 7)
    assert np.allclose(np.sort(permutation_null(a, b)), np.sort(-permutation_null(b, a)))


@pytest.mark.parametrize('k, m, note', [(1, 1, 'fewer than three'), (2, 9, 'fewer than three'), (9, 2, 'fewer than three'), (3, 3, '3 against 3'), (3, 4, ''), (4, 4, '')])
def test_few_languages_have_no_interval_and_that_is_said(k, m, note):
    values = pd.Series(np.random.default_rng(0).normal(size=k + m), [f'l{i}' for i in range(k + m)])
    found = compare_groups(values, list(values.index[:k]), list(values.index[k:]))
    assert (found['ci_low'] is None) == (found['ci_high'] is None) == bool(note) and note in found['note'] and bool(note) == bool(found['note'])
    assert (found['welch']['ci_low'] is None) == (min(k, m) < 3)


def test_constant_values():
    found = compare_groups(pd.Series(1.5, index=list('abcdefgh')), list('abcd'), list('efgh'))
    assert (found['estimate'], found['p_value'], found['ci_low'], found['ci_high']) == (0, 1, 0, 0)


def test_two_languages_are_too_few():
    with pytest.raises(XltError, match='do not form two groups'): primary(check_scores(table()), resource())


@pytest.mark.parametrize('k, m, how', [(5, 5, {}), (4, 7, {}), (7, 4, {}), (3, 4, {}), (4, 4, {}), (6, 5, dict(limit=100, draws=399))])
@pytest.mark.parametrize('tied', [False, True])
def test_the_interval_holds_what_the_test_does_not_reject(k, m, how, tied):
    "Differences all over the place: inside exactly where p is 0.05 or more."
    rng = np.random.default_rng(k)
    a, b = rng.normal(1, 1, k), rng.normal(0, 1, m)
    if tied: a, b = a.round(), b.round()
    low, high = permutation_interval(a, b, **how)
    inside = [permutation_p(a - d, b, **how)['p_value'] >= .05 for d in np.linspace(-6, 8, 281) + .00321]
    assert inside == [low <= d <= high for d in np.linspace(-6, 8, 281) + .00321] and any(inside) and not all(inside)


def test_interval_and_p_value_never_contradict_each_other():
    rng = np.random.default_rng(1)
    for n in range(200):
        k, m = rng.integers(3, 8, 2)
        a, b = rng.normal(rng.choice([0., 1, 2]), 1, k).round(rng.integers(0, 4)), rng.normal(0, 1, m).round(1)
        low, high = permutation_interval(a, b)
        assert (low > 0 or high < 0) == (permutation_p(a, b)['p_value'] < .05), (a, b)
        assert low <= a.mean() - b.mean() + 1e-12 and high >= a.mean() - b.mean() - 1e-12


def test_the_interval_covers():
    rng = np.random.default_rng(0)
    held = [low <= 1 <= high for low, high in (permutation_interval(rng.normal(1, 1, 5), rng.normal(0, 1, 5)) for _ in range(1000))]
    assert .93 < np.mean(held) < .975


def test_welch_is_statsmodels():
    from statsmodels.stats.weightstats import CompareMeans, DescrStatsW
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 3, 6), rng.normal(0, 1, 9)
    found = welch_interval(a, b)
    assert (found['ci_low'], found['ci_high']) == pytest.approx(CompareMeans(DescrStatsW(a), DescrStatsW(b)).tconfint_diff(usevar='unequal'))
    assert welch_interval([1, 1, 1], [2, 2, 2])['ci_low'] is None


def test_effects_do_not_see_what_a_cell_shares():
    scores = check_scores(simulate(slope=1))
    shifted = scores.assign(score=scores.score - 5 * ((scores.target == 'panx') & (scores.intermediate == 'mnli')))
    pd.testing.assert_series_equal(*(language_effects(degradations(s)) for s in (scores, shifted)))


def patchy(seed, cells=8, codes=12, share=.4):
    "A table of losses with holes; every language in one cell at least."
    rng = np.random.default_rng(seed)
    there = rng.random((cells, codes)) < share
    there[rng.integers(0, cells, codes), np.arange(codes)] = True
    c, l = np.nonzero(there)
    return pd.DataFrame(dict(intermediate='mnli', target=[f't{i}' for i in c], language=[f'l{i:02d}' for i in l], baseline=50., score=50., n=9,
                             degradation=3. * c + rng.normal(size=codes)[l] + rng.normal(size=len(c))))


@pytest.mark.parametrize('seed', range(6))
def test_effects_are_statsmodels_least_squares(seed):
    lost, apart = connected(patchy(seed))
    fit, found = smf.ols('degradation ~ C(target) + C(language)', lost).fit(), language_effects(lost)
    theirs = pd.Series({c: fit.params.get(f'C(language)[T.{c}]', 0.) for c in found.index})
    assert found.to_numpy() == pytest.approx((theirs - theirs.mean()).to_numpy(), abs=1e-9)
    full = average_loss(lost, found)
    every = pd.DataFrame([dict(target=t, language=c) for t in lost.target.unique() for c in found.index])
    assert full == pytest.approx(fit.predict(every).mean()), 'what the average language would lose in the average cell'


def test_effects_of_many_studies_at_once():
    table = patchy(0).pivot(index=CELL, columns='language', values='degradation').to_numpy()
    many = effects_of(np.stack([table, 2 * table + 7]))
    assert np.allclose(many[0], effects_of(table), equal_nan=True) and np.allclose(many[1], 2 * many[0], equal_nan=True)


def test_what_was_put_in_comes_out_whatever_the_coverage():
    "Low-resource languages in few cells, high-resource ones in many; the shortcut of centring would find 13 % less."
    lost = degradations(check_scores(simulate(slope=1)))
    effect = -np.log10(resource().clip(.1))
    exact = lost.assign(degradation=lost.groupby(CELL).ngroup() + effect[lost.language].to_numpy())
    found = language_effects(exact)
    assert found.to_numpy() == pytest.approx((effect[found.index] - effect[found.index].mean()).to_numpy(), abs=1e-9)
    shortcut = (exact.degradation - exact.groupby(CELL).degradation.transform('mean')).groupby(exact.language).mean()
    low, high = split_groups(found.index, resource())
    gap = [v[low].mean() - v[high].mean() for v in (shortcut, found)]
    assert gap[0] < .95 * gap[1]


def test_languages_that_no_cell_connects_are_left_out_and_named():
    lost = patchy(0)
    alone = pd.concat([lost, lost[:2].assign(target='elsewhere', language=['x', 'y'])])
    kept, apart = connected(alone)
    assert apart == ['x', 'y'] and len(kept) == len(lost)
    pd.testing.assert_series_equal(language_effects(alone), language_effects(lost))
    scores = check_scores(simulate(slope=1))
    odd = scores[(scores.target == 'tatoeba') & (scores.language == 'el')].assign(target='mine', language='el2')
    measure = pd.concat([resource(), pd.Series({'el2': 1.})]).rename('gib')
    assert 'el2 left out, for no chain of shared cells connects it' in primary(check_scores(pd.concat([scores, odd])), measure)['note']
    assert primary(check_scores(pd.concat([scores, odd])), measure)['estimate'] == pytest.approx(primary(scores, measure)['estimate'])


def test_group_means_are_of_all_cells_and_differ_by_the_estimate():
    found = primary(check_scores(simulate(slope=1)), resource())
    assert found['mean_low'] - found['mean_high'] == pytest.approx(found['estimate'])


def test_resource_measures(tmp_path):
    facts = pd.DataFrame({'script': ['x', 'y'], 'corpus_sentences': [100, 3000]}, index=['qab', 'qac'])
    assert resource_measure('corpus_sentences', facts).to_dict() == {'qab': 100, 'qac': 3000}
    with pytest.raises(XltError, match='choose from corpus_sentences, cc100_gib, wiki, joshi, or give a FILE.csv'): resource_measure('cc100', facts)
    with pytest.raises(XltError, match='no value for qab'): measure_values(['sw', 'qab'], resource_measure('wiki'))
    file = tmp_path / 'gdp.csv'
    file.write_text('language,value\nsw,1.5\nno,2\n')
    assert resource_measure(str(file)).to_dict() == {'sw': 1.5, 'nb': 2} and resource_measure(str(file)).name == 'gdp'
    for text, message in [('language\nsw\n', 'columns language and value'), ('language,value\nsw,\n', 'line 2: value is not'),
                          ('language,value\nsw,1\nsw,2\n', 'line 3: the same language'), ('language,value\nsw,-1\n', 'line 2: value')]:
        file.write_text(text)
        with pytest.raises(XltError, match=message): resource_measure(str(file))


def test_joshi_groups_by_class_whatever_the_measure():
    low, high = split_groups(resource().drop('en').index, resource(), 'joshi')
    assert 'eu' in high and set(low) == {'jv', 'my', 'te', 'ml', 'sw', 'yo', 'mr'}
    with pytest.raises(XltError, match='no value for qab'): split_groups(['qab', 'sw'], pd.Series({'qab': 10., 'sw': 20.}, name='m'), 'joshi')
