"""The order of a study's runs: encoder → intermediate → pair → report. This is the only scheduler.

    xlt run params/lab-quick.yaml                                # this file, with progress and a summary
    snakemake --config study=params/lab-quick.yaml               # this file, as any Snakemake workflow
    snakemake --config study=params/lab-quick.yaml --dry-run     # what is missing
    snakemake --config study=params/xlmr-base.yaml --workflow-profile profiles/slurm   # on a cluster
    snakemake --config study=params/xlmr-base.yaml --resources gpu=4                   # on four GPUs of this machine
    snakemake --config study=params/e5.yaml --resources mem_mb=16000 --cores 2   # on a processor with 16 GB

`xlt.runs.graph` defines what has to run and where its result goes: into a folder named by the fingerprint of everything
that determines the result. So a result that exists is up to date, and modification times play no part.
"""
import os
import shlex
import sys

from snakemake.exceptions import WorkflowError
from xlt.runs.params import Study
from xlt.runs.project import root
from xlt.runs.footprint import memory
from xlt.runs.worker import FINISHED, exit_with_parent
from xlt.runs.store import is_published, needed_again, put_aside_outdated, reopen, result
from xlt.runs.graph import runs

exit_with_parent()  # of the `xlt run` that started this

if 'study' not in config:
    raise WorkflowError('which study? snakemake --config study=params/lab-quick.yaml')

workdir: str(root())

STUDY = Study.read(config['study'])
# relative, because papermill writes it into the report
NOTEBOOKS = config.get('notebooks', os.path.relpath(f'{workflow.basedir}/nbs/study', root()))
RUNS = {run.name: run for run in runs(STUDY)}
EARLY = config.get('report') == 'early'  # `xlt report`: of the pairs that are there


def verbatim(text: str) -> str:
    "Text for a shell command in which Snakemake must not look for wildcards: a folder may have braces in its name."
    return shlex.quote(text).replace('{', '{{').replace('}', '}}')


PYTHON = verbatim(sys.executable)
PAGE = f"{PYTHON} -c 'import sys; from xlt.reporting.pages import write_page; write_page(*sys.argv[1:])'"
FAIL = f"{PYTHON} -c 'import sys; from xlt.runs.worker import fail; fail(*sys.argv[1:])'"
PUBLISH = f"{PYTHON} -c 'import sys; from xlt.runs.store import publish; publish(*sys.argv[1:])'"
PAPERMILL = f"{PYTHON} -c 'from xlt.runs.kernel_pool import execute; execute()'"
SMALL = STUDY.encoder.kind == 'scratch'  # else a published encoder, of 0.1 to 0.6 billion parameters
LOOKS = {'-n', '--dry-run', '--dryrun', '--mode'} & set(sys.argv)  # only looks, or is one of the jobs
if not LOOKS: put_aside_outdated(STUDY)
AGAIN = {run.name for run in (needed_again if LOOKS else reopen)(STUDY)}  # done, but a checkpoint is missing and needed
# `result` moves damaged results aside, so that their runs are repeated
if LOOKS and not {'--mode'} & set(sys.argv):
    outdated = [run.name for run in RUNS.values() if (run.folder / 'result.json').exists() and not result(run)]
    for name in dict.fromkeys([*outdated, *AGAIN]): print(f'{name} would be made again', file=sys.stderr)
FOUND = {name: done for name, run in RUNS.items() if (done := result(run)) and name not in AGAIN}
DONE = set(FOUND)
PACKED = {name for name, done in FOUND.items() if done.get('packed')}  # read where they are; there is nothing to run
PAIRS = {name for name, run in RUNS.items() if run.phase == 'pair'}
HTML = f'reports/{STUDY.study}/report.html'
if not LOOKS and (EARLY or 'report' in DONE) and not is_published(STUDY): (root() / HTML).unlink(missing_ok=True)  # cut, empty or earlier
GPU = {'gpu': 1} if STUDY.execution()['device'] == 'gpu' else {}  # for a run that trains
# a small model with two threads was six times slower next to a busy core
THREADS = 4 if GPU else 1


def doubling(small: int, large: int):
    "MB or minutes to ask for: at each retry twice as much, in case the last attempt was ended for want of it."
    return lambda wildcards, attempt: (small if SMALL else large) * 2 ** (attempt - 1)


def wanted(small: int, large: int, name: str | None = None):
    "MB to ask for; of a large model on a processor what the run needs, so that only as many run as fit into memory."
    if SMALL or GPU: return doubling(small, large)
    return lambda wildcards, attempt: memory(STUDY, RUNS[name or wildcards.name]) * 2 ** (attempt - 1)


def place(run) -> str:
    "A run's result, as Snakemake names it."
    return str((run.folder / 'result.json').relative_to(root()))


def needs(wildcards):
    "The results of the runs whose checkpoints this one reads; a run that is done needs nothing more."
    return [] if wildcards.name in DONE else [ancient(place(start)) for start in RUNS[wildcards.name].starts_from]


