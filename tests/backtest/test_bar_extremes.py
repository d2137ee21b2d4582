"""Margin at the highest and lowest mark of a bar: liquidated there, for the price there, or not at all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hand_made import HOURS, START, tables
from nova_desk import read, write_desk

from allocator import DataError
from allocator.allocation import read_tables
from allocator.backtests.decide import only
from allocator.backtests.engine import Span, walk
from allocator.backtests.rails import Rails
from allocator.backtests.tape import Tape
from allocator.scenario.load import load_scenario

BAR = 30
WHEN = START + pd.Timedelta(hours=BAR)


def with_extremes(texts, wild: dict[str, tuple[float, float]]) -> str:
    """The prices with high and low at the close, but for instruments at one bar."""
    lines = []
    for line in texts["prices"].splitlines():
        time, venue, symbol, price = line.split(",")
        if time == "time":
            lines.append(line + ",high_usd,low_usd")
            continue
        high, low = price, price
        if time == WHEN.strftime("%Y-%m-%dT%H:%MZ") and venue in wild and symbol.startswith("BTC"):
            high, low = (str(value) for value in wild[venue])
        lines.append(f"{line},," if venue == "index" else f"{line},{high},{low}")
    return "\n".join(lines) + "\n"


def walked(folder, wild, strategy, closes=None):
    texts = tables(closes or {}, {})
    prices = texts["prices"] if wild is None else with_extremes(texts, wild)
    loaded = load_scenario(write_desk(folder, **{**texts, "prices": prices}))
    tape = Tape.of(read_tables(loaded))
    span = Span(START, START + pd.Timedelta(hours=HOURS), pd.Timedelta("1000h"))
    return walk(loaded, tape, span, "w", strategy), Rails(tape).checked_on


def short_nova(moment):
    """100 BTC short on Nova, $10m on $3m of collateral."""
    return only(moment.market, np.array([-1e7, 0.0, 0.0]))


def long_coin(moment):
    """20 BTC's worth long on Coinbay, inverse, on 8 BTC of collateral."""
    return only(moment.market, np.array([0.0, 0.0, 2e6]))


def test_a_wick_liquidates_at_its_own_price(tmp_path):
    """+32 % within the bar, back at its close: equity 3m − 3.2m; the loss to the wick, and 1 % there."""
    for name in "abc":
        (tmp_path / name).mkdir()
    found, checked = walked(tmp_path / "a", {"nova": (132_000.0, 99_000.0)}, short_nova)
    assert checked == "extremes"
    assert [(bar.time, bar.venue) for bar in found.liquidations] == [(WHEN, "nova")]
    ledger = found.ledger.frame()
    lost = ledger[ledger["kind"] == "liquidation"]["usd"].sum()
    assert lost == pytest.approx(-0.32 * 1e7 - 0.01 * 1.32 * 1e7, rel=1e-9)
    bar = found.liquidations[0]
    before = ledger[(ledger["time"] < WHEN) & (ledger["venue"] == "nova")]["usd"].sum()
    assert bar.equity_usd == pytest.approx(3e6 + before - 3.2e6, rel=1e-9)
    # Brackets at the wick's notional: 0.5 % to $1m, 1 % to $5m (less $5k), 2 % beyond (less $55k).
    assert bar.maintenance_margin_usd == pytest.approx(0.02 * 1.32e7 - 55_000, rel=1e-9)
    assert found.wealth[-1] - found.opening_usd == pytest.approx(ledger["usd"].sum(), abs=0.01)
    # The same bar on closes, and one whose wick is down, hurt nobody.
    calm, checked = walked(tmp_path / "b", None, short_nova)
    assert (calm.liquidations, checked) == ([], "closes")
    assert walked(tmp_path / "c", {"nova": (101_000.0, 60_000.0)}, short_nova)[0].liquidations == []


def test_an_inverse_long_loses_coins_that_are_worth_less(tmp_path):
    """At c·e a long of x USD lost x(1/e − 1)/c coins: b coins hold it while 0.95·(bce + x(e − 1)) > MM."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    # 8 BTC of collateral: at e = 0.65 counted 0.95·(5.2·1e5) + … − 0.7m < MM; at e = 0.8 still well above.
    found, _ = walked(tmp_path / "a", {"coinbay": (100_000.0, 65_000.0)}, long_coin)
    assert [(bar.time, bar.venue) for bar in found.liquidations] == [(WHEN, "coinbay")]
    ledger = found.ledger.frame()
    coins = ledger[ledger["kind"] == "liquidation"]["amount"].sum()
    assert coins == pytest.approx(-20.0 * (1 / 0.65 - 1), rel=1e-9)  # this venue states no penalty
    assert found.closing["coinbay", "BTC"] == pytest.approx(
        8.0 + ledger[(ledger["venue"] == "coinbay")]["amount"].sum(), rel=1e-12
    )
    assert walked(tmp_path / "b", {"coinbay": (100_000.0, 80_000.0)}, long_coin)[0].liquidations == []


def test_extremes_of_some_instruments_are_told(tmp_path):
    texts = tables({}, {})
    lines = with_extremes(texts, {}).splitlines()
    prices = (
        "\n".join(line.rsplit(",", 2)[0] + ",," if "ETH/USDT:USDT" in line else line for line in lines) + "\n"
    )
    loaded = load_scenario(write_desk(tmp_path, **{**texts, "prices": prices}))
    assert Rails(Tape.of(read_tables(loaded))).checked_on == "extremes where recorded"


def test_extremes_in_the_wrong_order_are_refused(tmp_path):
    texts = tables({}, {})
    prices = with_extremes(texts, {"nova": (99_000.0, 101_000.0)})
    with pytest.raises(DataError, match="low_usd <= high_usd"):
        read(write_desk(tmp_path, **{**texts, "prices": prices}))
