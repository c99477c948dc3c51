"Retrieval: blocks, ties and duplicates, XTREME's mining rules, and BUCC's real size."
import resource

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import poisson
from transformers import XLMRobertaConfig, XLMRobertaModel

from xlt.models.retrieval_evaluation import evaluate_retrieval, mine_bitext, nearest_translations
from xlt.models.features import train_tokenizer
from xlt.data.examples import dataset
from xlt.data.corpora import read_bucc, two_sides
from xlt.data.lab import Lab
from xlt.common.errors import XltError
from xlt.models.metrics import pair_f1
from xlt.models.retrieval import best_threshold, mine_distinct_pairs, distinct_texts, embed, mine_pairs, neighbours
from xlt.tasks.cards import TASKS


def unit(rng, n, d):
    "Random vectors of length 1."
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def slow(queries, base, k):
    "Neighbours by the definition."
    similar = queries.astype(np.float64) @ base.astype(np.float64).T
    order = np.lexsort((np.broadcast_to(np.arange(len(base)), similar.shape), -similar.round(12)), axis=1)[:, :k]
    return np.take_along_axis(similar, order, 1), order


def official(x, y, k=4):
    "XTREME's `mine_bitext` (ratio margin, both directions), written down again, rows only."
    sim = x.astype(np.float64) @ y.astype(np.float64).T
    xi, yi = np.argsort(-sim, 1)[:, :k], np.argsort(-sim.T, 1)[:, :k]
    mx, my = np.take_along_axis(sim, xi, 1).mean(1), np.take_along_axis(sim.T, yi, 1).mean(1)
    forward = [[sim[i, j] / ((mx[i] + my[j]) / 2) for j in xi[i]] for i in range(len(x))]
    backward = [[sim[i, j] / ((mx[i] + my[j]) / 2) for i in yi[j]] for j in range(len(y))]
    rows = [(max(s), i, xi[i][int(np.argmax(s))]) for i, s in enumerate(forward)]
    rows += [(max(s), yi[j][int(np.argmax(s))], j) for j, s in enumerate(backward)]
    seen_x, seen_y, out = set(), set(), []
    for s, i, j in sorted(rows, key=lambda r: -r[0]):
        if i not in seen_x and j not in seen_y:
            seen_x.add(i), seen_y.add(j)
            if s > 0: out.append((i, j))
    return set(out)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10 ** 6), st.integers(1, 60), st.integers(1, 60), st.integers(1, 6), st.integers(1, 70))
def test_blocks_change_nothing(seed, n, m, k, block):
    rng = np.random.default_rng(seed)
    base = unit(rng, m, 16)
    base[rng.integers(0, m, m // 3)] = base[0]  # repeated vectors: exact ties
    queries = np.vstack([unit(rng, n, 16), base[:2]])
    whole, parts = neighbours(queries, base, k), neighbours(queries, base, k, block=block)
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts))
    similar, index = slow(queries, base, min(k, m))
    assert np.allclose(whole[0], similar, atol=1e-6) and np.array_equal(whole[1], index)


def test_ties_go_to_the_lower_index():
    base = np.tile(np.eye(4, dtype=np.float32)[:1], (50, 1))
    assert neighbours(base[:1], base, 4)[1].tolist() == [[0, 1, 2, 3]] == neighbours(base[:1], base, 4, block=3)[1].tolist()
    many = np.tile(base[:1], (1000, 1))
    assert (neighbours(np.tile(many, (3, 1)), many, 4)[1] == [0, 1, 2, 3]).all(), 'more rows that are alike than fit into a tile'
    assert mine_pairs(base[:3], base[:3]) == [(0, 0, 1.0)], 'all alike: every sentence prefers the first'


@pytest.mark.parametrize('seed', range(5))
def test_mining_is_xtremes(seed):
    rng = np.random.default_rng(seed)
    x, y = unit(rng, 80, 24), unit(rng, 120, 24)
    y[:40] = x[:40] + .3 * unit(rng, 40, 24)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    assert {(i, j) for i, j, _ in mine_pairs(x, y)} == official(x, y)
    assert mine_pairs(x, y) == mine_pairs(x, y, block=17)


