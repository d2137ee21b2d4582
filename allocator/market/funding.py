"""What the snapshot's funding history says about the coming settlements, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from allocator.errors import Problem
from allocator.market.history import Key, Settlements, settlements, utc_us
from allocator.market.types import Funding, Index, Matrix
from allocator.market.universe import Findings, Listing
from allocator.scenario.forecasts import FundingForecast
from models.arrays import Vector
from models.error_factors import ErrorSorts, error_factors, independent_errors
from models.funding import (
    MeanReversion,
    ewma_rate,
    holding_cost,
    hours_ahead,
    rates_ahead,
    settlement_times,
)
from models.funding_errors import (
    LEAST_PRINTS,
    AverageLadder,
    ForecastErrors,
    conditional_error_sd,
    past_errors,
)

# Weight of all instruments' past errors against one's own; of 0.5, 0.75 and 1 the best likelihood of the
# errors of recorded funding of 2023 and of autumn 2024, on 45 and on 90 days of history.
POOLING = 0.75
_NAMED = 5


class FundingHistory(NamedTuple):
    """One instrument's funding: settled rates per hour and their ages in hours, and what comes next.

    `indicated` is the newest indication of the next settlement, None without one; `last` the latest
    settlement stated, `interval` its length in hours.
    """

    hourly: Vector
    ages: Vector
    indicated: float | None
    last: datetime
    interval: float

    @classmethod
    def of(cls, rows: Settlements, as_of: datetime) -> FundingHistory:
        """From the rows of one instrument, in order of settlement, then of when they were known."""
        hours = (rows.settled - utc_us(as_of)) / np.timedelta64(1, "us") / 1e6 / 3600
        early, rate, intervals = rows.known < rows.settled, rows.rate, rows.hours
        settled = ~early & (hours <= 0)  # an indication that has passed is not what was paid
        coming = rate[hours == hours[hours > 0].min()] if (hours > 0).any() else rate[:0]
        return cls(
            hourly=rate[settled] / intervals[settled],
            ages=-hours[settled],
            indicated=float(coming[-1]) if len(coming) else None,
            last=rows.settled[-1].item().replace(tzinfo=UTC),
            interval=float(intervals[-1]),
        )

    def on_grid(self, rows: int) -> Vector:
        """Settled rates per interval (rows,) at every interval back from the newest, NaN where none is known.

        Of a time when settlements came more often, those between are left out.
        """
        column = np.full(rows, np.nan)
        if len(self.ages):
            back = (self.ages - self.ages.min()) / self.interval
            place = np.rint(back).astype(int)
            # Venues stamp settlements up to seconds late.
            on = (np.abs(back - place) < 0.01) & (place < rows)
            column[rows - 1 - place[on]] = self.hourly[on] * self.interval
        return column


class _Forecast(NamedTuple):
    """One instrument's expected funding; `deviation` is its mean over the horizon less the long run."""

    cost: float
    total: float
    due: int
    deviation: float
    next_rate: float
    next_time: datetime


def funding_forecast(
    histories: list[FundingHistory] | None,
    listings: list[Listing],
    believed: FundingForecast,
    as_of: datetime,
    hours: float,
    holding: float,
    findings: Findings,
) -> Funding:
    """Expected funding per instrument: the indication first, then averages on their way to the long run."""
    if histories is None:
        none = np.zeros(0)
        return Funding(none, none, none, none, (), none, none, independent_errors(0))
    ahead = _Ahead(as_of, holding)
    found = [_forecast_one(history, believed, ahead, hours) for history in histories]
    past = _past_errors(histories, found, believed)
    return Funding(
        cost=np.array([f.cost for f in found]),
        total=np.array([f.total for f in found]),
        uncertainty=hours / holding * _total_sd(histories, found, past, listings, findings),
        next_rate=np.array([f.next_rate for f in found]),
        next_times=tuple(f.next_time for f in found),
        interval_hours=np.array([history.interval for history in histories]),
        cap=np.array([float(listing.row["funding_cap"]) for listing in listings]),
        errors=error_factors(_together(past, len(listings)), _sorts(listings)),
    )


