"The study of XLM-R as it is in `params`, from `xlt run` to the report: on a stand-in hub, with the real client and names, few rows and a tiny random encoder."
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import standin
from hub import SmallHub
from xlt.runs.params import Study
from xlt.runs.store import result
from xlt.runs.graph import runs
from xlt.tasks.cards import TARGET, VARIANTS

ROWS, NAME = 40, 'FacebookAI/xlm-roberta-base'
CODE = 'import sys, standin, xlt.runs.kernel_pool; xlt.runs.kernel_pool.IMPORTS += ("standin",); from xlt.cli.main import main; sys.exit(main(sys.argv[1:]))'
CUT = ['device=cpu', 'precision=fp32', 'seeds=[0]', 'mixing.masked_lm.sentences=80', 'retrieval.layer=1']
if os.environ.get('XLT_STANDIN') != 'all': CUT += ['intermediates=[multi-mlm]', 'targets=[xnli, xquad, tatoeba]']  # else all of the study, for one seed


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    root = tmp_path_factory.mktemp('standin')
    standin.write_data(root, ROWS), standin.write_encoder(root, NAME), standin.write_own_copies(root, ROWS)
    hub = SmallHub(root)
    yield hub
    hub.close()


def test_from_xlt_run_to_the_report(served, repo, checkout, monkeypatch):
    project = checkout
    monkeypatch.chdir(project)
    (project / 'params' / 'xlmr-base.yaml').write_text((repo / 'params' / 'xlmr-base.yaml').read_text())
    sets = [*CUT, f'source.bucc_folder={served.folder / "bucc2018"}', f'source.ccg_folder={served.folder / "ccgbank"}']
    clean = {k: v for k, v in os.environ.items() if not k.startswith('HF_')}
    env = clean | {'HF_ENDPOINT': served.url, 'HF_HOME': str(project / 'hf'), 'HF_HUB_DISABLE_TELEMETRY': '1', 'XLT_STANDIN_ROWS': str(ROWS),
                   'PYTHONPATH': str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, '-c', CODE, 'run', 'params/xlmr-base.yaml', *(a for s in sets for a in ('--set', s))], capture_output=True, text=True,
                          cwd=project, env=env, timeout=3000)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    study = Study.read('params/xlmr-base.yaml', sets)
    assert all(result(run) for run in runs(study))
    scores = pd.read_csv('reports/xlmr-base/scores.csv')
    for target in study.targets:
        there = scores[scores.target == target]
        assert set(there.intermediate) == {'none', *study.intermediates} and set(there.language) == set(TARGET[target].languages)
    assert json.loads(Path('reports/xlmr-base/summary.json').read_text())['primary']['n_low'] > 1
    assert set(pd.read_csv('reports/xlmr-base/dev.csv').query('target == "xnli"').language) == set(TARGET['xnli'].languages)
    asked = {path.split('/resolve/')[0] for path in served.asked if '/resolve/' in path}
    assert NAME in asked and {'datasets/facebook/xnli', 'datasets/google/xtreme'} <= asked
    mixed = [result(run)['history']['drawn'] for run in runs(study) if run.phase == 'intermediate' and not VARIANTS[run.intermediate].plain]
    assert all(sum(drawn.values()) > 0 for drawn in mixed) and mixed
    print(done.stdout[-1500:], f'{len(runs(study))} runs, {len(scores)} scores')
