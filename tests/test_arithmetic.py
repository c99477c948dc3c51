"A small model trained from scratch comes out the same, whatever the processor; a run that could not compute so is refused."
import os
import shutil
import subprocess
import sys

import pytest
import torch
from xlt.common.arithmetic import AVX2_SETTINGS, TANH, compute_as, has_avx2
from xlt.common.errors import XltError

if not has_avx2(): pytest.skip('needs an x86-64 processor with AVX2', allow_module_level=True)

PREPARED = 'from xlt.common.arithmetic import prepare, compute_as\nprepare()\n'
PORTABLE = PREPARED + "compute_as({'arithmetic': 'portable'})\n"

# All that the study's notebooks do with a model: pretraining with a mask of its own, then two kinds of head, then embeddings.
TRAINING = '''
import hashlib
import numpy as np
import torch
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM, XLMRobertaForQuestionAnswering, XLMRobertaForMultipleChoice
ROWS, WIDTH = 6, 40
rng = np.random.RandomState(0)
config = XLMRobertaConfig(vocab_size=500, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256,
                          max_position_embeddings=130, hidden_dropout_prob=0., attention_probs_dropout_prob=0.)
def numbers(high, *size): return torch.from_numpy(rng.randint(0, high, size=size))
def train(model, loss, steps):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    for _ in range(steps):
        loss(model).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.)
        optimizer.step(); optimizer.zero_grad()
def tell(name, *tensors): print(name, *(hashlib.sha256(t.detach().numpy().tobytes()).hexdigest()[:12] for t in tensors), flush=True)
def masked(model):
    owner = numbers(3, ROWS, WIDTH).sort(1).values
    ids, hidden = numbers(500, ROWS, WIDTH), numbers(4, ROWS, WIDTH) == 0
    out = model.base_model(input_ids=ids, attention_mask=(owner[:, :, None] == owner[:, None, :])[:, None]).last_hidden_state
    return torch.nn.functional.cross_entropy(model.lm_head(out[hidden]), ids[hidden])
def span(model):
    ids, mask = numbers(500, ROWS, WIDTH), torch.arange(WIDTH) < numbers(WIDTH, ROWS, 1) + 5
    return model(input_ids=ids, attention_mask=mask.long(), start_positions=numbers(5, ROWS), end_positions=numbers(5, ROWS)).loss
def choice(model): return model(input_ids=numbers(500, ROWS, 3, WIDTH), labels=numbers(3, ROWS)).loss
torch.manual_seed(0)
for cls, loss, steps in ((XLMRobertaForMaskedLM, masked, STEPS), (XLMRobertaForQuestionAnswering, span, 2), (XLMRobertaForMultipleChoice, choice, 2)):
    model = cls(config).train()
    train(model, loss, steps)
    tell(cls.__name__, torch.cat([p.flatten() for p in model.parameters()]))
with torch.inference_mode():
    hidden = model.roberta.eval()(input_ids=numbers(500, ROWS, WIDTH)).last_hidden_state.mean(1)
    tell('embeddings', hidden, hidden @ hidden.T)
'''


def process(code: str, *emulator: str, **settings: str) -> subprocess.CompletedProcess:
    "Run code in a process that no setting of this one reaches."
    chosen = {k: v for k, v in os.environ.items() if not k.startswith(('OPENBLAS', 'NPY_', 'MKL_', 'ATEN_', 'ONEDNN_', 'OMP_'))}
    return subprocess.run([*emulator, sys.executable, '-c', code], env=chosen | settings, capture_output=True, text=True)


def digests(steps: int, *emulator: str, **settings: str) -> list[str]:
    done = process(PORTABLE + f'STEPS = {steps}' + TRAINING, *emulator, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_nothing_is_left_to_mkl():
    own, ours = (process(head + 'STEPS = 2' + TRAINING, MKL_VERBOSE='1') for head in ('', PORTABLE))
    assert own.returncode == ours.returncode == 0, ours.stderr
    assert ours.stdout.count('MKL_VERBOSE') == 0, 'MKL was called'
    if 'MKL_VERBOSE' not in own.stdout: pytest.skip('this PyTorch has no MKL')


def test_threads_and_settings_of_the_environment_decide_nothing():
    plain = digests(2)
    assert digests(2, OMP_NUM_THREADS='2', OPENBLAS_NUM_THREADS='2', OPENBLAS_CORETYPE='Nehalem', ATEN_CPU_CAPABILITY='default', MKL_CBWR='COMPATIBLE') == plain


def test_a_process_that_has_chosen_already_is_refused():
    late = process('import numpy\n' + PORTABLE, OPENBLAS_CORETYPE='Nehalem')
    assert late.returncode and 'NumPy multiplies by openblas for Nehalem: too late to compute as on every processor' in late.stderr
    late = process('import torch\nprint(torch.backends.cpu.get_cpu_capability())\n' + PORTABLE, ATEN_CPU_CAPABILITY='default')
    assert late.returncode and 'PyTorch uses DEFAULT' in late.stderr


def test_a_process_whose_mkl_has_chosen_already_is_refused():
    first = 'import torch\nprint(float(torch.tensor([.63]).tanh()))\n'
    late = process(PREPARED + first + "compute_as({'arithmetic': 'portable'})\nprint(torch.tensor([.63]).tanh())", ATEN_CPU_CAPABILITY='avx2')
    other = float(late.stdout.split()[0]) != TANH
    assert bool(late.returncode) == other == ('MKL computes tanh for AVX-512: too late' in late.stderr), late.stderr


def test_tanh_is_that_of_every_processor():
    told = process(PORTABLE + 'import torch\nprint(float(torch.tensor([.63]).tanh()))', MKL_CBWR='AVX512')
    assert float(told.stdout) == TANH, told.stderr


def test_a_study_that_does_not_ask_keeps_its_processors_own_arithmetic():
    code = PREPARED + "compute_as({'device': 'cpu'})\nfrom xlt.common.arithmetic import IN_USE\nassert not IN_USE"
    assert process(code).returncode == 0


def test_a_gpu_that_pytorch_cannot_use_stops_the_run(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.version, 'cuda', None)
    with pytest.raises(XltError, match=r'there is a GPU, but PyTorch .+ cannot use it \(it is built for CPUs\); install'): compute_as({'device': 'gpu'})
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    with pytest.raises(XltError, match='is its driver too old'): compute_as({'device': 'gpu'})
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    compute_as({'device': 'gpu'})


def test_settings_are_those_of_the_notebooks():
    "NumPy, loaded after `prepare`, has the kernels that the settings name."
    code = PREPARED + "import numpy\nassert 'X86_V4' not in numpy.__config__.CONFIG['SIMD Extensions'].get('found', [])\nfrom threadpoolctl import threadpool_info\nprint({i['architecture'] for i in threadpool_info()})"
    done = process(code)
    assert done.stdout.strip() == str({AVX2_SETTINGS['OPENBLAS_CORETYPE']}), done.stderr


@pytest.mark.skipif(os.environ.get('XLT_QEMU') != '1' or not shutil.which('qemu-x86_64'), reason='needs XLT_QEMU=1 and qemu-x86_64 (Debian: qemu-user); a few minutes')
@pytest.mark.parametrize('processor', ['Haswell', 'EPYC'])
def test_the_same_bits_on_processors_of_intel_and_amd(processor):
    assert digests(20, 'qemu-x86_64', '-cpu', processor) == digests(20)
