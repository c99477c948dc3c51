"Every mistake in a study's file is one message that names the file, the key and what is allowed."
import json
import math
import os
import subprocess
import sys

import pytest
import yaml
from hypothesis import given, strategies as st

from xlt.common.errors import XltError
from xlt.runs.config import Overrides, override, parse
from xlt.runs.params import Study, without_absent
from xlt.runs.project import find_params, root
from xlt.tasks.cards import Phase

FILE = 'params/tiny.yaml'


def message(*settings) -> str:
    with pytest.raises(XltError) as error:
        Study.read(FILE, set=settings)
    return str(error.value)


def edit(project, **changes):
    data = yaml.safe_load((project / FILE).read_text())
    data.update(changes)
    (project / FILE).write_text(yaml.safe_dump({k: v for k, v in data.items() if v is not ...}, sort_keys=False))


@pytest.mark.parametrize('setting, parts', [
    ('seedz=[0]', ['seedz is unknown', "did you mean 'seeds'?", 'choose from study, source']),
    ('source.sed=1', ['source.sed is unknown', "'seed'"]),
    ('source.kind=lap', ['source.kind', "'lap'", "did you mean 'lab'?", 'files']),
    ('encoder.layrs=2', ['encoder.layrs is unknown', "'layers'"]),
    ('encoder.hidden=-1', ['encoder.hidden is -1', 'greater than 0']),
    ('encoder.kind=scrath', ['encoder.kind', "did you mean 'scratch'?"]),
    ('encoder={layers: 2}', ['encoder.kind is missing', 'scratch, pretrained']),
    ('encoder=ckpt', ["encoder is 'ckpt'", 'mapping of keys to values', 'kind from scratch, pretrained']),
    ('phases.target=3', ['phases.target is 3', 'mapping of keys to values']),
    ('encoder={kind: pretrained, name: xlm-roberta-base, revision: main}', ['encoder.revision', "'main'"]),
    ('intermediates=[mnl]', ['intermediates', "'mnl'", "did you mean 'mnli'?"]),
    ('intermediates=[none]', ['intermediates', 'always runs']),
    ('intermediates=[xnli]', ['intermediates', "'xnli' is unknown"]),
    ('intermediates=[mnli, mnli]', ['intermediates', "'mnli' is listed twice"]),
    ('intermediates=mnli', ['intermediates', 'list']),
    ('targets=[xnil]', ['targets', "did you mean 'xnli'?"]),
    ('targets=[]', ['targets', 'at least one']),
    ('languages=[zzz]', ['languages', "'zzz' is unknown", 'qab']),
    ('languages=[qab, qab]', ['languages', 'listed twice']),
    ('seeds=[0, 0]', ['seeds', '0 is listed twice']),
    ('seeds=[-1]', ['seeds.0 is -1']),
    ('seeds=[one]', ["seeds.0 is 'one'", 'integer']),
    ('seeds=[true]', ['seeds.0 is true']),
    ('seeds=[]', ['seeds', 'at least one']),
    ('phases.intermedate.epochs=1', ['phases.intermedate is unknown', "'intermediate'"]),
    ('phases.target.epoch=1', ['phases.target.epoch is unknown', "'epochs'"]),
    ('phases.target.epochs=0', ['phases.target.epochs is 0']),
    ('phases.target.epochs=.inf', ['phases.target.epochs is inf']),
    ('phases.target.learning_rate=fast', ["phases.target.learning_rate is 'fast'", 'number']),
    ('tasks.mnil.epochs=1', ['tasks', "'mnil'", "'mnli'"]),
    ('tasks.tatoeba.epochs=1', ['tasks.tatoeba', 'not trained']),
    ('tasks.mnli.max_length=512', ['tasks.mnli.max_length is 512', 'encoder reads 128']),
    ('tasks.mnli.doc_stride=128', ['tasks.mnli.doc_stride is 128', 'less than max_length']),
    ('retrieval.layer=3', ['retrieval.layer is 3', '2 layers']),
    ('retrieval.neighbors=3', ['retrieval.neighbors is unknown', "'neighbours'"]),
    ('analysis.resource=corpus_sentence', ['analysis.resource', "'corpus_sentences'"]),
    ('analysis.resource=cc100_gib', ["analysis.resource is 'cc100_gib'", 'corpus_sentences']),
    ('analysis.groups=tertile', ['analysis.groups', "'tertiles'"]),
    ('test_examples=0', ['test_examples is 0', 'greater than 0']),
    ('tasks.tatoeba={test_examples: 5, epochs: 1}', ['tasks.tatoeba', 'not trained']),
    ('tasks.mnli.test_examples=5', ['tasks.mnli.test_examples', 'trained on, not tested']),
    ('tasks.bucc2018.test_examples=5', ['tasks.bucc2018.test_examples', 'mined whole']),
    ('phases.target.test_examples=5', ['phases.target.test_examples is unknown']),
    ('study=../../etc', ['study is', 'begins with a letter or digit']),
    ('study=/tmp/x', ['study is', 'begins with a letter or digit']),
    ('study=..', ['study is', 'begins with a letter or digit']),
    ('study=Quick', ['study is', 'begins with a letter or digit']),
    ('study=' + 'a' * 65, ['study is', 'at most 64']),
])
def test_one_message_names_file_key_and_remedy(project, setting, parts):
    text = message(setting)
    assert text.startswith(f'{FILE}: ') and len(text.splitlines()) == 1
    for part in parts:
        assert part in text


