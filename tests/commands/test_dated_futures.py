"""`hedge allocate` on a desk with a perp and a dated future per coin: carry, expiry, and what is refused."""

# One bad table per line reads best:
# ruff: noqa: E501

from __future__ import annotations

import numpy as np
import pytest
from dated_desk import BTC, DATED_SCENARIO, ETH, EXPIRY, HOURS, INVERSE, MARKS, dated_tables
from small_desk import AS_OF, TABLES, Hedge, only_run, read_csv, swap, write_desk

from allocator.allocation import read_tables
from allocator.market.build import build_market
from allocator.market.types import Market
from allocator.scenario.load import load_scenario

HOLDING, DECISION = 14 * 24.0, 24.0
INDEX = {BTC: 100000 / 0.9998, ETH: 4000 / 0.9998, INVERSE: 100000.0}


def carry(symbol, hours, marks=MARKS):
    """USD that a dollar at mark loses within `hours`, by the definition: (mark − index)/mark, evenly."""
    return (marks[symbol] - INDEX[symbol]) / marks[symbol] * min(hours, HOURS) / HOURS


def market_of(path, *sets: str) -> Market:
    loaded = load_scenario(path, sets=sets)
    return build_market(loaded, read_tables(loaded))


def refused(tmp_path, hedge: Hedge, tables, *options: str, scenario: str = DATED_SCENARIO) -> str:
    outcome = hedge("check", write_desk(tmp_path / "desk", scenario, tables), *options)
    assert outcome.code in (2, 4), outcome.out
    return outcome.err


@pytest.fixture
def desk(tmp_path):
    return write_desk(tmp_path / "desk", DATED_SCENARIO, dated_tables())


