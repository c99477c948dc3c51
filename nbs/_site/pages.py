"""Write the documentation's pages from the notebooks, for Sphinx to make a site of: `make docs`.

    python nbs/_site/pages.py build/site

nbdev processes the notebooks, without Quarto and without executing anything. What it leaves to Quarto is put in Sphinx's
terms here: titles, hidden code, links, alternative texts; and in place of every exported definition stand its signature,
its parameters with their comments, the errors it raises, and its source, folded away.
"""
import ast
import io
import json
import os
import re
import shutil
import sys
import tokenize
from configparser import ConfigParser
from pathlib import Path

import nbformat
from nbdev.process import NBProcessor
from nbdev.processors import FilterDefaults

REPO = Path(__file__).resolve().parents[2]
NBS, REPORTS = REPO / 'nbs', REPO / 'reports'


def settings() -> dict:
    "nbdev's settings."
    parser = ConfigParser(delimiters=['='], interpolation=None)
    parser.read(REPO / 'settings.ini', encoding='utf-8')
    return dict(parser['DEFAULT'])


SETTINGS = settings()
BLOB = f'{SETTINGS["git_url"]}/blob/{SETTINGS["branch"]}'
HOME = SETTINGS['doc_host'] + SETTINGS['doc_baseurl']


PACKAGES = {
    'common': 'what every package uses', 'languages': 'languages and how much text they have', 'tasks': 'what a task is',
    'data': 'examples: from the lab, from files, from the hub', 'models': 'from text to a trained and evaluated model', 'runs': 'the runs of a study and their results',
    'stats': 'from scores to conclusions', 'paper': 'the published results', 'reporting': 'what a reader sees', 'cli': 'the command line'}  # in the order of imports


# ---- which notebook becomes which page

def sources() -> dict[str, Path]:
    "Page name (`stats/degradation`, `tutorials/laptop`, `reports/lab-quick`) → notebook."
    found = {}
    for folder in ('.', *PACKAGES, 'tutorials', 'study', 'explanations'):
        for path in sorted((NBS / folder).glob('[!_.]*.ipynb')):
            found[(Path(folder) / re.sub(r'^\d+_', '', path.stem)).as_posix()] = path
    for path in sorted(REPORTS.glob('*/*.ipynb')):
        found[f'reports/{path.parent.name}' + ('' if path.stem == 'report' else f'-{path.stem}')] = path
    found.pop('study/report', None)  # an executed one says more
    return found


def place(name: str, here: str) -> str:
    "The way from one page to another."
    return Path(os.path.relpath(name, Path(here).parent)).as_posix()


# ---- reference entries

def plain(text: str) -> str:
    "A comment as Markdown: only its `code` is markup."
    return ''.join(part if part.startswith('`') else re.sub(r'([\\*_\[\]<>$|{}])', r'\\\1', part) for part in re.split(r'(`[^`]*`)', text))


def comments(code: str) -> dict[int, str]:
    "Line → the comment at its end."
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return {t.start[0]: t.string.lstrip('# ').strip() for t in tokens if t.type == tokenize.COMMENT and not t.string.startswith('#|')}


def parameters(f: ast.FunctionDef) -> list[ast.arg]:
    "All parameters of a function, in order, but `self` and `cls`."
    a = f.args
    return [x for x in [*a.posonlyargs, *a.args, a.vararg, *a.kwonlyargs, a.kwarg] if x and x.arg not in ('self', 'cls')]


def signature(f: ast.FunctionDef) -> str:
    "A function's parameters and what it returns, as written."
    args = ast.parse(ast.unparse(f)).body[0].args
    for group in (args.posonlyargs, args.args):
        group[:] = [x for x in group if x.arg not in ('self', 'cls')]
    return f'({ast.unparse(args)})' + (f' -> {ast.unparse(f.returns)}' if f.returns else '')