def test_repeated_sentences_are_never_proposed():
    rng = np.random.default_rng(0)
    x = unit(rng, 6, 8)
    texts = ['a', 'b', 'c', 'a', 'd', 'e']
    x[3] = x[0]
    first, once = distinct_texts(texts)
    assert first.tolist() == [0, 1, 2, 4, 5] and once.tolist() == [False, True, True, True, True]
    found = mine_distinct_pairs((texts, list('vwxyz') + ['u']), x, x)
    assert {i for i, _, _ in found} <= {1, 2, 4, 5} and (1, 1) in {(i, j) for i, j, _ in found}


@pytest.mark.parametrize('scores, right, threshold', [
    ([1.3, 1.2, 1.1, 1.0], [1, 1, 0, 0], 1.15), ([1.3, 1.2, 1.1], [1, 1, 1], 1.1), ([1.3, 1.2], [0, 0], 0), ([], [], 0), ([1.3, 1.2], [1, 0], 1.25)])
def test_threshold(scores, right, threshold):
    found = [(i, i, s) for i, s in enumerate(scores)]
    gold = {(i, i) for i, r in enumerate(right) if r} | ({(-1, -1)} if not any(right) else set())
    assert best_threshold(found, gold) == pytest.approx(threshold)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(500, 2000).map(lambda i: i / 1000), st.booleans()), min_size=1, max_size=30, unique_by=lambda c: c[0]), st.integers(0, 5))
def test_no_other_threshold_is_better(scored, missing):
    found = [(i, i, s) for i, (s, _) in enumerate(sorted(scored, reverse=True))]
    gold = {(i, i) for i, (_, right) in enumerate(sorted(scored, reverse=True)) if right} | {(-1 - i, 0) for i in range(missing)}
    f1 = lambda t: pair_f1(gold, [(i, j) for i, j, s in found if s >= t])['f1']
    if gold: assert f1(best_threshold(found, gold)) == pytest.approx(max(f1(s) for _, _, s in found))


# The encoder

@pytest.fixture(scope='module')
def encoder():
    "A small untrained encoder, its tokenizer, and a lab."
    lab = Lab(largest=200, smallest=30, test_examples=30, dev_examples=30)
    tokenizer = train_tokenizer(lab.corpus(), vocabulary=800, alpha=.5)
    torch.manual_seed(0)
    model = XLMRobertaModel(XLMRobertaConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                                             max_position_embeddings=130, pad_token_id=tokenizer.pad_token_id)).eval()
    return lab, model, tokenizer


def test_mean_over_attended_positions_of_any_layer(encoder):
    lab, model, tokenizer = encoder
    texts = ['a', *lab.corpus()['qaa'][:5], 'b ' * 300]
    for layer in (0, 1, 2):
        found = embed(model, tokenizer, texts, layer, max_length=64, batch_size=3)
        for text, row in zip(texts, found):
            with torch.no_grad(): hidden = model(**tokenizer(text, truncation=True, max_length=64, return_tensors='pt'), output_hidden_states=True).hidden_states[layer][0]
            mean = hidden.mean(0).numpy()
            assert np.allclose(row, mean / np.linalg.norm(mean), atol=1e-5)
        assert np.allclose(found, embed(model, tokenizer, texts, layer, max_length=64, batch_size=3, block=2), atol=1e-5)


@pytest.mark.parametrize('layer', [-1, 3, 14])
def test_a_layer_that_is_not_there(encoder, layer):
    _, model, tokenizer = encoder
    with pytest.raises(XltError, match=f'layer {layer} does not exist; the model has 0 .* to 2'): embed(model, tokenizer, ['a'], layer)


def test_bucc_uses_the_development_threshold(encoder, monkeypatch):
    lab, model, tokenizer = encoder
    asked = []
    def spy(data, k, threshold, *how):
        asked.append(threshold)
        return {('qab-1', 'en-1')}, {('qab-1', 'en-1')}, 1.23
    monkeypatch.setattr('xlt.models.retrieval_evaluation.mine_bitext', spy)
    scores, kept = evaluate_retrieval(lab, TASKS['bucc2018'], model, tokenizer, 1, 64, 4, ['qab'])
    assert asked == [None, 1.23] and {s['metric']: s['score'] for s in scores}['f1'] == 100 and len(kept) == 1


