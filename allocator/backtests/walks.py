"""What a walk leaves behind: its ledger, and every bar's wealth, exposure, positions and margin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from allocator.backtests.desk import Place
from allocator.backtests.ledger import Ledger
from allocator.backtests.margin_call import VenueBar
from allocator.market.types import Matrix


@dataclass(frozen=True)
class Choice:
    """What was decided at a bar and what was expected of it, in USD over the decision horizon.

    `status` is optimal, or that of the error that left everything as it was; `message` is its text. Without
    data nothing was expected: NaN. `cause` is the clock, or the event that called for the decision.
    `margin_use` is the largest maintenance margin over equity of any venue with the positions decided, at the
    prices of the decision.
    """

    time: pd.Timestamp
    status: str
    message: str
    volatility_usd: float
    funding_usd: float
    trade_usd: float
    cost_usd: float
    margin_use: float = 0.0
    cause: str = "clock"


@dataclass(frozen=True)
class Filled:
    """When orders were decided and filled, what they cost and came to in USD: paid < 0, traded ≥ 0."""

    decided: pd.Timestamp
    time: pd.Timestamp
    paid_usd: float
    traded_usd: float


Refusal = Literal["", "margin", "leverage", "expired"]


@dataclass(frozen=True)
class Rejected:
    """An order that its venue refused, and for what; > 0 is a buy."""

    time: pd.Timestamp
    venue: str
    symbol: str
    contracts: float
    usd: float
    reason: Refusal


@dataclass(frozen=True)
class Block:
    """Consecutive bars (T,) with the same things held: net delta (T, A) by asset, USD of positions (T, k)."""

    times: pd.DatetimeIndex
    assets: list[str]
    delta: Matrix
    places: list[Place]
    usd: Matrix

    def up_to(self, bars: int) -> Block:
        """The first bars of it alone."""
        return Block(self.times[:bars], self.assets, self.delta[:bars], self.places, self.usd[:bars])


@dataclass
class Walk:
    """Everything that happened under one strategy.

    `wealth` is USD by bar, `sent_usd` what the transfers of each decision cost, < 0. `opening` and `closing`
    are units by venue (or "" for what is held outside) and currency or coin, as the first bar found them and
    the last left them.
    """

    name: str
    ledger: Ledger = field(default_factory=Ledger)
    times: list[pd.Timestamp] = field(default_factory=list)
    wealth: list[float] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    venues: list[VenueBar] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    liquidations: list[VenueBar] = field(default_factory=list)
    fills: list[Filled] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    sent_usd: dict[pd.Timestamp, float] = field(default_factory=dict)
    opening_usd: float = 0.0
    opening: dict[Place, float] = field(default_factory=dict)
    closing: dict[Place, float] = field(default_factory=dict)
    assets: dict[Place, str] = field(default_factory=dict)

    @property
    def delta(self) -> pd.DataFrame:
        """Net delta in USD, a row a bar, a column an asset."""
        parts = [pd.DataFrame(b.delta, index=b.times, columns=b.assets) for b in self.blocks]
        return pd.concat(parts).fillna(0.0) if parts else pd.DataFrame()

    @property
    def hedge(self) -> pd.DataFrame:
        """USD of all positions, a row a bar, a column an asset."""
        parts = []
        for b in self.blocks:
            names = [self.assets[place] for place in b.places]
            each = list(dict.fromkeys(names))
            into = np.array([[name == one for one in each] for name in names], dtype=float)
            usd = b.usd @ into.reshape(len(names), len(each))
            parts.append(pd.DataFrame(usd, index=b.times, columns=each))
        return pd.concat(parts).fillna(0.0) if parts else pd.DataFrame()

    @property
    def positions(self) -> pd.DataFrame:
        """Every position at every bar: time, venue, symbol, USD notional."""
        kept = [b for b in self.blocks if b.places]
        if not kept:
            return pd.DataFrame({"time": [], "venue": [], "symbol": [], "usd": []})
        time = np.concatenate([np.repeat(b.times.tz_convert(None).to_numpy(), len(b.places)) for b in kept])
        names = [np.array(b.places, dtype=object) for b in kept]
        each = np.concatenate([np.tile(n, (len(b.times), 1)) for n, b in zip(names, kept, strict=True)])
        return pd.DataFrame(
            {
                "time": pd.DatetimeIndex(time).tz_localize("UTC"),
                "venue": pd.Series(each[:, 0], dtype="str"),
                "symbol": pd.Series(each[:, 1], dtype="str"),
                "usd": np.concatenate([b.usd.ravel() for b in kept]),
            }
        )