def raised(f: ast.FunctionDef) -> list[tuple[str, str]]:
    "The errors that a function itself raises, with their messages."
    found = []
    for node in ast.walk(f):
        if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)): continue
        message = node.exc.args[0] if node.exc.args else None
        if isinstance(message, (ast.Constant, ast.JoinedStr)):
            parts = message.values if isinstance(message, ast.JoinedStr) else [message]
            found.append((node.exc.func.id, ''.join(str(p.value) if isinstance(p, ast.Constant) else '…' for p in parts)))
        else: found.append((node.exc.func.id, ''))
    return list(dict.fromkeys(found))


def function_fields(f: ast.FunctionDef, said: dict[int, str]) -> list[str]:
    "What a function takes, gives and raises: the comments of its parameters."
    ends, lines = f.returns.end_lineno if f.returns else None, []
    result = said.get(ends, '')
    for line in sorted({x.lineno for x in parameters(f)} - {ends}):
        beside = [x.arg for x in parameters(f) if x.lineno == line]  # a comment speaks of all that share its line
        if text := said.get(line): lines.append(f':param {",".join(beside)}: {plain(text)}')
    if result: lines.append(f':returns: {plain(result)}')
    return lines + [f':raises {error}: {plain(text)}' for error, text in raised(f)]


LIMITS = {'gt': '>', 'ge': '≥', 'lt': '<', 'le': '≤'}


def record(c: ast.ClassDef, said: dict[int, str]) -> tuple[str, list[str]]:
    "Signature and fields of a dataclass, a pydantic model or a typed dictionary."
    shown, lines = [], []
    for node in c.body:
        if not isinstance(node, ast.AnnAssign) or node.target.id.startswith('_'): continue
        name, kind, value, limits = node.target.id, ast.unparse(node.annotation), node.value, ''
        if isinstance(value, ast.Call) and getattr(value.func, 'id', '').lower() == 'field':
            limits = ', '.join(f'{LIMITS[k.arg]} {ast.unparse(k.value)}' for k in value.keywords if k.arg in LIMITS)
            value = value.args[0] if value.args else None
        shown.append(f'{name}: {kind}' + (f' = {ast.unparse(value)}' if value else ''))
        text = '; '.join(t for t in (said.get(node.end_lineno, ''), limits) if t)
        if text: lines.append(f':param {name}: {plain(text)}')
    return ', '.join(shown), lines


def directive(kind: str, head: str, module: str, docstring: str | None, fields: list[str], inside: str = '', option: str = '') -> str:
    "One entry of the reference."
    fence = '`' * (4 if inside else 3)
    body = '\n\n'.join(part for part in (plain(docstring or ''), '\n'.join(fields), inside) if part)
    return f'{fence}{{py:{kind}}} {head}\n:module: {module}\n{option}\n{body}\n{fence}'


def class_entry(c: ast.ClassDef, module: str, said: dict[int, str]) -> str:
    "The reference entry of a class, with its methods."
    init = next((f for f in c.body if isinstance(f, ast.FunctionDef) and f.name == '__init__'), None)
    fields, lines = record(c, said)
    head = signature(init) if init else f'({fields})' if fields else ''
    methods = [directive('method', f'{c.name}.{f.name}{signature(f)}', module, ast.get_docstring(f), function_fields(f, said),
                         option=''.join(f':{d.id}:\n' for d in f.decorator_list if isinstance(d, ast.Name) and d.id in ('classmethod', 'staticmethod')))
               for f in c.body if isinstance(f, ast.FunctionDef) and not f.name.startswith('_')
               and not any(getattr(d, 'id', '') == 'property' for d in f.decorator_list)]
    properties = [directive('property', f'{c.name}.{f.name}', module, ast.get_docstring(f), [],
                            option=f':type: {ast.unparse(f.returns)}\n' if f.returns else '')
                  for f in c.body if isinstance(f, ast.FunctionDef) and any(getattr(d, 'id', '') == 'property' for d in f.decorator_list)]
    kind = 'exception' if any('Error' in ast.unparse(b) for b in c.bases) else 'class'
    return directive(kind, c.name + head, module, ast.get_docstring(c), lines, '\n\n'.join(properties + methods))


def assigned(node: ast.Assign) -> list[str]:
    "The names that a statement gives values."
    return [x.id for x in ast.walk(node.targets[0]) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)]


