"Published numbers are in the package as they are in print, and a study is set beside them without pretending."
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from xlt.reporting.figures import published_against_ours
from xlt.common.errors import XltError
from xlt.paper.published import EXACT, PUBLISHED_FILES, PRINTED_ROUNDING, averages, read_published, compare_published, inconsistencies, main_table, study_numbers, gain_agreement, published_reference, means_with_tolerance
from xlt.tasks.cards import INTERMEDIATE, TARGET, TASKS

LARGE, BASE = 'FacebookAI/xlm-roberta-large', 'FacebookAI/xlm-roberta-base'


def study(gains={'squad_v1': {}}, seeds=range(5), spread=.4, targets=TARGET, languages=None):
    "XLM-R Large: every language at the published mean of its target, each run shifted by chance."
    rng, base = np.random.default_rng(0), main_table().query('row == "XTREME benchmark: XLM-R (Ours)"').set_index(['target', 'metric']).value
    rows = []
    for target in targets:
        metric, codes = TASKS[target].metrics[0], languages or TASKS[target].languages
        for i, gain in {'none': {}, **gains}.items():
            for s in seeds:
                shift = 0 if i == 'none' and TASKS[target].kind == 'retrieval' else rng.normal(0, spread)
                rows += [dict(study='s', intermediate=i, target=target, language=c, metric=metric, seed=s, n=100,
                              score=base[target, metric] + gain.get(target, 0) + shift) for c in codes]
    return pd.DataFrame(rows)


@pytest.fixture(scope='module')
def published_gains():
    cells = main_table().query('kind == "gain" and metric != "exact_match"')
    return {i: dict(zip(p.target, p.value)) for i, p in cells.groupby('intermediate')}


def test_the_tables_are_in_a_built_package(repo, tmp_path):
    "setup.py's package_data names them."
    for name in ('setup.py', 'settings.ini'): shutil.copy(repo / name, tmp_path)
    shutil.copytree(repo / 'xlt', tmp_path / 'xlt', ignore=shutil.ignore_patterns('__pycache__'))
    subprocess.run([sys.executable, 'setup.py', '-q', 'build_py', '--build-lib', 'built'], cwd=tmp_path, check=True, capture_output=True)
    assert {f'published_{name}.csv' for name in PUBLISHED_FILES} < {p.name for p in (tmp_path / 'built/xlt/tables').iterdir()}


def test_registry_follows_the_published_recipes():
    recipes = read_published('tasks').set_index('task')
    for name, task in TASKS.items():
        if name not in recipes.index or task.recipe is None: continue
        assert (task.recipe.batch_size, task.recipe.epochs) == (int(recipes.batch_size[name]), recipes.epochs[name]), name
    assert set(INTERMEDIATE) - set(recipes.index) == {'mnli', 'squad_v2'}, 'the two that the final version added'


def test_averages_follow_from_their_columns_but_one():
    table = averages()
    assert len(table) == 20 and list(table[(table.printed - table.computed).abs() > .1].row) == ['QQP'] == list(table[table.intermediate == 'qqp-mlm'].row)
    assert table.set_index('intermediate').computed['qqp-mlm'] == pytest.approx(7.1, abs=.005)


def test_inconsistencies_have_both_sides():
    table = inconsistencies()
    assert table[['one_value', 'other_value', 'one_source', 'other_source', 'note']].notna().all(axis=None)
    assert tuple(table.loc['tatoeba_baseline', ['one_value', 'other_value']]) == (31.0, 57.3)
    assert tuple(table.loc['best_gain', ['one_value', 'other_value']]) == (8.1, 6.1)
    assert tuple(table.loc['retrieval_layer', ['one_value', 'other_value']]) == (13, 14)
    assert table.one_value['target_learning_rate'] == 3e-6


def test_printed_means_of_the_baselines_are_means():
    table = read_published('baselines')
    keys = ['target', 'model', 'setting', 'metric', 'source']
    means = table[table.language != 'avg'].groupby(keys).score.mean()
    printed = table[table.language == 'avg'].set_index(keys).score
    both = pd.concat([means.rename('mean'), printed.rename('printed')], axis=1).dropna()
    assert len(both) > 20 and (both['mean'] - both.printed).abs().max() < .2


