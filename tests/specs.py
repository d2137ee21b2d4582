"""What a test says of a market: perps, balances, limits and an objective, from plain numbers.

Every field has a plain default, so that a test states only what it is about; `dataclasses.replace` tweaks
the rest. Amounts are USD, rates fractions, standard deviations fractions over the decision horizon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from allocator.scenario import schema
from models.collateral import HaircutTiers
from models.costs import DepthCurve
from models.margin import Brackets, bracket_deductions


def brackets(
    floors: list[float], rates: list[float], max_leverages: list[float], cap: float = np.inf
) -> Brackets:
    """A sound bracket table; deductions follow from floors and rates."""
    caps = [*floors[1:], cap]
    return Brackets(
        np.array(floors),
        np.array(caps),
        np.array(rates),
        bracket_deductions(floors, rates),
        np.array(max_leverages),
    )


FLAT = brackets([0.0], [0.004], [100.0])


def limit(kind: str, **values: Any) -> schema.Limit:
    """A limit from numbers: USD, fractions and multiples as plain floats."""
    model: type[schema.LimitBase] = _KINDS[kind]
    return model.model_construct(kind=kind, **values)  # type: ignore[return-value]


def objective(**values: Any) -> schema.Objective:
    """An objective from numbers; what is not given is the scenario's default."""
    return schema.Objective.model_construct(impact=schema.Impact(model="none"), **values)


_KINDS: dict[str, Any] = {
    "net_delta": schema.NetDelta,
    "hedge_ratio": schema.HedgeRatio,
    "hedge_side": schema.HedgeSide,
    "position": schema.PositionCap,
    "gross": schema.Gross,
    "leverage": schema.LeverageLimit,
    "participation": schema.Participation,
    "turnover": schema.Turnover,
    "venue_share": schema.VenueShare,
    "collateral_share": schema.CollateralShare,
    "venue_outage": schema.VenueOutage,
    "initial_margin": schema.InitialMargin,
    "maintenance_margin": schema.MaintenanceMargin,
    "liquidity": schema.Liquidity,
    "liquidation_probability": schema.LiquidationProbability,
    "volatility": schema.Volatility,
}


@dataclass(frozen=True)
class Book:
    """Levels of one side: USD that each offers, and its premium over the best price."""

    sizes: tuple[float, ...]
    premiums: tuple[float, ...]

    @property
    def curve(self) -> DepthCurve:
        """As the cost formulas take it."""
        return DepthCurve(np.array(self.sizes), np.array(self.premiums))


@dataclass(frozen=True)
class Perp:
    """One perpetual. `basis` names a shared basis (default: its own); `impact` is k of k·|u|^(3/2)."""

    venue: str = "alpha"
    asset: str = "BTC"
    quote: str = "USDT"
    inverse: bool = False
    label: str = ""
    previous: float = 0.0
    open_buys: float = 0.0
    open_sells: float = 0.0
    leverage: float = 5.0
    brackets: Brackets = FLAT
    fee: float = 0.0
    spread: float = 0.0
    bids: Book | None = None
    asks: Book | None = None
    taker_share: float = 1.0
    impact: float = 0.0
    adv: float = 1e9
    funding: float = 0.0
    funding_sd: float = 0.0
    funding_cap: float = 0.003
    funding_hours: float = 8.0
    basis_sd: float = 4e-4
    basis: str = ""
    no_trade: bool = False
    reduce_only: bool = False

    @property
    def settlement(self) -> str:
        """Currency of its margin: the quote's, or the coin's."""
        return self.asset if self.inverse else self.quote

    @property
    def symbol(self) -> str:
        """Unified symbol."""
        return f"{self.asset}{self.label}/{self.quote}:{self.settlement}"

    @property
    def key(self) -> str:
        """As `Instrument.key`."""
        return f"{self.venue} {self.symbol}"


@dataclass(frozen=True)
class Balance:
    """Margin collateral in USD. With `delay` it may leave: hours on its way, at `cost` per USD."""

    venue: str
    currency: str
    usd: float
    haircut: float = 0.0
    tiers: HaircutTiers | None = None
    withdrawable: float = 0.0
    cost: float = 0.0
    delay: float | None = None


@dataclass(frozen=True)
class Spec:
    """A whole market. Without `balances` each venue has a thousand books of every settlement currency.

    `basis_correlation` is of every pair of bases, `basis_beta` of every basis on its coin; `error_shares` of
    funding errors by market, coin, venue.
    """

    perps: tuple[Perp, ...]
    exposure: Mapping[str, float]
    cross_hedges: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    asset_sd: Mapping[str, float] = field(default_factory=lambda: {"BTC": 0.025})
    correlation: float = 0.0
    factors: int | None = None
    basis_correlation: float = 0.0
    basis_beta: float = 0.0
    error_shares: tuple[float, float, float] = (0.0, 0.0, 0.0)
    currency_sd: Mapping[str, float] = field(default_factory=lambda: {"USDT": 0.0, "USDC": 0.0})
    cash: Mapping[str, float] = field(default_factory=dict)
    balances: tuple[Balance, ...] = ()
    charges: Mapping[str, float] = field(default_factory=dict)
    stresses: Mapping[str, schema.Stress] = field(default_factory=dict)
    limits: Mapping[str, schema.Limit] = field(default_factory=dict)
    objective: schema.Objective = field(default_factory=objective)
    book_usd: float = 1e7
    holding_hours: float = 24.0
    execution_hours: float = 1.0

    @property
    def venues(self) -> tuple[str, ...]:
        """Every venue named by a perp or a balance, sorted."""
        return tuple(sorted({p.venue for p in self.perps} | {b.venue for b in self.balances}))


def single_asset(exposure: float, venues: int, risk_aversion: float, **perp: Any) -> Spec:
    """One asset held, one perp on each of `venues` identical venues; `perp` are fields of `Perp`."""
    perps = tuple(replace(Perp(**perp), venue=f"venue{k}") for k in range(venues))
    return Spec(perps, {"BTC": exposure}, objective=objective(risk_aversion_per_usd=risk_aversion))
