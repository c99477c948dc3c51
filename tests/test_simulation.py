"Simulated studies have the truth that was asked for, and the calibration's machinery counts rightly."
import numpy as np
import pandas as pd
import pytest
from xlt.stats.comparisons import equivalence, rate_with_interval
from xlt.stats.randomised import EFFECT_COLUMNS, slopes_by_study, pool_studies, resource_effect, stack_studies
from xlt.stats.calibration import simulate_block, rejections, sample_places, trials
from xlt.stats.scores import check_scores
from xlt.stats.degradation import degradations, language_effects, primary, split_groups
from xlt.common.errors import XltError
from xlt.languages.measures import languages, resource
from xlt.stats.dose import dose
from xlt.stats.simulation import SCATTER, coverage, simulate, simulate_studies, simulation_table, truth

QUIET = dict.fromkeys(SCATTER, 0.)


def test_a_quiet_study_has_exactly_the_slope_asked_for():
    lost = degradations(check_scores(simulate(slope=1.5, **QUIET)))
    one = lost[(lost.intermediate == 'mnli') & (lost.target == 'panx')].set_index('language').degradation
    x = np.log10(resource().clip(.1))[one.index]
    assert np.polyfit(x, one, 1)[0] == pytest.approx(-1.5)


@pytest.mark.parametrize('what, expected', [('language', .5), ('rest', .5)])
def test_scatter_is_as_large_as_asked_for(what, expected):
    places = pd.DataFrame([(t, c) for t in ('panx', 'udpos', 'xnli', 'xquad') for c in resource().index], columns=['target', 'language'])
    lost = degradations(check_scores(simulate(places=places, tasks=9, **(QUIET | {what: expected}))))
    effects = language_effects(lost)
    within = (lost.degradation - lost.language.map(effects)).groupby(lost.language).std().mean()
    between = effects.std()
    assert (within, between)[what == 'language'] == pytest.approx(expected, rel=.25)
    assert (between, within)[what == 'language'] < .2


def test_uneven_scatter():
    means, size = language_effects(degradations(check_scores(simulate(uneven=4., seed=1)))), resource()
    few = size[means.index] < size.drop('en').median()
    assert means[few].std() > 2 * means[~few].std()


def test_the_same_seed_gives_the_same_study():
    pd.testing.assert_frame_equal(simulate(slope=1, seed=5), simulate(slope=1, seed=5))
    assert not simulate(seed=5).score.equals(simulate(seed=6).score)


def test_truth_is_what_was_put_in():
    "From the groups' resources alone; and an analysis of a study without scatter finds it, in every coverage."
    x = np.log10(resource().clip(.1))
    low, high = split_groups(resource().drop('en').index, resource())
    assert truth(0) == 0 and truth(2, 3.) == pytest.approx(3 + 2 * (x[high].mean() - x[low].mean()))
    for places in (coverage(), sample_places(15, 1), sample_places(21, 2), sample_places(15, 3, complete=True)):
        codes = sorted(set(places.language) - {'en'})
        found = primary(simulate(1.5, difference=2., places=places, **QUIET), resource())
        assert found['estimate'] == pytest.approx(truth(1.5, 2., codes))


def test_families_are_as_alike_as_asked_for():
    score = simulate_studies(4000, kin=.3, tasks=1, seeds=1, places=sample_places(39, 0, complete=True).query('target == "panx"').reset_index(drop=True), **(QUIET | dict(language=1.)))
    lost = score[:, 0, :, 0] - score[:, 1, :, 0]
    codes = list(sample_places(39, 0, complete=True).query('target == "panx"').language)
    family, r = languages().family[codes].to_numpy(), np.corrcoef(lost.T)
    same = (family[:, None] == family) & ~np.eye(39, dtype=bool)
    assert r[same].mean() == pytest.approx(.3, abs=.02) and abs(r[~same & ~np.eye(39, dtype=bool)].mean()) < .01 and lost.std() == pytest.approx(1, abs=.02)


def test_a_loss_may_go_with_the_level():
    lost = degradations(simulate(by_level=.2, **(QUIET | dict(level=5.))))
    one = lost[lost.target == 'panx']
    assert np.polyfit(one.baseline, one.degradation, 1)[0] == pytest.approx(.2)


def test_coverage_is_xtremes():
    assert len(coverage()) == 162 and coverage().language.nunique() == 40 and not coverage().duplicated().any()


