"Results from other toolkits, and a study as a data set: read by who will read them."
import csv
import json

import pandas as pd
import pytest
import yaml
from xlt.cli.main import main
from xlt.stats.scores import read_scores
from xlt.reporting.export import export_study
from xlt.reporting.interop import convert_results
from xlt.common.errors import XltError
from xlt.runs.params import Study
from xlt.runs.project import root
from xlt.runs.worker import begin
from xlt.runs.status import collect_scores
from xlt.runs.graph import find_run
from xlt.runs.store import files_in
from xlt.common.io import write
from xlt.tasks.cards import TARGET


def jiant(path, shift):
    scores = {f'xnli_{c}': {'loss': 1., 'metrics': {'major': a - shift, 'minor': {'acc': a - shift}}} for c, a in zip(TARGET['xnli'].languages, (.7, .71, .72, .8) * 4)}
    path.write_text(json.dumps(scores | {'aggregated': .7, 'cola': {'metrics': {'major': .1, 'minor': {'mcc': .1}}}}))


def written(path, data):
    path.write_text(json.dumps(data))
    return path


def read(tmp_path, data, name='r.json', **asked):
    "The rows of a file whose toolkit is not named, and what was left out."
    table, said = convert_results(asked.pop('toolkit', None), [written(tmp_path / name, data)], 's', 'none', **asked)
    return table.set_index(['target', 'language']), said


def test_from_jiant_to_an_analysis(tmp_path, capsys):
    out = tmp_path / 'scores.csv'
    for name, shift in (('none', 0), ('mnli', .02)):
        jiant(tmp_path / f'{name}.json', shift)
        assert main(['convert', 'jiant', str(tmp_path / f'{name}.json'), '--intermediate', name, '--out', str(out)]) == 0
    assert '15 scores added, 30 in all' in capsys.readouterr().out
    table = read_scores(out)
    assert set(table.n) == {2490} and table.score.between(60, 85).all(), 'jiant validates on the validation set'
    assert main(['analyse', str(out), '--json']) == 0
    assert json.loads(capsys.readouterr().out)['by_intermediate'][0]['mean'] == pytest.approx(2)
    before = out.read_text()
    for again, why in ((['--intermediate', 'mnli'], 'already'), (['--intermediate', 'qqp', '--study', 'other'], 'a table of their own'), (['--intermediate', ' '], 'intermediate')):
        assert main(['convert', 'jiant', str(tmp_path / 'mnli.json'), *again, '--out', str(out)]) == 2
        assert why in capsys.readouterr().err and out.read_text() == before


@pytest.mark.parametrize('toolkit, text, message', [
    ('jiant', '{"xnli_sw": {"metrics": {"minor": {"mcc": 1}}}}', 'xnli_sw: no accuracy; there is mcc'), ('jiant', '{"cola": {"metrics": {}}}', 'cola: not a task of XTREME'), ('jiant', '{"aggregated": 0.5}', 'no score of a task of XTREME'),
    ('jiant', '{"xnli_sw": {"metrics": {"minor": [0.5]}}}', "not in the form of jiant's results"), ('mteb', '{"task_name": "BUCC", "scores": {"test": [0.5]}}', "not in the form of mteb's"),
    ('jiant', '[1]', 'a JSON object is wanted, not a list'), ('mteb', '{', 'not JSON'), ('mteb', '{"task_name": "STS17"}', 'STS17: not one of BUCC'),
    ('mteb', '{"task_name": "BUCC", "scores": {"train": []}}', 'no test scores in a language of bucc2018; there is train'),
    ('jiant', '{"results": {"xnli_sw": {"acc": 0.4}}}', 'a file of lm-eval, not of jiant: xlt convert lm-eval r.json'), ('lm-eval', '[{"name": "xnli", "stats": []}]', 'a file of HELM, not of lm-eval: make a table'),
    (None, '[{"name": "xnli:language=sw", "metrics": []}]', 'a file of HELM, which is not supported; make a table of it'), (None, '{"config_general": {}, "results": {}}', 'a file of lighteval, which is not supported'),
    (None, '{"scores": [1, 2]}', 'of none of the supported toolkits'), (None, '[[1]]', 'of none of the supported toolkits'), ('jaint', '{}', "toolkit 'jaint' is unknown (did you mean 'jiant'?)"),
    (None, '{"eval_accuracy": 0.7}', 'name no task: say --target'), (None, '[{"eval_results": {"sw": 0.7}}]', 'name no task: say --target'), (None, '{"results": {"xnli": {"acc,none": 0.4}}}', 'xnli: a mean over languages')])
