"""What the snapshot's prices say about the future: the risk model over the decision horizon."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from allocator.errors import Problem
from allocator.market.dated import hours_to_expiry
from allocator.market.exposures import USD
from allocator.market.history import Grid, us_of
from allocator.market.observed import INDEX
from allocator.market.types import Index, Matrix
from allocator.market.universe import Findings, Listing
from allocator.scenario.forecasts import AssetForecast, BasisForecast, Forecasts
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
_ROUNDING = 1e-12  # a basis of a level this small does not move


@dataclass(frozen=True)
class Known:
    """Prices of a history, of which what was known at `as_of` counts, and how many hours ahead risk looks."""

    prices: Grid
    as_of: datetime
    hours: float

    def grid(self, window_hours: float) -> Grid:
        """Prices of the last `window_hours`."""
        return self.prices.between(self.as_of - timedelta(hours=window_hours), self.as_of)


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
    grid = known.grid(forecast.window)
    grid = grid.evenly([key for key in grid.places if key[0] == INDEX])
    prices = grid.columns([(INDEX, f"{asset}/USD") for asset in assets])
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
    step = grid.step_hours
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
            floored(free, forecast.floor) * pinned,
            shared if forecast.correlation else shared[:0],
            np.zeros(len(listings)),
        )
    grid = known.grid(window)
    grid = grid.evenly(list(grid.places))
    step, levels = grid.step_hours, _basis_levels(grid, listings)
    dated = [k for k, listing in enumerate(listings) if listing.expiry is not None]
    strays = {k: _strayed(grid.times, listings[k], levels[:, k]) for k in dated}
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
    perps = np.array([listing.expiry is None for listing in listings])
    coins = grid.columns([(INDEX, f"{row.row['asset']}/USD") for row in listings])
    beta = pinned * pooled_beta(
        *(levels[:, perps], coins[:, perps], step, known.hours, forecast.correlation_memory),
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
    return float(np.sqrt(pinned_share(reversion, known.hours, left))) if np.isfinite(left) else 1.0


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


def _basis_levels(grid: Grid, listings: list[Listing]) -> Matrix:
    """log(perp in USD per coin / the coin's own reference) (T, n), NaN where either is missing."""
    perp = grid.columns([listing.key for listing in listings])
    own = grid.columns([(INDEX, f"{listing.row['asset']}/USD") for listing in listings])
    quotes = [str(listing.row["index_currency"]) for listing in listings]
    quote = grid.columns([None if quote == USD else (INDEX, f"{quote}/USD") for quote in quotes])
    units = np.array([float(listing.row["coins_per_unit"]) for listing in listings])
    return np.asarray(np.log(perp / units * quote / own))


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
        basis_beta=basis.beta,
        basis_asset=np.array([assets.index(str(row.row["asset"])) for row in different], dtype=np.int64),
    )
    return model, covariance
