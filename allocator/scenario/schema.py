"""The one source of what a scenario may say: validation, defaults, JSON Schema and reference page.

Every quantity is a typed text (:mod:`allocator.units`); plain numbers are dimensionless. Unknown keys are
errors. Maps named by the user (venues, instruments, limits, stresses, overlays) are dictionaries here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from allocator.scenario.base import Model, NonNegative
from allocator.scenario.forecasts import Forecasts
from allocator.scenario.margin_rules import HaircutTier, MarginRules
from allocator.scenario.orders import Explain, Orders
from allocator.scenario.walk import Backtest
from allocator.units import Fraction, Hours, Multiple, Usd, Yearly

Names = Literal["all"] | list[str]


class Horizons(Model):
    """How far risk looks (`decision`), how long a position lives (`holding`), how soon orders go out."""

    decision: Annotated[Hours, Field(gt=0)] = Field(24.0, validate_default=False)
    holding: Annotated[Hours, Field(gt=0)]
    execution: Annotated[Hours, Field(ge=0)] = Field(
        1.0, description="Time until the orders are sent; transfers faster than this arrive before them."
    )


class MaxAge(Model):
    """Age against `as_of` beyond which a table's newest row (per instrument) is stale."""

    instruments: Hours = 31 * 24.0
    prices: Hours = 2.0
    funding: Hours = 9.0
    books: Hours = 1.0
    margin_tiers: Hours = 31 * 24.0
    holdings: Hours = 24.0
    positions: Hours = 24.0
    collateral: Hours = 24.0


class Snapshot(Model):
    """Where the tables are. `tables` states small ones inline: a list of rows replaces the file."""

    folder: str | None = Field(None, description="Relative to the file that names it.")
    tables: dict[str, list[dict[str, Any]]] = Field({}, description="Rows by table name.")
    max_age: MaxAge = MaxAge()


class Book(Model):
    """What is hedged. Quantities come from the `holdings` table; this says how to read them."""

    exclude: list[str] = Field([], description="Assets whose exposure is not hedged and carries no risk.")
    cross_hedges: dict[str, Literal["estimated"] | dict[str, float]] = Field(
        {}, description="Asset without own perp: the assets hedging it with their betas, or `estimated`."
    )
    size: Annotated[Usd, Field(gt=0)] | None = Field(
        None, description="Scale for shares of the book and of all tolerances; default: gross exposure."
    )


class Fees(Model):
    """Fractions of traded notional; positive is paid by us, a rebate is negative."""

    maker: Fraction
    taker: Fraction


class Withdrawal(Model):
    """Cost and delay of moving one currency out of a venue."""

    cost: Annotated[Fraction, Field(ge=0)] = 0.0
    delay: Annotated[Hours, Field(ge=0)]


class Venue(Model):
    """One margin account. Its key in the map is the name used everywhere in the scenario."""

    exchange: str | None = Field(None, description="Name of the exchange in the tables; default: the key.")
    account: str = Field("main", description="Name of the account in the tables.")
    table: str | None = Field(
        None, description="Venue table below this entry: a name of the package, or a file ending in .yaml."
    )
    fees: Fees
    haircuts: dict[str, Annotated[Fraction, Field(ge=0, le=1)] | Literal["tiered"]] = Field(
        description="Accepted collateral: currency and the share of its value that does not count, "
        "or `tiered` by `haircut_tiers`."
    )
    haircut_tiers: dict[str, Annotated[list[HaircutTier], Field(min_length=1)]] = Field(
        {},
        description="By currency; read where `haircuts` says `tiered`. Beyond the last cap nothing counts.",
    )
    withdrawals: dict[str, Withdrawal] = Field({}, description="Currencies that may leave, at what cost.")
    capital_cost: Annotated[Yearly, Field(ge=0)] = Field(0.0, description="Of the collateral kept there.")
    default_probability: Annotated[Yearly, Field(ge=0)] = Field(0.0, description="That the venue fails.")
    recovery: Annotated[Fraction, Field(ge=0, le=1)] = Field(0.0, description="Share got back then.")
    margin: MarginRules = Field(MarginRules(), description="Where margin is more than a rate per bracket.")
    liquidation_penalty: dict[str, Annotated[Fraction, Field(ge=0, le=1)]] = Field(
        {}, description="By asset or `all`: share of the position a liquidation costs. For people; no effect."
    )


class Instruments(Model):
    """A selection of perps and dated futures on one venue and their settings. A named symbol beats `all`."""

    venue: str
    symbols: Names
    assets: list[str] | None = Field(None, description="Keep only these underlyings of the selection.")
    leverage: Annotated[Multiple, Field(gt=0)] | None = None
    on_missing: Literal["error", "drop"] = Field("error", description="When a symbol or its data is missing.")
    no_trade: bool = Field(False, description="Keep the position as it is.")
    reduce_only: bool = Field(False, description="The position may only shrink.")
    max_position: Annotated[Usd, Field(ge=0)] | None = Field(None, description="|x| of each instrument.")


