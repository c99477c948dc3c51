"Features: an oracle reads XQuAD in eleven languages; long questions, no answers, choices, tags, odd words."
import random

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, XLMRobertaTokenizer

from xlt.models.evaluation import span_answers, gold_answers_of, word_tags
from xlt.models.features import (LONGEST_PIECE, LONGEST_QUESTION, SPECIAL, choice_features, truncate_texts, label_names, span_features, span_windows, tag_features,
                          train_tokenizer, trim, word_chunks, word_pieces)
from xlt.data.examples import dataset
from xlt.data.readers import read_squad
from xlt.models.metrics import score_task
from xlt.common.errors import XltError
from xlt.tasks.cards import TASKS, Phase
from xlt.models.tokenised import tokenised

XQUAD = TASKS['xquad'].languages


@pytest.fixture(scope='session')
def xquad(sample):
    "Questions of XQuAD by language."
    return {code: dataset(read_squad(sample / 'xquad' / f'xquad.{code}.json'), 'span') for code in XQUAD}


@pytest.fixture(scope='session')
def texts(xquad):
    "XQuAD's paragraphs by language, each once."
    return {code: list(dict.fromkeys(data['context'])) for code, data in xquad.items()}


@pytest.fixture(scope='session')
def byte_pair(texts):
    "The project's own tokenizer."
    return train_tokenizer(texts, vocabulary=12_000, alpha=.5, texts=6000)


@pytest.fixture(scope='session')
def xlmr(texts, tmp_path_factory):
    "XLM-R's own tokenizer class over pieces from SentencePiece's own trainer."
    sentencepiece = pytest.importorskip('sentencepiece')
    folder = tmp_path_factory.mktemp('sentencepiece')
    (folder / 'text').write_text('\n'.join(line for code in ('zh', 'th', 'ar') for text in texts[code] for line in text.split('\n')))
    sentencepiece.SentencePieceTrainer.train(input=str(folder / 'text'), model_prefix=str(folder / 'm'), vocab_size=6000, model_type='unigram',
                                             num_threads=1, minloglevel=2, max_sentence_length=10_000, input_sentence_size=1500)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / 'm.model'))
    special = [('<s>', 0.), ('<pad>', 0.), ('</s>', 0.), ('<unk>', 0.)]
    vocab = special + [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(3, len(pieces))] + [('<mask>', 0.)]
    return XLMRobertaTokenizer(vocab=vocab)


@pytest.fixture(scope='session')
def spaced(texts):
    "A SentencePiece-like tokenizer whose pieces count the space before a word as theirs."
    raw = Tokenizer(models.Unigram())
    raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    raw.train_from_iterator([t for code in ('ar', 'en') for t in texts[code][:80]],
                            trainers.UnigramTrainer(vocab_size=3000, special_tokens=list(SPECIAL.values()), unk_token='<unk>', show_progress=False))
    raw.post_processor = processors.TemplateProcessing(single='<s> $A </s>', pair='<s> $A </s> </s> $B </s>',
                                                       special_tokens=[(t, raw.token_to_id(t)) for t in ('<s>', '</s>')])
    return PreTrainedTokenizerFast(tokenizer_object=raw, cls_token='<s>', sep_token='</s>', **SPECIAL)


def one_hot(n, i):
    "Logits that point at one of n sub-words."
    logits = np.zeros(n)
    logits[i] = 1
    return logits


def oracle(data, tokenizer, max_length=384, stride=128):
    "Answers of a model that points at the gold sub-words, and how often those are not exactly the gold characters."
    windows = span_features(data, tokenizer, max_length, stride)
    logits = [tuple(one_hot(len(w['input_ids']), w[f'{end}_positions']) for end in ('start', 'end')) for w in windows]
    found = span_answers(data, windows, logits, may_abstain=False, longest=max_length)
    seen = {w['example'] for w in windows if w['start_positions']}
    lengths = [w['end_positions'] - w['start_positions'] + 1 for w in windows if w['start_positions']]
    return found, seen, sum(n > 30 for n in lengths)


def check_oracle(data, tokenizer, language, name):
    "EM is 100 less what sub-words cannot express; the number of those is printed."
    found, seen, _ = oracle(data, tokenizer)
    golds = [a['text'][0] for a in data['answers']]
    assert seen == set(range(len(data))), 'an answer lies in no window'
    inexpressible = [i for i, (f, g) in enumerate(zip(found, golds)) if f != g]
    exact = score_task('xquad', [[g] for g in golds], found, language)['exact_match']
    wrong = sum(score_task('xquad', [[golds[i]]], [found[i]], language)['exact_match'] == 0 for i in inexpressible)
    print(f'\noracle, {name}, {language}: EM {exact:.2f} of {len(data):,}; {len(inexpressible)} spans are not whole sub-words',
          [(golds[i], found[i]) for i in inexpressible[:2]])
    assert exact == pytest.approx(100 * (1 - wrong / len(data))) and len(inexpressible) <= .02 * len(data)
    assert all(golds[i] in found[i] for i in inexpressible)