def funding_histories(
    funding: pd.DataFrame | Mapping[Key, Settlements],
    listings: list[Listing],
    window: float,
    as_of: datetime,
    findings: Findings,
) -> list[FundingHistory] | None:
    """The history of each instrument over the last `window` hours; None with problems found.

    `funding` is the table known at `as_of`, or the settlements of a whole history by exchange and symbol.
    """
    arranged = settlements(funding) if isinstance(funding, pd.DataFrame) else funding
    after = as_of - timedelta(hours=window)
    keys = {listing.key for listing in listings} & arranged.keys()
    groups = {key: arranged[key].between(after, as_of) for key in keys}
    missing = [row for row in listings if row.key not in groups or not len(groups[row.key].rate)]
    for listing in missing:
        message = (
            f"{listing.venue} {listing.symbol}: no settlement within forecasts.funding.window of "
            f"{window:g} h; add history or widen the window"
        )
        findings.problems.append(Problem("funding", message))
    return None if missing else [FundingHistory.of(groups[listing.key], as_of) for listing in listings]


class _Ahead:
    """The settlements within `holding` hours, at least the next; perps on one clock share them."""

    def __init__(self, as_of: datetime, holding: float) -> None:
        self.as_of, self.holding = as_of, holding
        self._clocks: dict[tuple[datetime, float], tuple[datetime, Vector, int]] = {}

    def of(self, last: datetime, interval: float) -> tuple[datetime, Vector, int]:
        """The next settlement, hours ahead of all (S,), and how many fall within the horizon."""
        found = self._clocks.get((last, interval))
        if found is None:
            horizon = self.as_of + timedelta(hours=self.holding)
            until = max(horizon, self.as_of + timedelta(hours=interval))
            times = settlement_times(last, interval, self.as_of, until)
            due = sum(time <= horizon for time in times)
            found = times[0], hours_ahead(times, self.as_of, interval), due
            self._clocks[last, interval] = found
        return found


def _forecast_one(
    history: FundingHistory, believed: FundingForecast, ahead: _Ahead, hours: float
) -> _Forecast:
    """One instrument's forecast."""
    interval, long_run = history.interval, believed.long_run * history.interval
    # At least the next settlement is known, also when none falls within the holding horizon.
    next_time, hours_to, count = ahead.of(history.last, interval)
    rates = rates_ahead(hours_to, history.indicated, _reverting(history, believed))
    due = rates[:count]
    deviation = float(due.mean()) - long_run if len(due) else 0.0
    cost = holding_cost(due, hours, ahead.holding)
    return _Forecast(cost, float(due.sum()), len(due), deviation, float(rates[0]), next_time)


def _reverting(history: FundingHistory, believed: FundingForecast) -> MeanReversion:
    """The averages as of now, per settlement interval; without history, the long run."""
    long_run = believed.long_run * history.interval
    levels = (long_run, long_run, long_run)
    if len(history.hourly):
        last = float(history.hourly[np.argmin(history.ages)])
        recent = ewma_rate(history.hourly, history.ages, believed.recent_half_life)
        average = ewma_rate(history.hourly, history.ages, believed.half_life)
        levels = (last * history.interval, recent * history.interval, average * history.interval)
    reversions = (believed.last_reversion, believed.recent_reversion, believed.reversion)
    return MeanReversion(levels, reversions, long_run)


class _Past(NamedTuple):
    """Errors of the instruments `mine` (m,), all of one settlement interval in hours.

    None where too few rates are settled. `due` is how many settlements lie ahead, at most.
    """

    mine: Index
    interval: float
    due: int
    errors: ForecastErrors | None


