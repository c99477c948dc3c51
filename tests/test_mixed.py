"The mixed model against published fits of lme4, and against statsmodels."
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from xlt.stats.scores import check_scores
from xlt.stats.degradation import degradations
from xlt.languages.measures import languages, resource
from xlt.stats.dose import cross_products, dose, fit_crossed, random_intercepts, satterthwaite, solve
from xlt.stats.simulation import simulate

# Davies and Goldsmith (1972), section 6.5, as `Pastes` in lme4: ten batches of three casks, two assays each.
PASTES = np.array('''62.8 62.6 60.1 62.3 62.7 63.1 60 61.4 57.5 56.9 61.1 58.9 58.7 57.5 63.9 63.1 65.4 63.7 57.1 56.4 56.9 58.6 64.7 64.5
55.1 55.1 54.7 54.2 58.8 57.5 63.4 64.9 59.3 58.1 60.5 60 62.5 62.6 61 58.7 56.9 57.7 59.2 59.4 65.2 66 64.8 64.1 54.8 54.8 64 64 57.7 56.8
58.3 59.3 59.2 59.2 58.9 56.6'''.split(), float)
# Belenky et al. (2003), as `sleepstudy` in lme4: reaction times (ms) of 18 subjects on days 0 to 9.
SLEEP = np.array('''249.56 258.7047 250.8006 321.4398 356.8519 414.6901 382.2038 290.1486 430.5853 466.3535
222.7339 205.2658 202.9778 204.707 207.7161 215.9618 213.6303 217.7272 224.2957 237.3142
199.0539 194.3322 234.32 232.8416 229.3074 220.4579 235.4208 255.7511 261.0125 247.5153
321.5426 300.4002 283.8565 285.133 285.7973 297.5855 280.2396 318.2613 305.3495 354.0487
287.6079 285 301.8206 320.1153 316.2773 293.3187 290.075 334.8177 293.7469 371.5811
234.8606 242.8118 272.9613 309.7688 317.4629 309.9976 454.1619 346.8311 330.3003 253.8644
283.8424 289.555 276.7693 299.8097 297.171 338.1665 332.0265 348.8399 333.36 362.0428
265.4731 276.2012 243.3647 254.6723 279.0244 284.1912 305.5248 331.5229 335.7469 377.299
241.6083 273.9472 254.4907 270.8021 251.4519 254.6362 245.4523 235.311 235.7541 237.2466
312.3666 313.8058 291.6112 346.1222 365.7324 391.8385 404.2601 416.6923 455.8643 458.9167
236.1032 230.3167 238.9256 254.922 250.7103 269.7744 281.5648 308.102 336.2806 351.6451
256.2968 243.4543 256.2046 255.5271 268.9165 329.7247 379.4445 362.9184 394.4872 389.0527
250.5265 300.0576 269.8939 280.5891 271.8274 304.6336 287.7466 266.5955 321.5418 347.5655
221.6771 298.1939 326.8785 346.8555 348.7402 352.8287 354.4266 360.4326 375.6406 388.5417
271.9235 268.4369 257.2424 277.6566 314.8222 317.2135 298.1353 348.1229 340.28 366.5131
225.264 234.5235 238.9008 240.473 267.5373 344.1937 281.1481 347.5855 365.163 372.2288
269.8804 272.4428 277.8989 281.7895 279.1705 284.512 259.2658 304.6306 350.7807 369.4692
269.4117 273.474 297.5968 310.6316 287.1726 329.6076 334.4818 343.2199 369.1417 364.1236'''.split(), float)


def test_pastes_by_maximum_likelihood():
    """lme4's own test of its algorithm in R (lme4pureR, tests/pls.R): theta 3.526904, 1.329914, deviance 247.9945;
    the deviance again in OpenMx, inst/models/passing/xxm-3.R."""
    sample, batch = np.arange(60) // 2, np.arange(60) // 6
    data, n = cross_products(PASTES, np.ones((60, 1)), [sample, batch]), 60

    def deviance(theta):  # the restricted criterion, with the restriction taken out
        at = solve(theta, data)
        log_a = at['criterion'] - np.log(at['sigma'] ** 2 / at['covariance'][0, 0]) - (n - 1) * (1 + np.log(2 * np.pi * at['sigma'] ** 2))
        return log_a + n * (1 + np.log(2 * np.pi * at['sigma'] ** 2 * (n - 1) / n))
    best = minimize(deviance, [1, 1], method='Nelder-Mead', options=dict(xatol=1e-8, fatol=1e-10))
    assert best.fun == pytest.approx(247.9945, abs=6e-5)
    assert best.x == pytest.approx([3.526904, 1.329914], rel=1e-4)


