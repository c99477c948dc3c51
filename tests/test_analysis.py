"The whole analysis: conclusions in words, corner cases, size and speed."
import json
import resource as system
import time
import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu, spearmanr
from xlt.analysis import (FEW, adjust, against_plain, analyse, by_kind, by_task, cells, conclusion, doubts, effect_size, equivalence, headline, minimum_detectable_effect,
                          number, p_text, pairing, slope_line, spread_line, task_line, to_json, verdict, variant_line)
from xlt.degradation import bootstrap_interval, centred, check_scores, degradations, interval_coverage, language_means, permutation_p, primary, split
from xlt.languages import languages, resource
from xlt.simulation import simulate


@pytest.fixture(scope='module')
def analysis(): return analyse(check_scores(simulate(slope=1)), resource(), facts=languages())


def small(n=6, **truth):
    "A study of few languages."
    codes = ['en', *resource().drop('en').sort_values().index[::39 // n][:n]]
    places = pd.DataFrame([(t, c) for t in ('panx', 'udpos') for c in codes], columns=['target', 'language'])
    return check_scores(simulate(places=places, **truth))


def made_up(estimate, p, tost_p, smallest=2.):
    same = dict(margin=1., p_value=tost_p, ci_low=estimate - 1, ci_high=estimate + 1, equivalent=tost_p is not None and tost_p < .05)
    return dict(primary=dict(estimate=estimate, p_value=p, ci_low=estimate - 1.2, ci_high=estimate + 1.2, n_low=5, n_high=5), equivalence=same,
                minimum_detectable_effect=smallest)


@pytest.mark.parametrize('given, which, words', [
    (made_up(2.3, .0079, .9), 'harm', ['Harm: ', 'cost the low-resource languages 2.30 points more', '1.10 to 3.50', 'p = 0.0079', '5 against 5 languages']),
    (made_up(-2.3, .0079, .9), 'benefit', ['Benefit: ', '2.30 points less', '−3.50 to −1.10']),
    (made_up(.1, .6, .01), 'equivalent', ['Equivalent: ', 'within 1 point', 'differ by 0.10 points', '−0.90 to 1.10', 'equivalence p = 0.01']),
    (made_up(.8, .2, .4), 'undecided', ['Undecided: ', '0.80 points more', 'neither', 'true difference of 2.00 points four times in five']),
    (made_up(-.8, .2, .4), 'undecided', ['0.80 points less']),
    (made_up(.8, .1, None, None), 'undecided', ['no difference, however large']),
    (made_up(.3, .001, .001), 'harm', ['0.30 points more', 'real but smaller than 1 point']),
    (made_up(0, 0, .001), 'equivalent', ['differ by 0.00 points'])])
def test_conclusions(given, which, words):
    said = conclusion(given)
    assert said['verdict'] == which == verdict(given)
    for part in words: assert part in said['sentence']


def test_numbers_and_p_values_for_prose():
    assert [number(v) for v in (0, -.004, .006, -1.5)] == ['0.00', '0.00', '0.01', '−1.50']
    assert [p_text(p) for p in (0, 9e-5, .0101, .1, 1)] == ['p < 0.0001', 'p < 0.0001', 'p = 0.01', 'p = 0.1', 'p = 1']


def test_what_the_json_holds(analysis):
    again = json.loads(to_json(analysis))
    assert again['primary'].keys() >= {'estimate', 'ci_low', 'ci_high', 'p_value', 'n_low', 'n_high', 'groups'}
    assert again['mixed_model'].keys() >= {'slope_per_tenfold_less', 'se', 'ci_low', 'ci_high', 'p_value', 'sd_language', 'sd_pair', 'sd_residual'}
    assert again.keys() >= {'cells', 'equivalence', 'minimum_detectable_effect', 'specifications', 'by_target', 'by_intermediate', 'by_family', 'by_script',
                            'baseline_dependence', 'conclusion', 'per_language'}
    assert again['cells'][0].keys() >= {'n', 'spearman', 'mann_whitney_u', 'cliffs_delta', 'hedges_g', 'p_value', 'p_value_holm', 'p_value_bh'}
    assert len(again['cells']) == 27 and len(again['per_language']) == 39


def test_per_language_values_give_the_estimate_back(analysis):
    table = pd.DataFrame(analysis['per_language']).groupby('group').centred.mean()
    assert table['low'] - table['high'] == pytest.approx(analysis['primary']['estimate'])


def test_a_cell_by_scipy(analysis):
    lost = degradations(check_scores(simulate(slope=1)))
    part = lost[(lost.intermediate == 'mnli') & (lost.target == 'panx')].set_index('language').degradation
    groups = analysis['primary']['groups']
    cell = next(c for c in analysis['cells'] if (c['intermediate'], c['target']) == ('mnli', 'panx'))
    u, p = mannwhitneyu(part[groups['low']], part[groups['high']])
    rho = spearmanr(resource()[part.index], part)
    assert [cell['mann_whitney_u'], cell['p_value'], cell['spearman'], cell['spearman_p']] == pytest.approx([u, p, rho[0], rho[1]])
    pairs = [np.sign(a - b) for a in part[groups['low']] for b in part[groups['high']]]
    assert cell['cliffs_delta'] == pytest.approx(np.mean(pairs))
    a, b = part[groups['low']], part[groups['high']]
    pooled = np.sqrt((a.var() * 12 + b.var() * 12) / 24)
    assert cell['hedges_g'] == pytest.approx((a.mean() - b.mean()) / pooled * (1 - 3 / (4 * 26 - 9)))


def test_adjusted_p_values():
    rows = adjust([dict(p=.01), dict(p=None), dict(p=.02), dict(p=.04)], 'p')
    assert [r['p_holm'] for r in rows] == [pytest.approx(.03), None, pytest.approx(.04), pytest.approx(.04)]
    assert [r['p_bh'] for r in rows] == [pytest.approx(.03), None, pytest.approx(.03), pytest.approx(.04)]
    assert adjust([dict(p=None)], 'p') == [dict(p=None, p_holm=None, p_bh=None)]


def test_a_study_of_one_cell_is_all_that_there_is():
    scores = check_scores(simulate(slope=1, tasks=1).query('target == "panx"'))
    found = analyse(scores, resource(), facts=languages())
    assert found['by_target'][0]['estimate'] == pytest.approx(found['primary']['estimate'])
    assert found['mixed_model'] is None or np.isfinite(found['mixed_model']['slope_per_tenfold_less'])
    json.loads(to_json(found))


@pytest.mark.parametrize('n', [3, 4, 6])
def test_few_languages(n):
    found = analyse(small(n, slope=1), resource(), facts=languages())
    json.loads(to_json(found))
    assert len(headline(found, 'x')) == 5 and found['conclusion']['verdict'] == 'undecided'
    assert found['minimum_detectable_effect'] is None and 'however large' in found['conclusion']['sentence']
    if n < 6:
        assert found['primary']['ci_low'] is None and found['equivalence']['p_value'] is None
        assert 'a group holds only' in found['conclusion']['sentence']


def test_nothing_varies():
    scores = small(9).assign(score=50.)
    found = analyse(scores, resource(), facts=languages())
    json.loads(to_json(found))
    assert found['primary']['estimate'] == 0 and found['primary']['p_value'] == 1
    assert found['conclusion']['verdict'] == 'undecided' and not found['equivalence']['equivalent'] and all(c['spearman'] is None for c in found['cells'])


def test_languages_without_facts():
    scores, measure = small(9, slope=1), resource()
    codes = {c: f'q{chr(97 + i)}a' for i, c in enumerate(sorted(set(scores.language) - {'en'}))}
    renamed = analyse(scores.assign(language=scores.language.replace(codes)), measure.rename(index=codes).rename('own'))
    assert renamed['primary']['estimate'] == pytest.approx(primary(scores, measure)['estimate'])
    assert {s['measure'] for s in renamed['specifications']} == {'own'} and renamed['by_family'] == renamed['by_script'] == []


def test_by_task_keeps_the_groups_of_the_study():
    lost = centred(degradations(check_scores(simulate(slope=1))))
    low, high = split(language_means(lost).index, resource())
    rows = {r['target']: r for r in by_task(lost, 'target', low, high)}
    assert (rows['pawsx']['n_low'], rows['pawsx']['estimate']) == (0, None) and rows['xnli']['n_low'] == 2
    raw = lost[lost.target == 'xnli'].groupby('intermediate').degradation.mean().mean()
    assert rows['xnli']['mean'] == pytest.approx(raw)


def test_by_kind_is_an_analysis_of_variance():
    import statsmodels.formula.api as smf
    values = language_means(centred(degradations(check_scores(simulate(slope=1)))))
    rows = {r['script']: r for r in by_kind(values, languages().script)}
    data = pd.DataFrame(dict(v=values, script=languages().script[values.index]))
    fit = smf.ols('v ~ 0 + C(script)', data).fit()
    assert [rows['Cyrillic']['ci_low'], rows['Cyrillic']['ci_high']] == pytest.approx(fit.conf_int().loc['C(script)[Cyrillic]'].tolist())
    assert all(r['ci_low'] is None for r in by_kind(values[:3], pd.Series(['a', 'b', 'c'], values.index[:3], name='family')))


def test_equivalence_agrees_with_its_interval():
    rng = np.random.default_rng(0)
    for shift in np.linspace(-1.5, 1.5, 13):
        found = equivalence(rng.normal(shift, 1, 20), rng.normal(0, 1, 15))
        assert found['equivalent'] == (-1 < found['ci_low'] and found['ci_high'] < 1)


def test_minimum_detectable_effect_shrinks_with_languages():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 40))
    sizes = [minimum_detectable_effect(a[:n], b[:n]) for n in (4, 8, 40)]
    assert sizes == sorted(sizes, reverse=True) and minimum_detectable_effect(a[:3], b[:3]) is None


