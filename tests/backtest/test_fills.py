"""Which orders fill and when, by hand: margin, liquidations, gaps, new decisions, late transfers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hand_made import HOURS, START, tables
from nova_desk import SCENARIO, write_desk
from test_bar_extremes import with_extremes

from allocator.allocation import read_tables
from allocator.backtests.calibration import outcomes
from allocator.backtests.decide import allocator, only
from allocator.backtests.engine import Span, walk, walk_all
from allocator.backtests.margin_call import short_of_its_coin
from allocator.backtests.series import daily_pnl, first_fill
from allocator.backtests.summary import summarise
from allocator.backtests.tape import Tape
from allocator.cli import main
from allocator.errors import DataError, Infeasible
from allocator.market.types import Decision
from allocator.scenario.load import load_scenario

SENDING = SCENARIO.replace(
    "    haircuts: {USDT: 0}\n", "    haircuts: {USDT: 0}\n    withdrawals: {USDT: {cost: 1bp, delay: 9h}}\n"
).replace("{BTC: 5%}", "{BTC: 5%, USDT: 0}")


def hour(h: float) -> pd.Timestamp:
    return START + pd.Timedelta(hours=h)


def walked(folder, strategy, sets=(), every="24h", **texts):
    loaded = load_scenario(write_desk(folder, **{**tables({}, {}), **texts}), sets=list(sets))
    span = Span(START, hour(HOURS), pd.Timedelta(every))
    return walk(loaded, Tape.of(read_tables(loaded)), span, "w", strategy)


def moving(bitcoin):
    return tables(bitcoin, {})


def short_bitcoin(usd):
    """This much BTC short on Nova at every decision, by today's mark."""
    return lambda moment: only(moment.market, np.array([-usd, 0.0, 0.0]))


def coins(found, venue="nova"):
    """USD of BTC held at a venue, by hour."""
    rows = found.positions.itertuples(index=False)
    mine = [row for row in rows if row.venue == venue and row.symbol.startswith("BTC")]
    return {int((row.time - START) / pd.Timedelta("1h")): row.usd for row in mine}


def test_margin_decides_what_an_account_may_open(tmp_path):
    """$3m at 10x leverage: $29m pass, $31m do not, and the venue says how much it refused."""
    for name in "ab":
        (tmp_path / name).mkdir()
    passed = walked(tmp_path / "a", short_bitcoin(29e6))
    assert passed.rejected == []
    assert coins(passed)[1] == pytest.approx(-29e6)
    refused = walked(tmp_path / "b", short_bitcoin(31e6))
    assert coins(refused) == {}
    assert [(r.time, r.venue, r.usd) for r in refused.rejected] == [
        (hour(1), "nova", pytest.approx(-31e6)), (hour(25), "nova", pytest.approx(-31e6)),
    ]  # fmt: skip
    assert sum(filled.traded_usd for filled in refused.fills) == 0.0
    assert refused.ledger.frame().query("kind == 'fee'").empty


def test_orders_that_together_are_too_many_come_one_by_one_and_shrinking_ones_first(tmp_path):
    """$2.4m of margin is used for BTC; ETH for $10m more fits only once BTC has shrunk by $10m."""

    def shift(moment):
        first = moment.tape.times[moment.row] == START
        return only(moment.market, np.array([-24e6, 0.0, 0.0] if first else [-14e6, -10e6, 0.0]))

    def add(moment):
        first = moment.tape.times[moment.row] == START
        return only(moment.market, np.array([-24e6, 0.0, 0.0] if first else [-25e6, -10e6, 0.0]))

    for name in "ab":
        (tmp_path / name).mkdir()
    assert walked(tmp_path / "a", shift).rejected == []
    added = walked(tmp_path / "b", add)
    # The small one fits, the large one does not.
    assert [(r.symbol, r.usd) for r in added.rejected] == [("ETH/USDT:USDT", pytest.approx(-10e6))]
    assert coins(added)[26] == pytest.approx(-25e6)


def test_who_was_liquidated_does_not_reopen_on_what_is_left(tmp_path):
    """$20m short on $3m, +14 %: liquidated at equity 3m − 2.8m; $200k less the penalty carry no $20m."""
    found = walked(tmp_path, short_bitcoin(20e6), **moving({10: 114_000.0}))
    assert [(bar.time, bar.venue) for bar in found.liquidations] == [(hour(10), "nova")]
    assert [(r.time, r.usd) for r in found.rejected] == [(hour(25), pytest.approx(-20e6, rel=1e-3))]
    assert max(coins(found)) == 9