def test_other_files_are_refused_by_name(tmp_path, toolkit, text, message):
    (tmp_path / 'r.json').write_text(text)
    with pytest.raises(XltError) as e: convert_results(toolkit, [tmp_path / 'r.json'], 's', 'mnli')
    assert message in str(e.value) and (toolkit == 'jaint' or str(tmp_path / 'r.json') in str(e.value))


def minor(**scores): return {'loss': 1., 'metrics': {'major': .5, 'minor': scores}}


def test_the_keys_of_jiant(tmp_path):
    table, said = read(tmp_path, {'bucc2018_de': minor(**{'best-threshold': 1.05, 'precision': .8, 'recall': .75, 'F1': .774}), 'udpos_en': minor(precision=.7, recall=.7, f1=.7),
                                  'udpos_fi': minor(f1=.6), 'xquad_ar': minor(exact_match=50., f1=60.), 'mlqa_ar_ar': minor(exact_match=50., f1=61.), 'mlqa_ar_en': minor(f1=62.), 'mlqa_en_ar': minor(f1=63.),
                                  'tydiqa_sw': minor(f1=64.), 'tatoeba_sw': minor(acc=.3), 'panx_sw': minor(f1=.5), 'pawsx_de': minor(mcc=.1)})
    assert table.score.to_dict() == pytest.approx({('bucc2018', 'de'): 77.4, ('udpos', 'en'): 70, ('udpos', 'fi'): 60, ('xquad', 'ar'): 60, ('mlqa', 'ar'): 61, ('tydiqa', 'sw'): 64, ('tatoeba', 'sw'): 30, ('panx', 'sw'): 50})
    assert table.n.dropna().to_dict() == {('udpos', 'en'): 3974, ('xquad', 'ar'): 1190, ('mlqa', 'ar'): 517, ('tydiqa', 'sw'): 499, ('tatoeba', 'sw'): 390, ('panx', 'sw'): 1000}
    assert [line.partition('r.json: ')[2] for line in said] == ['mlqa_ar_en, mlqa_en_ar: context and question are in two languages, which XTREME does not test', 'pawsx_de: no accuracy; there is mcc']


def test_examples_fill_only_what_is_unknown(tmp_path):
    data = {'udpos_en': minor(f1=.7), 'udpos_fi': minor(f1=.6)}
    assert read(tmp_path, data)[0].n.isna().tolist() == [False, True] and read(tmp_path, data, examples=77)[0].n.tolist() == [3974, 77]


OLD = {'mteb_dataset_name': 'Tatoeba', 'mteb_version': '1.1.1', 'dataset_revision': 'abc', 'test': {'swh-eng': {'accuracy': .7, 'f1': .6}, 'cym-eng': {'accuracy': .6}, 'evaluation_time': 9.}}


def test_mteb_old_and_new(tmp_path):
    new = {'task_name': 'Tatoeba', 'mteb_version': '2.1', 'dataset_revision': 'abc', 'scores': {'test': [{'hf_subset': 'swh-eng', 'languages': ['swh-Latn', 'eng-Latn'], 'accuracy': .7, 'f1': .6}]}}
    (old, _), (now, _) = read(tmp_path, OLD), read(tmp_path, new)
    assert old.score.to_dict() == now.score.to_dict() == {('tatoeba', 'sw'): 70} and set(old.n) == {390} and set(old.version) == set(now.version) == {'mteb Tatoeba test abc'}
    assert set(old.source) == {'mteb 1.1.1'} and set(now.source) == {'mteb 2.1'}
    assert read(tmp_path, {'mteb_dataset_name': 'BUCC', 'test': {'de-en': {'f1': .9}, 'zh-en': {'precision': .8}}})[1][0].endswith('zh-en: no f1; there is precision')


