"`precision: bf16` reaches every matrix product of training and evaluation, and gives the same digits every time."
import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from xlt.models.evaluation import development_scores, development_score, evaluate, model_logits
from xlt.models.retrieval_evaluation import evaluate_retrieval
from xlt.models.features import label_names, train_tokenizer
from xlt.data.lab import Lab
from xlt.models.multitask import fit_mixture, masked_part, task_part
from xlt.models.heads import load_encoder, new_model, save_encoder, with_head, with_masked_head
from xlt.models.retrieval import embed
from xlt.tasks.cards import TASKS, MaskedText, Phase, Recipe
from xlt.models.tokenised import features_table, tokenised
from xlt.models.training import fit, pretrain

RECIPE = Recipe(layers=1, hidden=16, heads=2, feed_forward=32, vocabulary=600, steps=3, batch_size=4, max_length=64, block=16)
PHASE = Phase(learning_rate=1e-2, batch_size=8, epochs=1, max_length=64, dev_examples=20)
TEXTS = [f'w{i} v{i % 7} u{i % 5}' for i in range(300)]


@pytest.fixture(scope='module')
def lab(): return Lab(seed=1, largest=300, smallest=30, train_examples=40, dev_examples=30, test_examples=20)


@pytest.fixture(scope='module')
def tokenizer(lab): return train_tokenizer(lab.corpus(), 600, .5)


@pytest.fixture(scope='module')
def encoder(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp('encoder')
    save_encoder(new_model(RECIPE, tokenizer, 0), tokenizer, folder)
    return folder


def weights(model): return torch.cat([p.detach().flatten() for p in model.parameters()])


def rows(n=40): return features_table('sentence_pair', [{'input_ids': [0, *range(10, 12 + i % 9), 2], 'attention_mask': [1] * (4 + i % 9), 'labels': i % 2} for i in range(n)], 0)


def tune(encoder, tokenizer, precision):
    model = with_head(encoder, 'sentence_pair', ['x', 'y'], 0)
    return weights(model), fit(model, tokenizer, 'sentence_pair', rows(), PHASE, 0, lambda m: 1., precision=precision) and weights(model)


def mix(encoder, tokenizer, precision):
    model = load_encoder(encoder)
    parts = [task_part('one', with_head(encoder, 'sentence_pair', ['x', 'y'], 0), tokenizer, 'sentence_pair', rows(), 8, lambda m: 1.),
             masked_part(with_masked_head(encoder, model), tokenizer, TEXTS[:30], MaskedText(sentences=30, batch_size=6, max_length=32))]
    return weights(model), fit_mixture(model, parts, PHASE, 100, 0, precision=precision) and weights(model)


def begin(encoder, tokenizer, precision):
    model = new_model(RECIPE, tokenizer, 0)
    return weights(model), pretrain(model, tokenizer, {'a': TEXTS}, RECIPE, 0, precision=precision) and weights(model)


@pytest.fixture
def products():
    "The precision of what comes out of every linear layer inside the encoder."
    seen = set()
    hook = register_module_forward_hook(lambda module, _, out: seen.add(out.dtype) if isinstance(module, torch.nn.Linear) else None)
    yield seen
    hook.remove()


@pytest.mark.parametrize('train', [tune, mix, begin])
def test_training(encoder, tokenizer, products, train):
    before, plain = train(encoder, tokenizer, 'fp32')
    assert products == {torch.float32}
    products.clear()
    _, after = train(encoder, tokenizer, 'bf16')
    assert products == {torch.bfloat16} and after.dtype == torch.float32
    assert torch.equal(after, train(encoder, tokenizer, 'bf16')[1])
    assert not torch.equal(after, plain) and (after - plain).norm() < .5 * (plain - before).norm()


@pytest.mark.parametrize('target', ['xnli', 'udpos', 'xquad', 'tatoeba', 'bucc2018'])
def test_evaluation(lab, encoder, tokenizer, products, target):
    task, languages = TASKS[target], lab.languages(target)[:2]
    train = lab.load('udpos', 'train', 'qaa')
    labels = label_names(task, train) if task.kind != 'retrieval' else []

    def scores(precision):
        products.clear()
        if task.kind == 'retrieval': return evaluate_retrieval(lab, task, load_encoder(encoder), tokenizer, 1, 64, 4, languages, precision=precision)
        model = with_head(encoder, task.kind, labels, 0)
        development_score(task, model, tokenizer, lab.load(target, 'dev', 'qaa'), PHASE, labels, 'qaa', precision=precision)
        development_scores(lab, task, model, tokenizer, PHASE, labels, languages, precision=precision)
        return evaluate(lab, task, model, tokenizer, PHASE, labels, languages, precision=precision)
    scores('fp32')
    assert products == {torch.float32}
    first, predictions = scores('bf16')
    assert products == {torch.bfloat16}
    again, same = scores('bf16')
    assert first == again and predictions.equals(same)


def test_values_are_close(lab, encoder, tokenizer):
    data, task = lab.load('xnli', 'test', 'qab'), TASKS['xnli']
    model, read = with_head(encoder, 'sentence_pair', list(task.labels), 0), tokenised(task, data, tokenizer, PHASE, list(task.labels))
    plain, fast = (np.stack([l for l, in model_logits(model, tokenizer, 'sentence_pair', read, precision=p)]) for p in ('fp32', 'bf16'))
    assert fast.dtype == np.float32 and 0 < abs(plain - fast).max() < .02
    plain, fast = (embed(load_encoder(encoder), tokenizer, data['sentence1'][:], 1, precision=p) for p in ('fp32', 'bf16'))
    assert (plain * fast).sum(1).min() > .999 and not np.array_equal(plain, fast)


@pytest.mark.parametrize('known', [True, False])
def test_products_are_rounded_only_where_a_processor_has_no_bf16(monkeypatch, known):
    from xlt.models import heads
    chosen = []
    monkeypatch.setattr(heads, 'bf16_on_cpu', lambda: known)
    monkeypatch.setattr(heads, 'use_rounded', lambda: chosen.append(True))
    monkeypatch.setattr(heads, 'device', lambda: 'cpu')
    for precision, expected in (('fp32', 0), ('bf16', 0 if known else 1)):
        heads.autocast(precision)
        assert len(chosen) == expected


def test_a_processor_without_bf16_is_warned_about_once(project, monkeypatch, capsys):
    from xlt.cli.commands import check_hardware
    from xlt.common import devices
    from xlt.common.devices import bf16_on_cpu
    from xlt.runs.params import Study, bf16_warning
    study, fast = (Study.read('params/tiny.yaml', [f'precision={p}']) for p in ('bf16', 'fp32'))
    for flags, known in (('flags : fpu avx2 avx512f avx512_bf16', True), ('flags : fpu amx_bf16 amx_tile', True), ('Features : fp asimd bf16', True),
                         ('flags : fpu avx2 avx512f', False)):
        bf16_on_cpu.cache_clear()
        with monkeypatch.context() as m:
            m.setattr(devices.Path, 'read_text', lambda *a, **k: flags)
            assert bf16_on_cpu() == known
        assert (bf16_warning(study) is None) == known and bf16_warning(fast) is None
    check_hardware(fast, None)
    assert capsys.readouterr().err == ''
    check_hardware(study, None)
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'tiny.yaml: precision is bf16, but this processor has no bf16 instructions' in said
    bf16_on_cpu.cache_clear()