def test_tatoeba_asks_from_the_english_side(encoder, monkeypatch):
    _, model, tokenizer = encoder
    rows = two_sides([dict(id=f'f{i}', text=t) for i, t in enumerate('uvw')], [dict(id=f'e{i}', text=t) for i, t in enumerate('xyz')],
                     [('f0', 'e0'), ('f1', 'e1'), ('f2', 'e2')], 'test')
    vectors = dict(zip('uvwxyz', np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, .9, .1]], np.float32)))
    monkeypatch.setattr('xlt.models.retrieval_evaluation.embed', lambda m, t, texts, *_, **__: np.stack([vectors[x] for x in texts]))
    ids, gold, found = nearest_translations(dataset(rows, 'retrieval'), model, tokenizer, 1, 64)
    assert ids == ['e0', 'e1', 'e2'] and gold == ['f0', 'f1', 'f2'] and found == ['f0', 'f1', 'f1'], 'a tie goes to the lower index'


# BUCC's real size

@pytest.fixture(scope='module')
def bucc(sample):
    "The Chinese-English development set."
    return dataset(read_bucc(sample / 'bucc2018' / 'zh-en.dev.gold'), 'retrieval')


def embedded(data, perfect, seed=0, d=64):
    "An embedding of each text: random, and, if perfect, the same for both sides of a gold pair."
    rng, rows = np.random.default_rng(seed), data.to_pandas()
    vectors = dict(zip(dict.fromkeys(rows.text), unit(rng, rows.text.nunique(), d)))
    if perfect:
        text = dict(zip(rows.id, rows.text))
        for r in rows[rows.side == 'foreign'].itertuples():
            for m in r.matches: vectors[r.text] = vectors[text[m]]
    return lambda model, tokenizer, texts, *_, **__: np.stack([vectors[t] for t in texts])


def test_bucc_with_perfect_embeddings(bucc, monkeypatch):
    monkeypatch.setattr('xlt.models.retrieval_evaluation.embed', embedded(bucc, perfect=True))
    gold, found, threshold = mine_bitext(bucc, 4, None, None, None, 0, 0)
    print(f'\nBUCC zh-en dev, perfect embeddings: {pair_f1(gold, found)}, threshold {threshold:.3f}')
    assert len(gold) == 257 and pair_f1(gold, found)['f1'] == 100


def test_bucc_with_random_embeddings_is_chance(bucc, monkeypatch):
    monkeypatch.setattr('xlt.models.retrieval_evaluation.embed', embedded(bucc, perfect=False, seed=1))
    gold, found, _ = mine_bitext(bucc, 4, 0., None, None, 0, 0)  # a threshold that was not tuned on these very pairs
    scores, right = pair_f1(gold, found), len(set(gold) & {tuple(pair) for pair in found})
    chance = len(found) * len(gold) / (8624 * 13589)  # right pairs expected of so many
    print(f'\nBUCC zh-en dev, random embeddings: {scores} with {len(found):,} proposed; {chance:.3f} right ones expected, {right} found')
    assert len(found) > 1000 and right <= poisson.ppf(.999, chance) and scores['f1'] < .1


def test_bucc_in_blocks_is_the_same(bucc):
    rows, embedding = bucc.to_pandas(), embedded(bucc, perfect=True, seed=2)
    texts = [list(rows.text[rows.side == side]) for side in ('foreign', 'english')]
    x, y = (embedding(None, None, t) for t in texts)
    assert (len(x), len(y)) == (8624, 13_589)
    whole = mine_distinct_pairs(texts, x, y, block=1 << 20)
    assert whole == mine_distinct_pairs(texts, x, y, block=1000) and len(whole) > 5000


def test_memory_is_bounded_by_blocks():
    rng = np.random.default_rng(0)
    x, y = unit(rng, 3000, 256), unit(rng, 30_000, 256)
    neighbours(x[:64], y[:64], 4)  # FAISS and its threads
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    neighbours(x, y, 4, block=2048)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 80, f'{grown:.0f} MB for blocks of 2 MB; all similarities at once are 360 MB'
