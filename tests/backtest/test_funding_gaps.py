"""Settlements that are missing from a history are found, told and never taken for nothing unasked."""

from __future__ import annotations

import pandas as pd
import pytest
from hand_made import HOURS, START, tables
from nova_desk import write_desk

from allocator.allocation import read_tables
from allocator.backtests.funding_gaps import Gap, funding_gaps, told
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
    assert told(found) == (
        "settlements are missing of coinbay BTC/USD:BTC 11 between 2026-11-18T09:00Z and 2026-11-18T21:00Z"
    )
    # Before the walk, and after it, nothing is paid anyway.
    assert gaps(tmp_path, text, start=hour(21)) == []
    assert gaps(tmp_path, text, end=hour(9)) == []


def test_what_is_missing_before_the_walk_does_not_count(tmp_path):
    """Of 8 h and 16 h that are missing, a walk from 12 h on lacks one; from 20 h on none."""
    text = lacking(8, 16, "nova,ETH")
    (gap,) = gaps(tmp_path, text, start=hour(12))
    assert (gap.after, gap.before, gap.missing) == (hour(0), hour(24), 1)
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
    assert any("nothing was paid there" in sentence for sentence in found.result["warnings"])
