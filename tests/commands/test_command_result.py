"""What a run says: result.json as documented and consistent with itself, the page, and the other commands."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from small_desk import (
    ROOT,
    SCENARIO,
    TABLES,
    Hedge,
    Outcome,
    finish,
    only_run,
    read_csv,
    spawn,
    swap,
    write_desk,
)

from allocator.orders.order_list import COLUMNS

KEYS = {
    "": "schema_version run_id scenario as_of decision_hours holding_hours status solver objective cash risk "
    "positions transfers venues limits audit",
    "solver": "name iterations fallback",
    "objective": "total_usd risk_usd funding_usd funding_uncertainty_usd trading_usd impact_usd transfer_usd "
    "collateral_usd",
    "cash": "fees_usd slippage_usd impact_usd transfers_usd funding_to_next_settlement_usd "
    "funding_over_holding_usd",
    "risk": "volatility_unhedged_usd volatility_hedged_usd hedge_effectiveness by_asset by_source",
    "positions": "venue account symbol asset previous_usd target_usd rounded_usd trade_usd target_contracts "
    "target_coins trade_contracts trade_coins funding_usd trading_usd",
    "transfers": "from to currency amount_usd cost_usd",
    "venues": "venue account equity_usd initial_margin_usd maintenance_margin_usd margin_ratio "
    "liquidation_move worst_stress worst_stress_equity_usd",
    "limits": "name kind value bound slack unit shadow_price_usd source",
    "audit": "passed max_violation_usd duality_gap_usd scale_usd rounded",
}
MODES = {
    "utility": (),
    "min_variance": ("objective.mode=min_variance", "objective.cost_budget=$1k"),
    "min_cost": ("objective.mode=min_cost", "objective.volatility_limit=$20k"),
}


@pytest.fixture(scope="module")
def daily(tmp_path_factory) -> Path:
    """The run folder of the shipped scenario, from a process of its own."""
    folder = tmp_path_factory.mktemp("daily")
    outcome = finish(spawn("allocate", ROOT / "scenarios" / "daily.yaml", "--json", cwd=folder))
    assert outcome.code == 0
    # Notices, and nothing else, go to stderr.
    assert all(line.startswith("WARNING ") for line in outcome.err.splitlines())
    run = only_run(folder / "runs")
    assert outcome.out == (run / "result.json").read_text()
    return run


def allocated(hedge: Hedge, folder: Path, *sets: str, **tables: str) -> Outcome:
    path = write_desk(folder / "desk", tables=tables)
    options = [option for value in sets for option in ("--set", value)]
    outcome = hedge("allocate", path, "--json", "--out", folder / "runs", *options)
    assert outcome.code == 0, outcome.err
    return outcome


def numbers(value: object) -> list[float]:
    if isinstance(value, dict):
        return [n for item in value.values() for n in numbers(item)]
    if isinstance(value, list):
        return [n for item in value for n in numbers(item)]
    return [value] if isinstance(value, float) else []


def test_every_documented_key_is_there(daily):
    result = json.loads((daily / "result.json").read_text())
    for part, keys in KEYS.items():
        found = result[part] if part else result
        rows = found if isinstance(found, list) else [found]
        assert rows
        for row in rows:
            assert set(keys.split()) <= row.keys(), part
    assert result["audit"]["rounded"].keys() >= {"passed", "max_violation_usd", "gap_usd"}
    assert result["risk"]["by_source"].keys() == {"asset", "basis", "quote", "idiosyncratic"}
    assert (result["schema_version"], result["status"], result["run_id"]) == (1, "optimal", daily.name)
    assert all(math.isfinite(number) for number in numbers(result))
    sources = re.compile(r"daily\.yaml:\d+|default|--set|collateral|objective\.\w+")
    assert all(sources.fullmatch(row["source"]) for row in result["limits"])


def test_tables_say_what_the_result_says(daily):
    result = json.loads((daily / "result.json").read_text())
    for name in ("positions", "transfers"):
        rows = read_csv(daily / f"{name}.csv")
        assert len(rows) == len(result[name])
        for row, said in zip(rows, result[name], strict=True):
            for key, cell in row.items():
                expected = "" if said[key] is None else said[key]
                if isinstance(expected, bool) or not isinstance(expected, int | float):
                    assert cell == str(expected).lower() or cell == expected
                else:
                    assert float(cell) == expected
    orders = read_csv(daily / "orders.csv")
    assert tuple(orders[0]) == COLUMNS
    assert len(orders) == result["orders"]
    assert {order["run_id"] for order in orders} == {daily.name}


def test_manifest_and_log(daily):
    manifest = json.loads((daily / "manifest.json").read_text())
    assert (manifest["run_id"], manifest["status"], manifest["exit_code"]) == (daily.name, "optimal", 0)
    assert set(manifest["tables"]) == set(TABLES)
    assert {"hedge-allocator", "cvxpy", "clarabel"} <= manifest["versions"].keys()
    assert manifest["solver"]["name"] == "CLARABEL"
    times = [json.loads(line)["time"] for line in (daily / "log.jsonl").read_text().splitlines()]
    assert times == sorted(times)
    assert manifest["started_at"] <= times[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("impact", ["none", "book", "square_root"])
def test_figures_agree_with_each_other(tmp_path, hedge: Hedge, mode, impact):
    outcome = allocated(
        hedge,
        tmp_path,
        *MODES[mode],
        f"objective.impact.model={impact}",
        "limits.soft={kind: gross, max: $1m, soft: 0.001%}",
    )
    result = outcome.json
    goal, cash, risk = result["objective"], result["cash"], result["risk"]
    tie = 1e-3  # weight of the minor terms
    weights = {"utility": (1.0, 1.0), "min_variance": (1.0, tie), "min_cost": (tie, 1.0)}[mode]
    other = sum(
        goal[f"{name}_usd"]
        for name in ("funding", "funding_uncertainty", "trading", "impact", "transfer", "collateral")
    )
    total = weights[0] * goal["risk_usd"] + weights[1] * other + goal["breaches_usd"]
    assert goal["total_usd"] == pytest.approx(total, abs=1e-4)
    assert goal["breaches_usd"] > 0
    rows = result["positions"]
    assert sum(row["trading_usd"] for row in rows) == pytest.approx(
        cash["fees_usd"] + cash["slippage_usd"] + cash["impact_usd"], abs=1e-4
    )
    assert sum(row["funding_usd"] for row in rows) == pytest.approx(
        cash["funding_over_holding_usd"] / 14, abs=1e-3
    )
    for row in rows:
        assert row["trade_usd"] == pytest.approx(row["rounded_usd"] - row["previous_usd"], abs=1e-5)
    squares = sum(usd**2 for usd in risk["by_source"].values())
    assert squares == pytest.approx(risk["volatility_hedged_usd"] ** 2, rel=1e-9)
    assert risk["hedge_effectiveness"] == pytest.approx(
        1 - squares / risk["volatility_unhedged_usd"] ** 2, rel=1e-6
    )
    for asset in risk["by_asset"]:
        held = sum(row["rounded_usd"] for row in rows if row["asset"] == asset["asset"])
        assert asset["positions_usd"] == pytest.approx(held, abs=1e-4)
        assert asset["net_delta_usd"] == pytest.approx(asset["exposure_usd"] + held, abs=1e-4)
    for venue in result["venues"]:
        assert venue["margin_ratio"] == pytest.approx(
            venue["maintenance_margin_usd"] / venue["equity_usd"], rel=1e-6
        )
    for limit in result["limits"]:
        assert limit["slack"] == pytest.approx(
            limit["bound"] - limit["value"], rel=1e-9, abs=1e-5 * max(1, abs(limit["bound"]))
        )
        assert limit["shadow_price_usd"] >= 0
    gross = sum(abs(row["target_usd"]) for row in rows)
    (stated,) = (limit for limit in result["limits"] if limit["name"] == "limits.gross.max")
    assert stated["value"] == pytest.approx(gross, rel=1e-9)
    assert stated["source"] == "small.yaml:32"
    audit = result["audit"]
    assert audit["passed"]
    assert audit["rounded"]["passed"]
    assert audit["duality_gap_usd"] <= 1e-6 * audit["scale_usd"] + 1e-6


def test_equity_is_collateral_gains_and_costs(tmp_path, hedge: Hedge):
    result = allocated(hedge, tmp_path).json
    (okx,) = (venue for venue in result["venues"] if venue["name"] == "okx")
    gain = -1250.5 * 0.01 * (100030.5 - 98000)
    paid = sum(row["trading_usd"] for row in result["positions"] if row["venue"] == "okx")
    assert okx["equity_usd"] == pytest.approx((900000 + gain) * 0.9998 - paid, abs=1e-3)


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("scenario", ["daily.yaml", "infeasible.yaml"])
def test_the_page_fits_its_width(daily, hedge: Hedge, monkeypatch, columns, scenario):
    monkeypatch.setenv("COLUMNS", str(columns))
    outcome = hedge("allocate", ROOT / "scenarios" / scenario, "--out", daily.parent)
    assert outcome.code == (0 if scenario == "daily.yaml" else 3), outcome.err
    assert max(map(cell_len, outcome.out.splitlines())) <= columns
    done = ("Orders", "Venues after the orders", "Audit passed", daily.name)
    for part in done if outcome.code == 0 else ("No orders were written", "daily.yaml:"):
        assert part in outcome.out


def test_a_reader_that_has_gone_is_no_error(tmp_path, daily):
    for command in (
        ["show"],
        ["allocate", "--out", daily.parent],
        ["allocate", "--json", "--out", daily.parent],
    ):
        process = spawn(*command, ROOT / "scenarios" / "daily.yaml", cwd=tmp_path)
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(60) == 0


def test_a_poor_terminal_gets_escapes(tmp_path, daily):
    env = {"PYTHONIOENCODING": "ascii", "TERM": "xterm-256color"}
    outcome = finish(
        spawn("allocate", ROOT / "scenarios" / "daily.yaml", "--out", daily.parent, cwd=tmp_path, env=env)
    )
    assert outcome.code == 0
    # Notices, and nothing else, go to stderr.
    assert all(line.startswith("WARNING ") for line in outcome.err.splitlines())
    assert "\\u2212" in outcome.out
    assert "\x1b" not in outcome.out  # no colours in a pipe


def test_verbosity(tmp_path, hedge: Hedge):
    text = swap(SCENARIO, ("[BTC/USD:BTC]", "[BTC/USD:BTC, BTC/EUR:BTC], on_missing: drop"))
    path = write_desk(tmp_path / "desk", text)
    said = {
        option: hedge(
            "allocate", path, "--out", tmp_path / f"runs{option}", *([option] if option else [])
        ).err
        for option in ("", "-v", "-q")
    }
    assert "WARNING" in said[""]
    assert "INFO" not in said[""]
    assert "INFO solved by CLARABEL" in said["-v"]
    assert said["-q"] == ""
    for option in said:  # the journal is complete at any verbosity
        journal = (only_run(tmp_path / f"runs{option}") / "log.jsonl").read_text()
        assert "solved by CLARABEL" in journal
        assert "dropped" in journal


def test_check_says_what_a_run_would_start_from(tmp_path, hedge: Hedge):
    path = write_desk(tmp_path / "desk")
    outcome = hedge("check", path, "--json")
    assert outcome.code == 0
    assert [held["name"] for held in outcome.json["holdings"]] == ["treasury", "staked", "block"]
    assert outcome.json | {"notices": [], "holdings": []} == {
        "schema_version": 1, "status": "ok", "scenario": "small", "as_of": "2026-11-20T00:00:00Z",
        "instruments": 5, "venues": 3, "assets": 2, "pockets_of_collateral": 3, "transfer_routes": 0,
        "limits": 4, "stresses": 1, "notices": [], "holdings": [],
    }  # fmt: skip
    assert "in order" in hedge("check", path).out


def test_names_that_nothing_has_are_noticed(tmp_path, hedge: Hedge):
    """A slip in an asset's name would silently limit, or stress, nothing."""
    sets = (
        "limits.nd={kind: net_delta, assets: [BCT], min: -$1, max: $1}",
        "stresses.crash.moves={ETC: -50%}",
    )
    notices = "\n".join(allocated(hedge, tmp_path, *sets).json["notices"])
    assert "limits.nd.assets: no BCT" in notices
    assert "stresses.crash.moves: no ETC" in notices


def test_show_with_origins(tmp_path, hedge: Hedge):
    path = write_desk(tmp_path / "desk")
    rows = {
        row["key"]: (row["value"], row["origin"])
        for row in hedge("show", path, "--origin", "--json", "--set", "limits.gross.max=$7m").rows
    }
    assert rows["limits.gross.max"] == ("$7000000", "--set")
    assert rows["horizons.holding"][1] == "small.yaml:3"
    assert rows["limits.hedge_side.kind"][1] == "default"


def test_schema_pages(hedge: Hedge):
    assert hedge("schema").json["$schema"].startswith("https://json-schema.org")
    assert hedge("schema", "--reference").out.startswith("# ")
    assert "## funding" in hedge("schema", "--tables").out
