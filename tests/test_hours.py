"xlt plan knows how long a study takes from what this machine has done, and says so when it does not."
import os
import re
import json
from pathlib import Path

import pytest
import yaml

from machine import play

from xlt.cli import main as cli
from xlt.runs import planning as plan
from xlt.models.features import train_tokenizer
from xlt.data.lab import Lab
from xlt.models.heads import load_tokenizer, new_model, save_encoder
from xlt.runs.params import Study
from xlt.runs.planning import done_here, expected_seconds, data_size, to_read
from xlt.common.progress import count_work
from xlt.runs.worker import begin
from xlt.runs.graph import find_run, runs
from xlt.runs.store import result
from xlt.data.door import load
from xlt.tasks.cards import TASKS, Recipe
from xlt.models.tokenised import tokenised

FILE = 'params/tiny.yaml'
LAB = {'kind': 'lab', 'seed': 1, 'n_languages': 4, 'train_examples': 300, 'dev_examples': 20, 'test_examples': 30, 'largest': 300, 'smallest': 50}


@pytest.fixture
def small(project, monkeypatch) -> Path:
    "A study on an encoder in a folder."
    monkeypatch.chdir(project)
    tokenizer = train_tokenizer(Lab(**{k: v for k, v in LAB.items() if k != 'kind'}).corpus(), 600, .5)
    save_encoder(new_model(Recipe(vocabulary=600), tokenizer, 0), tokenizer, project / 'checkpoint')
    data = yaml.safe_load((project / FILE).read_text()) | {'source': LAB, 'encoder': {'kind': 'folder', 'path': '../checkpoint'}, 'targets': ['xnli', 'xquad', 'tatoeba'],
                                                          'tasks': {t: {'batch_size': 10, 'epochs': 2} for t in ('mnli', 'xnli', 'xquad')}}
    (project / FILE).write_text(yaml.safe_dump(data))
    return project


def pretend(phase, intermediate=None, target=None, file=FILE, rest=5., **work):
    "A run that took so long for so many sub-words."
    run = begin(file, phase, intermediate, target)
    run.seconds = {'training': 0., 'evaluation': rest}
    for what, (subwords, seconds) in work.items():
        run.seconds['training'] += seconds
        count_work(what, 400, subwords, seconds)
    scores = [dict(language=c, metric=TASKS[target].metrics[0], score=50., n=10) for c in run.study.evaluated(target)] if target else []
    run.finish(scores=scores)


def scaled(study, run) -> dict[str, float]:
    "What a run reads, in sub-words as they were counted."
    scale = plan.calibration(study, done_here(study))
    return {what: scale * amount for what, amount in to_read(study, run).items()}


def test_sub_words_are_those_of_the_tokenizer(small):
    "After one run on the data, the amount is what the tokenizer really makes of it, also for a larger part of them."
    study = Study.read(FILE)
    task, how = TASKS['xnli'], study.recipe('target', 'xnli')
    train = load(study.source, 'xnli', 'train', 'qaa')
    lengths = tokenised(task, train, load_tokenizer(small / 'checkpoint'), how, list(task.labels))['length']
    pretend('encoder')
    assert plan.calibration(study, done_here(study)) == 1
    pretend('pair', 'none', 'xnli', training=(400 * sum(lengths) / len(lengths), 100.), evaluation=(10_000, 20.))
    more = Study.read(FILE, set=['tasks.xnli.epochs=6'])
    found = plan.calibration(more, done_here(more))
    trained = found * plan.to_train(more, 'xnli', more.recipe('target', 'xnli'), 6)[0]
    assert trained == pytest.approx(6 * sum(lengths), rel=.01)


def test_nothing_done_nothing_guessed(small, capsys):
    assert cli.main(['plan', FILE]) == 0
    assert 'time: not known: no encoder, intermediate or pair run like those of this study' in capsys.readouterr().out
    assert all(seconds is None for seconds, _ in expected_seconds(Study.read(FILE)).values())


def test_rates_of_each_kind_and_the_amount_that_is_left(small):
    pretend('encoder')
    pretend('pair', 'none', 'xnli', training=(10_000, 100.), evaluation=(10_000, 20.))
    study = Study.read(FILE)
    found = expected_seconds(study)
    read = scaled(study, find_run(study, 'pair', 'none', 'xquad'))
    assert read['training'] > 0 and read['evaluation'] > 0
    assert found['none--xquad--s0'] == (pytest.approx(5 + read['training'] * .01 + read['evaluation'] * .002, rel=1e-3), 'rates'), 'no span was measured: any kind'
    assert found['mnli--xnli--s0'] == (pytest.approx(125, rel=1e-3), 'alike'), 'whatever it was trained on before'
    assert found['mnli--s0'][1] == 'rates' and found['none--tatoeba--s0'][1] == 'rates'
    pretend('pair', 'none', 'xquad', training=(10_000, 300.), evaluation=(10_000, 60.))
    more = Study.read(FILE, set=['tasks.xquad.epochs=6', 'tasks.mnli.train_examples=100'])
    found = expected_seconds(more)
    read = scaled(more, find_run(more, 'pair', 'none', 'xquad'))
    assert found['none--xquad--s0'][0] == pytest.approx(5 + read['training'] * .03 + read['evaluation'] * .006, rel=1e-3), 'a span has its own rate'
    whole, part = (to_read(s, find_run(s, 'intermediate', 'mnli'))['training'] for s in (study, more))
    assert part == pytest.approx(whole * 100 / data_size(study, 'mnli', 'train', 'qaa')[0])


