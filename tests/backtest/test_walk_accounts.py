"""What a walk leaves behind adds up: balances, breakdowns, stretches of bars, differences between walks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from nova_desk import SCENARIO, write_desk

from allocator.allocation import read_tables
from allocator.backtests import engine
from allocator.backtests.breakdown import BY, breakdowns, by_kind
from allocator.backtests.engine import Span, walk, walk_all
from allocator.backtests.rivals import strategies
from allocator.backtests.series import daily_pnl, first_fill
from allocator.backtests.simulate import simulated
from allocator.backtests.summary import differences, summarise
from allocator.backtests.tape import Tape
from allocator.backtests.walks import Walk
from allocator.market.build import build_market
from allocator.market.types import Decision
from allocator.scenario.load import load_scenario

DAYS, WARM_UP = 13, 3
SENDING = SCENARIO.replace(
    "    haircuts: {USDT: 0}\n", "    haircuts: {USDT: 0}\n    withdrawals: {USDT: {cost: 1bp, delay: 9h}}\n"
).replace("{BTC: 5%}", "{BTC: 5%, USDT: 0}")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Two venues; USDT may be sent from one to the other and takes nine hours."""
    loaded = load_scenario(write_desk(tmp_path_factory.mktemp("desk"), scenario=SENDING))
    tables = read_tables(loaded)
    return loaded, Tape.of(simulated(tables, build_market(loaded, tables), DAYS, seed=11, bar_hours=3))


@pytest.fixture(scope="module")
def span(desk):
    start = desk[1].times[0] + pd.Timedelta(days=WARM_UP)
    return Span(start, start + pd.Timedelta(days=DAYS - WARM_UP), pd.Timedelta("24h"))


def sender(moment):
    """Half a hedge, and $50k sent along every route every day."""
    market = moment.market
    hedge = -0.5 * market.exposure[market.asset_of] * np.array([1.0, 1.0, 0.3])
    return Decision(hedge, np.full(len(market.transfers.routes), 5e4))


@pytest.fixture(scope="module")
def sent(desk, span):
    found = walk(desk[0], desk[1], span, "sender", sender)
    assert found.ledger.frame().query("kind == 'moved'")["venue"].nunique() == 2
    return found


def test_opening_plus_amounts_is_closing_for_every_balance(sent):
    """In each venue's own currencies, no price involved, transfers on their way included as they leave."""
    ledger = sent.ledger.frame()
    booked = ledger.groupby(["venue", "currency"])["amount"].sum()
    places = set(sent.opening) | set(sent.closing) | set(booked.index)
    assert {("nova", "USDT"), ("coinbay", "USDT"), ("coinbay", "BTC"), ("", "BTC")} <= places
    for place in places:
        opening, closing = sent.opening.get(place, 0.0), sent.closing.get(place, 0.0)
        assert opening + booked.get(place, 0.0) == pytest.approx(closing, rel=1e-12, abs=1e-8), place
    # Something did move in each, or the identity would say nothing.
    assert sent.closing["coinbay", "BTC"] != sent.opening["coinbay", "BTC"]


def test_what_is_under_way_at_the_end_has_left_and_not_arrived(desk, span, sent):
    ledger = sent.ledger.frame().query("kind == 'moved'")
    out, arrived = (ledger[ledger["amount"] * sign > 0]["amount"].sum() for sign in (-1, 1))
    last = ledger[ledger["amount"] < 0].iloc[-1]
    assert pd.Timestamp(last["time"]) + pd.Timedelta("9h") > span.end
    assert -out - arrived == pytest.approx(-last["amount"], rel=1e-12)


def test_breakdowns_add_up_to_the_ledger_to_the_cent(sent):
    ledger = sent.ledger.frame()
    rows = breakdowns([sent])
    for name in BY:
        total = sum(row["total_usd"] for row in rows if row["by"] == name)
        assert total == pytest.approx(ledger["usd"].sum(), abs=0.01)
        funding = sum(row["funding_usd"] for row in rows if row["by"] == name)
        assert funding == pytest.approx(ledger.query("kind == 'funding'")["usd"].sum(), abs=0.01)
    assert {row["name"] for row in rows if row["by"] == "venue"} == {"nova", "coinbay", "outside"}
    assert {row["name"] for row in rows if row["by"] == "coin"} == {"BTC", "ETH", "USDT"}
    nova = ledger[(ledger["venue"] == "nova") & ledger["subject"].str.startswith("ETH")]["usd"].sum()
    flows = by_kind(sent).query("venue == 'nova' and coin == 'ETH'")["usd"].sum()
    assert flows == pytest.approx(nova, abs=0.01)