def test_the_task_that_hurt_most():
    rows = [dict(intermediate='qqp', mean=2., estimate=1., p_value=.02), dict(intermediate='mnli', mean=-3., estimate=None, p_value=None)]
    assert task_line(rows) == 'The intermediate task that hurt most: qqp, at a cost of 2.00 points on average over targets and languages; low minus high 1.00 points, p = 0.02.'
    assert task_line(rows[1:]) == 'The intermediate task that helped least: mnli, with a gain of 3.00 points on average over targets and languages.'


def test_what_the_groups_lost_stands_beside_the_difference(analysis):
    "Where everybody gains, 'harm' must not read as if somebody had lost."
    gained = {**analysis, 'raw': dict(low=-5.9, high=-9.1)}
    assert 'the low-resource languages gained 5.90 points and the high-resource languages gained 9.10 points' in conclusion(gained)['sentence']
    assert 'or gave them as much less' in conclusion(gained)['sentence'] and conclusion(gained)['verdict'] == 'harm'
    lost, groups = degradations(check_scores(simulate(slope=1))), analysis['primary']['groups']
    means = language_means(lost, 'degradation')
    assert analysis['raw'] == pytest.approx({g: means[groups[g]].mean() for g in groups})


@pytest.mark.parametrize('ends, p, words', [((.2, 3.), .2, 'point different ways'), ((-.2, 3.), .01, 'point different ways'), ((.2, 3.), .01, None)])
def test_an_interval_that_disagrees_with_its_p_value_is_explained(ends, p, words):
    given = made_up(1.5, p, .9)
    given['primary'] |= dict(ci_low=ends[0], ci_high=ends[1], ci_coverage=.95)
    said = conclusion(given)['sentence']
    assert (words in said) if words else 'point different ways' not in said


