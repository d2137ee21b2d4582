"""Figures as inline SVG: crisp in print, coloured by the page's style, readable to assistive technology."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from allocator.report import chart_svg, heat_svg, interval_svg, shapes
from allocator.report.charts import Curves, HeatMap, Intervals
from allocator.report.figures import Bars, Lines, Series, largest
from allocator.report.html import Html, el, join
from allocator.report.nodes import Node
from allocator.report.numbers import move, shown
from allocator.report.scale import Scale, scale, short_form

Picture = Bars | Lines | Curves | HeatMap | Intervals
_WIDTH = 460.0
_LEFT, _RIGHT, _VALUES = 92.0, 372.0, 456.0  # bars lie between the first two, their values end at the third
_LINE, _GAP, _TOP, _FOOT = 17.0, 9.0, 24.0, 22.0
_PLOT_LEFT, _PLOT_RIGHT, _PLOT_TOP, _PLOT_FOOT, _HEIGHT = 58.0, 450.0, 30.0, 206.0, 246.0
_MOST_BARS = 20
_LONGEST = 12  # letters of a category that fit
_LEFT_WIDE, _LONGEST_WIDE = 178.0, 25  # likewise where some name is longer


def draw(figure: Picture) -> Html:
    """The figure with its title and note; the picture itself carries both for readers that do not see."""
    if isinstance(figure, Curves):
        return chart_svg.draw(figure)
    if isinstance(figure, HeatMap):
        return heat_svg.draw(figure)
    if isinstance(figure, Intervals):
        return interval_svg.draw(figure)
    if isinstance(figure, Bars):
        figure = largest(figure, _MOST_BARS)
    picture, height = _bars(figure) if isinstance(figure, Bars) else _lines(figure)
    drawn = shapes.picture((_WIDTH, height), figure.title, f"{figure.note} {_told(figure)}", picture)
    return shapes.captioned(figure.title, figure.note, drawn)


def _told(figure: Bars | Lines) -> str:
    """The figure in words; lines only by their names, for their numbers stand in the tables."""
    if isinstance(figure, Lines):
        return f"Lines over the {figure.x_title}: {', '.join(series.name for series in figure.series)}."
    return " ".join(
        f"{category}: "
        + ", ".join(f"{series.name} {shown(series.values[k], figure.form)}" for series in figure.series)
        + "."
        for k, category in enumerate(figure.categories)
    )


def _named(series: Sequence[Series]) -> list[tuple[str, str]]:
    return [(one.name, one.tone) for one in series]


def _bars(figure: Bars) -> tuple[Html, float]:
    series = list(figure.series)
    row = _LINE * len(series) + _GAP
    top = _TOP if len(series) > 1 else 4.0
    foot = top + row * len(figure.categories)
    left, letters = _room(figure.categories)
    axis = scale(_extent(figure), (left, _RIGHT), 4)
    parts = [*shapes.legend(_named(series), left)] if len(series) > 1 else []
    for tick in axis.ticks:
        parts.append(shapes.line(axis.at(tick), top, axis.at(tick), foot, "zero" if tick == 0 else "grid"))
        parts.append(shapes.words(axis.at(tick), foot + 15, "tick middle", short_form(figure.form)(tick)))
    for k, category in enumerate(figure.categories):
        y = top + row * k + _GAP / 2
        parts.append(_category(category, letters, left - 8, y + (row - _GAP) / 2 + 4))
        if figure.bands and (band := figure.bands[k]) is not None:
            parts.append(shapes.rect((axis.at(band[0]), axis.at(band[1])), y - 2, row - _GAP + 4, "band"))
        for j, one in enumerate(series):
            parts += _bar(figure, one, k, axis, y + _LINE * j)
    return join(parts), foot + _FOOT


def _room(categories: Sequence[str]) -> tuple[float, int]:
    """Where bars begin, and how many letters fit before them."""
    longest = max(map(len, categories), default=0)
    return (_LEFT, _LONGEST) if longest <= _LONGEST else (_LEFT_WIDE, _LONGEST_WIDE)


def _category(name: str, letters: int, x: float, y: float) -> Html:
    if len(name) <= letters:
        return shapes.words(x, y, "label end", name)
    cut = el("title", "", name)
    shortened = f"{name[: letters - 1]}…"
    return el("text", {"x": f"{x:g}", "y": f"{y:.1f}", "class": "label end"}, cut, shortened)


def _extent(figure: Bars) -> Iterator[float]:
    for series in figure.series:
        for k, node in enumerate(series.values):
            value = node.number() or 0.0
            error = (series.errors[k].number() or 0.0) if series.errors else 0.0
            yield from (value - error, value + error)
    for band in figure.bands:
        yield from band or ()


def _bar(figure: Bars, series: Series, k: int, axis: Scale, y: float) -> Iterator[Html]:
    node = series.values[k]
    value = node.number()
    if value is not None:
        yield shapes.rect((axis.at(0.0), axis.at(value)), y + 2, _LINE - 4, f"tone-{series.tone}")
        if series.errors and (error := series.errors[k].number()) is not None:
            ends = axis.at(value - error), axis.at(value + error)
            for kind in ("halo", "error"):
                yield shapes.line(ends[0], y + _LINE / 2, ends[1], y + _LINE / 2, kind)
    yield shapes.number(_VALUES, y + _LINE / 2 + 4, node, figure.form)


def _lines(figure: Lines) -> tuple[Html, float]:
    known = [
        value for series in figure.series for node in series.values if (value := node.number()) is not None
    ]
    across = scale([node.number() or 0.0 for node in figure.x], (_PLOT_LEFT, _PLOT_RIGHT), 6, tight=True)
    up = scale(known, (_PLOT_FOOT, _PLOT_TOP), 5)
    parts = [*shapes.legend(_named(figure.series), _PLOT_LEFT)]
    for tick in up.ticks:
        y = up.at(tick)
        parts.append(shapes.line(_PLOT_LEFT, y, _PLOT_RIGHT, y, "zero" if tick == 0 else "grid"))
        parts.append(shapes.words(_PLOT_LEFT - 6, y + 4, "tick end", short_form(figure.form)(tick)))
    for tick in across.ticks:
        x = across.at(tick)
        parts.append(shapes.line(x, _PLOT_FOOT, x, _PLOT_FOOT + 4, "grid"))
        parts.append(shapes.words(x, _PLOT_FOOT + 17, "tick middle", short_form(figure.x_form)(tick)))
    middle = (_PLOT_LEFT + _PLOT_RIGHT) / 2
    parts.append(shapes.words(middle, _PLOT_FOOT + 35, "tick middle", figure.x_title))
    parts += [_polyline(figure, series, across, up) for series in figure.series]
    for mark in figure.marks:
        parts += _mark(mark.x, mark.label, across)
    return join(parts), _HEIGHT


def _polyline(figure: Lines, series: Series, across: Scale, up: Scale) -> Html:
    pairs = [(x.number(), y.number()) for x, y in zip(figure.x, series.values, strict=True)]
    points = " ".join(
        f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in pairs if x is not None and y is not None
    )
    return el("polyline", {"points": points, "class": f"line line-{series.tone}"})


def _mark(node: Node, label: str, across: Scale) -> list[Html]:
    """A vertical line with its number, on the side where there is room; beside the picture only words."""
    value = node.number() or 0.0
    outside = not across.low <= value <= across.high
    x = min(max(across.at(value), _PLOT_LEFT), _PLOT_RIGHT)
    side, step = ("end", -5.0) if x > (_PLOT_LEFT + _PLOT_RIGHT) / 2 else ("start", 5.0)
    attributes = {"x": f"{x + step:.1f}", "y": f"{_PLOT_TOP + 12:.1f}", "class": f"value mark-text {side}"}
    exact = {"data-key": node.pointer, "data-value": node.exact()}
    named = shapes.words(
        x + step, _PLOT_TOP + 26, f"mark-text {side}", f"{label}{', beyond' if outside else ''}"
    )
    line = [] if outside else [shapes.line(x, _PLOT_TOP, x, _PLOT_FOOT, "mark")]
    return [*line, el("text", attributes | exact, shown(node, move)), named]
