"""Figures as inline SVG: crisp in print, coloured by the page's style, readable to assistive technology."""

from __future__ import annotations

from collections.abc import Iterator

from allocator.report.figures import Bars, Figure, Lines, Series, largest
from allocator.report.html import Content, Html, el, join
from allocator.report.nodes import Node
from allocator.report.numbers import Form, dollars, move, shown
from allocator.report.scale import Scale, scale, short_dollars, short_percent

_WIDTH = 460.0
_LEFT, _RIGHT, _VALUES = 92.0, 372.0, 456.0  # bars lie between the first two, their values end at the third
_LINE, _GAP, _TOP, _FOOT = 17.0, 9.0, 24.0, 22.0
_PLOT_LEFT, _PLOT_RIGHT, _PLOT_TOP, _PLOT_FOOT, _HEIGHT = 58.0, 450.0, 30.0, 206.0, 246.0
_MOST_BARS = 20
_LONGEST = 13  # letters of a category that fit


def draw(figure: Figure) -> Html:
    """The figure with its title and note; the picture itself carries both for readers that do not see."""
    if isinstance(figure, Bars):
        figure = largest(figure, _MOST_BARS)
    picture, height = _bars(figure) if isinstance(figure, Bars) else _lines(figure)
    said = el("title", "", figure.title), el("desc", "", f"{figure.note} {_told(figure)}")
    attributes = {"viewBox": f"0 0 {_WIDTH:g} {height:g}", "role": "img", "class": "chart"}
    caption = el("figcaption", "", el("b", "", figure.title), " ", el("span", "", figure.note))
    return el("figure", "", caption, el("svg", attributes, *said, picture))


def _told(figure: Figure) -> str:
    """The figure in words; lines only by their names, for their numbers stand in the tables."""
    if isinstance(figure, Lines):
        return f"Lines over the {figure.x_title}: {', '.join(series.name for series in figure.series)}."
    return " ".join(
        f"{category}: "
        + ", ".join(f"{series.name} {shown(series.values[k], figure.form)}" for series in figure.series)
        + "."
        for k, category in enumerate(figure.categories)
    )


def _text(x: float, y: float, kind: str, content: Content) -> Html:
    return el("text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "class": kind}, content)


def _value(x: float, y: float, node: Node, form: Form) -> Html:
    """A number's own text, with its exact value."""
    attributes = {"x": f"{x:.1f}", "y": f"{y:.1f}", "class": "value", "data-key": node.pointer}
    exact = {} if node.number() is None else {"data-value": node.exact()}
    return el("text", attributes | exact, shown(node, form))


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    places = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return el("line", {name: f"{place:.1f}" for name, place in places.items()} | {"class": kind})


def _rect(x: tuple[float, float], y: float, height: float, kind: str) -> Html:
    left, right = min(x), max(x)
    places = {"x": left, "y": y, "width": right - left, "height": height}
    return el("rect", {name: f"{place:.1f}" for name, place in places.items()} | {"class": kind})


def _legend(series: list[Series], x: float) -> Iterator[Html]:
    for one in series:
        yield _rect((x, x + 10), 5, 10, f"tone-{one.tone}")
        yield _text(x + 15, 14, "legend", one.name)
        x += 30 + 6.6 * len(one.name)


def _short(form: Form) -> Form:
    return short_dollars if form is dollars else short_percent


def _bars(figure: Bars) -> tuple[Html, float]:
    series = list(figure.series)
    row = _LINE * len(series) + _GAP
    top = _TOP if len(series) > 1 else 4.0
    foot = top + row * len(figure.categories)
    axis = scale(_extent(figure), (_LEFT, _RIGHT), 4)
    parts = [*_legend(series, _LEFT)] if len(series) > 1 else []
    for tick in axis.ticks:
        parts.append(_line(axis.at(tick), top, axis.at(tick), foot, "zero" if tick == 0 else "grid"))
        parts.append(_text(axis.at(tick), foot + 15, "tick middle", _short(figure.form)(tick)))
    for k, category in enumerate(figure.categories):
        y = top + row * k + _GAP / 2
        parts.append(_category(category, y + (row - _GAP) / 2 + 4))
        if figure.bands and (band := figure.bands[k]) is not None:
            parts.append(_rect((axis.at(band[0]), axis.at(band[1])), y - 2, row - _GAP + 4, "band"))
        for j, one in enumerate(series):
            parts += _bar(figure, one, k, axis, y + _LINE * j)
    return join(parts), foot + _FOOT


def _category(name: str, y: float) -> Html:
    if len(name) <= _LONGEST:
        return _text(_LEFT - 8, y, "label end", name)
    cut = el("title", "", name)
    return el("text", {"x": f"{_LEFT - 8:g}", "y": f"{y:.1f}", "class": "label end"}, cut, f"{name[:12]}…")


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
        yield _rect((axis.at(0.0), axis.at(value)), y + 2, _LINE - 4, f"tone-{series.tone}")
        if series.errors and (error := series.errors[k].number()) is not None:
            ends = axis.at(value - error), axis.at(value + error)
            for kind in ("halo", "error"):
                yield _line(ends[0], y + _LINE / 2, ends[1], y + _LINE / 2, kind)
    yield _value(_VALUES, y + _LINE / 2 + 4, node, figure.form)


def _lines(figure: Lines) -> tuple[Html, float]:
    known = [
        value for series in figure.series for node in series.values if (value := node.number()) is not None
    ]
    across = scale([node.number() or 0.0 for node in figure.x], (_PLOT_LEFT, _PLOT_RIGHT), 6, tight=True)
    up = scale(known, (_PLOT_FOOT, _PLOT_TOP), 5)
    parts = [*_legend(list(figure.series), _PLOT_LEFT)]
    for tick in up.ticks:
        y = up.at(tick)
        parts.append(_line(_PLOT_LEFT, y, _PLOT_RIGHT, y, "zero" if tick == 0 else "grid"))
        parts.append(_text(_PLOT_LEFT - 6, y + 4, "tick end", _short(figure.form)(tick)))
    for tick in across.ticks:
        x = across.at(tick)
        parts.append(_line(x, _PLOT_FOOT, x, _PLOT_FOOT + 4, "grid"))
        parts.append(_text(x, _PLOT_FOOT + 17, "tick middle", _short(figure.x_form)(tick)))
    middle = (_PLOT_LEFT + _PLOT_RIGHT) / 2
    parts.append(_text(middle, _PLOT_FOOT + 35, "tick middle", figure.x_title))
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
    named = _text(x + step, _PLOT_TOP + 26, f"mark-text {side}", f"{label}{', beyond' if outside else ''}")
    line = [] if outside else [_line(x, _PLOT_TOP, x, _PLOT_FOOT, "mark")]
    return [*line, el("text", attributes | exact, shown(node, move)), named]