@pytest.mark.parametrize('settings', [
    ['targets=[xquad]', 'retrieval.layer=14', 'retrieval.max_length=512'], ['tasks.qqp.max_length=512'], ['mixing.noise=0.1'],
    ['mixing.masked_lm.max_length=512'], ['targets=[tatoeba]', 'phases.target.max_length=512'], ['phases.intermediate.max_length=512', 'tasks.mnli.max_length=64']])
def test_what_nothing_uses_is_not_checked(project, settings):
    Study.read(FILE, set=settings)


@pytest.mark.parametrize('settings, part', [
    (['retrieval.layer=14'], 'retrieval.layer is 14'), (['intermediates=[qqp]', 'tasks.qqp.max_length=512'], 'tasks.qqp.max_length is 512'),
    (['phases.target.max_length=512'], 'phases.target.max_length is 512'), (['intermediates=[multi]', 'tasks.csqa.max_length=512'], 'tasks.csqa.max_length is 512'),
    (['intermediates=[mnli-mlm]', 'tasks.mnli-mlm.max_length=512'], 'tasks.mnli-mlm.max_length is 512'),
    (['intermediates=[mnli-mlm]', 'mixing.masked_lm.max_length=512'], 'mixing.masked_lm.max_length is 512')])
def test_what_something_uses_is(project, settings, part):
    assert message(*settings) == f'{FILE}: {part}, but the encoder ' + ('has 2 layers' if 'layer' in part else 'reads 128 sub-words')


@pytest.mark.parametrize('setting', ['seeds', '=1', 'a..b=1', 'study.x=1', 'tasks.mnli.epochs={'])
def test_a_bad_setting_is_named(project, setting):
    assert f'--set {setting}' in message(setting)


@pytest.mark.parametrize('text, part', [
    ('study: [', 'line 1'), ('a: 1\na: 2\n', "line 2: 'a' is given twice"), ('', 'mapping'), ('- a', 'mapping'),
    ('study: !!python/object:os.system x', 'could not determine a constructor'), ('x: {a: 1, a: 2}', 'given twice'),
    ('a: 1\n  b: 2', 'line 2'), ('? [a]\n: 1', 'cannot be a key'), ('1: 2', '1 is unknown'), ('a: *b', 'alias')])
def test_form(project, text, part):
    (project / FILE).write_text(text)
    assert message().startswith(FILE) and part in message()


def test_not_text(project):
    (project / FILE).write_bytes(b'study: \xff')
    assert 'not UTF-8' in message()


def test_missing_keys_are_all_named(project):
    edit(project, source=..., targets=...)
    assert message().splitlines() == [f'{FILE}: source is missing', f'{FILE}: targets is missing']


def test_missing_file_names_its_neighbour(project):
    with pytest.raises(XltError, match=r"params/tinny.yaml: no such file \(did you mean 'tiny.yaml'\?\)"):
        Study.read('params/tinny.yaml')
    with pytest.raises(XltError, match='no such file'):
        Study.read('elsewhere/tiny.yaml')


