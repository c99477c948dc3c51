"A study may test on a part of each test set: the same part in every language, and nothing else changes."
import pytest
import torch

from xlt.models.evaluation import evaluate
from xlt.models.retrieval_evaluation import evaluate_retrieval
from xlt.models.features import label_names, train_tokenizer
from xlt.data.files import Files
from xlt.data.lab import Lab
from xlt.common.errors import XltError
from xlt.models.heads import new_model, save_encoder, with_head
from xlt.runs.params import Study
from xlt.runs.graph import runs
from xlt.data.door import sample_examples, item_key, load
from xlt.paper.submission import write_submission
from xlt.tasks.cards import TASKS, Phase, Recipe

FILE = 'params/tiny.yaml'


@pytest.mark.parametrize('task', ['xnli', 'pawsx', 'xquad'])
def test_real_parallel_sets_give_the_same_items_in_every_language(sample, task):
    source = Files(folder=str(sample))
    full = {code: load(source, task, 'test', code) for code in source.languages(task)}
    few = {code: sample_examples(data, 40) for code, data in full.items()}
    items = {code: [item_key(id) for id in data['id']] for code, data in few.items()}
    assert len(items) > 3 and all(found == items['en'] for found in items.values()) and len(set(items['en'])) == 40
    assert items['en'] != [item_key(id) for id in full['en']['id'][:40]], 'the first forty are no sample'
    if task == 'xnli': assert len({tuple(data['label']) for data in few.values()}) == 1, 'not the same sentences'


def test_languages_that_share_half_their_questions_share_half_their_samples(sample):
    source = Files(folder=str(sample))
    full = {code: set(load(source, 'mlqa', 'test', code)['id']) for code in ('de', 'es')}
    few = {code: set(sample_examples(load(source, 'mlqa', 'test', code), 200)['id']) for code in full}
    assert {len(ids) for ids in few.values()} == {200}
    share = lambda ids: len(ids['de'] & ids['es']) / len(ids['de'])
    assert share(few) > .8 * share(full)


def test_more_than_there_are_is_all_and_a_smaller_sample_lies_in_a_larger_one():
    data = load(Lab(test_examples=30), 'xnli', 'test', 'qab')
    assert sample_examples(data, None)['id'] == sample_examples(data, 31)['id'] == data['id']
    assert set(sample_examples(data, 5)['id']) < set(sample_examples(data, 10)['id'])


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    "A lab, and an untrained model for it: predictions are made, right or wrong."
    lab, folder = Lab(test_examples=60, train_examples=60, largest=400, smallest=50), tmp_path_factory.mktemp('model')
    tokenizer = train_tokenizer(lab.corpus(), 600, .5)
    save_encoder(new_model(Recipe(vocabulary=600), tokenizer, 0), tokenizer, folder)
    return lab, folder, tokenizer


def test_scores_are_those_of_the_sample_and_say_its_size(trained):
    lab, folder, tokenizer = trained
    task, recipe = TASKS['xnli'], Phase(learning_rate=1e-3, batch_size=8, epochs=1)
    labels = label_names(task, load(lab, 'xnli', 'train', 'qaa'))
    torch.manual_seed(0)
    model = with_head(folder, task.kind, labels, 0)
    (all_scores, every), (few_scores, few) = (evaluate(lab, task, model, tokenizer, recipe, labels, ['qaa', 'qab'], None, n) for n in (None, 20))
    assert {s['n'] for s in all_scores} == {60} and {s['n'] for s in few_scores} == {20}
    both = few.merge(every, on=['language', 'id'], suffixes=('', '_whole'))
    assert len(both) == 40 and (both.prediction == both.prediction_whole).all()
    assert few[few.language == 'qaa'].id.tolist() == few[few.language == 'qab'].id.tolist()
    by_hand = 100 * every[every.id.isin(few.id)].groupby('language').correct.mean()
    assert {s['language']: s['score'] for s in few_scores} == pytest.approx(by_hand.to_dict())


def test_tatoeba_asks_fewer_and_searches_all(trained):
    lab, folder, tokenizer = trained
    model = with_head(folder, 'sentence_pair', list('abc'), 0).base_model
    how = (lab, TASKS['tatoeba'], model, tokenizer, 1, 64, 4, ['qab'], None)
    (_, every), (scores, few) = evaluate_retrieval(*how), evaluate_retrieval(*how, examples=15)
    assert scores[0]['n'] == len(few) == 15 and len(every) == 60
    both = few.merge(every, on='id', suffixes=('', '_whole'))
    assert len(both) == 15 and (both.prediction == both.prediction_whole).all(), 'the candidates are not the same'
    assert not set(few.prediction) <= {id.replace('en', 'qab') for id in few.id}, 'only what was drawn could be found'


def test_only_the_pairs_that_are_tested_otherwise_are_other_runs(project):
    named = lambda *settings: {r.name: r.fingerprint for r in runs(Study.read(FILE, set=settings))}
    whole, few, one = named(), named('test_examples=50'), named('tasks.xquad.test_examples=50')
    changed = lambda other: {name for name in whole if whole[name] != other[name]} - {'report'}
    pairs = {name for name in whole if name.count('--') == 2}
    assert pairs and changed(few) == pairs
    assert changed(one) == {name for name in pairs if 'xquad' in name or 'mlqa' in name}, 'MLQA uses the model of XQuAD'
    assert changed(named('test_examples=50', 'tasks.tatoeba.test_examples=null', 'tasks.xquad.test_examples=null', 'tasks.mlqa.test_examples=null')) == set()
    mined = ('targets=[bucc2018]',)
    assert named(*mined) == named(*mined, 'test_examples=50')


def test_a_submission_needs_every_example(project, tmp_path):
    with pytest.raises(XltError, match='params/tiny.yaml: xquad is tested on 50 examples'):
        write_submission(Study.read(FILE, set=['test_examples=50']), 'none', tmp_path / 'out')
