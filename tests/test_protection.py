"What a variant keeps and costs: right numbers, only like with like, words that follow from the intervals."
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xlt.paper.claims import Evidence, claim_6
from xlt.paper.selection import study_gains
from xlt.reporting.pareto import front_steps, protection_figure
from xlt.runs.params import Study
from xlt.stats.degradation import resource_measure
from xlt.stats.protection import advice, non_dominated, protection_by_target, protection_table, unshared_pairs
from xlt.stats.scores import check_scores, read_scores

TARGETS, LANGUAGES = ['xnli', 'panx', 'tatoeba', 'xquad'], ['en', *(f'l{k}' for k in range(1, 10))]
SIZE = pd.Series({f'l{k}': 10. ** k for k in range(1, 10)}, name='size')


def scores(effects: dict, seeds=(0, 1, 2), noise=.1, seed=0) -> pd.DataFrame:
    "`effects`: intermediate → points gained by English, by l1 to l3, by l7 to l9."
    rng, rows = np.random.default_rng(seed), []
    for name, (home, low, high) in {'none': (0, 0, 0), **effects}.items():
        for t, target in enumerate(TARGETS):
            for code in LANGUAGES:
                gain = home if code == 'en' else low if code in ('l1', 'l2', 'l3') else high if code in ('l7', 'l8', 'l9') else 0
                rows += [(name, target, code, s, 50 + 3 * t + gain + rng.normal(0, noise)) for s in seeds]
    return check_scores(pd.DataFrame(rows, columns=['intermediate', 'target', 'language', 'seed', 'score']).assign(metric='accuracy'))


def pooled(table): return table[table.task == 'all'].set_index('suffix')


def test_differences_from_the_plain_form_are_found():
    table = protection_table(scores({'mnli': (3, -4, 1), 'mnli-frozen': (2, -1, 1.5), 'qqp': (1, -2, 0), 'qqp-frozen': (0, 1, .5)}), SIZE)
    row = pooled(table).loc['-frozen']
    assert [row['pivot'], row.low, row.high] == pytest.approx([-1, 3, .5], abs=.15)
    assert [row.pivot_plain, row.low_plain, row.high_plain] == pytest.approx([2, -3, .5], abs=.15)
    assert row.low_low < 3 < row.low_high and (row.low_n, row.high_n, row.pivot_n, row.seeds) == (3, 3, 8, 3)
    assert set(table.task) == {'all', 'mnli', 'qqp'}


def test_only_the_same_seeds_and_cells_are_compared():
    whole = scores({'mnli': (3, -4, 1), 'mnli-lora': (2, -1, 1)}, noise=0)
    odd = whole[~((whole.intermediate == 'mnli-lora') & ((whole.seed == 2) | (whole.target == 'xquad')))].copy()  # the variant lacks a seed and a target
    odd.loc[(odd.seed == 2) | (odd.target == 'xquad'), 'score'] += 20 * (odd.intermediate == 'mnli')  # where the plain form would look far better
    row = pooled(protection_table(odd, SIZE)).loc['-lora']
    assert [row['pivot'], row.low, row.high] == pytest.approx([-1, 3, 0], abs=1e-9) and (row.seeds, row.pivot_n) == (2, 3)


def test_a_variant_without_its_plain_form_is_left_out():
    assert protection_table(scores({'mnli': (1, 0, 0), 'qqp-frozen': (1, 0, 0)}), SIZE).empty
    assert advice(protection_table(scores({'mnli': (1, 0, 0)}), SIZE)) == ''


@pytest.mark.parametrize('variant, said, unsaid', [
    ((3, -1, 1), ['Take -wise', 'and English loses less than 1 point', '; English loses less than 1 point (', 'rests on one intermediate task, mnli'], ['Avoid', 'Not known', 'undecided']),
    ((1, -1, 1), ['-wise protects the low-resource languages at a price in English', 'English pays'], ['Take']),
    ((3, -7, 1), ['Avoid -wise', 'leaves the low-resource languages worse off', 'No variant is shown to protect'], ['Take'])])