def test_an_interval_of_few_languages_says_how_often_it_holds():
    given = made_up(2.3, .0079, .9)
    given['primary'] |= dict(ci_coverage=.883)
    assert 'about 88 % of studies, not 95 %' in conclusion(given)['sentence']
    assert .86 < interval_coverage(5, 5) < .9 and .7 < interval_coverage(2, 11) < .78 and .92 < interval_coverage(13, 13) < .95 and interval_coverage(1, 5) is None
    rng = np.random.default_rng(0)  # and so it is
    held = [lo <= 0 <= hi for lo, hi in (bootstrap_interval(rng.normal(size=4), rng.normal(size=6), draws=400) for _ in range(1500))]
    assert np.mean(held) == pytest.approx(interval_coverage(4, 6), abs=.03)


def test_the_detectable_effect_of_few_languages_is_simulated():
    rng = np.random.default_rng(2)
    for k, m in ((4, 4), (5, 5), (3, 6)):
        size = effect_size(k, m, .8, .05)
        hits = [permutation_p(rng.normal(size, 1, k), rng.normal(0, 1, m))['p_value'] < .05 for _ in range(800)]
        assert np.mean(hits) == pytest.approx(.8, abs=.05)


def test_by_task_is_adjusted_and_says_where_there_is_a_floor(analysis):
    rows = [dict(target=t, estimate=e, p_value_holm=p, baseline_low=b) for t, e, p, b in (('tatoeba', -4.7, .3, 4.4), ('panx', 7.5, .01, 40.), ('xnli', 1., .9, 50.))]
    said = spread_line(rows)
    for part in ('from −4.70 points in tatoeba to 7.50 in panx', 'over 3 targets, panx is significant', 'near zero in tatoeba (4 %)'): assert part in said
    assert 'none is significant' in spread_line([r | dict(p_value_holm=.5) for r in rows]) and 'single target' in spread_line(rows[:1])
    for row in analysis['by_target']:
        assert row['p_value_holm'] is None or row['p_value_holm'] >= row['p_value']
        assert (row['ci_low'] is None) == (min(row['n_low'], row['n_high']) < FEW)


@pytest.mark.parametrize('measure, words', [('cc100_gib', 'tenfold less pretraining text'), ('wiki', 'tenfold less Wikipedia'), ('joshi', 'tenfold smaller value of joshi')])
def test_the_dose_names_its_measure(measure, words):
    fit = dict(slope_per_tenfold_less=1., ci_low=.5, ci_high=1.5, p_value=.01)
    assert words in slope_line(fit, measure) and f'no two values of {measure} above 0.1' in slope_line(None, measure)


