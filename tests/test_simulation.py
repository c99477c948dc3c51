"Simulated studies have the truth that was asked for, and the calibration's machinery counts rightly."
import numpy as np
import pandas as pd
import pytest
from xlt.assigned import separate, stack
from xlt.calibration import rate, rejections, some_places, trial, trials
from xlt.degradation import centred, check_scores, degradations, language_means, primary
from xlt.languages import XltError, resource
from xlt.simulation import SCATTER, coverage, simulate, truth

QUIET = dict.fromkeys(SCATTER, 0.)


def test_a_quiet_study_has_exactly_the_slope_asked_for():
    lost = degradations(check_scores(simulate(slope=1.5, **QUIET)))
    one = lost[(lost.intermediate == 'mnli') & (lost.target == 'panx')].set_index('language').degradation
    x = np.log10(resource().clip(.1))[one.index]
    assert np.polyfit(x, one, 1)[0] == pytest.approx(-1.5)


@pytest.mark.parametrize('what, expected', [('language', .5), ('rest', .5)])
def test_scatter_is_as_large_as_asked_for(what, expected):
    places = pd.DataFrame([(t, c) for t in ('panx', 'udpos', 'xnli', 'xquad') for c in resource().index], columns=['target', 'language'])
    lost = centred(degradations(check_scores(simulate(places=places, tasks=9, **(QUIET | {what: expected})))))
    within = lost.groupby('language').centred.std().mean()
    between = language_means(lost).std()
    assert (within, between)[what == 'language'] == pytest.approx(expected, rel=.25)
    assert (between, within)[what == 'language'] < .2


def test_uneven_scatter():
    lost = centred(degradations(check_scores(simulate(uneven=4., seed=1))))
    means, size = language_means(lost), resource()
    few = size[means.index] < size.drop('en').median()
    assert means[few].std() > 2 * means[~few].std()


def test_the_same_seed_gives_the_same_study():
    pd.testing.assert_frame_equal(simulate(slope=1, seed=5), simulate(slope=1, seed=5))
    assert not simulate(seed=5).score.equals(simulate(seed=6).score)


def test_truth():
    assert truth(0) == pytest.approx(0, abs=1e-9) and truth(2) == pytest.approx(2 * truth(1))
    assert primary(simulate(slope=1, **QUIET), resource())['estimate'] == pytest.approx(truth(1))


def test_coverage_is_xtremes():
    assert len(coverage()) == 162 and coverage().language.nunique() == 40 and not coverage().duplicated().any()


def test_studies_do_not_depend_on_the_number_of_processes():
    one, two = (trials(4, workers, first=7, draws=100) for workers in (1, 2))
    pd.testing.assert_frame_equal(one, two)
    assert one.seed.tolist() == [7, 8, 9, 10]


def test_a_trial_of_few_languages():
    found = trial(3, slope=1, n=12, mixed=True)
    assert found['truth'] == pytest.approx(truth(1, places=some_places(12, 3))) and {'p_mixed', 'held_mixed'} <= found.keys()


def test_complete_coverage():
    places = some_places(39, 0, complete=True)
    assert len(places) == 9 * 39 and not places.duplicated().any() and trial(0, complete=True, draws=100)['truth'] == pytest.approx(0, abs=1e-9)


def test_rates():
    assert rate(pd.Series([True] * 5 + [False] * 95)) == pytest.approx(dict(rate=.05, mc_low=.02154, mc_high=.11175, studies=100), abs=1e-4)
    table = rejections(pd.DataFrame(dict(p_permutation=[.01, .5], p_rows=[.01, .02])))
    assert table.rate.tolist() == [.5, 1] and table.studies.tolist() == [2, 2]


def test_calibration_in_small():
    "Sixty studies without an effect: 13 or more significant ones (p = 0.0001) would mean that something is broken."
    found = trials(60, draws=500)
    assert (found.p_permutation < .05).sum() < 13 and found.held.sum() > 48 and abs(found.estimate.mean()) < .15


def test_an_effect_is_found():
    "Twenty studies with one and a half points per tenfold: a test that never rejects would pass the other one."
    found = trials(20, draws=500, slope=1.5)
    assert (found.p_permutation < .05).sum() > 15 and (found.estimate - found.truth).mean() == pytest.approx(0, abs=.3)


def rows(n, slope, **columns):
    size = np.geomspace(100, 30_000, n)
    return pd.DataFrame(dict(language=[f'l{i}' for i in range(n)], resource=size, centred=-slope * np.log10(size), family=['a', 'b'] * (n // 2) + ['a'] * (n % 2),
                             script='x') | columns).to_dict('records')


def test_separating_causes():
    rng = np.random.default_rng(0)
    found = separate(stack({k: rows(12, .7, centred=-.7 * np.log10(np.geomspace(100, 30_000, 12)) + rng.normal(0, .1, 12)) for k in 'ab'}))
    assert found['slope_per_tenfold_less'] == pytest.approx(.7, abs=.15) and found['p_script'] is None and (found['n'], found['studies']) == (24, 2)
    with pytest.raises(XltError, match='too few'): separate(stack({'a': rows(4, 1)}))
    with pytest.raises(XltError, match='lab-1: per_language has no family'): stack({'lab-1': pd.DataFrame(rows(6, 1)).drop(columns='family').to_dict('records')})
