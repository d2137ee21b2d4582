"""Two runs compared: every change is named, and the effects add up to the change of the objective."""

import json
import shutil

import pytest
from small_desk import SCENARIO, TABLES, only_run, swap, write_desk

from allocator.errors import DataError
from allocator.explanations.attribution import TERMS
from allocator.explanations.changes import compare

LATER = {
    "funding": swap(TABLES["funding"], ("0.0000125", "0.00004")),
    "holdings": swap(TABLES["holdings"], ("treasury,spot,BTC,30", "treasury,spot,BTC,33")),
    "collateral": swap(TABLES["collateral"], ("USDT,900000", "USDT,800000")),
}


def run_of(hedge, folder, scenario=SCENARIO, tables=None, code=0):
    path = write_desk(folder, scenario, tables)
    assert hedge("allocate", path, "--out", folder / "runs").code == code
    return only_run(folder / "runs")


def total(run):
    return json.loads((run / "result.json").read_text())["objective"]["total_usd"]


def check_sums(found, one, two):
    """Effects add up in each term and in total, to the cent and better."""
    attribution = found.objective
    for term in TERMS:
        effects = sum(step.effects[term] for step in attribution.steps)
        assert effects == pytest.approx(attribution.after[term] - attribution.before[term], abs=1e-5)
    assert sum(step.total for step in attribution.steps) == pytest.approx(attribution.change, abs=1e-4)
    assert attribution.change == pytest.approx(total(two) - total(one), abs=1e-4)


def effects_of(found):
    return {step.name: dict(step.effects) for step in found.objective.steps}


def test_changes_of_data_and_scenario_are_named_and_add_up(hedge, tmp_path):
    one = run_of(hedge, tmp_path / "a")
    two = run_of(hedge, tmp_path / "b", swap(SCENARIO, ("max: $9m", "max: $3m")), LATER)
    found = compare(one, two)
    check_sums(found, one, two)
    (key,) = found.scenario
    assert (key.key, key.before, key.after) == ("limits.gross.max", "$9000000", "$3000000")
    assert found.tables == ("collateral", "funding", "holdings")
    kinds = {(c.kind, c.subject) for c in found.inputs}
    assert ("exposure", "BTC") in kinds
    assert ("collateral", "okx USDT") in kinds
    assert ("funding", "hyperliquid BTC/USDC:USDC") in kinds
    assert not [c for c in found.inputs if c.kind == "price"]
    assert found.notes == ()
    effects = effects_of(found)
    assert list(effects)[-1] == "decision"
    # Only what changed has an effect, on the terms it enters.
    assert effects["risk model"] == pytest.approx(dict.fromkeys(TERMS, 0.0), abs=0.01)
    assert effects["exposure"]["risk"] > 100
    assert effects["exposure"]["funding"] == 0.0
    assert abs(effects["funding"]["funding"]) > 1
    assert effects["funding"]["risk"] == 0.0
    assert "Objective" in "\n".join(found.lines())
    json.dumps(found.to_json(), allow_nan=False)


def test_a_change_of_funding_alone_by_hand(hedge, tmp_path):
    """Its effect is Σ Δφ·x of the first run's positions; the new decision cannot make it dearer."""
    one = run_of(hedge, tmp_path / "a")
    two = run_of(hedge, tmp_path / "b", tables={"funding": LATER["funding"]})
    found = compare(one, two)
    check_sums(found, one, two)
    held = {
        (r["venue"], r["symbol"]): r["target_usd"]
        for r in json.loads((one / "result.json").read_text())["positions"]
    }
    by_hand = sum(
        (c.after - c.before) * 1e-4 * x
        for c in found.inputs
        for (venue, symbol), x in held.items()
        if c.subject == f"{venue} {symbol}"
    )
    steps = {step.name: step for step in found.objective.steps}
    assert steps["funding"].effects["funding"] == pytest.approx(by_hand, rel=1e-6, abs=1e-3)
    assert steps["decision"].total <= 0.01


