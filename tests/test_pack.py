"Results that travel: packed into one file, picked up where there is nothing else, merged, damaged and refused."
import hashlib
import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from machine import FILE, tuned_model

from xlt.cli import main as cli
from xlt.cli.commands import check_start
from xlt.common.errors import XltError
from xlt.stats.paired import compare_all_pairs
from xlt.runs.params import Study
from xlt.runs.worker import begin
from xlt.runs.status import collect_scores, study_status
from xlt.runs.graph import find_run, runs
from xlt.runs.store import forget, local_result, needed_again, write_pack, pack_file, predictions, checkpoint_removed, reopen, result
from xlt.runs.packs import pack_graded, unpack_graded, pack_bytes, unpack_bytes
from xlt.tasks.cards import TASKS


@pytest.fixture
def study(project, monkeypatch):
    monkeypatch.chdir(project)
    return Study.read(FILE)


def answer(active, share: float = .5):
    "Finish a pair with predictions: texts that a pack must not hold, and shares as token accuracy has them."
    study, rng = active.study, np.random.default_rng(int(active.run.fingerprint[:6], 16))
    rows = pd.concat([pd.DataFrame({'id': [f'{c}{i}' for i in range(50)], 'language': c, 'gold': 'secret gold', 'prediction': 'secret answer',
                                    'correct': rng.choice([0., 1., 5 / 7], 50)}) for c in study.evaluated(active.run.target)])
    rows.to_parquet(active.folder / 'predictions.parquet')
    metrics = TASKS[active.run.target].metrics
    scores = [{'language': c, 'metric': m, 'score': 100 * part.correct.mean(), 'n': 50} for c, part in rows.groupby('language') for m in metrics]
    return active.finish(scores, files=[active.folder / 'predictions.parquet', *tuned_model(active)])


def play(study, *phases):
    for r in runs(study):
        if r.phase not in phases: continue
        active = begin(study, r.phase, r.intermediate, r.target, r.seed)
        if r.phase == 'pair': answer(active); continue
        (active.folder / 'checkpoint').mkdir(exist_ok=True)
        (active.folder / 'checkpoint' / 'model.safetensors').write_bytes(os.urandom(100))
        active.finish(files=[active.folder / 'checkpoint' / 'model.safetensors'] if r.phase != 'report' else [])


@pytest.fixture
def elsewhere(study):
    "What a clone of the repository has: the pack and nothing of the runs; and how the study stood where it was made."
    play(study, 'encoder', 'intermediate', 'pair')
    before = {r.name: result(r) for r in runs(study)}, collect_scores(study)[0], compare_all_pairs(study)
    write_pack(study)
    shutil.rmtree('runs')
    return before


def test_the_report_needs_nothing_but_the_pack(study, elsewhere):
    before, scores, paired = elsewhere
    assert {row['state'] for row in study_status(study) if row['phase'] != 'report'} == {'packed'}
    for run in runs(study)[:-1]:
        assert result(run) == before[run.name] | {'packed': True}
    again, _, missing = collect_scores(study)
    assert not missing and again.equals(scores)
    pd.testing.assert_frame_equal(compare_all_pairs(study), paired, check_exact=True)
    assert not Path('runs').exists(), 'looking writes nothing'


def test_a_pack_holds_no_answers_and_says_so(study, elsewhere):
    content = b''.join(unpack_bytes(pack_file('tiny').read_bytes()).values())
    assert b'secret' not in content and b'accuracy' in content
    with pytest.raises(XltError, match='mnli--tatoeba--s0: its result is packed, without the predictions; xlt run --remake'):
        predictions(find_run(study, 'pair', 'mnli', 'tatoeba'))


def test_equal_results_make_equal_bytes_and_merging_loses_nothing(study, elsewhere):
    path = pack_file('tiny')
    first = path.read_bytes()
    play(study, 'encoder')  # made again here, with another checkpoint: this one counts
    told = write_pack(study)
    assert told['new'] == 0 and told['results'] == 8 and told['kept'] == 7
    second = path.read_bytes()
    assert second != first and write_pack(study)['kept'] == 7 and path.read_bytes() == second
    more = Study.read(FILE, ['seeds=[0, 1]'])
    assert sum(r['state'] == 'packed' for r in study_status(more)) == 7, 'all but the encoder, which is here, and what is new'
    shutil.rmtree('runs')
    assert sum(r['state'] == 'packed' for r in study_status(more)) == 7, 'the new seed needs the encoder itself'
    assert sum(r['state'] == 'packed' for r in study_status(study)) == 8


def test_a_new_run_repeats_only_the_packed_run_whose_checkpoint_it_needs(study, elsewhere):
    more = Study.read(FILE, ['targets=[xquad, mlqa, tatoeba]', 'retrieval.neighbours=5'])
    waiting = {r['run'] for r in study_status(more) if r['state'] == 'waiting'}
    assert waiting == {'encoder', 'mnli--s0', 'none--tatoeba--s0', 'mnli--tatoeba--s0', 'report'}
    only = find_run(more, 'pair', 'mnli', 'tatoeba')
    with pytest.raises(XltError, match='starts from mnli--s0, whose result is packed, without its checkpoint'):
        begin(more, 'pair', 'mnli', 'tatoeba')
    assert [r.name for r in reopen(more)] == ['mnli--s0', 'encoder']
    play(more, 'encoder')
    assert [r.name for r in needed_again(more)] == ['mnli--s0'] and not checkpoint_removed(find_run(more, 'encoder'))
    play(more, 'intermediate')
    answer(begin(more, 'pair', 'mnli', 'tatoeba'))
    assert local_result(only) and not needed_again(more)


