"""What the snapshot's prices say about the future: the risk model over the decision horizon."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from allocator.errors import Problem
from allocator.market.dated import hours_to_expiry
from allocator.market.exposures import USD
from allocator.market.history import History, side_by_side
from allocator.market.types import Matrix
from allocator.market.universe import INDEX, Findings, Listing
from allocator.scenario.forecasts import AssetForecast, BasisForecast, Forecasts
from models.arrays import Vector
from models.basis import (
    change_sd,
    change_variance,
    clipped_levels,
    fit_mean_reversion,
    floored,
    half_life_resolved,
)
from models.basis_factors import change_correlation, common_loadings, own_sd
from models.covariance import (
    RiskModel,
    asset_factor_form,
    factor_form,
    floor_volatility,
    scale_to_horizon,
    with_volatility,
)
from models.covariance_estimates import (
    CovarianceEstimator,
    ewma_covariance,
    fitted_covariance,
    sample_covariance,
    shrunk_covariance,
)
from models.dated import carry_line, pinned_share, surprise_sd

LEAST_ROWS = 20  # fewer returns than this say nothing about a covariance or a mean reversion
_NAMED = 5  # at most so many names in one notice
_DAYS_PER_YEAR = 365.0
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_ROUNDING = 1e-12  # a basis of a level this small does not move


@dataclass(frozen=True)
class Known:
    """The prices known at `as_of`, and how many hours ahead risk looks.

    Of a `history`, which may go on after `as_of`, what was known then is taken in place of `prices`.
    """

    prices: pd.DataFrame
    as_of: datetime
    hours: float
    history: History | None = None

    def grid(self, window_hours: float, venue: str | None = None) -> pd.DataFrame:
        """Prices of the last `window_hours`: one row a time, one column per (venue, symbol)."""
        after = self.as_of - timedelta(hours=window_hours)
        if self.history is not None:
            grid = self.history.grid(after, self.as_of, venue)
        else:
            recent = self.prices[self.prices["time"] > after]
            grid = side_by_side(recent if venue is None else recent[recent["venue"] == venue])
        step = _step_hours(grid.index)
        if not step > 0.0:
            return grid
        if np.ptp(np.diff(pd.DatetimeIndex(grid.index).asi8)) == 0:
            return grid
        # A time without any price is a gap, not a longer step.
        every = pd.date_range(grid.index[0], grid.index[-1], freq=pd.Timedelta(hours=step))
        return grid.reindex(every) if grid.index.isin(every).all() else grid


def _step_hours(times: pd.Index) -> float:
    """Usual hours between rows, NaN for a single row."""
    seconds = np.diff(pd.DatetimeIndex(times).asi8) / _PER_SECOND[pd.DatetimeIndex(times).unit]
    return float(np.median(seconds)) / 3600.0 if seconds.size else float("nan")


def asset_covariance(
    known: Known,
    assets: tuple[str, ...],
    forecast: AssetForecast,
    findings: Findings,
    estimator: CovarianceEstimator | None = None,
) -> Matrix:
    """Covariance of asset returns over the decision horizon (A, A): scaled, then floored.

    An `estimator` with scikit-learn's covariance interface takes the place of `forecast.method`.
    """
    if forecast.method == "given" and estimator is None:
        daily = _given_covariance(assets, forecast, findings)
    else:
        daily = _estimated_covariance(known, assets, forecast, findings, estimator)
    if daily is None:
        return np.eye(len(assets))
    daily = _scaled(daily, assets, forecast, findings)
    return scale_to_horizon(floor_volatility(daily, forecast.floor), 24.0, known.hours)


def _given_covariance(assets: tuple[str, ...], forecast: AssetForecast, findings: Findings) -> Matrix | None:
    """Covariance of a day as the scenario states it; None with a problem found."""
    # An implied volatility replaces whatever stands here for its asset.
    known = dict.fromkeys(forecast.implied_volatility, 1.0) | forecast.daily_volatility
    missing = [asset for asset in assets if asset not in known]
    if missing:
        message = f"forecasts.assets.daily_volatility has no entry for {', '.join(missing)}"
        findings.problems.append(Problem("scenario", message))
        return None
    sd = np.array([known[asset] for asset in assets])
    correlation = np.full((len(assets), len(assets)), forecast.correlation)
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(correlation * np.outer(sd, sd))


def _estimated_covariance(
    known: Known,
    assets: tuple[str, ...],
    forecast: AssetForecast,
    findings: Findings,
    estimator: CovarianceEstimator | None,
) -> Matrix | None:
    """Covariance of a day from the reference prices; None with a problem found."""
    grid = known.grid(forecast.window, INDEX)
    columns = [(INDEX, f"{asset}/USD") for asset in assets]
    prices = grid.reindex(columns=columns).to_numpy()
    returns = prices[1:] / prices[:-1] - 1
    present = np.isfinite(returns)
    rows = present.sum(axis=0) if len(returns) else np.zeros(len(assets))
    thin = [asset for asset, count in zip(assets, rows, strict=True) if count < LEAST_ROWS]
    if thin:
        message = (
            f"reference prices of {', '.join(thin)} give fewer than {LEAST_ROWS} returns; "
            "add history or use forecasts.assets.method: given"
        )
        findings.problems.append(Problem("prices", message))
        return None
    complete = int(present.all(axis=1).sum())
    if (estimator is not None or forecast.method in ("ledoit_wolf", "oas")) and complete < LEAST_ROWS:
        message = (
            f"only {complete} times have a return of every asset, {LEAST_ROWS} are needed; "
            "add history or use forecasts.assets.method: ewma"
        )
        findings.problems.append(Problem("prices", message))
        return None
    step = _step_hours(grid.index)
    try:
        found = _covariance(returns, forecast, step, estimator)
    except ValueError as error:
        findings.problems.append(Problem("prices", f"no covariance of {', '.join(assets)}: {error}"))
        return None
    return scale_to_horizon(found, step, 24.0)


def _covariance(
    returns: Vector, forecast: AssetForecast, step: float, estimator: CovarianceEstimator | None
) -> Matrix:
    """Covariance per step."""
    if estimator is not None:
        return fitted_covariance(returns, estimator)
    lags = forecast.asynchronous_lags
    if forecast.method == "sample":
        return sample_covariance(returns, lags)
    if forecast.method == "ledoit_wolf" or forecast.method == "oas":
        return shrunk_covariance(returns, forecast.method)
    return ewma_covariance(returns, forecast.half_life / step, lags)


def _scaled(daily: Matrix, assets: tuple[str, ...], forecast: AssetForecast, findings: Findings) -> Matrix:
    """A day's covariance with implied volatilities in place and all others scaled; correlations stay."""
    unknown = sorted(set(forecast.implied_volatility) - set(assets))
    if unknown:
        findings.notices.append(
            f"forecasts.assets.implied_volatility: {', '.join(unknown)} not in the market"
        )
    implied = {
        asset: yearly / np.sqrt(_DAYS_PER_YEAR) for asset, yearly in forecast.implied_volatility.items()
    }
    own = np.sqrt(np.diag(daily))
    sd = np.array([implied.get(asset, forecast.scale * s) for asset, s in zip(assets, own, strict=True)])
    moves = own > 0.0
    scaled = np.diag(np.where(moves, 0.0, sd) ** 2)
    scaled[np.ix_(moves, moves)] = with_volatility(daily[np.ix_(moves, moves)], sd[moves])
    return scaled


