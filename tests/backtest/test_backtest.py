"""The walk over history: cash flows that add up, nothing known early, margin that is really checked."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from datetime import timedelta
from time import sleep

import numpy as np
import pandas as pd
import pytest
from answers import answer
from hand_made import START as HAND_START
from hand_made import tables as hand_tables
from lotted import free, lotted_market
from nova_desk import write_desk
from random_markets import ANYTHING

from allocator import DataError
from allocator.allocation import read_tables
from allocator.audit.audit import check_limits
from allocator.backtests.decide import Moment, allocator, only
from allocator.backtests.engine import Span, walk
from allocator.backtests.rivals import strategies
from allocator.backtests.run import backtest, span_of
from allocator.backtests.series import daily_pnl, first_fill
from allocator.backtests.simulate import simulated
from allocator.backtests.summary import differences, summarise
from allocator.backtests.tape import Tape
from allocator.cli import main
from allocator.locking import only_one
from allocator.market.build import build_market
from allocator.orders.lots import round_to_lots
from allocator.scenario.load import load_scenario
from allocator.scenario.orders import Orders
from allocator.scenario.walk import Backtest

DAYS, WARM_UP = 12, 6


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A desk on two venues, one of them inverse and margined in coin, with a synthetic history."""
    path = write_desk(tmp_path_factory.mktemp("desk"))
    loaded = load_scenario(path)
    tables = read_tables(loaded)
    market = build_market(loaded, tables)
    return loaded, simulated(tables, market, DAYS, seed=5, bar_hours=4)


@pytest.fixture(scope="module")
def tape(desk):
    return Tape.of(desk[1])


def span(tape, days=DAYS - WARM_UP, every="24h"):
    start = tape.times[0] + pd.Timedelta(days=WARM_UP)
    return Span(start, start + pd.Timedelta(days=days), pd.Timedelta(every))


@pytest.fixture(scope="module")
def walks(desk, tape):
    names = ("allocator", "no_hedge", "equal_split", "best_funding", "least_variance", "foresight")
    known = strategies(["nova", "coinbay"])
    return {name: walk(desk[0], tape, span(tape), name, known[name]) for name in names}


def test_every_flow_is_booked_and_wealth_is_their_sum(walks):
    for name, found in walks.items():
        ledger = found.ledger.frame()
        assert found.wealth[-1] - found.opening_usd == pytest.approx(ledger["usd"].sum(), abs=0.01), name
        # At every bar, not only at the last.
        upto = ledger.groupby("time")["usd"].sum().reindex(pd.DatetimeIndex(found.times), fill_value=0.0)
        assert np.allclose(np.array(found.wealth), found.opening_usd + upto.cumsum(), atol=0.01), name


def test_balances_in_their_own_currency_are_what_the_ledger_says(desk, tape, walks):
    """No price enters here: opening balance plus amounts received is the closing balance."""
    assert walks["no_hedge"].ledger.frame().query("kind == 'price'")["amount"].abs().sum() == 0.0
    for found in walks.values():
        booked = found.ledger.frame().groupby(["venue", "currency"])["amount"].sum()
        for place in {*found.opening, *found.closing}:
            change = found.closing.get(place, 0.0) - found.opening.get(place, 0.0)
            assert booked.get(place, 0.0) == pytest.approx(change, rel=1e-9, abs=1e-8), (found.name, place)
    ledger = walks["equal_split"].ledger.frame()
    coin = ledger[(ledger["venue"] == "coinbay") & (ledger["currency"] == "BTC")]
    assert {"price", "funding", "fee"} <= set(coin["kind"])


def test_funding_paid_is_that_of_an_independent_calculation(desk, tape, walks):
    """Rate × position at the settlement's own mark, straight from the tables with pandas."""
    _, snapshot = desk
    found = walks["equal_split"]
    held = pd.DataFrame(found.positions, columns=["time", "venue", "symbol", "usd"])
    funding = snapshot.tables["funding"]
    prices = snapshot.tables["prices"].set_index(["time", "venue", "symbol"])["price"]
    booked = found.ledger.frame().query("kind == 'funding'").groupby(["venue", "subject"])["usd"].sum()
    bars = pd.DatetimeIndex(found.times)
    for (venue, symbol), mine in held.groupby(["venue", "symbol"]):
        position = mine.set_index("time")["usd"]
        paid = 0.0
        rows = funding[(funding["venue"] == venue) & (funding["symbol"] == symbol)]
        for time, rate in zip(rows["settlement_time"], rows["rate"], strict=True):
            if not bars[0] < time <= bars[-1]:
                continue
            bar = bars[bars.searchsorted(time)]
            before = bars[bars.get_loc(bar) - 1]
            if before not in position.index:
                continue
            linear = symbol.endswith("USDT")
            move = prices[bar, venue, symbol] / prices[before, venue, symbol] if linear else 1.0
            # So many coins at the mark, each worth the index.
            worth = prices[bar, "index", f"{symbol.partition('/')[0]}/USD"] / prices[bar, venue, symbol]
            usdt = prices[bar, "index", "USDT/USD"] / prices[before, "index", "USDT/USD"]
            quote = usdt if linear else worth
            paid -= position[before] * move * quote * rate
        assert booked[venue, symbol] == pytest.approx(paid, rel=1e-9, abs=1e-6)


