"""What a market is: identities as frozen dataclasses, numbers as arrays aligned with them.

Letters used for shapes: n instruments, V venues (margin accounts), A assets, C currencies, P pockets
(one currency on one venue), R transfer routes, S stresses (row 0 is "now", without a shock).
Amounts are USD, a position is signed USD notional at mark, rates are per stated interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from allocator.market.ages import TableAge
from allocator.market.scheme import Scheme
from allocator.scenario.schema import Limit, Objective
from models.arrays import Vector
from models.collateral import HaircutTiers
from models.contracts import Contract
from models.covariance import RiskModel
from models.error_factors import ErrorFactors
from models.margin import Brackets

Matrix = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Account:
    """A margin account; `name` is its key in the scenario."""

    name: str
    exchange: str
    account: str


@dataclass(frozen=True)
class Instrument:
    """A perp, or a dated future, in one account. `selection` is the scenario entry that chose it.

    `brackets` are convex, a bound where the venue's tiers are not; `largest_usd` is the notional up to which
    the chosen leverage is allowed. `expiry` is when a dated future settles at its index; a perp has none.
    """

    venue: str
    exchange: str
    account: str
    symbol: str
    venue_symbol: str
    asset: str
    index_currency: str
    settlement_currency: str
    contract: Contract
    brackets: Brackets
    selection: str
    largest_usd: float
    expiry: datetime | None = None

    @property
    def key(self) -> str:
        """Unique within a market: venue and unified symbol."""
        return f"{self.venue} {self.symbol}"


@dataclass(frozen=True)
class Pocket:
    """The balance of one currency in one account."""

    venue: str
    currency: str

    @property
    def key(self) -> str:
        """Unique within a market."""
        return f"{self.venue} {self.currency}"


@dataclass(frozen=True)
class Route:
    """A transfer that may be made: pocket to pocket of one currency."""

    source: int
    target: int


@dataclass(frozen=True)
class LimitSpec:
    """A limit as the scenario states it. `key` is its name there, `source` its file and line."""

    key: str
    limit: Limit
    source: str


@dataclass(frozen=True)
class Holding:
    """What is held outside the margin accounts. `usd` is its value, of which `confidence` is exposure.

    `until` is when it may move, happens or arrives. `venue` is where coins in transit go to;
    `arrives` that they do before the orders go out: they count there, as collateral.
    """

    name: str
    kind: str
    asset: str
    usd: float
    confidence: float
    until: datetime | None
    venue: str | None
    arrives: bool


@dataclass(frozen=True)
class Positions:
    """What is held now, per instrument (n,)."""

    contracts: Vector
    usd: Vector
    open_buys_usd: Vector
    open_sells_usd: Vector


@dataclass(frozen=True)
class Prices:
    """Per instrument (n,): mark in quote currency, USD per contract, the mark's own time."""

    mark: Vector
    quote_usd: Vector
    usd_per_contract: Vector
    times: tuple[datetime, ...]


@dataclass(frozen=True)
class Funding:
    """Per instrument (n,). Rates are fractions of notional, positive: longs pay.

    `cost` is φ: USD per USD long over the decision horizon, mean over the holding horizon. `total` is the
    plain sum over the holding horizon. `uncertainty` is the sd of the error of `cost`, `errors` what these
    errors have in common. `cap` is per settlement.

    A dated future has its carry as `cost` and `total`: it never settles (no next time, an infinite interval,
    rate, cap and uncertainty zero).
    """

    cost: Vector
    total: Vector
    uncertainty: Vector
    next_rate: Vector
    next_times: tuple[datetime | None, ...]
    interval_hours: Vector
    cap: Vector
    errors: ErrorFactors


@dataclass(frozen=True)
class Costs:
    """Per instrument (n,): linear parts, and the whole linear + book cost as max_k(slope·u + intercept).

    `slopes`, `intercepts` are (n, K), padded by repeating the last segment. `capacity_buy/sell` are the
    largest trades the visible book allows (inf without one). `impact` is bσ/√ADV of the 3/2 law.
    """

    fee: Vector
    half_spread: Vector
    spread: Vector
    unit: Vector
    slopes: Matrix
    intercepts: Matrix
    capacity_buy: Vector
    capacity_sell: Vector
    impact: Vector
    adv_usd: Vector
    depth_buy: Vector
    depth_sell: Vector


@dataclass(frozen=True)
class Collateral:
    """Per pocket (P,): balance with unrealised P&L, the haircut, what may leave; per venue (V,) its charge.

    `charge` is the opportunity cost and expected default loss per USD over the decision horizon. `arriving`
    (P,) is what of the balance is still on its way, to arrive before the orders: nothing may leave for it.
    `tiers` holds the schedules of pockets whose haircut grows with the balance; `haircut` is that of their
    first.
    """

    balance: Vector
    unrealised: Vector
    haircut: Vector
    withdrawable: Vector
    charge: Vector
    arriving: Vector
    tiers: Mapping[int, HaircutTiers] = field(default_factory=dict)


