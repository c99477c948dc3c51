"Variants that protect the encoder: what each trains, that it resumes, and what decides its fingerprint."
import json
import math
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, TrainerCallback, XLMRobertaConfig, XLMRobertaModel

from xlt.common.errors import XltError
from xlt.models import checkpoints
from xlt.models.features import train_tokenizer
from xlt.models.heads import load_encoder, save_encoder, with_head
from xlt.models.multitask import fit_mixture, task_part
from xlt.models.tokenised import features_table
from xlt.models.training import fit
from xlt.models.variants import between, protected
from xlt.runs.graph import runs
from xlt.runs.params import Study
from xlt.runs.footprint import memory
from xlt.runs.planning import to_read
from xlt.runs.store import needed_again
from xlt.runs.worker import check_device
from xlt.tasks.cards import PROTECTIONS, Phase, find_variant

FILE, PHASE = 'params/tiny.yaml', Phase(learning_rate=1e-2, batch_size=8, epochs=5, eval_steps=4)
CONFIGS = {'bert': (BertModel, BertConfig, dict(pad_token_id=0, type_vocab_size=2)),  # as multilingual-e5-small
           'xlm-r': (XLMRobertaModel, XLMRobertaConfig, dict(pad_token_id=1, type_vocab_size=1))}  # as the lab's
EVERY = ['mnli', *(f'mnli-{p}' for p in PROTECTIONS)]


class Killed(BaseException):
    pass


@pytest.fixture(scope='module')
def tokenizer():
    return train_tokenizer({'a': [f'w{i} v{i % 7} u{i % 5}' for i in range(300)]}, 400, 1.)


@pytest.fixture(scope='module', params=list(CONFIGS))
def encoder(request, tokenizer, tmp_path_factory) -> Path:
    "Four layers, with dropout; of its vocabulary the data use a tenth."
    model, config, special = CONFIGS[request.param]
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    save_encoder(model(config(vocab_size=2000, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32,
                              max_position_embeddings=40, **special)), tokenizer, folder)
    return folder


def features(n: int = 40):
    return features_table('sentence_pair', [{'input_ids': [0, *range(10, 12 + i % 9), 2], 'attention_mask': [1] * (4 + i % 9), 'labels': i % 2} for i in range(n)], 0)


def score(model) -> float:  # a function of the weights
    with torch.no_grad():
        return float(model.base_model(input_ids=torch.tensor([[0, 15, 99, 2]])).last_hidden_state.abs().sum()) % 100


def alone(encoder, tokenizer, how, folder=None, phase=PHASE, **kwargs):
    model = with_head(encoder, 'sentence_pair', ['x', 'y'], 0)
    with protected(model.base_model, how, 0) as record:
        done = fit(model, tokenizer, 'sentence_pair', features(), phase, 0, score, folder, **kwargs)
        adapted = score(model.eval())
    return model.base_model, done | record, adapted, score(model)


def mixed(encoder, tokenizer, how, folder=None, **kwargs):
    shared = load_encoder(encoder, pooler=0)
    parts = [task_part(name, with_head(encoder, 'sentence_pair', ['x', 'y'], seed), tokenizer, 'sentence_pair', features(n), 8, score)
             for seed, (name, n) in enumerate({'a': 40, 'b': 24}.items())]
    with protected(shared, how, 0) as record:
        done = fit_mixture(shared, parts, PHASE, 10 ** 6, 0, folder, **kwargs)
        adapted = score(shared.eval())
    return shared, done | record, adapted, score(shared)


@pytest.mark.parametrize('train', [alone, mixed])
def test_frozen_weights_keep_their_bits(encoder, tokenizer, train):
    before = load_encoder(encoder).state_dict()
    trained, done, *_ = train(encoder, tokenizer, {'frozen_layers': .5})
    after, kept = trained.state_dict(), lambda name: name.startswith(('embeddings.', 'encoder.layer.0.', 'encoder.layer.1.'))
    same = {name for name, w in before.items() if torch.equal(w, after[name])}
    assert same == {name for name in before if kept(name) or 'position_ids' in name or 'token_type_ids' in name}
    assert done['of_weights'] - done['trained_weights'] == sum(w.numel() for name, w in before.items() if kept(name) and w.is_floating_point())
    assert all(p.requires_grad for p in trained.parameters())


