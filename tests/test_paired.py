"Paired tests on the same test examples: they find what was put in, and nothing else."
import numpy as np
import pandas as pd
import pytest

from xlt.common.errors import XltError
from xlt.stats.paired import compare_paired, mcnemar, bootstrap_means, sign_flips, count_clear_changes


def answered(seed=0, n=400, broken=.0, graded=False):
    rng = np.random.default_rng(seed)
    none = rng.random(n) if graded else (rng.random(n) < .7).astype(float)
    return pd.DataFrame(dict(none=none, task=none * (rng.random(n) >= broken)))


@pytest.mark.parametrize('graded, test', [(False, 'McNemar'), (True, 'sign flips')])
def test_a_broken_tenth_is_found_and_its_size_is_right(graded, test):
    [found] = compare_paired(answered(broken=.1, graded=graded))
    assert found['test'] == test and found['p_value'] < .001 and found['ci_low'] > 0
    assert found['lost'] == pytest.approx(found['before'] - found['after']) and found['ci_low'] < found['lost'] < found['ci_high']


def test_no_change_is_no_finding():
    [found] = compare_paired(answered())
    assert found['lost'] == 0 and found['p_value'] == 1


def test_under_no_effect_five_percent_are_significant():
    rng = np.random.default_rng(1)
    graded = [sign_flips(rng.normal(size=60 if i % 2 else 8)) for i in range(400)]
    tossed = [mcnemar(rng.integers(-1, 2, 300)) for _ in range(400)]
    assert .02 < np.mean(np.array(graded) < .05) < .08 and np.mean(np.array(tossed) < .05) < .07


def test_the_bootstrap_has_the_width_of_the_standard_error():
    difference = np.random.default_rng(2).normal(size=(500, 1))
    assert bootstrap_means(difference, 4000).std() == pytest.approx(difference.std() / 500 ** .5, rel=.06)


def test_runs_on_different_examples_are_refused():
    right = answered()
    right.loc[3, 'task'] = np.nan
    with pytest.raises(XltError, match='different examples'): compare_paired(right)


def test_the_tally_counts_by_group_and_leaves_out_the_pivot():
    table = pd.DataFrame([dict(language=code, lost=lost, p_value_bh=p, target=target) for code, lost, p, target in
                          [('sw', 5, .01, 'xnli'), ('sw', -5, .01, 'panx'), ('de', 5, .2, 'xnli'), ('en', 50, .001, 'xnli'), ('sw', 50, .001, 'tatoeba')]])
    found = count_clear_changes(table, pd.Series(dict(sw='low', de='high')), 'en')
    assert found.loc[('fine-tuned', 'low')].tolist() == [2, 50, 50] and found.loc[('fine-tuned', 'high')].tolist() == [1, 0, 0]
    assert found.loc[('retrieval', 'low')].tolist() == [1, 100, 0] and len(found) == 3, 'retrieval, where nearly everything is lost, is counted apart'


def test_the_tally_shows_languages_that_are_neither_low_nor_high():
    table = pd.DataFrame([dict(language=code, lost=lost, p_value_bh=.01, target='udpos') for code, lost in [('sw', 5), ('yo', 5), ('yo', -5), ('wuu', 5), ('xx', -5)]])
    found = count_clear_changes(table, pd.Series(dict(sw='low', yo='unseen', wuu='unknown')), 'en')
    found = found.loc['fine-tuned']
    assert found.comparisons.to_dict() == {'low': 1, 'unseen': 2, 'unknown': 1, 'not compared': 1} and found.loc['unseen', 'clearly lost, %'] == 50