def test_what_shrinks_a_position_needs_no_margin(tmp_path):
    """Equity under initial margin after +8 %: cutting the position passes, adding to it does not."""

    def then(later):
        return lambda m: only(
            m.market, np.array([-25e6 if m.tape.times[m.row] == START else later, 0.0, 0.0])
        )

    for name in "ab":
        (tmp_path / name).mkdir()
    rise = moving({10: 108_000.0})
    cut = walked(tmp_path / "a", then(-20e6), **rise)
    assert cut.rejected == []
    assert coins(cut)[26] == pytest.approx(-20e6, rel=1e-3)
    more = walked(tmp_path / "b", then(-28e6), **rise)
    assert len(more.rejected) == 1
    assert coins(more)[26] == pytest.approx(-27e6, rel=1e-6)


def test_a_liquidation_cancels_the_orders_of_its_venue_alone(tmp_path):
    """Decided at 24 h to buy back, liquidated at 26 h: the purchase due at 28 h would be a new long."""

    def buy_back(moment):
        first = moment.tape.times[moment.row] == START
        return only(moment.market, np.array([-2e7, 0.0, 0.0] if first else [-1.9e7, 0.0, -5e5]))

    found = walked(tmp_path, buy_back, sets=["horizons.execution=4h"], **moving({26: 114_000.0}))
    assert [bar.time for bar in found.liquidations] == [hour(26)]
    assert max(coins(found)) == 25
    assert coins(found, "coinbay")[28] == pytest.approx(-5e5)
    assert found.rejected == []


def test_a_new_decision_takes_the_place_of_orders_still_to_fill(tmp_path):
    """An event's orders of 16 h would fill at 26 h; the clock's of 24 h do at 34 h instead."""

    def by_hour(moment):
        now = (moment.tape.times[moment.row] - START) / pd.Timedelta("1h")
        return only(moment.market, np.array([{0: -2e6, 16: -5e6}.get(now, -3e6), 0.0, 0.0]))

    sets = ["horizons.execution=10h", "backtest.events={funding_jump: 3bp/8h}"]
    found = walked(tmp_path, by_hour, sets=sets, **tables({}, {16: 0.0005}))
    # Funding jumps back at 24 h: what the clock has seen there calls for nothing later.
    assert [(c.time, c.cause) for c in found.choices] == [
        (hour(0), "clock"), (hour(16), "funding_jump"), (hour(24), "clock"), (hour(48), "clock"),
    ]  # fmt: skip
    held = coins(found)
    assert (held[33], held[34]) == (pytest.approx(-2e6), pytest.approx(-3e6))
    assert [(f.decided, f.time) for f in found.fills] == [(hour(0), hour(10)), (hour(24), hour(34))]
    assert sum(f.traded_usd for f in found.fills) == pytest.approx(3e6)


def test_decisions_faster_than_their_orders_are_refused(tmp_path, capsys):
    sets = [f"--set={s}" for s in ("backtest.every=1h", "horizons.execution=2h", "backtest.warm_up=4h")]
    path = write_desk(tmp_path, **tables({}, {}))
    assert main(["backtest", str(path), "--out", str(tmp_path), *sets]) == 2
    said = capsys.readouterr().err
    assert "backtest.every of 1 h is less than horizons.execution of 2 h" in said
    assert "write at least 2h" in said
    assert main(["backtest", str(path), "--out", str(tmp_path), "--set=backtest.end=2030-01-01T00:00Z"]) == 4
    assert "the prices end at 2026-11-20T00:00:00Z" in capsys.readouterr().err


def without(text: str, first: float, last: float, *having: str) -> str:
    """A table without its rows of [first, last] hours that hold one of these words."""
    lines = text.splitlines()
    return (
        "\n".join(
            line
            for line in lines
            if line.startswith("time")
            or not hour(first) <= pd.Timestamp(line.split(",")[0]) <= hour(last)
            or not any(word in line for word in having)
        )
        + "\n"
    )


def test_a_decision_without_data_leaves_everything_and_the_clock_goes_on(tmp_path):
    """No price at all from 20 h to 29 h: the decision of 24 h falls to 30 h, the next to 48 h."""
    texts = tables({}, {})
    for name in "ab":
        (tmp_path / name).mkdir()
    sets = ["snapshot.max_age.prices=12h"]
    hole = without(texts["prices"], 20, 29, "")
    found = walked(tmp_path / "a", short_bitcoin(2e6), sets=sets, prices=hole)
    assert [c.time for c in found.choices] == [hour(0), hour(30), hour(48)]
    # Nova's marks end at 20 h: too old at 24 h, and nobody's walk ends there.
    gone = without(texts["prices"], 20, 48, "nova,BTC")
    found = walked(tmp_path / "b", short_bitcoin(2e6), sets=["snapshot.max_age.prices=2h"], prices=gone)
    assert [(c.time, c.status) for c in found.choices] == [
        (hour(0), "optimal"), (hour(24), "bad_data"), (hour(48), "bad_data"),
    ]  # fmt: skip
    assert "h old, the limit is 2 h" in found.choices[1].message
    assert coins(found)[48] == pytest.approx(-2e6)
    assert found.wealth[-1] - found.opening_usd == pytest.approx(found.ledger.frame()["usd"].sum(), abs=0.01)


