"""Coins in transit, staked and locked coins, anticipated trades: exposure, collateral, and what is said."""

# One bad table per line reads best:
# ruff: noqa: E501

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_desk import AS_OF, SCENARIO, TABLES, Hedge, swap, write_desk

from allocator import evaluate
from allocator.allocation import read_tables
from allocator.market.build import build_market
from allocator.market.transfers import with_headroom
from allocator.market.types import Decision, Market
from allocator.scenario.load import load_scenario
from models.hedge import anticipation_variance

HEAD = "time,name,kind,asset,coins,confidence,expected_time,locked_until,to_venue,to_account\n"
OLD = "".join(f"{row},,,\n" for row in TABLES["holdings"].splitlines()[1:])
SOON, LATE = "2026-11-20T01:00Z", "2026-11-20T01:01Z"  # orders go out an hour after as_of


def transit(
    time: str, asset: str = "BTC", coins: float = 2, venue: str = "binance", name: str = "wire"
) -> str:
    return f"{AS_OF},{name},in_transit,{asset},{coins},1,{time},,{venue},main\n"


def desk(folder, rows: str, scenario: str = SCENARIO, **tables: str):
    return write_desk(folder / "desk", scenario, {"holdings": HEAD + OLD + rows, **tables})


def market_of(path) -> Market:
    loaded = load_scenario(path)
    return build_market(loaded, read_tables(loaded))


def pocket(market: Market, key: str) -> int:
    return [p.key for p in market.pockets].index(key)


@pytest.fixture
def without(tmp_path) -> Market:
    return market_of(desk(tmp_path / "without", ""))


@pytest.mark.parametrize("time", [SOON, LATE])
def test_coins_in_transit_are_exposure_at_once_and_collateral_if_in_time(tmp_path, without, time):
    market = market_of(desk(tmp_path, transit(time)))
    btc = market.assets.index("BTC")
    assert market.exposure[btc] - without.exposure[btc] == pytest.approx(200_000)
    row = pocket(market, "binance BTC")
    gained = 200_000 if time == SOON else 0
    assert market.collateral.balance[row] - without.collateral.balance[row] == pytest.approx(gained)
    assert market.collateral.arriving[row] == pytest.approx(gained)
    assert market.coin_collateral.sum() - without.coin_collateral.sum() == pytest.approx(gained)
    assert market.collateral.withdrawable == pytest.approx(without.collateral.withdrawable)
    (held,) = [held for held in market.holdings if held.kind == "in_transit"]
    assert (held.venue, held.arrives, held.usd) == ("binance", time == SOON, pytest.approx(200_000))


@pytest.mark.parametrize("time", [SOON, LATE])
def test_cash_in_transit_is_cash_at_once(tmp_path, without, time):
    market = market_of(desk(tmp_path, transit(time, "USDT", 100_000, "okx")))
    assert market.cash - without.cash == pytest.approx([99_980.0, 0.0])
    equity = [
        evaluate.venues(m, Decision(m.positions.usd, np.zeros(len(m.transfers.routes)))).equity[0]
        for m in (without, market)
    ]
    okx = [a.name for a in market.accounts].index("okx")
    assert equity[1][okx] - equity[0][okx] == pytest.approx(99_980.0 if time == SOON else 0.0)
    assert market.exposure == pytest.approx(without.exposure)


def test_nothing_leaves_against_what_is_still_on_its_way(tmp_path):
    """Headroom of a venue with a second one to send to: the same with and without the coins to come."""
    scenario = swap(SCENARIO, ("haircuts: {USDC: 0}", "haircuts: {USDC: 0, USDT: 0}"))
    plain = market_of(desk(tmp_path / "plain", "", scenario))
    coming = market_of(desk(tmp_path / "coming", transit(SOON, "USDT", 300_000, "okx"), scenario))
    assert len(plain.transfers.routes) == 1
    assert coming.transfers.headroom == pytest.approx(plain.transfers.headroom)
    # It would count, were it there already.
    there = replace(
        coming,
        collateral=replace(coming.collateral, arriving=np.zeros(len(coming.pockets))),
        transfers=replace(coming.transfers, headroom=np.full_like(coming.transfers.headroom, np.inf)),
    )
    assert with_headroom(there).transfers.headroom[0, 0] > plain.transfers.headroom[0, 0] + 1e5


