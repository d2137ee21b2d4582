"""Why this order: for each trade the marginal dollars of every cause, which cancel at the optimum.

One more dollar of a trade would reduce risk by so much, earn so much funding, cost so much in fees, and use
so much of each limit; a trade stops where these add up to nothing. That is stationarity, read as economics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from allocator.explanations.slopes import DUST
from allocator.explanations.stationarity import Stationarity
from allocator.market.types import Decision, Market
from allocator.result import Json, number, usd

_DUST_PUSH = 1e-8  # of the scale: what an interior-point solver leaves of zero


@dataclass(frozen=True)
class Push:
    """What one cause does to a trade at the margin, per decision horizon.

    `usd_per_usd` is gained by one more dollar in the direction of the trade: > 0 pushes it further, < 0 holds
    it back. `usd` is that times the size of the trade.
    """

    cause: str
    usd_per_usd: float
    usd: float

    def to_json(self) -> Json:
        """Plain data."""
        return {"cause": self.cause, "usd_per_usd": number(self.usd_per_usd), "usd": usd(self.usd)}


@dataclass(frozen=True)
class Marginal:
    """All pushes on one traded instrument, strongest first; they add up to `residual`, zero at an optimum.

    `scale` is what the residual is judged by: Σ|pushes|, with risk as large as the exposure's and the
    positions' parts of it. Both are USD per USD.
    """

    venue: str
    account: str
    symbol: str
    trade_usd: float
    pushes: tuple[Push, ...]
    residual: float
    scale: float

    def to_json(self) -> Json:
        """Plain data."""
        return {
            "venue": self.venue,
            "account": self.account,
            "symbol": self.symbol,
            "trade_usd": usd(self.trade_usd),
            "pushes": [push.to_json() for push in self.pushes],
            "residual_usd_per_usd": number(self.residual),
        }


def marginals(market: Market, decision: Decision, found: Stationarity) -> tuple[Marginal, ...]:
    """The pushes on every traded instrument, largest trade first.

    Causes are ``risk``, ``funding``, ``funding_uncertainty``, ``trading``, ``impact``, and the names of the
    limits that have a price, those that bound single positions among them. The objective's terms count with
    the weights of its mode; where a cost budget binds, its multiplier prices the cost terms.
    """
    trades = decision.positions - market.positions.usd
    order = np.argsort(-np.abs(trades), kind="stable")
    return tuple(
        _marginal(market, int(i), float(trades[i]), found)
        for i in order
        if abs(trades[i]) > DUST * market.book_usd
    )


def _marginal(market: Market, i: int, trade: float, found: Stationarity) -> Marginal:
    sign = float(np.sign(trade))
    felt = {cause: -sign * float(slope[i]) for cause, slope in found.causes.items()}
    least = _DUST_PUSH * float(found.scale[i])
    pushes = [Push(cause, push, push * abs(trade)) for cause, push in felt.items() if abs(push) > least]
    instrument = market.instruments[i]
    return Marginal(
        venue=instrument.exchange,
        account=instrument.account,
        symbol=instrument.symbol,
        trade_usd=trade,
        pushes=tuple(sorted(pushes, key=lambda p: -abs(p.usd_per_usd))),
        residual=-sign * float(found.residual[i]),
        scale=float(found.scale[i]),
    )
