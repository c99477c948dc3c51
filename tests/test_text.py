"Names from outside are shown, not interpreted, wherever they go."
import re

import pytest
from xlt.common.text import for_html, for_markdown, for_spreadsheet, from_spreadsheet

NAMES = ['<img src=x onerror=alert(1)>', '[a](javascript:b)', '![a](http://x/y.png)', '**b** _c_ `d`', '$x$ and $$y$$', '# head', 'a | b', '> quote\n\n# head', '</script><script>', "x' onmouseover='y", '\\<b>', '&lt;b&gt;', 'a\\']


@pytest.mark.parametrize('name', NAMES)
def test_markdown_shows_a_name_as_it_is(name):
    from nbconvert.filters import markdown2html
    page = markdown2html(f'- **Study** {for_markdown(name)}: 5 scores.')
    assert set(re.findall(r'<\s*(\w+)', page)) <= {'ul', 'li', 'p', 'strong'}
    shown = re.sub(r'<[^>]+>', '', page)
    for entity, sign in (('&lt;', '<'), ('&gt;', '>'), ('&quot;', '"'), ('&#39;', "'"), ('&amp;', '&')): shown = shown.replace(entity, sign)
    assert ' '.join(name.split()) in shown


@pytest.mark.parametrize('name', NAMES)
def test_html_shows_a_name_as_it_is(name):
    from html.parser import HTMLParser
    class Reader(HTMLParser):
        found, inside = [], []
        def handle_starttag(self, tag, attributes): self.found.append((tag, dict(attributes)))
        def handle_data(self, data): self.inside.append(data)
    reader = Reader()
    reader.found, reader.inside = [], []
    reader.feed(f'<p title="{for_html(name)}">{for_html(name)}</p>')
    assert reader.found == [('p', {'title': name})] and ''.join(reader.inside) == name


def test_a_spreadsheet_executes_nothing():
    assert [for_spreadsheet(c) for c in ('=1', '+1', '-x', '@S', '\tx', 'a=b', '', "'=1")] == ["'=1", "'+1", "'-x", "'@S", "'\tx", 'a=b', '', "'=1"]
    for cell in ('=1', '＝1', '\n=1', 'a', "'a", "''=1", ''): assert from_spreadsheet(for_spreadsheet(cell)) == cell
