"What chooses has no say in what is reported, and luck is measured."
import numpy as np
import pandas as pd
import pytest
from machine import tuned_model

from xlt.stats.scores import check_scores
from xlt.runs.params import Study
from xlt.runs.worker import begin
from xlt.paper.selection import DEV_COLUMNS, RULES, best_of, chosen_by_dev, dev_scores, study_gains, optimism, dev_choices, regression_to_mean, resamples, task_scores, weighted_means
from xlt.tasks.cards import TARGET

TASKS, TARGETS = ('mnli', 'squad_v1', 'ccg'), ('xnli', 'udpos', 'xquad', 'tatoeba')


def study(effect=lambda i, t: 0., languages=12, spread=0., seeds=(0,), targets=TARGETS, seed=0):
    "A study with these true gains; retrieval has no pivot."
    rng = np.random.default_rng(seed)
    rows = [dict(study='s', intermediate=i, target=t, language=c, metric=TARGET[t].metrics[0], seed=s, n=100,
                 score=50 + (i != 'none') * (effect(i, t) + rng.normal(0, spread))) for i in ('none', *TASKS) for t in targets
            for c in ['en', *(f'l{k:02d}' for k in range(languages))] if c != 'en' or TARGET[t].kind != 'retrieval' for s in seeds]
    return check_scores(pd.DataFrame(rows))


def dev(values, language='en'):
    "Development scores: {target: {intermediate: score}}."
    return pd.DataFrame([dict(study='s', intermediate=i, target=t, language=language, metric='f1', seed=0, score=v) for t, of in values.items() for i, v in of.items()], columns=DEV_COLUMNS)


def test_gains_are_scores_less_baselines():
    scores = study(lambda i, t: 3. if (i, t) == ('mnli', 'xnli') else 0., seeds=(0, 1))
    held = study_gains(scores)
    assert held.points.shape == (4, 4, 13) and held.intermediates[0] == 'none' and not np.nan_to_num(held.points[0]).any()
    assert np.allclose(held.points[held.intermediates.index('mnli'), held.targets.index('xnli')], 3)
    assert np.isnan(held.points[:, held.targets.index('tatoeba'), held.languages.index('en')]).all(), 'retrieval has no pivot'


def test_resamples_keep_the_pivot_and_cover_every_target():
    scores = study()
    few = scores[~((scores.target == 'xquad') & ~scores.language.isin(['l00', 'l01']))]
    held = study_gains(few)
    languages, targets = resamples(held, 500, targets=True)
    assert (languages[:, held.languages.index('en')] == 1).all() and (languages.sum(1) == 13).all() and (targets.sum(1) == 4).all()
    assert (languages[:, [held.languages.index(c) for c in ('l00', 'l01')]].sum(1) > 0).all()
    assert np.array_equal(resamples(held, 50)[0], resamples(held, 50)[0]) and not np.isnan(weighted_means(held, languages)).any()


def test_the_choice_goes_by_development_scores_alone():
    values = {'xnli': dict(none=80, mnli=85, squad_v1=79, ccg=70), 'udpos': dict(none=90, mnli=88, squad_v1=91, ccg=95), 'xquad': dict(none=60, mnli=60, squad_v1=60, ccg=50)}
    table = chosen_by_dev(dev(values), TARGETS, ['none', *TASKS])
    assert list(table.intermediate) == ['mnli', 'ccg', 'none', 'mnli'], 'the first of equals; retrieval follows the best for the others'
    assert table.dev['udpos'] == 95 and np.isnan(table.dev['tatoeba'])
    assert chosen_by_dev(dev(values), TARGETS, ['none', *TASKS], fallback='ccg').intermediate['tatoeba'] == 'ccg'
    del values['xnli']['ccg']
    assert chosen_by_dev(dev(values), ['xnli'], ['none', *TASKS]).intermediate['xnli'] == 'mnli', 'an unfinished study is judged by what there is'
    values['udpos']['ccg'], values['xquad']['ccg'] = 99, 99
    unfinished = chosen_by_dev(dev(values), TARGETS, ['none', *TASKS])
    assert list(unfinished.intermediate) == ['mnli', 'ccg', 'ccg', 'mnli'], 'what was not tried on every target is no choice for retrieval'
    del values['xnli']['none']
    assert chosen_by_dev(dev(values), ['xnli'], ['none', *TASKS], fallback='none').intermediate['xnli'] == 'none', 'nothing to gain over'
    assert list(chosen_by_dev(dev({}), TARGETS, ['none', *TASKS]).intermediate) == ['none'] * 4


def test_the_second_rule_needs_development_scores_elsewhere():
    scores, home = study(), dev({t: dict(none=80, mnli=85, squad_v1=79, ccg=70) for t in TARGETS[:3]})
    away = pd.concat([dev({t: dict(none=80, mnli=60, squad_v1=90, ccg=70) for t in TARGETS[:3]}, c) for c in ('l00', 'l01')])
    assert set(dev_choices(study_gains(scores), home)) == set(RULES[:2])
    both = dev_choices(study_gains(scores), pd.concat([home, away]))
    assert both[RULES[1]][:3] == ['mnli'] * 3 and both[RULES[2]][:3] == ['squad_v1'] * 3
    assert dev_choices(study_gains(scores), dev({})) == {}


