"""Axes: a linear scale from values to places, with round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from allocator.report.numbers import Form, brief, dollars, move, percent, percent2

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` lie between the places `start` and `end`; `ticks` are round values.

    Where `log`, equal ratios are equally far apart; all values are then > 0.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    log: bool = False

    def at(self, value: float) -> float:
        """Place of a value."""
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * share


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


def log_scale(values: Iterable[float], places: tuple[float, float], count: int) -> Scale:
    """A scale of powers over values > 0; ticks are powers of ten, also 2 and 5 where there is room."""
    found = [value for value in values if math.isfinite(value)]
    low, high = min(found), max(found)
    if high <= low * (1 + 1e-12):
        low, high = low / 2, high * 2
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1.0, 2.0, 5.0), (1.0,)):
        ticks = [m * 10.0**p for p in powers for m in steps]
        ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(ticks) <= count:
            break
    every = -(-len(ticks) // count) if ticks else 1
    return Scale(low, high, *places, tuple(ticks[::every]), log=True)


_MINUTE, _DAY = 60.0, 86_400.0
_SPANS = (
    *(k * _MINUTE for k in (1, 5, 15, 30, 60, 120, 180, 360, 720)),
    *(k * _DAY for k in (1, 2, 7, 14, 28, 91, 182, 364, 728)),
)


def time_scale(low: float, high: float, places: tuple[float, float], count: int) -> Scale:
    """A scale of seconds since 1970 UTC; ticks at whole hours, days or weeks (from a Monday on)."""
    if high <= low:
        high = low + 1.0
    step = next((span for span in _SPANS if (high - low) / span <= count), _SPANS[-1])
    origin = 4 * _DAY if step >= 7 * _DAY else 0.0  # 1970-01-05 was a Monday
    first = math.ceil((low - origin) / step - 1e-9)
    last = math.floor((high - origin) / step + 1e-9)
    return Scale(low, high, *places, tuple(origin + k * step for k in range(first, last + 1)))


def short_time(scale: Scale) -> Form:
    """How ticks of a time scale are written: hours within a few days, else days."""
    pattern = "%d %b %H:%M" if scale.high - scale.low < 3 * _DAY else "%d %b"
    if scale.high - scale.low > 400 * _DAY:
        pattern = "%b %Y"
    return lambda seconds: datetime.fromtimestamp(seconds, UTC).strftime(pattern)


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


def short_form(form: Form) -> Form:
    """How ticks of an axis are written whose values have this form."""
    if form is dollars:
        return short_dollars
    return short_percent if form in (percent, percent2, move) else brief
