"Odd names of files and folders, hostile YAML and JSON, damaged notes: one message says why not."
import json
import os
import shutil
from pathlib import Path

import pytest

from xlt.cli.main import main
from xlt.cli.terminal import shortened
from xlt.common.errors import XltError, brief
from xlt.runs.params import Study
from xlt.runs.config import parse
from xlt.runs.project import root
from xlt.runs.status import note, study_status
from xlt.runs.graph import runs


@pytest.mark.parametrize('name', [b'two\nlines.yaml', b'caf\xe9.yaml', b'bell\x07.yaml'])
def test_names_that_cannot_be_said_are_refused(project, capsys, name):
    path = os.fsdecode(os.fsencode(project / 'params') + b'/' + name)
    shutil.copy(project / 'params/tiny.yaml', path)
    for command in ('status', 'run'):
        assert main([command, path]) == 2
        said = capsys.readouterr().err
        assert 'rename it' in said and said.count('\n') == 1
    assert not (project / 'runs').exists()


def test_a_project_folder_that_cannot_be_said_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / 'two\nlines'
    folder.mkdir()
    monkeypatch.setenv('XLT_ROOT', str(folder))
    with pytest.raises(XltError, match='rename it'): root()


BOMB = 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(f'{b}: &{b} [{", ".join([f"*{a}"] * 9)}]\n' for a, b in zip('abcdefgh', 'bcdefghi')) + 'intermediates: *i\n'


@pytest.mark.parametrize('text, message', [
    (BOMB, 'line 2: an alias'), ('study: ' + '[' * 20_000, 'nested too deeply'), ('seeds: [' + '9' * 5000 + ']', 'line 1:'), ('study: !!timestamp 2020-13-45', 'line 1:'),
    ('study: 2020-13-45\n', 'source is missing'), ('study: "' + 'x' * 100_000 + '"', 'study is'), ('study: a\0b', 'not allowed'), ('study: !!binary "abc"', 'line 1'),
    ('[1]', 'a study is a mapping'), ('intermediates: ' + '{a: ' * 3000 + '1' + '}' * 3000, 'nested too deeply')])
def test_hostile_yaml_is_one_short_message(project, capsys, text, message):
    (project / 'params/bad.yaml').write_text(text)
    for command in ('status', 'run', 'plan'):
        assert main([command, 'params/bad.yaml']) == 2
        said = capsys.readouterr().err
        assert message in said and 'unexpected' not in said and len(said) < 3000
    assert not (project / 'runs').exists()


def test_a_date_is_a_name_and_a_leading_zero_no_octal():
    assert parse('{study: 2020-11-28, seeds: [010, 08], languages: [1:30]}', 'x.yaml') == {'study': '2020-11-28', 'seeds': [10, 8], 'languages': ['1:30']}


@pytest.mark.parametrize('setting', ['seeds=' + '9' * 5000, 'seeds=' + '[' * 5000, 'mixing.cap=' + '9' * 4000 + 'x', 'study=' + 'x' * 100_000, 'seeds=*a'])
def test_hostile_settings_are_one_short_message(project, capsys, setting):
    assert main(['status', 'params/tiny.yaml', '--set', setting]) == 2
    said = capsys.readouterr().err
    assert 'unexpected' not in said and len(said) < 3000


def test_an_unknown_users_home_is_a_message(project, monkeypatch, capsys):
    (project / 'params/files.yaml').write_text((project / 'params/tiny.yaml').read_text().replace('{kind: lab, seed: 1}', '{kind: files, folder: ~nosuchuser/xtreme}'))
    monkeypatch.delenv('XLT_FILES', raising=False)
    assert main(['plan', 'params/files.yaml']) == 2
    said = capsys.readouterr().err
    assert '~nosuchuser' in said and 'unexpected' not in said


@pytest.mark.parametrize('text', ['[1]', '', '{', '[' * 20_000, '9' * 5000, '{"host": 1}', '{"last": 3}', '{"pid": "x", "host": "y", "started": 0}', 'null', '"a"'])
def test_a_damaged_note_hides_nothing_of_a_study(project, text):
    study = Study.read('params/tiny.yaml')
    hurt, *others = runs(study)
    hurt.folder.mkdir(parents=True)
    for name, state in (('running.json', 'waiting'), ('failed.json', 'failed')):
        (hurt.folder / name).write_text(text)
        rows = study_status(study)
        assert len(rows) == len(others) + 1 and rows[0]['state'] == state and {r['state'] for r in rows[1:]} == {'waiting'}
    assert note(hurt, 'failed.json')['last'] == ['failed.json is damaged']
    assert main(['status', 'params/tiny.yaml']) == 0


def test_whatever_else_goes_wrong_is_one_line(project, capsys, monkeypatch):
    monkeypatch.setattr('xlt.runs.status.study_status', lambda study: {}[('x' * 10_000,)])
    assert main(['status', 'params/tiny.yaml']) == 2
    said = capsys.readouterr().err
    assert said.startswith('xlt: unexpected KeyError in test_names.py, line') and said.count('\n') == 1 and len(said) < 3000
    kept = Path(said.split('The full traceback is in ')[1].split(';')[0])
    assert 'Traceback' in kept.read_text() and 'KeyError' in kept.read_text()
    kept.unlink()
    monkeypatch.setenv('XLT_TRACEBACK', '1')
    with pytest.raises(KeyError): main(['status', 'params/tiny.yaml'])


def test_what_is_quoted_is_shortened():
    assert brief('x' * 1000).startswith("'xxx") and len(brief('x' * 1000)) == 100 and brief('short') == "'short'"
    assert len(shortened('y' * 10_000)) < 2000 and shortened('z') == 'z' and json.loads(brief([1, 2])) == [1, 2]


def test_a_sources_folder_is_relative_to_the_file_or_else_to_the_root(project, tmp_path, monkeypatch):
    monkeypatch.delenv('XLT_FILES', raising=False)
    text = (project / 'params/tiny.yaml').read_text().replace('{kind: lab, seed: 1}', '{kind: files, folder: data}').replace('xquad, mlqa, tatoeba', 'tatoeba').replace('corpus_sentences', 'cc100_gib').replace('[mnli]', '[cosmosqa]')
    study, elsewhere = tmp_path / 'outside' / 'study.yaml', tmp_path / 'elsewhere'
    for folder in (study.parent, project, elsewhere):
        (folder / 'data' / 'tatoeba').mkdir(parents=True)
        for code in ('swh', 'deu', 'fra'):
            for side in (code, 'eng'): (folder / f'data/tatoeba/tatoeba.{code}-eng.{side}').write_text('x\n')
        (folder / 'data' / 'cosmosqa').mkdir()
        (folder / 'data/cosmosqa/valid.csv').write_bytes(b'id,context,question,answer0,answer1,answer2,answer3,label\r\na,x,y,a,b,c,d,0\r\nb,z,y,a,b,c,d,0\r\n')
    study.write_text(text), (project / 'params/other.yaml').write_text(text)
    monkeypatch.chdir(elsewhere)
    read = lambda *args: Study.read(*args).source.root
    assert (read(study), read('params/other.yaml'), read(study, ['source.folder=data'])) == (study.parent / 'data', project / 'data', elsewhere / 'data')
    assert Study.read(study).published()['source']['folder'] == 'data', 'no path of this machine is published'
