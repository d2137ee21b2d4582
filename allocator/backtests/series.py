"""A walk day by day, for charts."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from allocator.backtests.walks import Walk
from allocator.result import Json, number, usd


def first_fill(walks: Sequence[Walk]) -> pd.Timestamp:
    """When the first orders of any of these walks filled: their days are counted from there."""
    fills = [filled.time for walk in walks for filled in walk.fills]
    return min(fills, default=walks[0].times[0])


def daily_pnl(walk: Walk, first: pd.Timestamp) -> pd.Series:
    """P&L of each day of the walk that ends after the `first_fill`, by its end; the first pays for the entry.

    Days count from the walk's start. The first begins with the first fill: before, no strategy has had its
    say, so nothing of that time is any one's merit but what its orders and transfers cost. What is left of
    the walk after its last whole day is in no day.
    """
    wealth = pd.Series(walk.wealth, index=pd.DatetimeIndex(walk.times))
    ends = pd.date_range(wealth.index[0], wealth.index[-1], freq="24h")
    level = wealth.reindex(pd.DatetimeIndex([first, *ends[ends > first]]), method="ffill")
    level.iloc[0] -= sum(filled.paid_usd for filled in walk.fills if filled.time <= first)
    level.iloc[0] -= sum(usd for time, usd in walk.sent_usd.items() if time <= first)
    return level.diff().dropna()


def daily_series(walks: Sequence[Walk]) -> list[Json]:
    """Of each strategy, lists by the end of each day: wealth, P&L, net delta, largest use of margin."""
    found, first = [], first_fill(walks)
    for walk in walks:
        pnl = daily_pnl(walk, first)
        ends = pd.DatetimeIndex(pnl.index)
        wealth = pd.Series(walk.wealth, index=pd.DatetimeIndex(walk.times)).reindex(ends, method="ffill")
        delta = walk.delta.abs().sum(axis=1).reindex(ends, method="ffill")
        found.append(
            {
                "strategy": walk.name,
                "time": [end.strftime("%Y-%m-%dT%H:%M:%SZ") for end in ends],
                "wealth_usd": [usd(value) for value in wealth],
                "pnl_usd": [usd(value) for value in pnl],
                "net_delta_usd": [usd(value) for value in delta],
                "margin_use": _margin_use(walk, ends),
            }
        )
    return found


def margin_uses(walk: Walk) -> pd.Series:
    """Largest maintenance margin over equity at any account, by bar with positions; inf without equity."""
    frame = pd.DataFrame(
        [(bar.time, _use(bar.maintenance_margin_usd, bar.equity_usd)) for bar in walk.venues],
        columns=["time", "use"],
    )
    return frame.astype({"time": "datetime64[us, UTC]"}).groupby("time")["use"].max()


def _use(required: float, equity: float) -> float:
    return required / equity if equity > 0 else float("inf")


def _margin_use(walk: Walk, ends: pd.DatetimeIndex) -> list[float | None]:
    uses = margin_uses(walk)
    if not len(ends) or uses.empty:
        return [None] * len(ends)
    # A day ends with its last bar: (end − 24 h, end].
    place = ends.searchsorted(pd.DatetimeIndex(uses.index), side="left")
    worst = uses.groupby(place).max()
    return [number(float(worst[k])) if k in worst.index else None for k in range(len(ends))]
