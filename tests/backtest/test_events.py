"""Decisions between those of the clock, on walks made by hand: when they come, and what they know."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hand_made import HOURS, START, tables
from nova_desk import write_desk

from allocator.allocation import read_tables
from allocator.backtests.decide import only
from allocator.backtests.engine import Span, walk
from allocator.backtests.rivals import no_hedge
from allocator.backtests.tape import Tape
from allocator.cli import main
from allocator.scenario.load import load_scenario


def walked(folder, events, strategy, bitcoin=None, rates=None):
    path = write_desk(folder, **tables(bitcoin or {}, rates or {}))
    loaded = load_scenario(path, sets=[f"backtest.events={events}"] if events else [])
    tape = Tape.of(read_tables(loaded))
    return walk(
        loaded, tape, Span(START, START + pd.Timedelta(hours=HOURS), pd.Timedelta("1000h")), "w", strategy
    )


def half(moment):
    """Half of each coin on Nova; BTC collateral of Coinbay stays open."""
    market = moment.market
    return only(market, -0.5 * market.exposure[market.asset_of] * np.array([1.0, 1.0, 0.0]))


def decided(found):
    return [(int((c.time - START) / pd.Timedelta("1h")), c.cause) for c in found.choices]


def test_no_events_are_heeded_unless_stated(tmp_path):
    assert decided(walked(tmp_path, "", half, {30: 104_000.0}, {32: 0.0005})) == [(0, "clock")]


def test_each_crossing_of_the_delta_band_calls_once(tmp_path):
    """38 BTC, half hedged: $1.9m open at rest, $1.976m + the hedge's lag at 104,000."""
    prices = {30: 104_000.0, 36: 100_000.0, 40: 104_000.0}
    found = walked(tmp_path, "{delta_band: $1.95m}", half, prices)
    assert decided(found) == [(0, "clock"), (30, "delta_band"), (40, "delta_band")]


def test_a_jump_of_funding_calls_if_the_perp_is_held(tmp_path):
    """From 1 to 5 bp and back: two jumps of 4 bp; a bound above them, or no position, hears of neither."""
    for name in "abc":
        (tmp_path / name).mkdir()
    jump = {32: 0.0005}
    found = walked(tmp_path / "a", "{funding_jump: 3bp/8h}", half, rates=jump)
    assert decided(found) == [(0, "clock"), (32, "funding_jump"), (40, "funding_jump")]
    assert decided(walked(tmp_path / "b", "{funding_jump: 4.5bp/8h}", half, rates=jump)) == [(0, "clock")]
    assert decided(walked(tmp_path / "c", "{funding_jump: 3bp/8h}", no_hedge, rates=jump)) == [(0, "clock")]


def test_margin_below_its_ratio_calls(tmp_path):
    """A short of 19 BTC and 150 ETH: equity over maintenance margin falls when BTC rises by 20 %."""
    for name in "ab":
        (tmp_path / name).mkdir()
    rise = {25: 120_000.0}
    plain = walked(tmp_path / "a", "", half, rise)
    ratio = {bar.time: bar.equity_usd / bar.maintenance_margin_usd for bar in plain.venues}
    before, after = (ratio[START + pd.Timedelta(hours=h)] for h in (24, 25))
    assert before > 1.1 * after
    found = walked(tmp_path / "b", f"{{margin_ratio: {(before + after) / 2:.3f}x}}", half, rise)
    assert decided(found) == [(0, "clock"), (25, "margin_ratio")]


def test_an_event_knows_the_bar_that_called_and_nothing_later(tmp_path):
    seen = []

    def watching(moment):
        seen.append((moment.market.as_of, float(moment.market.prices.mark[0])))
        return half(moment)

    for name in "ab":
        (tmp_path / name).mkdir()
    events = "{delta_band: $1.95m}"
    walked(tmp_path / "a", events, watching, {30: 104_000.0, 31: 90_000.0, 32: 104_000.0})
    first = list(seen)
    assert first[1] == (START + pd.Timedelta(hours=30), 104_000.0)
    seen.clear()
    walked(tmp_path / "b", events, watching, {30: 104_000.0, 31: 150_000.0})
    assert seen[:2] == first[:2]


