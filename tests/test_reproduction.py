"Who runs a study again learns whether its numbers came out the same; if they did, git has nothing to show. `test_faults.py` does it with a real study."
import base64
import json
import shutil
from pathlib import Path

import nbformat
import pytest
from machine import FILE, git

from xlt.runs.params import Study
from xlt.runs.provenance import keep_committed
from xlt.runs.reproduction import keep_old_report, reproduction

REPORT = Path('reports/tiny')


def commit_all() -> None:
    git('init', '-q'), git('add', '--force', 'reports'), git('commit', '-qm', 'A report')


def report(estimate: float, *scores: float, **made: str) -> None:
    "A report as it is, but for its words."
    figures, shown = REPORT / 'figures', f'{estimate:.4f}'
    figures.mkdir(parents=True, exist_ok=True)
    commit = made.get('commit', '0' * 40)
    (REPORT / 'summary.json').write_text(json.dumps({'primary': {'estimate': estimate}, 'level_adjusted': {'estimate': None}, **made}))
    (REPORT / 'scores.csv').write_text('target,language,score,n\n' + ''.join(f'xnli,q{i:02},{s},10\n' for i, s in enumerate(scores)))
    (figures / 'a.svg').write_text(f'<svg><text>{shown}</text><text>tiny, seed 0, commit {commit[:10]}, changed</text></svg>')
    (figures / 'a.png').write_bytes(f'{shown} {commit}'.encode())
    cells = [nbformat.v4.new_code_cell('estimate', id='a', outputs=[nbformat.v4.new_output('stream', text=shown)], metadata={'execution': {'at': commit}}),
             nbformat.v4.new_code_cell('commit()', id='b', outputs=[nbformat.v4.new_output('stream', text=commit)], metadata={'tags': ['provenance']})]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={'papermill': {'start_time': commit}}), REPORT / 'report.ipynb')
    picture = base64.b64encode((figures / 'a.svg').read_bytes()).decode()
    page = f'<html>{shown}<img src="data:image/svg+xml;base64,{picture}">\n<!--provenance-->{commit}\n<!--/provenance--></html>'
    (REPORT / 'report.html').write_text(page)


def written() -> list[Path]: return [p for p in sorted(REPORT.rglob('*')) if p.is_file()]


@pytest.fixture
def study(project, repo, monkeypatch) -> Study:
    monkeypatch.chdir(project)
    shutil.copy(repo / 'tests' / 'params' / 'tiny.yaml', FILE)
    return Study.read(FILE)


def test_a_report_that_says_the_same_leaves_the_tree_clean(study):
    report(-2.5, 60, 70)
    commit_all()
    report(-2.5 + 1e-15, 60, 70, commit='f' * 40)
    assert len(git('status', '--porcelain', 'reports').splitlines()) == 5
    assert keep_committed(written()) == written()
    assert git('status', '--porcelain', 'reports') == ''


def test_a_report_that_says_something_else_stays(study):
    report(-2.5, 60, 70)
    commit_all()
    report(-2.6, 60, 71, commit='f' * 40)
    there = {p: p.read_bytes() for p in written()}
    assert keep_committed(written()) == [] and {p: p.read_bytes() for p in written()} == there
    assert len(git('status', '--porcelain', 'reports').splitlines()) == len(there)


def test_what_git_does_not_have_or_what_is_no_report_stays(study):
    report(-2.5, 60, commit='f' * 40)
    assert keep_committed(written()) == []
    (REPORT / 'summary.json').write_text('[]'), (REPORT / 'report.ipynb').write_text('{')
    commit_all()
    report(-2.5, 60)
    assert not {'summary.json', 'report.ipynb'} & {p.name for p in keep_committed(written())}


def test_the_line_says_the_same_or_by_how_much_and_why(study):
    assert reproduction(study) is None
    report(-2.5, 60, 70)
    assert reproduction(study) is None, 'nothing to compare with'
    commit_all()
    assert reproduction(study) == 'This reproduces the committed report to the digit: 2 scores; low minus high −2.50, at the same level none points.'
    report(-3.25, 60, 71)
    assert reproduction(study) == ('This differs from the committed report: low minus high −3.25 instead of −2.50, at the same level none points; '
                                   '1 of 2 scores differ. Possible reasons: how one of them was made is not on record.')
    report(-2.5001, 60, 70)
    assert 'low minus high −2.50 instead of −2.50 (-0.0001)' in reproduction(study), 'no difference is too small to be told'
    report(-2.5, 60, 70, 80)
    assert reproduction(study).endswith('0 of 2 scores differ; 1 new. Possible reasons: which scores there are; how one of them was made is not on record.')
    report(-2.5, 60)
    assert reproduction(study).endswith('0 of 1 scores differ; 1 missing. Possible reasons: which scores there are; how one of them was made is not on record.')


def test_without_git_the_report_before_the_run_counts(study):
    report(-2.5, 60, 70, made_by={'processor': ['Xeon'], 'code of data.lab': ['01']})
    keep_old_report(study)
    report(-2.5, 60, 71, made_by={'processor': ['EPYC'], 'code of data.lab': ['02']})
    assert reproduction(study).endswith('1 of 2 scores differ. Possible reasons: processor EPYC instead of Xeon; the code of data.lab.')
    assert 'the report that was here before' in reproduction(study)
    keep_old_report(study), report(-2.5, 60, 71)
    assert reproduction(study).startswith('This reproduces the report that was here before to the digit: 2 scores')
