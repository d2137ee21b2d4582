"""Points of a convex trade-off, evenly spaced by the length of the curve between its two ends.

Ends first: the least of either quantity, with the least of the other that it allows. Then rounds of bounds,
each placed by interpolating the polyline of all points known so far, until neighbours are equally far apart
along it, with both axes scaled to the distance between the ends.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from allocator.frontiers.programs import TIE, Ask, Found
from allocator.frontiers.quantities import Axes
from models.arrays import Vector

EVEN = 0.02  # of the distance of neighbours: how far a point may be from its place
_ROUNDS = 12
_SAME = 1e-7  # of the range: points closer than this are one
_HALVINGS = 40

Solve = Callable[[Ask], Found]
Try = Callable[[Ask], Found | None]


@dataclass(frozen=True)
class Curve:
    """Points in the order of the bounded quantity, and the bounds at which no answer was found."""

    points: tuple[Found, ...]
    failed: tuple[float, ...]


def ends(axes: Axes, solve: Solve, attempt: Try) -> tuple[Found, Found]:
    """The two ends: least of the bounded quantity, and least of the minimised one. Raises `Infeasible`."""
    free = solve(Ask(axes.minimised, None))
    if not np.isfinite(free.values[axes.bounded]):
        free = solve(Ask(axes.minimised, 1.0))  # margin without equity: all of the equity is the most
    if axes.bounded == "volatility":
        tight = solve(Ask("volatility", None))
    else:
        tight = _least(axes, free, attempt, lambda found: True)
    q, y = axes.bounded, axes.minimised
    near = free.scale_usd * TIE if y != "volatility" else free.values[y] * TIE
    most, span = free.values[y] + near, free.values[q] - tight.values[q]
    shorter = attempt(Ask(y, free.values[q] - 1e-3 * span)) if span > 0 else None
    if shorter is not None and shorter.values[y] <= most:
        # The curve is flat there: what asks for more of one and gains nothing of the other is no end.
        free = _least(axes, shorter, attempt, lambda found: found.values[y] <= most)
    return tight, free


def _least(axes: Axes, known: Found, attempt: Try, accepted: Callable[[Found], bool]) -> Found:
    """The answer under the smallest bound whose answer is accepted, by bisection below a known one."""
    least, best = 0.0, known
    top = known.values[axes.bounded]
    bound = least
    for _ in range(_HALVINGS):
        found = attempt(Ask(axes.minimised, bound))
        if found is not None and accepted(found):
            best = found
        else:
            least = bound
        high = min(best.values[axes.bounded], best.ask.bound if best.ask.bound is not None else np.inf)
        if high - least <= _SAME * top:
            break
        bound = (least + high) / 2
    return best


def spaced(axes: Axes, low: Found, high: Found, count: int, attempt: Try) -> Curve:
    """`count` points from `low` to `high`, evenly spaced; one point where both ends are the same."""
    q = axes.bounded
    span = np.array([high.values[n] - low.values[n] for n in (q, axes.minimised)])
    scale = np.array([max(abs(low.values[n]), abs(high.values[n])) for n in (q, axes.minimised)])
    if span[0] <= _SAME * scale[0] or span[1] >= -_SAME * scale[1]:
        return Curve((high,), ())
    known, failed, tried = [low, high], [], set[float]()
    wanted = np.linspace(low.values[q], high.values[q], count)[1:-1].tolist()
    for turn in range(_ROUNDS):
        for bound in wanted:
            tried.add(bound)
            found = attempt(Ask(axes.minimised, bound))
            if found is None:
                failed.append(bound)
            else:
                _insert(known, found, axes, span)
        lengths = arc(axes, known, span)
        places = np.linspace(0.0, lengths[-1], count)
        nearest = [int(np.argmin(np.abs(lengths - place))) for place in places]
        step = places[1]
        off = [
            place for place, k in zip(places, nearest, strict=True) if abs(lengths[k] - place) > EVEN * step
        ]
        wanted = [b for b in _bounds(axes, known, span, lengths, off, turn % 2 == 0) if b not in tried]
        if not wanted:
            break
    chosen = dict.fromkeys(nearest)
    return Curve(tuple(known[k] for k in chosen), tuple(failed))


def _bounds(
    axes: Axes, known: Sequence[Found], span: Vector, lengths: Vector, places: Sequence[float], bent: bool
) -> list[float]:
    """Bounds whose answers should lie at these places, each between two known points.

    Near its steep end a curve is like a square root: with `bent` a place is looked for on such a one, else on
    the chord. Taken in turn they close in from both sides.
    """
    found = []
    for place in places:
        k = min(max(int(np.searchsorted(lengths, place)), 1), len(known) - 1)
        left, right = known[k - 1].values, known[k].values
        share = (place - lengths[k - 1]) / (lengths[k] - lengths[k - 1])
        across, down = (
            (right[n] - left[n]) / s for n, s in zip((axes.bounded, axes.minimised), span, strict=True)
        )
        power = 2 if bent and abs(down) > 2 * abs(across) else 1
        found.append(float(left[axes.bounded] + share**power * (right[axes.bounded] - left[axes.bounded])))
    return found


def arc(axes: Axes, points: Sequence[Found], span: Vector) -> Vector:
    """Length of the polyline from the first point to each (k,), each axis in units of its span."""
    places = np.array([[found.values[n] for n in (axes.bounded, axes.minimised)] for found in points]) / span
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _insert(known: list[Found], found: Found, axes: Axes, span: Vector) -> None:
    """Keep a point in its place; one that is already there, or dominated by rounding, is left out."""
    values = [point.values[axes.bounded] for point in known]
    value = found.values[axes.bounded]
    k = bisect_left(values, value)
    near = min(abs(value - other) for other in values[max(k - 1, 0) : k + 1])
    if near > _SAME * abs(span[0]) and 0 < k < len(known):
        above, height, below = (one.values[axes.minimised] for one in (known[k - 1], found, known[k]))
        if above > height > below:
            known.insert(k, found)