def test_advice_follows_from_the_intervals(variant, said, unsaid):
    text = advice(protection_table(scores({'mnli': (3, -4, 1), 'mnli-wise': variant}, noise=.02, seed=3), SIZE))
    assert 'lose from plain intermediate training' in text and all(s in text for s in said) and not any(u in text for u in unsaid)


def test_several_variants_are_corrected_for():
    "What is clear of one variant may be chance among five."
    row = dict(task='all', tasks='mnli, qqp', pivot=0, pivot_low=-.5, pivot_high=.5, high=1, low_plain=-3, low_plain_low=-4, low_plain_high=-2)
    better, worse, open_ = dict(low=2, low_low=.1, low_high=3.9), dict(low=-2, low_low=-3.9, low_high=-.1), dict(low=1, low_low=-1, low_high=3)
    def told(*rows): return advice(pd.DataFrame([row | kind | dict(suffix=f'-v{k}', low_p=p) for k, (kind, p) in enumerate(rows)])).split('\n\n')[0]
    assert 'Holm' not in told((better, .04)) and 'Holm' not in told((open_, .3), (open_, .4))
    assert "after Holm's correction over 3 variants, that is still clear for none of them." in told((better, .03), (open_, .3), (open_, .4)).replace('After', 'after')
    assert 'over 3 variants, that is still clear for -v1.' in told((better, .03), (worse, .01), (open_, .4))
    assert "That is still clear after Holm's correction over 2 variants." in told((better, .03), (worse, .01))
    assert 'over 2 variants' in told((better, .03), (worse, .01), (open_, None))  # too few languages for a test


def test_a_price_that_is_not_excluded_is_not_denied():
    "An interval from a loss of eight points to a gain of one shows no price, and excludes none."
    row = dict(suffix='-mt', task='all', tasks='mnli, qqp', pivot=-3.4, pivot_low=-8.2, pivot_high=1.3, high=5, high_low=2, high_high=7, low=2.3, low_low=1.4, low_high=3.2,
               low_plain=-1.3, low_plain_low=-2.5, low_plain_high=-.1)
    text = advice(pd.DataFrame([row]))
    assert text.startswith('-mt protects the low-resource languages. Not known: whether English pays for -mt.\n\n') and 'Take' not in text and 'rests on one' not in text
    assert 'Take -mt' in advice(pd.DataFrame([row | dict(pivot=-.3, pivot_low=-.8, pivot_high=.1)]))
    for none in (float('nan'), None):  # no interval: nothing is excluded
        assert 'Take' not in advice(pd.DataFrame([row | dict(pivot_low=none, pivot_high=none)]))


def test_what_is_not_clear_is_undecided():
    rows = scores({'mnli': (3, -4, 1), 'mnli-wise': (3, -4, 1)}, noise=4., seed=1)
    text = advice(protection_table(rows, SIZE))
    assert 'Not known: whether -wise protects the low-resource languages.' in text.split('\n\n')[0]
    assert '-wise is undecided for the low-resource languages' in text and 'that is undecided here, not refuted' in text
    few = rows[rows.language.isin(['en', 'l1', 'l9'])]  # one language a group: no interval, whatever the difference
    row = pooled(protection_table(few, SIZE, 'median')).loc['-wise']
    assert row.low_n == 1 and pd.isna(row.low_low) and 'undecided' in advice(protection_table(few, SIZE, 'median'))


def test_leaving_intermediate_training_out_is_compared_too():
    "A variant may be far better than plain training and still cost more than doing without."
    table = protection_table(scores({'mnli': (3, -20, 1), 'mnli-wise': (3, -5, 9), 'mnli-short': (3, -10, 1)}, seeds=[0]), SIZE)
    row = pooled(table).loc['-wise']
    assert row.low_none == pytest.approx(row.low + row.low_plain) == pytest.approx(-5, abs=.2) and row.low_none_high < 0
    text = advice(table)
    for part in (f'with -wise, the best, they still lose against no intermediate training ({row.low_none:.2f}'.replace('-5', '−5').replace('-4', '−4'),
                 'All this rests on one intermediate task, mnli, and one seed; targets: panx, tatoeba, xnli, xquad.', 'high-resource languages gain'): assert part in text, text
    assert text.startswith('One seed is too little for advice. In this one training of each, the low-resource languages were better off than after plain training with -wise and -short.') and 'protect' not in text.split('\n\n')[0]
    kept = advice(protection_table(scores({'mnli': (3, -20, 1), 'mnli-wise': (3, 1, 9)}), SIZE))
    assert 'still lose' not in kept and 'one seed' not in kept