def test_check_and_result_show_what_cannot_move(tmp_path, hedge: Hedge):
    rows = (
        f"{AS_OF},vault,locked,ETH,50,1,,2026-12-31T00:00Z,,\n"
        f"{AS_OF},bonded,staked,ETH,10,1,,2026-11-25T00:00Z,,\n"
        + transit(LATE)
        + transit(SOON, coins=1, name="fast")
    )
    path = desk(tmp_path, rows)
    text = hedge("check", path).out
    assert "  vault: $200,000 of ETH locked until 2026-12-31T00:00:00Z\n" in text
    assert "  bonded: $40,000 of ETH staked until 2026-11-25T00:00:00Z\n" in text
    assert "  staked: $1,200,000 of ETH staked\n" in text
    assert "  block: $500,000 of BTC expected at 2026-11-21T00:00:00Z, confidence 50%\n" in text
    assert (
        "  wire: $200,000 of BTC in transit to binance until 2026-11-20T01:01:00Z, no collateral yet\n"
        in text
    )
    assert (
        "  fast: $100,000 of BTC in transit to binance until 2026-11-20T01:00:00Z, collateral there by the orders\n"
        in text
    )
    listed = {held["name"]: held for held in hedge("check", path, "--json").json["holdings"]}
    assert listed["vault"]["until"] == "2026-12-31T00:00:00Z"
    assert [listed[name]["counts_as_collateral"] for name in ("wire", "fast", "vault")] == [
        False,
        True,
        False,
    ]
    outcome = hedge("allocate", path, "--json", "--out", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    assert {held["name"]: held for held in outcome.json["holdings"]} == listed
    by_asset = {row["asset"]: row for row in outcome.json["risk"]["by_asset"]}
    assert by_asset["ETH"]["exposure_by_kind_usd"] == {"staked": 1_240_000, "locked": 200_000}
    parts = by_asset["BTC"]["exposure_by_kind_usd"]
    assert parts == pytest.approx(
        {"spot": 3e6, "anticipated": 250_000, "in_transit": 200_000, "collateral": 500_000}
    )
    for row in by_asset.values():
        assert row["exposure_usd"] == pytest.approx(sum(row["exposure_by_kind_usd"].values()))
    # 5 BTC with probability 1/2: sd 500,000 · 1/2 · 2.5 %.
    assert outcome.json["risk"]["volatility_of_anticipated_usd"] == pytest.approx(6250.0)


def test_an_anticipated_trade_counts_from_now_on_whenever_it_is(tmp_path, without):
    later = TABLES["holdings"].replace("2026-11-21T00:00Z", "2027-05-01T00:00Z")
    market = market_of(write_desk(tmp_path / "desk", tables={"holdings": later}))
    assert market.exposure == pytest.approx(without.exposure)
    sure = TABLES["holdings"].replace("BTC,5,0.5", "BTC,2.5,1")
    assert market_of(write_desk(tmp_path / "sure", tables={"holdings": sure})).exposure == pytest.approx(
        without.exposure
    )


def test_anticipation_variance_against_simulated_trades():
    """Whatever the hedge, whether trades happen adds the same variance to that of the expected book."""
    rng, n = np.random.default_rng(4), 400_000
    amounts, p, sd = np.array([5.0, -3.0]), np.array([0.3, 0.8]), np.array([0.2, 0.1])
    returns = rng.normal(size=(n, 2)) @ np.linalg.cholesky([[0.04, 0.012], [0.012, 0.01]]).T
    happens = rng.uniform(size=(n, 2)) < p
    for hedge in ([0.0, 0.0], [-1.5, 2.4], [-4.0, 1.0]):
        seen = ((happens * amounts + hedge) * returns).sum(axis=1).var()
        expected = ((p * amounts + hedge) * returns).sum(axis=1).var()
        assert seen - expected == pytest.approx(anticipation_variance(amounts, p, sd), rel=0.02)
    with pytest.raises(ValueError, match="confidence"):
        anticipation_variance([1.0], [1.2], [0.1])


BAD = [
    ("overdue", transit("2026-11-19T23:00Z"), "before its own time"),
    ("overdue at as_of", transit(AS_OF), "wire: to arrive 2026-11-20T00:00Z, which is not after as_of; it is overdue"),
    ("no time", transit(""), "in transit without expected_time"),
    ("to nowhere", f"{AS_OF},wire,in_transit,BTC,2,1,{SOON},,binance,\n", "in transit to nowhere"),
    ("unknown account", transit(SOON, venue="kraken"), "account main of kraken is not a venue of the scenario"),
    ("no collateral there", transit(SOON, "ETH"), "say under venues.binance.haircuts how much of ETH counts there"),
    ("negative", transit(SOON, coins=-2), "in transit is -2 coins"),
    ("unsure", f"{AS_OF},wire,in_transit,BTC,2,0.5,{SOON},,binance,main\n", "with confidence 0.5"),
    ("spot with a venue", f"{AS_OF},cold,spot,BTC,2,1,,,binance,main\n", "is spot with a to_venue or to_account"),
    ("locked for ever", f"{AS_OF},vault,locked,BTC,2,1,,,,\n", "is locked without locked_until"),
    ("unlocked already", f"{AS_OF},vault,locked,BTC,2,1,,2026-11-19T00:00Z,,\n", "vault: locked until 2026-11-19T00:00Z, which is not after as_of; write kind spot"),
    ("spot that is locked", f"{AS_OF},cold,spot,BTC,2,1,,2026-12-19T00:00Z,,\n", "is spot with a locked_until"),
    ("locked with a trade", f"{AS_OF},vault,locked,BTC,2,1,{SOON},2026-12-19T00:00Z,,\n", "is locked with an expected_time"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "said"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_holdings_are_refused(tmp_path, hedge: Hedge, rows, said):
    outcome = hedge("check", desk(tmp_path, rows))
    assert outcome.code == 4
    assert said in outcome.err