def test_an_encoder_that_is_only_packed_is_checked_when_a_run_starts_from_it(study, elsewhere, monkeypatch):
    def missing(self): raise XltError('the encoder is not installed')
    monkeypatch.setattr(type(study.encoder), 'check', missing)
    check_start(study)  # only the report is left, and it starts from nothing
    for again, asked in (([], Study.read(FILE, ['seeds=[0, 1]'], data=False)), ([find_run(study, 'pair', 'mnli', 'tatoeba')], study)):
        with pytest.raises(XltError, match='not installed'): check_start(asked, again)


def test_what_is_to_be_made_again_is_not_taken_from_the_pack(study, elsewhere):
    run = find_run(study, 'pair', 'mnli', 'tatoeba')
    forget(run)
    assert result(run) is None and {r['run']: r['state'] for r in study_status(study)}['mnli--tatoeba--s0'] == 'waiting'
    play(study, 'encoder', 'intermediate')
    answer(begin(study, 'pair', 'mnli', 'tatoeba'))
    shutil.rmtree(run.folder)
    assert result(run)['packed'], 'it was asked for once'


@pytest.mark.parametrize('harm', [lambda b: b[:len(b) // 2], lambda b: b'', lambda b: b[:200] + bytes([b[200] ^ 1]) + b[201:], lambda b: b + b'x',
                                  lambda b: b'version https://git-lfs.github.com/spec/v1\n', lambda b: lzma.compress(b'no archive'),
                                  lambda b: pack_bytes(dict(list(unpack_bytes(b).items())[1:]))[:-1]])
def test_a_damaged_pack_is_named_and_refused(study, elsewhere, capsys, harm):
    path = pack_file('tiny')
    path.write_bytes(harm(path.read_bytes()))
    held = path.read_bytes()
    for command in (['status', FILE], ['run', FILE], ['pack', FILE], ['plan', FILE]):
        assert cli.main(command) == 2, command
        assert 'tiny/results.pack: this pack is damaged' in capsys.readouterr().err
    assert path.read_bytes() == held, 'it may still be mended'


def test_a_packed_result_of_another_run_is_none(study, elsewhere):
    "Whole and sealed, but under the name of another run, or with a score that its checksum does not cover."
    members = unpack_bytes(pack_file('tiny').read_bytes())
    xquad, mlqa = (next(n for n in members if n.startswith(f'none--{t}--s0/') and n.endswith('result.json')) for t in ('xquad', 'mlqa'))
    members[mlqa] = members[xquad]
    touched = next(n for n in members if n.startswith('mnli--xquad') and n.endswith('result.json'))
    members[touched] = members[touched].replace(b'"n":50', b'"n":51', 1)
    pack_file('tiny').write_bytes(pack_bytes(members))
    assert {r['run'] for r in study_status(study) if r['state'] == 'waiting'} >= {'none--mlqa--s0', 'mnli--xquad--s0'}


def test_a_pack_is_small(study):
    "210 pairs of 3,000 examples: little more than a bit an answer, and the examples once."
    rng, members = np.random.default_rng(0), {}
    right = rng.random(3000)
    for i in range(210):
        rows = pd.DataFrame({'language': np.repeat([f'l{k}' for k in range(30)], 100), 'id': [f'item-{k}' for k in range(3000)], 'gold': 'x',
                             'correct': (rng.random(3000) < .3 + .6 * right).astype(float)})
        examples, values, which = pack_graded(rows)
        members |= {f'examples/{hashlib.sha256(examples).hexdigest()}': examples, f'{i}/values': values, f'{i}/which': which}
        assert unpack_graded(examples, values, which).correct.tolist() == rows.correct.tolist()
    size = len(pack_bytes(members))
    print(f'{size:,} bytes, {8 * size / 630_000:.2f} bits an answer')
    assert size < 630_000 / 8 * 1.4 and sum(n.startswith('examples/') for n in members) == 1


def test_xlt_pack(study, elsewhere, capsys):
    assert cli.main(['pack', FILE]) == 0
    said = capsys.readouterr().out
    assert said.startswith('reports/tiny/results.pack: 8 results (0 new, 8 that only the pack holds)') and 'how right each answer was' in said
    assert cli.main(['pack', FILE, '--set', 'study=other']) == 2
    assert 'no run has a result yet' in capsys.readouterr().err and not Path('reports/other/results.pack').exists()


def test_snakemake_runs_nothing_that_is_packed(study, elsewhere, checkout):
    command = [sys.executable, '-m', 'snakemake', '--config', f'study={FILE}', '--dry-run']
    planned = subprocess.run(command, capture_output=True, text=True)
    told = planned.stdout + planned.stderr
    assert 'rule report' in told and not any(f'rule {phase}' in told for phase in ('encoder', 'intermediate', 'pair')), told
