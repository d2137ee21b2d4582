"""The daily allocation on a hundred recorded hours: every one solves, passes its audit, and hedges.

The table printed at the end sets predicted hedge effectiveness beside what the next day brought. Marked
long; skipped where the recorded data are absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import recorded

from allocator import allocate, load
from allocator.allocation import Allocation
from allocator.market.types import Market

HOURS = 100
FIRST, LAST = pd.Timestamp("2024-10-20", tz="UTC"), pd.Timestamp("2025-05-08", tz="UTC")


@dataclass(frozen=True)
class Day:
    """One allocation and the P&L of the following day in USD, with and without the hedge."""

    as_of: datetime
    allocation: Allocation
    hedged: float
    unhedged: float

    @property
    def predicted(self) -> float:
        return float(self.allocation.result["risk"]["hedge_effectiveness"])


def hours() -> list[datetime]:
    """A hundred different hours, of every time of day, from a fixed seed."""
    span = int((LAST - FIRST) / pd.Timedelta(hours=1))
    chosen = np.sort(np.random.default_rng(20260101).choice(span, HOURS, replace=False))
    return [(FIRST + pd.Timedelta(hours=int(hour))).to_pydatetime() for hour in chosen]


def marks(folder: Path) -> dict[tuple[str, str], float]:
    """Newest price of every symbol of a snapshot folder."""
    table = next(folder.glob("prices.*"))
    prices = pd.read_csv(table) if table.suffix == ".csv" else pd.read_parquet(table)
    prices["time"] = pd.to_datetime(prices["time"], utc=True)
    last = prices.sort_values("time").drop_duplicates(["venue", "symbol"], keep="last")
    return {(v, s): float(p) for v, s, p in zip(last["venue"], last["symbol"], last["price"], strict=True)}


def profit(market: Market, positions: np.ndarray, before: dict, after: dict) -> float:
    """USD that the book and these positions made between two sets of prices, apart from the program."""
    coins = {a: after["index", f"{a}/USD"] / before["index", f"{a}/USD"] - 1 for a in market.assets}
    made = sum(e * coins[a] for a, e in zip(market.assets, market.exposure, strict=True))
    for x, i in zip(positions, market.instruments, strict=True):
        if x:
            key = (i.exchange, i.symbol)
            made += x * (after[key] / before[key] - 1)
    return float(made)


def day(as_of: datetime, folder: Path) -> Day:
    now, later = folder / "now", folder / "later"
    recorded.build_snapshot(as_of, now)
    allocation = allocate(load(recorded.write_scenario(now)))
    recorded.build_snapshot(as_of + timedelta(days=1), later)
    before, after = marks(now), marks(later)
    market = allocation.market
    return Day(
        as_of,
        allocation,
        hedged=profit(market, allocation.rounded.decision.positions, before, after),
        unhedged=profit(market, np.zeros(len(market.instruments)), before, after),
    )


@pytest.mark.long
@recorded.needs_market_data
def test_a_hundred_recorded_hours(tmp_path, told):
    days = []
    for k, as_of in enumerate(hours()):
        found = day(as_of, tmp_path / str(k))
        audit, rounded = found.allocation.audit, found.allocation.rounded
        book = found.allocation.market.book_usd
        assert audit.passed
        assert audit.permitted.max_violation_usd <= 1.0 * book / 1e7, as_of
        assert audit.duality_gap_usd <= 1e-6 * audit.scale_usd, as_of
        assert rounded.check.passed, as_of
        days.append(found)
    hedged, unhedged = np.array([d.hedged for d in days]), np.array([d.unhedged for d in days])
    realised = 1 - (hedged**2).sum() / (unhedged**2).sum()
    predicted = np.array([d.predicted for d in days])
    sd = np.array([d.allocation.result["risk"]["volatility_hedged_usd"] for d in days])
    audits = [d.allocation.audit for d in days]
    with told():
        print("\n" + table(days))
        print(
            f"hedge effectiveness over {HOURS} days: "
            f"predicted {predicted.mean():.5f}, realised {realised:.5f}; "
            f"hedged P&L over its predicted sd: {np.sqrt(np.mean((hedged / sd) ** 2)):.2f}; "
            f"worst gap/scale {max(a.duality_gap_usd / a.scale_usd for a in audits):.1e}; "
            f"worst violation ${max(a.permitted.max_violation_usd for a in audits):.2e}"
        )
    # The forecast may be off by a factor, not by an order of magnitude, in either direction.
    assert 1 - 10 * (1 - predicted.mean()) < realised < 1 - (1 - predicted.mean()) / 10


def table(days: list[Day]) -> str:
    """Predicted and realised beside each other, one line a day."""
    names = ("perps", "gap/scale", "breach $", "sd $", "P&L $", "unhedged $", "HE pred.", "HE real.")
    widths = (5, 9, 9, 8, 9, 11, 9, 9)
    heads = [f"{name:>{width}}" for name, width in zip(names, widths, strict=True)]
    lines = [" ".join([f"{'as of':17}", *heads])]
    for d in days:
        audit, result = d.allocation.audit, d.allocation.result
        cells = (
            f"{len(d.allocation.market.instruments):5d}",
            f"{audit.duality_gap_usd / audit.scale_usd:9.1e}",
            f"{audit.permitted.max_violation_usd:9.1e}",
            f"{result['risk']['volatility_hedged_usd']:8,.0f}",
            f"{d.hedged:9,.0f}",
            f"{d.unhedged:11,.0f}",
            f"{d.predicted:9.5f}",
            f"{1 - (d.hedged / d.unhedged) ** 2:9.5f}",
        )
        lines.append(" ".join([f"{d.as_of:%Y-%m-%d %H:%M} ", *cells]))
    return "\n".join(lines)
