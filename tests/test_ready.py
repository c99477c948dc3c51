"A study to begin from, and what is said of the machine."
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from types import SimpleNamespace

import pytest
import yaml

from xlt.cli import main as cli
from xlt.reporting import doctor as ready
from xlt.common.errors import XltError
from xlt.runs.params import Study
from xlt.runs.project import find_params, root

FINE = [ready.finding(what, '') for what in ('packages', 'Python', 'memory', 'disk', 'GPU', 'hub')]


def but(**states) -> list[dict]:
    return [f | {'state': states.get(f['what'], 'ok')} for f in FINE]


@pytest.mark.parametrize('origin', ['lab-quick', 'lab', 'sample'])
def test_a_new_study_is_the_old_one_by_another_name(repo, project, origin, monkeypatch, capsys):
    text = (repo / 'params' / f'{origin}.yaml').read_text()
    (project / 'params' / f'{origin}.yaml').write_text(text)
    monkeypatch.chdir(project)
    assert cli.main(['new', 'my-study', '--from', origin]) == 0
    made = project / 'params' / 'my-study.yaml'
    assert 'params/my-study.yaml is yours to edit' in capsys.readouterr().out
    assert yaml.safe_load(made.read_text()) == yaml.safe_load(text) | {'study': 'my-study'}
    assert [line.split('#')[1] for line in text.splitlines()[4:] if '#' in line] == [line.split('#')[1] for line in made.read_text().splitlines()[5:] if '#' in line]
    if origin != 'sample': assert Study.read('params/my-study.yaml').study == 'my-study'  # which wants a folder of files


def test_a_study_begun_anywhere_is_where_one_stands(tmp_path, monkeypatch, capsys):
    "The current folder becomes a project, not the clone that the code lies in; what is printed can be typed, there and below."
    monkeypatch.delenv('XLT_ROOT', raising=False)
    (tmp_path / 'my work').mkdir()
    monkeypatch.chdir(tmp_path / 'my work')
    assert cli.main(['new', 'mine', '--from', 'lab-quick']) == 0
    made, command = capsys.readouterr().out.strip().split(' is yours to edit; then: xlt run ')
    assert made == command == 'params/mine.yaml' and yaml.safe_load(Path(made).read_text())['study'] == 'mine'
    assert Study.read(command)._path == Path(made).resolve() and root() == tmp_path / 'my work'
    monkeypatch.chdir('params')
    assert cli.main(['new', 'second', '--from', 'mine']) == 0 and root() == tmp_path / 'my work'
    assert capsys.readouterr().out == 'second.yaml is yours to edit; then: xlt run second.yaml\n'
    assert cli.main(['new', 'second']) == 2 and 'second.yaml is there already' in capsys.readouterr().err
    monkeypatch.setenv('XLT_ROOT', str(tmp_path / 'other place'))
    assert cli.main(['new', 'third', '--from', 'lab-quick']) == 0
    made, command = capsys.readouterr().out.strip().split(' is yours to edit; then: xlt run ')
    assert Path(made) == tmp_path / 'other place/params/third.yaml' and [made] == shlex.split(command)
    assert Study.read(made).study == 'third'