@pytest.mark.parametrize('language', XQUAD)
def test_oracle_with_our_tokenizer(xquad, byte_pair, language): check_oracle(xquad[language], byte_pair, language, 'byte pairs')


@pytest.mark.parametrize('language', ['zh', 'th', 'ar'])
def test_oracle_with_xlmr_tokenizer(xquad, xlmr, language): check_oracle(xquad[language], xlmr, language, 'XLM-R')


@pytest.mark.parametrize('language', ['ar', 'en'])
def test_oracle_with_leading_spaces(xquad, spaced, language):
    data = xquad[language].select(range(400))
    windows = span_windows(data, spaced, 384, 128)
    context, offsets = data[0]['context'], [o for o in windows[0]['offsets'] if o]
    assert any(context[a].isspace() for a, b in offsets if b > a + 1), 'this tokenizer should count leading spaces'
    check_oracle(data, spaced, language, 'leading spaces')


def test_no_piece_is_a_sentence(texts):
    one = texts['zh'][0][:120]
    tokenizer = train_tokenizer({'zh': [one] * 500, 'th': texts['th'][:3] * 100}, vocabulary=3000, alpha=.5)
    assert LONGEST_PIECE // 2 < max(map(len, tokenizer.get_vocab())) <= LONGEST_PIECE


# Reading

def rows(question='Who sat?', context='The dog sat on the old mat.', answer='the old mat', n=1):
    "Questions about one paragraph; `answer` None: it has none."
    gold = {'text': [answer], 'answer_start': [context.index(answer)]} if answer else {'text': [], 'answer_start': []}
    return dataset([dict(id=str(i), title='', context=context, question=question, answers=gold) for i in range(n)], 'span')


@pytest.fixture(scope='session')
def words():
    "A tokenizer that knows a few words."
    return train_tokenizer({'en': ['the dog sat on the old mat. Who sat? What did the dog do there?'] * 50}, vocabulary=400, alpha=1)