class BasisRisk(NamedTuple):
    """Change of each perp's basis over the decision horizon: sd (n,), loadings (k, n) on common factors.

    `sd` counts the loadings too, and is at least the floor; what the floor adds is each basis's own.
    """

    sd: Vector
    loadings: Vector

    @property
    def own(self) -> Vector:
        """Sd (n,) of what the common factors leave."""
        return own_sd(self.sd, self.loadings)


def basis_risk(
    known: Known, listings: list[Listing], forecast: BasisForecast, window: float, findings: Findings
) -> BasisRisk:
    """How the bases of different contracts change over the decision horizon, each and together.

    That of a dated future, its floor too, shrinks towards expiry as the one of a basis pinned there.
    """
    if forecast.method == "given":
        reversion = float(np.log(2)) / forecast.half_life
        pinned = np.array([_pinned(known, listing, reversion) for listing in listings])
        free = np.sqrt(change_variance(forecast.level, reversion, known.hours))
        shared = (np.sqrt(forecast.correlation) * free * pinned)[np.newaxis]
        return BasisRisk(
            floored(free, forecast.floor) * pinned, shared if forecast.correlation else shared[:0]
        )
    grid = known.grid(window)
    step = _step_hours(grid.index)
    places = {(str(key[0]), str(key[1])): k for k, key in enumerate(grid.columns.to_list())}
    columns = _Columns(places, grid.to_numpy())
    strays = [_strayed(grid.index, row, _basis_levels(columns, row), forecast) for row in listings]
    sd, pinned, thin, coarse = np.zeros(len(listings)), np.ones(len(listings)), [], []
    for i, (listing, stray) in enumerate(zip(listings, strays, strict=True)):
        try:
            sd[i], seen, pinned[i] = _estimated_sd(known, step, listing, stray, forecast.memory)
        except ValueError:
            thin.append(f"{listing.venue} {listing.symbol}")
            continue
        if not seen:
            coarse.append(f"{listing.venue} {listing.symbol}")
    _report_basis(thin, coarse, step, findings)
    total = np.asarray(floored(sd, forecast.floor) * pinned)
    if thin or not forecast.factors or len(listings) < 2:
        return BasisRisk(total, np.zeros((0, len(listings))))
    levels = np.column_stack([stray.levels for stray in strays])
    together = change_correlation(levels, step, known.hours, forecast.correlation_memory)
    return BasisRisk(total, common_loadings(together, forecast.factors) * sd * pinned)


