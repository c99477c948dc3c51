"Figures can be drawn of every kind of analysis, and are saved the same way twice."
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from xlt.reporting import figures
from xlt.stats.analysis import analyse
from xlt.stats.degradation import check_scores
from xlt.languages.measures import languages, resource
from xlt.stats.simulation import simulate


def draw(analysis): return figures.gallery(analysis, 'cc100_gib')


def study(n=39, **truth):
    codes = ['en', *resource().drop('en').sort_values().index[::39 // n][:n]]
    return analyse(check_scores(simulate(slope=1, **truth).query('language in @codes')), resource(), facts=languages())


@pytest.fixture(scope='module')
def drawn(): return draw(study())


@pytest.mark.parametrize('n', [3, 4, 9])
def test_small_studies_can_be_drawn(n):
    for fig in draw(study(n)).values():
        assert isinstance(fig, Figure)
        fig.draw_without_rendering()


def test_every_figure_has_units_and_says_n(drawn):
    for name, fig in drawn.items():
        ax = fig.axes[0]
        text = ' '.join([ax.get_title(loc='left'), *(t.get_text() for t in ax.texts)])
        assert ('n = ' in text or 'languages' in text or 'specifications' in text), name
        assert fig.axes[0].get_ylabel() or name == 'forest', name
        assert any(unit in a.get_xlabel() + a.get_ylabel() for a in fig.axes for unit in ('points', 'score', 's.d.')), name


def test_every_language_is_labelled_once_and_no_label_hides_another(drawn):
    fig = drawn['resource']
    fig.draw_without_rendering()
    texts = fig.axes[0].texts
    assert sorted(t.get_text() for t in texts) == sorted(resource().drop('en').index)
    boxes = [t.get_window_extent(fig.canvas.get_renderer()).extents for t in texts]
    covered = [figures.overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert np.count_nonzero(np.array(covered) > 5) <= 2


def test_saved_twice_the_same(drawn, tmp_path):
    stamp = figures.stamp('s', [0, 1], 'abcdef0123456789', True)
    assert stamp == 's · seeds 0, 1 · commit abcdef0123, changed'
    first = {p: p.read_bytes() for p in figures.save(drawn['forest'], tmp_path, 'forest', stamp)}
    assert sorted(p.suffix for p in first) == ['.png', '.svg'] and stamp in next(v.decode() for p, v in first.items() if p.suffix == '.svg')
    assert first == {p: p.read_bytes() for p in figures.save(draw(study())['forest'], tmp_path, 'forest', stamp)}


def test_importing_and_drawing_change_nobody_elses_figures(drawn):
    import matplotlib
    before = dict(matplotlib.rcParams)
    draw(study(9))
    assert dict(matplotlib.rcParams) == before


def test_names_with_a_dollar_sign_are_drawn_as_they_are(tmp_path):
    "Matplotlib takes an even number of them for formulas; names are no formulas."
    names = {'intermediate': {'anli_plus': 'm$n$li^_'}, 'target': {'panx': r'x$\frac{$'}, 'language': {'sw': '$s$w^{'}}
    scores = check_scores(simulate(slope=1, tasks=1).replace(names).assign(study='a$b$_{'))
    assert {'m$n$li^_'} < set(scores.intermediate) and r'x$\frac{$' in set(scores.target)
    measure = resource().rename('$r$ and $')
    found = analyse(scores, measure.rename(index={'sw': '$s$w^{'}))
    drawn = figures.gallery(found, measure.name)
    for picture in drawn.values(): assert picture._repr_png_()
    written = figures.save_all(drawn, tmp_path, figures.stamp(found['study'], found['seeds'], None))
    shown = re.sub('<!--.*?-->', '', ''.join(p.read_text() for p in written if p.suffix == '.svg'), flags=re.DOTALL)
    for name in ('a$b$_{', 'm$n$li^_', r'x$\frac{$', '$s$w^{', '$r$ and $'): assert name in shown