@pytest.mark.parametrize('train', [alone, mixed])
def test_merged_adapters_give_what_they_gave_apart(encoder, tokenizer, train, tmp_path):
    trained, done, adapted, merged = train(encoder, tokenizer, {'lora_rank': 2})
    before, after = load_encoder(encoder).state_dict(), trained.state_dict()
    assert merged == pytest.approx(adapted, abs=1e-3)
    changed = {name for name, w in before.items() if not torch.equal(w, after[name])}
    assert changed == {n for n in before if n.startswith('encoder.layer.') and n.endswith('.weight') and 'LayerNorm' not in n}
    for name in changed: assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3) <= 2, name
    save_encoder(trained, tokenizer, tmp_path / 'checkpoint')  # a plain one
    config = json.loads((tmp_path / 'checkpoint' / 'config.json').read_text())
    again = load_encoder(tmp_path / 'checkpoint')
    assert again.state_dict().keys() == before.keys() and not [k for k in config if 'lora' in k or 'peft' in k]
    assert score(again) == pytest.approx(merged, abs=1e-4)
    assert done['trained_weights'] < done['of_weights'] / 4


@pytest.mark.parametrize('how', [{'frozen_layers': .5}, {'lora_rank': 2}])
@pytest.mark.parametrize('train', [alone, mixed])
def test_a_killed_training_goes_on_with_the_same_bits(encoder, tokenizer, train, how, tmp_path, monkeypatch):
    whole, expected, *_ = train(encoder, tokenizer, how)
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 7: raise Killed
    init = checkpoints.ResumableTrainer.__init__
    with monkeypatch.context() as m, pytest.raises(Killed):
        m.setattr(checkpoints.ResumableTrainer, '__init__', lambda self, *a, **k: (init(self, *a, **k), self.add_callback(Stop()))[0])
        train(encoder, tokenizer, how, tmp_path, every=0)
    assert list(tmp_path.glob('checkpoint-*'))
    resumed, history, *_ = train(encoder, tokenizer, how, tmp_path, every=0)
    assert history == expected
    for name, w in whole.state_dict().items(): assert torch.equal(w, resumed.state_dict()[name]), name


def test_wise_is_the_mean_to_rounding(encoder, tokenizer, tmp_path):
    trained, *_ = alone(encoder, tokenizer, {})
    save_encoder(trained, tokenizer, tmp_path)
    old, new = (load_encoder(f).state_dict() for f in (encoder, tmp_path))
    for weight in (.5, .25):
        found = between(encoder, tmp_path, weight)[0].state_dict()
        for name in (n for n, w in new.items() if w.is_floating_point()):
            exact = (1 - weight) * old[name].double() + weight * new[name].double()
            assert torch.equal(found[name], exact.float()), name
    assert any(not torch.equal(old[n], new[n]) for n in old)


@pytest.mark.parametrize('share', [.1, .5])
def test_short_takes_its_share_of_the_steps(project, encoder, tokenizer, share):
    study = Study.read(FILE, set=['intermediates=[mnli, mnli-short]', f'protection.short_steps={share}', 'tasks.mnli.epochs=4', 'tasks.mnli.batch_size=2',
                                  'tasks.mnli.learning_rate=1e-3'])
    whole, short = (alone(encoder, tokenizer, {}, phase=study.mixture(i).shared)[1] for i in ('mnli', 'mnli-short'))
    assert whole['of_steps'] == 80 and short['steps'] == short['of_steps'] == math.ceil(80 * share)
    assert short['dev'] and short['dev'][-1]['step'] == short['steps']  # its end is looked at, or nothing could be kept


def spec(study, name): return next(r.spec['recipe'] for r in runs(study) if r.phase == 'intermediate' and r.intermediate == name)


def test_names(project):
    assert [find_variant(f'mnli-mt-mlm-{p}')[1:] for p in PROTECTIONS] == [('mnli', ('mnli',), True, True, p) for p in PROTECTIONS]
    assert find_variant('multi-mt-frozen').unprotected == 'multi-mt' and find_variant('multi-mt').unprotected == 'multi-mt'
    for wrong, right in {'mnli-frosen': 'mnli-frozen', 'squad_v1-lorra': 'squad_v1-lora', 'mnli-wize': 'mnli-wise', 'mnli-shrt': 'mnli-short'}.items():
        with pytest.raises(XltError, match=f"intermediates: intermediate '{wrong}' is unknown .did you mean '{right}'"): Study.read(FILE, set=[f'intermediates=[{wrong}]'])


