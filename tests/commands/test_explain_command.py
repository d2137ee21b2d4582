"""`hedge explain` on files: sentences and data agree, lines are cited, nothing is said twice."""

from __future__ import annotations

import json

import pytest
from small_desk import SCENARIO, Hedge, only_run, swap, write_desk

TIGHT = swap(SCENARIO, ("gross, max: $9m}", "gross, max: $3m}"))
IMPOSSIBLE = swap(
    SCENARIO,
    ("gross, max: $9m}", "gross, max: $1m}\n  full: {kind: hedge_ratio, min: 99%, max: 101%}"),
)


@pytest.fixture
def impossible(tmp_path):
    return write_desk(tmp_path / "desk", IMPOSSIBLE)


def test_prices_are_told_with_lines_and_ranges(tmp_path, hedge: Hedge):
    desk = write_desk(tmp_path / "desk", TIGHT)
    outcome = hedge("explain", desk, "--json")
    assert outcome.code == 0, outcome.err
    explanation = outcome.json["explanation"]
    gross = next(row for row in explanation["prices"] if row["name"] == "limits.gross.max")
    assert gross["source"] == "small.yaml:32"
    assert gross["saves_usd"] > 0
    assert gross["range"]["tightened"]["until"] <= 3e6 <= gross["range"]["relaxed"]["until"]
    worth = [row["saves_usd"] for row in explanation["collateral"]]
    assert worth == sorted(worth, reverse=True)
    page = hedge("explain", desk).out
    assert gross["text"] in page
    assert "the price holds from" in page
    # A finished run has the same prices, found without solving; ranges are only looked for on purpose.
    assert hedge("allocate", desk, "--out", tmp_path / "runs").code == 0
    run = only_run(tmp_path / "runs")
    again = hedge("explain", run, "--json").json["explanation"]
    assert again["prices"] == [{**row, "range": None} for row in explanation["prices"]]
    result = json.loads((run / "result.json").read_text())
    row = next(row for row in result["limits"] if row["name"] == "limits.gross.max")
    assert row["shadow_price_usd"] == pytest.approx(gross["saves_usd"], rel=1e-6)


def test_trades_and_alternatives_are_told(tmp_path, hedge: Hedge):
    desk = write_desk(tmp_path / "desk", TIGHT)
    outcome = hedge("explain", desk, "--json")
    trades, page = outcome.json["trades"], hedge("explain", desk).out
    assert trades
    for row in trades:
        # Stationarity: what pushes a trade cancels at the optimum.
        total = sum(push["usd_per_usd"] for push in row["pushes"])
        largest = max(abs(push["usd_per_usd"]) for push in row["pushes"])
        assert abs(total) <= 1e-5 * largest
        assert f"${abs(row['trade_usd']):,.0f} {row['venue']} {row['symbol']}" in page
    off = {row["venue"]: row for row in outcome.json["alternatives"]["venues_off"]}
    assert set(off) >= {row["venue"] for row in trades}
    for row in off.values():
        assert row["costs_usd_per_day"] is None or row["costs_usd_per_day"] >= -1e-6
        assert f"Without {row['venue']}" in page
    assert "What else could be done" in page
    assert hedge("allocate", desk, "--no-report", "--out", tmp_path / "runs").code == 0
    told = hedge("explain", only_run(tmp_path / "runs")).out
    assert "Nothing: the rebalance" in told


def test_an_infeasible_scenario_is_told_once_with_ways_out(tmp_path, impossible, hedge: Hedge):
    outcome = hedge("allocate", impossible, "--out", tmp_path / "runs")
    assert outcome.code == 3
    assert "no positions satisfy" not in outcome.err
    assert "".join(outcome.out.split()).count("nopositionssatisfy") == 1
    run = only_run(tmp_path / "runs")
    result = json.loads((run / "result.json").read_text())
    assert {m["name"] for m in result["conflict"]} >= {"limits.gross.max", "limits.full.min"}
    assert all(m["shortfall_usd"] > 0 for m in result["conflict"])
    # The journal has it, as an error.
    assert '"level": "error", "message": "no positions satisfy' in (run / "log.jsonl").read_text()
    page = hedge("explain", run)
    assert page.code == 3
    for way in result["ways_out"]:
        assert way["text"] in page.out
    # Each way, written into the scenario, works.
    assert result["ways_out"]
    for way in result["ways_out"]:
        sets = [o for c in way["changes"] for o in ("--set", f"{c['name']}={written(c)}")]
        assert hedge("allocate", impossible, "--out", tmp_path / "better", "--json", *sets).code == 0, way