def test_perp_gains_are_position_times_move(desk, tape, walks):
    """A short's gain on a linear perp in USD: −contracts × change of the mark × USDT."""
    found = walks["equal_split"]
    held = pd.DataFrame(found.positions, columns=["time", "venue", "symbol", "usd"])
    mine = held[(held["venue"] == "nova") & (held["symbol"] == "BTC/USDT:USDT")].set_index("time")["usd"]
    column = tape.keys["nova", "BTC/USDT:USDT"]
    marks = pd.Series(tape.marks[:, column], index=tape.times)
    usdt = pd.Series(tape.reference[:, tape.names["USDT"]], index=tape.times)
    coins = mine / (marks * usdt).reindex(mine.index)
    gains = (coins.shift(1) * marks.reindex(mine.index).diff() * usdt.reindex(mine.index)).dropna()
    ledger = found.ledger.frame()
    booked = ledger[(ledger["kind"] == "price") & (ledger["subject"] == "BTC/USDT:USDT")]
    assert booked.groupby("time")["usd"].sum().reindex(
        gains.index, fill_value=0.0
    ).to_numpy() == pytest.approx(gains.to_numpy(), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2, 3))])
def test_what_happens_later_changes_no_decision(desk, tape, seed):
    """Every price, rate and term after a random time is spoilt; decisions up to it stay the same."""
    loaded, snapshot = desk
    random = np.random.default_rng(seed)
    whole = span(tape)
    cut = whole.start + pd.Timedelta(hours=int(random.integers(24, 24 * (DAYS - WARM_UP - 1))))
    tables = dict(snapshot.tables)
    for name, column in (("prices", "price"), ("funding", "rate")):
        later = tables[name]["time"] > cut
        spoilt = tables[name][column].where(
            ~later, tables[name][column] * random.uniform(1.05, 1.2, len(later))
        )
        tables[name] = tables[name].assign(**{column: spoilt})
    strategy = strategies(["nova", "coinbay"])["allocator"]
    until = replace(whole, end=cut)
    one = walk(loaded, tape, until, "one", strategy)
    other = walk(loaded, Tape.of(replace(snapshot, tables=tables)), until, "other", strategy)
    assert [c.time for c in one.choices] == [c.time for c in other.choices]
    assert [c.trade_usd for c in one.choices] == [c.trade_usd for c in other.choices]
    assert one.positions.equals(other.positions)


def test_a_venue_below_its_maintenance_margin_is_liquidated(desk, tape):
    """Ten times the margin's worth of shorts, and prices that rise by half."""
    loaded, snapshot = desk
    prices = snapshot.tables["prices"]
    moved = prices["time"] > span(tape).start + pd.Timedelta(days=2)
    up = prices["symbol"].str.startswith(("BTC", "ETH")) & moved
    tables = dict(snapshot.tables) | {
        "prices": prices.assign(price=prices["price"].where(~up, prices["price"] * 1.5))
    }

    def careless(moment):
        x = np.zeros(len(moment.market.instruments))
        x[0] = -2.5e7  # on $3m of collateral
        return only(moment.market, x)

    found = walk(
        loaded, Tape.of(replace(snapshot, tables=tables)), span(tape, every="2400h"), "careless", careless
    )
    assert [bar.venue for bar in found.liquidations] == ["nova"]
    bar = found.liquidations[0]
    assert bar.equity_usd < bar.maintenance_margin_usd
    ledger = found.ledger.frame()
    lost = ledger[ledger["kind"] == "liquidation"]["usd"].sum()
    held = pd.DataFrame(found.positions, columns=["time", "venue", "symbol", "usd"])
    before = held[held["time"] < bar.time]["usd"].iloc[-1]
    assert lost == pytest.approx(-0.01 * abs(before) * 1.5, rel=0.1)  # the venue's 1 % penalty
    assert (held["time"] < bar.time).all()