def patched(node) -> str | None:
    "The class that a definition is a method of by `@patch`."
    decorators = [d.id for d in getattr(node, 'decorator_list', []) if isinstance(d, ast.Name)]
    return ast.unparse(node.args.args[0].annotation) if 'patch' in decorators else None


def entries(code: str, module: str) -> tuple[str, list[str]]:
    "The reference entries of an exported cell, and the names that they are for."
    try: body = ast.parse(code).body
    except SyntaxError: return '', []
    said, found, names = comments(code), [], []
    for node in body:
        if owner := patched(node): found.append(directive('method', f'{owner}.{node.name}{signature(node)}', module, ast.get_docstring(node), function_fields(node, said)))
        elif isinstance(node, ast.FunctionDef): found.append(directive('function', node.name + signature(node), module, ast.get_docstring(node), function_fields(node, said)))
        elif isinstance(node, ast.ClassDef): found.append(class_entry(node, module, said))
        elif isinstance(node, ast.Assign): found += [directive('data', name, module, None, []) for name in assigned(node)]
        names += [node.name] if hasattr(node, 'name') else assigned(node) if isinstance(node, ast.Assign) else []
    return '\n\n'.join(found), names


# ---- one notebook

class Site(FilterDefaults):
    "nbdev's processors, but those that execute code or write for Quarto."
    OURS = 'add_show_docs', 'exec_show_docs', 'clean_show_doc', 'insert_warning', 'add_links', 'add_fold', 'mv_exports', 'rm_export'
    def base_procs(self): return [p for p in super().base_procs() if p.__name__ not in self.OURS]


def exports() -> dict[str, set[str]]:
    "Module → the names that it exports."
    listed = {}
    for path in sorted((REPO / 'xlt').glob('*/[!_]*.py')):
        names = [n.value for n in ast.parse(path.read_text(encoding='utf-8')).body if isinstance(n, ast.Assign) and getattr(n.targets[0], 'id', '') == '__all__']
        listed[f'{path.parent.name}.{path.stem}'] = set(ast.literal_eval(names[0])) if names else set()
    return listed


def outside_code(text: str, change) -> str:
    "Change Markdown, but no fenced code."
    return ''.join(part if part.startswith('```') else change(part) for part in re.split(r'(?ms)(^```.*?^```[^\n]*$)', text))


KEPT = ('.html', '.svg', '.png', '.csv', '.json', '.yaml', '.pack')  # files that come along: a link to them stays on the site


