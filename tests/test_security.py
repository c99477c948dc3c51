"Nothing that is loaded can run code, and names stay names."
import ast
import json
from pathlib import Path

import nbformat
import pytest

from xlt.common.errors import XltError
from xlt.runs.params import Study

LOADERS = {'pickle', 'cPickle', 'dill', 'cloudpickle', 'joblib', 'marshal', 'shelve'}  # modules whose files are programs
CALLS = {'eval', 'exec', 'read_pickle', 'to_pickle', 'unsafe_load', 'full_load', 'load_all'}


def cells(path: Path) -> str:
    "A notebook's code, without IPython's own commands."
    source = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == 'code']
    return '\n'.join(line for text in source for line in text.splitlines() if not line.lstrip().startswith(('%', '!')))


def dangers(code: str) -> list[str]:
    "What in a program could run what it loads."
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name.split('.')[0] for a in node.names] + [(getattr(node, 'module', None) or '').split('.')[0]]
            found += [f'import {n}' for n in names if n in LOADERS]
        if not isinstance(node, ast.Call):
            continue
        name, given = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
        last = name.rpartition('.')[2]
        if last in CALLS and name != 'model.eval' and not name.endswith('.eval') or name in ('yaml.load', 'yaml.load_all'):
            found.append(name)
        if name == 'torch.load' and given.get('weights_only') != 'True':
            found.append('torch.load without weights_only')
        if given.get('trust_remote_code', 'False') != 'False' or given.get('allow_pickle', 'False') != 'False' or given.get('weights_only') == 'False':
            found.append(f'{name}({given})')
        if last == 'from_pretrained' and 'Tokenizer' not in name and 'Config' not in name and given.get('use_safetensors') != 'True':
            found.append(f'{name} without use_safetensors')
    return found


def test_the_search_finds_what_it_looks_for():
    for code in ('import pickle', 'from joblib import load', 'torch.load(f)', 'torch.load(f, weights_only=False)', 'np.load(f, allow_pickle=True)',
                 'yaml.load(t, Loader=yaml.Loader)', 'yaml.unsafe_load(t)', 'eval(x)', 'pd.read_pickle(f)', 'AutoModel.from_pretrained(d)',
                 'AutoModel.from_pretrained(d, use_safetensors=True, trust_remote_code=True)'):
        assert dangers(code), code
    assert not dangers('torch.load(f, weights_only=True); model.eval(); yaml.safe_load(t); AutoTokenizer.from_pretrained(d)')


def test_nothing_loads_programs(repo):
    files = [*repo.glob('xlt/**/*.py'), *repo.glob('nbs/**/*.ipynb')]
    assert len(files) > 30
    found = {str(p.relative_to(repo)): dangers(cells(p) if p.suffix == '.ipynb' else p.read_text()) for p in files if '.ipynb_checkpoints' not in p.parts}
    assert {p: d for p, d in found.items() if d} == {}


@pytest.mark.parametrize('value', ['!!python/object/apply:os.system ["touch run"]', '!!python/name:os.system', '!!python/object/new:os.system ["touch run"]'])
def test_yaml_is_data(project, value):
    path = project / 'params' / 'tiny.yaml'
    path.write_text(path.read_text().replace('study: tiny', f'study: {value}'))
    with pytest.raises(XltError, match='could not determine a constructor'):
        Study.read(path)
    with pytest.raises(XltError, match='could not determine a constructor'):
        Study.read(project / 'params' / 'tiny.yaml', set=[f'languages={value}'])
    assert not (project / 'run').exists() and not Path('run').exists()


@pytest.mark.parametrize('name', ['../up', '/abs', 'a/b', '..', '.', '.hidden', 'a b', 'A', 'x' * 65, '', 'tiny\n', "x'; rm -rf ~; '"])
def test_a_study_has_a_plain_name(project, name):
    with pytest.raises(XltError, match='a name has a-z'):
        Study.read(project / 'params' / 'tiny.yaml', set=[f'study={json.dumps(name)}'])


@pytest.mark.parametrize('setting', ['intermediates=["../../x"]', 'targets=["/etc/passwd"]', 'languages=["../x"]', 'seeds=["../x"]', 'tasks={"../x": {epochs: 1}}'])
def test_other_names_are_known_names(project, setting):
    with pytest.raises(XltError):
        Study.read(project / 'params' / 'tiny.yaml', set=[setting])
