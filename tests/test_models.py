"Heads are made for the task at hand, whatever the checkpoint was trained under before."
import pytest

from xlt.models.features import train_tokenizer
from xlt.models.heads import HEADS, new_model, save_encoder, with_head
from xlt.tasks.cards import Recipe


@pytest.fixture(scope='module')
def after_inference(tmp_path_factory):
    "An encoder that was last trained under a head of three classes."
    folder, text = tmp_path_factory.mktemp('encoder'), {'qaa': ['ba be bi bo bu. da de di do du.'] * 50}
    tokenizer = train_tokenizer(text, vocabulary=400, alpha=.5)
    save_encoder(new_model(Recipe(hidden=16, heads=2, feed_forward=32, layers=1), tokenizer, 0), tokenizer, folder / 'first')
    save_encoder(with_head(folder / 'first', 'sentence_pair', ['a', 'b', 'c'], 0), tokenizer, folder / 'second')
    return folder / 'second', tokenizer


@pytest.mark.parametrize('kind', HEADS)
def test_a_head_has_the_size_of_its_own_task(after_inference, kind):
    folder, tokenizer = after_inference
    labels = {'sentence_pair': ['no', 'yes'], 'tagging': ['A', 'B', 'C', 'D']}.get(kind, [])
    batch = tokenizer(['ba be', 'da de'], return_tensors='pt')
    if kind == 'multiple_choice': batch = {k: v[None] for k, v in batch.items()}
    out = with_head(folder, kind, labels, 0)(**batch)
    if kind == 'span': assert out.start_logits.shape == out.end_logits.shape == batch['input_ids'].shape
    else: assert out.logits.shape[-1] == (len(labels) or 2)