def test_each_target_by_itself():
    rows = scores({'mnli': (0, -4, 0), 'mnli-wise': (0, -4, 0)}, noise=0)
    rows.loc[(rows.target == 'tatoeba') & (rows.intermediate == 'mnli-wise') & rows.language.isin(['l1', 'l2', 'l3']), 'score'] += 3
    found = protection_by_target(rows[(rows.target != 'xnli') | (rows.intermediate != 'mnli-wise')], SIZE)
    assert list(found) == ['panx', 'tatoeba', 'xquad'] and found.loc['-wise', 'tatoeba'].startswith('3.00, ') and found.loc['-wise', 'panx'].startswith('0.00')
    assert protection_by_target(rows[rows.intermediate != 'mnli-wise'], SIZE).empty


def test_a_target_with_few_languages_is_left_out():
    rows = scores({'mnli': (0, -4, 0), 'mnli-wise': (0, -1, 0)})
    few = rows[(rows.target != 'xquad') | rows.language.isin(['en', 'l1', 'l9'])]
    assert protection_by_target(few, SIZE).loc['-wise', 'xquad'] == 'too few languages' and len(pooled(protection_table(few, SIZE))) == 1
    assert protection_table(few[few.target == 'xquad'], SIZE).empty


def test_targets_that_are_not_tested_in_english():
    "Tatoeba has no English side of its own: a study of which only that is finished has a table, a figure and words."
    rows = scores({'mnli': (3, -4, 1), 'mnli-wise': (3, -1, 2)})
    mined = rows[(rows.target == 'tatoeba') & (rows.language != 'en')]
    table = protection_table(mined, SIZE)
    row = pooled(table).loc['-wise']
    assert row.low == pytest.approx(3, abs=.2) and row.pivot_n == 0 and pd.isna(row['pivot'])
    text = advice(table)
    assert 'for English it is undecided (not tested)' in text and 'whether English pays for -wise' in text and 'nan' not in text
    assert 'nan' not in protection_figure(table).alt and list(protection_by_target(rows[(rows.target != 'tatoeba') | (rows.language != 'en')], SIZE)) == TARGETS


def points(**by): return pd.DataFrame([dict(suffix=s, task='all', low=x, pivot=y, high=0.) for s, (x, y) in by.items()])


def test_the_front():
    table = points(a=(3, -1), b=(1, .5), c=(.5, .2), d=(-1, -1), e=(-1, 2))
    assert list(table[non_dominated(table)].suffix) == ['a', 'b', 'e']  # c is beaten by b, d by the plain form
    assert front_steps(table, 'pivot') == ([-1, 1, 3], [2, .5, -1])
    assert front_steps(points(a=(3, -1)), 'pivot') == ([0, 3], [0, -1])  # the plain form is beaten by none


def test_the_figure_says_n_and_directions():
    table = protection_table(scores({'mnli': (3, -4, 1), 'mnli-frozen': (2, -1, 1.5)}), SIZE)
    fig = protection_figure(table)
    text = ' '.join([fig.axes[0].get_title('left'), fig.axes[0].get_xlabel(), fig.axes[1].get_ylabel()])
    assert 'mean over 4 pairs of tasks, 3 seeds' in text and 'mean over 3' in text and 'better off →' in text and 'gains →' in text
    assert '-frozen' in fig.alt and not fig.texts  # room for the stamp


