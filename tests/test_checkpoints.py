"Training that is cut off goes on with the same bits; training that fails is seen to have failed; nothing that is loaded runs code."
import json
import os
import pickle
import subprocess
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

from xlt.models import checkpoints, training
from xlt.models.checkpoints import RETRY_SEED_OFFSET, checkpoint_step, is_sealed, resumable, train_with_retry
from xlt.models.evaluation import chance
from xlt.models.features import train_tokenizer
from xlt.models.multitask import fit_mixture, masked_part, task_part
from xlt.models.heads import load_encoder, new_model, save_encoder, with_head, with_masked_head
from xlt.tasks.cards import MaskedText, Phase, Recipe, find_task
from xlt.models.tokenised import features_table
from xlt.models.training import describe_training, fit, pretrain

RECIPE = Recipe(layers=1, hidden=16, heads=2, feed_forward=32, vocabulary=400, steps=12, batch_size=4, max_length=32, block=16)
PHASE = Phase(learning_rate=1e-2, batch_size=8, epochs=3, eval_steps=4)


class Killed(BaseException):
    pass


@pytest.fixture(scope='module')
def tokenizer():
    return train_tokenizer({'a': [f'w{i} v{i % 7} u{i % 5}' for i in range(300)]}, 400, 1.)


@pytest.fixture(scope='module')
def encoder(tokenizer, tmp_path_factory) -> Path:
    "With dropout, so that training needs random numbers at every step."
    folder, model = tmp_path_factory.mktemp('encoder'), new_model(RECIPE, tokenizer, 0)
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = .1
    save_encoder(model, tokenizer, folder)
    return folder


