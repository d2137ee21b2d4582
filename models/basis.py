"""Venue basis: the return of a perpetual minus the return of its own coin, mean-reverting in its level.

The level is an Ornstein-Uhlenbeck process (stationary sd s, reversion k per hour), so the variance of its
change over h hours, 2 s² (1 - e^(-k h)), saturates: it must not be scaled with h, and the R² of a hedge rises
with the horizon. On Binance.US 1-minute data of Mar 2023 the R² of BTC/USDT against BTC/USD is 0.974 over 5
min and 0.9998 over a day.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from models.arrays import (
    IntVector,
    Number,
    Vector,
    column_medians_and_deviations,
    like,
    non_negative,
    positive,
)

MIN_REVERSION_PER_HOUR = math.log(2.0) / (30.0 * 24.0)
"""Slowest reversion an estimate may report, a half-life of 30 days: slower looks like a unit root."""

_MIN_PERSISTENCE = 0.01
_MIN_PAIRS = 10
_MAD_PER_SD = 0.6745
_DETECTABLE = 2.0
_ROUNDING = 1e-9
_FADED = 1e-200


def change_variance(level_sd: Number, reversion_per_hour: Number | float, hours: float) -> Number:
    """Variance of the change of the basis over `hours`: 2·s²·(1 - exp(-k·h)), at most 2·s²."""
    decay = positive("reversion_per_hour", reversion_per_hour) * float(non_negative("hours", hours))
    return like(level_sd, -2.0 * non_negative("level_sd", level_sd) ** 2 * np.expm1(-decay))


def fit_mean_reversion(levels: ArrayLike, step_hours: float) -> tuple[float, float]:
    """(level_sd, reversion_per_hour) of equally spaced basis levels (T,), NaN where a sample is missing.

    AR(1) by least squares over the pairs of adjacent present samples; a gap is never bridged. The persistence
    per step is held between 0.01 (below it the reversion cannot be resolved at this step) and the one of
    MIN_REVERSION_PER_HOUR. level_sd is the sample standard deviation. Errors: ValueError for infinity, fewer
    than 10 pairs, or no variation.
    """
    values, step = np.asarray(levels, dtype=np.float64), float(positive("step_hours", step_hours))
    if values.ndim != 1 or bool(np.isinf(values).any()):
        raise ValueError(f"levels {values.shape}: give one series of numbers, NaN where missing")
    seen = values[np.isfinite(values)]
    before, after = _pairs(values - seen.mean() if seen.size else values)
    if before.size < _MIN_PAIRS:
        raise ValueError(f"levels hold {before.size} adjacent pairs: give at least {_MIN_PAIRS}")
    spread = float(before @ before)
    if spread == 0.0 or np.ptp(seen) == 0.0:
        raise ValueError("levels do not vary: give the measured basis, not a constant")
    slowest = math.exp(-MIN_REVERSION_PER_HOUR * step)
    persistence = min(max(float(before @ after) / spread, _MIN_PERSISTENCE), slowest)
    # With steps of months the bounds cross; the minimum reversion is the one that counts.
    reversion = max(-math.log(persistence) / step, MIN_REVERSION_PER_HOUR)
    return float(seen.std(ddof=1)), reversion


def change_sd(levels: ArrayLike, step_hours: float, hours: float, memory_hours: float) -> float:
    """Sd of the change of basis levels (T,) over `hours`, from the changes seen; NaN where one is missing.

    Root of the mean square of overlapping changes over `hours`, rounded up to whole steps of step_hours, with
    weights 0.5^(age / memory_hours). Needs no model of the reversion: a basis that drifts over months but is
    calm over a day has a wide level and small changes, which a level and a half-life together overstate.
    Errors: ValueError for infinity, or fewer than 10 changes.
    """
    values = np.asarray(levels, dtype=np.float64)
    if values.ndim != 1 or bool(np.isinf(values).any()):
        raise ValueError(f"levels {values.shape}: give one series of numbers, NaN where missing")
    rows = lag_rows(hours, step_hours)
    return weighted_rms(values[rows:] - values[:-rows], rows * step_hours, step_hours, memory_hours)


def change_sds(levels: ArrayLike, step_hours: float, hours: float, memory_hours: float) -> Vector:
    """`change_sd` (n,) of each column of levels (T, n); NaN of one with fewer than 10 changes."""
    values = np.asarray(levels, dtype=np.float64)
    if values.ndim != 2 or bool(np.isinf(values).any()):
        raise ValueError(f"levels {values.shape}: give a column per basis, NaN where missing")
    rows = lag_rows(hours, step_hours)
    return _rms(values[rows:] - values[:-rows], step_hours, memory_hours)[0]


def lag_rows(hours: float, step_hours: float) -> int:
    """`hours` in whole steps of step_hours, rounded up, at least one."""
    step = float(positive("step_hours", step_hours))
    return max(math.ceil(float(positive("hours", hours)) / step - _ROUNDING), 1)


def weighted_rms(changes: ArrayLike, hours: float, step_hours: float, memory_hours: float) -> float:
    """Root of the mean square of changes (T,) over `hours`, a row every step_hours, NaN where missing.

    Weights are 0.5^(age / memory_hours), the newest row last. Errors: ValueError for fewer than 10 changes.
    """
    found, count = _rms(np.asarray(changes, dtype=np.float64)[:, np.newaxis], step_hours, memory_hours)
    if count[0] < _MIN_PAIRS:
        raise ValueError(f"levels hold {count[0]} changes over {hours:g} h: give at least {_MIN_PAIRS}")
    return float(found[0])


def _rms(changes: Vector, step_hours: float, memory_hours: float) -> tuple[Vector, IntVector]:
    """Weighted root mean square (n,) of changes (T, n), NaN of too few, and how many there are (n,)."""
    seen = np.isfinite(changes)
    count = seen.sum(axis=0)
    ages = np.arange(len(changes))[::-1] * float(positive("step_hours", step_hours))
    weights = 0.5 ** (ages / float(positive("memory_hours", memory_hours)))
    enough = count >= _MIN_PAIRS
    mass = weights @ seen
    found = np.full(len(count), np.nan)
    np.divide(weights @ np.where(seen, changes, 0.0) ** 2, mass, out=found, where=enough & (mass > _FADED))
    found = np.sqrt(found)
    for k in np.flatnonzero(enough & (mass <= _FADED)):
        # What ended long ago is weighed from its own end, where its weights do not underflow.
        last = int(np.flatnonzero(seen[:, k])[-1]) + 1
        found[k] = _rms(changes[:last, k : k + 1], step_hours, memory_hours)[0][0]
    return found, count


def half_life_resolved(levels: ArrayLike, step_hours: float) -> bool:
    """Whether these basis levels (T,), NaN where missing, show a half-life at all at steps of `step_hours`.

    Without persistence, the lag-1 autocorrelation of n pairs has standard deviation 1/sqrt(n) (Bartlett
    1946). One below twice that is no evidence of a half-life as long as the step, and a reversion fitted to
    it is one of the bounds of `fit_mean_reversion`: within a step the change may be as wide as over one.
    Errors: as `fit_mean_reversion`.
    """
    reversion = fit_mean_reversion(levels, step_hours)[1]
    values = np.asarray(levels, dtype=np.float64)
    count = _pairs(values)[0].size
    return math.exp(-reversion * float(step_hours)) > _DETECTABLE / math.sqrt(count)


def clipped_levels(levels: ArrayLike, limit_sds: float) -> Vector:
    """Levels (T,) or (T, n) moved to within limit_sds robust sds of their column's median, NaN kept.

    A robust standard deviation is the median absolute deviation over 0.6745. One bad print of 5 % in a month
    of hours makes a basis of 5 bp look like one of 19 bp and its half-life like none; a clip far out (10)
    cuts that print and leaves a market's own tails. Where more than half the levels are equal there is no
    scale to clip by, and they are returned as they are. Errors: ValueError for infinity or a limit <= 0.
    """
    values, limit = np.asarray(levels, dtype=np.float64), float(positive("limit_sds", limit_sds))
    if values.ndim not in (1, 2) or bool(np.isinf(values).any()):
        raise ValueError(f"levels {values.shape}: give a column per basis, NaN where missing")
    columns = values if values.ndim == 2 else values[:, np.newaxis]
    middle, deviation = column_medians_and_deviations(columns)
    scale = deviation / _MAD_PER_SD
    reach = np.where(scale > 0.0, limit * scale, np.inf)
    return np.asarray(np.clip(columns, middle - reach, middle + reach)).reshape(values.shape)


def floored(sd: Number, floor: Number | float) -> Number:
    """The larger of an estimated standard deviation and its floor, both >= 0."""
    return like(sd, np.maximum(non_negative("sd", sd), non_negative("floor", floor)))


def _pairs(values: Vector) -> tuple[Vector, Vector]:
    present = np.isfinite(values[:-1]) & np.isfinite(values[1:])
    return values[:-1][present], values[1:][present]
