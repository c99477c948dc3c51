"The real notebooks on a real study, as small as it gets."
import json
import shutil
from pathlib import Path

from machine import FILE, written, xlt

from xlt.params import Study


def test_two_pairs_for_real(checkout, repo, monkeypatch):
    "The real notebooks on a real study, as small as it gets: every file that a reader expects is there."
    shutil.copy(repo / 'tests' / 'params' / 'tiny.yaml', checkout / FILE)
    monkeypatch.chdir(checkout)
    said = xlt('run', FILE)
    assert said.returncode == 0, said.stdout + said.stderr
    assert len(said.stdout.splitlines()[-5:]) == 5
    reports = Path('reports') / Study.read(FILE).study
    for name in ('scores.csv', 'summary.json', 'report.html', 'report.ipynb'):
        assert (reports / name).is_file(), name
    assert list((reports / 'figures').glob('*.png'))
    summary = json.loads((reports / 'summary.json').read_text())
    assert summary['primary'].keys() >= {'estimate', 'ci_low', 'ci_high', 'p_value', 'n_low', 'n_high', 'groups'}
    before, again = written(), xlt('run', FILE)
    assert again.returncode == 0 and written() == before and 'nothing to do' in again.stdout