@pytest.mark.parametrize('name, why', [('lab-quik', "did you mean 'lab-quick.yaml'"), ('params/lab-quik.yaml', "did you mean 'lab-quick.yaml'"), ('params', 'a folder; give the file of a study'), ('elsewhere/lab-quick.yaml', 'xlt new NAME writes one')])
def test_a_misspelt_study_away_from_the_clone(tmp_path, monkeypatch, name, why):
    "The studies that come with the code are known in an empty folder, too."
    monkeypatch.delenv('XLT_ROOT', raising=False)
    for folder in ('params', 'runs'): (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_params('lab-quick') == find_params('params/lab-quick.yaml') == find_params('lab-quick.yaml')
    with pytest.raises(XltError, match=why): find_params(name)


@pytest.mark.parametrize('name, said', [('My Study', 'a name has a-z'), ('../up', 'a name has a-z'), ('', 'a name has a-z'), ('a: b', 'a name has a-z'),
                                        ('a' * 65, 'at most 64'), ('tiny', 'params/tiny.yaml is there already')])
def test_a_bad_name_writes_nothing(project, name, said, capsys):
    before = {p: p.read_text() for p in (project / 'params').iterdir()}
    assert cli.main(['new', name, '--from', 'tiny']) == 2
    assert said in capsys.readouterr().err
    assert {p: p.read_text() for p in (project / 'params').iterdir()} == before


@pytest.mark.parametrize('name', ['2026', '1e5', 'no', 'null', '1.0'])
def test_a_name_that_yaml_takes_for_something_else(project, name):
    ready.new_study(name, 'params/tiny.yaml')
    assert Study.read(f'params/{name}.yaml').study == name


def test_an_unknown_origin_names_its_neighbour(project):
    with pytest.raises(XltError, match="no such file .did you mean 'tiny.yaml'"):
        ready.new_study('x', 'tinny')


def test_doctor(project, monkeypatch, capsys):
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    monkeypatch.setitem(ready.CHECKS, 'hub', lambda: ready.finding('hub', 'not asked', 'note'))
    monkeypatch.setattr('psutil.virtual_memory', lambda: SimpleNamespace(available=32 * 2 ** 30, total=64 * 2 ** 30))  # others may need it now
    (project / 'params' / 'broken.yaml').write_text('study: broken\n')
    status = cli.main(['doctor', '--json'])
    said = json.loads(capsys.readouterr().out)
    assert status == int(any(f['state'] == 'wrong' for f in said['found']))
    assert [f['what'] for f in said['found']] == ['packages', 'Python', 'processor', 'memory', 'open files', 'disk', 'home folder', 'GPU', 'hub', 'packaged encoder', 'XTREME files']
    assert 'is missing' in said['studies']['params/broken.yaml']
    if not status: assert said['studies']['params/tiny.yaml'] is None
    cli.main(['doctor'])
    assert 'will not run  params/broken.yaml: ' in capsys.readouterr().out


def test_doctor_never_dies(project, monkeypatch, capsys, tmp_path):
    "Whatever breaks is a finding: checks, studies, even the project."
    monkeypatch.setitem(ready.CHECKS, 'hub', lambda: {}['hub'])
    monkeypatch.setenv('XLT_FILES', '~nobody-of-this-name/files')
    for name, study in {'folder': 'encoder: {kind: folder, path: params}', 'absent': 'encoder: {kind: folder, path: nowhere}', 'package': 'encoder: {kind: packaged}',
                        'files': 'source: {kind: files, folder: nowhere}', 'noise': 'x: [', 'null': 'null'}.items():
        (project / 'params' / f'{name}.yaml').write_text((project / 'params' / 'tiny.yaml').read_text() + study + '\n')
    (project / 'params' / 'binary.yaml').write_bytes(bytes(range(256)))
    (project / 'params' / 'dir.yaml').mkdir()
    cli.main(['doctor', '--json'])
    said = json.loads(capsys.readouterr().out)
    assert {f['what']: f['says'] for f in said['found']}['hub'] == "could not be checked (KeyError: 'hub')"
    assert len(said['studies']) == 9 and all(said['studies'][f'params/{n}.yaml'] for n in ('folder', 'absent', 'files', 'noise', 'null', 'binary', 'dir'))
    monkeypatch.setattr(ready, 'why_not_runnable', lambda *args: {}['x'])
    assert set(ready.examine_setup()[1].values()) == {"it cannot be checked (KeyError: 'x')"}
    monkeypatch.setattr(ready, 'root', lambda: (_ for _ in ()).throw(XltError('no settings.ini')))
    found, studies = ready.examine_setup()
    assert studies == {} and found[-1]['says'] == 'no settings.ini'


def test_packages_missing_old_or_untested(monkeypatch):
    assert ready.check_packages()['state'] == 'ok'
    monkeypatch.setattr(ready, 'tested_versions', lambda: {'pandas': '0.1'})
    assert ready.check_packages()['state'] == 'note' and 'pandas' in ready.check_packages()['says'] and 'tested: 0.1' in ready.check_packages()['says']
    monkeypatch.setattr(ready, 'requires', lambda name: ['pandas>=999', 'no-such-package', "pytest; extra == 'dev'"])
    assert ready.check_packages()['state'] == 'wrong'
    assert 'wanted: >=999' in ready.check_packages()['says'] and 'no-such-package' in ready.check_packages()['says'] and 'pytest' not in ready.check_packages()['says']


def test_a_full_disk_and_little_memory(project, monkeypatch):
    import psutil
    monkeypatch.setattr(ready.shutil, 'disk_usage', lambda path: type('', (), {'free': 1e6})())
    monkeypatch.setattr(psutil, 'virtual_memory', lambda: type('', (), {'available': 2e9})())
    states = {f['what']: f['state'] for f in ready.check_machine()}
    assert states['disk'] == states['memory'] == 'wrong' and states['Python'] == 'ok'


def test_a_hub_that_does_not_answer(monkeypatch):
    from huggingface_hub import constants
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    monkeypatch.setattr(constants, 'ENDPOINT', 'http://127.0.0.1:9')
    assert ready.check_hub(2)['state'] == 'note' and 'does not answer' in ready.check_hub(2)['says']
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    assert 'not asked' in ready.check_hub()['says']


def test_a_hub_that_answers(monkeypatch):
    import http.server
    import threading
    from huggingface_hub import constants

    class Hub(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_): pass
        def do_GET(self):
            self.send_response(200); self.end_headers(); self.wfile.write(b'{}')
    server = http.server.HTTPServer(('127.0.0.1', 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    monkeypatch.setattr(constants, 'ENDPOINT', f'http://127.0.0.1:{server.server_port}')
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    assert ready.check_hub()['state'] == 'ok'
    server.shutdown()


def test_what_hinders_a_study(project):
    tiny = project / 'params' / 'tiny.yaml'
    assert ready.why_not_runnable(tiny, but(hub='note', GPU='note')) is None
    assert ready.why_not_runnable(tiny, but(disk='wrong')) == 'first see to: disk'
    big = project / 'params' / 'big.yaml'
    big.write_text('study: big\nsource: {kind: hub}\nencoder: {kind: pretrained, name: no/such, revision: ' + 'a' * 40 + '}\nintermediates: [mnli]\ntargets: [xnli]\n')
    assert 'its checkpoint is not in the cache' in ready.why_not_runnable(big, but(hub='note'))
    assert ready.why_not_runnable(big, but(GPU='note')) == 'needs a GPU; none found'
    assert ready.why_not_runnable(big, but()) is None
    big.write_text(big.read_text().replace('[mnli]', '[ccg]'))
    assert 'CCGbank' in ready.why_not_runnable(big, but())


def test_the_tab_key(tmp_path):
    "argcomplete's protocol: the shell asks by environment, the answer comes on file descriptor 8."
    pytest.importorskip('argcomplete')
    xlt = Path(sys.executable).parent / 'xlt'
    if not xlt.is_file(): pytest.skip('xlt is not installed as a command')
    line = 'xlt doc'
    env = os.environ | {'_ARGCOMPLETE': '1', 'COMP_LINE': line, 'COMP_POINT': str(len(line)), '_ARGCOMPLETE_STDOUT_FILENAME': str(tmp_path / 'out')}
    subprocess.run([xlt], env=env, timeout=60)
    assert (tmp_path / 'out').read_text().strip() == 'doctor'
