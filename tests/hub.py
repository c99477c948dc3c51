"A small Hugging Face hub on localhost: repository info, file trees and files with the headers that the client wants, and data for it."
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from datasets import ClassLabel, Dataset, Features, List, Value
from xlt.data.hub_pins import MANIFEST, REPOSITORIES, Split
from xlt.tasks.cards import NER, NLI, TASKS, UPOS

STRING, NLI_CLASSES = Value('string'), ClassLabel(names=list(NLI))

TYDI, SNLI = TASKS['tydiqa'].hub.prefixes, Split('snli', 'plain_text', 'train')


class SmallHub:
    "Serves `<folder>/<datasets or models>/<owner>/<name>/<revision>/<files>`."
    def __init__(self, folder: Path):
        self.folder, self.asked = folder, []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            def log_message(self, *args): pass
            def do_HEAD(self): hub.answer(self, body=False)
            def do_GET(self): hub.answer(self, body=True)
            def do_POST(self): hub.answer(self, body=True)
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_address[1]}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self): self.server.shutdown(); self.server.server_close()

    def revisions(self, kind, name):
        "The commits of a repository, the newest last."
        place = self.folder / kind / name
        return sorted((p.name for p in place.iterdir()), key=lambda r: (place / r).stat().st_mtime) if place.is_dir() else []

    def send(self, request, status, body=b'', headers=(), with_body=True):
        request.send_response(status)
        for name, value in dict(headers).items(): request.send_header(name, str(value))
        request.send_header('Content-Length', str(len(body)))
        request.end_headers()
        if with_body: request.wfile.write(body)

    def answer(self, request, body):
        path = unquote(urlsplit(request.path).path).strip('/')
        self.asked.append(path)
        if length := int(request.headers.get('Content-Length') or 0): request.rfile.read(length)
        parts = path.split('/')
        try:
            if parts[0] == 'api' and parts[1] in ('datasets', 'models'): return self.info(request, parts[1], '/'.join(parts[2:4]), parts[4:])
            kind, rest = ('datasets', parts[1:]) if parts[0] == 'datasets' else ('models', parts)
            if rest[2] == 'resolve': return self.file(request, kind, '/'.join(rest[:2]), rest[3], '/'.join(rest[4:]), body)
        except IndexError: pass
        self.send(request, 404, headers={'X-Error-Code': 'RepoNotFound', 'X-Error-Message': 'Repository not found'})

    def find(self, request, kind, name, revision):
        "The folder of a commit, or None after a refusal."
        known = self.revisions(kind, name)
        if not known: self.send(request, 404, headers={'X-Error-Code': 'RepoNotFound', 'X-Error-Message': 'Repository not found'})
        elif revision not in ('main', *known): self.send(request, 404, headers={'X-Error-Code': 'RevisionNotFound', 'X-Error-Message': 'Invalid rev id'})
        else: return self.folder / kind / name / (known[-1] if revision == 'main' else revision)

    def info(self, request, kind, name, rest):
        revision = rest[1] if rest[:1] in (['revision'], ['tree'], ['paths-info']) else 'main'
        if not (place := self.find(request, kind, name, revision)): return
        files = sorted(p for p in place.rglob('*') if p.is_file())
        if rest[:1] == ['tree']:
            rows = [{'type': 'file', 'path': p.relative_to(place).as_posix(), 'size': p.stat().st_size, 'oid': self.etag(p)} for p in files]
            return self.send(request, 200, json.dumps(rows).encode(), {'Content-Type': 'application/json'})
        data = {'_id': name, 'id': name, 'sha': place.name, 'private': False, 'gated': False, 'disabled': False, 'downloads': 0, 'likes': 0, 'tags': [],
                'siblings': [{'rfilename': p.relative_to(place).as_posix()} for p in files]}
        self.send(request, 200, json.dumps(data).encode(), {'Content-Type': 'application/json'})

    def etag(self, path): return hashlib.sha1(path.read_bytes()).hexdigest()

    def file(self, request, kind, name, revision, path, body):
        if not (place := self.find(request, kind, name, revision)): return
        if not (place / path).is_file(): return self.send(request, 404, headers={'X-Error-Code': 'EntryNotFound', 'X-Repo-Commit': place.name})
        self.send(request, 200, (place / path).read_bytes(), {'ETag': f'"{self.etag(place / path)}"', 'X-Repo-Commit': place.name, 'Accept-Ranges': 'none',
                                                              'Content-Type': 'application/octet-stream'}, with_body=body)


