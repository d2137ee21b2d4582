"""Rules hedge with perps: dated futures are left to the allocator, and keep their carry under foresight."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from allocator import ScenarioError
from allocator.allocation import read_tables
from allocator.backtests import rivals
from allocator.backtests.book import announced
from allocator.backtests.decide import Moment
from allocator.market.build import build_market
from allocator.scenario.load import load_scenario

SCENARIOS = Path(__file__).parents[2] / "scenarios"


@pytest.fixture(scope="module")
def moment():
    """The shipped desk with dated futures; a tape on which every perp settles 2 bp once."""
    loaded = load_scenario(SCENARIOS / "dated.yaml")
    market = build_market(loaded, read_tables(loaded))
    assert market.dated.any()
    assert not market.dated.all()
    now = pd.Timestamp(market.as_of)
    paid = pd.DataFrame(
        [(i.exchange, i.symbol, 2e-4) for i in market.instruments if i.expiry is None],
        columns=["venue", "symbol", "rate"],
    )
    times = pd.DatetimeIndex([now, now + pd.Timedelta(hours=market.holding_hours)])
    tape = SimpleNamespace(times=times, funding_between=lambda after, until: paid.drop_duplicates())
    return Moment(loaded, tape, 0, market)


@pytest.mark.parametrize("name", ["one_to_one", "equal_split", "best_funding", "least_variance"])
def test_rules_hold_no_dated_future(moment, name):
    market = moment.market
    venues = [account.name for account in market.accounts]
    for venue in venues if name == "one_to_one" else [""]:
        known = rivals.strategies(venues)
        positions = known[f"{name}.{venue}" if venue else name](moment).positions
        assert not positions[market.dated].any()
    if name in ("equal_split", "best_funding"):
        for a, exposure in enumerate(market.exposure):
            mine = (market.asset_of == a) & ~market.dated
            if mine.any():
                assert positions[mine].sum() == pytest.approx(-exposure)


def test_foresight_keeps_the_carry_of_dated_futures(moment, monkeypatch):
    seen = []
    monkeypatch.setattr(rivals, "allocator", lambda told: seen.append(told.market.funding))
    rivals.foresight(moment)
    (told,), market = seen, moment.market
    assert np.array_equal(told.cost[market.dated], market.funding.cost[market.dated])
    assert np.array_equal(told.total[market.dated], market.funding.total[market.dated])
    assert np.abs(told.cost[market.dated]).min() > 0
    perps = ~market.dated
    assert told.total[perps] == pytest.approx(2e-4)
    assert told.cost[perps] == pytest.approx(2e-4 * market.horizon_share)


def test_a_trade_expected_before_the_walk_is_history():
    times = pd.to_datetime(["2025-01-01", "2025-01-02", "2025-01-03", None], utc=True)
    kinds = ["anticipated", "anticipated", "anticipated", "spot"]
    holdings = pd.DataFrame(
        {
            "time": pd.Timestamp("2024-12-31", tz="UTC"), "kind": kinds, "asset": list("ABCD"),
            "coins": [1.0, 2.0, 3.0, 4.0], "expected_time": times,
        }
    )  # fmt: skip
    found = announced(holdings, pd.Timestamp("2025-01-02", tz="UTC"))
    assert [(trade.asset, trade.coins) for trade in found] == [("B", 2.0), ("C", 3.0)]


def test_start_and_end_of_a_walk_are_times_with_a_zone():
    asked = ["backtest.start=2026-03-01T00:00:00Z", "backtest.end=2026-04-01T02:00:00+02:00"]
    walk = load_scenario(SCENARIOS / "daily.yaml", sets=asked).scenario.backtest
    assert walk.start == pd.Timestamp("2026-03-01", tz="UTC")
    assert walk.end == pd.Timestamp("2026-04-01", tz="UTC")
    for wrong, why in (
        ("2026-03-01T00:00:00", "names no time zone"),
        ("soon", "is no time"),
        ("7", "no time"),
    ):
        with pytest.raises(ScenarioError, match=rf"backtest\.start: .*{why}"):
            load_scenario(SCENARIOS / "daily.yaml", sets=[f"backtest.start={wrong}"])