def test_how_scores_found_their_baselines():
    scores = small(9, slope=1)
    assert pairing(scores, 'en') == dict(seed=len(scores[(scores.intermediate != 'none') & (scores.language != 'en')]), mean=0, left_out=0)
    tested = scores.intermediate != 'none'
    lacking = scores[tested | (scores.seed == 0)]
    n = int((tested & (scores.language != 'en')).sum())
    assert pairing(lacking, 'en') == dict(seed=n // 3, mean=0, left_out=2 * n // 3)
    assert pairing(lacking.assign(seed=lacking.seed + 10 * tested[lacking.index]), 'en') == dict(seed=0, mean=n, left_out=0)


def full_size():
    "40 languages, 99 cells, 5 seeds."
    places = pd.DataFrame([(t, c) for t in 'xnli pawsx udpos panx xquad mlqa tydiqa bucc2018 tatoeba'.split() for c in resource().index], columns=['target', 'language'])
    scores = simulate(slope=.5, tasks=9, seeds=5, places=places)
    more = scores[scores.intermediate.isin(['mnli', 'qqp'])]
    return check_scores(pd.concat([scores, more.assign(intermediate=more.intermediate + '-mlm')]))


def test_a_full_study_in_a_minute_and_a_gigabyte():
    begun = time.perf_counter()
    found = analyse(full_size(), resource(), facts=languages())
    seconds, peak = time.perf_counter() - begun, system.getrusage(system.RUSAGE_SELF).ru_maxrss / 2 ** 20
    assert (found['cells_run'], found['languages'], len(found['seeds'])) == (99, 39, 5)
    assert seconds < 60 and peak < 1.5, (seconds, peak)  # the test process holds pytest and other tests' leftovers besides
    assert found['primary']['ci_low'] < found['primary']['estimate'] < found['primary']['ci_high']


def test_a_variant_against_its_plain_form():
    rng, codes = np.random.default_rng(0), [f'l{i:02d}' for i in range(12)]
    size = pd.Series(np.arange(1, 13.), codes, name='text')
    rows = [dict(study='s', intermediate=i, target=t, language=c, metric='accuracy', seed=0, n=100,
                 score=50 + rng.normal() + {'none': 0, 'mnli': 5, 'mnli-mlm': 5 + 4 * (size[c] <= 4), 'mnli-mt': 4}[i])
            for i in ('none', 'mnli', 'mnli-mlm', 'mnli-mt') for t in ('xnli', 'pawsx') for c in codes]
    found = against_plain(check_scores(pd.DataFrame(rows)), size, pivot='en').set_index('variant')
    assert list(found.index) == ['mnli-mlm', 'mnli-mt'] and set(found.plain) == {'mnli'}
    mlm, mt = found.loc['mnli-mlm'], found.loc['mnli-mt']
    assert mlm.low == pytest.approx(4, abs=1.5) and abs(mlm.high) < 1.5 and mlm.estimate > 2 and mlm.p_value < .05 and mlm.ci_low > 0
    assert mt.p_value > .05 and mt.low == pytest.approx(-1, abs=1.5)
    assert 'mnli-mlm serves the low-resource languages more' in variant_line({'variant': 'mnli-mlm', **mlm})
    assert 'shows no clear difference' in variant_line({'variant': 'mnli-mt', **mt})
    assert against_plain(check_scores(pd.DataFrame(rows)).query('intermediate != "mnli"'), size).empty
    assert f'gain {number(mlm.low)} points (± {number(mlm.low_half)})' in variant_line({'variant': 'mnli-mlm', **mlm}) and 0 < mlm.low_half < 2
    table = check_scores(pd.DataFrame(rows))
    half = against_plain(table[(table.intermediate != 'mnli') | (table.target == 'xnli')], size, pivot='en').set_index('variant')  # the plain pawsx run failed
    whole = against_plain(table[table.target == 'xnli'], size, pivot='en').set_index('variant')
    pd.testing.assert_frame_equal(half, whole)
    few = table[(table.intermediate != 'mnli-mlm') | table.language.isin(codes[:2])]
    assert list(against_plain(few, size, pivot='en').variant) == ['mnli-mt']


@pytest.mark.parametrize('exact, said', [(True, 'which is exact, decides'), (False, 'which assumes no shape of the distribution, decides')])
def test_a_sampled_p_value_is_not_called_exact(exact, said):
    assert said in ' '.join(doubts(dict(ci_low=.1, ci_high=2., p_value=.06, exact=exact)))


def test_a_dose_says_how_many_lie_below_its_floor():
    rows, codes = full_size(), languages().index
    measure = resource() / 1000
    found = analyse(rows, measure, facts=languages())['mixed_model']
    assert found['floored'] > 20 and f"{found['floored']} of the languages have less than 0.1 and count as 0.1" in slope_line(found, 'GiB')
    assert 'count as' not in slope_line(found | {'floored': 0}, 'GiB')