def test_an_unhedged_coin_is_as_volatile_as_it_was_drawn(walks):
    found = {s.strategy: s for s in summarise(list(walks.values()), 24.0)}
    # $3m of BTC at 2.5 % and $1.2m of ETH at 3.5 %, five days of Student-5 returns: a factor of two at most.
    assert 0.4 < found["no_hedge"].volatility_usd / 1.2e5 < 2.0
    assert found["allocator"].volatility_usd < 0.2 * found["no_hedge"].volatility_usd
    assert found["allocator"].hedge_effectiveness > 0.95
    assert found["no_hedge"].hedge_effectiveness == 0.0
    assert all(abs(s.identity_error_usd) < 0.01 for s in found.values())


def test_differences_are_on_the_same_days(walks):
    long = {name: replace(found) for name, found in walks.items()}
    pnl = daily_pnl(long["allocator"], first_fill(list(long.values())))
    assert len(pnl) == DAYS - WARM_UP
    assert differences(list(walks.values()), "allocator") == []  # fewer than ten days say nothing


def test_a_backtest_of_your_own_rival(tmp_path):
    path = write_desk(tmp_path)
    sets = [
        "backtest.simulate={days: 9, seed: 3}",
        "backtest.warm_up=6d",
        "backtest.strategies=[no_hedge]",
    ]
    found = backtest(
        load_scenario(path, sets=sets),
        {"half": lambda m: only(m.market, -0.5 * m.market.exposure[m.market.asset_of] * [1, 1, 0])},
    )
    assert [w.name for w in found.walks] == ["no_hedge", "half"]
    assert found.result["synthetic"] is True
    sd = {row["strategy"]: row["volatility_usd"] for row in found.result["strategies"]}
    assert 0.3 < sd["half"] / sd["no_hedge"] < 0.75


def test_too_short_a_history_says_what_there_is(tmp_path, capsys):
    path = write_desk(tmp_path)
    with pytest.raises(DataError, match=r"backtest\.warm_up"):
        backtest(load_scenario(path, sets=["backtest.simulate={days: 9, seed: 3}"]))
    with pytest.raises(DataError, match="at least two times"):
        backtest(load_scenario(path))


def test_terms_that_are_younger_than_the_walk_are_named(desk, tape):
    loaded, snapshot = desk
    late = snapshot.tables["instruments"]["time"].max() + pd.Timedelta(days=30)
    tables = dict(snapshot.tables)
    tables["instruments"] = tables["instruments"].assign(time=late)
    history = Tape.of(replace(snapshot, tables=tables))
    short = replace(
        loaded, scenario=loaded.scenario.model_copy(update={"backtest": Backtest(warm_up=f"{WARM_UP}d")})
    )
    assert span_of(short, tape).every == pd.Timedelta("24h")
    with pytest.raises(DataError, match="instruments are known from"):
        span_of(short, history)


def test_the_command_writes_a_folder_and_finds_it_again(tmp_path, capsys):
    path = write_desk(tmp_path)
    sets = [
        "backtest.simulate={days: 8, seed: 3}",
        "backtest.warm_up=6d",
        "backtest.strategies=[allocator, no_hedge]",
    ]
    given = ["backtest", str(path), "--out", str(tmp_path / "runs"), "--json"]
    given += [part for value in sets for part in ("--set", value)]
    assert main(given) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["strategy"] for row in result["strategies"]] == ["allocator", "no_hedge"]
    folder = tmp_path / "runs" / result["run_id"]
    ledger = pd.read_parquet(folder / "ledger.parquet")
    assert set(ledger["strategy"]) == {"allocator", "no_hedge"}
    stamp = (folder / "manifest.json").stat().st_mtime_ns
    assert main([*given[:-1][:4], *given[5:]]) == 0
    page = capsys.readouterr().out
    assert "SYNTHETIC" in page
    assert "allocator" in page
    assert (folder / "manifest.json").stat().st_mtime_ns == stamp


