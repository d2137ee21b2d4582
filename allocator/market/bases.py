"""Bases of perps and dated futures: how far each has been from its coin, and how far it may move next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from allocator.errors import Problem
from allocator.market.dated import hours_to_expiry
from allocator.market.exposures import USD
from allocator.market.history import Grid, Known, evenly_spaced, us_of
from allocator.market.observed import INDEX
from allocator.market.types import Index, Matrix
from allocator.market.universe import Findings, Listing
from allocator.scenario.forecasts import BasisForecast
from models.arrays import BoolVector, Vector
from models.basis import (
    change_sds,
    change_variance,
    clipped_levels,
    fit_mean_reversion,
    floored,
    half_life_resolved,
)
from models.basis_beta import pooled_beta
from models.basis_factors import change_correlation, common_loadings, own_sd
from models.dated import carry_line, pinned_share, surprise_sd

LEAST_ROWS = 20  # fewer rows than this say nothing about a covariance or a mean reversion
_NAMED = 5  # at most so many names in one notice
_ROUNDING = 1e-12  # a basis of a level this small does not move


class PastLevels(NamedTuple):
    """Rows of one step in time: `levels` of bases and logs of their coins' prices (T, G), NaN of a gap."""

    times: Index
    levels: Matrix
    coins: Matrix

    @property
    def step_hours(self) -> float:
        """Usual hours between rows, NaN for a single row."""
        return float(np.median(np.diff(self.times))) / 3.6e9 if len(self.times) > 1 else float("nan")


@dataclass(frozen=True)
class Bases:
    """The bases of different contracts (G,) over a history of prices; of any time in it, the past is a slice.

    They stand in the order of their names, not in that of the instruments: `group` (n,) is the basis of each
    instrument. The same contract held in two accounts has one.
    """

    prices: Grid
    listings: list[Listing]
    group: Index

    @classmethod
    def of(cls, prices: Grid, listings: list[Listing]) -> Self:
        """The bases of instruments (n,)."""
        names = [f"{listing.exchange} {listing.symbol}" for listing in listings]
        _, first, group = np.unique(names, return_index=True, return_inverse=True)
        return cls(prices, [listings[k] for k in first], group)

    @cached_property
    def perps(self) -> BoolVector:
        """Which are of perpetuals (G,)."""
        return np.array([listing.expiry is None for listing in self.listings], dtype=np.bool_)

    def places(self, assets: tuple[str, ...]) -> Index:
        """The asset of each (G,)."""
        return np.array([assets.index(str(each.row["asset"])) for each in self.listings], dtype=np.int64)

    def past(self, as_of: datetime, window_hours: float) -> PastLevels:
        """The last `window_hours` known at `as_of`. A time without any price is a gap, not a longer step."""
        rows = self.prices.rows(as_of - timedelta(hours=window_hours), as_of)
        times, levels, coins = self.prices.times[rows], self._levels[rows], self._coins[rows]
        even = evenly_spaced(times, self._priced[rows])
        if even is None:
            return PastLevels(times, levels, coins)
        return PastLevels(even.times, even.spread(levels), even.spread(coins))

    @cached_property
    def _priced(self) -> BoolVector:
        return np.asarray(np.isfinite(self.prices.values).any(axis=1))

    @cached_property
    def _coins(self) -> Matrix:
        keys = [(INDEX, f"{listing.row['asset']}/USD") for listing in self.listings]
        return np.log(self.prices.columns(keys))

    @cached_property
    def _levels(self) -> Matrix:
        """log(contract in USD per coin / the coin's own reference), NaN where either is missing."""
        quotes = [str(listing.row["index_currency"]) for listing in self.listings]
        quote = self.prices.columns([None if q == USD else (INDEX, f"{q}/USD") for q in quotes])
        units = np.array([float(listing.row["coins_per_unit"]) for listing in self.listings])
        price = self.prices.columns([listing.key for listing in self.listings]) / units * quote
        keys = [(INDEX, f"{listing.row['asset']}/USD") for listing in self.listings]
        return np.asarray(np.log(price / self.prices.columns(keys)))


class BasisRisk(NamedTuple):
    """Change of each perp's basis over the decision horizon: sd (n,), loadings (k, n) on common factors.

    `sd` counts the loadings too, and is at least the floor; what the floor adds is each basis's own. It also
    counts what the basis moves with its coin, `beta` (n,) of the return: a few per cent, on the safe side.
    """

    sd: Vector
    loadings: Vector
    beta: Vector

    @property
    def own(self) -> Vector:
        """Sd (n,) of what the common factors leave."""
        return own_sd(self.sd, self.loadings)


