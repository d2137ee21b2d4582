"""Every kind of bad input: its exit code, where and what, as JSON too, and nothing left behind."""

from __future__ import annotations

import pytest
from bad_inputs import AT, BAD, OKX_BTC, OLD
from small_desk import AS_OF, SCENARIO, TABLES, Hedge, swap, write_desk


@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_bad_input(bad, tmp_path, hedge: Hedge, monkeypatch):
    desk = tmp_path / "desk"
    tables = (
        {bad.table: None if bad.rows is None else swap(TABLES[bad.table], *bad.rows)} if bad.table else {}
    )
    path = write_desk(desk, swap(SCENARIO, *bad.scenario), tables)
    if bad.disturb is not None:
        bad.disturb(desk)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    options = [option.format(folder=desk) if "folder" in option else option for option in bad.options]
    out = [] if "--out" in options else ["--out", str(tmp_path / "out" / "runs")]
    outcome = hedge("allocate", path, "--json", *out, *options)
    assert outcome.code == bad.code, outcome.err
    assert outcome.json == {
        "schema_version": 1,
        "status": "invalid" if bad.code == 2 else "bad_data",
        "errors": outcome.json["errors"],
    }
    for error in outcome.json["errors"]:
        assert error.keys() == {"source", "message"}
        assert error["message"]
        assert f"{error['source']}: {error['message']}" in outcome.err
    for part in bad.said:
        assert part in outcome.err
    assert "Traceback" not in outcome.err
    assert sorted(tmp_path.rglob("*")) == before
    # Without --json nothing is said on stdout.
    assert hedge("allocate", path, *out, *options).out == ""


def test_a_missing_scenario_is_named(tmp_path, hedge: Hedge):
    outcome = hedge("allocate", tmp_path / "none.yaml", "--json")
    assert (outcome.code, outcome.json["status"]) == (2, "invalid")
    assert "none.yaml" in outcome.err


@pytest.mark.parametrize(
    "arguments", [[], ["alocate", "x.yaml"], ["allocate"], ["check"], ["schema", "--tables", "--reference"]]
)
def test_bad_usage_is_an_error_like_any_other(arguments, hedge: Hedge):
    outcome = hedge(*arguments)
    assert outcome.code == 2
    assert "see `hedge" in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize("command", ["check", "show"])
def test_all_problems_at_once(command, tmp_path, hedge: Hedge):
    text = swap(SCENARIO, ("holding: 14d", "holding: 14"), ("gross, max:", "gross, maxx:"))
    outcome = hedge(command, write_desk(tmp_path / "desk", text), "--json", "--set", "orders.collar=1")
    assert outcome.code == 2
    sources = [error["source"] for error in outcome.json["errors"]]
    assert {AT["holding:"], AT["gross:"], "--set"} <= set(sources)


def test_a_dropped_instrument_is_a_notice(tmp_path, hedge: Hedge):
    text = swap(SCENARIO, ("[BTC/USD:BTC]", "[BTC/USD:BTC, BTC/EUR:BTC], on_missing: drop"))
    prices = swap(
        TABLES["prices"], (f"{AS_OF},binance,BTC/USD:BTC,99990.0\n", f"{OLD},binance,BTC/USD:BTC,99990.0\n")
    )
    path = write_desk(tmp_path / "desk", text, {"prices": prices})
    outcome = hedge("allocate", path, "--json", "--out", tmp_path / "runs")
    assert outcome.code == 0
    dropped = [notice for notice in outcome.json["notices"] if "dropped" in notice]
    assert ["BTC/EUR:BTC" in dropped[0], "240.0 h old" in dropped[1], len(dropped)] == [True, True, 2]
    assert all(notice in outcome.err for notice in dropped)
    assert {row["venue"] for row in outcome.json["positions"]} == {"okx", "hyperliquid"}


def test_a_dropped_instrument_that_is_held_is_an_error(tmp_path, hedge: Hedge):
    text = swap(SCENARIO, ("okx, symbols: all,", "okx, symbols: all, on_missing: drop,"))
    prices = swap(TABLES["prices"], (f"{OKX_BTC},100030.5\n", ""))
    outcome = hedge("check", write_desk(tmp_path / "desk", text, {"prices": prices}), "--json")
    assert outcome.code == 4
    assert "okx main BTC/USDT:USDT is held but does not take part" in outcome.err


def test_the_newest_indication_counts(tmp_path, hedge: Hedge):
    """Of two indications of one settlement the later known is next; one that has passed was not paid."""

    def next_cost(name: str, *rows: str) -> float:
        funding = TABLES["funding"] + "".join(f"{row},8\n" for row in rows)
        path = write_desk(tmp_path / name, tables={"funding": funding})
        outcome = hedge(
            "allocate", path, "--json", "--out", tmp_path / "runs", "--set", "as_of=2026-11-20T02:00:00Z"
        )
        assert outcome.code == 0, outcome.err
        return float(outcome.json["cash"]["funding_to_next_settlement_usd"])

    perp = "okx,BTC/USDT:USDT"
    early = f"2026-11-20T00:30Z,{perp},2026-11-20T08:00Z,0.003"
    late = f"2026-11-20T01:30Z,{perp},2026-11-20T08:00Z,0.0002"
    passed = f"2026-11-19T20:00Z,{perp},{AS_OF},0.0037"
    expected = next_cost("late", late)
    assert next_cost("early", early) < expected - 100  # shorts of $1.2m are paid 30 bp, not 2
    assert next_cost("both", early, late) == pytest.approx(expected, abs=0.01)
    assert next_cost("passed", passed, late) == pytest.approx(expected, abs=0.01)