def test_two_versions_of_a_task_never_meet(tmp_path, capsys):
    data = {'task_name': 'BUCC', 'dataset_revision': 'a', 'scores': {'test': [{'hf_subset': 'de-en', 'languages': ['deu-Latn', 'eng-Latn'], 'f1': .9}]}}
    for name, change, status in (('none', {}, 0), ('v2', {'task_name': 'BUCC.v2'}, 2), ('other', {'dataset_revision': 'b'}, 2), ('same', {'mteb_version': '9'}, 0)):
        path, out = written(tmp_path / f'{name}.json', data | change), tmp_path / 'scores.csv'
        before = out.read_text() if out.exists() else None
        assert main(['convert', str(path), '--intermediate', name, '--out', str(out)]) == status
        if status: assert out.read_text() == before and 'two versions of bucc2018 are not compared' in capsys.readouterr().err


def test_one_strange_file_does_not_lose_the_others(tmp_path, capsys):
    strange = written(tmp_path / 'STS17.json', {'task_name': 'STS17', 'scores': {'test': []}})
    assert main(['convert', str(strange), str(written(tmp_path / 'Tatoeba.json', OLD)), '--intermediate', 'none', '--out', str(tmp_path / 'o.csv')]) == 0
    said = capsys.readouterr()
    assert '1 scores added' in said.out and 'left out: ' in said.err and 'STS17: not one of BUCC' in said.err


@pytest.mark.parametrize('extra', [{}, {'configs': {'paws_de': {'validation_split': 'validation', 'test_split': 'test'}}, 'lm_eval_version': '0.4.9'}])
def test_lm_evaluation_harness(tmp_path, extra):
    new, old = ({'results': {f'xnli_sw': {'alias': ' - xnli_sw', f'acc{none}': .36, f'acc_stderr{none}': .01}, 'paws_de': {f'acc{none}': .5}, 'xquad_ar': {f'exact_match{none}': .2, f'f1{none}': .4},
                             'mlqa_de_en': {f'f1{none}': .3}, 'hellaswag': {f'acc{none}': .7}, 'xnli': {f'acc{none}': .4}, 'xquad_de': {f'exact_match{none}': .1}},
                 'versions': {'xnli_sw': 1.}, 'n-shot': {'xnli_sw': 5}, 'n-samples': {'xnli_sw': {'original': 2490, 'effective': 99}, 'paws_de': 2000}} | extra for none in (',none', ''))
    for data in (new, old):
        table, said = read(tmp_path, data)
        assert table.score.to_dict() == pytest.approx({('xnli', 'sw'): 36, ('pawsx', 'de'): 50, ('xquad', 'ar'): 40})
        assert table.n.to_dict() == pytest.approx({('xnli', 'sw'): 99, ('pawsx', 'de'): 2000, ('xquad', 'ar'): float('nan')}, nan_ok=True) and [line.rpartition(': ')[2] for line in said] == ['context and question are in two languages, which XTREME does not test', 'not a task of XTREME', 'a mean over languages', 'no f1; there is exact_match']
        assert table.version[('xnli', 'sw')] == 'lm-eval xnli 1.0 5-shot' and table.version[('pawsx', 'de')] == 'lm-eval paws' + ' test' * bool(extra)
    assert read(tmp_path, {'results': {'xnli_sw': {'acc,none': .5, 'acc,strict': .1}}})[0].score.tolist() == [50], 'the unfiltered answers count'


HARNESS_FILE = {'results': {'xnli': {'acc,none': .4}, 'xnli_sw': {'acc,none': .36, 'acc_stderr,none': .01, 'alias': ' - xnli_sw'}, 'xnli_eu': {'acc,none': .4}, 'xcopa_sw': {'acc,none': .55}, 'belebele_swh_Latn': {'acc,none': .3, 'acc_norm,none': .3},
                            'xnli_es_spanish_bench': {'acc,none': .44}, 'xnli_de': {'acc,none': float('nan')}, 'xnli_fr': {'acc,none': 'N/A'}, 'paws_de': {'acc_norm,none': .5}, 'xnli_rus_Cyrl': {'acc,none': .5}},
                'n-samples': {'xnli_sw': {'original': 2490, 'effective': 100}, 'xcopa_sw': None, 'xnli_rus_Cyrl': {'original': 2490, 'effective': 0}}, 'configs': {'xnli_sw': {'num_fewshot': 5}}, 'versions': None, 'config': {'limit': 100., 'model_args': 'pretrained=a/b,dtype=float'}}


