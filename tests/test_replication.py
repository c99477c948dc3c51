"`xlt replicate retrieval` from end to end: a stand-in hub on localhost, a tiny random encoder under the real name, the real client."
import json
import os
import subprocess
import sys

import pytest
from datasets import Dataset

from hub import SmallHub
from xlt.data.hub_pins import CHECKPOINTS, REPOSITORIES, test_split as where
from xlt.paper.published import read_published

NAME, REVISION = 'FacebookAI/xlm-roberta-large', CHECKPOINTS['FacebookAI/xlm-roberta-large']
CODE = "import sys, xlt.data.hub; xlt.data.hub_pins.MANIFEST.update({s: 12 for s in xlt.data.hub_pins.MANIFEST}); from xlt.cli.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope='module')
def hub(tmp_path_factory):
    "Two languages of Tatoeba, and an encoder of two layers."
    from transformers import XLMRobertaConfig, XLMRobertaModel
    from xlt.models.features import train_tokenizer
    root = tmp_path_factory.mktemp('hub')
    for code in ('de', 'sw'):
        split, repository = where('tatoeba', code), REPOSITORIES['xtreme']
        path = root / 'datasets' / repository.name / repository.revision / repository.files.format(config=split.config, split=split.split).replace('*', '00000-of-00001')
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [dict(source_sentence=f'dog {n} sat {n * 7}', target_sentence=f'dog {n} sat {n * 7}' if code == 'de' else f'mat {n}', source_lang=split.config.split('.')[1],
                     target_lang='eng') for n in range(12)]
        Dataset.from_list(rows).to_parquet(str(path))
    tokenizer = train_tokenizer({'en': [f'the dog {n} sat on the mat' for n in range(90)]}, vocabulary=400, alpha=1)
    folder = root / 'models' / NAME / REVISION
    XLMRobertaModel(XLMRobertaConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
                                     max_position_embeddings=300)).save_pretrained(folder), tokenizer.save_pretrained(folder)
    small = SmallHub(root)
    yield small
    small.close()


@pytest.fixture
def replicate(hub, repo, project):
    (project / 'params' / 'xlmr-large.yaml').write_text((repo / 'params' / 'xlmr-large.yaml').read_text())
    def run(*args):
        clean = {k: v for k, v in os.environ.items() if not k.startswith('HF_')}
        return subprocess.run([sys.executable, '-c', CODE, 'replicate', 'retrieval', *args], capture_output=True, text=True, cwd=project, timeout=300,
                              env=clean | {'HF_ENDPOINT': hub.url, 'HF_HOME': str(project / 'hf'), 'HF_HUB_DISABLE_TELEMETRY': '1'})
    return run


def test_published_numbers_are_measured_again(replicate):
    done = replicate('--set', 'targets=[tatoeba]', '--set', 'retrieval.layer=2', '--languages', 'de,sw', '--json')
    assert done.returncode == 1, done.stderr[-2000:]  # a random encoder differs
    rows = {r['language']: r for r in json.loads(done.stdout)}
    printed = read_published('retrieval').query('target == "tatoeba"').set_index('language').score
    assert rows['de']['published'] == printed['de'] and rows['de']['ours'] == 100, 'a sentence finds itself'
    assert rows['sw']['difference'] == pytest.approx(rows['sw']['ours'] - printed['sw']) and rows['de']['verdict'] == 'differs'


def test_a_layer_that_is_not_there_and_data_that_only_the_user_has(replicate):
    done = replicate('--set', 'targets=[tatoeba]', '--languages', 'de')
    assert done.returncode == 2 and 'retrieval layer 14 does not exist' in done.stderr
    done = replicate('--set', 'retrieval.layer=2', '--languages', 'sw')
    assert 'BUCC' in done.stderr and '1 of 40 published numbers: 1 differs' in done.stdout, 'BUCC is not on the hub, and the last line says how much was measured'