@pytest.mark.parametrize("name", ["sender", "equal_split"])
def test_bars_one_at_a_time_or_in_stretches_are_the_same_walk(desk, span, name, monkeypatch):
    """Each bar a stop of its own is the plain loop; prices, funding, margin must not know the difference."""
    strategy = sender if name == "sender" else strategies(["nova"])[name]
    whole = walk(desk[0], desk[1], span, name, strategy)
    monkeypatch.setattr(engine._Walker, "_next_stop", lambda walker: walker.row + 1)
    single = walk(desk[0], desk[1], span, name, strategy)
    keys = ["time", "kind", "venue", "subject", "currency"]
    one, other = (
        w.ledger.frame().sort_values(keys, kind="stable", ignore_index=True) for w in (whole, single)
    )
    pd.testing.assert_frame_equal(one, other, rtol=1e-10, atol=1e-7)
    assert whole.times == single.times
    assert np.allclose(whole.wealth, single.wealth, rtol=0, atol=1e-6)
    pd.testing.assert_frame_equal(whole.positions, single.positions, rtol=1e-12)
    assert [(b.time, b.venue) for b in whole.venues] == [(b.time, b.venue) for b in single.venues]
    for name in ("equity_usd", "maintenance_margin_usd", "gross_usd"):
        mine, theirs = ([getattr(bar, name) for bar in w.venues] for w in (whole, single))
        assert np.allclose(mine, theirs, rtol=1e-10), name


def steady(name: str, pnl: np.ndarray) -> Walk:
    """A walk whose daily P&L is this."""
    found = Walk(name, times=list(pd.date_range("2026-01-01", periods=len(pnl) + 1, freq="24h", tz="UTC")))
    found.wealth = [1e6, *(1e6 + np.cumsum(pnl)).tolist()]
    found.opening_usd = 1e6
    return found


def test_differences_of_constructed_walks():
    pnl = np.random.default_rng(3).normal(50.0, 1000.0, 40)
    walks = [
        steady("mine", pnl),
        steady("same", pnl),
        steady("double", 2 * pnl),
        steady("poorer", pnl - 70.0),
    ]
    assert np.allclose(daily_pnl(walks[0], first_fill(walks)), pnl)
    same, double, poorer = differences(walks, "mine", draws=300)
    assert (same.volatility_ratio, same.pnl_usd) == (1.0, 0.0)
    assert same.volatility_interval == (1.0, 1.0)
    assert same.pnl_interval == (0.0, 0.0)
    assert double.volatility_ratio == pytest.approx(0.5, rel=1e-12)
    assert np.allclose(double.volatility_interval, 0.5)
    assert double.pnl_usd == pytest.approx(-pnl.mean(), rel=1e-12)
    assert double.pnl_interval[0] < double.pnl_usd < double.pnl_interval[1]
    assert poorer.volatility_ratio == pytest.approx(1.0, rel=1e-12)
    assert np.allclose((poorer.pnl_usd, *poorer.pnl_interval), 70.0)


def test_differences_say_nothing_of_nine_days():
    pnl = np.arange(9.0)
    assert differences([steady("a", pnl), steady("b", 2 * pnl)], "a") == []


def test_regret_and_distance_are_those_of_the_walk(desk, span):
    known = strategies(["nova", "coinbay"])
    walks = [walk(desk[0], desk[1], span, name, known[name]) for name in ("equal_split", "foresight")]
    split, best = summarise(walks, 24.0)
    assert best.regret_usd == 0.0
    assert split.regret_usd == pytest.approx(best.net_carry_usd - split.net_carry_usd, rel=1e-12)
    least = min(
        (bar.equity_usd - bar.maintenance_margin_usd) / bar.gross_usd
        for bar in walks[0].venues
        if bar.gross_usd
    )
    assert split.smallest_liquidation_distance == pytest.approx(least, rel=1e-12)
    # The gross that distance is a share of is that of the recorded positions.
    held = walks[0].positions
    bar = walks[0].venues[-1]
    there = held[(held["time"] == bar.time) & (held["venue"] == bar.venue)]["usd"].abs().sum()
    assert bar.gross_usd == pytest.approx(there, rel=1e-9)


