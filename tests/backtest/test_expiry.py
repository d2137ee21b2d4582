"""Dated futures in a walk: closed by the last decision before their expiry, settled where none comes."""

from __future__ import annotations

import nova_desk
import numpy as np
import pandas as pd
import pytest
from hand_made import HOURS, START, tables
from nova_desk import SCENARIO, write_desk

from allocator.allocation import read_tables
from allocator.backtests.decide import allocator, only
from allocator.backtests.engine import Span, walk
from allocator.backtests.tape import Tape
from allocator.scenario.load import load_scenario

FUTURE, AT = "BTC/USDT:USDT-261119", 32
NOVA = nova_desk.NOVA.replace(
    "  ETH/USDT:USDT:\n    {venue_symbol: ETHUSDT",
    f"  {FUTURE}:\n    {{venue_symbol: BTCUSDT_261119, contract_size: 0.01, lot_contracts: 1, tick: 0.5,\n"
    "     min_contracts: 1, min_notional_usd: 10, source: page}\n"
    "  ETH/USDT:USDT:\n    {venue_symbol: ETHUSDT",
).replace("[BTC/USDT:USDT, ETH/USDT:USDT]", f"[BTC/USDT:USDT, ETH/USDT:USDT, {FUTURE}]")


def hour(h: float) -> pd.Timestamp:
    return START + pd.Timedelta(hours=h)


def desk(folder, *sets):
    """The desk with a future 1 % above its coin that expires at 32 h."""
    texts, expiry = tables({}, {}), hour(AT).strftime("%Y-%m-%dT%H:%MZ")
    prices = []
    for line in texts["prices"].splitlines():
        prices.append(line)
        if "nova,BTC/USDT:USDT," in line and pd.Timestamp(line.split(",")[0]) <= hour(AT):
            prices.append(f"{line.split(',')[0]},nova,{FUTURE},101000")
    head, *rows = texts["instruments"].splitlines()
    terms = f"{rows[0].split(',')[0]},nova,{FUTURE},0.00001,1e9,{expiry}"
    texts |= {
        "prices": "\n".join(prices) + "\n",
        "instruments": "\n".join([f"{head},expiry", *(f"{row}," for row in rows), terms]) + "\n",
    }
    loaded = load_scenario(write_desk(folder, scenario=SCENARIO, nova=NOVA, **texts), sets=list(sets))
    return loaded, Tape.of(read_tables(loaded))


def walked(folder, strategy, every, *sets):
    loaded, tape = desk(folder, *sets)
    return walk(loaded, tape, Span(START, hour(HOURS), pd.Timedelta(every)), "w", strategy)


def short_future(moment):
    """$1m short of the future wherever it takes part and may be held."""
    market = moment.market
    return only(market, np.where(market.dated & (market.lower < 0), -1e6, 0.0))


def held(found):
    mine = found.positions.query(f"symbol == '{FUTURE}'")
    return [int((time - START) / pd.Timedelta("1h")) for time in mine["time"]]


@pytest.mark.parametrize("missing", ["error", "drop"])
def test_the_last_decision_before_expiry_closes_it_and_the_walk_goes_on(tmp_path, missing):
    """Decisions every 12 h: at 12 h the future, 20 h from expiry, has to go, and fills at 13 h."""
    found = walked(tmp_path, short_future, "12h", f"instruments.nova_perps.on_missing={missing}")
    assert [c.status for c in found.choices] == ["optimal"] * 5
    assert held(found) == list(range(1, 13))
    ledger = found.ledger.frame()
    fees = ledger.query(f"subject == '{FUTURE}' and kind == 'fee'")
    assert [int((t - START) / pd.Timedelta("1h")) for t in fees["time"]] == [1, 13]


def test_the_allocator_closes_it_and_hedges_with_perps(tmp_path):
    found = walked(tmp_path, allocator, "12h")
    assert [(c.status, c.message) for c in found.choices] == [("optimal", "")] * 5
    assert held(found)
    assert max(held(found)) == 12
    delta = found.delta.loc[hour(14) :]
    assert (delta.abs().sum(axis=1) < 0.02 * 4.6e6).all()


def test_where_no_decision_comes_it_settles_at_the_index(tmp_path):
    """990 contracts of 0.01 BTC from 101,000 to 100,000: $9,900 for a short, and no fee."""
    found = walked(tmp_path, short_future, "1000h")
    assert held(found) == list(range(1, AT))
    ledger = found.ledger.frame().query(f"subject == '{FUTURE}'")
    assert ledger.query("kind == 'price'")["usd"].sum() == pytest.approx(9_900.0)
    assert len(ledger.query("kind == 'fee'")) == 1


def test_an_order_that_comes_after_its_expiry_is_refused(tmp_path):
    """Decided at 0 h, due at 34 h, two hours late: no position is left that nobody could ever close."""
    found = walked(tmp_path, short_future, "1000h", "horizons.execution=34h")
    assert held(found) == []
    assert [(r.symbol, int((r.time - START) / pd.Timedelta("1h"))) for r in found.rejected] == [(FUTURE, 34)]


def test_one_that_may_not_be_traded_stays_until_it_settles(tmp_path):
    """`no_trade` from the second decision on is a scenario of its own: here, of the whole selection."""
    loaded, tape = desk(tmp_path)
    seen = {}

    def watch(moment):
        market = moment.market
        k = [i.symbol for i in market.instruments].index(FUTURE) if market.dated.any() else None
        if k is not None:
            seen[moment.row] = [(box.kind, box.upper[k]) for box in market.boxes if np.isfinite(box.upper[k])]
        return short_future(moment)

    walk(loaded, tape, Span(START, hour(20), pd.Timedelta("12h")), "w", watch)
    first, second = seen.values()
    assert "expiry" not in dict(first)
    assert dict(second)["expiry"] == 0.0
