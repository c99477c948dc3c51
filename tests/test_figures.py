"Figures can be drawn of every kind of analysis, and are saved the same way twice."
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from xlt.reporting import drawing, figures, language_figures
from xlt.reporting.comparison_figures import forest_rows, heat_map
from xlt.stats.analysis import analyse_scores
from xlt.stats.scores import check_scores
from xlt.languages.measures import language_table, resource
from xlt.stats.simulation import simulate


def draw(analysis): return figures.gallery(analysis, 'cc100_gib')


def study(n=39, **truth):
    codes = ['en', *resource().drop('en').sort_values().index[::39 // n][:n]]
    return analyse_scores(check_scores(simulate(slope=1, **truth).query('language in @codes')), resource(), facts=language_table())


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
        assert re.search(r'n = \d|\d languages|[\d,]+ specifications', text), (name, text)
        assert fig.axes[0].get_ylabel() or name in ('targets', 'intermediates', 'families'), name
        assert any(unit in text + a.get_xlabel() + a.get_ylabel() for a in fig.axes for unit in ('points', 'score', 's.d.')), name


def test_every_language_is_labelled_once_and_no_label_hides_another(drawn):
    fig = drawn['resource']
    fig.draw_without_rendering()
    texts = fig.axes[0].texts
    assert sorted(t.get_text() for t in texts) == sorted(resource().drop('en').index)
    boxes = [t.get_window_extent(fig.canvas.get_renderer()).extents for t in texts]
    covered = [drawing.overlap_area(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert np.count_nonzero(np.array(covered) > 5) <= 2


def test_where_languages_without_text_crowd_their_labels_are_left_out():
    rng = np.random.default_rng(0)
    size = pd.Series([0.] * 60 + list(np.geomspace(.1, 100, 30)), [f'l{n}' for n in range(90)])
    languages = pd.DataFrame(dict(resource=size, effect=rng.normal(size=90), group=['unseen'] * 60 + ['low'] * 10 + ['middle'] * 10 + ['high'] * 10))
    fig = language_figures.against_resource(languages)
    fig.draw_without_rendering()
    left = [t for t in fig.axes[0].texts if size[t.get_text()] == 0]
    boxes = [t.get_window_extent(fig.canvas.get_renderer()).extents for t in fig.axes[0].texts]
    mine = [t.get_window_extent(fig.canvas.get_renderer()).extents for t in left]
    assert 5 < len(left) < 60 and max(drawing.overlap_area(a, b) for a in mine for b in boxes if list(a) != list(b)) < 20


def test_a_long_name_is_shown_up_to_its_parenthesis():
    names = pd.DataFrame(dict(name=['Berber (collective, Tatoeba)', 'Swahili', 'A name that has far too many letters']), ['ber', 'sw', 'xx'])
    assert drawing.language_labels(names) == ['Berber (ber)', 'Swahili (sw)', 'xx']


def test_saved_twice_the_same(drawn, tmp_path):
    stamp = drawing.figure_stamp('s', [0, 1], 'abcdef0123456789', True)
    assert stamp == 's · seeds 0, 1 · commit abcdef0123, changed'
    first = {p: p.read_bytes() for p in drawing.save_figure(drawn['targets'], tmp_path, 'targets', stamp)}
    assert sorted(p.suffix for p in first) == ['.png', '.svg'] and stamp in next(v.decode() for p, v in first.items() if p.suffix == '.svg')
    assert first == {p: p.read_bytes() for p in drawing.save_figure(draw(study())['targets'], tmp_path, 'targets', stamp)}


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
    found = analyse_scores(scores, measure.rename(index={'sw': '$s$w^{'}))
    drawn = figures.gallery(found, measure.name)
    for picture in drawn.values(): assert picture.svg()
    written = figures.save_all(drawn, tmp_path, drawing.figure_stamp(found['study'], found['seeds'], None))
    shown = re.sub('<!--.*?-->', '', ''.join(p.read_text() for p in written if p.suffix == '.svg'), flags=re.DOTALL)
    for name in ('a$b$_{', 'm$n$li^_', r'x$\frac{$', '$s$w^{', '$r$ and $'): assert name in shown


def test_an_axis_that_compares_groups_says_which_way_is_which(drawn):
    for name in ('targets', 'intermediates', 'permutation'):
        label = drawn[name].axes[0].get_xlabel()
        assert '← low-resource languages lost less' in label and 'low-resource languages lost more →' in label, name
    for name, label in (('resource', drawn['resource'].axes[0].get_ylabel()), ('families', drawn['families'].axes[0].get_xlabel()), ('specifications', drawn['specifications'].axes[0].get_ylabel())):
        assert '← lost less' in label and 'lost more →' in label, name
    assert 'red, positive: low-resource languages lost more' in drawn['cells'].axes[0].get_title('left')


def test_marks_and_greys_are_explained_where_they_are(drawn):
    assert '•' in drawn['cells'].axes[0].get_xlabel() and 'grey' in drawn['cells'].axes[0].get_xlabel()
    cells = pd.DataFrame([dict(intermediate=i, target=t, estimate=e, p_value_bh=1.) for i, t, e in [('mnli', 'panx', 1.), ('mnli', 'xquad', None), ('qqp', 'panx', -1.)]])
    partly, whole = (heat_map(part).axes[0] for part in (cells, cells[cells.target == 'panx']))
    assert 'n = 2 of 3 cells tested' in partly.get_title('left') and 'not tested' in partly.get_xlabel()
    assert 'n = 2 cells tested' in whole.get_title('left') and 'grey' not in whole.get_xlabel()
    legend = ' '.join(t.get_text() for t in drawn['resource'].axes[0].get_legend().get_texts())
    assert 'without any text: Yoruba (yo)' in legend


def test_an_axis_holds_one_quantity(drawn):
    rows = forest_rows(study())
    assert {'target task', 'intermediate task', 'family', 'script'} < set(rows.part)
    for name, parts in (('targets', {'all', 'target task'}), ('intermediates', {'all', 'intermediate task'}), ('families', {'family', 'script'})):
        shown = [t.get_text() for t in drawn[name].axes[0].get_yticklabels()]
        assert shown == list(rows[rows.part.isin(parts) & rows.estimate.notna() & (rows.n > 1)].name), name


def test_intervals_of_languages_are_drawn_where_they_are_known():
    found = study(9)
    half = pd.Series({row['language']: 1.5 for row in found['per_language']})
    for name in ('resource', 'dumbbells'):
        legends = [[t.get_text() for t in figures.gallery(found, 'cc100_gib', known)[name].axes[0].get_legend().get_texts()] for known in (half, None)]
        assert any('interval' in text for text in legends[0]) and not any('interval over' in text.replace('\n', ' ') for text in legends[1]), name
        assert any('interval over seeds' in text.replace('\n', ' ') for text in [t.get_text() for t in figures.gallery(found, 'cc100_gib', half.rename('seeds'))[name].axes[0].get_legend().get_texts()]), name


def test_alternative_texts_say_what_is_seen(drawn):
    found = study()
    told = {name: repr(fig) for name, fig in drawn.items()}
    assert all(len(text) > 60 and re.search(r'\d', text) for text in told.values())
    assert f'{found["primary"]["estimate"]:.2f}' in told['targets'] and f'{found["primary"]["estimate"]:.2f}' in told['permutation']
    worst = max(found['per_language'], key=lambda row: row['effect'])
    assert f'Most was lost by {worst["name"]} ({worst["language"]})' in told['resource']
    cells = [c for c in found['cells'] if c['estimate'] is not None]
    most = max(cells, key=lambda c: c['estimate'])
    assert f'{most["intermediate"]} × {most["target"]}, {most["estimate"]:.1f}' in told['cells']


def test_a_dark_screen_gets_other_colours_for_ink_and_paper(drawn):
    for name, fig in drawn.items():
        svg, data = fig.svg(), fig._repr_mimebundle_()
        dark = re.search(r'<style>@media \(prefers-color-scheme: dark\)(.*?)</style>', svg)[1]
        for light in set(re.findall(r'(?:fill|stroke): (#262626|#303030|#ffffff)', svg)): assert f'{light}"]' in dark, (name, light)
        assert data[1]['image/svg+xml']['alt'] == repr(fig)


def test_numbers_on_the_heat_map_can_be_read_on_a_dark_screen_too(drawn):
    "They stand on their cells, whose colours stay: so they must not be among the colours that change."
    assert {t.get_color() for t in drawn['cells'].axes[0].texts}.isdisjoint(drawing.DARK)


def test_every_picture_of_a_report_is_signed(drawn):
    signed = figures.gallery(study(9), 'cc100_gib', made_by='s · seed 0 · commit abc')
    assert all([t.get_text() for t in fig.texts] == ['s · seed 0 · commit abc'] for fig in signed.values())


def test_groups_differ_in_grey(drawn):
    "By their markers, which no printer takes away."
    assert len({marker for _, marker, _ in drawing.GROUP_STYLES.values()}) == len(drawing.GROUP_STYLES) > 2