def test_what_a_harness_file_holds_beside(tmp_path):
    "Each score is read or named with its reason; a limit is part of the version, and n is only what the file says."
    table, said = read(tmp_path, HARNESS_FILE)
    assert table.score.to_dict() == {('xnli', 'sw'): 36, ('xcopa', 'sw'): 55, ('xnli', 'ru'): 50} and table.n.dropna().to_dict() == {('xnli', 'sw'): 100}
    assert table.version[('xnli', 'sw')] == 'lm-eval xnli 5-shot limit 100'
    assert [line.partition('r.json: ')[2] for line in said] == [
        'xnli: a mean over languages', 'xnli_eu: not a language of xnli in XTREME', 'belebele_swh_Latn: not a task of XTREME', 'xnli_es_spanish_bench: a variant of the task, not the test of XTREME',
        'xnli_de: acc is NaN, not a number', 'xnli_fr: acc is "N/A", not a number', 'paws_de: no accuracy; there is acc_norm']


def test_two_filters_are_two_scores(tmp_path):
    with pytest.raises(XltError, match='f1 by several filters .strict, flexible., and none without'): read(tmp_path, {'results': {'xquad_ar': {'f1,strict': .3, 'f1,flexible': .6}}})
    table, _ = read(tmp_path, {'results': {'xquad_ar': {'f1,strict': .3, 'exact_match,flexible': .6}, 'xquad_de': {'f1,strict': .3, 'f1,none': .5}}})
    assert table.score.tolist() == [30, 50] and table.version.tolist() == ['lm-eval xquad strict', 'lm-eval xquad']


@pytest.mark.parametrize('scores, rest, said', [((.7, .6), dict(), None), ((70, 60), dict(), '70 is no share of 1, so the scores are read as percent'), ((.7, 65), dict(), 'both percent (65) and what may be a share (0.7)'),
                                                ((-.1, .5), dict(), 'not within 0 to 100'), ((1, 0), dict(), None)])
def test_shares_and_percent(tmp_path, scores, rest, said):
    "Certain, or left out; never off by a factor of 100 without a word."
    others = {'task_name': 'BUCC', 'scores': {'test': [{'hf_subset': f'{c}-en', 'f1': s} for c, s in zip(('de', 'fr'), scores)]}}
    files = [written(tmp_path / 'a.json', others), written(tmp_path / 'b.json', OLD)]
    table, lines = convert_results(None, files, 's', 'none')
    found = table[table.target == 'bucc2018'].score.tolist()
    assert found == ([] if said and 'read as' not in said else [s * (1 if max(scores) > 1 else 100) for s in scores]) and len(table) == len(found) + 1
    assert [said in line and line.startswith('left out') == ('read as' not in said) for line in lines] == [True] * (said is not None)


def test_answers_are_percent_or_unclear(tmp_path):
    for data, asked in (({'xquad_ar': minor(f1=.6)}, {}), ({'eval_f1': .72}, dict(target='xquad', language='ar'))):
        with pytest.raises(XltError, match='no score is above 1 .*, where percent is usual; if these are shares, multiply them by 100'): read(tmp_path, data, **asked)


def test_both_directions_of_a_pair(tmp_path):
    def entry(pair, score, **more): return {'hf_subset': pair, 'accuracy': score, 'main_score': score} | more
    def tatoeba(*entries): return {'task_name': 'Tatoeba', 'dataset_revision': 'r', 'scores': {'test': list(entries), 'dev': [entry('deu-eng', .1)]}}
    (one, said), (only, _) = read(tmp_path, tatoeba(entry('eng-swh', .6), entry('swh-eng', .7), entry('ara-eng', .5, languages=['ara-Arab', 'eng-Latn']), entry('arz-eng', .4))), read(tmp_path, tatoeba(entry('eng-swh', .6)))
    assert one.score.to_dict() == {('tatoeba', 'sw'): 70, ('tatoeba', 'ar'): 50} and 'eng-swh: from English; swh-eng is read' in said[0] and len(said) == 1
    assert only.score.tolist() == [60] and only.version.tolist() == ['mteb Tatoeba test r from English']
    with pytest.raises(XltError, match='swh-eng: no accuracy; there is main_score'): read(tmp_path, tatoeba({'hf_subset': 'swh-eng', 'main_score': .6}))