@pytest.mark.parametrize('setting, message', [
    ('protection.frozen_layers=1', 'protection.frozen_layers'), ('protection.lora_rank=0', 'protection.lora_rank'), ('protection.short_steps=0', 'protection.short_steps'),
    ('protection.wise_weight=1.5', 'protection.wise_weight'), ('protection.rank=8', 'protection.rank'),
    ('intermediates=[mnli-wise]', 'intermediates: mnli-wise: it mixes in the weights of mnli, which the study lacks; add mnli'),
    ('intermediates=[mnli, mnli-mt-wise]', 'the weights of mnli-mt, which the study lacks')])
def test_what_cannot_be(project, setting, message):
    with pytest.raises(XltError, match=message): Study.read(FILE, set=[setting])


@pytest.mark.parametrize('setting, changes', [
    ('protection.frozen_layers=.25', {'mnli-frozen'}), ('protection.lora_rank=2', {'mnli-lora'}), ('protection.lora_rate=2', {'mnli-lora'}),
    ('protection.wise_weight=.25', {'mnli-wise'}), ('protection.short_steps=.2', {'mnli-short'}), ('tasks.mnli.epochs=7', set(EVERY)),
    ('tasks.mnli-short.epochs=.3', {'mnli-short'}), ('tasks.mnli-lora.learning_rate=1e-3', {'mnli-lora'})])
def test_what_renames_a_variant(project, setting, changes):
    base = [f'intermediates=[{", ".join(EVERY)}]']
    old, new = ({r.intermediate: r.fingerprint for r in runs(Study.read(FILE, set=s)) if r.phase == 'intermediate'} for s in (base, [*base, setting]))
    assert {i for i in old if old[i] != new[i]} == changes


def test_what_a_variant_is_trained_with(project):
    base = ['intermediates=[mnli, mnli-short, mnli-lora, mnli-mt, mnli-mt-lora]', 'phases.intermediate.learning_rate=2e-4', 'tasks.mnli.epochs=5', 'tasks.mnli-mt.learning_rate=3e-5']
    study = Study.read(FILE, set=base)
    of = lambda name, key: getattr(study.mixture(name).shared, key)
    assert (of('mnli', 'learning_rate'), of('mnli-lora', 'learning_rate'), of('mnli-mt-lora', 'learning_rate')) == (2e-4, 2e-3, 3e-4)
    assert (of('mnli', 'epochs'), of('mnli-lora', 'epochs'), of('mnli-short', 'epochs')) == (5, 5, .5)
    study = Study.read(FILE, set=[*base, 'tasks.mnli-lora.learning_rate=5e-5'])
    assert of('mnli-lora', 'learning_rate') == 5e-5  # what is set for it alone counts as it is


def test_wise_starts_from_the_plain_run_of_its_seed(project):
    study = Study.read(FILE, set=['intermediates=[mnli-wise, mnli]', 'seeds=[0, 1]'])
    every = runs(study)
    place = {r.name: i for i, r in enumerate(every)}
    for seed in (0, 1):
        wise = every[place[f'mnli-wise--s{seed}']]
        assert [r.name for r in wise.starts_from] == [f'mnli--s{seed}', 'encoder'] and wise.spec['recipe'] == {'wise_weight': .5}
        assert place[f'mnli--s{seed}'] < place[wise.name] and wise.spec['parent'] == every[place[f'mnli--s{seed}']].fingerprint
        assert to_read(study, wise) == {'training': 0., 'evaluation': 0.} and memory(study, wise) > 0
    assert all(r.starts_from == ((r.parent,) if r.parent else ()) for r in every if r.intermediate != 'mnli-wise')


def test_the_encoder_is_made_again_for_wise_alone(project, monkeypatch):
    study = Study.read(FILE, set=['intermediates=[mnli, mnli-wise]', 'targets=[tatoeba]'])
    todo = {'mnli-wise--s0', 'mnli-wise--tatoeba--s0', 'report'}
    monkeypatch.setattr('xlt.runs.store.result', lambda run: None if run.name in todo else {'packed': True})
    monkeypatch.setattr('xlt.runs.store.checkpoint_removed', lambda run: True)
    assert [r.name for r in needed_again(study)] == ['mnli--s0', 'encoder']


def test_lora_without_peft_is_refused_before_any_run(project, monkeypatch):
    study = Study.read(FILE, set=['intermediates=[mnli, mnli-lora]'])
    check_device(study, runs(study))
    monkeypatch.setattr('xlt.runs.worker.find_spec', lambda name: None if name == 'peft' else 1)
    with pytest.raises(XltError, match=r"mnli-lora needs the package peft; .* -m pip install 'xlt\[lora\]'"): check_device(study, runs(study))
    check_device(study, [r for r in runs(study) if r.intermediate != 'mnli-lora'])
