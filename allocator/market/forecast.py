"""What the snapshot's history says about the future: the risk model and expected funding."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from allocator.errors import Problem
from allocator.market.exposures import USD
from allocator.market.types import Funding, Matrix
from allocator.market.universe import INDEX, Findings, Listing
from allocator.scenario.schema import AssetForecast, BasisForecast, Forecasts, FundingForecast
from models.arrays import Vector
from models.basis import change_variance, fit_mean_reversion, floored
from models.covariance import (
    RiskModel,
    ewma_covariance,
    factor_form,
    floor_volatility,
    scale_to_horizon,
)
from models.funding import (
    MeanReversion,
    ewma_rate,
    expected_rates,
    funding_uncertainty,
    holding_cost,
    settlement_times,
)

LEAST_ROWS = 20  # fewer returns than this say nothing about a covariance or a mean reversion
_LEAST_PRINTS = 3  # fewer settled rates than this have no spread


def _history(prices: pd.DataFrame, start: datetime) -> pd.DataFrame:
    """Prices in a grid: one row a time, one column per (venue, symbol)."""
    window = prices[prices["time"] > start]
    return window.pivot_table(index="time", columns=["venue", "symbol"], values="price", sort=True)


def _step_hours(times: pd.Index) -> float:
    """Usual hours between rows, NaN for a single row."""
    return float(pd.Series(times).diff().dt.total_seconds().median()) / 3600.0


def asset_covariance(
    prices: pd.DataFrame,
    assets: tuple[str, ...],
    forecast: AssetForecast,
    as_of: datetime,
    hours: float,
    findings: Findings,
) -> Matrix:
    """Covariance of asset returns over the decision horizon (A, A), volatility floored."""
    if forecast.method == "given":
        missing = [asset for asset in assets if asset not in forecast.daily_volatility]
        if missing:
            message = f"forecasts.assets.daily_volatility has no entry for {', '.join(missing)}"
            findings.problems.append(Problem("scenario", message))
            return np.eye(len(assets))
        sd = np.array([forecast.daily_volatility[asset] for asset in assets])
        correlation = np.full((len(assets), len(assets)), forecast.correlation)
        np.fill_diagonal(correlation, 1.0)
        daily = correlation * np.outer(sd, sd)
    else:
        grid = _history(prices[prices["venue"] == INDEX], as_of - timedelta(hours=forecast.window))
        columns = [(INDEX, f"{asset}/USD") for asset in assets]
        returns = grid.reindex(columns=columns).pct_change(fill_method=None).to_numpy()[1:]
        rows = np.isfinite(returns).sum(axis=0) if len(returns) else np.zeros(len(assets))
        thin = [asset for asset, count in zip(assets, rows, strict=True) if count < LEAST_ROWS]
        if thin:
            message = (
                f"reference prices of {', '.join(thin)} give fewer than {LEAST_ROWS} returns; "
                "add history or use forecasts.assets.method: given"
            )
            findings.problems.append(Problem("prices", message))
            return np.eye(len(assets))
        step = _step_hours(grid.index)
        daily = scale_to_horizon(ewma_covariance(returns, forecast.half_life / step), step, 24.0)
    return scale_to_horizon(floor_volatility(daily, forecast.floor), 24.0, hours)


def basis_volatility(
    prices: pd.DataFrame,
    listings: list[Listing],
    forecast: BasisForecast,
    as_of: datetime,
    window: float,
    hours: float,
) -> tuple[Vector, list[str]]:
    """Sd of the change of each perp's basis over the decision horizon (n,), and what was too thin to fit."""
    thin: list[str] = []
    if forecast.method == "given":
        variance = change_variance(forecast.level, np.log(2) / forecast.half_life, hours)
        return np.full(len(listings), floored(np.sqrt(variance), forecast.floor)), thin
    grid = _history(prices, as_of - timedelta(hours=window))
    step = _step_hours(grid.index)
    sd = np.empty(len(listings))
    for i, listing in enumerate(listings):
        levels = _basis_levels(grid, listing)
        if np.isfinite(levels).sum() < LEAST_ROWS:
            thin.append(listing.symbol)
            sd[i] = np.nan
            continue
        level_sd, reversion = fit_mean_reversion(levels, step) if np.nanstd(levels) > 0 else (0.0, 1.0)
        sd[i] = floored(np.sqrt(change_variance(level_sd, reversion, hours)), forecast.floor)
    return sd, thin


def _basis_levels(grid: pd.DataFrame, listing: Listing) -> Vector:
    """log(perp in USD per coin / the coin's own reference), NaN where either is missing."""
    key, own = listing.key, (INDEX, f"{listing.row['asset']}/USD")
    quote = (INDEX, f"{listing.row['index_currency']}/USD")
    if key not in grid.columns or own not in grid.columns:
        return np.array([])
    currency = 1.0 if listing.row["index_currency"] == USD else grid[quote].to_numpy()
    perp = grid[key].to_numpy() / float(listing.row["coins_per_unit"]) * currency
    return np.asarray(np.log(perp / grid[own].to_numpy()), dtype=float)


