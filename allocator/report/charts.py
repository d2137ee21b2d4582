"""Pictures of many numbers as data: curves through time or over a key, heat maps, intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from allocator.report.nodes import Node
from allocator.report.numbers import Form, dollars, plain

Tone = Literal["main", "second", "warn", "before", "fifth"]
AxisKind = Literal["number", "log", "time", "label"]
TONES: tuple[Tone, ...] = ("main", "second", "warn", "fifth", "before")


@dataclass(frozen=True)
class Curve:
    """A line over x, or dots; `low` and `high` are the envelope of what one x stands for.

    `x` in the axis' own unit: seconds since 1970 UTC for times, 0, 1, … for labels. NaN in `y` is a gap.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    tone: Tone = "main"
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    shape: Literal["line", "dots"] = "line"


@dataclass(frozen=True)
class Spot:
    """A single point with its name; `x_node` and `y_node` say where its numbers stand."""

    name: str
    x: Node
    y: Node
    tone: Tone = "warn"


@dataclass(frozen=True)
class Moment:
    """A vertical line at x with its name."""

    x: float
    name: str


@dataclass(frozen=True)
class Curves:
    """Curves over one x. `zero`: the y axis holds 0. `labels`: the names of x where the axis is of labels."""

    title: str
    note: str
    x_title: str
    y_title: str
    curves: Sequence[Curve]
    kind: AxisKind = "number"
    x_form: Form = plain
    form: Form = dollars
    labels: Sequence[str] = ()
    spots: Sequence[Spot] = ()
    moments: Sequence[Moment] = ()
    zero: bool = False


@dataclass(frozen=True)
class Tile:
    """One place of a heat map: its value, and what it stands for in words.

    `node` is None where there is no value; then `mark` stands in its place.
    """

    node: Node | None
    told: str
    mark: str = "×"


@dataclass(frozen=True)
class HeatMap:
    """Values over two keys: `tiles[row][column]`, rows from the top, named by the values of the keys."""

    title: str
    note: str
    x_title: str
    y_title: str
    columns: Sequence[str]
    rows: Sequence[str]
    tiles: Sequence[Sequence[Tile]]
    form: Form = dollars


@dataclass(frozen=True)
class Interval:
    """A value and the interval it is known to; without `low` and `high` the value alone."""

    name: str
    value: Node
    low: Node | None = None
    high: Node | None = None


@dataclass(frozen=True)
class Intervals:
    """Values with their intervals against a reference such as 1 or 0."""

    title: str
    note: str
    rows: Sequence[Interval]
    reference: float
    form: Form


def thinned(name: str, x: np.ndarray, y: np.ndarray, most: int = 220, tone: Tone = "main") -> Curve:
    """A curve of at most `most` steps: of each step the last value, and its lowest and highest as envelope.

    x (n,) rises, y (n,) may hold NaN. Nothing between is lost to sight: the envelope holds every value.
    """
    if len(x) <= most:
        return Curve(name, x.tolist(), y.tolist(), tone)
    ends = np.linspace(0, len(x), most + 1).astype(int)
    parts = [y[start:end] for start, end in pairwise(ends)]
    known = [part[np.isfinite(part)] for part in parts]
    low = [float(part.min()) if len(part) else float("nan") for part in known]
    high = [float(part.max()) if len(part) else float("nan") for part in known]
    last = [float(part[-1]) if len(part) else float("nan") for part in known]
    return Curve(name, x[ends[1:] - 1].tolist(), last, tone, low, high)


def thinning(count: int, most: int = 220) -> str:
    """What `thinned` did, in words; empty where it did nothing."""
    if count <= most:
        return ""
    return f" {count:,} times drawn as {most} steps: the line is each step's last, the shade its range."