def weights(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def stop_at(monkeypatch, steps: int) -> None:
    "Let a phase be cut off after so many steps, by what no `except Exception` catches."
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == steps:
                raise Killed
    init = checkpoints.ResumableTrainer.__init__

    def with_stop(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.add_callback(Stop())
    monkeypatch.setattr(checkpoints.ResumableTrainer, '__init__', with_stop)


def in_pieces(monkeypatch, cuts: list[int], train, *where):
    "Train, cut off after each of these numbers of steps, and then to the end."
    for cut in cuts:
        with monkeypatch.context() as m, pytest.raises(Killed):
            stop_at(m, cut)
            train(*where, every=0)
    return train(*where, every=0)


def tune(encoder, tokenizer, folder=None, **kwargs):
    "Fine-tune on 60 sentences of differing lengths: 8 steps an epoch, a look at every fourth."
    model = with_head(encoder, 'sentence_pair', ['x', 'y'], 0)
    rows = [{'input_ids': [0, *range(10, 12 + i % 9), 2], 'attention_mask': [1] * (4 + i % 9), 'labels': i % 2} for i in range(60)]

    def score_dev(m):  # a function of the weights, so that both runs see the same
        return float(weights(m).abs().sum()) % 100
    return model, fit(model, tokenizer, 'sentence_pair', features_table('sentence_pair', rows, 0), PHASE, 0, score_dev, folder, **kwargs)


def masked(tokenizer, folder=None, **kwargs):
    model = new_model(RECIPE, tokenizer, 0)
    corpus = {'a': [f'w{i} v{i % 7} u{i % 5}. w{i} v3.' for i in range(50)], 'b': [f'v{i % 7} w{i}' for i in range(20)]}
    return model, pretrain(model, tokenizer, corpus, RECIPE, 0, folder, **kwargs)


@pytest.mark.parametrize('cuts', [[3], [12], [17, 20]])  # what was saved last: before any look; in an epoch; at its end, then in the next
def test_fine_tuning_goes_on_with_the_same_bits(encoder, tokenizer, tmp_path, monkeypatch, cuts):
    whole, expected = tune(encoder, tokenizer)
    resumed, history = in_pieces(monkeypatch, cuts, tune, encoder, tokenizer, tmp_path / 'training')
    assert history == expected and len(history['dev']) == 6
    assert torch.equal(weights(whole), weights(resumed))


def test_a_tracker_is_told_and_changes_nothing(encoder, tokenizer, monkeypatch):
    from transformers.integrations import integration_utils
    told = []
    class Tracker(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs): told.append({'run': args.run_name})
        def on_log(self, args, state, control, logs=None, **kwargs): told.append(logs)
    plain, expected = tune(encoder, tokenizer)
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, 'tensorboard', Tracker)
    tracked, history = tune(encoder, tokenizer, tracker='tensorboard', run_name='tiny/none--xnli--s0')
    assert history == expected and torch.equal(weights(plain), weights(tracked))
    assert told[0] == {'run': 'tiny/none--xnli--s0'} and any('loss' in t for t in told)
    assert [t['dev_score'] for t in told if 'dev_score' in t] == [d['score'] for d in history['dev']]


def test_pretraining_goes_on_with_the_same_bits(tokenizer, tmp_path, monkeypatch):
    "And from where it was: a list of the steps says so."
    whole, expected = masked(tokenizer)
    done, step = [], checkpoints.ResumableTrainer.training_step
    monkeypatch.setattr(checkpoints.ResumableTrainer, 'training_step', lambda self, *a, **k: (done.append(self.state.global_step), step(self, *a, **k))[1])
    with monkeypatch.context() as m, pytest.raises(Killed):
        stop_at(m, 8)
        masked(tokenizer, tmp_path / 'training', every=0)
    assert done == list(range(8))
    resumed, history = masked(tokenizer, tmp_path / 'training', every=0)
    assert done[8:] == list(range(7, 12))  # step 8 was cut off before it was saved
    assert history == expected and torch.equal(weights(whole), weights(resumed))


def mixed(encoder, tokenizer, folder=None, **kwargs):
    "Two tasks and masked language modelling on one encoder: 21 steps, a look at every seventh."
    model, how = load_encoder(encoder), MaskedText(sentences=30, batch_size=6, max_length=32)
    def task(name, n, size):
        rows = [{'input_ids': [0, *range(10, 12 + i % 9), 2], 'attention_mask': [1] * (4 + i % 9), 'labels': i % 2} for i in range(n)]
        return task_part(name, with_head(encoder, 'sentence_pair', ['x', 'y'], 0), tokenizer, 'sentence_pair', features_table('sentence_pair', rows, 0), size, lambda m: float(weights(m).abs().sum()) % 100)
    parts = [task('one', 30, 10), task('two', 24, 6), masked_part(with_masked_head(encoder, model), tokenizer, [f'w{i} v{i % 7} u3' for i in range(30)], how)]
    return model, fit_mixture(model, parts, PHASE.model_copy(update={'eval_steps': 1000}), 100, 0, folder, **kwargs)


@pytest.mark.parametrize('cuts', [[2], [13], [15, 24]])
def test_a_mixture_goes_on_with_the_same_bits(encoder, tokenizer, tmp_path, monkeypatch, cuts):
    whole, expected = mixed(encoder, tokenizer)
    resumed, history = in_pieces(monkeypatch, cuts, mixed, encoder, tokenizer, tmp_path / 'training')
    assert history == expected and torch.equal(weights(whole), weights(resumed))
    assert set(history['drawn']) == {'one', 'two', 'mlm'} and set(history['dev'][0]) == {'step', 'score', 'one', 'two'}


def test_a_truncated_checkpoint_is_passed_over(encoder, tokenizer, tmp_path, monkeypatch):
    whole, expected = tune(encoder, tokenizer)
    with monkeypatch.context() as m, pytest.raises(Killed):
        stop_at(m, 11)
        m.setattr(checkpoints.CheckpointCallback, 'remove_old', lambda *args: None)  # all of them stay
        tune(encoder, tokenizer, tmp_path, every=0)
    last, second, third, good = sorted(tmp_path.glob('checkpoint-*'), key=checkpoint_step, reverse=True)[:4]
    assert resumable(tmp_path) == last and checkpoint_step(last) == 10
    for checkpoint, file in ((last, 'optimizer.pt'), (second, 'model.safetensors')):
        path = checkpoint / file
        os.truncate(path, path.stat().st_size // 2)
    (third / 'trainer_state.json').write_text('{}')
    assert resumable(tmp_path) == good
    resumed, history = tune(encoder, tokenizer, tmp_path, every=0)
    assert history == expected and torch.equal(weights(whole), weights(resumed))


def test_short_phases_save_no_state_and_old_checkpoints_go(encoder, tokenizer, tmp_path):
    tune(encoder, tokenizer, tmp_path / 'short')
    assert not list((tmp_path / 'short').rglob('optimizer.pt')) and resumable(tmp_path / 'short') is None
    tune(encoder, tokenizer, tmp_path / 'long', every=0)
    assert len(list((tmp_path / 'long').glob('checkpoint-*'))) <= 3 and resumable(tmp_path / 'long')


def test_a_full_disk_costs_nothing_that_was_done(encoder, tokenizer, tmp_path):
    "The disk holds two checkpoints to go on from, not three; with more room, training goes on."
    whole, expected = tune(encoder, tokenizer, tmp_path / 'roomy', every=0)
    size = sum(p.stat().st_size for p in resumable(tmp_path / 'roomy').iterdir())
    small = tmp_path / 'small'
    small.mkdir()
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={2 * size + 60_000}', 'tmpfs', small], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f'needs root, to mount a small disk ({done.stderr.strip()})')
    try:
        with pytest.raises(Exception) as error:
            tune(encoder, tokenizer, small / 'training', every=0)
        assert resumable(small / 'training') and 'No space left' in str(error.value)
        subprocess.run(['mount', '-o', 'remount,size=10M', small], check=True)
        resumed, history = tune(encoder, tokenizer, small / 'training', every=0)
    finally:
        subprocess.run(['umount', '--lazy', small], check=True)  # its files may still be mapped
    assert history == expected and torch.equal(weights(whole), weights(resumed))


def test_a_pickle_among_the_checkpoints_is_not_run(encoder, tokenizer, tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path}/run',)
    with monkeypatch.context() as m, pytest.raises(Killed):
        stop_at(m, 6)
        tune(encoder, tokenizer, tmp_path / 'training', every=0)
    found = resumable(tmp_path / 'training')
    for name in ('optimizer.pt', 'scheduler.pt', 'rng_state.pth'):
        torch.save(Evil(), found / name)
        (found / checkpoints.SEAL).unlink()
        checkpoints.seal(found)
        with pytest.raises(pickle.UnpicklingError):
            tune(encoder, tokenizer, tmp_path / 'training', every=0)
    (tmp_path / 'weights').mkdir()
    (tmp_path / 'weights' / 'config.json').write_text((encoder / 'config.json').read_text())
    torch.save(Evil(), tmp_path / 'weights' / 'pytorch_model.bin')
    with pytest.raises(OSError, match='safetensors'):
        load_encoder(tmp_path / 'weights')
    assert not (tmp_path / 'run').exists()


def test_a_loss_that_is_no_number_is_noticed(encoder, tokenizer, monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoints, 'CHECK_LOSS_EVERY', 5)
    step = checkpoints.ResumableTrainer.training_step

    def broken(self, *args, **kwargs):
        if self.args.seed == 0 and self.state.global_step == 7:
            with torch.no_grad():
                self.model.classifier.out_proj.bias.fill_(float('nan'))
        return step(self, *args, **kwargs)
    monkeypatch.setattr(checkpoints.ResumableTrainer, 'training_step', broken)

    def train(seed, folder):
        model = with_head(encoder, 'sentence_pair', ['x', 'y'], seed)
        rows = [{'input_ids': [0, 10 + i % 2, 2], 'attention_mask': [1] * 3, 'labels': i % 2} for i in range(60)]
        return model, fit(model, tokenizer, 'sentence_pair', features_table('sentence_pair', rows, 0), PHASE, seed, lambda m: 60., folder)
    model, history = train_with_retry(train, 0, tmp_path, 50.)
    first, second = history['attempts']
    assert (first['loss'], first['steps'], first['diverged']) == (None, 10, 'the loss was not a number')
    assert second['diverged'] is None and second['steps'] == 24 and history['seed'] == RETRY_SEED_OFFSET
    assert weights(model).isfinite().all() and json.loads(json.dumps(history, allow_nan=False)) == history


def test_a_mixture_that_diverges_before_its_first_evaluation_is_noticed_too(encoder, tokenizer, monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoints, 'CHECK_LOSS_EVERY', 5)
    step = checkpoints.ResumableTrainer.training_step

    def broken(self, *args, **kwargs):
        if self.state.global_step == 2:
            with torch.no_grad():
                next(self.model.parameters()).fill_(float('nan'))
        return step(self, *args, **kwargs)
    monkeypatch.setattr(checkpoints.ResumableTrainer, 'training_step', broken)
    _, history = mixed(encoder, tokenizer, tmp_path)
    assert (history['loss'], history['steps'], history['dev'], history['best']) == (None, 5, [], 0.)
    assert describe_training(history) == 'Training ended at step 5, before the first evaluation.'


def test_both_attempts_at_chance_keep_the_first(tmp_path):
    outcome = {'loss': 1., 'best': 33., 'steps': 3}
    model, history = train_with_retry(lambda seed, folder: ((seed, folder.name), outcome), 5, tmp_path, 33.)
    assert model == (5, 'attempt-1') and history['seed'] == 5 and 'at chance' in history['diverged'] and len(history['attempts']) == 2


def test_what_does_not_diverge_is_left_alone(tmp_path):
    calls = []
    _, history = train_with_retry(lambda seed, folder: (calls.append(seed), {'loss': 1., 'best': 34., 'steps': 3}), 5, tmp_path, 33.)
    assert calls == [5] and 'attempts' not in history and history['diverged'] is None


def test_chance():
    from datasets import Dataset
    phase = Phase(learning_rate=1, batch_size=1, epochs=1, dev_examples=4)
    data = Dataset.from_dict({'label': ['entailment', 'neutral', 'neutral', 'contradiction', 'neutral', 'neutral']})
    assert chance(find_task('mnli'), data, phase, 'en') == 50  # of the first four
    spans = Dataset.from_dict({'answers': [{'text': ['x'], 'answer_start': [0]}, {'text': [], 'answer_start': []}]})
    assert chance(find_task('squad_v2'), spans, phase, 'en') == 50 and chance(find_task('squad_v1'), spans.select([0]), phase, 'en') == 0


def test_a_seal_written_by_half_is_none(tmp_path):
    (tmp_path / 'x').write_text('x')
    checkpoints.seal(tmp_path)
    assert is_sealed(tmp_path)
    (tmp_path / checkpoints.SEAL).write_text('{"x": [1,')
    assert not is_sealed(tmp_path)


def scored(encoder, tokenizer, scores, phase, folder=None, n=60, **kwargs):
    "Fine-tune with these development scores, one a look."
    model = with_head(encoder, 'sentence_pair', ['x', 'y'], 0)
    rows = [{'input_ids': [0, *range(10, 12 + i % 9), 2], 'attention_mask': [1] * (4 + i % 9), 'labels': i % 2} for i in range(n)]
    looks, kept = iter(scores), []

    def score_dev(m):
        kept.append(weights(m.classifier))
        return next(looks)
    history = fit(model, tokenizer, 'sentence_pair', features_table('sentence_pair', rows, 0), phase, 0, score_dev, folder, **kwargs)
    return history, kept, weights(model.classifier)


@pytest.mark.parametrize('patience, stops_at', [(2, 16), (3, 20), (4, None), (None, None)])
def test_training_stops_after_looks_without_a_better_one(encoder, tokenizer, patience, stops_at):
    phase = PHASE.model_copy(update={'patience': patience})  # 24 steps, a look at every fourth
    history, kept, after = scored(encoder, tokenizer, [10., 30., 30., 20., 25., 40.], phase)
    assert history['steps'] == (stops_at or 24) and history['of_steps'] == 24
    assert history['best'] == (30. if stops_at else 40.) and torch.equal(after, kept[1 if stops_at else 5])
    assert ('stopped early' in describe_training(history)) == bool(stops_at) and f'at step {8 if stops_at else 24}' in describe_training(history)


def test_the_last_step_is_looked_at_and_an_epoch_has_a_look(encoder, tokenizer):
    history, _, _ = scored(encoder, tokenizer, range(9), PHASE.model_copy(update={'eval_steps': 5}))
    assert [d['step'] for d in history['dev']] == [5, 10, 15, 20, 24]
    history, _, _ = scored(encoder, tokenizer, range(9), PHASE.model_copy(update={'eval_steps': 1000}))
    assert [d['step'] for d in history['dev']] == [8, 16, 24]


def test_patience_outlives_a_fault(encoder, tokenizer, tmp_path, monkeypatch):
    "Looks without improvement before the fault and after it are counted together."
    phase = PHASE.model_copy(update={'patience': 3})
    with monkeypatch.context() as m, pytest.raises(Killed):
        stop_at(m, 14)
        scored(encoder, tokenizer, [10., 30., 20.], phase, tmp_path, every=0)
    assert checkpoint_step(resumable(tmp_path)) == 13
    history, _, _ = scored(encoder, tokenizer, [20., 20., 50.], phase, tmp_path, every=0)
    assert history['steps'] == 20 and [d['score'] for d in history['dev']] == [10., 30., 20., 20., 20.]


def test_only_a_better_model_is_saved(encoder, tokenizer, monkeypatch):
    saved, on_save = [], checkpoints.CheckpointCallback.on_save
    monkeypatch.setattr(checkpoints.CheckpointCallback, 'on_save', lambda self, args, state, control, **k: (saved.append(state.global_step), on_save(self, args, state, control, **k))[1])
    scored(encoder, tokenizer, [10., 30., 30., 20., 40., 25.], PHASE)
    assert saved == [4, 8, 20]
