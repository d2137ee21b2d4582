"""Values with their intervals as SVG: a dot, a whisker, and the line they are to be read against."""

from __future__ import annotations

from collections.abc import Iterator

from allocator.report import shapes
from allocator.report.charts import Interval, Intervals
from allocator.report.html import Html, el, join
from allocator.report.numbers import shown
from allocator.report.scale import Scale, scale, short_form

WIDTH = 460.0
_LEFT, _RIGHT, _VALUES, _ROW, _TOP = 128.0, 312.0, 456.0, 30.0, 6.0
_LETTERS = 18


def draw(figure: Intervals) -> Html:
    """The figure with its caption."""
    foot = _TOP + _ROW * len(figure.rows)
    axis = _axis(figure)
    parts: list[Html] = []
    for tick in axis.ticks:
        parts.append(shapes.line(axis.at(tick), _TOP, axis.at(tick), foot, "grid"))
        parts.append(shapes.words(axis.at(tick), foot + 15, "tick middle", short_form(figure.form)(tick)))
    parts.append(shapes.line(axis.at(figure.reference), _TOP, axis.at(figure.reference), foot, "zero"))
    for k, row in enumerate(figure.rows):
        parts += _row(figure, row, axis, _TOP + _ROW * (k + 0.5))
    told = " ".join([figure.note, *(f"{row.name}: {_words(figure, row)}." for row in figure.rows)])
    drawn = shapes.picture((WIDTH, foot + 24), figure.title, told, join(parts))
    return shapes.captioned(figure.title, figure.note, drawn)


def _axis(figure: Intervals) -> Scale:
    """Over all intervals and the reference, wider by a twentieth."""
    nodes = [node for row in figure.rows for node in (row.value, row.low, row.high) if node is not None]
    found = [figure.reference, *(value for node in nodes if (value := node.number()) is not None)]
    low, high = min(found), max(found)
    margin = 0.05 * (high - low) or 0.5
    return scale([low - margin, high + margin], (_LEFT, _RIGHT), 4, tight=True)


def _words(figure: Intervals, row: Interval) -> str:
    said = shown(row.value, figure.form)
    if row.low is None or row.high is None:
        return said
    return f"{said} ({shown(row.low, figure.form)} to {shown(row.high, figure.form)})"


def _row(figure: Intervals, row: Interval, axis: Scale, y: float) -> Iterator[Html]:
    name = row.name if len(row.name) <= _LETTERS else f"{row.name[: _LETTERS - 1]}…"
    yield el(
        "text",
        {"x": f"{_LEFT - 8:g}", "y": f"{y + 4:.1f}", "class": "label end"},
        el("title", "", row.name),
        name,
    )
    value = row.value.number()
    low = None if row.low is None else row.low.number()
    high = None if row.high is None else row.high.number()
    if low is not None and high is not None:
        yield shapes.line(axis.at(low), y, axis.at(high), y, "whisker")
    if value is not None:
        yield el("circle", {"cx": f"{axis.at(value):.1f}", "cy": f"{y:.1f}", "r": "4", "class": "tone-main"})
    alone = row.low is None or row.high is None
    yield shapes.number(_VALUES, y + (4 if alone else -1), row.value, figure.form)
    if row.low is not None and row.high is not None:
        # One above the other: the value, and the interval in small letters below it.
        yield shapes.words(
            _VALUES, y + 11, "tick end", f"{shown(row.low, figure.form)} to {shown(row.high, figure.form)}"
        )