def test_a_target_without_training_data_is_refused(project, sample):
    edit(project, source={'kind': 'files', 'folder': str(sample)}, targets=['pawsx', 'tatoeba'], intermediates=['squad_v1'], analysis={'resource': 'cc100_gib'})
    assert 'no English training data for pawsx; expected pawsx/train-en.tsv' in message()


def test_found_from_root_and_from_a_notebook(project, monkeypatch):
    monkeypatch.delenv('XLT_ROOT')
    (project / 'nbs' / 'study').mkdir(parents=True)
    for folder in (project, project / 'nbs' / 'study'):
        monkeypatch.chdir(folder)
        assert root() == project.resolve() and Study.read(FILE).file == FILE


def test_dump_reads_back_as_the_same_study(project):
    study = Study.read(FILE, set=['phases.target.learning_rate=1e-5', 'tasks.mnli.epochs=1', 'seeds=[0, 3]'])
    (project / 'params' / 'copy.yaml').write_text(yaml.safe_dump(study.dump()))
    assert Study.read('params/copy.yaml').dump() == study.dump()
    assert study.tasks == {'mnli': {'epochs': 1}} and study.seeds == [0, 3]


def test_task_goes_before_phase_before_paper(project):
    study = Study.read(FILE, set=['phases.intermediate.epochs=5', 'phases.intermediate.batch_size=7', 'tasks.mnli.epochs=1'])
    mnli = study.recipe('intermediate', 'mnli')
    assert (mnli.epochs, mnli.batch_size, mnli.learning_rate) == (1, 7, 1e-5)
    assert study.recipe('target', 'xquad').epochs == 2


def test_recipe_fits_the_encoder(project):
    short, long = (Study.read(FILE, set=[f'encoder.max_length={n}']).recipe('target', 'xquad') for n in (128, 512))
    assert (short.max_length, short.doc_stride) == (128, 42) and (long.max_length, long.doc_stride) == (384, 128)


def test_languages_keep_the_order_of_the_source(project):
    study = Study.read(FILE, set=['languages=[qad, qac, qab]'])
    assert study.evaluated('xquad') == ['qab', 'qac', 'qad']


def test_overrides_are_phase():
    assert set(Overrides.__annotations__) == set(Phase.model_fields)


@given(st.recursive(st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text('abcxyz-_ ', max_size=8),
                    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text('abcno', min_size=1, max_size=4), x, max_size=3)))
def test_yaml_written_by_anyone_reads_back(data):
    assert parse(yaml.safe_dump(data), 'x') == data


def test_numbers_and_words():
    text = 'a: 1e-5\nb: 1.5\nc: 3\nd: no\ne: true\nf: .nan\ng: -2\nh: "1"\ni: ~\nj: 1.2.3\nk: 5e\n'
    got = parse(text, 'x')
    assert math.isnan(got.pop('f'))
    assert got == dict(a=1e-5, b=1.5, c=3, d='no', e=True, g=-2, h='1', i=None, j='1.2.3', k='5e')


def test_override_makes_mappings():
    data = {'tasks': None}
    override(data, 'tasks.mnli.epochs=2')
    assert data == {'tasks': {'mnli': {'epochs': 2}}}


def test_reading_a_study_imports_no_torch(project):
    code = f'import sys; from xlt.runs.params import Study; from xlt.runs.status import study_status; study_status(Study.read({FILE!r})); print("torch" in sys.modules)'
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=os.environ)
    assert out.stdout.strip() == 'False', out.stderr


def test_find_prefers_the_current_folder(project, monkeypatch, tmp_path_factory):
    other = tmp_path_factory.mktemp('other')
    (other / 'tiny.yaml').write_text('study: x')
    monkeypatch.chdir(other)
    assert find_params('tiny.yaml') == (other / 'tiny.yaml').resolve()


HUB = ['source={kind: hub}', 'encoder={kind: pretrained, name: xlm-roberta-base, revision: e73636d4f797dec63c3081bb6ed5c7b0bb3f2089}',
       'analysis={resource: cc100_gib}']