def test_the_legend_explains_what_is_drawn_and_no_more():
    legend = lambda effects: {t.get_text() for t in protection_figure(protection_table(scores(effects), SIZE)).legends[0].get_texts()}
    assert legend({'mnli': (3, -4, 1), 'mnli-frozen': (2, -1, .5)}) == {'95 % intervals', 'Pareto front'}
    assert legend({'mnli': (3, -4, 1), 'mnli-frozen': (8, 1, 5)}) == {'95 % intervals'}, 'better in everything: the front is a point'
    both = {'mnli': (3, -4, 1), 'mnli-frozen': (2, -1, .5), 'qqp': (3, -4, 1), 'qqp-frozen': (2, -1, .5)}
    assert legend(both) == {'one intermediate task', 'all, with 95 % intervals', 'Pareto front'}


def test_claim_6_is_not_moved_by_variants_that_protect():
    effects = {'mnli': (3, 2, 2), 'mnli-mlm': (1, 1, 1), 'mnli-mt': (6, 5, 5)}
    found = [{r['part']: r for r in claim_6(Evidence(study_gains(t), t.iloc[:0], draws=200))}
             for t in (scores(effects), scores({**effects, 'mnli-frozen': (9, 9, 9), 'mnli-mlm-frozen': (9, 9, 9)}))]
    assert (found[0]['mlm']['verdict'], found[0]['mt']['verdict']) == ('supported', 'contradicted')
    assert [found[1][p]['verdict'] for p in ('mlm', 'mt')] == ['supported', 'contradicted']
    assert found[0]['mlm']['estimate'] == pytest.approx(found[1]['mlm']['estimate'], abs=.1)


@pytest.mark.parametrize('effects, shown', [({'mnli': (3, -4, 1), 'mnli-frozen': (2, -1, 1.5), 'mnli-mlm': (1, 1, 1)}, True), ({'mnli': (3, -4, 1)}, False)])
def test_the_section_of_the_report(effects, shown, repo):
    "The report's own cell, on made-up scores: a section where there are variants, nothing where there are none."
    cells = json.loads((repo / 'nbs/study/report.ipynb').read_text(encoding='utf-8'))['cells']
    cell = next(c for c in cells if c['id'] == 'pr18r001')
    imports = next(''.join(c['source']) for c in cells if c['id'] == 'xe618d83')
    said, names = [], {}
    exec(imports, names)
    names |= dict(trained=pd.DataFrame(columns=['phase', 'intermediate', 'learnt']), second=None, scores=scores(effects), measure=SIZE, pivot='en', made_up=False, drawn={}, display=lambda *v: said.extend(v),
                  analysis=dict(primary=dict(grouping='tertiles'), study='s', seeds=[0]))
    exec(''.join(cell['source']), names)
    text = ' '.join(str(getattr(v, 'data', v)) for v in said)
    assert ('What protects the low-resource languages?' in text) == shown == ('protection' in names['drawn'])
    if shown: assert 'mean gain of mnli with mlm, less that of the plain form' in text and 'lose from plain' in text
    else: assert not said


def test_variants_are_compared_on_the_pairs_that_all_of_them_have():
    "A variant that has also been run where plain training costs most does not look better for it."
    rows = scores({'mnli': (3, -4, 1), 'mnli-wise': (3, -2, 1), 'mnli-short': (3, -2, 1), 'qqp': (3, -30, 1), 'qqp-short': (3, -10, 1)}, noise=.02)
    table = pooled(protection_table(rows, SIZE))
    assert list(table.tasks) == ['mnli', 'mnli'] and table.low.to_list() == pytest.approx([2, 2], abs=.1) and list(table.pivot_n) == [4, 4]
    left = unshared_pairs(rows)
    assert left.count('qqp-short on ') == 12 and 'mnli-' not in left and 'qqp-short on tatoeba, seed 2.' not in left and 'qqp-short on xquad, seed 2.' in left
    apart = rows[~rows.intermediate.isin(['mnli-short'])]
    assert 'no pair of tasks and seed in common' in unshared_pairs(apart) and list(pooled(protection_table(apart, SIZE)).tasks) == ['mnli', 'qqp']
    assert not unshared_pairs(rows[rows.intermediate != 'qqp-short']) and not unshared_pairs(rows[rows.intermediate == 'none'])