class Impact(Model):
    """What trading beyond the best price costs."""

    model: Literal["book", "square_root", "none"]
    depth_share: Annotated[Fraction, Field(gt=0, le=1)] = Field(
        0.2, description="For `book`: share of the displayed depth that may be taken."
    )
    coefficient: Annotated[float, Field(ge=0)] = Field(1.0, description="For `square_root`.")


class Objective(Model):
    """What is minimised, in USD per decision horizon.

    `utility` is risk and cost together, `min_variance` least risk within `cost_budget`, `min_cost` least cost
    within `volatility_limit`.
    """

    mode: Literal["utility", "min_variance", "min_cost"] = "utility"
    risk_aversion_per_usd: Annotated[float, Field(gt=0, le=1)] = Field(
        1e-6, description="λ in (λ/2)·variance."
    )
    cost_budget: Annotated[Usd, Field()] | None = Field(None, description="For `min_variance`, per decision.")
    volatility_limit: Annotated[Usd, Field(gt=0)] | None = Field(None, description="For `min_cost`.")
    tie_break: Annotated[float, Field(gt=0, le=0.01)] = Field(
        1e-3, description="Share of the other terms kept in `min_variance` and `min_cost`."
    )
    funding_uncertainty_aversion: NonNegative = Field(0.0, description="κ of the robust funding term.")
    maker_share: Annotated[Fraction, Field(ge=0, le=1)] = Field(0.0, description="Of each trade, as maker.")
    impact: Impact


class LimitBase(Model):
    """`soft` prices a breach (USD per USD of breach and decision horizon); without it the limit is hard."""

    soft: Annotated[Fraction, Field(gt=0)] | None = None


class NetDelta(LimitBase):
    """Exposure plus positions of each asset stays in a band."""

    kind: Literal["net_delta"]
    assets: Names = "all"
    min: Usd
    max: Usd


class HedgeRatio(LimitBase):
    """Positions against each asset's exposure, −Σx/e, stay in a range."""

    kind: Literal["hedge_ratio"]
    assets: Names = "all"
    min: Annotated[Fraction, Field()]
    max: Annotated[Fraction, Field()]


class HedgeSide(LimitBase):
    """Each instrument opposes the exposure it hedges; a position on the wrong side may only shrink."""

    kind: Literal["hedge_side"]


class PositionCap(LimitBase):
    """|x| of each selected instrument."""

    kind: Literal["position"]
    venues: Names = "all"
    assets: Names = "all"
    max: Annotated[Usd, Field(ge=0)]


class Gross(LimitBase):
    """Σ|x| over the selected venues together."""

    kind: Literal["gross"]
    venues: Names = "all"
    max: Annotated[Usd, Field(ge=0)]


class LeverageLimit(LimitBase):
    """Σ|x| of each selected venue against its margin equity."""

    kind: Literal["leverage"]
    venues: Names = "all"
    max: Annotated[Multiple, Field(gt=0)]


class Participation(LimitBase):
    """|trade| of each instrument against its daily volume (`adv`) or its visible depth (`depth`)."""

    kind: Literal["participation"]
    of: Literal["adv", "depth"]
    max: Annotated[Fraction, Field(gt=0)]


class Turnover(LimitBase):
    """Σ|trade|."""

    kind: Literal["turnover"]
    max: Annotated[Usd, Field(ge=0)]


class VenueShare(LimitBase):
    """Each venue's Σ|x|, as a share of the book's size or of the actual gross (`hedge_side` needed)."""

    kind: Literal["venue_share"]
    venues: Names = "all"
    of: Literal["book", "gross"] = "book"
    max: Annotated[Fraction, Field(gt=0)]


class CollateralShare(LimitBase):
    """Each venue's collateral, as a share of all collateral."""

    kind: Literal["collateral_share"]
    venues: Names = "all"
    max: Annotated[Fraction, Field(gt=0, le=1)]


class VenueOutage(LimitBase):
    """A venue vanishes with its positions and collateral: the delta left in each asset, and what is lost.

    Delta stays in ±`max`. The loss, (1 − `recovery`) of collateral and unrealised P&L there, stays within
    `max_loss` and `max_loss_share`, now and in each of `stresses` (whose funding and auto-deleveraging would
    leave less to lose and do not count).
    """

    kind: Literal["venue_outage"]
    venues: Names = "all"
    assets: Names = "all"
    max: Annotated[Usd, Field(ge=0)] | None = Field(None, description="Delta left in each asset.")
    max_loss: Annotated[Usd, Field(ge=0)] | None = Field(None, description="Of each venue's outage.")
    max_loss_share: Annotated[Fraction, Field(ge=0)] | None = Field(None, description="Of the book's size.")
    recovery: Annotated[Fraction, Field(ge=0, le=1)] | None = Field(None, description="Share got back.")
    stresses: Names = Field([], description="In which the venue fails, besides now: its gains are lost too.")

    @model_validator(mode="after")
    def _complete(self) -> VenueOutage:
        bounded = self.max_loss is not None or self.max_loss_share is not None
        if self.max is None and not bounded:
            raise ValueError("write `max` (delta left), `max_loss` or `max_loss_share`")
        if bounded and self.recovery is None:
            raise ValueError("a limit on the loss needs `recovery`; write a share such as 40%, or 0")
        return self

    def loss_bound(self, book_usd: float) -> float | None:
        """The lesser of both bounds on the loss in USD; None where neither is stated."""
        share = None if self.max_loss_share is None else self.max_loss_share * book_usd
        return min((bound for bound in (self.max_loss, share) if bound is not None), default=None)


