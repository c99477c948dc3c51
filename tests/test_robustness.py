"Scales, covariates and the specification curve."
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from xlt.stats.scores import check_scores
from xlt.stats.degradation import degradations, effects_of, language_effects, primary, split_groups
from xlt.languages.measures import language_table, resource
from xlt.stats.robustness import (LOSS_SCALES, agreement, study_arrays, baseline_versions, contrast, curve_summary, freedman_lane, level_adjusted, level_of, logit, noise_from_seeds,
                            baseline_noise_share, interval_by_inversion, noise_share_of, covariate_basis, specifications)
from xlt.stats.simulation import simulate
from xlt.tasks.cards import TASKS

MEASURES = {m: resource(m) for m in ('cc100_gib', 'wiki', 'joshi')}


@pytest.fixture(scope='module')
def lost(): return degradations(check_scores(simulate(slope=1)))


@pytest.fixture(scope='module')
def curve(lost): return pd.DataFrame(specifications(lost, MEASURES, language_table()))


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
    whole = curve[curve.left_out == 'nothing']
    same = whole.duplicated([*choices[:2], 'scale', 'constant', 'n', 'estimate', 'se'])
    assert not same.any(), whole[same][choices]


def test_retrieval_left_out_is_an_analysis_of_all_data_even_if_it_is_one_target(lost, monkeypatch):
    "To leave the only retrieval target out is to leave retrieval out: once, among the specifications on the full data; a study's own card counts as well."
    one = lost[lost.target.isin(['panx', 'udpos', 'tatoeba'])]
    found = pd.DataFrame(specifications(one, MEASURES, language_table()))
    whole = found[found.left_out == 'nothing']
    assert set(whole.retrieval) == {'in', 'out'} and (whole.retrieval == 'in').sum() == (whole.retrieval == 'out').sum() and 'target tatoeba' not in set(found.left_out)
    monkeypatch.setitem(TASKS, 'mine', TASKS['tatoeba'])
    mine = pd.DataFrame(specifications(one.replace({'target': {'tatoeba': 'mine'}}), MEASURES, language_table()))
    pd.testing.assert_frame_equal(mine[mine.left_out == 'nothing'], whole)


def test_equals_are_not_divided(curve):
    "Joshi's classes are six: thirds of 39 languages by them would part languages of the same class."
    assert 'tertiles' not in set(curve[curve.measure == 'joshi'].grouping) and set(curve[curve.measure == 'wiki'].grouping) == {'tertiles', 'median'}


def of_level(share, **world):
    "The level-adjusted estimate of forty simulated studies, with the level cleared of a given share of the degradation, or of the one that is found."
    out = []
    for seed in range(40):
        scores = check_scores(simulate(seed=seed, **world))
        lost = degradations(scores)
        values = language_effects(lost)
        low, high = split_groups(values.index, resource())
        c = baseline_noise_share(scores[scores.language != 'en'], lost, low, high) if share is None else share
        level = language_effects(lost.assign(level=level_of(lost, c)), 'level')
        X = covariate_basis(np.column_stack([~values.index.isin([*low, *high]), level]), len(values))
        out.append(contrast(values.to_numpy()[:, None], values.index.isin(low), X)['estimate'].item())
    return np.mean(out), np.std(out) / 40 ** .5


@pytest.mark.parametrize('world, wrong', [(dict(noise=6.), 0.), (dict(language=3., difference=2.), .5)])
def test_the_luck_of_the_baseline_is_neither_kept_nor_overdone(world, wrong):
    "The baseline itself (share 0) errs where it is noisy, the mean of before and after (a half) where languages truly differ; the share that is found errs in neither."
    truth = world.get('difference', 0.)
    (found, se), (off, _) = of_level(None, **world), of_level(wrong, **world)
    assert abs(found - truth) < 3 * se < abs(off - truth)


def test_one_seed_takes_a_share_from_the_rows_and_never_more_than_a_half():
    scores = check_scores(simulate(seeds=1, language=3.))
    lost = degradations(scores)
    groups = split_groups(language_effects(lost).index, resource())
    assert baseline_noise_share(scores[scores.language != 'en'], lost, *groups) < .1, 'little noise, languages that truly differ'
    noisy = check_scores(simulate(seeds=1, noise=6.))
    assert baseline_noise_share(noisy[noisy.language != 'en'], degradations(noisy), *groups) == .5
    one = scores[scores.intermediate.isin(['none', 'mnli'])]
    assert baseline_noise_share(one[one.language != 'en'], degradations(one), *groups) == .5, 'one intermediate task and one seed tell nothing'