def mteb_folder(place, model, revision, *tasks):
    for task, score in tasks:
        data = {'task_name': task, 'dataset_revision': 'x', 'scores': {'test': [{'hf_subset': 'de-en' if 'BUCC' in task else 'deu-eng', 'f1': score, 'accuracy': score}]}}
        write(place / model / revision / f'{task}.json', json.dumps(data))
    write(place / model / revision / 'model_meta.json', json.dumps({'name': model, 'revision': revision}))


def test_folders(tmp_path, capsys):
    "A model's results wherever they lie below a folder; two models, revisions, versions or runs are told apart."
    def convert(*words):
        (tmp_path / 'o.csv').unlink(missing_ok=True)
        status = main(['convert', *map(str, words), '--intermediate', 'none', '--out', str(tmp_path / 'o.csv')])
        return status, capsys.readouterr()
    mteb_folder(tmp_path / 'one', 'm', 'r', ('Tatoeba', .9), ('BUCC', .8), ('STS17', .7))
    write(tmp_path / 'one/m/r/broken.json', '{"results": {"x"'), write(tmp_path / 'one/m/config.json', '{"architectures": ["X"]}')
    status, said = convert(tmp_path / 'one')
    assert status == 0 and '2 scores added' in said.out and [('STS17: not one of' in said.err), 'broken.json: not JSON' in said.err, 'config.json: of none of the supported toolkits' in said.err, 'model_meta' in said.err] == [True, True, True, False]
    for name, second, why in (('models', ('n', 'r', ('BUCC', .9)), 'two models: '), ('revisions', ('m', 's', ('BUCC', .9)), 'two models: '), ('versions', ('m', 'r', ('BUCC', .9), ('BUCC.v2', .8)), 'bucc2018 de has two scores: 90 (mteb BUCC test x) in ')):
        mteb_folder(tmp_path / name, 'm', 'r', ('Tatoeba', .9)), mteb_folder(tmp_path / name, *second)
        status, said = convert(tmp_path / name)
        assert status == 2 and said.err.startswith(f'xlt: {why}') and not (tmp_path / 'o.csv').exists()
    for model, score in (('a', .3), ('b', .4)):
        for run, task in ((1, 'xnli_sw'), (2, 'xnli_de')): write(tmp_path / f'lm/{model}/results_{run}.json', json.dumps({'results': {task: {'acc,none': score}}, 'model_name': model}))
    write(tmp_path / 'lm/a/samples_xnli_sw.jsonl', '{"doc_id": 0, "acc": 1.0}\n{"doc_id": 1, "acc": 0.0}\n')
    assert convert(tmp_path / 'lm')[0] == 2 and '2 scores added' in convert(tmp_path / 'lm/a')[1].out
    assert 'answers to single questions' in convert(tmp_path / 'lm/a/samples_xnli_sw.jsonl')[1].err
    write(tmp_path / 'lm/a/results_3.json', json.dumps({'results': {'xnli_sw': {'acc,none': .9}}, 'model_name': 'a'}))
    assert 'xnli sw has two scores: 30 (lm-eval xnli) in ' in convert(tmp_path / 'lm/a')[1].err
    (tmp_path / 'empty').mkdir()
    for words, why in (((tmp_path / 'empty',), 'no JSON file in this folder'), (('lm-eval',), 'lm-eval: no such file; name the result files, too'), ((tmp_path / 'one', '--seed', '-1'), '--seed -1: a seed is a whole number from 0'), ((tmp_path / 'one', tmp_path / 'nowhere.json'), 'nowhere.json: no such file'), ((tmp_path / 'one', '--record', '1'), '--record is for files of litmus')):
        status, said = convert(*words)
        assert status == 2 and why in said.err


