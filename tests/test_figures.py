"Figures can be drawn of every kind of analysis, and are saved the same way twice."
import numpy as np
import pytest
from matplotlib.figure import Figure
from xlt import figures
from xlt.analysis import analyse
from xlt.degradation import check_scores
from xlt.languages import languages, resource
from xlt.simulation import simulate


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