def test_an_intermediate_task_that_the_source_lacks_is_set_aside_with_its_reason(project):
    study = Study.read(FILE, set=[*HUB, 'intermediates=[mnli, ccg]', 'targets=[xnli]'])
    assert study.intermediates == ['mnli'] and list(study.absent) == ['ccg'] and 'ccg_folder' in study.absent['ccg']


def test_setting_aside_changes_no_study(project):
    asked = Study(**{**Study.read(FILE).dump(), 'source': {'kind': 'hub'}, 'intermediates': ['mnli', 'ccg'], 'targets': ['xnli', 'bucc2018']})
    before, kept = asked.dump(), without_absent(asked)
    assert asked.dump() == before and asked.absent == {}
    assert (kept.intermediates, kept.targets, set(kept.absent)) == (['mnli'], ['xnli'], {'ccg', 'bucc2018'})


@pytest.mark.parametrize('settings, parts', [
    (['intermediates=[ccg]', 'targets=[xnli]'], ['intermediates: ccg', 'CCGbank']),  # nothing would be left
    (['intermediates=[mnli]', 'targets=[bucc2018]'], ['targets: bucc2018', 'bucc_folder']),
    (['intermediates=[mnli]', 'targets=[xnli]', 'encoder={kind: scratch}'], ['encoder.kind', 'no pretraining text'])])
def test_what_a_source_must_have_is_asked_for_by_name(project, settings, parts):
    assert all(part in message(*HUB, *settings) for part in parts)


@pytest.mark.parametrize('kind, device, precision, gpus, wanted', [
    ('scratch', 'auto', 'auto', '0', ('cpu', 'fp32')), ('scratch', 'gpu', 'auto', '', ('gpu', 'bf16')), ('pretrained', 'auto', 'auto', '', ('cpu', 'fp32')),
    ('pretrained', 'auto', 'auto', '0', ('gpu', 'bf16')), ('pretrained', 'cpu', 'bf16', '0', ('cpu', 'bf16')), ('pretrained', 'gpu', 'fp32', '', ('gpu', 'fp32'))])
def test_device_and_precision_are_resolved(kind, device, precision, gpus, wanted, project, monkeypatch):
    monkeypatch.setenv('XLT_DEVICES', gpus)
    monkeypatch.setattr('xlt.runs.params.bf16_on_gpu', lambda: True)
    encoder = {'kind': 'pretrained', 'name': 'x/y', 'revision': '0' * 40} if kind == 'pretrained' else {'kind': 'scratch'}
    study = Study.read('params/tiny.yaml', [f'encoder={json.dumps(encoder)}', f'device={device}', f'precision={precision}', 'compile=yes'])
    assert study.execution() == {'device': wanted[0], 'precision': wanted[1], 'compile': True}
    plain = Study.read('params/tiny.yaml', [f'encoder={json.dumps(encoder)}', f'device={device}', f'precision={precision}']).execution()
    assert (plain.get('arithmetic') == 'portable') == (kind == 'scratch' and wanted == ('cpu', 'fp32'))
    monkeypatch.setenv('XLT_DEVICES', '')  # as in a run that hides the GPUs it does not use
    assert study.execution()['device'] == wanted[0], 'once looked up, it stays'


@pytest.mark.parametrize('settings, said', [
    (['languages=[qaa, qab, qac]'], 'tertiles need at least 3'), (['languages=[qab]', 'analysis.groups=median'], 'median need at least 2'),
    (['languages=[qaa, qab, qac]', 'analysis.groups=median'], None)])
def test_languages_that_make_no_groups_are_refused_before_anything_runs(project, settings, said):
    if said is None: assert Study.read(FILE, set=settings).study == 'tiny'
    else:
        with pytest.raises(XltError, match=said): Study.read(FILE, set=settings)


def test_a_measure_that_draws_no_line_is_refused(project, monkeypatch):
    from xlt.data.lab import Lab
    facts = Lab.facts
    monkeypatch.setattr(Lab, 'facts', lambda self: facts(self).assign(corpus_sentences=7.))
    with pytest.raises(XltError, match='corpus_sentences is 7 for languages of both groups'): Study.read(FILE)