def written(change):
    """A change as `--set` takes it."""
    return f"${change['to']:f}" if change["unit"] == "USD" else f"{100 * change['to']:f}%"


def test_hard_limits_and_weights_come_from_the_scenario(tmp_path, hedge: Hedge):
    text = IMPOSSIBLE + "explain: {hard: [limits.full], weights: {limits.gross: 2}}\n"
    desk = write_desk(tmp_path / "desk", text)
    ways = hedge("explain", desk, "--json").json["ways_out"]
    assert {c["name"] for way in ways for c in way["changes"]} == {"limits.gross.max"}
    (change,) = ways[0]["changes"]
    assert ways[0]["cost_usd"] == pytest.approx(2 * (change["to"] - change["value"]), rel=1e-9)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("explain: {hard: [limits.gros]}", "`gros` is not among `limits`; did you mean `gross`?"),
        ("explain: {weights: {gross: 2}}", "begin with `limits`"),
        ("explain: {weights: {limits.gross: 0}}", "more than 0"),
        ("explain: {hard: [collateral.ftx]}", "`ftx` is not among `venues`"),
    ],
)
def test_a_slip_in_what_is_hard_is_an_error(tmp_path, hedge: Hedge, line, said):
    desk = write_desk(tmp_path / "desk", SCENARIO + line + "\n")
    outcome = hedge("explain", desk)
    assert outcome.code == 2
    assert said in outcome.err
    assert "small.yaml:" in outcome.err


def test_a_stress_is_cited_beside_its_limit(tmp_path, hedge: Hedge):
    text = swap(
        SCENARIO,
        ("gross, max: $9m}", "gross, max: $9m}\n  full: {kind: hedge_ratio, min: 99%, max: 101%}"),
        ("crash: {move: -30%}", "rally: {move: 90%}"),
    )
    desk = write_desk(tmp_path / "desk", text)
    outcome = hedge("explain", desk, "--json")
    assert outcome.code == 3
    stressed = [m for m in outcome.json["conflict"] if m["subject"].endswith(" rally")]
    assert stressed
    assert {m["stress_source"] for m in stressed} == {"small.yaml:35"}
    assert {m["source"] for m in stressed} == {"default"}


def test_what_is_no_run_is_said(tmp_path, hedge: Hedge):
    outcome = hedge("explain", tmp_path)
    assert outcome.code in (2, 4)
    assert str(tmp_path) in outcome.err


def test_a_frontier_is_no_allocation_to_explain(tmp_path, hedge: Hedge):
    desk, out = write_desk(tmp_path / "desk"), tmp_path / "runs"
    assert hedge("frontier", desk, "--points", "2", "--out", out).code == 0
    assert hedge("allocate", desk, "--out", tmp_path / "own").code == 0
    frontier, run = only_run(out), only_run(tmp_path / "own")
    for subjects in ([frontier], [run, frontier], [frontier, run]):
        outcome = hedge("explain", *subjects)
        assert outcome.code == 4
        assert str(frontier) in outcome.err
        assert "hedge report" in outcome.err


def test_withheld_orders_are_explained_like_any(tmp_path, hedge: Hedge):
    desk, out = write_desk(tmp_path / "desk", TIGHT), tmp_path / "runs"
    out.mkdir()
    (out / "KILL").touch()
    assert hedge("allocate", desk, "--out", out).code == 6
    (withheld,) = out.glob("*.withheld")
    (out / "KILL").unlink()
    assert hedge("allocate", desk, "--out", out).code == 0
    run = withheld.with_suffix("")
    told = [hedge("explain", folder, "--json") for folder in (withheld, run)]
    assert [outcome.code for outcome in told] == [6, 0]
    assert told[0].json["explanation"] == told[1].json["explanation"]
    assert hedge("explain", withheld, run).code == 0


def test_what_would_change_a_finished_run_is_refused(tmp_path, hedge: Hedge):
    desk, out = write_desk(tmp_path / "desk"), tmp_path / "runs"
    assert hedge("allocate", desk, "--out", out).code == 0
    run = only_run(out)
    for option in (("--set", "limits.gross.max=$3m"), ("--overlay", "any"), ("--snapshot", desk.parent)):
        outcome = hedge("explain", run, *option)
        assert outcome.code == 2
        assert outcome.err.startswith(f"{option[0]}: a finished run")
    # Tables of two runs may be named: they are only looked for there.
    assert hedge("explain", run, run, "--snapshot", desk.parent / "tables").code == 0
    assert hedge("explain", run, run, "--set", "limits.gross.max=$3m").code == 2
