"""Refusals end with exit code 6 and withhold the orders; the clock changes no byte of a run."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from small_desk import Hedge, Outcome, interrupt_writing, only_run, read_csv, write_desk

from allocator import Refused, allocate, load
from allocator.orders import release

WHOLE = {
    "manifest.json", "scenario.resolved.yaml", "result.json", "positions.csv", "orders.csv", "schedule.csv",
    "transfers.csv",
    "log.jsonl",
}  # fmt: skip


def allocated(hedge: Hedge, folder: Path, *sets: str, json_out: bool = True) -> Outcome:
    path = folder / "desk" / "small.yaml"
    if not path.exists():
        write_desk(folder / "desk")
    options = [option for value in sets for option in ("--set", value)]
    return hedge("allocate", path, "--out", folder / "runs", *options, *(["--json"] if json_out else []))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def test_a_refusal_that_repeats_is_the_run_s_own(tmp_path, hedge: Hedge):
    outcome = allocated(hedge, tmp_path, "orders.checks.max_order=$10k")
    assert outcome.code == 6
    assert "max_order" in outcome.err
    assert outcome.json["status"] == "refused"
    failed = [check for check in outcome.json["checks"] if check["outcome"] == "failed"]
    assert {check["name"] for check in failed} == {"max_order"}
    assert all(check["value"] > check["bound"] == 10e3 for check in failed)
    assert len(outcome.json["errors"]) == len(failed)
    run = only_run(tmp_path / "runs")
    assert run.name == outcome.json["run_id"]
    assert set(files(run)) == WHOLE - {"orders.csv", "schedule.csv"}
    assert (manifest(run)["status"], manifest(run)["exit_code"]) == ("refused", 6)
    # Reused as it is, and in another place the same bytes.
    before = files(run)
    again = allocated(hedge, tmp_path, "orders.checks.max_order=$10k")
    assert (again.code, again.out, files(run)) == (6, outcome.out, before)
    shutil.copytree(tmp_path / "desk", tmp_path / "other" / "desk")
    allocated(hedge, tmp_path / "other", "orders.checks.max_order=$10k")
    other = files(only_run(tmp_path / "other" / "runs"))
    assert {name for name in before if before[name] != other[name]} <= {"manifest.json", "log.jsonl"}
    page = allocated(hedge, tmp_path, "orders.checks.max_order=$10k", json_out=False)
    assert page.code == 6
    assert "refused by a pre-trade check" in page.out
    assert "max_order" in page.out
    assert hedge("orders", "export", run, "--format", "csv").code == 2


def test_a_kill_switch_withholds_and_leaves_no_trace_in_the_run(tmp_path, hedge: Hedge):
    out = tmp_path / "runs"
    out.mkdir()
    (out / "KILL").touch()
    outcome = allocated(hedge, tmp_path)
    assert outcome.code == 6
    assert outcome.json["status"] == "refused"
    assert outcome.json["orders"] == 0
    assert [c["name"] for c in outcome.json["checks"] if c["outcome"] == "failed"] == ["kill_switch"]
    name = outcome.json["run_id"]
    withheld = out / f"{name}.withheld"
    assert set(files(withheld)) == WHOLE - {"orders.csv", "schedule.csv"}
    assert (manifest(withheld)["status"], manifest(withheld)["exit_code"]) == ("refused", 6)
    assert "kill_switch" in {c["name"] for c in manifest(withheld)["release"] if c["outcome"] == "failed"}
    assert not (out / name).exists()
    assert hedge("orders", "export", withheld, "--format", "csv").code == 2
    # Gone: the run is made, byte for byte what the withheld one said.
    kept = files(withheld)
    (out / "KILL").unlink()
    assert allocated(hedge, tmp_path).code == 0
    made = files(out / name)
    assert set(made) == WHOLE
    assert {n for n in kept if kept[n] != made[n]} == {"manifest.json", "log.jsonl"}
    assert files(withheld) == kept
    # There again: a finished run hands nothing out either, and is not touched.
    (out / "KILL").touch()
    again = allocated(hedge, tmp_path)
    assert (again.code, again.json["status"], files(out / name)) == (6, "refused", made)
    page = allocated(hedge, tmp_path, json_out=False)
    assert "The orders are withheld" in page.out
    for kind in ("csv", "ccxt"):
        export = hedge("orders", "export", out / name, "--format", kind, "--to", tmp_path / "orders")
        assert export.code == 6
        assert "kill_switch" in export.err
    assert not (tmp_path / "orders").exists()


def test_a_finished_run_is_asked_its_age_again(tmp_path, hedge: Hedge, monkeypatch):
    monkeypatch.setattr(release, "clock", lambda: datetime(2026, 11, 20, 1, tzinfo=UTC))
    assert allocated(hedge, tmp_path, "orders.checks.max_age=90m").code == 0
    run = only_run(tmp_path / "runs")
    before = files(run)
    monkeypatch.setattr(release, "clock", lambda: datetime(2026, 11, 20, 2, tzinfo=UTC))
    outcome = allocated(hedge, tmp_path, "orders.checks.max_age=90m")
    assert outcome.code == 6
    assert "2h against 1.5h" in outcome.err
    assert files(run) == before
    # The clock is in the manifest and the log, nowhere else.
    shutil.copytree(tmp_path / "desk", tmp_path / "late" / "desk")
    assert allocated(hedge, tmp_path / "late", "orders.checks.max_age=90m").code == 6
    late = files(only_run(tmp_path / "late" / "runs"))
    assert {name for name in late if late[name] != before[name]} <= {"manifest.json", "log.jsonl"}


def test_the_shipped_age_of_data_is_not_asked_for(tmp_path, hedge: Hedge):
    outcome = allocated(hedge, tmp_path)
    assert outcome.code == 0
    release_terms = outcome.json["release"]
    assert release_terms["max_age"] is None
    assert release_terms["kill_switch"] == "KILL"
    told = {c["name"]: c for c in manifest(only_run(tmp_path / "runs"))["release"]}
    assert (told["data_age"]["outcome"], told["data_age"]["reason"]) == ("skipped", "not asked for")
    assert told["kill_switch"]["outcome"] == "passed"


def test_switched_off_in_the_file_is_said_with_its_line(tmp_path, hedge: Hedge):
    path = write_desk(tmp_path / "desk")
    path.write_text(path.read_text().replace("orders: {collar: 10bp}", "orders: {checks: {adv_share: null}}"))
    line = path.read_text()[: path.read_text().index("adv_share")].count("\n") + 1
    checks = {c["name"]: c for c in allocated(hedge, tmp_path).json["checks"]}
    assert checks["adv_share"]["reason"] == f"switched off at small.yaml:{line}"


def test_optional_columns_are_read_and_checked(tmp_path, hedge: Hedge):
    path = write_desk(tmp_path / "desk")
    tables = path.parent / "tables"
    text = (tables / "instruments.csv").read_text().splitlines()
    rows = [f"{text[0]},open_interest_usd,status", *(f"{row},2e9,trading" for row in text[1:])]
    (tables / "instruments.csv").write_text("\n".join(rows) + "\n")
    text = (tables / "positions.csv").read_text().splitlines()
    rows = [f"{text[0]},last_target_contracts,largest_trade_20d_contracts"]
    rows += [f"{row},-100,1000" if "ETH/USDC" in row else f"{row},," for row in text[1:]]
    (tables / "positions.csv").write_text("\n".join(rows) + "\n")
    checks = {c["name"]: c for c in allocated(hedge, tmp_path).json["checks"]}
    for name in ("open_interest_share", "venue_status", "target_change", "history_multiple"):
        assert checks[name]["outcome"] == "passed", checks[name]
    assert checks["target_change"]["subject"] == "hyperliquid ETH/USDC:USDC"
    (tables / "instruments.csv").write_text(
        (tables / "instruments.csv").read_text().replace("trading", "open")
    )
    outcome = allocated(hedge, tmp_path)
    assert outcome.code == 4
    assert "trading, reduce_only, halted" in outcome.err


@pytest.mark.parametrize("file", range(6))
def test_interrupted_while_a_withheld_run_is_written(tmp_path, hedge: Hedge, monkeypatch, file):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "KILL").touch()
    interrupt_writing(monkeypatch, after=file + 1)
    assert allocated(hedge, tmp_path).code == 130
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["KILL"]


def test_nothing_to_order_is_never_refused(tmp_path, hedge: Hedge):
    """No orders, nothing to withhold: the run is made even with the switch set."""
    path = write_desk(tmp_path / "desk")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "KILL").touch()
    text = path.read_text().replace("gross: {kind: gross, max: $9m}", "still: {kind: turnover, max: $0}")
    path.write_text(text.replace("orders: {collar: 10bp}", "orders: {min_trade: $1m}"))
    outcome = allocated(hedge, tmp_path, "limits.hedge_side=null")
    assert outcome.code == 0, outcome.err
    assert read_csv(tmp_path / "runs" / outcome.json["run_id"] / "orders.csv") == []


def test_the_library_asks_the_clock_when_it_is_told_the_time(tmp_path):
    terms = ["orders.checks.max_age=2h", "orders.checks.funding_window=10min"]
    scenario = load(write_desk(tmp_path / "desk"), sets=terms)
    as_of = allocate(scenario).market.as_of
    fresh = allocate(scenario, at=as_of + timedelta(hours=1, minutes=30))
    asked = [check for check in fresh.checks if check.name in ("data_age", "funding_window")]
    assert [(check.name, check.outcome) for check in asked] == [
        ("data_age", "passed"),
        ("funding_window", "passed"),
    ]
    assert asked[0].value == pytest.approx(1.5)
    for late, words in ((timedelta(days=40), "data_age"), (timedelta(hours=-1), "future of this clock")):
        with pytest.raises(Refused, match=words) as caught:
            allocate(scenario, at=as_of + late)
        assert caught.value.allocation.orders == ()
        assert caught.value.allocation.status == "refused"
    with pytest.raises(ValueError, match="without a time zone"):
        allocate(scenario, at=datetime(2026, 11, 20))