def write(root, split, rows, features=None, parts=1):
    "A split as its repository has it."
    repository = REPOSITORIES[split.repository]
    folder = root / 'datasets' / repository.name / repository.revision
    pattern = repository.files.format(config=split.config, split=split.split)
    data = Dataset.from_list(rows, features=features)
    for i in range(parts):
        path = folder / pattern.replace('*.parquet', f'{i:04d}.parquet' if '/*.' in pattern else f'{i:05d}-of-{parts:05d}.parquet')
        path.parent.mkdir(parents=True, exist_ok=True)
        data.shard(parts, i, contiguous=True).to_parquet(str(path))
    return len(rows)


def span(id, context='The dog sat on the mat.', title=True):
    return dict(id=id, **({'title': 'T'} if title else {}), context=context, question='Who sat?', answers={'text': ['The dog'], 'answer_start': [0]})


def nli(n, label): return [dict(premise=f'Premise {i}.', hypothesis=f'Hypothesis {i}.', label=label(i)) for i in range(n)]


def every_split(N: int):
    "`N` rows and the features of every split in the manifest, in the columns of the real repositories."
    pairs = Features(premise=STRING, hypothesis=STRING, label=NLI_CLASSES)
    tags = lambda column, names: Features({'tokens': List(STRING), column: List(ClassLabel(names=list(names)))} | ({'langs': List(STRING)} if column == 'ner_tags' else {}))
    squad = dict(id=STRING, title=STRING, context=STRING, question=STRING, answers=dict(text=List(STRING), answer_start=List(Value('int32'))))
    for split in MANIFEST:
        r, c, s = split
        if r in ('xnli', 'anli', 'snli') or c == 'mnli':
            rows = nli(N, lambda i: -1 if r == 'snli' and i == 0 else i % 3)
            extra = {'idx': Value('int32')} if r == 'glue' else {'uid': STRING, 'reason': STRING} if r == 'anli' else {}
            yield split, [row | {k: i if k == 'idx' else str(i) for k in extra} for i, row in enumerate(rows)], Features(**pairs, **extra)
        elif c == 'qqp':
            yield split, [dict(question1=f'Q{i}?', question2='R?', label=i % 2, idx=i) for i in range(N)], Features(
                question1=STRING, question2=STRING, label=ClassLabel(names=['not_duplicate', 'duplicate']), idx=Value('int32'))
        elif c.startswith('PAWS-X'): yield split, [dict(sentence1=f'A{i}', sentence2='B', label=str(i % 2)) for i in range(N)], None
        elif c.startswith('udpos'): yield split, [dict(tokens=['zum', 'Markt'], pos_tags=[1, 7])] * N, tags('pos_tags', UPOS)
        elif c.startswith('PAN-X'): yield split, [dict(tokens=['Ada', 'ni'], ner_tags=[1, 0], langs=['sw', 'sw'])] * N, tags('ner_tags', NER)
        elif c.startswith('tatoeba'):
            three = c.split('.')[1]
            yield split, [dict(source_sentence=f'{three} {i}', target_sentence=f'English {i}', source_lang=three, target_lang='eng') for i in range(N)], None
        elif r == 'hellaswag':
            yield split, [dict(ind=i, activity_label='A', ctx_a='a', ctx_b='b', ctx=f'a b {i}', endings=['w', 'x', 'y', 'z'], source_id='s', split='train',
                               split_type='indomain', label=str(i % 4)) for i in range(N)], None
        elif r == 'cosmosqa':
            yield split, [dict(id=f'c{i}', context='C', question='Q?', answer0='a', answer1='b', answer2='c', answer3='d', label=i % 4) for i in range(N)], None
        elif r == 'csqa':
            yield split, [dict(id=f's{i}', question='Q?', question_concept='q', choices={'label': list('ABCDE'), 'text': list('vwxyz')}, answerKey='ABCDE'[i % 5])
                          for i in range(N)], None
        elif r == 'xcopa':
            yield split, [dict(premise=f'Premise {i}.', choice1='a', choice2='b', question=('cause', 'effect')[i % 2], label=i % 2, idx=i, changed=False) for i in range(N)], None
        elif c == 'tydiqa': yield split, [span(f'{name}-{i}', f'The dog sat on mat {i} in {name}.') for name in TYDI.values() for i in range(N)], Features(**squad)
        elif c.startswith('XQuAD'): yield split, [span(str(i), title=False) for i in range(N)], Features(**{k: v for k, v in squad.items() if k != 'title'})
        elif s == 'validation' and r.startswith('squad'):
            none = {'answers': {'text': [], 'answer_start': []}} if r == 'squad_v2' else {}
            yield split, [span(str(i), 'The dog sat on the mat.' if i < 2 else 'The dog saw a cat.') | none for i in range(N)], Features(**squad)
        else: yield split, [span(f'{c}-{i}') for i in range(N)], Features(**squad)
