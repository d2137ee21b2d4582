"""What the snapshot's funding history says about the coming settlements, and how far to trust it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np

from allocator.errors import Problem
from allocator.market.history import Settlements, time_of, us_of
from allocator.market.types import Funding, Index, Matrix
from allocator.market.universe import Findings, Listing
from allocator.scenario.forecasts import FundingForecast
from models.arrays import Vector
from models.error_factors import ErrorSorts, error_factors, independent_errors
from models.funding import (
    MeanReversion,
    ewma_rates,
    holding_share,
    hours_to_settlements,
    rates_ahead,
)
from models.funding_errors import (
    LEAST_PRINTS,
    AverageLadder,
    ForecastErrors,
    PastRates,
    conditional_error_sd,
    past_errors,
    past_rates,
)

# Weight of all instruments' past errors against one's own; of 0.5, 0.75 and 1 the best likelihood of the
# errors of recorded funding of 2023 and of autumn 2024, on 45 and on 90 days of history.
POOLING = 0.75
_AVERAGES = 16  # remembered of one history
T = TypeVar("T")
_NAMED = 5
_ROUNDING = 1e-12


@dataclass(frozen=True)
class FundingHistories:
    """Funding of many instruments (n,): settled rates one by one (K,), and what comes next of each.

    `hourly` and `ages` are rates per hour and hours before now, `owners` whose they are, in order of
    settlement. `indicated` is the newest indication of the next settlement, NaN without one; `last` the
    latest settlement stated, in microseconds since 1970, `interval` its length in hours.
    """

    hourly: Vector
    ages: Vector
    owners: Index
    indicated: Vector
    last: Index
    interval: Vector
    _known: dict[tuple[object, ...], Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, stated: Settlements, rows: Index, owners: Index, count: int, as_of: datetime) -> Self:
        """From `rows` of settlements and their `owners` (K,), in order, at least one of each."""
        settled, rate, intervals = stated.settled[rows], stated.rate[rows], stated.hours[rows]
        hours = (settled - us_of(as_of)) / 3.6e9
        # An indication that has passed is not what was paid.
        paid = (stated.known[rows] >= settled) & (hours <= 0)
        newest = np.flatnonzero(np.diff(owners, append=-1))
        indicated = np.full(count, np.nan)
        coming = np.flatnonzero(hours > 0)
        next_hours = np.full(count, np.inf)
        np.minimum.at(next_hours, owners[coming], hours[coming])
        coming = coming[hours[coming] == next_hours[owners[coming]]]
        indicated[owners[coming]] = rate[coming]  # of several of one settlement, the newest stands last
        return cls(
            hourly=rate[paid] / intervals[paid],
            ages=-hours[paid],
            owners=owners[paid],
            indicated=indicated,
            last=settled[newest],
            interval=intervals[newest],
        )

    @cached_property
    def counts(self) -> Index:
        """How many settled rates each instrument has (n,)."""
        return np.bincount(self.owners, minlength=len(self.last))

    def averages(self, half_life: float) -> Vector:
        """EWMA (n,) of each one's hourly rates, NaN without any. Remembered: many forecasts share it."""
        return self._once(
            ("ewma", half_life),
            lambda: ewma_rates(self.hourly, self.ages, self.owners, len(self.last), half_life),
        )

    def past(self, interval: float, due: int, half_lives: tuple[float, ...]) -> PastRates | None:
        """What was known and came of the perps of one interval; None with too few settled rates."""
        mine = np.flatnonzero(self.interval == interval)
        if not due or self.counts[mine].max() < LEAST_PRINTS:
            return None
        return self._once(
            ("past", interval, due, half_lives),
            lambda: past_rates(self.on_grid(mine), interval, due, half_lives),
        )

    def _once(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        found: T = self._known.pop(key) if key in self._known else make()
        self._known[key] = found  # the one used last stands last
        if len(self._known) > _AVERAGES:
            del self._known[next(iter(self._known))]
        return found

    def on_grid(self, members: Index) -> Matrix:
        """Settled rates per interval (T, m) of `members` (m,), all of one interval, NaN where none is known.

        At every interval back from each one's newest; of a time when settlements came more often, those
        between are left out.
        """
        rows = int(self.counts[members].max(initial=0))
        column = np.full(len(self.last), -1)
        column[members] = np.arange(len(members))
        mine = np.flatnonzero(column[self.owners] >= 0)
        owner = self.owners[mine]
        newest = np.zeros(len(self.last))
        newest[self.owners] = self.ages  # in order of settlement: that of the newest stands last
        back = (self.ages[mine] - newest[owner]) / self.interval[owner]
        place = np.rint(back).astype(np.int64)
        # Venues stamp settlements up to seconds late.
        on = (np.abs(back - place) < 0.01) & (place < rows)
        grid = np.full((rows, len(members)), np.nan)
        kept = mine[on]
        grid[rows - 1 - place[on], column[owner[on]]] = self.hourly[kept] * self.interval[owner[on]]
        return grid


class _Forecasts(NamedTuple):
    """Expected funding (n,); `deviation` is its mean over the horizon less the long run, `due` how many
    settlements fall within it.
    """

    cost: Vector
    total: Vector
    due: Index
    deviation: Vector
    next_rate: Vector
    next_times: tuple[datetime, ...]


def funding_forecast(
    histories: FundingHistories | None,
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
    found = _forecast(histories, believed, as_of, hours, holding)
    past = _past_errors(histories, found, believed)
    return Funding(
        cost=found.cost,
        total=found.total,
        uncertainty=hours / holding * _total_sd(histories, found, past, listings, findings),
        next_rate=found.next_rate,
        next_times=found.next_times,
        interval_hours=histories.interval,
        cap=np.array([float(listing.row["funding_cap"]) for listing in listings]),
        errors=error_factors(_together(past, len(listings)), _sorts(listings)),
    )


def funding_histories(
    stated: Settlements,
    listings: list[Listing],
    window: float,
    as_of: datetime,
    findings: Findings,
) -> FundingHistories | None:
    """The history of each instrument over the last `window` hours, of what was known at `as_of`.

    None with problems found.
    """
    places = np.array([stated.places.get(listing.key, -1) for listing in listings], dtype=np.int64)
    there = np.flatnonzero(places >= 0)
    rows, owners = stated.between(places[there], as_of - timedelta(hours=window), as_of)
    owners = there[owners]
    seen = np.bincount(owners, minlength=len(listings)) > 0
    for k in np.flatnonzero(~seen).tolist():
        message = (
            f"{listings[k].venue} {listings[k].symbol}: no settlement within forecasts.funding.window of "
            f"{window:g} h; add history or widen the window"
        )
        findings.problems.append(Problem("funding", message))
    return FundingHistories.of(stated, rows, owners, len(listings), as_of) if seen.all() else None


def _forecast(
    histories: FundingHistories, believed: FundingForecast, as_of: datetime, hours: float, holding: float
) -> _Forecasts:
    """All forecasts; perps on one clock share their settlements ahead."""
    n = len(histories.last)
    levels = _levels(histories, believed)
    due, total, first, ahead = np.zeros(n, dtype=np.int64), np.zeros(n), np.zeros(n), np.zeros(n)
    for interval, phase, mine in _clocks(histories):
        # At least the next settlement is known, also when none falls within the holding horizon.
        to = hours_to_settlements(time_of(phase), interval, as_of, max(holding, interval))
        long_run = believed.long_run * interval
        ladder = MeanReversion(levels[:, mine] * interval, _reversions(believed), long_run)
        rates = rates_ahead(to, histories.indicated[mine], ladder)
        count = int(np.searchsorted(to, holding * (1 + _ROUNDING), side="right"))
        due[mine], total[mine], first[mine], ahead[mine] = count, rates[:count].sum(axis=0), rates[0], to[0]
    long_runs = believed.long_run * histories.interval
    mean = np.divide(total, due, out=long_runs.copy(), where=due > 0)
    return _Forecasts(
        cost=np.array(holding_share(hours, holding) * total),
        total=total,
        due=due,
        deviation=mean - long_runs,
        next_rate=first,
        next_times=tuple(as_of + timedelta(hours=left) for left in ahead.tolist()),
    )


def _clocks(histories: FundingHistories) -> list[tuple[float, int, Index]]:
    """Interval in hours, microseconds from its whole multiples, and the instruments that settle by it."""
    step = np.rint(histories.interval * 3.6e9).astype(np.int64)
    clocks, of = np.unique(np.stack([step, histories.last % step]), axis=1, return_inverse=True)
    of = of.ravel()
    return [
        (float(histories.interval[mine[0]]), int(phase), mine)
        for k, phase in enumerate(clocks[1].tolist())
        for mine in [np.flatnonzero(of == k)]
    ]


def _levels(histories: FundingHistories, believed: FundingForecast) -> Matrix:
    """The averages as of now (J, n), per hour; of an instrument without history, the long run."""
    last = np.full(len(histories.last), np.nan)
    last[histories.owners] = histories.hourly  # in order of settlement: the newest stands last
    half_lives = (believed.recent_half_life, believed.half_life)
    levels = [last, *(histories.averages(half_life) for half_life in half_lives)]
    return np.where(np.isnan(levels), believed.long_run, levels)


def _reversions(believed: FundingForecast) -> tuple[float, float, float]:
    return believed.last_reversion, believed.recent_reversion, believed.reversion


class _Past(NamedTuple):
    """Errors of the instruments `mine` (m,), all of one settlement interval in hours.

    None where too few rates are settled. `due` is how many settlements lie ahead, at most.
    """

    mine: Index
    interval: float
    due: int
    errors: ForecastErrors | None


def _past_errors(histories: FundingHistories, found: _Forecasts, believed: FundingForecast) -> list[_Past]:
    """Past errors of the mean rate over as many settlements as lie ahead, together for each interval."""
    past = []
    for interval in np.unique(histories.interval).tolist():
        mine = np.flatnonzero(histories.interval == interval)
        due, ladder = int(found.due[mine].max()), _ladder(believed, interval)
        rates = histories.past(interval, due, ladder.half_lives_hours)
        errors = None if rates is None else past_errors(rates, ladder)
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
    histories: FundingHistories,
    found: _Forecasts,
    past: list[_Past],
    listings: list[Listing],
    findings: Findings,
) -> Vector:
    """Sd (n,) of the error of each instrument's funding over the holding horizon, from its past errors.

    Instruments of one settlement interval are measured together, so that a new one has the errors of its
    like. What has none, not even those, gets the largest of the others per hour, and a notice.
    """
    per_hour = np.full(len(listings), np.nan)
    for group in past:
        # Per hour, so that one's largest error may stand for another's.
        per_hour[group.mine] = _rate_sd(group, found.deviation[group.mine]) / group.interval
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
    return np.asarray(per_hour * histories.interval * found.due)


def _rate_sd(past: _Past, deviation: Vector) -> Vector:
    """Sd (m,) of the error of the mean rate, for instruments of one interval; NaN without enough history."""
    if past.errors is None:
        return np.full(len(deviation), np.nan if past.due else 0.0)
    return conditional_error_sd(past.errors, deviation, POOLING)


def _ladder(believed: FundingForecast, interval: float) -> AverageLadder:
    return AverageLadder(
        half_lives_hours=(believed.recent_half_life, believed.half_life),
        reversions_hours=_reversions(believed),
        long_run=believed.long_run * interval,
    )