class Page:
    "A notebook on its way to being a page."
    def __init__(self, name: str, path: Path, pages: dict[str, Path], exported: dict[str, set[str]], out: Path):
        self.name, self.path, self.pages, self.exported, self.out = name, path, pages, exported, out
        self.module, self.report = None, name.startswith('reports/')

    def link(self, target: str) -> str:
        "Where a link of the notebook leads on the site."
        url, hash_, anchor = target.partition('#')
        if url.startswith(HOME): path = NBS / url.removeprefix(HOME).lstrip('/')
        elif re.match(r'[a-z]+:', url) or not url: return target
        else: path = (self.path.parent / url).resolve()
        by_path = {p.with_suffix('').resolve(): n for n, p in self.pages.items()}
        short = {(p.parent / Path(n).name).resolve(): n for n, p in self.pages.items()}
        at = path.with_suffix('').resolve()
        named = [n for n in self.pages if n.split('/')[-1] == at.name] if url.startswith(HOME) else []  # reports that were made before a page moved
        if page := by_path.get(at) or short.get(at) or (len(named) == 1 and named[0]): return place(page, self.name) + '.ipynb' + hash_ + anchor
        if not path.exists(): raise SystemExit(f'{self.path.relative_to(REPO)}: a link leads to {target}, which is not there')
        if path.suffix in KEPT and path.stat().st_size < 2e6: return self.keep(path)
        return f'{BLOB}/{path.relative_to(REPO).as_posix()}'

    def keep(self, path: Path) -> str:
        "Copy a picture or a page of its own to the site; the way there."
        name = path.relative_to(REPO).as_posix().replace('/', '-')
        (self.out / 'files').mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, self.out / 'files' / name)
        if path.name == 'explorer.html':  # its report is a page of the site
            text = path.read_text(encoding='utf-8').replace('href="report.html"', f'href="../reports/{path.parent.name}.html"')
            (self.out / 'files' / name).write_text(text, encoding='utf-8')
        return place(f'files/{name}', self.name)

    def refer(self, match: re.Match) -> str:
        "`name` as a reference where it is one of this page's, or begins with `xlt.`."
        text = match[2]
        dotted = text.removeprefix('xlt.') if text.startswith('xlt.') else f'{self.module}.{text}'
        module, _, name = dotted.rpartition('.')
        return f'{{py:obj}}`{text} <xlt.{dotted}>`' if name in self.exported.get(module or '', ()) else match[0]

    def names(self, text: str) -> str:
        "Text with the names in `code` as references."
        return re.sub(r'(?<![`\[])(`)([\w.]+)\1(?!`)', self.refer, text)

    def anchor(self, text: str, target: str) -> str:
        "A link; to a page of its own as plain HTML, which Sphinx would else make a download of."
        at = self.link(target)
        return f'<a class="reference" href="{at}">{text}</a>' if at.endswith('.html') and not re.match(r'[a-z]+:', at) else f'[{text}]({at})'

    def prose(self, text: str) -> str:
        "A Markdown cell with its links and names turned to the site's."
        def change(part):
            part = re.sub(r'\[([^\]]*)\]\(([^)\s]+)\)', lambda m: self.anchor(m[1], m[2]), part)
            return self.names(part)
        return outside_code(text, change)

    def head(self, front: dict) -> list:
        "Title, subtitle, and where the page comes from."
        title = front['title'] + (f': {self.path.parent.name}' if self.report else '')
        text = f'# {title}\n\n> {self.prose(front.get("description", ""))}'
        if self.name == 'index': return [nbformat.v4.new_markdown_cell(text)]
        where = f'[{self.path.relative_to(REPO).as_posix()}]({BLOB}/{self.path.relative_to(REPO).as_posix()})'
        made = f'\n\n:::{{container}} origin\nModule `xlt.{self.module}`, from {where}\n:::' if self.module else f'\n\n:::{{container}} origin\n{where}\n:::'
        declared = f'\n\n```{{py:module}} xlt.{self.module}\n```' if self.module else ''
        return [nbformat.v4.new_markdown_cell(text + declared + made)]

    def code(self, cell) -> list:
        "A code cell: an exported one becomes its reference entry and its source."
        directives = {k.rstrip(':'): v for k, v in cell.directives_.items()}
        source = re.sub(r'^#\|.*\n?', '', cell.source, flags=re.M).strip()
        meta = {'tags': [t for t in cell.metadata.get('tags', []) if t != 'parameters']}
        if 'default_exp' in directives or 'hide' in directives or not source: return []
        if self.report and not cell.get('outputs'): return []
        if directives.get('echo') == ['false'] or self.report: meta['tags'].append('remove-input')
        if 'parameters' in cell.metadata.get('tags', []): source = f'# parameters, set by papermill\n{source}'
        before, names = [], []
        if directives.keys() & {'export', 'exports'}:
            text, names = entries(source, f'xlt.{self.module}')
            if text: before = [nbformat.v4.new_markdown_cell(self.names(text))]
            if not names or not all(n.isupper() for n in names):
                meta['tags'].append('hide-input')
                what = f'Source of {", ".join(names)}' if names else 'Imports'
                meta['mystnb'] = {'code_prompt_show': what, 'code_prompt_hide': what}
        alt = ' '.join(directives.get('fig-alt', []))
        made = nbformat.v4.new_code_cell(source, metadata=meta, outputs=[nbformat.from_dict(o) for o in cell.get('outputs', [])])
        for output in made.outputs:
            data = output.get('data', {})
            if 'text/markdown' in data: data['text/markdown'] = re.sub(r'\]\(([^):]+)\.ipynb', r'](\1.html', self.prose(''.join(data['text/markdown'])))  # no document, there
            for kind in ('image/svg+xml', 'image/png'):
                if kind in data: made.metadata.setdefault('mystnb', {})['image'] = {'alt': alt or output.metadata.get(kind, {}).get('alt') or self.alternative(output)}
        return [*before, made]

    def alternative(self, output) -> str:
        "What a picture shows, for those who cannot see it: in its own words, else where it stands."
        own = ''.join(output.data.get('text/plain', ''))
        return own if own and not own.startswith('<') else f'Figure: {self.section}. {self.told}'

    def write(self) -> None:
        "Process the notebook and write the page."
        at = NBProcessor(self.path, procs=Site().procs())
        default = [c.directives_['default_exp'][0] for c in at.nb.cells if 'default_exp' in c.directives_]
        self.module = default[0] if default else None
        at.process()
        front, cells = dict(at.nb.frontmatter_), at.nb.cells[1:]
        made, self.section = self.head(front), front['title']
        for i, cell in enumerate(cells):
            if cell.cell_type == 'markdown':
                titles = re.findall(r'(?m)^#+ (.+)$', cell.source)
                self.section = titles[-1] if titles else self.section
                made.append(nbformat.v4.new_markdown_cell(self.prose(cell.source)))
            elif cell.cell_type == 'code':
                after = next((c.source for c in cells[i + 1:] if c.cell_type == 'markdown'), '')
                self.told = next((line.split('. ')[0] + '.' for line in after.splitlines() if line and line[0].isalnum()), '')
                made += self.code(cell)
        notebook = nbformat.v4.new_notebook(cells=made, metadata={'kernelspec': {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}})
        for n, cell in enumerate(notebook.cells): cell['id'] = f'cell{n}'
        put(self.out / f'{self.name}.ipynb', nbformat.writes(notebook))


