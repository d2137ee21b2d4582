"""Settlements and prices that are missing from a history are found, told and never made up unasked."""

from __future__ import annotations

import pandas as pd
import pytest
from hand_made import HOURS, START, tables
from nova_desk import write_desk

from allocator.allocation import read_tables
from allocator.backtests.gaps import Gap, far_prices, funding_gaps, price_gaps, told
from allocator.backtests.run import backtest
from allocator.errors import DataError
from allocator.scenario.load import load_scenario

END = START + pd.Timedelta(hours=HOURS)
SETS = ["backtest.warm_up=16h", "backtest.strategies=[equal_split]"]


def hour(h: float) -> pd.Timestamp:
    return START + pd.Timedelta(hours=h)


def lacking(first: float, last: float, what: str) -> str:
    """Funding without the settlements of `what` in [first, last] hours."""
    lines = tables({}, {})["funding"].splitlines()
    return (
        "\n".join(
            line
            for line in lines
            if what not in line or not hour(first) <= pd.Timestamp(line.split(",")[0]) <= hour(last)
        )
        + "\n"
    )


def gaps(folder, text, start=START, end=END):
    loaded = load_scenario(write_desk(folder, **{**tables({}, {}), "funding": text}))
    return funding_gaps(loaded.scenario, read_tables(loaded), start, end)


def test_a_whole_history_has_no_gaps(tmp_path):
    assert gaps(tmp_path, tables({}, {})["funding"]) == []


def test_each_gap_says_where_it_is_and_how_much_is_missing(tmp_path):
    text = lacking(10, 20, "coinbay,BTC/USD:BTC")
    found = gaps(tmp_path, text)
    assert found == [Gap("coinbay", "BTC/USD:BTC", hour(9), hour(21), 11)]
    assert told("funding", found) == (
        "settlements are missing of coinbay BTC/USD:BTC 11 between 2026-11-18T09:00Z and 2026-11-18T21:00Z"
    )
    # Before the walk, and after it, nothing is paid anyway.
    assert gaps(tmp_path, text, start=hour(21)) == []
    assert gaps(tmp_path, text, end=hour(9)) == []


def test_what_is_missing_before_the_walk_does_not_count(tmp_path):
    """Of 8 h and 16 h that are missing, a walk from 12 h on lacks one; from 20 h on none."""
    text = lacking(8, 16, "nova,ETH")
    (gap,) = gaps(tmp_path, text, start=hour(12))
    assert (gap.after, gap.before, gap.settlements) == (hour(0), hour(24), 1)
    assert gaps(tmp_path, text, start=hour(20)) == []


def test_one_settlement_of_eight_hours_and_the_end_of_a_history(tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
    assert gaps(tmp_path / "a", lacking(16, 16, "nova,ETH")) == [
        Gap("nova", "ETH/USDT:USDT", hour(8), hour(24), 1)
    ]
    assert gaps(tmp_path / "b", lacking(30, 48, "nova,BTC")) == [
        Gap("nova", "BTC/USDT:USDT", hour(24), END, 3)
    ]
    # A perp of the scenario that is left out is nobody's.
    loaded = load_scenario(
        write_desk(tmp_path / "c", **{**tables({}, {}), "funding": lacking(16, 16, "nova,ETH")}),
        sets=["instruments.nova_perps.symbols=[BTC/USDT:USDT]"],
    )
    assert funding_gaps(loaded.scenario, read_tables(loaded), START, END) == []


def test_an_interval_that_becomes_longer_is_no_gap(tmp_path):
    """Hourly until 8 h, every eight hours from 16 h on."""
    lines = [line for line in tables({}, {})["funding"].splitlines() if "coinbay" not in line]
    for h in [*range(-16, 9), 16, 24, 32, 40, 48]:
        at = hour(h).strftime("%Y-%m-%dT%H:%MZ")
        lines.append(f"{at},coinbay,BTC/USD:BTC,{at},0.00001,{1 if h <= 8 else 8}")
    assert gaps(tmp_path, "\n".join(lines) + "\n") == []


def test_a_walk_is_refused_unless_nothing_is_to_be_paid(tmp_path):
    path = write_desk(tmp_path, **{**tables({}, {}), "funding": lacking(10, 20, "coinbay,BTC/USD:BTC")})
    with pytest.raises(DataError, match=r"backtest\.missing_funding: nothing"):
        backtest(load_scenario(path, sets=SETS))
    found = backtest(load_scenario(path, sets=[*SETS, "backtest.missing_funding=nothing"]))
    assert any("nothing is paid there" in sentence for sentence in found.result["warnings"])


def prices_of(folder, text, *sets):
    loaded = load_scenario(write_desk(folder, **{**tables({}, {}), "prices": text}), sets=list(sets))
    return loaded, read_tables(loaded)


def lacking_prices(first: float, last: float, what: str) -> str:
    lines = tables({}, {})["prices"].splitlines()
    return (
        "\n".join(
            line
            for line in lines
            if line.startswith("time")
            or what not in line
            or not hour(first) <= pd.Timestamp(line.split(",")[0]) <= hour(last)
        )
        + "\n"
    )


@pytest.mark.parametrize("what", ["nova,BTC", "index,BTC", ""])
def test_prices_that_are_missing_longer_than_they_may_be_old_refuse_a_walk(tmp_path, what):
    """Ten hours where two are allowed: of one perp, of a coin, of everything."""
    loaded, data = prices_of(tmp_path, lacking_prices(10, 19, what), "snapshot.max_age.prices=2h", *SETS)
    found = price_gaps(loaded.scenario, data, START, END)
    assert {(g.after, g.before) for g in found} == {(hour(9), hour(20))}
    assert all(f"{g.exchange},{g.symbol}".startswith(what) for g in found)
    with pytest.raises(DataError, match=r"backtest\.missing_prices: hold"):
        backtest(loaded)
    held = backtest(
        load_scenario(loaded.path, sets=["snapshot.max_age.prices=2h", "backtest.missing_prices=hold", *SETS])
    )
    assert any("stands at its last price" in sentence for sentence in held.result["warnings"])
    # What may be twelve hours old has no gap.
    assert (
        price_gaps(
            load_scenario(loaded.path, sets=["snapshot.max_age.prices=12h"]).scenario, data, START, END
        )
        == []
    )


def test_a_perp_whose_price_ends_is_told(tmp_path):
    loaded, data = prices_of(tmp_path, lacking_prices(30, 48, "nova,ETH"), "snapshot.max_age.prices=2h")
    (gap,) = price_gaps(loaded.scenario, data, START, END)
    assert (gap.exchange, gap.symbol, gap.after, gap.before) == ("nova", "ETH/USDT:USDT", hour(29), END)


def test_a_print_far_from_its_coin_is_told(tmp_path):
    at = f"{hour(20):%Y-%m-%dT%H:%MZ}"
    text = tables({}, {})["prices"].replace(f"{at},nova,ETH/USDT:USDT,4000", f"{at},nova,ETH/USDT:USDT,8000")
    loaded, data = prices_of(tmp_path, text)
    (said,) = far_prices(loaded.scenario, data, START, END)
    assert "nova ETH/USDT:USDT was 100 % away from its coin at 2026-11-18T20:00Z" in said
