"""Heat maps as SVG: a tile per pair of values, its strength by its value, its number where there is room."""

from __future__ import annotations

from collections.abc import Iterator

from allocator.report import shapes
from allocator.report.charts import HeatMap, Tile
from allocator.report.html import Html, el, join
from allocator.report.numbers import Form
from allocator.report.scale import short_form

WIDTH = 460.0
_LEFT, _RIGHT, _TOP = 92.0, 456.0, 36.0
_LOWEST, _HIGHEST = 0.06, 0.55  # strength of a colour: ink on the strongest must still be read
_LETTER = 6.4


def draw(figure: HeatMap) -> Html:
    """The figure with its caption, and a legend of what its colours say."""
    columns, rows = len(figure.columns), len(figure.rows)
    width = (_RIGHT - _LEFT) / max(columns, 1)
    height = max(min(30.0, 420.0 / max(rows, 1)), 7.0)
    known = [v for line in figure.tiles for tile in line if (v := _number(tile)) is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    foot = _TOP + rows * height
    parts: list[Html] = [*_legend(figure.form, low, high)]
    written = all(len(_shown(tile, figure.form)) * _LETTER + 4 <= width for r in figure.tiles for tile in r)
    written = written and height >= 14
    for j, line in enumerate(figure.tiles):
        for k, tile in enumerate(line):
            place = (_LEFT + k * width, _TOP + j * height, width, height)
            parts += _tile(tile, place, _strength(tile, low, high), figure.form, written)
    parts += _names(figure, width, height, foot)
    told = f"{figure.note} Rows are {figure.y_title}, columns {figure.x_title}."
    drawn = shapes.picture((WIDTH, foot + 44), figure.title, told, join(parts))
    return shapes.captioned(figure.title, figure.note, drawn)


def _number(tile: Tile) -> float | None:
    return None if tile.node is None else tile.node.number()


def _shown(tile: Tile, form: Form) -> str:
    value = _number(tile)
    return tile.mark if value is None else form(value)


def _strength(tile: Tile, low: float, high: float) -> tuple[str, float]:
    """Tone and strength: two tones on either side of zero, else from the lowest to the highest value."""
    value = _number(tile)
    if value is None:
        return "none", 1.0
    if low < 0 < high:
        share = abs(value) / max(-low, high)
        return ("second" if value < 0 else "warn"), _LOWEST + (_HIGHEST - _LOWEST) * share
    share = (value - low) / (high - low) if high > low else 0.0
    return "main", _LOWEST + (_HIGHEST - _LOWEST) * share


def _tile(
    tile: Tile,
    place: tuple[float, float, float, float],
    strength: tuple[str, float],
    form: Form,
    written: bool,
) -> Iterator[Html]:
    x, y, width, height = place
    tone, opacity = strength
    shape = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{width:.2f}", "height": f"{height:.2f}"}
    colour = {"class": f"tile tone-{tone}"} | ({"fill-opacity": f"{opacity:.3f}"} if tone != "none" else {})
    exact: dict[str, str] = {}
    if tile.node is not None and tile.node.pointer and not written and tile.node.number() is not None:
        exact = {"data-key": tile.node.pointer, "data-exact": tile.node.exact()}
    yield el("rect", shape | colour | exact, el("title", "", tile.told))
    middle = (x + width / 2, y + height / 2 + 4)
    if tile.node is None:
        if tile.mark and width >= 8 and height >= 8:
            yield shapes.words(*middle, "tick middle", tile.mark)
    elif written:
        yield shapes.number(*middle, tile.node, form, "number middle")


def _names(figure: HeatMap, width: float, height: float, foot: float) -> Iterator[Html]:
    widest = max((len(name) for name in figure.columns), default=1) * _LETTER + 6
    for k in range(0, len(figure.columns), max(1, round(widest / width + 0.49))):
        yield shapes.words(_LEFT + (k + 0.5) * width, foot + 15, "tick middle", figure.columns[k])
    for j in range(0, len(figure.rows), max(1, round(12 / height + 0.49))):
        name = figure.rows[j]
        cut = name if len(name) <= 13 else f"{name[:12]}…"
        yield shapes.words(_LEFT - 6, _TOP + (j + 0.5) * height + 4, "tick end", cut)
    yield shapes.words((_LEFT + _RIGHT) / 2, foot + 34, "tick middle", figure.x_title)
    yield shapes.words(4, _TOP - 7, "tick start", figure.y_title)


def _legend(form: Form, low: float, high: float) -> Iterator[Html]:
    """Five steps from the lowest to the highest value, with both written."""
    left, side = _RIGHT - 190, short_form(form)
    yield shapes.words(left - 6, 14, "tick end", side(_round(low)))
    for k in range(5):
        at = low + (high - low) * k / 4
        if low < 0 < high:
            tone, share = ("second" if at < 0 else "warn"), abs(at) / max(-low, high)
        else:
            tone, share = "main", k / 4
        opacity = f"{_LOWEST + (_HIGHEST - _LOWEST) * share:.3f}"
        x = left + 24 * k
        shape = {"x": f"{x:.1f}", "y": "5", "width": "24", "height": "11"}
        yield el("rect", shape | {"class": f"tile tone-{tone}", "fill-opacity": opacity})
    yield shapes.words(left + 126, 14, "tick start", side(_round(high)))


def _round(value: float) -> float:
    return float(f"{value:.3g}")