def test_the_same_inputs_have_no_effect_and_a_worse_scenario_does(hedge, tmp_path):
    one = run_of(hedge, tmp_path / "a")
    two = run_of(hedge, tmp_path / "b", swap(SCENARIO, ("taker: 5bp", "taker: 9bp")))
    found = compare(one, two)
    check_sums(found, one, two)
    effects = effects_of(found)
    assert effects["trading costs"]["trading"] > 0
    assert effects["trading costs"]["risk"] == 0.0
    assert found.tables == ()
    assert found.inputs == ()


def test_a_snapshot_that_changed_since_leaves_the_results_alone(hedge, tmp_path):
    one = run_of(hedge, tmp_path / "a")
    two = run_of(hedge, tmp_path / "b", tables=LATER)
    (tmp_path / "a" / "tables" / "holdings.csv").write_text(LATER["holdings"])
    found = compare(one, two)
    check_sums(found, one, two)
    assert [step.name for step in found.objective.steps] == ["inputs and decision"]
    assert found.inputs == ()
    assert any("tables of its snapshot have changed since: holdings" in note for note in found.notes)
    shutil.rmtree(tmp_path / "a" / "tables")
    assert compare(one, two).notes == (f"run {one.name}: its tables are not found; name the snapshot folder",)


def test_tables_are_found_where_they_are_said_to_lie(hedge, tmp_path):
    one = run_of(hedge, tmp_path / "a")
    two = run_of(hedge, tmp_path / "b", tables=LATER)
    for name in ("a", "b"):
        (tmp_path / name / "tables").rename(tmp_path / f"archive-{name}")
    assert compare(one, two).notes
    # Each run takes the one that has its digests.
    found = compare(one, two, [tmp_path / "archive-b", tmp_path / "archive-a"])
    assert found.notes == ()
    check_sums(found, one, two)
    assert len(found.objective.steps) > 2


def test_other_instruments_make_one_step_of_the_inputs(hedge, tmp_path):
    one = run_of(hedge, tmp_path / "a")
    two = run_of(
        hedge, tmp_path / "b", swap(SCENARIO, ("symbols: [BTC/USDC:USDC, ETH/USDC:USDC]", "symbols: all"))
    )
    fewer = swap(SCENARIO, ("venue: okx, symbols: all", "venue: okx, symbols: [BTC/USDT:USDT]"))
    three = run_of(hedge, tmp_path / "c", fewer)
    assert compare(one, two).objective.why_coarse is None
    found = compare(one, three)
    check_sums(found, one, three)
    assert [step.name for step in found.objective.steps] == ["inputs", "decision"]
    assert "okx ETH/USDT:USDT" in found.objective.why_coarse


def test_a_run_without_positions_has_no_objective_to_compare(hedge, tmp_path):
    one = run_of(hedge, tmp_path / "a")
    impossible = swap(SCENARIO, ("gross: {kind: gross, max: $9m}", "gross: {kind: gross, max: $1}"))
    two = run_of(hedge, tmp_path / "b", impossible, code=0)
    assert compare(one, two).objective is not None
    band = "gross: {kind: gross, max: $1}\n  band: {kind: net_delta, min: $0, max: $1k}"
    three = run_of(hedge, tmp_path / "c", swap(impossible, ("gross: {kind: gross, max: $1}", band)), code=3)
    found = compare(one, three)
    assert found.objective is None
    assert found.status == ("optimal", "infeasible")


def test_only_finished_and_unchanged_runs_are_compared(hedge, tmp_path):
    one = run_of(hedge, tmp_path / "a")
    with pytest.raises(DataError, match="not the folder of a finished run"):
        compare(one, tmp_path)
    with (one / "result.json").open("a") as file:
        file.write(" ")
    with pytest.raises(DataError, match=r"result\.json was changed"):
        compare(one, one)
