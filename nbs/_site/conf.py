"Sphinx's configuration: the pages come from pages.py, names and addresses from settings.ini."
import ast
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from docutils.nodes import SkipNode  # noqa: E402
from sphinx.util import logging  # noqa: E402
from docutils.utils.math import MathError  # noqa: E402
from docutils.utils.math.latex2mathml import tex2mathml  # noqa: E402

from pages import BLOB, REPO, SETTINGS, patched  # noqa: E402

project, author, copyright, release = SETTINGS['title'], SETTINGS['author'], SETTINGS['copyright'], SETTINGS['version']
extensions = ['myst_nb', 'sphinx.ext.linkcode', 'sphinx.ext.githubpages']
templates_path, exclude_patterns = [], ['files']

nb_execution_mode = 'off'  # what a page shows is what its notebook holds
nb_merge_streams = True
nb_ipywidgets_js = {}  # nothing from elsewhere
myst_enable_extensions = ['colon_fence', 'fieldlist', 'dollarmath']
myst_heading_anchors = 4
add_module_names = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
python_display_short_literal_types = True
toc_object_entries_show_parents = 'hide'
language = 'en'

html_theme = 'furo'
html_title = 'xlt'
html_baseurl = SETTINGS['doc_host'] + SETTINGS['doc_baseurl'] + '/'
html_static_path = [str(HERE / 'static')]
html_css_files = ['site.css']
html_search_scorer = str(HERE / 'scorer.js')  # pages before functions
html_favicon = str(HERE / 'static' / 'icon.svg')
html_domain_indices = html_show_sourcelink = html_copy_source = html_show_sphinx = False
html_theme_options = {'footer_icons': [{'name': 'GitHub', 'url': SETTINGS['git_url'], 'html': 'source'}]}
html_math_renderer = 'mathml'  # browsers draw it; a script would come from elsewhere


def lines() -> dict:
    "Where every definition stands: (module, name) → its first and last line."
    found = {}
    for path in (REPO / 'xlt').glob('*/[!_]*.py'):
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            inside = node.body if isinstance(node, ast.ClassDef) else []
            for prefix, nodes in (('', [node]), (f'{getattr(node, "name", "")}.', inside)):
                for n in nodes:
                    name = getattr(n, 'name', None) or (n.targets[0].id if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name) else None)
                    if owner := patched(n): name = f'{owner}.{name}'
                    if name: found[f'xlt.{path.parent.name}.{path.stem}', prefix + name] = n.lineno, n.end_lineno
    return found


LINES = lines()


def linkcode_resolve(domain: str, info: dict) -> str | None:
    "The address of a definition's source."
    at = LINES.get((info['module'], info['fullname']))
    return at and f'{BLOB}/{info["module"].replace(".", "/")}.py#L{at[0]}-L{at[1]}'


def draw_math(translator, node) -> None:
    "Put a formula as MathML."
    tex = node.astext().replace(r'\dots', r'\ldots')
    try: translator.body.append(tex2mathml(tex, as_block=node.tagname == 'math_block'))
    except MathError as e: logging.getLogger(__name__).warning('%s: %s in %s', node.document['source'] if node.document else '', e, tex)
    raise SkipNode


def keep_pages(app, failed) -> None:
    "Put pages of their own, such as an explorer, and a report's tables and figures where the links to them lead."
    if failed: return
    for page in Path(app.srcdir).glob('files/*'):
        (Path(app.outdir) / 'files').mkdir(exist_ok=True)
        shutil.copyfile(page, Path(app.outdir) / 'files' / page.name)


def setup(app) -> None:
    "Register the formulas' renderer, and what is left to do at the end."
    app.connect('build-finished', keep_pages)
    app.add_html_math_renderer('mathml', (draw_math, None), (draw_math, None))
