"What XLM-R costs: the measuring code on a processor, and what `xlt plan` makes of its numbers."
import json

import numpy as np
import pytest
import torch

from xlt.runs import speed
from xlt.cli.main import main
from xlt.runs.params import Study
from xlt.runs.planning import gpu_hours, sequences, hub_tests as asked, hub_trainings
from xlt.runs.speed import configuration, keep_speeds, lengths, made_up, newest_speeds, random_model, operations, train_once
from xlt.models.training import training_arguments


@pytest.fixture
def large(repo, project):
    for name in ('bucc2018', 'ccgbank'): (project / name).mkdir()
    (project / 'params' / 'xlmr-large.yaml').write_text((repo / 'params' / 'xlmr-large.yaml').read_text())
    return Study.read('params/xlmr-large.yaml', [f'source.bucc_folder={project / "bucc2018"}', f'source.ccg_folder={project / "ccgbank"}'])


def tiny():
    config = configuration('base', 300)
    config.update(dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32))
    return config


def test_operations_are_those_of_a_model():
    "Counted by PyTorch for one forward pass without padding; the embeddings and the head are not counted here."
    from torch.utils.flop_counter import FlopCounterMode
    config, n = tiny(), 24
    config._attn_implementation = 'eager'  # the counter does not know the fused one
    model = random_model(config, 'pair').eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.base_model(torch.full((2, n), 7, device=model.device), attention_mask=torch.ones(2, n, dtype=torch.long, device=model.device))
    assert counter.get_total_flops() == pytest.approx(operations(config, np.array([n, n])), rel=.01)


def test_lengths_are_those_asked_for():
    pairs, paragraphs = lengths('pair', 20_000, 128), lengths('paragraph', 20_000, 384)
    assert abs(pairs.mean() - (27.5 * 1.35 + 4)) < 1 and pairs.max() <= 128 and paragraphs.max() == 384
    assert np.array_equal(lengths('pair', 9, 128, seed=1), lengths('pair', 9, 128, seed=1))


def test_compiling_is_asked_of_the_trainer(tmp_path):
    assert training_arguments(tmp_path, 0, 1, .1, compile=True).torch_compile and not training_arguments(tmp_path, 0, 1, .1).torch_compile


def test_training_changes_the_model():
    model = random_model(tiny(), 'paragraph')
    before = model.qa_outputs.weight.detach().clone()
    assert train_once(model, 'paragraph', made_up(np.array([9, 12, 30]), 'paragraph', 300), 2, False) > 0
    assert not torch.equal(before, model.qa_outputs.weight)


def row(what, kind, batch_size, per_second): return dict(what=what, kind=kind, limit=128, batch_size=batch_size, compile=False, examples_per_second=per_second)


ROWS = [row('training', kind, size, 100. * size) for kind in ('pair', 'paragraph') for size in (4, 32)] + [row(w, k, 64, 1000.) for w in ('testing', 'embedding') for k in ('pair', 'paragraph')]


def test_hours_follow_from_the_measurements(large, capsys, project, monkeypatch):
    monkeypatch.setenv('XLT_DEVICES', '0,1,2,3')
    assert 'hours and cost are not known' in (main(['plan', large.file, '--set', f'source.bucc_folder={project / "bucc2018"}']), capsys.readouterr().out)[1]
    keep_speeds('Some GPU', 1e15, {'large': ROWS})
    hours = gpu_hours(large, newest_speeds())
    read = {4: 0., 32: 0.}
    for t in hub_trainings(large): read[4 if t['batch_size'] <= 8 else 32] += t['read']  # the nearer size, by ratio
    assert hours[['intermediate', 'pair']].sum() == pytest.approx((read[4] / 400 + read[32] / 3200) / 3600)
    assert hours['testing'] == pytest.approx(sum(t['read'] for t in asked(large)) / 1000 / 3600)
    assert main(['plan', large.file, '--set', f'source.bucc_folder={project / "bucc2018"}', '--price', '2.5', '--cores', '16']) == 0
    said = capsys.readouterr().out
    assert 'hours of one Some GPU' in said and 'at 2.5 an hour' in said and 'with 4 of them' in said


def test_a_size_that_was_not_measured_has_no_hours(large, capsys, project):
    keep_speeds('Some GPU', 1e15, {'base': ROWS})
    assert gpu_hours(large, newest_speeds()) is None
    main(['plan', large.file, '--set', f'source.bucc_folder={project / "bucc2018"}'])
    assert 'other sizes of model' in capsys.readouterr().out


def test_what_is_read(large):
    assert sequences('mnli') == 392_702 and sequences('csqa') == 5 * 9741 and sequences('ccg') == 38_015
    table = hub_trainings(large)
    mnli = [t for t in table if t['phase'] == 'intermediate' and t['batch_size'] == 24 and t['read'] == 392_702 * 2]
    assert len(mnli) >= 1 and all(t['kind'] == 'paragraph' for t in table if t['limit'] == 384)
    assert len([t for t in table if t['phase'] == 'pair']) == 6 * 22  # six targets are trained after each of 21 and none; MLQA and retrieval are not


def test_a_study_from_scratch_needs_no_gpu(project, capsys):
    keep_speeds('Some GPU', 1e15, {'large': ROWS})
    assert main(['plan', 'params/tiny.yaml']) == 0 and 'GPU' not in capsys.readouterr().out