def executed(run) -> str:
    "Where papermill saves the notebook that it executes."
    return f'{"reports" if run.phase == "pair" else "runs"}/{STUDY.study}/notebooks/{run.name}.ipynb'


def given(run) -> str:
    "The notebook to execute and its parameters, as papermill's arguments."
    values = {'study': STUDY.file, 'intermediate': run.intermediate, 'target': run.target}
    texts = [arg for name, value in values.items() if value for arg in ('-r', name, value)]
    seed = ['-p', 'seed', str(run.seed)] if run.phase in ('intermediate', 'pair') else []
    return shlex.join([f'{NOTEBOOKS}/{run.phase}.ipynb', executed(run), *texts, *seed])


def shell_command(then: str = 'true') -> str:
    "Execute a run's notebook; if that or what comes `then` fails, leave a note with the last lines of its log."
    return """
    mkdir -p {params.folder:q} "$(dirname {params.log:q})" "$(dirname {params.executed:q})"
    rm -f {params.folder:q}/failed.json
    export XLT_ROOT={params.root:q} XLT_EXPECT_FINGERPRINT={params.fingerprint} XLT_GPUS={params.gpus}
    export XLT_STARTED="$(printf %s "${{EPOCHREALTIME:-$(date +%s)}}" | tr , .)"
    printf '{{"host": "%s", "pid": %s, "started": %s}}' "$HOSTNAME" $$ "$XLT_STARTED" > {params.folder:q}/running.json
    export OMP_NUM_THREADS={threads} MKL_NUM_THREADS={threads} OPENBLAS_NUM_THREADS={threads}
    export TOKENIZERS_PARALLELISM=false
    {{ """ + PAPERMILL + """ {params.given} --log-output --no-progress-bar --start-timeout 300 &&
      test -s {params.proof:q} && """ + then + """ ; }} > {params.log:q} 2>&1 ||
    {{ grep -q ' """ + FINISHED + """;' {params.log:q} && test -s {params.proof:q} ; }} ||
    {{ """ + FAIL + """ {params.folder:q} {params.log:q}; exit 1; }}
    """


def run_of(name: str | None):
    "The parameters of a rule: what `shell_command` needs to know of its run."
    def of(what): return lambda wildcards: what(RUNS[name or wildcards.name])
    return {'gpus': lambda wildcards, resources: resources.get('gpu', 0), 'given': of(given), 'executed': of(executed),
            'folder': of(lambda run: str(run.folder)), 'log': of(lambda run: str(run.log)),
            'fingerprint': of(lambda run: run.fingerprint), 'root': lambda wildcards: str(root()),
            'proof': of(lambda run: executed(run) if run.phase == 'report' and PAIRS - DONE and EARLY else place(run))}


SERVING = sorted({r.parent.name for r in RUNS.values() if r.parent and r.parent.phase == 'pair'}) or ['-']
REPORTED = [ancient(place(r)) for r in RUNS.values() if r.phase != 'report' and r.name not in PACKED]


if not SMALL:
    localrules: encoder  # a download: only the login node of a cluster can be counted on to reach the hub


rule all:
    input: [place(r) for r in RUNS.values() if r.name not in PACKED], HTML


rule encoder:
    output: place(RUNS['encoder'])
    params: **run_of('encoder')
    threads: 1
    resources: mem_mb=wanted(3000, 16000, 'encoder'), runtime=doubling(120, 120), **(GPU if SMALL else {})
    shell:
        shell_command()


rule intermediate:
    input: needs
    output: f'runs/{STUDY.study}/intermediate/{{name}}/{{fingerprint}}/result.json'
    params: **run_of(None)
    priority: 1  # pairs wait for it
    threads: THREADS
    resources: mem_mb=wanted(2000, 32000), runtime=doubling(60, 1440), **GPU
    shell:
        shell_command()


rule pair:
    input: needs
    output: f'runs/{STUDY.study}/pair/{{name}}/{{fingerprint}}/result.json'
    params: **run_of(None)
    threads: THREADS
    resources: mem_mb=wanted(2000, 32000), runtime=doubling(60, 1440), **GPU
    shell:
        shell_command()


use rule pair as pair_first with:  # those whose model another pair waits for
    wildcard_constraints: name='|'.join(SERVING)
    priority: 1


ruleorder: pair_first > pair


rule report:
    input: [] if EARLY or 'report' in DONE else REPORTED
    output: [HTML] if EARLY and PAIRS - DONE else [place(RUNS['report']), HTML]  # an early report is no result
    params: **run_of('report')
    resources: mem_mb=doubling(2000, 4000), runtime=doubling(30, 60)
    shell:
        shell_command(PAGE + f' {{params.executed:q}} {{params.folder:q}}/report.html {verbatim(STUDY.study)}'
                      f' && {PUBLISH} {{params.folder:q}} {{params.executed:q}} reports/{STUDY.study}')