def _pinned(known: Known, listing: Listing, reversion: float) -> float:
    """Share of a free basis' sd that a contract keeps: 1 for a perp, less the nearer the expiry."""
    left = hours_to_expiry(listing, known.as_of)
    return float(np.sqrt(pinned_share(reversion, known.hours, left))) if np.isfinite(left) else 1.0


class _Stray(NamedTuple):
    """Basis levels (T,) beside what was known of them: the carry `line` (T,) of a dated future, else zeros.

    `left` (T,) is hours to expiry, infinite for a perp.
    """

    levels: Vector
    line: Vector
    left: Vector


def _strayed(times: pd.Index, listing: Listing, levels: Vector, forecast: BasisForecast) -> _Stray:
    """The premium's way to zero is known: only what strays from it is cut, and tells the reversion."""
    if listing.expiry is None or not np.isfinite(levels).any():
        free = np.full(len(levels), np.inf)
        return _Stray(clipped_levels(levels, forecast.outlier_limit), np.zeros(len(levels)), free)
    left = (pd.Timestamp(listing.expiry) - pd.DatetimeIndex(times)).total_seconds().to_numpy() / 3600.0
    line = carry_line(levels, left)
    return _Stray(clipped_levels(levels - line, forecast.outlier_limit), line, left)


def _estimated_sd(
    known: Known, step: float, listing: Listing, stray: _Stray, memory: float
) -> tuple[float, bool, float]:
    """Sd of the change of a free basis, whether prices are fine enough to tell it, and the share kept."""
    levels = stray.levels
    if not np.isfinite(stray.left).any():
        return *_change_sd(levels, step, known.hours, memory), 1.0
    if np.isfinite(levels).sum() < LEAST_ROWS:
        raise ValueError(f"fewer than {LEAST_ROWS} levels")
    if np.nanmax(np.abs(levels)) <= _ROUNDING:
        return 0.0, True, 1.0
    reversion = fit_mean_reversion(levels, step)[1]
    found = surprise_sd(levels + stray.line, stray.left, step, known.hours, memory, reversion)
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