@dataclass(frozen=True)
class Transfers:
    """Per route (R,): cost per USD sent, whether it arrives before the orders, the most that may be sent.

    `headroom` (1 + S, V) is the margin value in USD that may leave each venue with today's positions still
    margined: row 0 for initial margin, row 1 + s under stress s; infinite where no limit asks for it.
    `leaving` (1 + S, P) is the margin value that a dollar leaving a pocket takes along, at most.
    """

    routes: tuple[Route, ...]
    cost: Vector
    arrives: NDArray[np.bool_]
    headroom: Matrix
    leaving: Matrix


@dataclass(frozen=True)
class Stresses:
    """Effects of each stress, row 0 is now.

    P&L of position x is ``pnl·x − size_loss·|x|`` (S, n); maintenance margin is
    ``max_k(r_k·notional·|x| − d_k·deduction)`` (S, n), and a rate that grows with the coins held adds
    ``bend·b·x²`` (S, n); pockets are worth `pocket_factor` (S, P) of
    today's value and take `haircut` (S, P), the first tier's where there are several: `haircut_step` (S,) is
    added to the haircut of each.
    """

    names: tuple[str, ...]
    pnl: Matrix
    size_loss: Matrix
    notional: Matrix
    deduction: Matrix
    bend: Matrix
    pocket_factor: Matrix
    haircut: Matrix
    haircut_step: Vector


@dataclass(frozen=True)
class Box:
    """Bounds on each position that one named limit sets, (n,); infinite where it sets none."""

    name: str
    kind: str
    source: str
    lower: Vector
    upper: Vector


@dataclass(frozen=True)
class Decision:
    """What is decided: positions (n,) and amounts sent along each transfer route (R,), USD."""

    positions: Vector
    transfers: Vector


@dataclass(frozen=True)
class Market:
    """Everything of one decision.

    `side` (n,) is +1, −1, or 0 where a position may take either sign. `exposure` (A,) counts holdings and
    coin collateral; `hedged_exposure` (n,) is what each instrument hedges: its own asset's, plus beta times
    what is cross-hedged by it. `cushion_rate` (n,) is the marginal maintenance rate by which a price move
    changes the margin required, taken at twice what the position may have to hedge. `cash` (C,) is
    stablecoins in and outside the venues. `holdings` is what `exposure` and `cash` count outside the venues.
    """

    as_of: datetime
    decision_hours: float
    holding_hours: float
    book_usd: float
    accounts: tuple[Account, ...]
    instruments: tuple[Instrument, ...]
    assets: tuple[str, ...]
    currencies: tuple[str, ...]
    pockets: tuple[Pocket, ...]
    venue_of: Index
    asset_of: Index
    index_currency_of: Index
    pocket_of: Index
    pocket_venue: Index
    exposure: Vector
    hedged_exposure: Vector
    coin_collateral: Matrix
    cash: Vector
    scheme: Scheme
    cushion_rate: Vector
    side: Vector
    positions: Positions
    prices: Prices
    funding: Funding
    costs: Costs
    collateral: Collateral
    transfers: Transfers
    stresses: Stresses
    risk: RiskModel
    objective: Objective
    boxes: tuple[Box, ...]
    limits: tuple[LimitSpec, ...]
    notices: tuple[str, ...]
    holdings: tuple[Holding, ...] = ()
    ages: tuple[TableAge, ...] = ()

    @property
    def horizon_share(self) -> float:
        """h/H: the share of a one-off cost that is charged in the objective."""
        return self.decision_hours / self.holding_hours

    @property
    def dated(self) -> NDArray[np.bool_]:
        """Which instruments are dated futures (n,): what they cost to hold is carry, not funding."""
        return np.array([i.expiry is not None for i in self.instruments], dtype=np.bool_)

    @property
    def direction(self) -> Vector:
        """Sign (n,) of a right-side position: the fixed side, else against the hedged exposure."""
        return np.where(self.side == 0, -np.sign(self.hedged_exposure), self.side)

    @cached_property
    def lower(self) -> Vector:
        """Tightest lower bound on each position (n,)."""
        free = np.full(len(self.instruments), -np.inf)
        return np.asarray(np.maximum.reduce([free, *(box.lower for box in self.boxes)]))

    @cached_property
    def upper(self) -> Vector:
        """Tightest upper bound on each position (n,)."""
        free = np.full(len(self.instruments), np.inf)
        return np.asarray(np.minimum.reduce([free, *(box.upper for box in self.boxes)]))
