"""What the snapshot's prices say about the future: the risk model over the decision horizon."""

from __future__ import annotations

import numpy as np

from allocator.errors import Problem
from allocator.market.bases import LEAST_ROWS, Bases, basis_risk
from allocator.market.history import Known
from allocator.market.observed import INDEX
from allocator.market.types import Matrix
from allocator.market.universe import Findings
from allocator.scenario.forecasts import AssetForecast, Forecasts
from models.arrays import Vector
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

_DAYS_PER_YEAR = 365.0


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
    bases: Bases,
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
    basis = basis_risk(known, bases, forecasts.basis, forecasts.assets.window, findings)
    model = RiskModel(
        asset_loadings=loadings,
        asset_idiosyncratic=idiosyncratic,
        basis_sd=basis.own,
        basis_group=bases.group,
        currency_loadings=np.diag(daily * np.sqrt(known.hours / 24.0)),
        basis_loadings=basis.loadings,
        basis_beta=basis.beta,
        basis_asset=bases.places(assets),
    )
    return model, covariance
