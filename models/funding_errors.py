"""How wrong a funding forecast has been, and how wrong it may be now: errors on past rates, by level.

Rates are fractions per settlement interval, of many instruments on one grid of settlements: (T, n), oldest
first, NaN where none is known. Positive: longs pay shorts.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from models.arrays import BoolVector, IntVector, Vector, finite, fraction, positive

LEAST_PRINTS = 12
"""Fewer settled rates than this hold no forecast with a past to learn from and a future to be wrong about."""

_LEAST_ERRORS = 3
_ROUNDING = 1e-12


@dataclass(frozen=True)
class AverageLadder:
    """Which averages make the levels of a `models.funding.MeanReversion`, and how their gaps close, in hours.

    The first level is the last print. `half_lives_hours` (J - 1,) are those of the EWMAs after it, rising;
    `reversions_hours` (J,) of the gaps, that of the last print first. long_run: per settlement interval.
    """

    half_lives_hours: tuple[float, ...]
    reversions_hours: tuple[float, ...]
    long_run: float

    def __post_init__(self) -> None:
        positive("half_lives_hours", self.half_lives_hours)
        positive("reversions_hours", self.reversions_hours)
        finite("long_run", self.long_run)
        if len(self.reversions_hours) != len(self.half_lives_hours) + 1:
            raise ValueError("reversions_hours: give one for the last print, then one per half-life")


class ForecastErrors(NamedTuple):
    """Errors (O, n) of the mean rate over the next `settlements`, and how far from the long run it was seen.

    errors: realised minus forecast. deviations: forecast minus long run. NaN where the future was unknown.
    """

    errors: Vector
    deviations: Vector
    settlements: int


class PastRates(NamedTuple):
    """What a history of rates (T, n) says at each of its settlements, whatever a ladder makes of it.

    levels (J, T, n): the last print and the EWMAs known then. ahead (T, n): the mean over the next
    `settlements`, NaN where under half of them are known.
    """

    levels: Vector
    ahead: Vector
    settlements: int
    step_hours: float


def past_rates(
    rates: ArrayLike, step_hours: float, settlements: int, half_lives_hours: tuple[float, ...]
) -> PastRates:
    """The averages behind every past forecast, and what came of it.

    The horizon is `settlements`, at most a quarter of the history: an error over longer would be one
    observation. Errors: ValueError for infinity, fewer than 12 rows, settlements < 1.
    """
    table = np.asarray(rates, dtype=np.float64)
    if table.ndim != 2 or bool(np.isinf(table).any()) or len(table) < LEAST_PRINTS:
        raise ValueError(
            f"rates {table.shape}: give at least {LEAST_PRINTS} rows of numbers, a column per instrument"
        )
    if settlements < 1:
        raise ValueError(f"settlements is {settlements}: give a whole number >= 1")
    step = float(positive("step_hours", step_hours))
    horizon = min(settlements, len(table) // 4)
    levels = [_last(table), *(_running_ewma(table, h / step) for h in half_lives_hours)]
    return PastRates(np.stack(levels), _mean_ahead(table, horizon), horizon, step)


def past_errors(past: PastRates, ladder: AverageLadder) -> ForecastErrors:
    """Errors of the forecast by `ladder` at every past settlement with a quarter of the history behind it.

    `past` has the averages of the ladder's half-lives. Forecasts use what was settled by then, without the
    venue's indication.
    """
    if len(past.levels) != len(ladder.reversions_hours):
        raise ValueError(f"levels {past.levels.shape}: give one per reversion of the ladder")
    rows, horizon = past.levels.shape[1], past.settlements
    origins = slice(rows // 4 - 1, rows - horizon)
    ahead = np.arange(1, horizon + 1) * past.step_hours
    weights = [float(np.mean(0.5 ** (ahead / reversion))) for reversion in ladder.reversions_hours]
    # long_run + sum_j (level_j - level_{j+1})·weight_j, level by level.
    shares = np.diff(weights, prepend=0.0)
    deviation = np.tensordot(shares, past.levels[:, origins], axes=1) - weights[-1] * ladder.long_run
    errors = past.ahead[origins] - (deviation + ladder.long_run)
    # What rounding leaves of a rate that never changed is no error: scaled up, it would look like shocks.
    sizes = np.where(np.isfinite(past.levels[0]), np.abs(past.levels[0]), 0.0).max(axis=0, initial=0.0)
    errors[np.abs(errors) <= _ROUNDING * np.maximum(sizes, abs(ladder.long_run))] = 0.0
    return ForecastErrors(errors, deviation, horizon)


def conditional_error_sd(history: ForecastErrors, deviation_now: ArrayLike, pooling: float) -> Vector:
    """Sd (n,) of the error of each mean rate forecast now, deviation_now (n,) away from the long run.

    Variance m·max(1, (m + deviation_now²)/(m + D)), with m the mean squared error and D the mean squared
    deviation of the past: about as wrong as usual, more where funding is further from its long run than
    usual, as funding is wild away from it (over 2023 to 2025 a day's mean is missed by three to seven times
    as much in the farthest fifth as in the nearest). Never less than usual: squeezes start from calm.
    pooling in [0, 1]: weight of all instruments' m and D against the instrument's own, as a few weeks hold
    few errors that are new; an instrument with fewer than 3 errors takes theirs alone. NaN only where no
    instrument has 3.
    """
    now = finite("deviation_now", deviation_now)
    if now.shape != history.errors.shape[1:]:
        raise ValueError(f"deviation_now has shape {now.shape}: give one per instrument")
    share = float(fraction("pooling", pooling))
    known = np.isfinite(history.errors) & np.isfinite(history.deviations)
    if not (known.sum(axis=0) >= _LEAST_ERRORS).any():
        return np.full(now.size, np.nan)
    squared_error = _pooled(history.errors, known, share)
    squared_deviation = _pooled(history.deviations, known, share)
    usual = squared_error + squared_deviation
    ratio = np.divide(squared_error + now**2, usual, out=np.ones(now.size), where=usual > 0.0)
    return np.asarray(np.sqrt(squared_error * np.maximum(ratio, 1.0)))


def _pooled(values: Vector, known: BoolVector, share: float) -> Vector:
    """Mean square (n,) of the known values, `share` of it that of all columns with enough of them."""
    count = known.sum(axis=0)
    own = np.sum(np.where(known, values, 0.0) ** 2, axis=0) / np.maximum(count, 1)
    enough = count >= _LEAST_ERRORS
    weight = np.where(enough, share, 1.0)
    return np.asarray((1.0 - weight) * own + weight * own[enough].mean())


def _last(table: Vector) -> Vector:
    """The newest known value at each row, NaN before the first."""
    rows = np.where(np.isfinite(table), np.arange(len(table))[:, None], 0)
    newest: IntVector = np.maximum.accumulate(rows, axis=0)
    return np.asarray(np.take_along_axis(table, newest, axis=0))


def _running_ewma(table: Vector, half_life_rows: float) -> Vector:
    """The EWMA of all known values up to each row, NaN before the first."""
    known = np.isfinite(table)
    from scipy.signal import lfilter

    decay = 0.5 ** (1.0 / half_life_rows)
    recursion = [1.0], [1.0, -decay]  # each row plus the decayed sum of those before
    values = lfilter(*recursion, np.where(known, table, 0.0), axis=0)
    complete = bool(known.all())
    # Of complete columns the weights are those of one.
    weights = lfilter(*recursion, (known[:, :1] if complete else known).astype(np.float64), axis=0)
    if complete:
        return np.asarray(values / weights)
    return np.asarray(np.divide(values, weights, out=np.full(table.shape, np.nan), where=weights > 0.0))


def _mean_ahead(table: Vector, horizon: int) -> Vector:
    """Mean (T, n) of the known values in the `horizon` rows after each; NaN where under half are known."""
    known = np.isfinite(table)
    none = np.zeros((1, table.shape[1]))
    sums = np.vstack([none, np.cumsum(np.where(known, table, 0.0), axis=0)])
    counts = np.vstack([none, np.cumsum(known, axis=0)])
    mean = np.full(table.shape, np.nan)
    rows = np.arange(len(table) - horizon)
    seen = counts[rows + horizon + 1] - counts[rows + 1]
    total = sums[rows + horizon + 1] - sums[rows + 1]
    mean[rows] = np.divide(total, seen, out=np.full(total.shape, np.nan), where=seen >= horizon / 2)
    return mean
