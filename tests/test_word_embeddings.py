"Training only the word embeddings that occur: the same weights, less of everything else."
from contextlib import nullcontext

import pytest
import torch
from safetensors import safe_open
from transformers import BertConfig, BertModel, TrainerCallback, XLMRobertaConfig, XLMRobertaModel

from xlt.models import checkpoints, multitask as mixing, training
from xlt.models.features import train_tokenizer
from xlt.models.multitask import fit_mixture, masked_part, task_part
from xlt.models.heads import load_encoder, new_model, save_encoder, with_head, with_masked_head
from xlt.tasks.cards import MaskedText, Phase, Recipe
from xlt.models.tokenised import table
from xlt.models.training import fit, training_arguments
from xlt.models.word_embeddings import UsedRows, only_used, subwords_of

VOCABULARY, DIMENSIONS = 2000, 32
CONFIGS = {'bert': (BertModel, BertConfig, dict(pad_token_id=0, type_vocab_size=2)),  # as of multilingual-e5-small: not what its tokenizer pads with
           'xlm-r': (XLMRobertaModel, XLMRobertaConfig, dict(pad_token_id=1, type_vocab_size=1))}
PHASE = Phase(learning_rate=5e-3, batch_size=8, epochs=5, eval_steps=5)


@pytest.fixture(scope='module')
def tokenizer():
    return train_tokenizer({'a': [f'w{i} v{i % 7} u{i % 5}' for i in range(300)]}, 400, 1.)


@pytest.fixture(scope='module', params=list(CONFIGS))
def encoder(request, tokenizer, tmp_path_factory):
    "With dropout; its vocabulary is far larger than what the data use."
    model, config, special = CONFIGS[request.param]
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    save_encoder(model(config(vocab_size=VOCABULARY, hidden_size=DIMENSIONS, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                              max_position_embeddings=40, **special)), tokenizer, folder)
    return folder


def rows(kind: str, n: int = 80) -> list[dict]:
    "Sub-words from 10 to 200, in rows of 4 to 12."
    def ids(i): return [0, *((i * 37 + k * 11) % 190 + 10 for k in range(2 + i % 9)), 2]
    def row(i):
        if kind == 'multiple_choice': return {'input_ids': [ids(i), ids(i + 1)], 'attention_mask': [[1] * len(ids(j)) for j in (i, i + 1)], 'labels': i % 2}
        return {'input_ids': ids(i), 'attention_mask': [1] * len(ids(i)), 'labels': i % 2}
    return [row(i) for i in range(n)]


def tuned(encoder, tokenizer, kind='sentence_pair', phase=PHASE, folder=None, **kwargs):
    "50 steps with a look at every fifth; the score is that of a model that also reads what training never read."
    model = with_head(encoder, kind, ['x', 'y'] if kind == 'sentence_pair' else [], 0)

    def score_dev(m):
        ids = torch.tensor([[0, 15, 1990, 2]])
        with torch.no_grad(): return float(m.base_model(input_ids=ids).last_hidden_state.abs().sum()) % 100
    return model, fit(model, tokenizer, kind, table(kind, rows(kind), 0), phase, 0, score_dev, folder, **kwargs)


def uncut(monkeypatch):
    for module in (training, mixing): monkeypatch.setattr(module, 'only_used', lambda *args: nullcontext())


def without_clipping(monkeypatch):
    for module in (training, mixing): monkeypatch.setattr(module, 'training_arguments', lambda *a, **k: training_arguments(*a, **k, max_grad_norm=0))


@pytest.mark.parametrize('kind', ['sentence_pair', 'multiple_choice'])
def test_weights_after_50_steps_are_the_same_bits(encoder, tokenizer, monkeypatch, kind):
    without_clipping(monkeypatch)
    few, history = tuned(encoder, tokenizer, kind)
    uncut(monkeypatch)
    whole, expected = tuned(encoder, tokenizer, kind)
    assert history == expected and history['steps'] == 50 and len(history['dev']) == 10
    assert list(few.state_dict()) == list(whole.state_dict())
    for name, weights in whole.state_dict().items(): assert torch.equal(few.state_dict()[name], weights), name
    before = with_head(encoder, kind, [], 0).get_input_embeddings().weight
    changed = (few.get_input_embeddings().weight != before).any(1).nonzero().flatten()
    assert 150 < len(changed) < 200 and changed.max() < 200


def test_with_clipping_they_are_the_same_but_for_rounding(encoder, tokenizer, monkeypatch):
    "The norm of all gradients is a sum of squares in another order: some clip at another last digit."
    few, _ = tuned(encoder, tokenizer)
    uncut(monkeypatch)
    whole, _ = tuned(encoder, tokenizer)
    for name, weights in whole.state_dict().items(): torch.testing.assert_close(few.state_dict()[name], weights, rtol=1e-4, atol=1e-5)