@pytest.mark.parametrize('max_length', [16, 32, 128, 384])
@pytest.mark.parametrize('question', ['Who ' * 500 + 'sat?', 'W' * 3000, '谁' * 900, '?'])
def test_a_long_question_leaves_room_for_the_paragraph(words, question, max_length):
    data = rows(question, 'The dog sat on the old mat. ' * 30)
    windows = span_windows(data, words, max_length, 128)
    assert all(len(w['input_ids']) <= max_length for w in windows)
    read = {c for w in windows for o in w['offsets'] if o for c in range(*o)}
    assert read >= {i for i, c in enumerate(data[0]['context']) if not c.isspace()}
    asked = [sum(o is None for o in w['offsets']) for w in windows]
    assert max(asked) <= min(LONGEST_QUESTION, max_length // 2) + 6


def test_cutting_keeps_short_texts(words):
    assert truncate_texts(['Who sat?', ''], words, 64) == ['Who sat?', '']
    assert words.tokenize(truncate_texts(['Who sat? ' * 100], words, 64)[0]) == words.tokenize('Who sat? ' * 100)[:64]


def test_every_window_knows_whether_it_holds_the_answer(words):
    data = rows(context='on the mat. ' * 60 + 'The dog sat. ' + 'on the mat. ' * 60, answer='The dog')
    windows = span_features(data, words, 64, 16)
    held = [w for w in windows if w['start_positions']]
    assert 1 <= len(held) < len(windows)
    for w in held:
        a, b = trim(data[0]['context'], w['offsets'][w['start_positions']][0], w['offsets'][w['end_positions']][1])
        assert data[0]['context'][a:b] == 'The dog'


def test_no_answer(words):
    unanswerable = span_features(rows(answer=None), words, 64, 16)
    assert [(w['start_positions'], w['end_positions']) for w in unanswerable] == [(0, 0)]
    windows = span_windows(rows(), words, 64, 16)
    size, at = len(windows[0]['input_ids']), next(i for i, o in enumerate(windows[0]['offsets']) if o)
    no, yes = one_hot(size, 0) * 5, one_hot(size, at) * 3
    assert span_answers(rows(), windows, [(no + yes, no + yes)], may_abstain=True) == ['']
    assert span_answers(rows(), windows, [(no + yes, no + yes)], may_abstain=False) != ['']
    assert span_answers(rows(), windows, [(yes, yes)], may_abstain=True) != ['']


def test_an_unanswerable_question_abstains_only_if_every_window_does(words):
    data = rows(context='on the mat. ' * 80, answer=None)
    windows = span_windows(data, words, 64, 16)
    quiet = [(one_hot(len(w['input_ids']), 0) * 5,) * 2 for w in windows]
    assert span_answers(data, windows, quiet, may_abstain=True) == ['']
    at = next(i for i, o in enumerate(windows[1]['offsets']) if o)
    quiet[1] = (one_hot(len(windows[1]['input_ids']), at) * 9,) * 2
    assert span_answers(data, windows, quiet, may_abstain=True) != ['']


# Multiple choice

def test_choices_keep_the_end_of_the_question_apart_from_them(words):
    data = dataset([dict(id='a', context='the dog sat ' * 100, question='Who sat?', choices=['the dog', 'the mat', 'the old mat'], label=2)], 'multiple_choice')
    feature = choice_features(data, words, 32)[0]
    assert feature['labels'] == 2 and len(feature['input_ids']) == 3 and max(map(len, feature['input_ids'])) <= 32
    for ids, choice in zip(feature['input_ids'], data[0]['choices']): assert choice.replace(' ', '') in words.decode(ids).replace(' ', '')


# Tagging

TAGS = ['ADJ', 'NOUN', 'VERB']


def test_tags_are_split_and_rejoined(words):
    rng = random.Random(0)
    tokens = [[rng.choice(['dog', 'the', 'xyzzyplughfoo' * rng.randint(1, 30), '\u200d', '', '狗', ' ', '😀']) for _ in range(rng.randint(1, 60))] for _ in range(40)]
    gold = [[rng.choice(TAGS) for _ in sentence] for sentence in tokens]
    data = dataset([dict(id=str(i), tokens=t, tags=g) for i, (t, g) in enumerate(zip(tokens, gold))], 'tagging')
    features = tag_features(data, words, 24, TAGS)
    assert all(len(f['input_ids']) <= 24 and len(f['labels']) == len(f['input_ids']) for f in features)
    perfect = [(np.eye(len(TAGS))[[max(l, 0) for l in f['labels']]],) for f in features]
    assert word_tags(data, features, perfect, TAGS) == gold
    assert all([i for i, l in enumerate(f['labels']) if l != -100] == f['starts'] for f in features), 'only first sub-words carry labels'


def test_a_supertag_that_training_never_saw_has_no_label_and_is_counted_wrong(words):
    "An oracle that knows the tags of the training set alone."
    task, phase = TASKS['ccg'], Phase(learning_rate=1e-3, batch_size=2, epochs=1, max_length=32)
    train, dev = (dataset([dict(id=str(i), tokens=[f'w{i}'] * len(t), tags=t) for i, t in enumerate(rows)], 'tagging')
                  for rows in ([['N', r'S\NP', 'N']], [['N', 'N/N', r'S\NP', 'N'], ['N/N', 'N']]))
    labels = label_names(task, train)
    read = tokenised(task, dev, words, phase, labels)
    assert [[f['labels'][s] for s in f['starts']] for f in read] == [[0, -100, 1, 0], [-100, 0]]
    logits = [(np.eye(len(labels))[np.maximum(f['labels'], 0)],) for f in read]
    assert score_task('ccg', gold_answers_of(task, dev), word_tags(dev, read, logits, labels), 'en')['accuracy'] == pytest.approx(100 * 4 / 6)
    with pytest.raises(XltError, match="label 'N' is not one of ADJ"): tokenised(TASKS['udpos'], dev, words, phase, list(TASKS['udpos'].labels))


def test_a_word_has_at_least_one_sub_word_and_at_most_a_window(words):
    pieces = word_pieces(['\u200d', '', 'dog', 'q' * 5000], words)
    assert [len(p) > 0 for p in pieces] == [True] * 4 and len(pieces[3]) > 1000
    assert [len(p) for p in word_pieces(['', ' '], words)] == [1, 1]
    feature, = tag_features(dataset([dict(id='0', tokens=['q' * 5000], tags=['NOUN'])], 'tagging'), words, 24, TAGS)
    assert len(feature['input_ids']) == 24 and feature['labels'][1] == 1


def test_chunks_hold_every_word_once_in_order():
    rng = random.Random(1)
    for _ in range(200):
        pieces = [[0] * rng.randint(1, 12) for _ in range(rng.randint(1, 40))]
        chunks = word_chunks(pieces, 8)
        assert [w for c in chunks for w in c] == list(range(len(pieces))) and all(chunks)
        assert all(sum(min(len(pieces[w]), 8) for w in c) <= 8 for c in chunks)
