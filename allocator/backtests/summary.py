"""What a walk amounts to: risk, carry, costs, safety; and differences between walks with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from allocator.backtests.calibration import volatility_ratio
from allocator.backtests.series import daily_pnl, first_fill
from allocator.backtests.walks import Walk
from models.arrays import Vector

_CARRY = ("funding", "fee", "slippage", "impact", "transfer", "liquidation")
_BANDS = 0.05  # of the exposure: a hedge nearer than this is neither over nor under


@dataclass(frozen=True)
class Summary:
    """One strategy over the whole span. Amounts in USD, shares are fractions; received is > 0.

    `days` counts whole ones from the walk's start, the first of which begins with the first fill; all amounts
    are of the whole walk, `span_days` long. `unanswered` are decisions without an answer or without data:
    everything stayed. `rejected` are orders that a venue refused, at most `rejected_usd` of them at once,
    `rejected_for` names why (margin, leverage, expired). `turnover_usd` is what filled.

    `volatility_usd` is the sd of daily P&L, the cost of the entry included. `hedge_effectiveness` is 1 − its
    variance over that of no hedge, null without that rival or where nothing moves it. `net_carry_usd` is
    funding less every cost, liquidations too. `over_hedged` and `under_hedged` are the shares of the exposure
    through time that were hedged more than 5 % too much or too little. `worst_margin_use` is the largest
    maintenance margin over equity at any venue and bar. `smallest_liquidation_distance` is the least share of
    its gross notional that any account could still lose before its liquidation; null without positions.
    `regret_usd` is the net carry of perfect foresight of funding less this one's, below zero where knowing it
    misled: funding is not all there is to come; null without that rival. `calibration` is realised over
    predicted volatility as `calibrations` has it, √ of the mean of (P&L over predicted sd)² of `calibrated`
    decisions, those whose orders no venue refused; null where these are under three quarters of all.
    """

    strategy: str
    days: int
    span_days: float
    decisions: int
    unanswered: int
    rejected: int
    rejected_usd: float
    rejected_for: str
    volatility_usd: float
    hedge_effectiveness: float | None
    pnl_usd: float
    net_carry_usd: float
    funding_usd: float
    fees_usd: float
    slippage_usd: float
    impact_usd: float
    transfers_usd: float
    liquidation_usd: float
    turnover_usd: float
    over_hedged: float
    under_hedged: float
    worst_margin_use: float | None
    smallest_liquidation_distance: float | None
    regret_usd: float | None
    liquidations: int
    calibration: float | None
    calibrated: int
    identity_error_usd: float


def summarise(walks: Sequence[Walk], decision_hours: float) -> list[Summary]:
    """A summary of each walk; no hedge, where it is among them, is what effectiveness is against.

    `decision_hours` is the horizon of what was predicted at each decision.
    """
    first = first_fill(walks)
    pnl = {walk.name: daily_pnl(walk, first) for walk in walks}
    unhedged = pnl.get("no_hedge")
    found = [_one(walk, pnl[walk.name], unhedged, decision_hours) for walk in walks]
    best = next((one.net_carry_usd for one in found if one.strategy == "foresight"), None)
    return found if best is None else [replace(s, regret_usd=best - s.net_carry_usd) for s in found]


def _one(walk: Walk, pnl: pd.Series, unhedged: pd.Series | None, decision_hours: float) -> Summary:
    ledger = walk.ledger.frame()
    by_kind = ledger.groupby("kind")["usd"].sum() if len(ledger) else pd.Series(dtype=float)
    booked = {kind: float(by_kind.get(kind, 0.0)) for kind in _CARRY}
    over, under = _hedging(walk)
    uses = [bar.maintenance_margin_usd / bar.equity_usd for bar in walk.venues if bar.equity_usd > 0]
    broke = any(bar.equity_usd <= 0 for bar in walk.venues)
    total = float(ledger["usd"].sum()) if len(ledger) else 0.0
    ratio, calibrated = volatility_ratio(walk, decision_hours)
    return Summary(
        strategy=walk.name,
        days=len(pnl),
        span_days=(walk.times[-1] - walk.times[0]) / pd.Timedelta("24h"),
        decisions=len(walk.choices),
        unanswered=sum(choice.status != "optimal" for choice in walk.choices),
        rejected=len(walk.rejected),
        rejected_usd=_most_at_once(walk),
        rejected_for=", ".join(sorted({order.reason for order in walk.rejected})),
        volatility_usd=float(pnl.std(ddof=1)),
        hedge_effectiveness=_effectiveness(pnl, unhedged),
        pnl_usd=walk.wealth[-1] - walk.opening_usd,
        net_carry_usd=sum(booked.values()),
        funding_usd=booked["funding"],
        fees_usd=booked["fee"],
        slippage_usd=booked["slippage"],
        impact_usd=booked["impact"],
        transfers_usd=booked["transfer"],
        liquidation_usd=booked["liquidation"],
        turnover_usd=sum(filled.traded_usd for filled in walk.fills),
        over_hedged=over,
        under_hedged=under,
        worst_margin_use=float("inf") if broke else max(uses, default=None),
        smallest_liquidation_distance=min((bar.distance for bar in walk.venues), default=None),
        regret_usd=None,
        liquidations=len(walk.liquidations),
        calibration=ratio,
        calibrated=calibrated,
        identity_error_usd=walk.wealth[-1] - walk.opening_usd - total,
    )


def _effectiveness(pnl: pd.Series, unhedged: pd.Series | None) -> float | None:
    if unhedged is None or not unhedged.var(ddof=1) > 0:
        return None
    return float(1 - pnl.var(ddof=1) / unhedged.var(ddof=1))


def _most_at_once(walk: Walk) -> float:
    """USD of the orders that were refused at the worst bar: the same order may be sent again and again."""
    at: dict[pd.Timestamp, float] = {}
    for order in walk.rejected:
        at[order.time] = at.get(order.time, 0.0) + abs(order.usd)
    return max(at.values(), default=0.0)


def _hedging(walk: Walk) -> tuple[float, float]:
    """Shares of the exposure, bar by bar and coin by coin, over- and under-hedged by more than the band."""
    held = walk.delta
    if not held.size:
        return 0.0, 0.0
    hedge = walk.hedge.reindex(index=held.index, columns=held.columns, fill_value=0.0)
    exposure = held - hedge
    there = exposure.abs() > 0
    excess = -(held * np.sign(exposure)) / exposure.abs().where(there)
    weight = exposure.abs().where(there, 0.0).to_numpy()
    total = max(float(weight.sum()), 1e-12)
    over, under = (((excess * sign > _BANDS).to_numpy() * weight).sum() / total for sign in (1, -1))
    return float(over), float(under)


@dataclass(frozen=True)
class Difference:
    """Of one strategy against another, with the 95 % interval of a stationary block bootstrap over days.

    `volatility_ratio` is that of the sd of daily P&L: below 1 is calmer. `pnl_usd` is the mean difference of
    daily P&L in USD, > 0 earns more.
    """

    strategy: str
    against: str
    volatility_ratio: float
    volatility_interval: tuple[float, float]
    pnl_usd: float
    pnl_interval: tuple[float, float]


def differences(walks: Sequence[Walk], name: str, draws: int = 1000, seed: int = 0) -> list[Difference]:
    """The named strategy against every other, on the same days drawn together.

    Stationary bootstrap of Politis and Romano (1994), blocks of five days on average; percentile intervals.
    """
    from arch.bootstrap import StationaryBootstrap

    first = first_fill(walks)
    pnl = {walk.name: daily_pnl(walk, first) for walk in walks}
    mine = pnl[name].to_numpy()
    found = []
    for other, theirs in pnl.items():
        if other == name or len(mine) < 10:
            continue
        rival = theirs.to_numpy()
        drawn = StationaryBootstrap(5, mine, rival, seed=seed)
        samples = drawn.apply(_compared, draws)
        low, high = np.percentile(samples, [2.5, 97.5], axis=0)
        ratio, gain = _compared(mine, rival)
        found.append(Difference(name, other, ratio, (low[0], high[0]), gain, (low[1], high[1])))
    return found


def _compared(mine: Vector, rival: Vector) -> Vector:
    return np.array([np.std(mine, ddof=1) / np.std(rival, ddof=1), np.mean(mine) - np.mean(rival)])


def table(summaries: Sequence[Summary]) -> pd.DataFrame:
    """Summaries as a table, one row a strategy."""
    return pd.DataFrame([asdict(summary) for summary in summaries]).set_index("strategy")