def test_the_page_tells_what_a_strategy_did_not_get(tmp_path, capsys):
    from allocator.backtests.page import text_of
    from allocator.backtests.run import backtest

    def lost(moment):
        raise Infeasible("no positions satisfy all limits", [])

    path = write_desk(tmp_path, **tables({}, {}))
    sets = ["backtest.warm_up=16h", "backtest.strategies=[no_hedge]"]
    found = backtest(load_scenario(path, sets=sets), rivals={"lost": lost, "much": short_bitcoin(31e6)})
    text = text_of(found.result, None)
    assert "lost: 3 of 3 decisions had no answer" in text
    assert "much: venues refused 2 orders for want of margin, at most $31,000,000 at once" in text
    assert [row["message"] for row in found.result["unanswered"]] == ["no positions satisfy all limits"] * 3
    assert len(found.tables()["rejected"]) == 2


def test_a_transfer_that_arrives_at_the_close_saves_nobody_from_the_bar(tmp_path):
    """$9m short, a wick of +40 % in the hour to 30 h: $2m arrive at 30 h, or at 29 h."""

    def send(moment):
        market = moment.market
        routes = [market.pockets[route.target].venue for route in market.transfers.routes]
        sent = np.array([2e6 if venue == "nova" else 0.0 for venue in routes])
        return Decision(np.array([-9e6, 0.0, 0.0]), sent)

    texts = tables({}, {})
    wick = with_extremes(texts, {"nova": (140_000.0, 99_000.0)})  # at 30 h
    both = SENDING.replace(
        "{BTC: 5%, USDT: 0}", "{BTC: 5%, USDT: 0}\n    withdrawals: {USDT: {cost: 0bp, delay: DELAY}}"
    )
    collateral = (
        "time,venue,account,currency,coins,withdrawable_coins\n"
        f"{START:%Y-%m-%dT%H:%MZ},nova,main,USDT,3000000,0\n"
        f"{START:%Y-%m-%dT%H:%MZ},coinbay,main,BTC,8,0\n"
        f"{START:%Y-%m-%dT%H:%MZ},coinbay,main,USDT,4000000,4000000\n"
    )
    lost = {}
    for delay in ("30h", "29h"):
        folder = tmp_path / delay
        folder.mkdir()
        scenario = both.replace("DELAY", delay)
        found = walked(folder, send, every="1000h", scenario=scenario, prices=wick, collateral=collateral)
        lost[delay] = [bar.time for bar in found.liquidations]
    assert lost == {"30h": [hour(30)], "29h": []}


def test_transfers_before_the_first_fill_are_paid_on_the_first_day(tmp_path):
    """Nothing moves but $2m of USDT at 1 bp: $200, and the fees of the orders."""

    def send(moment):
        market, first = moment.market, moment.tape.times[moment.row] == START
        sent = np.full(len(market.transfers.routes), 2e6 if first else 0.0)
        return Decision(np.array([-2e6, 0.0, 0.0]), sent)

    withdrawable = (
        "time,venue,account,currency,coins,withdrawable_coins\n"
        f"{START:%Y-%m-%dT%H:%MZ},nova,main,USDT,3000000,3000000\n"
        f"{START:%Y-%m-%dT%H:%MZ},coinbay,main,BTC,8,0\n{START:%Y-%m-%dT%H:%MZ},coinbay,main,USDT,1,0\n"
    )
    found = walked(tmp_path, send, every="1000h", scenario=SENDING, collateral=withdrawable)
    ledger = found.ledger.frame()
    assert ledger.query("kind == 'transfer'")["usd"].sum() == pytest.approx(-200.0)
    days = daily_pnl(found, first_fill([found]))
    inside = ledger[ledger["time"] <= days.index[-1]]
    assert days.sum() == pytest.approx(inside["usd"].sum(), abs=1e-6)


def test_an_account_that_has_lost_everything_blocks_no_other(tmp_path):
    """$10m short on Nova at +31 %: gone with a debt. Coinbay goes on, and Nova takes no order."""

    def then(moment):
        if moment.tape.times[moment.row] == START:
            return only(moment.market, np.array([-1e7, 0.0, 0.0]))
        return allocator(moment)

    found = walked(tmp_path, then, every="12h", **moving({5: 131_000.0}))
    assert [(bar.time, bar.venue) for bar in found.liquidations] == [(hour(5), "nova")]
    assert found.closing["nova", "USDT"] < -1e5
    assert [c.status for c in found.choices] == ["optimal"] * 5
    held = found.positions[found.positions["time"] > hour(14)]
    assert set(held["venue"]) == {"coinbay"}
    assert found.rejected == []