def test_many_studies_at_once_are_those_that_one_would_analyse_alone():
    design = dict(seed=5, n=15, slope=1., kin=.3)
    few, places = simulate_block(4, mixed=2, **design), sample_places(15, 5)
    for k, score in enumerate(simulate_studies(4, 1., seed=5, places=places, kin=.3)):
        table = check_scores(simulation_table(score, ['none', 'anli_plus', 'mnli', 'qqp'], places))
        whole, values = primary(table, resource()), language_effects(degradations(table))
        low, high = (values[c] for c in whole['groups'].values())
        assert [few.estimate[k], few.p_permutation[k]] == pytest.approx([whole['estimate'], whole['p_value']])
        assert few.held[k] == (whole['ci_low'] <= few.truth[k] <= whole['ci_high']) and few.equivalent[k] == equivalence(low, high)['equivalent']
        assert few.held_welch[k] == (whole['welch']['ci_low'] <= few.truth[k] <= whole['welch']['ci_high'])
    assert few.p_mixed[1] > 0 and few.p_mixed.notna().sum() == 2


def test_blocks_draw_their_own_languages_and_repeat_themselves():
    one, two = (trials(120, first=7, n=15, slope=1.) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    assert len(one) == 120 and one.truth.nunique() == 3


def test_complete_coverage():
    places = sample_places(39, 0, complete=True)
    assert len(places) == 9 * 39 and not places.duplicated().any() and simulate_block(2, 0, complete=True, slope=1.).truth[0] == pytest.approx(truth(1.))


def test_rates():
    assert rate_with_interval(pd.Series([True] * 5 + [False] * 95)) == pytest.approx(dict(rate=.05, mc_low=.02154, mc_high=.11175, studies=100), abs=1e-4)
    table = rejections(pd.DataFrame(dict(p_permutation=[.01, .5], p_rows=[.01, .02])))
    assert table.rate.tolist() == [.5, 1] and table.studies.tolist() == [2, 2]


def test_calibration_in_small():
    "What the validation does with a thousand studies: five languages a group, alike within families, a difference of two points."
    found = trials(400, n=15, kin=.3, difference=2.)
    assert .92 < found.held.mean() < .975 and abs(found.estimate.mean() - 2) < 3 * found.estimate.std() / 20
    assert .9 < found.held_adjusted.mean() and abs(found.adjusted.mean() - 2) < 3 * found.adjusted.std() / 20
    assert found.centred.mean() < 1.9, 'and the shortcut would not pass'


def test_an_effect_is_found():
    "Twenty studies with one and a half points per tenfold: a test that never rejects would pass the other one."
    found = trials(20, slope=1.5)
    assert (found.p_permutation < .05).sum() > 15 and (found.estimate - found.truth).mean() == pytest.approx(0, abs=.3)


def rows(n, slope, **columns):
    size = np.geomspace(100, 30_000, n)
    effect = columns.pop('effect', -slope * np.log10(size))
    return pd.DataFrame(dict(language=[f'l{i}' for i in range(n)], resource=size, effect=effect, effect_relative=3 * effect, effect_logit=effect / 20,
                             level=np.arange(n) % 3, family=['a', 'b'] * (n // 2) + ['a'] * (n % 2), script='x') | columns).to_dict('records')


def test_separating_causes():
    rng = np.random.default_rng(0)
    found = resource_effect(stack_studies({k: rows(12, .7, effect=-.7 * np.log10(np.geomspace(100, 30_000, 12)) + rng.normal(0, .1, 12)) for k in 'ab'}))
    assert found['slope_per_tenfold_less'] == pytest.approx(.7, abs=.15) and found['p_script'] is None and (found['n'], found['studies']) == (24, 2)
    with pytest.raises(XltError, match='too few'): resource_effect(stack_studies({'a': rows(4, 1)}))
    with pytest.raises(XltError, match='lab-1: per_language has no family'): stack_studies({'lab-1': pd.DataFrame(rows(6, 1)).drop(columns='family').to_dict('records')})


def test_the_pooled_answer_is_on_all_four_scales():
    rng = np.random.default_rng(1)
    size = np.geomspace(100, 30_000, 12)
    table = stack_studies({k: rows(12, .7, effect=-.7 * np.log10(size) + rng.normal(0, .1, 12)) for k in 'abc'})
    found = pool_studies(table)
    assert set(found['scales']) == set(EFFECT_COLUMNS) == {'points', 'relative', 'logit', 'adjusted'} and found['verdict'] == 'lost_more'
    assert found['scales']['relative']['together']['slope_per_tenfold_less'] == pytest.approx(3 * found['scales']['points']['together']['slope_per_tenfold_less'])
    level = table.assign(level=100 - 10 * table.less + rng.normal(0, .1, 36), effect=-10 * table.less + rng.normal(0, .1, 36))  # it is all the level's doing
    level = level.assign(effect=level.level)
    assert abs(slopes_by_study(level, 'adjusted')['mean']) < 1e-6 < abs(slopes_by_study(level)['mean']) and pool_studies(level)['verdict'] == 'undecided'


def test_the_dose_keeps_its_promise_where_targets_have_favourites():
    "Without the intercept of target and language one study in twelve raised a false alarm."
    hits = [dose(degradations(simulate(place=2., tasks=6, seeds=1, seed=s)), resource())['p_value'] < .05 for s in range(60)]
    assert sum(hits) < 10