def test_announced_trades_are_known_from_their_row_on_and_happen_whole(desk, tape):
    loaded, snapshot = desk
    whole = span(tape)
    known, happens = whole.start + timedelta(days=2), whole.start + timedelta(days=3)
    holdings = snapshot.tables["holdings"]
    row = {"time": known, "name": "block", "kind": "anticipated", "asset": "BTC", "coins": 5.0}
    more = pd.DataFrame([{**row, "confidence": 1.0, "expected_time": happens}])
    tables = dict(snapshot.tables) | {"holdings": pd.concat([holdings, more], ignore_index=True)}
    strategy = strategies(["nova"])["equal_split"]
    found = walk(loaded, Tape.of(replace(snapshot, tables=tables)), whole, "split", strategy)
    bitcoin = pd.DataFrame(found.delta, index=pd.DatetimeIndex(found.times))["BTC"]
    # Agreed when it is announced, hedged by the decision of that bar, before and after it happens.
    assert bitcoin[known - timedelta(hours=4)] == pytest.approx(0.0, abs=3e4)
    assert bitcoin[known + timedelta(hours=8)] == pytest.approx(0.0, abs=3e4)
    assert bitcoin[happens + timedelta(hours=8)] == pytest.approx(0.0, abs=3e4)
    booked = found.ledger.frame().query("kind == 'moved' and venue == ''")
    assert list(booked["time"]) == [happens] * 2
    agreed = tape.price_of(int(tape.times.searchsorted(known)), "BTC")
    assert sorted(booked["amount"]) == pytest.approx([-5.0 * agreed, 5.0])


def test_a_trade_at_a_price_that_is_agreed_gains_and_loses_until_it_is_done(tmp_path):
    """10 of 30 BTC sold at 100,000 from the announcement on: +10 % later earns on the 20 that are left."""
    texts = hand_tables({10: 110_000.0}, {})
    known, due = (f"{HAND_START + timedelta(hours=h):%Y-%m-%dT%H:%MZ}" for h in (0, 20))
    sold = f"{known},block,anticipated,BTC,-10,1,{due}"
    at = "2026-11-20T00:00Z"
    holdings = f"time,name,kind,asset,coins,confidence,expected_time\n{at},vault,spot,BTC,30,1,\n{sold}\n"
    loaded = load_scenario(write_desk(tmp_path, **texts, holdings=holdings))
    tape = Tape.of(read_tables(loaded))
    whole = Span(HAND_START, HAND_START + pd.Timedelta(hours=40), pd.Timedelta("12h"))
    found = walk(loaded, tape, whole, "w", strategies(["nova"])["no_hedge"])
    wealth = pd.Series(found.wealth, index=pd.DatetimeIndex(found.times)) - found.opening_usd
    collateral = 8 * 10_000.0
    assert wealth.iloc[12] == wealth.iloc[-1] == pytest.approx(20 * 10_000.0 + collateral)
    assert (found.closing["", "BTC"], found.closing["", "USD"]) == (20.0, 1_000_000.0)
    bitcoin = found.delta["BTC"]
    assert bitcoin.iloc[12] == bitcoin.iloc[30] == pytest.approx(28 * 110_000.0)


def test_the_second_to_walk_the_same_waits_and_finds_it_made(tmp_path, capsys, caplog):
    given = [str(write_desk(tmp_path)), "--json"]
    for value in ("simulate={days: 8, seed: 3}", "warm_up=6d", "strategies=[no_hedge]"):
        given += ["--set", f"backtest.{value}"]
    assert main(["backtest", *given, "--out", str(tmp_path / "first")]) == 0
    first = capsys.readouterr().out
    name, out = json.loads(first)["run_id"], tmp_path / "runs"
    out.mkdir()
    waiting = threading.Thread(target=main, args=(["backtest", *given, "--out", str(out)],))
    with only_one(out / f".{name}.lock"):
        waiting.start()
        while "another process computes this run" not in caplog.text:
            sleep(0.01)
        assert not (out / name).exists()
        shutil.copytree(tmp_path / "first" / name, out / name)
        stamp = (out / name / "manifest.json").stat().st_mtime_ns
    waiting.join()
    assert capsys.readouterr().out == first
    assert (out / name / "manifest.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("seed", [4, 27])
def test_lots_so_coarse_that_plain_roundings_breach_are_solved_around(desk, tape, seed):
    """Where no rounding of the optimum keeps every limit, whole lots near it do."""
    market = lotted_market(seed, ANYTHING, largest=0.3)
    plain = round_to_lots(market, answer(market).solution.decision, free(market))
    assert not plain.check.passed
    loaded = replace(desk[0], scenario=desk[0].scenario.model_copy(update={"orders": Orders()}))
    found = allocator(Moment(loaded, tape, 0, market))
    check, _ = check_limits(market, found)
    assert check.passed
    lots = found.positions / market.prices.usd_per_contract
    size = np.array([float(i.contract.lot_contracts) for i in market.instruments])
    held = market.positions.contracts
    traded = np.abs(lots - held) > 1e-9 * np.maximum(np.abs(held), size)
    assert np.allclose(lots[traded] / size[traded], np.rint(lots[traded] / size[traded]), atol=1e-6)