def test_a_study_like_one_already_run(small, capsys):
    "The copy of a study, by another name and with another seed: every run is like one that is done."
    play('encoder', 'intermediate', 'pair')
    (small / 'params' / 'again.yaml').write_text((small / FILE).read_text().replace('study: tiny', 'study: again').replace('seeds: [0]', 'seeds: [7]'))
    assert cli.main(['plan', 'again', '--cores', '2']) == 0
    said = capsys.readouterr().out
    assert 'again: 9 runs, 0 of them done' in said and '(8 runs like finished ones)' in said and 'estimated' not in said
    table = plan.phases(Study.read('params/again.yaml'))
    took = {phase: sum(result(r)['seconds']['total'] for r in runs(Study.read(FILE)) if r.phase == phase) for phase in ('encoder', 'intermediate', 'pair')}
    assert {phase: 3600 * table['hours left'][phase] for phase in took} == pytest.approx(took)


def test_other_encoders_machines_and_resumed_runs_tell_nothing(small, monkeypatch):
    pretend('encoder')
    pretend('pair', 'none', 'xnli', training=(10_000, 100.), evaluation=(10_000, 20.))
    study = Study.read(FILE)
    assert len(done_here(study)) == 2
    monkeypatch.setattr(plan, 'this_machine', lambda: {'processor': 'another'})
    assert done_here(study) == []
    monkeypatch.undo()
    monkeypatch.chdir(small); monkeypatch.setenv('XLT_ROOT', str(small))
    scratch = Study.read(FILE, set=['encoder={kind: scratch}'])
    assert done_here(scratch) == []
    pretend('pair', 'none', 'xquad', evaluation=(10_000, 20.))  # its model was there already
    assert [d['run'] for d in done_here(study)] == ['encoder', 'none--xnli--s0']


def test_an_encoder_from_scratch_by_its_steps(project, monkeypatch):
    monkeypatch.chdir(project)
    run = begin(FILE, 'encoder')
    run.seconds = {'training': 60.}
    run.finish()
    twice = Study.read(FILE, set=['encoder.steps=100'])
    assert expected_seconds(twice)['encoder'] == (pytest.approx(120, rel=1e-3), 'rates')
    assert expected_seconds(Study.read(FILE, set=['encoder.hidden=128']))['encoder'][0] is None


def test_the_amount_of_a_test_set(small):
    study, few = Study.read(FILE), Study.read(FILE, set=['test_examples=10'])
    for target in ('xnli', 'tatoeba'):
        whole, part = (plan.to_test(s, target) for s in (study, few))
        assert part == pytest.approx(whole * (1 / 3 if target == 'xnli' else 2 / 3)), 'Tatoeba reads every candidate'
    n, size = data_size(study, 'xnli', 'test', 'qab')
    assert n == len(load(study.source, 'xnli', 'test', 'qab')) and size > 5
    kept = list((small / 'runs' / '_sizes').glob('*.json'))
    assert kept and json.loads(kept[0].read_text())
    for path in kept: path.write_text('damaged')
    assert data_size(study, 'xnli', 'test', 'qab') == (n, size)


def test_plan_and_status_state_the_same_time(small, capsys):
    "By runs like finished ones, by rates, and not at all: never one number in one command and another in the other."
    def stated(file):
        found = []
        for command in (['plan', file, '--cores', str(os.cpu_count())], ['status', file]):
            assert cli.main(command) == 0
            found.append(re.findall('~(.+?) to go', capsys.readouterr().out))
        assert found[0] == found[1], file
        return found[0]
    assert stated(FILE) == [], 'nothing was measured'
    pretend('encoder')
    pretend('pair', 'none', 'xnli', training=(10_000, 100.), evaluation=(10_000, 20.))
    rates = stated(FILE)
    play('encoder', 'intermediate', 'pair')
    (small / 'params' / 'again.yaml').write_text((small / FILE).read_text().replace('study: tiny', 'study: again'))
    assert len(rates) == len(stated('params/again.yaml')) == 1