# ---- the whole

def put(path: Path, text: str) -> None:
    "Write a page if it is new: Sphinx then reads again only what has changed."
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding='utf-8') != text: path.write_text(text, encoding='utf-8')


def heading(path: Path) -> tuple[str, str]:
    "A notebook's title and subtitle."
    first = ''.join(json.loads(path.read_text(encoding='utf-8'))['cells'][0]['source']).splitlines()
    return first[0].removeprefix('# '), ' '.join(line.removeprefix('> ') for line in first[1:] if line.startswith('> '))


def listing(pages: dict[str, Path], names: list[str], here: str) -> str:
    "A list of pages with what each is for."
    return '\n'.join(f'- [{heading(pages[n])[0]}]({place(n, here)}.ipynb): {heading(pages[n])[1]}' for n in names)


def toctree(caption: str, names: list[str]) -> str:
    "One group of the sidebar."
    return '```{toctree}\n:hidden:\n' + (f':caption: {caption}\n' if caption else '') + '\n' + '\n'.join(names) + '\n```\n'


LANDING = {
    'tutorials/index': ('Tutorials', 'Step by step, each ending with a result.', [
        f'tutorials/{n}' for n in ('laptop', 'real_languages', 'own_model', 'own_results', 'one_gpu', 'cluster', 'add_a_task', 'add_a_measure')]),
    'explanations/index': ('Explanations', 'How the study works, and why.', [
        'explanations/glossary', 'data/lab', 'explanations/lab_and_paper', 'explanations/wide', 'explanations/repetition', 'explanations/protection', 'models/metrics', 'stats/degradation', 'stats/dose',
        'stats/robustness', 'explanations/validation', 'data/leakage', 'explanations/e5_settings', 'explanations/performance',
        'explanations/performance_real', 'explanations/gpu', 'explanations/architecture'])}


def groups(pages: dict[str, Path]) -> dict[str, list[str]]:
    "Landing page → its pages, those first that are named."
    found = {}
    for landing, (_, _, order) in LANDING.items():
        folder = landing.split('/')[0]
        found[landing] = [n for n in order if n in pages] + [n for n in pages if n.startswith(f'{folder}/') and n not in order]
    reports = [n for n in pages if n.startswith('reports/')]
    found['study/index'] = [*reports, *[n for n in ('explanations/validation',) if n in pages], *[n for n in pages if n.startswith('study/')]]
    found['tasks/index'] = [n for n in pages if n.startswith('tasks/') and n not in ('tasks/card', 'tasks/own', 'tasks/cards')]
    found['reference'] = [n for n in pages if n.split('/')[0] in PACKAGES]
    return found