def test_the_best_is_reported_by_its_test_score():
    truth = {('mnli', 'xnli'): 4., ('ccg', 'udpos'): 2., ('squad_v1', 'xquad'): 6., ('squad_v1', 'tatoeba'): 8.}
    scores = study(lambda i, t: truth.get((i, t), -1.))
    home = dev({t: {i: 80 + truth.get((i, t), 0 if i == 'none' else -1.) for i in ('none', *TASKS)} for t in TARGETS[:3]})
    table = best_of(scores, home, draws=200)
    assert table.gain[RULES[1]] == pytest.approx((4 + 2 + 6 + 8) / 4) and table.average[RULES[1]] == pytest.approx(55)
    assert table.by_target[RULES[1]] == dict(xnli='mnli', udpos='ccg', xquad='squad_v1', tatoeba='squad_v1')
    assert table.gain[RULES[0]] == pytest.approx((-1 - 1 + 6 + 8) / 4), 'SQuAD for all'
    assert table.gain[RULES[3]] == pytest.approx(5) == table.gain[RULES[4]], 'without noise there is no luck'
    assert table.gain['no intermediate task'] == 0 and table.average['no intermediate task'] == 50


def test_question_answering_counts_with_both_metrics():
    scores = study(targets=('xnli', 'xquad'))
    metrics = scores[scores.target == 'xquad'].assign(metric='exact_match', score=30.)
    assert task_scores(scores, metrics).loc['none'].to_dict() == dict(xnli=50, xquad=40)
    assert task_scores(scores).loc['none', 'xquad'] == 50


@pytest.mark.parametrize('effect', [0., 5.])
def test_luck_is_what_the_best_of_equals_claims(effect):
    found = [optimism(study_gains(study(lambda i, t: effect, spread=3., targets=TARGETS[:3], seed=s)), outer=30, inner=60, seed=s) for s in range(8)]
    apparent, honest = (np.mean([f[k] for f in found]) for k in ('apparent', 'honest'))
    assert apparent > effect + .5 and abs(honest - effect) < .6
    assert all(f['ci_low'] < f['selection'] < f['ci_high'] for f in found)


def test_a_clear_best_owes_nothing_to_luck():
    found = optimism(study_gains(study(lambda i, t: 20. if i == 'mnli' else 0., spread=1.)), outer=20, inner=50)
    assert abs(found['selection']) < .3 and found['honest'] == pytest.approx(20, abs=1)


def test_winners_of_the_development_set_fall_back():
    home = dev({t: dict(none=80, mnli=90, squad_v1=79, ccg=70) for t in TARGETS[:3]})
    assert regression_to_mean(study(), home) == dict(dev_gain=10, test_gain=0, targets=3)
    assert regression_to_mean(study(), dev({}))['targets'] == 0


def test_dev_scores_of_a_study(project):
    study = Study.read('params/tiny.yaml')
    begin(study, 'encoder').finish(), begin(study, 'intermediate', 'mnli').finish()
    for i, best in (('none', 61.), ('mnli', 64.)):
        for t in ('xquad', 'mlqa', 'tatoeba') if i == 'none' else ('xquad',):
            scores = [dict(language=c, metric=TARGET[t].metrics[0], score=50., n=1) for c in study.evaluated(t)]
            active = begin(study, 'pair', i, t)
            active.finish(scores, tuned_model(active), history={'best': best, 'beyond': {'qab': best - 9}} if t == 'xquad' else {})
    table = dev_scores(study)
    assert list(table) == DEV_COLUMNS and set(table.language) == {'qaa', 'qab'}
    assert set(table.score[table.language == 'qab']) == {52, 55}
    assert table[table.language == 'qaa'].set_index(['intermediate', 'target']).score.to_dict() == {('none', 'xquad'): 61, ('none', 'mlqa'): 61, ('mnli', 'xquad'): 64}


def test_languages_that_not_every_candidate_has_say_nothing():
    scores = pd.DataFrame([dict(study='s', intermediate=i, target='xnli', language=c, metric='accuracy', seed=0, score=60., n=9)
                           for i in ('none', 'mnli') for c in ('en', 'de', 'sw')])
    home = [dict(study='s', intermediate=i, target='xnli', language='en', metric='accuracy', seed=0, score=s) for i, s in (('none', 70.), ('mnli', 80.))]
    alone = [dict(home[1], language='sw', score=10.)]
    both = alone + [dict(home[0], language='sw', score=40.)]
    held = study_gains(scores)
    assert RULES[2] not in dev_choices(held, pd.DataFrame(home + alone))
    assert dev_choices(held, pd.DataFrame(home + both))[RULES[2]] == ['none'] and dev_choices(held, pd.DataFrame(home + both))[RULES[1]] == ['mnli']