def test_the_trainers_folder(tmp_path):
    "Its three files are one; the score of a label is not that of a language (PER is a code of Persian)."
    out = tmp_path / 'out'
    for name, data in (('all', {'eval_accuracy': .73, 'predict_accuracy': .7, 'predict_samples': 5010, 'eval_samples': 2490}), ('eval', {'eval_accuracy': .73}), ('predict', {'predict_accuracy': .7})): write(out / f'{name}_results.json', json.dumps(data))
    table, _ = convert_results(None, [out], 's', 'none', target='xnli', language='sw')
    assert table.score.tolist() == [70] and table.n.tolist() == [5010]
    with pytest.raises(XltError, match='xnli sw has two scores: 70 .transformers xnli predict. in .*all_results.json, 73'): convert_results(None, [out / 'all_results.json', out / 'eval_results.json'], 's', 'none', target='xnli', language='sw')
    table, said = read(tmp_path, {'eval_LOC_f1': .8, 'eval_PER_f1': .9, 'eval_overall_f1': .85, 'eval_samples': 1000}, target='panx', language='sw')
    assert table.score.to_dict() == {('panx', 'sw'): 85} and table.n.tolist() == [1000] and 'eval_LOC_f1, eval_PER_f1: the score of one label' in said[0]
    table, _ = read(tmp_path, {'eval_xnli_sw_accuracy': .6, 'eval_pawsx_de_accuracy': .7, 'eval_xnli_sw_samples': 9}, language='sw')
    assert table.score.to_dict() == {('xnli', 'sw'): 60} and table.n.tolist() == [9]
    assert read(tmp_path, {'eval_f1': 72., 'eval_exact_match': 60., 'eval_samples': 1302}, target='xquad', language='de')[0].n.isna().all(), 'windows, not questions'


def test_json_lines_and_other_encodings(tmp_path):
    (tmp_path / 'l.jsonl').write_text('{"eval_sw_accuracy": 0.6}\n\n{"eval_de_accuracy": 0.7}\n')
    assert convert_results(None, [tmp_path / 'l.jsonl'], 's', 'none', target='xnli')[0].score.tolist() == [60, 70]
    (tmp_path / 'w.json').write_bytes('{"results": {"xnli_sw": {"acc": 0.4}}}'.encode('utf-16'))  # as PowerShell redirects it
    assert convert_results(None, [tmp_path / 'w.json'], 's', 'none')[0].score.tolist() == [40]
    (tmp_path / 't.csv').write_text('target,score\nxnli,60\n'), (tmp_path / 'e.json').write_text(' \n')
    for name, why in (('t.csv', 'not JSON .*; xlt analyse reads a table as it is'), ('e.json', 'the file is empty')):
        with pytest.raises(XltError, match=why): convert_results(None, [tmp_path / name], 's', 'none')


def places(data, path=()):
    "All paths into a JSON value."
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


WHOLE = [HARNESS_FILE, OLD, {'task_name': 'BUCC', 'scores': {'test': [{'hf_subset': 'de-en', 'languages': ['deu-Latn', 'eng-Latn'], 'f1': .9}]}}, {'aggregated': .5, 'xnli_sw': minor(acc=.7), 'xquad_ar': minor(f1=60.)},
         {'eval_sw_accuracy': .7, 'eval_sw_samples': 9}, [{'train_config': {'en': 1}, 'eval_results': {'sw': .6, 'de': .7}}], {'overall': {}, 'detailed': {'xnli': {'accuracy': {'sw': 60., 'de': 50.}}}, 'examples': {'xnli': {'sw': 9}}}]


@pytest.mark.parametrize('data', WHOLE, ids=['lm-eval', 'mteb-old', 'mteb', 'jiant', 'transformers', 'litmus', 'xlt'])
def test_whatever_is_in_a_file_is_read_or_refused(tmp_path, data):
    "Any value of a file replaced by any other, or missing: a table with scores from 0 to 100, or a sentence that names the file."
    path, outcomes = tmp_path / 'XNLI_x.json', set()
    junks = ('gone', None, [], {}, 'x', -1, 7, float('nan'), 1e30, True, [None])
    for n, place in enumerate(places(data)):
        for junk in junks[n % 4::4]:
            changed = json.loads(json.dumps(data))
            inner = changed
            for key in place[:-1]: inner = inner[key]
            if junk == 'gone': del inner[place[-1]]
            else: inner[place[-1]] = junk
            path.write_text(json.dumps(changed))
            try: table, _ = convert_results(None, [path], 's', 'none', target='xnli' if 'eval_sw_samples' in data else None)
            except XltError as e:
                assert str(path) in str(e)
                continue
            outcomes.add('read')
            assert table.score.between(0, 100).all() and len(table) and table.n.dropna().ge(1).all()
    assert outcomes, 'some changes leave scores to read'