def _change_sd(levels: Vector, step: float, hours: float, memory: float) -> tuple[float, bool]:
    """Sd of the change over `hours`, and whether the step is fine enough to tell it.

    ValueError when the levels are too few.
    """
    if np.isfinite(levels).sum() < LEAST_ROWS:
        raise ValueError(f"fewer than {LEAST_ROWS} levels")
    found = change_sd(levels, step, hours, memory)
    if found == 0.0:
        return found, True
    part, seen = _part_of_step(levels, step, hours)
    return found * part, seen


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


class _Columns(NamedTuple):
    """A grid of prices (T, n) and where each (venue, symbol) stands in it."""

    places: dict[tuple[str, str], int]
    values: Matrix

    def of(self, key: tuple[str, str]) -> Vector:
        return np.asarray(self.values[:, self.places[key]])


def _basis_levels(grid: _Columns, listing: Listing) -> Vector:
    """log(perp in USD per coin / the coin's own reference), NaN where either is missing."""
    key, own = listing.key, (INDEX, f"{listing.row['asset']}/USD")
    quote = (INDEX, f"{listing.row['index_currency']}/USD")
    if key not in grid.places or own not in grid.places:
        return np.array([])
    currency = 1.0 if listing.row["index_currency"] == USD else grid.of(quote)
    perp = grid.of(key) / float(listing.row["coins_per_unit"]) * currency
    return np.asarray(np.log(perp / grid.of(own)), dtype=float)


def _factors(
    covariance: Matrix, assets: tuple[str, ...], forecast: AssetForecast, findings: Findings
) -> tuple[Vector, Vector]:
    """Loadings (k, A) and idiosyncratic sd (A,), by named assets or by principal directions."""
    if not forecast.factor_assets:
        return factor_form(covariance, min(forecast.factors or len(assets), len(assets)))
    unknown = [asset for asset in forecast.factor_assets if asset not in assets]
    try:
        if unknown:
            raise ValueError(f"{', '.join(unknown)} not among the assets {', '.join(assets)}")
        return asset_factor_form(covariance, [assets.index(asset) for asset in forecast.factor_assets])
    except ValueError as error:
        findings.problems.append(Problem("scenario", f"forecasts.assets.factor_assets: {error}"))
        return factor_form(covariance, len(assets))


def risk_model(
    known: Known,
    listings: list[Listing],
    assets: tuple[str, ...],
    currencies: tuple[str, ...],
    forecasts: Forecasts,
    findings: Findings,
    estimator: CovarianceEstimator | None = None,
) -> tuple[RiskModel, Matrix]:
    """The factor model over the decision horizon, and the asset covariance it came from."""
    covariance = asset_covariance(known, assets, forecasts.assets, findings, estimator)
    loadings, idiosyncratic = _factors(covariance, assets, forecasts.assets, findings)
    given = forecasts.currencies
    daily = np.array([max(given.daily_volatility[c], given.floor) for c in currencies])
    # The same perp held in two accounts has one basis.
    perps = [f"{listing.exchange} {listing.symbol}" for listing in listings]
    _, first, group = np.unique(perps, return_index=True, return_inverse=True)
    different = [listings[i] for i in first]
    basis = basis_risk(known, different, forecasts.basis, forecasts.assets.window, findings)
    model = RiskModel(
        asset_loadings=loadings,
        asset_idiosyncratic=idiosyncratic,
        basis_sd=basis.own,
        basis_group=group,
        currency_loadings=np.diag(daily * np.sqrt(known.hours / 24.0)),
        basis_loadings=basis.loadings,
    )
    return model, covariance