def test_a_bound_that_no_account_could_keep_is_refused(tmp_path, capsys):
    path = write_desk(tmp_path)
    assert main(["check", str(path), "--set", "backtest.events={margin_ratio: 0.5x}"]) == 2
    assert "margin_ratio" in capsys.readouterr().err
    assert main(["check", str(path), "--set", "backtest.events={delta: $1m}"]) == 2


@pytest.mark.parametrize("count", [2, 3])
def test_orders_under_way_are_not_overtaken(tmp_path, count):
    """A second crossing while the first one's orders wait for their bar calls for nothing."""
    prices = {30: 104_000.0, 30 + count: 100_000.0}
    path = write_desk(tmp_path, **tables(prices, {}))
    sets = ["backtest.events={delta_band: $1.95m}", "horizons.execution=4h"]
    loaded = load_scenario(path, sets=sets)
    span = Span(START, START + pd.Timedelta(hours=HOURS), pd.Timedelta("1000h"))
    found = walk(loaded, Tape.of(read_tables(loaded)), span, "w", half)
    assert [hour for hour, _ in decided(found)][:1] == [0]
    assert all(b - a >= 4 for (a, _), (b, _) in zip(decided(found), decided(found)[1:], strict=False))


def test_a_coin_out_of_its_band_hides_no_other(tmp_path):
    """38 BTC stay open at $3.8m all along; 300 ETH come to more than $1.5m at 6,000 alone."""
    texts = tables({}, {})
    at = (START + pd.Timedelta(hours=29)).strftime("%Y-%m-%dT%H:%MZ")
    dear = [
        line.replace(",4000", ",6000") if "ETH" in line and line.split(",")[0] > at else line
        for line in texts["prices"].splitlines()
    ]
    path = write_desk(tmp_path, **{**texts, "prices": "\n".join(dear) + "\n"})
    loaded = load_scenario(path, sets=["backtest.events={delta_band: $1.5m}"])
    span = Span(START, START + pd.Timedelta(hours=HOURS), pd.Timedelta("1000h"))
    found = walk(loaded, Tape.of(read_tables(loaded)), span, "w", no_hedge)
    # BTC is out from the first bar on, which the clock's decision heeds.
    assert decided(found) == [(0, "clock"), (30, "delta_band")]


def test_what_happens_while_orders_are_under_way_calls_when_they_are_through(tmp_path):
    """Decided at 24 h, filled at 28 h; at 26 h BTC leaves the band, and is still out; by 30 h it is back."""
    for name in "ab":
        (tmp_path / name).mkdir()

    def hours_of(folder, prices):
        path = write_desk(folder, **tables(prices, {}))
        sets = ["backtest.events={delta_band: $1.95m}", "horizons.execution=4h"]
        loaded = load_scenario(path, sets=sets)
        span = Span(START, START + pd.Timedelta(hours=40), pd.Timedelta("24h"))
        return decided(walk(loaded, Tape.of(read_tables(loaded)), span, "w", quarter))

    def quarter(moment):
        """Half a hedge at first, at 24 h a little less: something is under way."""
        first = moment.tape.times[moment.row] == START
        market = moment.market
        share = np.array([0.5, 0.5, 0.0]) if first else np.array([0.495, 0.5, 0.0])
        return only(market, -share * market.exposure[market.asset_of])

    assert hours_of(tmp_path / "a", {26: 104_000.0, 31: 100_000.0})[2:] == [(28, "delta_band")]
    # Over before the orders are through: nothing is left to mend.
    assert hours_of(tmp_path / "b", {26: 104_000.0, 27: 100_000.0})[2:] == []


def test_orders_for_nothing_are_not_under_way(tmp_path):
    """The same positions again at 24 h leave nothing to fill; the crossing at 25 h calls at once."""
    path = write_desk(tmp_path, **tables({25: 104_000.0}, {}))
    loaded = load_scenario(path, sets=["backtest.events={delta_band: $1.95m}", "horizons.execution=4h"])
    span = Span(START, START + pd.Timedelta(hours=40), pd.Timedelta("24h"))

    def once(moment):
        held = moment.market.positions.usd
        return only(moment.market, held if held.any() else half(moment).positions)

    found = walk(loaded, Tape.of(read_tables(loaded)), span, "w", once)
    assert decided(found) == [(0, "clock"), (24, "clock"), (25, "delta_band")]