def test_the_luck_of_seeds_is_the_variance_of_a_mean():
    rng = np.random.default_rng(0)
    base = [50 + 3 * rng.normal(size=(400, 6, 20)) for _ in range(3)]
    assert noise_from_seeds(base).mean() == pytest.approx(9 / 6 / 3 * 19 / 20, rel=.05) and noise_from_seeds(base[:1]) is None
    assert noise_share_of(np.zeros(9), np.repeat([-1, 0, 1], 3), np.array(1.), None) == .5, 'where nothing varies'


def test_covariates_against_statsmodels(lost, curve):
    values, level = language_effects(lost), language_effects(lost.assign(level=level_of(lost)), 'level')
    low, high = split_groups(values.index, resource())
    middle = ~values.index.isin([*low, *high])
    X = sm.add_constant(np.column_stack([values.index.isin(low), middle, level]).astype(float))
    fit = sm.OLS(values.to_numpy(), X).fit()
    mine = the(curve, constant='level')
    assert [mine.estimate, mine.se, mine.p_value] == pytest.approx([fit.params[1], fit.bse[1], fit.pvalues[1]], rel=1e-4)
    assert [mine.ci_low, mine.ci_high] == pytest.approx(fit.conf_int()[1], rel=1e-4)
    mine = baseline_versions(lost, low, high)['adjusted']
    assert mine['estimate'] == pytest.approx(fit.params[1]) and mine['p_value'] == pytest.approx(fit.pvalues[1], abs=.02)
    assert [mine['ci_low'], mine['ci_high']] == pytest.approx(fit.conf_int()[1], abs=.15)


@pytest.mark.parametrize('n, effect', [(7, 0.), (8, 4.), (12, 1.), (12, -3.), (20, 1.5)])
def test_the_adjusted_interval_holds_what_the_adjusted_test_does_not_reject(n, effect):
    rng = np.random.default_rng(n)
    low, level = np.arange(n) < n // 2, rng.normal(size=n)
    y, basis = effect * low + .5 * level + rng.normal(size=n), covariate_basis(level[:, None], n)
    estimate, p_value = freedman_lane(y, low, basis, 0, 50_000, 2000)
    assert estimate == pytest.approx(contrast(y[:, None], low, basis)['estimate'].item())
    ends = interval_by_inversion(estimate, p_value, .5)
    assert (ends[0] > 0 or ends[1] < 0) == (p_value(0.) < .05) and ends[0] < estimate < ends[1]
    for d in np.linspace(estimate - 6, estimate + 6, 61): assert (ends[0] <= d <= ends[1]) == (p_value(d) >= .05)


def test_dealing_out_the_rest_keeps_its_promise():
    "A level that goes with the group: dealing the labels themselves would find too much."
    rng, hits = np.random.default_rng(0), []
    low = np.arange(15) < 5
    for _ in range(400):
        level, y = rng.normal(size=15) - 2 * low, rng.normal(size=15)
        hits.append(freedman_lane(y, low, covariate_basis(level[:, None], 15), 0, 1000, 400)[1](0.) < .05)
    assert .02 < np.mean(hits) < .085


def test_a_level_that_cannot_be_held_constant_says_nothing():
    lost = degradations(check_scores(simulate(slope=1))).query('language in ["yo", "sw", "ru", "de"]')
    assert level_adjusted(lost, ['yo', 'sw'], ['de', 'ru']) == dict.fromkeys(('estimate', 'ci_low', 'ci_high', 'p_value'))
    flat = lost.assign(score=50., degradation=0.)
    assert level_adjusted(pd.concat([flat.assign(language=flat.language + k) for k in 'ab']), ['yoa', 'yob', 'swa'], ['rua', 'rub', 'dea'])['p_value'] == 1


def test_a_family_on_one_side_drops_out_of_the_comparison():
    family = np.array(list('aabbcc'))
    low, y = np.array([1, 1, 1, 0, 0, 0], bool), np.array([9., 9, 3, 1, 0, 0])
    found = contrast(y[:, None], low, covariate_basis(pd.get_dummies(family).to_numpy(float), 6))
    assert found['estimate'].item() == pytest.approx(2)  # only family b has both


def test_what_cannot_be_estimated_is_left_out():
    low, y = np.array([1, 1, 1, 0, 0, 0], bool), np.arange(6.)[:, None]
    assert contrast(y, low, covariate_basis(low[:, None].astype(float), 6)) is None
    assert contrast(y[:3], low[[0, 1, 5]], covariate_basis(None, 3)) is None


def test_logit_is_finite_at_both_ends():
    assert np.isfinite(logit(pd.Series([0., 100.]), pd.Series([10, 10]))).all()


def test_the_curve_starts_from_the_language_effects(lost):
    grid = study_arrays(lost)
    assert np.isnan(grid['points']).any()
    for scale, f in LOSS_SCALES.items():
        assert effects_of(grid[scale]) == pytest.approx(language_effects(lost.assign(loss=f(lost)), 'loss')[grid['languages']].to_numpy())


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
