"Scales, covariates and the specification curve."
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from xlt.degradation import centred, check_scores, degradations, language_means, primary, split
from xlt.languages import languages, resource
from xlt.robustness import (SCALES, adjusted, agreement, arrays, baseline_versions, contrast, curve_summary, logit, span, specifications, values_of)
from xlt.simulation import simulate

MEASURES = {m: resource(m) for m in ('cc100_gib', 'wiki', 'joshi')}


@pytest.fixture(scope='module')
def lost(): return degradations(check_scores(simulate(slope=1)))


@pytest.fixture(scope='module')
def curve(lost): return pd.DataFrame(specifications(lost, MEASURES, languages()))


def the(curve, **choices):
    default = dict(measure='cc100_gib', grouping='tertiles', retrieval='in', scale='points', constant='nothing', left_out='nothing') | choices
    return curve[np.all([curve[k] == v for k, v in default.items()], axis=0)].squeeze()


def again(scores, **how):
    "A specification the long way round: change the table, then analyse it."
    return primary(check_scores(scores), how.pop('measure', resource()), **how)['estimate']


def test_every_choice_is_what_analysing_a_changed_table_gives(curve):
    scores = check_scores(simulate(slope=1))
    for choices, estimate in [({}, again(scores)), (dict(grouping='median'), again(scores, how='median')),
                              (dict(measure='wiki'), again(scores, measure=resource('wiki'))),
                              (dict(measure='joshi', grouping='joshi'), again(scores, how='joshi')),
                              (dict(retrieval='out'), again(scores[~scores.target.isin(['tatoeba', 'bucc2018'])])),
                              (dict(left_out='language sw'), again(scores[scores.language != 'sw'])),
                              (dict(left_out='family Uralic'), again(scores[~scores.language.isin(['et', 'fi', 'hu'])])),
                              (dict(left_out='target panx'), again(scores[scores.target != 'panx'])),
                              (dict(left_out='intermediate mnli'), again(scores[scores.intermediate != 'mnli']))]:
        assert the(curve, **choices).estimate == pytest.approx(estimate, rel=1e-5), choices


def test_no_specification_twice(curve):
    choices = ['measure', 'grouping', 'retrieval', 'scale', 'constant', 'left_out']
    assert not curve.duplicated(choices).any()
    assert not curve[(curve.retrieval == 'out')].left_out.isin(['target tatoeba', 'target bucc2018']).any(), 'what is out already cannot be left out'
    same = curve.duplicated([*choices[:2], 'scale', 'constant', 'n', 'estimate', 'se'])
    assert not same.any(), curve[same][choices]


def test_equals_are_not_divided(curve):
    "Joshi's classes are six: thirds of 39 languages by them would part languages of the same class."
    assert 'tertiles' not in set(curve[curve.measure == 'joshi'].grouping) and set(curve[curve.measure == 'wiki'].grouping) == {'tertiles', 'median'}


def test_noise_in_the_baseline_makes_no_effect():
    "One noisy seed, no effect: by the level the adjusted estimate is zero on average; by the baseline alone it was not."
    level, alone = [], []
    for seed in range(40):
        lost = degradations(check_scores(simulate(seeds=1, noise=4., seed=seed)))
        values, base = language_means(centred(lost)), language_means(centred(lost, 'baseline'))
        low, high = split(values.index, resource())
        both = [*low, *high]
        level.append(adjusted(lost, low, high)['estimate'].item())
        alone.append(contrast(values[both].to_numpy()[:, None], np.isin(both, low), span(base[both].to_numpy()[:, None], len(both)))['estimate'].item())
    assert abs(np.mean(level)) < 3 * np.std(level) / 40 ** .5 < np.mean(alone)