def test_weight_decay_reaches_every_row(encoder, tokenizer, monkeypatch):
    decaying = PHASE.model_copy(update={'weight_decay': .1})
    found, _ = tuned(encoder, tokenizer, phase=decaying)
    uncut(monkeypatch)
    whole, _ = tuned(encoder, tokenizer, phase=decaying)
    for name, weights in whole.state_dict().items(): assert torch.equal(found.state_dict()[name], weights), name
    assert not torch.equal(found.get_input_embeddings().weight[-1], with_head(encoder, 'sentence_pair', [], 0).get_input_embeddings().weight[-1])


class Killed(BaseException):
    pass


def test_a_checkpoint_is_small_and_training_goes_on_from_it(encoder, tokenizer, tmp_path, monkeypatch):
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 23: raise Killed
    whole, expected = tuned(encoder, tokenizer)
    init = checkpoints.ResumableTrainer.__init__
    with monkeypatch.context() as m, pytest.raises(Killed):
        m.setattr(checkpoints.ResumableTrainer, '__init__', lambda self, *a, **k: (init(self, *a, **k), self.add_callback(Stop()))[0])
        tuned(encoder, tokenizer, folder=tmp_path / 'training', every=0)
    found = checkpoints.resumable(tmp_path / 'training')
    with safe_open(found / 'model.safetensors', 'pt') as f:
        name = next(k for k in f.keys() if k.endswith('word_embeddings.weight'))
        ids = f.get_tensor(name.replace('.weight', '.rows'))
        assert f.get_tensor(name).shape == (len(ids), DIMENSIONS) and 150 < len(ids) < 220
    assert sum(p.stat().st_size for p in found.iterdir()) < 4 * 4 * VOCABULARY * DIMENSIONS  # less than the whole matrix with gradient and moments
    resumed, history = tuned(encoder, tokenizer, folder=tmp_path / 'training', every=0)
    assert history == expected
    for name, weights in whole.state_dict().items(): assert torch.equal(resumed.state_dict()[name], weights), name


def test_a_checkpoint_of_other_rows_is_refused():
    def cut(*ids): return UsedRows(torch.nn.Embedding(10, 2), torch.tensor(ids))
    with pytest.raises(ValueError, match='other sub-words'): cut(1, 2, 3).load_state_dict(cut(1, 2, 4).state_dict())


def mixed(encoder, tokenizer, masked):
    model = load_encoder(encoder, pooler=0)

    def part(name, n): return task_part(name, with_head(encoder, 'sentence_pair', ['x', 'y'], 0), tokenizer, 'sentence_pair',
                                        table('sentence_pair', rows('sentence_pair', n), 0), 8, lambda m: 50.)
    parts = [part('one', 80), part('two', 40)]
    if masked: parts.append(masked_part(with_masked_head(encoder, model), tokenizer, [f'w{i} v{i % 7} u3' for i in range(30)],
                                        MaskedText(sentences=30, batch_size=6, max_length=32)))
    sizes = []
    step = checkpoints.ResumableTrainer.training_step
    with pytest.MonkeyPatch.context() as m:
        m.setattr(checkpoints.ResumableTrainer, 'training_step', lambda self, *a, **k: (sizes.append(len(model.get_input_embeddings().weight)), step(self, *a, **k))[1])
        fit_mixture(model, parts, PHASE.model_copy(update={'epochs': 2.}), 100, 0)
    return model, set(sizes)


def test_a_mixture_trains_the_rows_of_all_its_tasks(encoder, tokenizer, monkeypatch):
    without_clipping(monkeypatch)
    few, sizes = mixed(encoder, tokenizer, False)
    assert max(sizes) < 220
    uncut(monkeypatch)
    whole, sizes = mixed(encoder, tokenizer, False)
    assert sizes == {VOCABULARY}
    for name, weights in whole.state_dict().items(): assert torch.equal(few.state_dict()[name], weights), name


def test_masked_language_modelling_predicts_any_subword(tokenizer, tmp_path):
    recipe = Recipe(layers=1, hidden=16, heads=2, feed_forward=32, vocabulary=400, max_length=32, block=16)
    save_encoder(new_model(recipe, tokenizer, 0), tokenizer, tmp_path)
    assert mixed(tmp_path, tokenizer, True)[1] == {len(tokenizer)}


def test_a_vocabulary_in_use_stays_whole(tokenizer):
    model = BertModel(BertConfig(vocab_size=100, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
    whole = model.get_input_embeddings()
    for ids, weight_decay, cut in ((range(51), 0., False), (range(40), .01, False), (range(40), 0., True)):
        with only_used(model, torch.tensor(ids), weight_decay): assert (model.get_input_embeddings() is not whole) == cut
        assert model.get_input_embeddings() is whole


def test_subwords_of_nested_and_chosen_rows(tokenizer):
    special = set(tokenizer.all_special_ids)
    nested = table('multiple_choice', [{'input_ids': [[7, 8], [9]], 'attention_mask': [[1, 1], [1]], 'labels': 0}], 0)
    flat = table('sentence_pair', [{'input_ids': [n, n + 100], 'attention_mask': [1, 1], 'labels': 0} for n in (300, 301, 302)], 0)
    assert set(subwords_of(nested, tokenizer).tolist()) == special | {7, 8, 9}
    assert set(subwords_of(flat.select([2, 0]), tokenizer).tolist()) == special | {300, 400, 302, 402}