def test_allocate_states_carry_apart_from_funding(tmp_path, desk, hedge: Hedge):
    outcome = hedge("allocate", desk, "--json", "--out", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    result = outcome.json
    rows = {row["symbol"]: row for row in result["positions"]}
    dated = {symbol: rows[symbol] for symbol in MARKS}
    # All dated futures are above their index: selling them earns, so they are used, and no perp is dated.
    assert dated[BTC]["rounded_usd"] < -1e5
    assert dated[ETH]["rounded_usd"] < -1e4
    assert {row["expiry"] for row in dated.values()} == {"2026-12-25T08:00:00Z"}
    assert {row["expiry"] for symbol, row in rows.items() if symbol not in MARKS} == {None}
    for symbol, row in dated.items():
        expected = DECISION / HOLDING * carry(symbol, HOLDING) * row["rounded_usd"]
        assert row["carry_usd"] == pytest.approx(expected, rel=1e-9)
        assert row["funding_usd"] == 0.0
    assert all(row["carry_usd"] == 0.0 for symbol, row in rows.items() if symbol not in MARKS)
    cash, goal = result["cash"], result["objective"]
    held = sum(carry(symbol, HOLDING) * row["rounded_usd"] for symbol, row in dated.items())
    assert cash["carry_over_holding_usd"] == pytest.approx(held, rel=1e-9)
    target = sum(
        DECISION / HOLDING * carry(symbol, HOLDING) * row["target_usd"] for symbol, row in dated.items()
    )
    assert goal["carry_usd"] == pytest.approx(target, rel=1e-7)
    perps = sum(row["funding_usd"] for row in rows.values())
    assert goal["funding_usd"] == pytest.approx(perps, rel=1e-2)
    terms = [v for k, v in goal.items() if k.endswith("_usd") and k != "total_usd"]
    assert goal["total_usd"] == pytest.approx(sum(terms), abs=1e-4)
    run = only_run(tmp_path / "runs")
    stated = {row["symbol"]: row for row in read_csv(run / "positions.csv")}
    assert stated[BTC]["expiry"] == "2026-12-25T08:00:00Z"
    assert float(stated[BTC]["carry_usd"]) == pytest.approx(dated[BTC]["carry_usd"])
    orders = [order for order in read_csv(run / "orders.csv") if order["symbol"] in MARKS]
    assert orders
    assert {order["funding_to_next_settlement_usd"] for order in orders} == {"0.00"}
    page = hedge("allocate", desk, "--out", tmp_path / "runs").out
    assert "Carry of dated futures earns" in page
    assert "carry of dated futures" in page


def test_the_market_counts_a_dated_future_as_one(desk):
    market = market_of(desk)
    dated = market.dated
    assert [i.symbol for i, on in zip(market.instruments, dated, strict=True) if on] == [BTC, ETH, INVERSE]
    funding, symbols = market.funding, [i.symbol for i in market.instruments]
    for symbol in MARKS:
        i = symbols.index(symbol)
        assert funding.total[i] == pytest.approx(carry(symbol, HOLDING), rel=1e-12)
        assert funding.cost[i] == pytest.approx(DECISION / HOLDING * carry(symbol, HOLDING), rel=1e-12)
        assert funding.next_times[i] is None
    assert not funding.uncertainty[dated].any()
    assert not funding.next_rate[dated].any()
    assert (funding.uncertainty[~dated] >= 0).all()
    assert all(time is not None for time, on in zip(funding.next_times, dated, strict=True) if not on)
    # Every contract has a basis of its own.
    assert len(set(market.risk.basis_group)) == len(symbols)


def test_stresses_move_the_basis_of_dated_futures_but_not_their_funding(desk):
    sets = ("stresses.gap={basis: {okx: 2%}}", "stresses.capped={funding_at_cap: 72h}")
    market = market_of(desk, *sets)
    names, dated = market.stresses.names, market.dated
    okx = np.array([i.venue == "okx" for i in market.instruments])
    gap, capped = names.index("gap"), names.index("capped")
    assert market.stresses.pnl[gap][okx] == pytest.approx(0.02 * np.ones(okx.sum()), rel=1e-9)
    assert not market.stresses.size_loss[capped][dated].any()
    assert (market.stresses.size_loss[capped][~dated] > 0.01).all()


def test_beyond_expiry_the_whole_premium_counts_once_and_is_told(desk):
    market = market_of(desk, "horizons.holding=60d")
    i = [i.symbol for i in market.instruments].index(BTC)
    assert market.funding.total[i] == pytest.approx(1 - INDEX[BTC] / MARKS[BTC], rel=1e-12)
    told = [notice for notice in market.notices if "roll" in notice]
    assert len(told) == 1
    assert f"okx {BTC}, okx {ETH}, binance {INVERSE}: expires within the holding horizon of 1440 h" in told[0]
    assert not any("roll" in notice for notice in market_of(desk).notices)


@pytest.mark.parametrize("as_of_hours", [25.0, 30.0, 48.0, 200.0])
def test_the_given_basis_and_its_floor_shrink_towards_expiry(tmp_path, as_of_hours):
    """h = 24 h, half-life 12 h: sd = max(level·√2(1−2^−2), floor)·√((1−4^−((T−h)/12))/(1−4^−(T/12)))."""
    expiry = np.datetime64("2026-11-20T00:00") + np.timedelta64(int(as_of_hours * 60), "m")
    symbol = f"BTC/USDT:USDT-{str(expiry)[2:10].replace('-', '')}"
    tables = {
        name: text.replace(EXPIRY, f"{expiry}Z") if name == "instruments" else text
        for name, text in dated_tables().items()
    }
    day = symbol[-6:]
    tables = {name: text.replace("-261225", f"-{day}") for name, text in tables.items()}
    path = write_desk(tmp_path / "desk", DATED_SCENARIO.replace("-261225", f"-{day}"), tables)
    left = as_of_hours
    shrunk = np.sqrt((1 - 4 ** (-(left - 24) / 12)) / (1 - 4 ** (-left / 12)))
    for floor, free in (("1bp", 6e-4 * np.sqrt(2 * (1 - 2.0**-2))), ("20bp", 20e-4)):
        market = market_of(path, "forecasts.basis.half_life=12h", f"forecasts.basis.floor={floor}")
        risk = market.risk
        sd = np.hypot(risk.basis_sd, np.linalg.norm(risk.basis_loadings, axis=0))[risk.basis_group]
        assert sd[~market.dated] == pytest.approx(free)
        assert sd[market.dated] == pytest.approx(free * shrunk, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_without_premium_it_is_a_perp_without_funding(tmp_path, hedge: Hedge, seed):
    """The same desk twice: with a perp that pays no funding, at its index, and with a dated future instead."""
    rng = np.random.default_rng(seed)
    sets = [
        f"objective.risk_aversion_per_usd={10 ** rng.uniform(-6, -4):.3g}",
        f"limits.gross.max=${rng.uniform(2, 9):.3f}m",
        f"forecasts.basis.level={rng.uniform(2, 15):.3f}bp",
        "forecasts.funding.long_run=0bp/8h",
    ]
    options = [word for one in sets for word in ("--set", one)]
    # All other perps cost their shorts: this one is used.
    dear = TABLES["funding"].replace("Z,0.00", "Z,-0.00")
    perp, rows = "BTC/USDT:USDT", dear.splitlines(True)
    calm = [row.replace(",-0.0001,", ",0,") if f",okx,{perp}," in row else row for row in rows]
    one = {
        **TABLES,
        "prices": swap(TABLES["prices"], ("100030.5", repr(INDEX[BTC]))),
        "funding": "".join(calm),
    }
    other = {name: text.replace(perp, BTC) for name, text in one.items()}
    other["funding"] = "".join(row for row in rows if f",okx,{perp}," not in row)
    other["instruments"] = dated_tables()["instruments"]
    unwanted = (f",{perp},", f",{ETH},", f",{INVERSE},")
    kept = [row for row in other["instruments"].splitlines(True) if not any(u in row for u in unwanted)]
    other["instruments"] = "".join(kept)
    answers = []
    for name, tables in (("perp", one), ("dated", other)):
        path = write_desk(tmp_path / name, tables=tables)
        outcome = hedge("allocate", path, "--json", "--out", tmp_path / "runs", *options)
        assert outcome.code == 0, outcome.err
        answers.append(outcome.json)
    totals = [answer["objective"]["total_usd"] for answer in answers]
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)
    targets = [
        {f"{row['venue']} {row['symbol'][:13]}": row["target_usd"] for row in answer["positions"]}
        for answer in answers
    ]
    assert abs(targets[0]["okx BTC/USDT:USDT"]) > 1e5
    assert targets[0] == pytest.approx(targets[1], abs=1e-5 * 5e6)


def test_netting_margins_the_larger_of_perp_and_dated(tmp_path):
    scenario = swap(
        DATED_SCENARIO, ("haircuts: {USDT: 0}", "haircuts: {USDT: 0}\n    margin: {netting: long_short}")
    )
    market = market_of(write_desk(tmp_path / "desk", scenario, dated_tables()))
    groups = [[market.instruments[i].symbol for i in group.members] for group in market.scheme.netting]
    assert sorted(groups) == [["BTC/USDT:USDT", BTC], ["ETH/USDT:USDT", ETH]]


BAD = [
    ("no expiry", "instruments", f",9e9,{EXPIRY}", ",9e9,", "is a dated future without `expiry`"),
    ("perp with expiry", "instruments", "0.00375,0.000002,9e9,\n", f"0.00375,0.000002,9e9,{EXPIRY}\n", "is a perpetual with an `expiry`"),
    ("two days", "instruments", f",9e9,{EXPIRY}", ",9e9,2026-12-26T08:00Z", "says 2026-12-25, but its `expiry` is 2026-12-26T08:00Z"),
    ("no day", "instruments", BTC, "BTC/USDT:USDT-261325", "ends in no date: write the day of expiry as YYMMDD"),
    ("half a date", "instruments", BTC, "BTC/USDT:USDT-2612", "is not a ccxt contract"),
    ("naive expiry", "instruments", EXPIRY, "2026-12-25T08:00", "no time zone"),
    ("with an interval", "instruments", "0,0,0.000002,9e9", "8,0.00375,0.000002,9e9", "is a dated future, without funding, but funding_interval_hours is 8"),
    ("perp without interval", "instruments", "8,0.00375,0.000002", "0,0.00375,0.000002", "`funding_interval_hours` is 0: write 1, 2, 4 or 8"),
    ("pays funding", "funding", f"{AS_OF},okx,BTC/USDT:USDT,", f"{AS_OF},okx,{BTC},", "is a dated future and pays no funding: leave its rows out"),
    ("far from index", "prices", "102020.5", "118500", "times its index price"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "old", "new", "said"), [row[1:] for row in BAD], ids=[b[0] for b in BAD])
def test_bad_tables_of_dated_futures(tmp_path, hedge: Hedge, table, old, new, said):
    tables = dated_tables()
    assert old in tables[table]
    tables[table] = tables[table].replace(old, new, 1)
    assert said in refused(tmp_path, hedge, tables)


def test_a_carry_that_has_been_seen_is_no_fault(tmp_path, hedge: Hedge):
    """60 % a year for 35 days is 5.8 %: 15 % over the index is allowed there, not on a perp."""
    tables = dated_tables({**MARKS, BTC: 115000.0})
    assert hedge("check", write_desk(tmp_path / "one", DATED_SCENARIO, tables)).code == 0
    tables["prices"] = swap(tables["prices"], ("100030.5", "115000"))
    assert "times its index price" in refused(tmp_path, hedge, tables)


def _at(as_of: str) -> dict[str, str]:
    """The tables as of another hour."""
    old = AS_OF.removesuffix(":00Z")
    moved = {
        name: text.replace(old, as_of[:13]).replace("2026-11-21", "2026-12-27")
        for name, text in dated_tables().items()
    }
    head, *rows = moved["funding"].splitlines()
    moved["funding"] = "\n".join([head, *(row for row in rows if row.startswith(as_of[:13])), ""])
    moved["funding"] = moved["funding"].replace("T09:00Z", "T08:00Z")
    return moved


def test_an_expiry_before_the_next_rebalance_takes_no_part(tmp_path, hedge: Hedge):
    outcome = hedge(
        "check", write_desk(tmp_path / "desk", DATED_SCENARIO, _at("2026-12-24T08:00:00Z")), "--json"
    )
    assert outcome.code == 0, outcome.err
    said = "takes no part: it expires at 2026-12-25T08:00Z, within the decision horizon of 24 h"
    assert len([notice for notice in outcome.json["notices"] if said in notice]) == 3
    assert outcome.json["instruments"] == 5


def test_one_that_expired_is_refused_where_it_is_named(tmp_path, hedge: Hedge):
    """And no news where all that is listed is chosen."""
    moved, said = _at("2026-12-25T09:00:00Z"), "it expired at 2026-12-25T08:00Z"
    assert f"{INVERSE}: {said}" in refused(tmp_path, hedge, moved)
    text = DATED_SCENARIO.replace("leverage: 5x}", "leverage: 5x, on_missing: drop}")
    outcome = hedge("check", write_desk(tmp_path / "drop", text, moved), "--json")
    assert outcome.code == 0, outcome.err
    told = [notice for notice in outcome.json["notices"] if said in notice]
    assert told == [f"binance {INVERSE} dropped: {said}"]
    assert outcome.json["instruments"] == 5


def test_a_dated_future_needs_no_funding_rows_but_a_perp_does(tmp_path, hedge: Hedge, desk):
    assert all(symbol not in dated_tables()["funding"] for symbol in MARKS)
    assert hedge("check", desk).code == 0
    funding = "".join(row for row in TABLES["funding"].splitlines(True) if ",ETH/USDT:USDT," not in row)
    assert "okx ETH/USDT:USDT: no row in funding" in refused(
        tmp_path / "other", hedge, {**dated_tables(), "funding": funding}
    )


def test_a_held_future_is_closed_before_it_expires_and_others_take_no_part(tmp_path, hedge: Hedge):
    """With a decision horizon beyond its expiry a future cannot hedge: what is held of it goes."""
    tables = dated_tables()
    tables["positions"] += f"{AS_OF},okx,main,{BTC},-20,102000,0,0\n"
    desk = write_desk(tmp_path / "desk", DATED_SCENARIO, tables)
    sets = ("--set", f"horizons.decision={HOURS + 1}h", "--set", "horizons.holding=1500h")
    outcome = hedge("allocate", desk, "--json", "--out", tmp_path / "runs", *sets)
    assert outcome.code == 0, outcome.err
    rows = {row["symbol"]: row for row in outcome.json["positions"]}
    assert set(rows) & set(MARKS) == {BTC}
    assert rows[BTC]["rounded_usd"] == 0.0
    assert rows[BTC]["trade_contracts"] == 20.0
    notices = " ".join(outcome.json["notices"])
    assert f"okx {BTC} is to be closed: it expires at {EXPIRY}" in notices
    assert f"okx {ETH} takes no part: it expires at {EXPIRY}" in notices
    run = only_run(tmp_path / "runs")
    explained = hedge("explain", run)
    assert explained.code == 0, explained.err
