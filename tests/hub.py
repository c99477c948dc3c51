"A small Hugging Face hub on localhost: repository info, file trees and files with the headers that the client wants."
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


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