def test_covariates_against_statsmodels(lost, curve):
    values, base = (language_means(centred(t, c)) for t, c in ((lost, 'degradation'), (lost.assign(level=(lost.baseline + lost.score) / 2), 'level')))
    low, high = split(values.index, resource())
    both = [*low, *high]
    X = sm.add_constant(np.column_stack([np.isin(both, low), base[both]]).astype(float))
    fit = sm.OLS(values[both].to_numpy(), X).fit()
    mine = the(curve, constant='level')
    assert [mine.estimate, mine.se, mine.p_value] == pytest.approx([fit.params[1], fit.bse[1], fit.pvalues[1]], rel=1e-4)
    assert [mine.ci_low, mine.ci_high] == pytest.approx(fit.conf_int()[1], rel=1e-4)
    mine = baseline_versions(lost, low, high)['adjusted']
    assert mine['estimate'] == pytest.approx(fit.params[1]) and mine['p_value'] == pytest.approx(fit.pvalues[1])


def test_a_family_on_one_side_drops_out_of_the_comparison():
    family = np.array(list('aabbcc'))
    low, y = np.array([1, 1, 1, 0, 0, 0], bool), np.array([9., 9, 3, 1, 0, 0])
    found = contrast(y[:, None], low, span(pd.get_dummies(family).to_numpy(float), 6))
    assert found['estimate'].item() == pytest.approx(2)  # only family b has both


def test_what_cannot_be_estimated_is_left_out():
    low, y = np.array([1, 1, 1, 0, 0, 0], bool), np.arange(6.)[:, None]
    assert contrast(y, low, span(low[:, None].astype(float), 6)) is None
    assert contrast(y[:3], low[[0, 1, 5]], span(None, 3)) is None


def test_logit_is_finite_at_both_ends():
    assert np.isfinite(logit(pd.Series([0., 100.]), pd.Series([10, 10]))).all()


def test_missing_cells_are_centred_over_what_is_there(lost):
    grid = arrays(lost)
    assert np.isnan(grid['points']).any()
    for scale, f in SCALES.items():
        means = language_means(centred(lost.assign(loss=f(lost)), 'loss'))
        assert values_of(grid[scale]) == pytest.approx(means[grid['languages']].to_numpy())


def test_agreement_in_words():
    yes, no, none = dict(estimate=1., p_value=.01), dict(estimate=-1., p_value=.01), dict(estimate=.1, p_value=.5)
    same = agreement(dict(points=yes, relative=yes, logit=yes, adjusted=yes))
    assert same['agree'] and 'each says that low-resource languages lost more' in same['sentence']
    assert agreement(dict(points=none, relative=none, logit=none, adjusted=none))['agree']
    other = agreement(dict(points=none, relative=none, logit=none, adjusted=dict(estimate=-2.29, p_value=.072, unit='points')))
    assert not other['agree'] and 'not all on one side of zero' in other['sentence'] and '−2.29 points' in other['sentence']
    near = agreement(dict(points=yes, relative=yes, logit=yes, adjusted=dict(estimate=.9, p_value=.06)))
    assert not near['agree'] and 'are on one side of zero, but not all are significant' in near['sentence']
    differ = agreement(dict(points=yes, relative=no, logit=none, adjusted=dict(estimate=None, p_value=None)))
    for part in ('disagree', 'the raw comparison says that low-resource languages lost more', 'the relative one says that low-resource languages lost less',
                 'log-odds shows no clear difference', 'adjusted for the level cannot be estimated'):
        assert part in differ['sentence']
    assert not differ['agree']


def test_summary():
    assert curve_summary([])['n'] == 0
    rows = [dict(effect=1., p_value=.01), dict(effect=.5, p_value=.2), dict(effect=-1., p_value=.01), dict(effect=2., p_value=.04)]
    found = curve_summary([r | dict(left_out='nothing') for r in rows] + [dict(effect=-1., p_value=.5, left_out='language sw')])
    assert (found['n'], found['leave_one_out']['n'], found['leave_one_out']['positive']) == (4, 1, 0.)
    assert (found['positive'], found['significant_positive'], found['significant_negative'], found['median_effect']) == (.75, .5, .25, .75)


def test_only_retrieval_can_be_left_out():
    "A study of retrieval alone has no version without it, one without retrieval none with it left out."
    lost = degradations(check_scores(simulate(slope=1).query('target in ("tatoeba",)')))
    assert {r['retrieval'] for r in specifications(lost, MEASURES)} == {'in'}
    lost = degradations(check_scores(simulate(slope=1).query('target == "panx"')))
    assert {r['retrieval'] for r in specifications(lost, MEASURES)} == {'in'}
