"""March 2020 and its rebound, and November 2022: hedges of three times the collateral, on one account.

The walks of 2020 start before the crash for a book that is short coins, hence long perps, and after it for
one that is long coins, hence short perps. Stresses are of what was known before the crash, for both books:
twice each coin's widest week of the months before, in either direction. The allocator gives up a part of the
hedge for them; the rule that hedges one to one is liquidated in 2020. Margin is checked on hourly closes, all
there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import recorded_walks as rw
from recorded import needs_market_data

from allocator.allocation import read_tables
from allocator.backtests.engine import Span, Walk, walk
from allocator.backtests.rivals import strategies
from allocator.backtests.tape import Tape
from allocator.scenario.load import load_scenario

pytestmark = [needs_market_data, pytest.mark.long]
COINS = ("BTC", "ETH")
DAY = pd.Timedelta("24h")
COLLATERAL = 1e6
LEVERAGE = 3.0


@dataclass(frozen=True)
class Case:
    """A book, `side` < 0 where its coins are owed, the days it is walked through, and what is known before.

    Stresses are of the closes from `since` to `known`.
    """

    name: str
    start: str
    days: int
    side: float
    since: str
    known: str
    liquidates: bool = True


CASES = (
    Case("short coins", "2020-03-09", 18, -1.0, "2019-12-01", "2020-03-09"),
    Case("long coins", "2020-03-13", 18, 1.0, "2019-12-01", "2020-03-09"),
    Case("short coins, FTX", "2022-11-05", 12, -1.0, "2022-08-01", "2022-11-05", liquidates=False),
)


def widest_week(panel: rw.Panel, until: pd.Timestamp, coin: str) -> float:
    """The largest move of hourly closes over a week, of either sign, among those known by `until`."""
    closes = panel.spot[(panel.spot["coin"] == coin) & (panel.spot["time"] <= until)]
    moves = closes.set_index("time")["price"].pct_change(7 * 24, fill_method=None)
    return float(moves.abs().max())


def walked(case: Case, folder: Path) -> dict[str, Walk]:
    start = pd.Timestamp(case.start, tz="UTC")
    last = start + (case.days + 1) * DAY
    panel = rw.stressed(case.since, f"{last:%Y-%m-%d}", COINS)
    book = LEVERAGE * COLLATERAL / len(COINS)
    rw.write_walk(folder, panel, start, dict.fromkeys(COINS, case.side * book), {"binance": COLLATERAL})
    moves = {coin: 2 * widest_week(panel, pd.Timestamp(case.known, tz="UTC"), coin) for coin in COINS}
    stresses = {
        name: {"moves": {coin: f"{100 * sign * move:.1f}%" for coin, move in moves.items()}}
        for name, sign in (("rally", 1.0), ("crash", -1.0))
    }
    document = rw.walk_document(
        folder,
        ["binance"],
        stresses=stresses,
        objective={"risk_aversion_per_usd": 1e-4, "impact": {"model": "none"}},
    )
    loaded = load_scenario(rw.write_document(document, folder))
    tape, known = Tape.of(read_tables(loaded)), strategies(["binance"])
    span = Span(start, start + case.days * DAY, DAY)
    return {name: walk(loaded, tape, span, name, known[name]) for name in ("allocator", "one_to_one.binance")}


def hedge_of(found: Walk) -> float:
    """What the first decision holds, in multiples of the collateral."""
    held = pd.DataFrame(found.positions, columns=["time", "venue", "symbol", "usd"])
    return float(held[held["time"] == found.times[0]]["usd"].sum()) / COLLATERAL


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(",", "").replace(" ", "_"))
def test_no_liquidation_with_stresses_of_earlier_data(case, tmp_path, told):
    found = walked(case, tmp_path / "crash")
    with told():
        print(f"\n{case.name}, from {case.start} over {case.days} days, ${COLLATERAL:,.0f} of collateral")
        print(f"{'':20}{'first hedge':>12}{'least cushion':>15}{'liquidations':>14}{'P&L':>12}")
        for name, run in found.items():
            bars = [(bar.equity_usd - bar.maintenance_margin_usd) / COLLATERAL for bar in run.venues]
            gain = run.wealth[-1] - run.opening_usd
            print(
                f"{name:20}{hedge_of(run):11.2f}x{min(bars):14.1%} {len(run.liquidations):13d}{gain:12,.0f}"
            )
    allocated, copied = found["allocator"], found["one_to_one.binance"]
    assert not allocated.liquidations
    assert all(choice.status == "optimal" for choice in allocated.choices)
    if case.liquidates:
        assert len(copied.liquidations) >= 1
    assert hedge_of(copied) == pytest.approx(-case.side * LEVERAGE, rel=0.01)
    # What is kept is a hedge, not an empty account.
    assert -case.side * hedge_of(allocated) > 1.5
    for run in found.values():
        change = run.wealth[-1] - run.opening_usd
        assert run.ledger.frame()["usd"].sum() == pytest.approx(change, abs=0.01)
