"""What a market believes of the future: risk, trading costs, funding; remembered where nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from allocator.market.bases import Bases
from allocator.market.costs import trading_costs
from allocator.market.forecast import risk_model
from allocator.market.funding import funding_forecast, funding_histories
from allocator.market.history import History, Known
from allocator.market.names import Names
from allocator.market.observed import Newest
from allocator.market.types import Costs, Funding, Matrix, Prices
from allocator.market.universe import Findings, Listing
from allocator.scenario.schema import Scenario
from models.covariance import RiskModel
from models.covariance_estimates import CovarianceEstimator


@dataclass(frozen=True)
class Seen:
    """What beliefs rest on: a scenario and what was known at `newest.as_of`; `stage` remembers results."""

    scenario: Scenario
    newest: Newest
    history: History
    findings: Findings
    stage: Callable[..., Any]


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
    scenario, newest, history = seen.scenario, seen.newest, seen.history
    as_of, believed, horizons = newest.as_of, scenario.forecasts, scenario.horizons
    impact, hours = scenario.objective.impact, scenario.horizons.decision
    bases = seen.stage(
        "bases", seen.findings, lambda _: Bases.of(history.prices, listings), history, listings
    )
    risk, covariance = seen.stage(
        "risk",
        seen.findings,
        lambda found: risk_model(
            Known(history.prices, as_of, hours),
            bases,
            names.assets,
            names.currencies,
            believed,
            found,
            covariance_estimator,
        ),
        *(as_of, hours, bases, names.assets, names.currencies, covariance_estimator),
        *(believed.assets, believed.basis, believed.currencies),
    )
    seen.findings.raise_if_any()
    fees = tuple((name, venue.fees) for name, venue in scenario.venues.items())
    daily = np.sqrt(np.diag(covariance) * 24.0 / hours)[names.asset_of]
    costs = seen.stage(
        "costs",
        seen.findings,
        lambda found: trading_costs(scenario, listings, prices, newest.books, daily, found),
        *(listings, scenario.objective.maker_share, impact),
        *((prices, newest.books) if impact.model == "book" else ()),
        *(
            daily if impact.model == "square_root" else None,
            fees,
        ),
    )
    perps = [listing for listing in listings if listing.expiry is None]
    histories = seen.stage(
        "funding histories",
        seen.findings,
        lambda found: funding_histories(history.funding, perps, believed.funding.window, as_of, found),
        *(history, listings, believed.funding.window, as_of),
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
