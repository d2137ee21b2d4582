"""Curves as SVG: lines with their envelopes, dots, single points, over numbers, powers, times or labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from allocator.report import shapes
from allocator.report.charts import Curve, Curves
from allocator.report.html import Html, el, join
from allocator.report.scale import Scale, log_scale, scale, short_form, short_time, time_scale

WIDTH = 460.0
_LEFT, _RIGHT, _PLOT = 62.0, 450.0, 176.0  # height of the plot itself
_LETTER = 6.0
_FEW = 150  # dots that are drawn larger


def draw(figure: Curves) -> Html:
    """The figure with its caption."""
    names = [(curve.name, curve.tone) for curve in figure.curves if curve.name]
    legend, top = shapes.legend_rows(names, _LEFT, _RIGHT) if names else ([], 4.0)
    top += 10.0
    foot = top + _PLOT
    across, up = _across(figure), _up(figure, (foot, top))
    parts: list[Html] = [*legend, shapes.words(4, top - 6, "tick start", figure.y_title)]
    if figure.y_title and names:
        parts[-1] = shapes.words(_LEFT, top - 2, "tick start", figure.y_title)
        # The axis' title needs a line of its own below the legend.
        top, foot = top + 12, foot + 12
        up = _up(figure, (foot, top))
    parts += _grid(figure, across, up, (top, foot))
    for curve in figure.curves:
        parts += _shade(curve, across, up)
    for curve in figure.curves:
        parts.append(_dots(curve, across, up) if curve.shape == "dots" else _path(curve, across, up))
    for moment in figure.moments:
        parts += _moment(moment.x, moment.name, across, (top, foot))
    parts += _spots(figure, across, up)
    told = f"{figure.note} {figure.y_title} over {figure.x_title}: {', '.join(name for name, _ in names)}."
    drawn = shapes.picture((WIDTH, foot + 42), figure.title, told, join(parts))
    return shapes.captioned(figure.title, figure.note, drawn)


def _across(figure: Curves) -> Scale:
    found = [x for curve in figure.curves for x in curve.x]
    found += [x for spot in figure.spots if (x := spot.x.number()) is not None]
    found = found or [0.0, 1.0]
    places = (_LEFT, _RIGHT)
    if figure.kind == "time":
        return time_scale(min(found), max(found), places, 5)
    if figure.kind == "log":
        return log_scale(found, places, 7)
    if figure.kind == "label":
        count = len(figure.labels)
        return Scale(-0.5, count - 0.5, *places, tuple(map(float, range(count))))
    return scale(found, places, 6, tight=True)


def _up(figure: Curves, places: tuple[float, float]) -> Scale:
    found = [y for curve in figure.curves for y in (*curve.y, *curve.low, *curve.high) if math.isfinite(y)]
    found += [y for spot in figure.spots if (y := spot.y.number()) is not None]
    if not figure.zero and found and (span := max(found) - min(found)) > 0:
        low, high = min(found) - 0.04 * span, max(found) + 0.04 * span
        return scale([low, high], places, 5, tight=True)
    return scale(found, places, 5)


def _grid(figure: Curves, across: Scale, up: Scale, between: tuple[float, float]) -> Iterator[Html]:
    foot = between[1]
    for tick in up.ticks:
        y = up.at(tick)
        yield shapes.line(_LEFT, y, _RIGHT, y, "zero" if tick == 0 else "grid")
        yield shapes.words(_LEFT - 6, y + 4, "tick end", short_form(figure.form)(tick))
    write = short_time(across) if figure.kind == "time" else short_form(figure.x_form)
    names = figure.labels if figure.kind == "label" else [write(tick) for tick in across.ticks]
    widest = max(map(len, names), default=1) * _LETTER
    every = max(1, math.ceil(widest * len(names) / (_RIGHT - _LEFT)))
    letters = int((_RIGHT - _LEFT) / max(min(len(names), 8), 1) / _LETTER)
    if figure.kind == "label" and len(names) <= 8:
        every, names = 1, [name if len(name) <= letters else f"{name[: letters - 1]}…" for name in names]
    for tick, name in list(zip(across.ticks, names, strict=True))[::every]:
        x = across.at(tick)
        yield shapes.line(x, foot, x, foot + 4, "grid")
        last = x + len(name) * _LETTER / 2 > WIDTH
        yield shapes.words(WIDTH - 2 if last else x, foot + 17, f"tick {'end' if last else 'middle'}", name)
    yield shapes.words((_LEFT + _RIGHT) / 2, foot + 35, "tick middle", figure.x_title)


def _runs(curve: Curve, values: Sequence[float]) -> Iterator[list[tuple[float, float]]]:
    """Stretches of known values."""
    found: list[tuple[float, float]] = []
    for x, y in zip(curve.x, values, strict=True):
        if math.isfinite(y):
            found.append((x, y))
        elif found:
            yield found
            found = []
    if found:
        yield found


def _path(curve: Curve, across: Scale, up: Scale) -> Html:
    """A line; where there is but one known value, a dot."""
    said = []
    for run in _runs(curve, curve.y):
        places = [f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in run]
        said.append("M" + (" ".join(places) if len(places) > 1 else f"{places[0]}h0.01"))
    return el("path", {"d": "".join(said), "class": f"line line-{curve.tone}"})


def _shade(curve: Curve, across: Scale, up: Scale) -> Iterator[Html]:
    if not len(curve.low):
        return
    if curve.shape == "dots":
        for x, low, high in zip(curve.x, curve.low, curve.high, strict=True):
            if math.isfinite(low) and math.isfinite(high):
                yield shapes.line(
                    across.at(x), up.at(low), across.at(x), up.at(high), f"span line-{curve.tone}"
                )
        return
    highs, lows = list(_runs(curve, curve.high)), list(_runs(curve, curve.low))
    for above, below in zip(highs, lows, strict=True):
        places = [f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in (*above, *reversed(below))]
        yield el("path", {"d": f"M{' '.join(places)}Z", "class": f"shade tone-{curve.tone}"})


def _dots(curve: Curve, across: Scale, up: Scale) -> Html:
    """All dots as one path; those that fall on one half of a pixel are one."""
    places = {
        f"M{round(across.at(x) * 2) / 2:g},{round(up.at(y) * 2) / 2:g}h0.01"
        for x, y in zip(curve.x, curve.y, strict=True)
        if math.isfinite(x) and math.isfinite(y)
    }
    kind = "dots few" if len(places) <= _FEW else "dots"
    return el("path", {"d": "".join(sorted(places)), "class": f"{kind} line-{curve.tone}"})


def _moment(x: float, name: str, across: Scale, between: tuple[float, float]) -> Iterator[Html]:
    top, foot = between
    place = min(max(across.at(x), _LEFT), _RIGHT)
    side, step = ("end", -4.0) if place > (_LEFT + _RIGHT) / 2 else ("start", 4.0)
    yield shapes.line(place, top, place, foot, "mark")
    if name:
        yield shapes.words(place + step, top + 11, f"mark-text {side}", name)


def _spots(figure: Curves, across: Scale, up: Scale) -> Iterator[Html]:
    """Points with their names; a name moves down where another is in its way."""
    taken: list[tuple[float, float, float]] = []
    for spot in sorted(figure.spots, key=lambda spot: -(spot.y.number() or 0.0)):
        x, y = spot.x.number(), spot.y.number()
        if x is None or y is None:
            continue
        place = across.at(x), up.at(y)
        left = place[0] > (_LEFT + _RIGHT) * 0.6
        width = shapes.LETTER * len(spot.name)
        start = place[0] - 8 - width if left else place[0] + 8
        height = place[1] + 4
        while any(abs(height - h) < 12 and start < end and begin < start + width for begin, end, h in taken):
            height += 12
        taken.append((start, start + width, height))
        said = f"{spot.name}: {figure.x_form(x)}, {figure.form(y)}"
        circle = {"cx": f"{place[0]:.1f}", "cy": f"{place[1]:.1f}", "r": "4.5"}
        yield el("circle", circle | {"class": f"spot tone-{spot.tone}"}, el("title", "", said))
        side, step = ("end", -8.0) if left else ("start", 8.0)
        yield shapes.words(place[0] + step, height, f"legend {side}", spot.name)