def test_a_faithful_study_agrees(published_gains):
    table = compare_published(study(published_gains), encoder=LARGE)
    gains = table[table.kind == 'gain']
    assert len(gains) == 16 * 9 and (gains.verdict == 'agrees').mean() > .9, 'tolerance covers 95 %'
    own = table[(table.kind == 'score') & (table.language == 'mean') & (table.split == 'test')]
    nearest = own.groupby('target').difference.agg(lambda d: d.abs().min())
    assert (nearest < .6).all()
    found = gain_agreement(table)
    assert found.spearman.min() > .9 and found.same_sign.min() > .75 and list(found.cells) == [144, 112]


def test_an_unfaithful_one_does_not(published_gains):
    off = {i: {t: g + 4 for t, g in of.items()} for i, of in published_gains.items()}
    gains = compare_published(study(off), encoder=LARGE).query('kind == "gain"')
    assert (gains.verdict == 'differs').mean() > .9
    backwards = {i: {t: -g / 2 for t, g in of.items()} for i, of in published_gains.items()}
    assert gain_agreement(compare_published(study(backwards), encoder=LARGE)).spearman.max() < -.8


@pytest.mark.parametrize('more, encoder, why', [
    (dict(languages=['qaa', 'qab']), None, 'made-up languages (2 of 2)'), (dict(), BASE, 'another encoder than XLM-R Large'),
    (dict(), None, 'another encoder than XLM-R Large'), (dict(languages=['en', 'de', 'fr']), LARGE, 'languages are missing')])
def test_what_cannot_be_compared_says_why(more, encoder, why):
    table = compare_published(study(targets=['xnli'], **more), encoder=encoder)
    gains = table[table.kind == 'gain']
    assert len(gains) == 1 and set(gains.verdict) == {'not comparable'} and why in gains.why.item()


def test_a_single_seed_has_no_verdict_but_in_retrieval():
    table = compare_published(study(seeds=[0]), encoder=LARGE)
    assert set(table[(table.kind == 'gain')].verdict) == {'no tolerance (one seed)'}
    alone = table[(table.target == 'tatoeba') & (table.kind == 'score') & (table.language != 'mean')]
    assert len(alone) == 36 and set(alone.tolerance) == {EXACT} and set(alone.verdict) <= {'agrees', 'differs'}


def test_tolerance_is_the_students_interval_of_one_more_run():
    values = study_numbers(study(targets=['xnli'], seeds=range(4)))
    scores = values[(values.kind == 'score') & (values.language == 'en')]
    pooled = scores.groupby('intermediate').value.var().mean()
    found = means_with_tolerance(values).query('kind == "score" and language == "en" and intermediate == "none"').tolerance.item()
    assert found == pytest.approx(2.446912 * np.sqrt(pooled * 1.25) + PRINTED_ROUNDING, rel=1e-5)  # t, 6 degrees of freedom


def test_other_metrics_are_set_beside_their_own():
    scores = study(targets=['xquad'])
    exact = scores.assign(metric='exact_match', score=scores.score - 16)
    table = compare_published(scores, exact, LARGE).query('kind == "score" and language == "mean" and split == "test"')
    assert set(table.metric) == {'f1', 'exact_match'} and table[table.metric == 'exact_match'].published.max() == 60.8


def test_the_figure_says_how_many(published_gains):
    table = compare_published(study(published_gains), encoder=LARGE)
    fig, scores = published_against_ours(table), table[table.kind == 'score']
    fig.draw_without_rendering()
    assert [ax.get_title(loc='left') for ax in fig.axes] == [f'Scores, n = {len(scores)}, {(scores.why == "").sum()} comparable', 'Gains, n = 144, 144 comparable']
    assert 'points' in fig.axes[1].get_xlabel() and '0 to 100' in fig.axes[0].get_ylabel()


def test_an_unknown_table_is_named():
    with pytest.raises(XltError, match="published table 'figures' is unknown; choose from main_table"): read_published('figures')


def test_every_row_of_the_reference_has_a_source():
    table = published_reference()
    assert table[['source', 'version', 'measures']].notna().all(axis=None) and set(table.target) == set(TARGET)


def test_a_target_that_xtreme_does_not_have_is_set_beside_nothing(published_gains):
    scores = study(published_gains)
    other = scores[scores.target == 'xnli'].assign(target='mytask')
    found = compare_published(pd.concat([scores, other], ignore_index=True), encoder=LARGE)
    assert set(found.target) <= set(TARGET) and len(found) == len(compare_published(scores, encoder=LARGE)) and gain_agreement(found).cells['all targets'] > 10