def basis_risk(
    known: Known, bases: Bases, forecast: BasisForecast, window: float, findings: Findings
) -> BasisRisk:
    """How the bases change over the decision horizon, each and together, by what `window` hours have shown.

    That of a dated future, its floor too, shrinks towards expiry as the one of a basis pinned there.
    """
    listings = bases.listings
    if forecast.method == "given":
        reversion = float(np.log(2)) / forecast.half_life
        pinned = np.array([_pinned(known, listing, reversion) for listing in listings])
        free = np.sqrt(change_variance(forecast.level, reversion, known.hours))
        shared = (np.sqrt(forecast.correlation) * free * pinned)[np.newaxis]
        return BasisRisk(
            floored(free, forecast.floor) * pinned,
            shared if forecast.correlation else shared[:0],
            np.zeros(len(listings)),
        )
    past = bases.past(known.as_of, window)
    step, levels = past.step_hours, past.levels
    dated = np.flatnonzero(~bases.perps).tolist()
    strays = {k: _strayed(past.times, listings[k], levels[:, k]) for k in dated}
    if strays:
        levels = levels.copy()
    for k, stray in strays.items():
        levels[:, k] -= stray.line
    levels = clipped_levels(levels, forecast.outlier_limit)
    sd, seen = _change_sds(levels, step, known.hours, forecast.memory)
    pinned = np.ones(len(listings))
    for k, stray in strays.items():
        sd[k], seen[k], pinned[k] = _pinned_sd(known, step, listings[k], levels[:, k], stray, forecast.memory)
    thin = np.isnan(sd)
    _report_basis(_named(listings, thin), _named(listings, ~seen & ~thin), step, findings)
    total = np.asarray(floored(np.where(thin, 0.0, sd), forecast.floor) * pinned)
    if thin.any() or not listings:
        return BasisRisk(total, np.zeros((0, len(listings))), np.zeros(len(listings)))
    perps = slice(None) if bases.perps.all() else bases.perps
    beta = pinned * pooled_beta(
        *(levels[:, perps], past.coins[:, perps], step, known.hours, forecast.correlation_memory),
        weight=forecast.coin_weight,
    )
    if not forecast.factors or len(listings) < 2:
        return BasisRisk(total, np.zeros((0, len(listings))), beta)
    together = change_correlation(levels, step, known.hours, forecast.correlation_memory)
    return BasisRisk(total, common_loadings(together, forecast.factors) * sd * pinned, beta)


def _named(listings: list[Listing], which: BoolVector) -> list[str]:
    return [f"{listings[k].venue} {listings[k].symbol}" for k in np.flatnonzero(which)]


def _pinned(known: Known, listing: Listing, reversion: float) -> float:
    """Share of a free basis' sd that a contract keeps: 1 for a perp, less the nearer the expiry."""
    left = hours_to_expiry(listing, known.as_of)
    # One that expires before then is held until its expiry at most.
    ahead = min(known.hours, left)
    return float(np.sqrt(pinned_share(reversion, ahead, left))) if np.isfinite(left) else 1.0


class _Stray(NamedTuple):
    """The carry `line` (T,) of a dated future, which is known, and hours to its expiry `left` (T,)."""

    line: Vector
    left: Vector


def _strayed(times: Index, listing: Listing, levels: Vector) -> _Stray:
    """The premium's way to zero is known: only what strays from it is cut, and tells the reversion."""
    assert listing.expiry is not None
    left = (us_of(listing.expiry) - times) / 3.6e9
    return _Stray(carry_line(levels, left) if left.size else left, left)


def _pinned_sd(
    known: Known, step: float, listing: Listing, levels: Vector, stray: _Stray, memory: float
) -> tuple[float, bool, float]:
    """Sd of the change of a dated future's basis were it free, NaN where its levels are too few.

    With it, whether prices are fine enough to tell it, and the share that it keeps so near its expiry.
    """
    if np.isfinite(levels).sum() < LEAST_ROWS:
        return np.nan, True, 1.0
    if np.nanmax(np.abs(levels)) <= _ROUNDING:
        return 0.0, True, 1.0
    try:
        reversion = fit_mean_reversion(levels, step)[1]
        found = surprise_sd(levels + stray.line, stray.left, step, known.hours, memory, reversion)
    except ValueError:
        return np.nan, True, 1.0
    part, seen = _part_of_step(levels, step, known.hours)
    return found * part, seen, _pinned(known, listing, reversion)


def _part_of_step(levels: Vector, step: float, hours: float) -> tuple[float, bool]:
    """Sd of a change over `hours` per sd of one over a longer step, and whether the levels can tell it."""
    if hours >= step:
        return 1.0, True
    if not half_life_resolved(levels, step):
        return 1.0, False
    reversion = fit_mean_reversion(levels, step)[1]
    part = change_variance(1.0, reversion, hours) / change_variance(1.0, reversion, step)
    return float(np.sqrt(part)), True


def _change_sds(levels: Matrix, step: float, hours: float, memory: float) -> tuple[Vector, BoolVector]:
    """Sd (n,) of the change over `hours`, and whether the step is fine enough to tell it.

    NaN where the levels are too few.
    """
    n = levels.shape[1]
    few = np.isfinite(levels).sum(axis=0) < LEAST_ROWS
    seen = np.ones(n, dtype=np.bool_)
    if few.all():
        return np.full(n, np.nan), seen
    sd = np.where(few, np.nan, change_sds(levels, step, hours, memory))
    if hours < step:
        for k in np.flatnonzero(sd > 0.0):
            try:
                part, seen[k] = _part_of_step(levels[:, k], step, hours)
            except ValueError:  # changes, but fewer than ten from one step to the next
                part = np.nan
            sd[k] *= part
    return sd, seen


def _report_basis(thin: list[str], coarse: list[str], step: float, findings: Findings) -> None:
    if thin:
        message = (
            f"fewer than {LEAST_ROWS} basis levels, or 10 changes, for {', '.join(thin[:_NAMED])}; "
            "add history or use forecasts.basis.method: given"
        )
        findings.problems.append(Problem("prices", message))
    if coarse:
        more = f" and {len(coarse) - _NAMED} more" if len(coarse) > _NAMED else ""
        findings.notices.append(
            f"prices every {step:g} h are too coarse to see the half-life of the basis of "
            f"{', '.join(coarse[:_NAMED])}{more}: over the decision horizon it is taken to change as much as "
            f"over {step:g} h; give finer prices, or forecasts.basis.method: given"
        )