def risk_model(
    prices: pd.DataFrame,
    listings: list[Listing],
    assets: tuple[str, ...],
    currencies: tuple[str, ...],
    forecasts: Forecasts,
    as_of: datetime,
    hours: float,
    findings: Findings,
) -> tuple[RiskModel, Matrix]:
    """The factor model over the decision horizon, and the asset covariance it came from."""
    covariance = asset_covariance(prices, assets, forecasts.assets, as_of, hours, findings)
    rank = min(forecasts.assets.factors or len(assets), len(assets))
    loadings, idiosyncratic = factor_form(covariance, rank)
    basis, thin = basis_volatility(prices, listings, forecasts.basis, as_of, forecasts.assets.window, hours)
    if thin:
        message = (
            f"fewer than {LEAST_ROWS} basis levels for {', '.join(thin[:5])}; "
            "add history or use forecasts.basis.method: given"
        )
        findings.problems.append(Problem("prices", message))
        basis = np.where(np.isfinite(basis), basis, forecasts.basis.floor)
    given = forecasts.currencies
    sd = np.array([max(given.daily_volatility[c], given.floor) for c in currencies]) * np.sqrt(hours / 24.0)
    # The same perp held in two accounts has one basis.
    perps = [f"{listing.exchange} {listing.symbol}" for listing in listings]
    _, first, group = np.unique(perps, return_index=True, return_inverse=True)
    model = RiskModel(
        asset_loadings=loadings,
        asset_idiosyncratic=idiosyncratic,
        basis_sd=basis[first],
        basis_group=group,
        currency_loadings=np.diag(sd),
    )
    return model, covariance


def funding_forecast(
    funding: pd.DataFrame,
    listings: list[Listing],
    forecasts: Forecasts,
    as_of: datetime,
    hours: float,
    holding: float,
    findings: Findings,
) -> Funding:
    """Expected funding per instrument: the indication first, then the EWMA on its way to the long run."""
    recent = funding[funding["settlement_time"] > as_of - timedelta(hours=forecasts.funding.window)]
    groups = dict(iter(recent.sort_values(["settlement_time", "time"]).groupby(["venue", "symbol"])))
    found = []
    for listing in listings:
        if listing.key not in groups:
            message = (
                f"{listing.venue} {listing.symbol}: no settlement within forecasts.funding.window of "
                f"{forecasts.funding.window:g} h; add history or widen the window"
            )
            findings.problems.append(Problem("funding", message))
            continue
        history = _History.of(groups[listing.key], as_of)
        found.append(_forecast_one(history, forecasts.funding, as_of, hours, holding))
    return Funding(
        cost=np.array([f.cost for f in found]),
        total=np.array([f.total for f in found]),
        uncertainty=np.array([f.uncertainty for f in found]),
        next_rate=np.array([f.next_rate for f in found]),
        next_times=tuple(f.next_time for f in found),
        interval_hours=np.array([f.interval for f in found]),
        cap=np.array([float(listing.row["funding_cap"]) for listing in listings]),
    )


class _History(NamedTuple):
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
    def of(cls, rows: pd.DataFrame, as_of: datetime) -> _History:
        """From the rows of one instrument, in order of settlement, then of when they were known."""
        hours = (rows["settlement_time"] - as_of).dt.total_seconds().to_numpy() / 3600
        early = (rows["time"] < rows["settlement_time"]).to_numpy()
        rate = rows["rate"].to_numpy(dtype=float)
        intervals = rows["interval_hours"].to_numpy(dtype=float)
        settled = ~early & (hours <= 0)  # an indication that has passed is not what was paid
        coming = rate[hours == hours[hours > 0].min()] if (hours > 0).any() else rate[:0]
        return cls(
            hourly=rate[settled] / intervals[settled],
            ages=-hours[settled],
            indicated=float(coming[-1]) if len(coming) else None,
            last=rows["settlement_time"].iloc[-1].to_pydatetime(),
            interval=float(intervals[-1]),
        )


class _Forecast(NamedTuple):
    """One instrument's expected funding, as `Funding` has it for all."""

    cost: float
    total: float
    uncertainty: float
    next_rate: float
    next_time: datetime
    interval: float


def _forecast_one(
    history: _History, believed: FundingForecast, as_of: datetime, hours: float, holding: float
) -> _Forecast:
    """One instrument's forecast."""
    hourly, interval = history.hourly, history.interval
    # At least the next settlement is known, also when none falls within the holding horizon.
    horizon = as_of + timedelta(hours=holding)
    until = max(horizon, as_of + timedelta(hours=interval))
    times = settlement_times(history.last, interval, as_of, until)
    level = ewma_rate(hourly, history.ages, believed.half_life) if len(hourly) else believed.long_run
    reverting = MeanReversion(level * interval, believed.long_run * interval, believed.reversion)
    rates = expected_rates(times, as_of, interval, history.indicated, reverting)
    due = rates[: sum(time <= horizon for time in times)]
    sd = 0.0
    if len(hourly) >= _LEAST_PRINTS:
        sd = funding_uncertainty(hourly * interval, len(due), hours, holding)
    cost = holding_cost(due, hours, holding)
    return _Forecast(cost, float(due.sum()), sd, float(rates[0]), times[0], interval)