def test_pastes_by_restricted_maximum_likelihood():
    "Bates (2010), lme4: Mixed-effects modeling with R, chapter 2."
    fit = fit_crossed(PASTES, np.ones((60, 1)), [np.arange(60) // 2, np.arange(60) // 6])
    assert [*fit['sd'], fit['sigma']] == pytest.approx([2.9041, 1.2874, .8234], abs=6e-4)
    assert [fit['beta'][0], fit['se'][0], fit['criterion']] == pytest.approx([60.0533, .6769, 246.9907], abs=6e-4)


def test_sleepstudy_slope_and_its_standard_error():
    "lmer(Reaction ~ Days + (1|Subject), sleepstudy), printed in many a tutorial: REML criterion 1786.465."
    fit = fit_crossed(SLEEP, np.column_stack([np.ones(180), np.tile(np.arange(10), 18)]), [np.arange(180) // 10])
    assert fit['criterion'] == pytest.approx(1786.465, abs=6e-4)
    assert [fit['sd'][0], fit['sigma']] == pytest.approx([37.124, 30.991], abs=6e-4)
    assert [*fit['beta'], *fit['se']] == pytest.approx([251.4051, 10.4673, 9.7467, .8042], abs=6e-5)


def crossed(seed, sd=(1., 2.), slope=.7, missing=.3):
    rng = np.random.default_rng(seed)
    a, b = (i.ravel() for i in np.indices((9, 7)))
    x = rng.normal(size=9)[a]
    y = 3 + slope * x + sd[0] * rng.normal(size=9)[a] + sd[1] * rng.normal(size=7)[b] + rng.normal(size=63)
    keep = rng.random(63) > missing
    return y[keep], x[keep], a[keep], b[keep]


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('seed', range(3))
def test_statsmodels_agrees_on_an_unbalanced_crossed_design(seed):
    import statsmodels.api as sm
    y, x, a, b = crossed(seed)
    data = pd.DataFrame(dict(y=y, x=x, a=a, b=b, one=1))
    theirs = sm.MixedLM.from_formula('y ~ x', data, groups='one', re_formula='0', vc_formula={'a': '0 + C(a)', 'b': '0 + C(b)'}).fit(
        reml=True, method=['powell', 'lbfgs'])
    ours = fit_crossed(y, np.column_stack([np.ones(len(x)), x]), [a, b])
    assert ours['criterion'] == pytest.approx(-2 * theirs.llf, abs=2e-3)
    assert ours['beta'] == pytest.approx(theirs.fe_params.to_numpy(), abs=2e-3)
    assert [*ours['sd'], ours['sigma']] == pytest.approx([*np.sqrt(theirs.vcomp), theirs.scale ** .5], rel=5e-3, abs=5e-3)


@pytest.mark.parametrize('sd', [(1., 2.), (.3, 2.), (.1, .1), (5., 40.)])
def test_the_search_is_caught_nowhere(sd):
    for seed in range(8):
        y, x, a, b = crossed(seed, sd)
        X, places = np.column_stack([np.ones(len(x)), x]), np.r_[0, np.geomspace(.01, 100, 12)]
        data = cross_products(y, X, [a, b])
        assert fit_crossed(y, X, [a, b])['criterion'] <= min(solve(np.array([u, v]), data)['criterion'] for u in places for v in places) + 1e-6


def test_against_the_dense_likelihood():
    "The definition: a multivariate normal with a covariance between all rows."
    y, x, a, b = crossed(0)
    X = np.column_stack([np.ones(len(x)), x])
    theta = np.array([.8, 1.7])
    V = np.eye(len(y)) + sum(t ** 2 * (g[:, None] == g) for t, g in zip(theta, (a, b)))
    M = np.linalg.inv(V)
    beta = np.linalg.solve(X.T @ M @ X, X.T @ M @ y)
    sigma2 = (y - X @ beta) @ M @ (y - X @ beta) / (len(y) - 2)
    criterion = np.linalg.slogdet(V)[1] + np.linalg.slogdet(X.T @ M @ X)[1] + (len(y) - 2) * (1 + np.log(2 * np.pi * sigma2))
    at = solve(theta, cross_products(y, X, [a, b]))
    assert at['criterion'] == pytest.approx(criterion, abs=1e-9)
    assert at['beta'] == pytest.approx(beta) and at['sigma'] ** 2 == pytest.approx(sigma2)
    assert at['covariance'] == pytest.approx(sigma2 * np.linalg.inv(X.T @ M @ X))


def test_no_scatter_between_languages_is_found_to_be_none():
    zeros = []
    for seed in range(6):
        y, x, a, b = crossed(seed, sd=(0., 1.), missing=0)
        zeros.append(fit_crossed(y, np.column_stack([np.ones(len(x)), x]), [a, b])['sd'][0])
    assert min(zeros) == pytest.approx(0, abs=1e-4) and max(zeros) < .5


def test_with_complete_cells_the_slope_is_that_of_the_language_means():
    "Then, and only then, ordinary least squares on language means is the same, and its t test exact."
    codes = resource().drop('en').index[:12]
    places = pd.DataFrame([(t, c) for t in ('panx', 'udpos', 'tatoeba') for c in codes], columns=['target', 'language'])
    lost = degradations(check_scores(simulate(slope=1, places=places)))
    found = dose(lost, resource())
    from scipy.stats import linregress
    means = lost.groupby('language').degradation.mean()
    assert 'yo' not in means
    line = linregress(-np.log10(resource()[means.index]), means)
    assert [found['slope_per_tenfold_less'], found['se'], found['p_value']] == pytest.approx([line.slope, line.stderr, line.pvalue], rel=1e-3)


def test_nothing_to_fit():
    lost = degradations(check_scores(simulate(slope=1)))
    assert dose(lost[lost.language.isin(['sw', 'de', 'fr'])], resource()) is None
    assert dose(lost, resource() * 0 + 5) is None
    assert dose(lost[lost.language.isin(['yo', 'x1', 'x2', 'x3'])], resource()) is None


def test_a_language_without_text_takes_no_part_in_the_slope():
    lost = degradations(check_scores(simulate(slope=1)))
    assert resource()['yo'] == 0
    at, without = dose(lost, resource()), dose(lost[lost.language != 'yo'], resource())
    assert at['without_text'] == ['yo'] and at['languages'] == 38 == without['languages'] and without['without_text'] == []
    assert [at['slope_per_tenfold_less'], at['se'], at['df']] == pytest.approx([without['slope_per_tenfold_less'], without['se'], without['df']], rel=.01)
    far = dose(lost.assign(degradation=lost.degradation + 9 * (lost.language == 'yo')), resource())
    assert far['slope_per_tenfold_less'] == pytest.approx(at['slope_per_tenfold_less']) and far['step']['estimate'] == pytest.approx(at['step']['estimate'] + 9)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('seed', range(2))
def test_statsmodels_agrees_on_families(seed):
    "Language, pair and family crossed, as in a report, with the coverage of XTREME."
    import statsmodels.api as sm
    lost = degradations(check_scores(simulate(slope=1, seed=seed, kin=.6, language=3., tasks=2, pair=.5, seeds=1)))
    lost = lost[lost.target.isin(['panx', 'udpos'])].reset_index(drop=True)
    lost = lost.assign(family=languages().family[lost.language].to_numpy(), pair=lost.intermediate + lost.target, x=-np.log10(resource()[lost.language].clip(.1)).to_numpy(), one=1)
    theirs = sm.MixedLM.from_formula('degradation ~ x', lost, groups='one', re_formula='0', vc_formula={k: f'0 + C({k})' for k in ('family', 'language', 'pair')}).fit(
        reml=True, method=['powell', 'lbfgs'])
    ours = fit_crossed(lost.degradation, np.column_stack([np.ones(len(lost)), lost.x]), [lost.family, lost.language, lost.pair])
    assert ours['criterion'] == pytest.approx(-2 * theirs.llf, abs=5e-3)
    assert ours['beta'] == pytest.approx(theirs.fe_params.to_numpy(), abs=5e-3)
    assert [*ours['sd'], ours['sigma']] == pytest.approx([*np.sqrt(theirs.vcomp), theirs.scale ** .5], rel=2e-2, abs=1e-2)


def test_the_gradient_is_that_of_the_criterion():
    y, x, a, b = crossed(0)
    data, theta = cross_products(y, np.column_stack([np.ones(len(x)), x]), [a, b, a // 3]), np.array([.8, 1.7, .4])
    for j in range(3):
        step = np.exp(1e-5 / 2 * np.eye(3)[j])
        slope = (solve(theta * step, data)['criterion'] - solve(theta / step, data)['criterion']) / 2e-5
        assert solve(theta, data)['gradient'][j] == pytest.approx(slope, abs=1e-4)


def test_a_family_that_is_alike_is_seen():
    lost, family = degradations(check_scores(simulate(slope=1, kin=.9, language=4., seed=1))), languages().family
    found = dose(lost, resource(), family)
    assert found['sd_family'] > found['sd_language'] > 0 and found['se'] != dose(lost, resource())['se']
    assert dose(lost, resource(), pd.Series(lost.language.unique(), lost.language.unique()))['sd_family'] is None, 'a family each is no family'


def test_one_cell_is_a_straight_line():
    from scipy.stats import linregress
    scores = check_scores(simulate(slope=1, tasks=1).query('target == "tatoeba"'))
    lost = degradations(scores)
    lost = lost[lost.language != 'yo']
    found, line = dose(lost, resource(), languages().family), linregress(-np.log10(resource()[lost.language]), lost.degradation)
    assert [found['slope_per_tenfold_less'], found['se'], found['p_value']] == pytest.approx([line.slope, line.stderr, line.pvalue])
    assert found['sd_language'] is found['sd_pair'] is found['sd_family'] is None and random_intercepts(lost, languages().family) == {}


def test_classes_have_a_slope_per_class():
    lost = degradations(check_scores(simulate(slope=1)))
    found, tenfold = dose(lost, resource('joshi')), dose(lost, 10 ** resource('joshi'))
    assert 'slope_per_tenfold_less' not in found and 'slope_per_class_less' not in tenfold and found['without_text'] == [] and found['step'] is None
    assert found['slope_per_class_less'] == pytest.approx(tenfold['slope_per_tenfold_less'], abs=1e-6)


def test_a_target_that_treats_languages_in_its_own_way_is_no_evidence_per_row():
    "Rows of one target and language share its reaction, and its baseline; nine intermediate tasks do not make nine witnesses of one."
    lost = degradations(check_scores(simulate(place=3., tasks=9, seeds=1)))
    found = dose(lost, resource())
    assert found['sd_place'] == pytest.approx(3, rel=.2)
    x = -np.log10(resource()[lost.language].clip(.1)).to_numpy()
    blind = fit_crossed(lost.degradation, np.column_stack([np.ones(len(x)), x]), [lost.language, lost.intermediate + lost.target])
    assert found['se'] != pytest.approx(blind['se'][1], rel=1e-3)


def test_degrees_of_freedom_are_those_of_the_stratum():
    "Where a balanced design has an exact test, Satterthwaite's approximation is its degrees of freedom."
    rng, degrees = np.random.default_rng(2), {'language': [], 'family': []}
    language, cell = (i.ravel() for i in np.indices((24, 6)))
    for _ in range(5):
        family, own = 3 * rng.normal(size=8)[language // 3], 2 * rng.normal(size=24)[language]
        y = family + own + rng.normal(size=6)[cell] + .5 * rng.normal(size=144)
        for name, x, groups in (('language', rng.permutation(np.arange(24.))[language], [language, cell]), ('family', rng.permutation(np.arange(8.))[language // 3], [language, cell, language // 3])):
            fit = fit_crossed(y, np.column_stack([np.ones(144), x]), groups)
            degrees[name].append(satterthwaite(fit['theta'], fit['data'], 1))
    assert degrees['language'] == pytest.approx([22] * 5, rel=.02) and degrees['family'] == pytest.approx([6] * 5, rel=.02)
