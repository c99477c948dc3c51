"Mixtures: whose turn it is, what a variant consists of, and that plain runs keep their names."
import math
from collections import Counter

import pytest

from xlt.data.lab import Lab
from xlt.common.errors import XltError
from xlt.models.multitask import Part, TaskBatches, proportions, task_schedule
from xlt.runs.params import Study
from xlt.runs.graph import runs
from xlt.data.door import load_translated
from xlt.tasks.cards import INTERMEDIATE, find_variant

FILE, PAPER = 'params/tiny.yaml', dict(anli_plus=1_104_934, mnli=392_702, qqp=363_846, squad_v1=87_599, squad_v2=130_319, hellaswag=39_905, ccg=38_015, cosmosqa=25_588, csqa=9741)


@pytest.mark.parametrize('cap', [2 ** 17, 2 ** 14, 10 ** 9])
def test_realised_frequencies(cap):
    asked, steps = proportions(PAPER, cap), 50_000
    capped = {t: min(e, cap) for t, e in PAPER.items()}
    assert asked == pytest.approx({t: e / sum(capped.values()) for t, e in capped.items()})
    drawn = Counter(task_schedule(asked, steps, seed=1))
    for task, p in asked.items(): assert abs(drawn[task] / steps - p) < 4 * math.sqrt(p * (1 - p) / steps)


def test_batches_are_of_one_part_and_pass_over_all_rows():
    parts = [Part(n, None, [(n, i) for i in range(size)], [1] * size, lambda rows: {'rows': rows}, batch) for n, size, batch in (('a', 10, 4), ('b', 6, 2))]
    dealt_ = TaskBatches(parts, list('aabaabbaa'), seed=0)
    assert all({n for n, _ in row['batch']['rows']} == {row['part']} for row in dealt_)
    first = [i for row in dealt_ if row['part'] == 'a' for _, i in row['batch']['rows']][:10]
    assert sorted(first) == list(range(10)) and [len(r['batch']['rows']) for r in dealt_ if r['part'] == 'b'] == [2, 2, 2]


def test_plain_specs_are_recipes(project):
    plain = {r.name: r.fingerprint for r in runs(Study.read(FILE))}
    more = {r.name: r.fingerprint for r in runs(Study.read(FILE, set=['intermediates=[mnli, multi, mnli-mlm, mnli-mt]', 'mixing.noise=.1']))}
    assert {n: f for n, f in more.items() if n in plain and n != 'report'} == {n: f for n, f in plain.items() if n != 'report'}
    study = Study.read(FILE)
    assert runs(study)[1].spec['recipe'] == study.recipe('intermediate', 'mnli').model_dump() and set(runs(study)[1].spec['recipe']) == set(type(study.recipe('intermediate', 'mnli')).model_fields)


@pytest.mark.parametrize('setting, changes', [('tasks.csqa.batch_size=5', {'multi'}), ('mixing.cap=500', {'multi', 'mnli-mlm', 'mnli-mt'}), ('tasks.csqa.learning_rate=1e-4', set()),
                                              ('mixing.masked_lm.alpha=.5', {'mnli-mlm'}), ('mixing.noise=.2', {'mnli-mt'}), ('tasks.mnli.batch_size=5', {'mnli', 'multi', 'mnli-mlm', 'mnli-mt'})])
def test_what_renames_a_variant(project, setting, changes):
    base = ['intermediates=[mnli, multi, mnli-mlm, mnli-mt]']
    old, new = ({r.intermediate: r.fingerprint for r in runs(Study.read(FILE, set=s)) if r.phase == 'intermediate'} for s in (base, [*base, setting]))
    assert {i for i in old if old[i] != new[i]} == changes


def test_names(project):
    assert find_variant('multi-mt-mlm')[1:5] == ('multi', tuple(INTERMEDIATE), True, True)
    with pytest.raises(XltError, match="'mnli-mlmm' is unknown .did you mean 'mnli-mlm'"): Study.read(FILE, set=['intermediates=[mnli-mlmm]'])
    with pytest.raises(XltError, match="'MNLI-frozen' is unknown .did you mean 'mnli-frozen'"): Study.read(FILE, set=['intermediates=[MNLI-frozen]'])
    with pytest.raises(XltError, match="'topics-frozen' is unknown; choose"): Study.read(FILE, set=['intermediates=[topics-frozen]'])
    assert Study.read(FILE, set=['tasks.mnli-mlm.epochs=2', 'intermediates=[mnli-mlm]']).mixture('mnli-mlm').shared.learning_rate == 5e-6


@pytest.mark.parametrize('task', list(INTERMEDIATE))
def test_translations_say_the_same(task):
    lab = Lab(seed=3, train_examples=24)
    english, mixed = lab.load(task, 'train', 'qaa'), load_translated(lab, task)
    assert [i.split('/')[1] for i in mixed['id']] == list(english['id']) and len({i.split('/')[0] for i in mixed['id']}) == 16
    if 'label' in english.column_names: assert list(mixed['label']) == list(english['label'])
