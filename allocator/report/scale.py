"""Axes: a linear scale from values to places, with round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` lie between the places `start` and `end`; `ticks` are round values."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Place of a value."""
        return self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low)


def scale(values: Iterable[float], places: tuple[float, float], count: int, tight: bool = False) -> Scale:
    """A scale over all values; it holds zero and ends at round values unless it is to be `tight`."""
    found = [value for value in values if math.isfinite(value)]
    low, high = min(found, default=0.0), max(found, default=1.0)
    if not tight:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= 1e-12 * max(abs(low), abs(high)) or high == low:
        high = low + 1.0
    step = _step((high - low) / count)
    if not tight:
        low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Scale(low, high, *places, tuple(k * step for k in range(first, last + 1)))


def _step(least: float) -> float:
    """The smallest round step of at least this size."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in _STEPS if m * power >= least * (1 - 1e-9))


def short_dollars(value: float) -> str:
    """$1.2m, −$350k: for ticks."""
    size, sign = abs(value), "−" if value < 0 else ""
    for unit, letter in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        if size >= unit:
            return f"{sign}${size / unit:g}{letter}"
    return f"{sign}${size:g}"


def short_percent(value: float) -> str:
    """25 %: for ticks."""
    return f"{'−' if value < 0 else ''}{abs(value) * 100:g} %"
