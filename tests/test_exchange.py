"Results from other toolkits, and a study as a data set: read by who will read them."
import json

import pandas as pd
import pytest
import yaml
from xlt.cli import main
from xlt.degradation import read_scores
from xlt.exchange import export, tidy
from xlt.languages import XltError
from xlt.params import Study
from xlt.results import begin, collect, find_run, root, write
from xlt.tasks import TARGET


def jiant(path, shift):
    scores = {f'xnli_{c}': {'loss': 1., 'metrics': {'major': a - shift, 'minor': {'acc': a - shift}}} for c, a in zip(TARGET['xnli'].languages, (.7, .71, .72, .8) * 4)}
    path.write_text(json.dumps(scores | {'aggregated': .7, 'cola': {'metrics': {'major': .1, 'minor': {'mcc': .1}}}}))


def test_from_jiant_to_an_analysis(tmp_path, capsys):
    out = tmp_path / 'scores.csv'
    for name, shift in (('none', 0), ('mnli', .02)):
        jiant(tmp_path / f'{name}.json', shift)
        assert main(['convert', 'jiant', str(tmp_path / f'{name}.json'), '--intermediate', name, '--out', str(out)]) == 0
    assert '15 scores added, 30 in all' in capsys.readouterr().out
    table = read_scores(out)
    assert set(table.n) == {5010} and table.score.between(60, 85).all()
    assert main(['analyse', str(out), '--json']) == 0
    assert json.loads(capsys.readouterr().out)['by_intermediate'][0]['mean'] == pytest.approx(2)
    before = out.read_text()
    for again, why in ((['--intermediate', 'mnli'], 'already'), (['--intermediate', 'qqp', '--study', 'other'], 'a table of their own'), (['--intermediate', ' '], 'intermediate')):
        assert main(['convert', 'jiant', str(tmp_path / 'mnli.json'), *again, '--out', str(out)]) == 2
        assert why in capsys.readouterr().err and out.read_text() == before


@pytest.mark.parametrize('toolkit, text, message', [
    ('jiant', '{"xnli_sw": {"metrics": {"minor": {"mcc": 1}}}}', 'xnli_sw: no accuracy; there is mcc'), ('jiant', '{"cola": {}}', 'no score of a task of XTREME'),
    ('jiant', '{"xnli_sw": {"metrics": {"minor": [0.5]}}}', "not in the form of jiant's results"), ('mteb', '{"task_name": "BUCC", "scores": {"test": [{}]}}', "not in the form of mteb's"),
    ('jiant', '[1]', 'a JSON object is wanted, not a list'), ('mteb', '{', 'not JSON'), ('mteb', '{"task_name": "STS17"}', "task 'STS17' is none of Tatoeba"),
    ('mteb', '{"task_name": "BUCC", "scores": {"train": []}}', 'no test scores in a language of bucc2018; there is train')])
def test_other_files_are_refused_by_name(tmp_path, toolkit, text, message):
    (tmp_path / 'r.json').write_text(text)
    with pytest.raises(XltError) as e: tidy(toolkit, [tmp_path / 'r.json'], 's', 'mnli')
    assert message in str(e.value) and str(tmp_path / 'r.json') in str(e.value)


def test_a_study_as_a_data_set(project, tmp_path_factory):
    from datasets import load_dataset
    from xlt.features import train_tokenizer
    from xlt.models import load_encoder, new_model, save_encoder
    study, out = Study.read('params/tiny.yaml', ['targets=[tatoeba]']), tmp_path_factory.mktemp('hub') / 'tiny'
    with pytest.raises(XltError, match='reports/tiny/scores.csv is missing: xlt run'): export(study, out)
    tokenizer = train_tokenizer({'a': ['a b c'] * 9}, 300, 1.)
    for phase, i in (('encoder', None), ('intermediate', 'mnli')):
        active = begin(study, phase, i)
        save_encoder(new_model(study.encoder, tokenizer, 0), tokenizer, active.folder / 'checkpoint')
        active.finish(history={'steps': 5, 'best': 61.} if i else {})
    for i in ('none', 'mnli'):
        active = begin(study, 'pair', i, 'tatoeba')
        pd.DataFrame([dict(id=f'{c}-{n}', language=c, gold='x', prediction='y', correct=0.) for c in study.evaluated('tatoeba') for n in range(2)]
                     ).to_parquet(active.folder / 'predictions.parquet')
        active.finish([dict(language=c, metric='accuracy', score=50., n=2) for c in study.evaluated('tatoeba')])
    with pytest.raises(XltError, match='is missing: xlt run'): export(study, out)
    write(root() / 'reports/tiny/scores.csv', collect(study)[0].to_csv(index=False))
    write(root() / 'reports/tiny/summary.json', json.dumps({'conclusion': {'sentence': 'Nothing happened.'}, 'commit': 'abc'}))
    with pytest.raises(XltError, match='was not made with these parameters'): export(study, out)
    begin(study, 'report').finish()
    assert export(study, out) == {'scores': 30, 'predictions': 60, 'models': 2}
    cache = str(tmp_path_factory.mktemp('cache'))
    scores, predictions = (load_dataset(str(out), name, split='train', cache_dir=cache) for name in ('scores', 'predictions'))
    assert len(scores) == 30 and set(predictions['intermediate']) == {'none', 'mnli'} and predictions.column_names[:2] == ['id', 'language']
    card = (out / 'README.md').read_text()
    assert 'Nothing happened.' in card and 'commit abc' in card and 'license: apache-2.0' in card
    assert 'license: apache-2.0\nlibrary_name' in (out / 'models' / find_run(study, 'intermediate', 'mnli').name / 'README.md').read_text()
    assert load_encoder(out / 'models' / find_run(study, 'intermediate', 'mnli').name).config.hidden_size == study.encoder.hidden
    assert '5 steps, the best development score 61.0 %' in (out / 'models/mnli--s0/README.md').read_text()
    assert Study.model_validate(yaml.safe_load((out / 'params.yaml').read_text())).targets == ['tatoeba']
    with pytest.raises(XltError, match='is not an empty folder'): export(study, out)