def _past_errors(
    histories: list[FundingHistory], found: list[_Forecast], believed: FundingForecast
) -> list[_Past]:
    """Past errors of the mean rate over as many settlements as lie ahead, together for each interval."""
    intervals = np.array([history.interval for history in histories])
    past = []
    for interval in np.unique(intervals).tolist():
        mine = np.flatnonzero(intervals == interval)
        rows, due = max(len(histories[i].hourly) for i in mine), max(found[i].due for i in mine)
        errors = None
        if rows >= LEAST_PRINTS and due:
            rates = np.column_stack([histories[i].on_grid(rows) for i in mine])
            errors = past_errors(rates, interval, due, _ladder(believed, interval))
        past.append(_Past(mine, interval, due, errors))
    return past


def _together(past: list[_Past], count: int) -> Matrix:
    """Errors (O, count) of all instruments by the moment of the forecast, NaN where unknown.

    Moments are those of the longest interval, counted back from the newest settlement: perps that settle
    hourly are seen at each eighth settlement where others settle every 8 h, over about the same horizon.
    """
    seen = [(group, group.errors) for group in past if group.errors is not None]
    coarse = max((group.interval for group, _ in seen), default=1.0)
    ends = [(errors.settlements + len(errors.errors)) * group.interval for group, errors in seen]
    table = np.full((int(max(ends, default=0.0) / coarse), count), np.nan)
    for group, errors in seen:
        # The newest forecast that has become known is `settlements` back.
        back = np.rint(np.arange(len(table)) * coarse / group.interval).astype(int) - errors.settlements
        there = (back >= 0) & (back < len(errors.errors))
        table[np.ix_(there, group.mine)] = errors.errors[len(errors.errors) - 1 - back[there]]
    return table


def _sorts(listings: list[Listing]) -> ErrorSorts:
    def places(names: list[str]) -> Index:
        return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)

    return ErrorSorts(
        coin=places([listing.row["asset"] for listing in listings]),
        venue=places([listing.exchange for listing in listings]),
        perp=places([f"{listing.exchange} {listing.symbol}" for listing in listings]),
    )


def _total_sd(
    histories: list[FundingHistory],
    found: list[_Forecast],
    past: list[_Past],
    listings: list[Listing],
    findings: Findings,
) -> Vector:
    """Sd (n,) of the error of each instrument's funding over the holding horizon, from its past errors.

    Instruments of one settlement interval are measured together, so that a new one has the errors of its
    like. What has none, not even those, gets the largest of the others per hour, and a notice.
    """
    intervals = np.array([history.interval for history in histories])
    per_hour = np.full(len(histories), np.nan)
    for group in past:
        # Per hour, so that one's largest error may stand for another's.
        per_hour[group.mine] = _rate_sd(group, [found[i] for i in group.mine]) / group.interval
    unknown = np.flatnonzero(np.isnan(per_hour))
    if unknown.size:
        known = per_hour[np.isfinite(per_hour)]
        per_hour[unknown] = known.max() if known.size else 0.0
        names = ", ".join(f"{listings[i].venue} {listings[i].symbol}" for i in unknown[:_NAMED])
        more = " and others" if unknown.size > _NAMED else ""
        taken = "the largest of the others" if known.size else "none"
        findings.notices.append(
            f"fewer than {LEAST_PRINTS} settled funding rates of {names}{more}: "
            f"as uncertainty of its funding, {taken} is taken"
        )
    return np.asarray(per_hour * intervals * np.array([f.due for f in found]))


def _rate_sd(past: _Past, found: list[_Forecast]) -> Vector:
    """Sd (n,) of the error of the mean rate, for instruments of one interval; NaN without enough history."""
    if past.errors is None:
        return np.full(len(found), np.nan if past.due else 0.0)
    return conditional_error_sd(past.errors, np.array([f.deviation for f in found]), POOLING)


def _ladder(believed: FundingForecast, interval: float) -> AverageLadder:
    return AverageLadder(
        half_lives_hours=(believed.recent_half_life, believed.half_life),
        reversions_hours=(believed.last_reversion, believed.recent_reversion, believed.reversion),
        long_run=believed.long_run * interval,
    )