def landing_pages(pages: dict[str, Path], exported: dict[str, set[str]], out: Path) -> None:
    "The pages that only lead to others."
    grouped = groups(pages)
    for name, (title, line, _) in LANDING.items():
        put(out / f'{name}.md', f'# {title}\n\n> {line}\n\n{listing(pages, grouped[name], name)}\n')
    phases = [n for n in grouped['study/index'] if n.startswith('study/') and '"output_type"' not in pages[n].read_text(encoding='utf-8')]
    found = [n for n in grouped['study/index'] if n not in phases]
    put(out / 'study/index.md', f'''# The study

> What was found, whether the method can be trusted, and the notebooks behind it.

## What was found

{listing(pages, found, 'study/index')}

## The notebooks that papermill executes

Each is one step with parameters; Snakemake decides which run and in what order.

{listing(pages, phases, 'study/index')}
''')
    for package, what in PACKAGES.items():
        own = [n for n in grouped['reference'] if n.startswith(f'{package}/')]
        def module(page):
            name = page.replace('/', '.')
            return f'## [{name}]({Path(page).name}.ipynb)\n\n{heading(pages[page])[1]}\n\n' + ' · '.join(f'{{py:obj}}`{x} <xlt.{name}.{x}>`' for x in sorted(exported.get(name, ())))
        put(out / package / 'index.md', f'# {package}\n\n> {what}\n\n' + '\n\n'.join(map(module, own)) + '\n\n' + toctree('', [Path(n).name for n in own if n not in grouped['tasks/index']]))
    listed = '\n'.join(f'- [{package}]({package}/index.md): {what}' for package, what in PACKAGES.items())
    put(out / 'reference.md', f'# Reference\n\n> Every exported name, package by package. A package uses only those before it. Each page is the notebook that the module is exported from, so an '
        f'example follows every definition.\n\nMost people need one function: {{py:obj}}`xlt.analyse <xlt.reporting.api.analyse>`.\n\n{listed}\n\n' + toctree('', [f'{package}/index' for package in PACKAGES if package != 'tasks']))


def documents(pages: dict[str, Path], out: Path) -> None:
    "Pages that are Markdown files in the repository, and the sidebar."
    for name in ('CONTRIBUTING', 'CHANGELOG'):
        text = (REPO / f'{name}.md').read_text(encoding='utf-8')
        put(out / f'{name.lower()}.md', Page(name.lower(), REPO / f'{name}.md', pages, {}, out).prose(text))
    index = nbformat.read(out / 'index.ipynb', 4)
    own = {landing: [n for n in names if n.startswith((f'{landing.split("/")[0]}/', 'reports/'))] for landing, names in groups(pages).items()}
    index.cells.append(nbformat.v4.new_markdown_cell('\n'.join([
        toctree('Start', ['Home <self>', 'contributing', 'changelog']), *[
            toctree(caption, [f'Overview <{landing}>', *own[landing]]) for caption, landing in
            (('Tutorials', 'tutorials/index'), ('The study', 'study/index'), ('Tasks', 'tasks/index'), ('Explanations', 'explanations/index'))],
        toctree('Reference', ['Packages <reference>'])]), id='toctree'))
    put(out / 'index.ipynb', nbformat.writes(index))


def build(out: Path) -> list[Path]:
    "Write all pages, and remove those that are no longer any."
    pages, exported = sources(), exports()
    for name, path in pages.items(): Page(name, path, pages, exported, out).write()
    landing_pages(pages, exported, out)
    documents(pages, out)
    known = {out / f'{n}.ipynb' for n in pages} | {out / f'{n}.md' for n in (*LANDING, *(f'{p}/index' for p in PACKAGES), 'study/index', 'reference', 'contributing', 'changelog')}
    for old in [p for p in out.rglob('*') if p.suffix in ('.ipynb', '.md') and p not in known]: old.unlink()
    return sorted(known)


if __name__ == '__main__':
    print(f'{len(build(Path(sys.argv[1]).resolve()))} pages')