def test_the_page_s_differences_are_those_of_its_money(desk, span):
    """Orders take six hours to fill: the first day begins with them, and the days together are the walk."""
    from allocator.backtests.page import text_of
    from allocator.backtests.run import Backtest

    loaded = load_scenario(desk[0].path, sets=["horizons.execution=6h"])
    known = strategies(["nova"])
    walks = [walk(loaded, desk[1], span, name, known[name]) for name in ("equal_split", "no_hedge")]
    found = Backtest(loaded, span, tuple(walks), True)
    rows = found.result["strategies"]
    assert [(row["days"], row["span_days"]) for row in rows] == [(DAYS - WARM_UP, DAYS - WARM_UP)] * 2
    (apart,) = found.differences
    before = [w.wealth[2] - w.opening_usd - sum(f.paid_usd for f in w.fills[:1]) for w in walks]
    assert before[0] == pytest.approx(before[1])  # nobody had a say in it
    per_day = [row["pnl_usd"] / (DAYS - WARM_UP) for row in rows]
    assert apart.pnl_usd == pytest.approx(per_day[0] - per_day[1], abs=1e-3)
    text = text_of(found.result, None)
    assert f"{DAYS - WARM_UP} days of a SYNTHETIC market" in text
    line = next(line for line in text.partition("Money per day")[2].splitlines() if "equal_split" in line)
    carry = rows[0]["net_carry_usd"] / (DAYS - WARM_UP)
    assert line.split()[2].replace(",", "").replace("$", "") == f"{carry:.0f}"


@pytest.mark.parametrize("hours", [6.0, 24.0, 72.0])
def test_realised_over_predicted_is_of_one_definition_at_any_horizon(desk, span, hours):
    """Predicted over `hours` and held against what came between decisions, scaled to the time between."""
    from allocator.backtests.calibration import calibrations

    loaded = load_scenario(desk[0].path, sets=[f"horizons.decision={hours:g}h"])
    found = walk(loaded, desk[1], span, "w", strategies(["nova"])["no_hedge"])
    (summary,) = summarise([found], hours)
    stated = next(c.ratio for c in calibrations([found], hours) if c.of == "volatility")
    assert summary.calibration == pytest.approx(stated)
    daily = walk(*desk, span, "w", strategies(["nova"])["no_hedge"]).choices[0].volatility_usd
    assert found.choices[0].volatility_usd == pytest.approx(daily * np.sqrt(hours / 24.0), rel=0.01)


def test_without_anything_held_there_is_a_page_and_a_report(tmp_path, recwarn, capsys):
    from allocator.cli import main

    path = write_desk(tmp_path, holdings="time,name,kind,asset,coins,confidence\n")
    given = ["--out", str(tmp_path / "runs")]
    for value in ("simulate={days: 8, seed: 3}", "warm_up=6d", "strategies=[no_hedge, equal_split]"):
        given += ["--set", f"backtest.{value}"]
    given += ["--set", "book.size=$1m", "--set", "venues.coinbay.haircuts={USDT: 0}"]
    collateral = (
        "time,venue,account,currency,coins,withdrawable_coins\n"
        "2026-11-20T00:00Z,nova,main,USDT,3000000,0\n2026-11-20T00:00Z,coinbay,main,USDT,10,0\n"
    )
    (tmp_path / "data" / "collateral.csv").write_text(collateral)
    assert main(["backtest", str(path), *given]) == 0
    page = capsys.readouterr().out
    assert "no_hedge" in page
    assert "–" in page
    (folder,) = (tmp_path / "runs").glob("backtest-*")
    assert main(["report", str(folder)]) == 0
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_a_walk_is_the_same_to_the_byte_whoever_walks_beside_it(desk, span):
    known = strategies(["nova"])
    alone = walk(*desk, span, "allocator", known["allocator"])
    names = ("foresight", "allocator", "equal_split")
    beside = walk_all(*desk, span, {name: known[name] for name in names})[1]
    assert alone.wealth == beside.wealth
    pd.testing.assert_frame_equal(alone.ledger.frame(), beside.ledger.frame(), check_exact=True)