def test_only_what_is_asked_for(tmp_path):
    data = {'results': {'xnli_sw': {'acc': .3}, 'xnli_de': {'acc': .4}, 'paws_de': {'acc': .5}}}
    assert read(tmp_path, data, target='xnli', language='deu')[0].score.tolist() == [40]
    with pytest.raises(XltError, match='no score of pawsx in sw; there is xnli, pawsx in de'): read(tmp_path, data, target='pawsx', language='sw')


def test_files_of_the_trainer(tmp_path):
    one, _ = read(tmp_path, {'eval_accuracy': .7345, 'eval_samples': 5010, 'predict_accuracy': .7, 'predict_samples': 90}, target='xnli', language='swh')
    assert one.score.to_dict() == {('xnli', 'sw'): 70} and one.n.tolist() == [90] and one.version.tolist() == ['transformers xnli predict']
    many, said = read(tmp_path, {'eval_sw_f1': 71., 'eval_sw_exact_match': 60., 'eval_ar_f1': 70., 'eval_xx_f1': 1., 'eval_loss': 1.}, target='tydiqa')
    assert many.score.to_dict() == {('tydiqa', 'sw'): 71, ('tydiqa', 'ar'): 70} and "'xx' is no language of tydiqa" in said[0]
    for asked, why in ((dict(target='xnli'), 'say --language'), (dict(target='xnli', language='ja'), "'ja' is no language of xnli"), (dict(target='udpos', language='sw'), 'no f1; there is eval_accuracy'), (dict(target='xnil'), "did you mean 'xnli'")):
        with pytest.raises(XltError, match=why): read(tmp_path, {'eval_accuracy': .7}, **asked)


def test_a_scored_submission_and_sumeval(tmp_path, capsys):
    for side, text in (('p', '1\n0\n0\n1\n'), ('l', '1\n0\n1\n1\n')):
        for c in TARGET['pawsx'].languages: write(tmp_path / side / 'pawsx' / f'test-{c}.tsv', text)
    assert main(['score', str(tmp_path / 'p'), str(tmp_path / 'l'), '--json']) == 0
    table, _ = read(tmp_path, json.loads(capsys.readouterr().out))
    assert len(table) == 7 and set(table.score) == {75} and set(table.n) == {4}
    records = [{'train_config': {'en': n}, 'eval_results': {'sw': n / 10000, 'de': .8}} for n in (5000, 6000)]
    assert read(tmp_path, records, 'WikiANN_XLMR.json', record=2)[0].score.to_dict() == {('panx', 'sw'): 60, ('panx', 'de'): 80}
    assert read(tmp_path, records[:1], target='xnli')[0].score.tolist() == [50, 80]
    with pytest.raises(XltError, match='2 records, .* say which with --record'): read(tmp_path, records, 'XNLI_XLMR.json')


def test_whose_file_it_is_need_not_be_said(tmp_path, capsys):
    path = str(written(tmp_path / 'x.json', {'results': {'xnli_sw': {'acc': .4}}}))
    for words in ([path], ['lm-eval', path], ['lm_evaluation_harness', path]):
        assert main(['convert', *words, '--intermediate', 'none', '--out', str(tmp_path / f'{len(words[0])}.csv')]) == 0
    assert main(['convert', 'lm-evla', path, '--intermediate', 'none', '--out', str(tmp_path / 'o.csv')]) == 2 and "lm-evla: no such file (did you mean 'lm-eval'?)" in capsys.readouterr().err


def test_the_same_file_twice_is_said(tmp_path, capsys):
    jiant(path := tmp_path / 'x.json', 0)
    for name in ('none', 'mnli'): assert main(['convert', str(path), '--intermediate', name, '--out', str(tmp_path / 'o.csv')]) == 0
    assert 'every score with mnli is that of the baseline: is it the same file?' in capsys.readouterr().err


