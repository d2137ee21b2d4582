"""What a market believes of the future: risk, trading costs, funding; remembered where nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from allocator.market.costs import trading_costs
from allocator.market.forecast import Known, risk_model
from allocator.market.funding import funding_forecast, funding_histories
from allocator.market.history import History
from allocator.market.names import Names
from allocator.market.types import Costs, Funding, Matrix, Prices
from allocator.market.universe import Findings, Listing
from allocator.scenario.schema import Scenario
from models.covariance import RiskModel
from models.covariance_estimates import CovarianceEstimator


@dataclass(frozen=True)
class Seen:
    """What beliefs rest on: a scenario and the tables known at `as_of`; `stage` remembers results.

    Where `history` is given, prices and funding known by then are read there, not in the tables.
    """

    scenario: Scenario
    tables: dict[str, pd.DataFrame]
    as_of: datetime
    findings: Findings
    stage: Callable[..., Any]
    history: History | None = None


@dataclass(frozen=True)
class Beliefs:
    """Risk over the decision horizon, the asset covariance (A, A) behind it, costs, and perps' funding."""

    risk: RiskModel
    covariance: Matrix
    costs: Costs
    funding: Funding


def form_beliefs(
    seen: Seen,
    listings: list[Listing],
    names: Names,
    prices: Prices,
    covariance_estimator: CovarianceEstimator | None,
) -> Beliefs:
    """Estimate and forecast for the listed instruments. Raises `DataError` with all that is missing.

    `funding` is of perpetuals only: dated futures have a carry in its place.
    """
    scenario, tables, as_of, history = seen.scenario, seen.tables, seen.as_of, seen.history
    settled = tables["funding"] if history is None else history.funding
    believed, horizons, impact = scenario.forecasts, scenario.horizons, scenario.objective.impact
    hours = horizons.decision
    risk, covariance = seen.stage(
        "risk",
        seen.findings,
        lambda found: risk_model(
            Known(tables["prices"], as_of, hours, history),
            listings,
            names.assets,
            names.currencies,
            believed,
            found,
            covariance_estimator,
        ),
        *(tables, as_of, hours, listings, names.assets, names.currencies, covariance_estimator),
        *(believed.assets, believed.basis, believed.currencies),
    )
    seen.findings.raise_if_any()
    daily = np.sqrt(np.diag(covariance) * 24.0 / hours)[names.asset_of]
    costs = seen.stage(
        "costs",
        seen.findings,
        lambda found: trading_costs(scenario, listings, prices, tables.get("books"), daily, found),
        *(listings, prices, tables, scenario.objective.maker_share, impact),
        *(daily if impact.model == "square_root" else None, tuple(v.fees for v in scenario.venues.values())),
    )
    perps = [listing for listing in listings if listing.expiry is None]
    histories = seen.stage(
        "funding histories",
        seen.findings,
        lambda found: funding_histories(settled, perps, believed.funding.window, as_of, found),
        *(tables, listings, believed.funding.window, as_of),
    )
    funding = seen.stage(
        "funding",
        seen.findings,
        lambda found: funding_forecast(
            histories, perps, believed.funding, as_of, hours, horizons.holding, found
        ),
        *(histories, listings, believed.funding, as_of, horizons),
    )
    seen.findings.raise_if_any()
    return Beliefs(risk, covariance, costs, funding)
