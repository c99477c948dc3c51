"""A model that has not learnt its English task is named: a development score that guessing reaches is no score."""
from pathlib import Path

from xlt.runs import status
from xlt.runs.params import Study

REPO = Path(__file__).parents[1]


def found(monkeypatch, results):
    study = Study.read(REPO / 'params' / 'lab-quick.yaml', ['phases.intermediate.dev_examples=300', 'phases.target.dev_examples=500'])
    monkeypatch.setattr(status, 'result', lambda run: results.get(run.name))
    return status.learnt(study).set_index('run')


def test_a_hair_above_chance_is_chance(monkeypatch):
    history = {'csqa--s0': {'best': 23.7, 'chance': 22.7}, 'mnli--s0': {'best': 67., 'chance': 37.3}, 'squad_v1--s0': {'best': 61., 'chance': 1.},
               'csqa--panx--s0': {'best': 0., 'chance': 0.}, 'none--panx--s0': {'best': 74., 'chance': 0.}, 'mnli--xnli--s0': {'best': 54.6, 'chance': 50.}}
    table = found(monkeypatch, {name: {'history': h} for name, h in history.items()} | {'none--tatoeba--s0': {'history': {}}})
    assert set(table.index) == set(history)
    assert sorted(table.index[~table.learnt]) == ['csqa--panx--s0', 'csqa--s0']  # 54.6 % of 500 is above what guessing reaches
    assert 26 < table.loc['csqa--s0', 'guessing, %'] < 27 and table.loc['csqa--panx--s0', 'task'] == 'panx' and table.loc['mnli--s0', 'task'] == 'mnli'


def test_fewer_development_examples_leave_more_to_luck(monkeypatch):
    results = {'mnli--xnli--s0': {'history': {'best': 54.6, 'chance': 50.}}}
    assert found(monkeypatch, results).learnt.all()
    study = Study.read(REPO / 'params' / 'lab-quick.yaml', ['phases.target.dev_examples=100'])
    assert not status.learnt(study).learnt.any()
    results['mnli--xnli--s0']['history']['dev_examples'] = 60  # as many as there were, whatever was asked for
    assert not found(monkeypatch, results).learnt.any()


def test_what_is_not_finished_is_not_judged(monkeypatch): assert found(monkeypatch, {}).empty