def test_tasks_that_contradict_each_other_are_not_averaged_in_silence():
    rows = scores({'mnli': (3, -4, 1), 'mnli-wise': (3, -1, 1), 'qqp': (3, 0, 1), 'qqp-wise': (3, -3, 1)}, noise=.02)
    text = advice(protection_table(rows, SIZE)).split('\n\n')[0]
    assert 'with -wise, better off after mnli and worse off after qqp.' in text and 'Plain training changed their scores by −4.0' in text
    alike = advice(protection_table(scores({'mnli': (3, -4, 1), 'mnli-wise': (3, -1, 1), 'qqp': (3, -4, 1), 'qqp-wise': (3, -1, 1)}, noise=.02), SIZE))
    assert 'The intermediate tasks differ' not in alike and 'Plain training changed' not in alike


def test_a_variant_that_learnt_nothing_is_starred_and_not_on_the_front():
    table = protection_table(scores({'mnli': (3, -4, 1), 'mnli-frozen': (2, -1, .5), 'mnli-short': (2.5, -.5, .5)}), SIZE)
    plain, starred = protection_figure(table), protection_figure(table, apart=('-short',))
    assert '-frozen' not in plain.alt.split('Not beaten')[1] and '-short' in plain.alt.split('Not beaten')[1]
    assert '-frozen' in starred.alt.split('Not beaten')[1] and '-short' not in starred.alt.split('Not beaten')[1]
    assert '-short*' in {t.get_text() for t in starred.axes[0].texts} and '* learnt nothing of a task' in {t.get_text() for t in starred.legends[0].get_texts()}


def test_the_repeated_runs_of_protection_are_those_of_the_first_study(repo):
    mine, all_ = (pd.read_csv(repo / 'reports' / name / 'repeated.csv').drop(columns='study') for name in ('e5-protect', 'e5'))
    shared = all_[all_.intermediate.isin(['none', 'mnli', 'squad_v1']) & all_.target.isin(['panx', 'tatoeba'])].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, shared)
    committed = pd.read_csv(repo / 'reports/e5-protect/scores.csv').set_index(['intermediate', 'target', 'seed', 'language']).score
    keys = pd.MultiIndex.from_frame(mine[['intermediate', 'target', 'seed', 'language']])
    assert np.allclose(committed.loc[keys], mine['first'])


def test_what_the_page_says_in_prose_is_still_so(repo):
    "nbs/explanations/protection.ipynb: new results that change a sentence of it fail here."
    tables = {}
    for name in ('e5-protect', 'lab-protect'):
        study = Study.read(repo / 'params' / f'{name}.yaml', data=False)
        found = read_scores(repo / 'reports' / name / 'scores.csv')
        how = resource_measure(study.analysis.resource, study.source.facts()), study.analysis.groups, study.source.pivot
        tables[name] = found, protection_table(found, *how)
    found, table = tables['e5-protect']
    variants = found[found.intermediate.str.contains('-')]
    assert set(variants.seed) == {0} and set(variants.target) == {'panx', 'tatoeba'}  # one seed, and no variant on XNLI
    real, lab = pooled(table), pooled(tables['lab-protect'][1])
    assert set(real.index[real.low_none_high < 0]) == {'-frozen', '-lora', '-short'} and not (real.low_none_low > 0).any()
    tatoeba = found[(found.target == 'tatoeba') & (found.language != 'en')].groupby('intermediate').score.mean()
    kept = {f'{base}{v}': (tatoeba[f'{base}{v}'] - tatoeba[base]) / (tatoeba['none'] - tatoeba[base])
            for base in ('mnli', 'squad_v1') for v in ('-wise', '-lora', '-short', '-frozen')}
    assert all(kept[f'{base}-wise'] > .5 and kept[f'{base}-frozen'] < .1 for base in ('mnli', 'squad_v1'))
    assert all(.25 < kept[f'{base}{v}'] < 2 / 3 for base in ('mnli', 'squad_v1') for v in ('-lora', '-short'))
    assert kept['mnli-lora'] > kept['mnli-short'] and kept['squad_v1-lora'] < kept['squad_v1-short']
    assert set(lab.index[lab.low_low > 0]) == {'-mt'} and lab.low['-wise'] < 0