def test_cells_that_a_spreadsheet_would_execute(tmp_path):
    jiant(path := tmp_path / 'x.json', 0)
    for seed in ('0', '1'):
        assert main(['convert', str(path), '--intermediate', '@SUM(1)', '--study', "=cmd|'/c calc'!A0", '--seed', seed, '--out', str(tmp_path / 'o.csv')]) == 0
    cells = [cell for line in csv.reader((tmp_path / 'o.csv').open()) for cell in line]
    assert "'=cmd|'/c calc'!A0" in cells and "'@SUM(1)" in cells and not [c for c in cells if c[:1] in tuple('=+-@\t\r')]


def test_a_study_as_a_data_set(project, tmp_path_factory):
    from datasets import load_dataset
    from xlt.models.features import train_tokenizer
    from xlt.models.heads import load_encoder, new_model, save_encoder
    study, out = Study.read('params/tiny.yaml', ['targets=[tatoeba]']), tmp_path_factory.mktemp('hub') / 'tiny'
    with pytest.raises(XltError, match='reports/tiny/scores.csv is missing: xlt run'): export_study(study, out)
    tokenizer = train_tokenizer({'a': ['a b c'] * 9}, 300, 1.)
    for phase, i in (('encoder', None), ('intermediate', 'mnli')):
        active = begin(study, phase, i)
        save_encoder(new_model(study.encoder, tokenizer, 0), tokenizer, active.folder / 'checkpoint')
        active.finish(history={'steps': 5, 'best': 61.} if i else {}, files=sorted((active.folder / 'checkpoint').iterdir()))
    for i in ('none', 'mnli'):
        active = begin(study, 'pair', i, 'tatoeba')
        pd.DataFrame([dict(id=f'{c}-{n}', language=c, gold='x', prediction='y', correct=0.) for c in study.evaluated('tatoeba') for n in range(2)]
                     ).to_parquet(active.folder / 'predictions.parquet')
        active.finish([dict(language=c, metric='accuracy', score=50., n=2) for c in study.evaluated('tatoeba')], files=[active.folder / 'predictions.parquet'])
    with pytest.raises(XltError, match='is missing: xlt run'): export_study(study, out)
    write(root() / 'reports/tiny/scores.csv', collect_scores(study)[0].to_csv(index=False))
    write(root() / 'reports/tiny/summary.json', json.dumps({'conclusion': {'sentence': 'Nothing happened.'}, 'commit': 'abc'}))
    with pytest.raises(XltError, match='was not made with these parameters'): export_study(study, out)
    begin(study, 'report').finish()
    assert export_study(study, out) == {'scores': 30, 'predictions': 60, 'models': 2}
    cache = str(tmp_path_factory.mktemp('cache'))
    scores, predictions = (load_dataset(str(out), name, split='train', cache_dir=cache) for name in ('scores', 'predictions'))
    assert len(scores) == 30 and set(predictions['intermediate']) == {'none', 'mnli'} and predictions.column_names[:2] == ['id', 'language']
    card = (out / 'README.md').read_text()
    assert 'Nothing happened.' in card and 'commit abc' in card and 'license: apache-2.0' in card
    assert 'license: apache-2.0\nlibrary_name' in (out / 'models' / find_run(study, 'intermediate', 'mnli').name / 'README.md').read_text()
    assert load_encoder(out / 'models' / find_run(study, 'intermediate', 'mnli').name).config.hidden_size == study.encoder.hidden
    assert '5 steps, the best development score 61.0 %' in (out / 'models/mnli--s0/README.md').read_text()
    assert Study.model_validate(yaml.safe_load((out / 'params.yaml').read_text())).targets == ['tatoeba']
    with pytest.raises(XltError, match='is not an empty folder'): export_study(study, out)
    (weights,) = [p for p in files_in(find_run(study, 'encoder'), 'checkpoint') if p.name == 'model.safetensors']
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    another = out.with_name('another')
    with pytest.raises(XltError): export_study(study, another)
    assert not another.exists(), 'a damaged checkpoint goes to nobody'
