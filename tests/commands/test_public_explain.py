"""`allocator.explain` says what `hedge explain` prints, of scenarios, allocations and runs."""

from __future__ import annotations

import html

import pytest
from small_desk import SCENARIO, Hedge, only_run, swap, write_desk

import allocator
from allocator.errors import DataError, Infeasible

CAPPED = swap(SCENARIO, ("gross, max: $9m}", "gross, max: $3m}"))
# The same cap twice: more of one alone saves nothing, less of it costs what both cost together.
TWICE = swap(SCENARIO, ("gross, max: $9m}", "gross, max: $3m}\n  twice: {kind: gross, max: $3m}"))
IMPOSSIBLE = swap(
    SCENARIO, ("gross, max: $9m}", "gross, max: $1m}\n  full: {kind: hedge_ratio, min: 99%, max: 101%}")
)


def test_a_scenario_its_file_and_its_allocation_are_explained_alike(tmp_path, hedge: Hedge):
    desk = write_desk(tmp_path / "desk", CAPPED)
    found = allocator.explain(desk)
    again = allocator.explain(allocator.allocate(allocator.load(desk)))
    assert found.to_json() == again.to_json() == hedge("explain", desk, "--json").json
    assert str(found) == hedge("explain", desk).out
    # A notebook shows the page; a line of a session does not print every number.
    assert found._repr_html_().startswith("<pre>")
    assert html.unescape(found._repr_html_()) == f"<pre>{found}</pre>"
    assert found.to_json()["run_id"] in repr(found)
    assert len(repr(found)) < 200
    assert (found.status, found.exit_code, found.error) == ("optimal", 0, None)
    # The parts are typed, and the same as what is printed.
    dearest = found.prices.figures[0]
    rows = found.to_json()["explanation"]["prices"]
    assert dearest.name == rows[0]["name"]
    assert dearest.saves_usd == pytest.approx(rows[0]["saves_usd"], rel=1e-8)
    (gross,) = (r for r in found.ranges if r.name == "limits.gross.max")
    assert gross.tightened.until <= 3e6 <= gross.relaxed.until
    assert len(found.reasons.trades) == len(found.to_json()["trades"])
    assert {off.venue for off in found.reasons.venues_off} == {"okx", "binance", "hyperliquid"}


def test_a_kink_is_told_with_the_price_on_both_sides(tmp_path):
    one = allocator.explain(write_desk(tmp_path / "one", CAPPED)).prices.of("limits.gross.max")
    found = allocator.explain(write_desk(tmp_path / "two", TWICE))
    page = str(found)
    for name in ("limits.gross.max", "limits.twice.max"):
        (over,) = (r for r in found.ranges if r.name == name)
        assert over.kink
        if over.relaxed.until == 3e6:
            assert over.relaxed.beyond_usd == pytest.approx(0.0, abs=1e-7)
        if over.tightened.until == 3e6:
            assert over.tightened.beyond_usd == pytest.approx(one.saves_usd, rel=1e-3)
            assert f"tightening it costs ${over.tightened.beyond_usd * 1e5:,.2f} for as much" in page
    assert page.count("A kink") == 2
    assert page.count("relaxing it saves $0.00") >= 1


def test_an_infeasible_scenario_is_explained_not_raised(tmp_path, hedge: Hedge):
    desk = write_desk(tmp_path / "desk", IMPOSSIBLE)
    found = allocator.explain(str(desk))
    assert isinstance(found.error, Infeasible)
    assert (found.status, found.exit_code) == ("infeasible", 3)
    assert {m.name for m in found.error.conflict} >= {"limits.gross.max", "limits.full.min"}
    for way in found.error.ways_out:
        assert way.text in str(found)
    assert found.prices is None
    assert found.to_json() == hedge("explain", desk, "--json").json


def test_runs_are_explained_and_compared(tmp_path, hedge: Hedge):
    desk = write_desk(tmp_path / "desk", CAPPED)
    for out, size in (("a", "$3m"), ("b", "$4m")):
        done = hedge(
            "allocate", desk, "--no-report", "--out", tmp_path / out, "--set", f"limits.gross.max={size}"
        )
        assert done.code == 0, done.err
    one, two = only_run(tmp_path / "a"), only_run(tmp_path / "b")
    told = allocator.explain(one)
    assert told.to_json() == hedge("explain", one, "--json").json
    assert told.ranges == ()
    changed = allocator.explain(one, two)
    assert str(changed) == hedge("explain", one, two).out
    assert changed.to_json()["objective"]["change_usd"] == changed.objective.change


def test_what_cannot_be_explained_is_an_error(tmp_path):
    with pytest.raises(DataError, match="not the folder of a finished run"):
        allocator.explain(tmp_path)
    allocation = allocator.allocate(allocator.load(write_desk(tmp_path / "desk", CAPPED)))
    with pytest.raises(TypeError, match="by their folders"):
        allocator.explain(allocation, tmp_path)