class InitialMargin(LimitBase):
    """Initial margin, open orders counted, within `use` of each venue's margin equity.

    Transfers leave today's positions within it, hard even under `soft`: no price covers the time till fills.
    """

    kind: Literal["initial_margin"]
    venues: Names = "all"
    use: Annotated[Fraction, Field(gt=0, le=1)]


class MaintenanceMargin(LimitBase):
    """Equity under each stress is at least `buffer` × maintenance margin under it. `stresses: []` is now.

    Transfers leave today's positions within it, hard even under `soft`: no price covers the time till fills.
    """

    kind: Literal["maintenance_margin"]
    venues: Names = "all"
    stresses: Names = "all"
    buffer: Annotated[Multiple, Field(ge=1)]


class Liquidity(LimitBase):
    """Under each stress, what all venues together lack to `warning` × maintenance margin is in reserve."""

    kind: Literal["liquidity"]
    stresses: Names = "all"
    warning: Annotated[Multiple, Field(ge=1)]
    reserve: Annotated[Usd, Field(ge=0)]


class Volatility(LimitBase):
    """Standard deviation of the hedged book's P&L over the decision horizon."""

    kind: Literal["volatility"]
    max: Annotated[Usd, Field(gt=0)]


class LiquidationProbability(LimitBase):
    """Each venue's equity stays above maintenance margin until collateral can arrive, with this probability.

    First passage of a driftless Gaussian cushion: z₍₁₋α/₂₎ standard deviations, or `sigmas` given instead.
    """

    kind: Literal["liquidation_probability"]
    venues: Names = "all"
    max: Annotated[Fraction, Field(gt=0, lt=1)] | None = Field(None, description="α; or give `sigmas`.")
    sigmas: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Standard deviations instead of α."
    )
    arrival: Annotated[Hours, Field(gt=0)] = Field(description="Time until more collateral can arrive.")

    @model_validator(mode="after")
    def _one_of_both(self) -> LiquidationProbability:
        if (self.max is None) == (self.sigmas is None):
            raise ValueError("write either `max` (a probability such as 1%) or `sigmas`, not both")
        return self


Limit = Annotated[
    NetDelta
    | HedgeRatio
    | HedgeSide
    | PositionCap
    | Gross
    | LeverageLimit
    | Participation
    | Turnover
    | VenueShare
    | CollateralShare
    | VenueOutage
    | InitialMargin
    | MaintenanceMargin
    | Liquidity
    | Volatility
    | LiquidationProbability,
    Field(discriminator="kind"),
]


class Stress(Model):
    """One joint shock. Moves are returns against USD; what is not named does not move."""

    move: Fraction = Field(0.0, description="Every asset.")
    moves: dict[str, Fraction] = Field({}, description="By asset; beats `move`.")
    basis: dict[str, Fraction] = Field({}, description="By venue: contracts there against the coin.")
    currencies: dict[str, Fraction] = Field({}, description="By stablecoin, against USD.")
    haircut_step: Annotated[Fraction, Field(ge=0, le=1)] = Field(0.0, description="Added to every haircut.")
    funding_at_cap: Annotated[Hours, Field(ge=0)] = Field(
        0.0,
        description="Funding at its cap against every perp held for this long, settled at each venue.",
    )
    auto_deleveraged: Annotated[Fraction, Field(ge=0, le=1)] = Field(
        0.0, description="Share of every winning position closed at the old mark: its gain is not had."
    )


class Scenario(Model):
    """A complete, resolved scenario. `extends` and `overlays` are applied before this is built."""

    schema_version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Names the results.")]
    description: str = Field("", description="For people; no effect.")
    as_of: AwareDatetime | None = Field(None, description="The time it is; default: newest in the snapshot.")
    horizons: Horizons
    snapshot: Snapshot
    book: Book = Book()
    venues: Annotated[dict[str, Venue], Field(min_length=1)]
    instruments: Annotated[dict[str, Instruments], Field(min_length=1)]
    forecasts: Forecasts
    objective: Objective
    limits: dict[str, Limit] = Field(description="What must hold, by name.")
    stresses: dict[str, Stress] = Field({}, description="Joint shocks, by name.")
    orders: Orders = Orders()
    backtest: Backtest = Backtest()
    explain: Explain = Explain()

    def when(self, snapshot_time: datetime) -> datetime:
        """`as_of`, or the snapshot's own newest time."""
        return self.as_of if self.as_of is not None else snapshot_time


# Entries every scenario starts from; its own file may change them, or remove one with `null`.
DEFAULT_LIMITS: dict[str, dict[str, str]] = {
    "hedge_side": {"kind": "hedge_side"},
    "initial_margin": {"kind": "initial_margin", "use": "100%"},
    "maintenance_margin": {"kind": "maintenance_margin", "buffer": "1x"},
}
