"Odd names of files and folders, terminals that cannot print everything, homes that cannot be written, too few open files, folders that killed processes leave: a study runs, or one sentence says why not."
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from machine import FILE, STUB, STUBS, play, write_stubs, xlt

from xlt.runs.worker import temporary_folder

PLAIN = {'LC_ALL': 'C', 'LANG': 'C', 'PYTHONCOERCECLOCALE': '0', 'PYTHONUTF8': '0', 'PYTHONIOENCODING': 'ascii'}
SILENT = 'raise SystemExit("a start-up script of the user")\n'


def limited(soft: int, hard: int):
    "For a process that is about to start: it may open so many files."
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_ascii_terminal_and_no_home(stubs, tmp_path_factory):
    "Everything is said in ASCII, nothing is wanted of a home folder, and no temporary file is left."
    temporary = tmp_path_factory.mktemp('t')
    play('encoder', 'intermediate')
    env = os.environ | PLAIN | {'HOME': FILE, 'TMPDIR': str(temporary)}
    for name in ('XDG_CACHE_HOME', 'HF_HOME', 'JUPYTER_CONFIG_DIR', 'IPYTHONDIR', 'MPLCONFIGDIR'): env.pop(name, None)
    for command in (['run', FILE], ['status', FILE], ['tasks']):
        said = xlt(*command, env=env)
        assert said.returncode == 0 and 'unexpected' not in said.stderr and (said.stdout + said.stderr).isascii(), (command, said.stdout, said.stderr)
        if command[0] == 'run': assert re.search(r'\d of \d runs done \| ', said.stdout), 'the dot has a replacement'
    assert (stubs / 'runs' / '.cache' / 'snakemake').is_dir()
    assert [p for p in temporary.rglob('*') if not p.name.startswith('torchinductor')] == [temporary / f'xlt-{os.getuid()}'], 'no litter'
    found = xlt('doctor', env=env).stdout
    assert 'note  home folder: ' in found and f'will run      {FILE}' in found


@pytest.mark.skipif(os.name != 'posix', reason='such names are not allowed elsewhere')
def test_odd_names_and_start_up_scripts_of_the_user(tmp_path, repo):
    "A study of an odd name in an odd folder runs; what would end every kernel, or every conversion of a report, in this home is not even looked at."
    folder, file, home = tmp_path / "br{x}ace #1 it's", 'params/a: b #1 {y} my "study".yaml', tmp_path / 'home'
    (folder / 'params').mkdir(parents=True)
    (folder / file).write_text(STUB)
    shutil.copy(repo / 'Snakefile', folder)
    write_stubs(folder / 'nbs' / 'study')
    (folder / 'settings.ini').write_text('[DEFAULT]\n')
    for place in ('.ipython/profile_default/startup/00.py', '.jupyter/jupyter_nbconvert_config.py', '.jupyter/jupyter_config.py'):
        (home / place).parent.mkdir(parents=True, exist_ok=True)
        (home / place).write_text(SILENT)
    env = {k: v for k, v in os.environ.items() if not k.startswith('XLT_')} | {'HOME': str(home)}
    said = xlt('run', file, cwd=folder, env=env)
    assert said.returncode == 0, said.stdout + said.stderr
    assert (folder / 'reports/tiny/report.html').is_file() and (folder / 'reports/tiny/scores.csv').is_file()
    again = xlt('report', file, cwd=folder, env=env)
    assert again.returncode == 0, again.stdout + again.stderr


def test_too_few_open_files_are_said_at_once(stubs):
    said = xlt('run', FILE, preexec_fn=limited(32, 32))
    assert (said.returncode, said.stdout) == (2, '') and said.stderr.count('\n') == 1 and 'only 32 files' in said.stderr and 'ulimit -n' in said.stderr
    assert not Path('runs/tiny/encoder').exists()
    assert 'wrong open files: 32 allowed' in xlt('doctor', preexec_fn=limited(32, 32)).stdout


def test_a_low_limit_that_may_be_raised_is_raised():
    code = 'from xlt.reporting.doctor import allowed_files; import resource; print(allowed_files(), *resource.getrlimit(resource.RLIMIT_NOFILE))'
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, preexec_fn=limited(64, 1000))
    assert said.stdout.split() == ['1000', '1000', '1000'], said.stderr


def test_what_a_killed_process_left_is_removed_at_the_next_start(project, monkeypatch, tmp_path):
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    code = ('import os, signal; from pathlib import Path; from xlt.runs.worker import temporary_folder\n'
            'with temporary_folder(Path("runs/tiny")) as place: (place / "left").touch(); print(place, flush=True); os.kill(os.getpid(), signal.SIGKILL)')
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    left = Path(said.stdout.strip()) / 'left'
    assert said.returncode == -signal.SIGKILL and left.exists()
    monkeypatch.setattr('tempfile.tempdir', None)
    with temporary_folder(Path('runs/tiny')) as place: assert place == left.parent and not left.exists()
    assert not place.exists()


SHADOW = 'raise SystemExit("a file of the user, named like a module")\n'


def test_habits_of_the_users_shell_do_not_matter(stubs):
    "Files named like modules, a profile of Snakemake's, a window system, a long folder for temporary files, a closed output."
    for name in ('random.py', 'pandas.py', 'papermill.py', 'snakemake.py', 'seaborn.py', 'types.py'): (stubs / name).write_text(SHADOW)
    temporary = stubs / ('x' * 120)
    temporary.mkdir()
    env = os.environ | {'SNAKEMAKE_PROFILE': 'nowhere', 'MPLBACKEND': 'TkAgg', 'TMPDIR': str(temporary)}
    play('encoder', 'intermediate')
    said = xlt('run', FILE, env=env, command=['sh', '-c', 'exec "$@" >&-', 'sh', sys.executable, '-P', *STUBS[1:]])
    assert (said.returncode, said.stdout, said.stderr) == (0, '', '')
    assert Path('reports/tiny/report.html').is_file()