def test_days_are_counted_alike_for_all_walks(tmp_path):
    """An event overtakes the empty first orders of one: its own first fill is later, its days are not."""
    path = write_desk(tmp_path, **tables({2: 104_000.0}, {}))
    sets = ["backtest.events={delta_band: $3.9m}", "horizons.execution=4h", "backtest.warm_up=16h"]
    loaded = load_scenario(path, sets=sets)
    span = Span(START, hour(HOURS), pd.Timedelta("24h"))
    known = {"none": lambda m: only(m.market, np.zeros(3)), "half": short_bitcoin(2e6)}
    walks = walk_all(loaded, Tape.of(read_tables(loaded)), span, known)
    assert [w.fills[0].time for w in walks] == [hour(6), hour(4)]
    days = [daily_pnl(w, first_fill(walks)).index.tolist() for w in walks]
    assert days[0] == days[1] == [hour(24), hour(48)]
    assert [s.days for s in summarise(walks, 24.0)] == [2, 2]


@pytest.mark.parametrize("error", [Infeasible("no", []), DataError("no")], ids=["infeasible", "data"])
def test_orders_under_way_outlive_a_decision_without_an_answer(tmp_path, error):
    """The event's orders of 16 h fill at 26 h, though nothing is decided at 24 h; it stays in force."""

    def by_hour(moment):
        now = (moment.tape.times[moment.row] - START) / pd.Timedelta("1h")
        if now == 24:
            raise error
        return only(moment.market, np.array([{0: -2e6, 16: -5e6}.get(now, -5e6), 0.0, 0.0]))

    sets = ["horizons.execution=10h", "backtest.events={funding_jump: 3bp/8h}"]
    found = walked(tmp_path, by_hour, sets=sets, **tables({}, {16: 0.0005}))
    assert [c.status == "optimal" for c in found.choices] == [True, True, False, True]
    held = coins(found)
    assert (held[25], held[26]) == (pytest.approx(-2e6), pytest.approx(-5e6))
    table = outcomes(found, 24.0)
    assert list(table["time"]) == [hour(10), hour(26)]
    assert table["realised_cost"].iloc[1] == pytest.approx(table["predicted_cost"].iloc[1], rel=1e-6)


def test_calibration_leaves_out_what_was_refused(tmp_path):
    """Nothing was held of what was predicted: the model of risk is not to blame."""
    found = walked(tmp_path, short_bitcoin(31e6))
    assert len(found.rejected) == 2
    assert outcomes(found, 24.0)["predicted_volatility"].isna().all()


def test_a_jump_of_funding_early_in_the_wait_calls_when_orders_are_through(tmp_path):
    """Decided at 24 h, filled at 36 h; funding jumps at 32 h, four bars before."""

    def more(moment):
        first = moment.tape.times[moment.row] == START
        return only(moment.market, np.array([-2e6 if first else -3e6, 0.0, 0.0]))

    sets = ["horizons.execution=12h", "backtest.events={funding_jump: 3bp/8h}"]
    found = walked(tmp_path, more, sets=sets, **tables({}, {32: 0.0005, 40: 0.0005}))
    assert [(c.time, c.cause) for c in found.choices] == [
        (hour(0), "clock"), (hour(24), "clock"), (hour(36), "funding_jump"), (hour(48), "clock"),
    ]  # fmt: skip


def test_orders_wait_for_a_new_mark_of_their_own(tmp_path):
    """Nova's BTC is not quoted from 25 h to 30 h, while it rises by 5 %: who buys back pays what it costs."""

    def back(moment):
        first = moment.tape.times[moment.row] == START
        return only(moment.market, np.array([-4e6 if first else -2e6, -4e5 if first else 0.0, 0.0]))

    texts = tables({25: 105_000.0}, {})
    found = walked(tmp_path, back, prices=without(texts["prices"], 25, 30, "nova,BTC"))
    held = coins(found)
    assert held[30] == pytest.approx(-4e6)  # at the last mark
    assert held[31] == pytest.approx(-2e6 * 1.05)
    assert [(f.decided, f.time) for f in found.fills][1:3] == [(hour(24), hour(25)), (hour(24), hour(31))]
    gained = found.ledger.frame().query("subject == 'BTC/USDT:USDT' and kind == 'price'")["usd"].sum()
    assert gained == pytest.approx(-0.05 * 4e6)


def test_legs_of_one_coin_meet_the_same_end_of_a_bar():
    """Long the future, short the perp of one coin; a second coin short, and the first again elsewhere."""
    usd = np.array([-10e6, 9e6, -1e6, 2e6])
    short = short_of_its_coin(usd, np.array([0, 0, 0, 1]), np.array([0, 0, 1, 0]))
    assert short.tolist() == [True, True, True, False]
