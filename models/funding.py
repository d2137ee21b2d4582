"""Funding: when it settles, what rate to expect and what holding costs.

Positive rate: longs pay shorts. A rate is a fraction *per settlement interval* unless said otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import ArrayLike

from models.arrays import IntVector, Vector, finite, fraction, non_negative, positive

_STANDARD_HOURS = 8.0
_PERCENT_MEDIAN = 20e-4
_DEFAULT_PERCENT = 0.01
_DEFAULT_SHARE = 0.2
_DEFAULT_COUNT = 10


@dataclass(frozen=True)
class MeanReversion:
    """Averages of a rate, from the newest and shortest to the longest, and the rate it returns to.

    levels (J,), or (J, n) of n rates: each per settlement interval, as known at as_of. half_lives_hours (J,):
    how fast the gap between a level and the next longer one (the last one's: to long_run) closes. What is
    expected tau hours after as_of is long_run + sum_j (level_j - level_{j+1})·0.5^(tau/half_life_j): near by
    the newest average counts, over days the longer one, over weeks the long run. One level is a plain mean
    reversion.
    """

    levels: ArrayLike
    half_lives_hours: tuple[float, ...]
    long_run: float

    def __post_init__(self) -> None:
        levels = finite("levels", self.levels)
        positive("half_lives_hours", self.half_lives_hours)
        finite("long_run", self.long_run)
        if levels.ndim not in (1, 2) or not len(levels) or len(levels) != len(self.half_lives_hours):
            raise ValueError(
                f"levels {levels.shape} and {len(self.half_lives_hours)} half_lives_hours: "
                "give one half-life per level, at least one"
            )

    def at(self, hours: Vector) -> Vector:
        """Expected rate (S,), or (S, n), at `hours` (S,) after as_of."""
        levels = np.asarray(self.levels, dtype=np.float64)
        gaps = levels - np.concatenate([levels[1:], np.full_like(levels[:1], self.long_run)])
        decay = 0.5 ** (hours[:, None] / np.array(self.half_lives_hours))
        return np.asarray(self.long_run + decay @ gaps)


def settlement_times(
    anchor: datetime, interval_hours: float, start: datetime, end: datetime
) -> list[datetime]:
    """Settlements t = anchor + k·interval with start < t <= end, k any whole number, in UTC and in order.

    Errors: ValueError for a time without zone, an interval <= 0, or end before start.
    """
    origin, first, last = _utc("anchor", anchor), _utc("start", start), _utc("end", end)
    interval = timedelta(hours=float(positive("interval_hours", interval_hours)))
    if last < first:
        raise ValueError(f"end {last.isoformat()} is before start {first.isoformat()}: swap them")
    begin, stop = (first - origin) // interval + 1, (last - origin) // interval
    return [origin + k * interval for k in range(begin, stop + 1)]


def ewma_rate(rates: ArrayLike, ages_hours: ArrayLike, half_life_hours: float) -> float:
    """Mean of past rates (T,) weighted by 0.5^(age/half_life); ages (T,) in hours >= 0, any order."""
    values, ages = finite("rates", rates), non_negative("ages_hours", ages_hours)
    if values.ndim != 1 or values.size == 0 or values.shape != ages.shape:
        raise ValueError(
            f"rates {values.shape} and ages_hours {ages.shape}: give one age per rate, at least one"
        )
    # Ages count from the youngest, so that an old history does not underflow to zero weight.
    weights = 0.5 ** ((ages - ages.min()) / float(positive("half_life_hours", half_life_hours)))
    return float(weights @ values / weights.sum())


def ewma_rates(
    rates: ArrayLike, ages_hours: ArrayLike, owners: IntVector, count: int, half_life_hours: float
) -> Vector:
    """`ewma_rate` (count,) of many instruments at once; NaN of one that has no rate.

    rates and ages_hours (K,) are of all of them, owners (K,), rising, in [0, count) says whose each is.
    """
    values, ages = finite("rates", rates), non_negative("ages_hours", ages_hours)
    if values.ndim != 1 or values.shape != ages.shape or values.shape != owners.shape:
        raise ValueError(
            f"rates {values.shape}, ages_hours {ages.shape}, owners {owners.shape}: give one each"
        )
    first = np.flatnonzero(np.diff(owners, prepend=-1))
    sizes = np.diff(np.append(first, owners.size))
    youngest = np.minimum.reduceat(ages, first) if first.size else ages
    weights = np.exp2(
        (np.repeat(youngest, sizes) - ages) / float(positive("half_life_hours", half_life_hours))
    )
    found = np.full(count, np.nan)
    if first.size:
        found[owners[first]] = np.add.reduceat(weights * values, first) / np.add.reduceat(weights, first)
    return found


def shrunk_forecast(recent: float, long_run: float, weight: float) -> float:
    """weight·recent + (1 - weight)·long_run, weight in [0, 1]."""
    w = float(fraction("weight", weight))
    return w * float(finite("recent", recent)) + (1.0 - w) * float(finite("long_run", long_run))


def expected_rates(
    settlements: Sequence[datetime],
    as_of: datetime,
    interval_hours: float,
    indicated: float | None,
    mean_reverting: MeanReversion,
) -> Vector:
    """Expected rate (S,) of each settlement after as_of, per settlement interval.

    The first settlement takes the venue's indication when there is one: the running estimate of the current
    interval, the best known forecast of it, which says nothing beyond. Later ones (or all, without
    indication) follow `mean_reverting`. The last print is never carried forward: over weeks it forecasts
    worse than a constant. Errors: ValueError for settlements not after as_of, out of order, or a first one
    more than an interval away.
    """
    return rates_ahead(hours_ahead(settlements, as_of, interval_hours), indicated, mean_reverting)


def hours_ahead(settlements: Sequence[datetime], as_of: datetime, interval_hours: float) -> Vector:
    """Hours (S,) from as_of to each settlement after it.

    Errors: ValueError for settlements not after as_of, out of order, or a first one more than an interval
    away.
    """
    now = _utc("as_of", as_of)
    hours = np.array([(_utc("settlements", t) - now).total_seconds() / 3600.0 for t in settlements])
    interval = float(positive("interval_hours", interval_hours))
    if hours.size == 0:
        return hours
    if hours[0] <= 0.0 or bool(np.any(np.diff(hours) <= 0.0)):
        raise ValueError(
            "settlements are not all after as_of and in order: use settlement_times(anchor, ..., as_of, end)"
        )
    if hours[0] > interval * (1.0 + 1e-9):
        raise ValueError(
            f"the first settlement is {hours[0]:g} h after as_of, more than one interval of {interval:g} h"
        )
    return hours


def hours_to_settlements(
    anchor: datetime, interval_hours: float, as_of: datetime, within_hours: float
) -> Vector:
    """`hours_ahead` (S,) of the `settlement_times` in (as_of, as_of + within_hours], without listing them."""
    interval = float(positive("interval_hours", interval_hours))
    now, origin, step = _utc("as_of", as_of), _utc("anchor", anchor), timedelta(hours=interval)
    until = timedelta(hours=float(non_negative("within_hours", within_hours)))
    first = step - (now - origin) % step
    count = max((until - first) // step + 1, 0)
    return np.asarray(first.total_seconds() / 3600.0 + interval * np.arange(count), dtype=np.float64)


def rates_ahead(hours: Vector, indicated: float | Vector | None, mean_reverting: MeanReversion) -> Vector:
    """`expected_rates` (S,), or (S, n), of settlements `hours` (S,) ahead, as `hours_ahead` checks them.

    indicated: one, or (n,) with NaN where the venue says nothing.
    """
    rates = mean_reverting.at(hours)
    if indicated is None or not rates.size:
        return rates
    if np.ndim(indicated) == 0:
        rates[0] = float(finite("indicated", indicated))
    else:
        rates[0] = np.where(np.isnan(indicated), rates[0], indicated)
    return rates


def holding_cost(rates: ArrayLike, decision_hours: float, holding_hours: float) -> float:
    """Expected funding per USD long over the decision horizon: (h/H)·sum of the rates expected within H.

    > 0: a long pays. decision_hours h <= holding_hours H.
    """
    return holding_share(decision_hours, holding_hours) * float(np.sum(finite("rates", rates)))


def looks_like_percent(rates: ArrayLike, interval_hours: float) -> str | None:
    """Why these rates look like percent stored as fractions, in words; None when they do not.

    Two fingerprints: a median of |rate| above 20 bp per 8 h, where Binance BTC averages 1 to 2 bp; or at
    least 20 % of at least 10 prints exactly 0.01, the percent notation of the default rate of 0.01 % per 8 h.
    """
    values, interval = finite("rates", rates), float(positive("interval_hours", interval_hours))
    if values.size == 0:
        return None
    median = float(np.median(np.abs(values))) * _STANDARD_HOURS / interval
    if median > _PERCENT_MEDIAN:
        return f"the median |rate| is {median * 1e4:.1f} bp per 8 h; if in percent, divide by 100"
    share = float(np.mean(np.isclose(values, _DEFAULT_PERCENT, rtol=1e-9, atol=0.0)))
    if values.size >= _DEFAULT_COUNT and share >= _DEFAULT_SHARE:
        return f"{share:.0%} of the rates are exactly 0.01, the default rate in percent; divide by 100"
    return None


def holding_share(decision_hours: float, holding_hours: float) -> float:
    """h/H: the share of a holding horizon's funding that falls on one decision horizon h <= H."""
    decision = float(positive("decision_hours", decision_hours))
    holding = float(positive("holding_hours", holding_hours))
    if holding < decision:
        raise ValueError(
            f"holding_hours {holding:g} is below decision_hours {decision:g}: write at least {decision:g}"
        )
    return decision / holding


def _utc(name: str, time: datetime) -> datetime:
    if time.tzinfo is None or time.utcoffset() is None:
        raise ValueError(f"{name} {time.isoformat()} has no time zone: write it in UTC with Z")
    return time.astimezone(UTC)
