"""What a `sweep` block means, and what is said of one that is wrong."""

import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from scenario_texts import MINIMAL, line_of

from allocator.errors import ScenarioError
from allocator.scenario.cells import load_cells
from allocator.scenario.load import json_schema, load_scenario, resolve
from allocator.scenario.source import parse, plain

ROOT = Path(__file__).parents[2]
OVERLAYS = (
    "overlays:\n  calm: {objective: {risk_aversion_per_usd: 1.0e-7}}\n  tight: {limits: {btc: {max: $50k}}}\n"
)


def cells(folder, block, **options):
    path = folder / "swept.yaml"
    path.write_text(MINIMAL + OVERLAYS + block)
    return load_cells(path, **options)


def told(folder, block):
    with pytest.raises(ScenarioError) as caught:
        cells(folder, block)
    return [str(problem) for problem in caught.value.problems]


def names(found):
    return [cell.name for cell in found.cells]


def test_a_grid_is_every_combination_and_the_last_key_runs_fastest(tmp_path):
    found = cells(
        tmp_path, "sweep: {grid: {limits.btc.max: [$1m, $2m], objective.maker_share: [0, 50%, 100%]}}\n"
    )
    assert names(found)[:4] == [
        *("btc.max=$1m, maker_share=0", "btc.max=$1m, maker_share=50%", "btc.max=$1m, maker_share=100%"),
        "btc.max=$2m, maker_share=0",
    ]
    assert [cell.index for cell in found.cells] == list(range(6))
    last = found.cells[-1]
    assert last.overrides == {"limits.btc.max": 2e6, "objective.maker_share": 1.0}
    scenario = found.scenario(last).scenario
    assert (scenario.limits["btc"].max, scenario.objective.maker_share) == (2e6, 1.0)
    assert found.base.scenario.limits["btc"].max == 1e5


def test_zip_goes_in_step_and_blocks_multiply(tmp_path):
    block = (
        "sweep:\n  zip: {horizons.holding: [7d, 14d], limits.btc.max: [$1m, $2m]}\n"
        "  list: [{name: here}, {stresses.crash.move: -50%}]\n"
    )
    found = cells(tmp_path, block)
    assert names(found) == [
        *("here, holding=7d, btc.max=$1m", "holding=7d, btc.max=$1m, crash.move=-50%"),
        *("here, holding=14d, btc.max=$2m", "holding=14d, btc.max=$2m, crash.move=-50%"),
    ]
    assert found.cells[0].overrides == {"horizons.holding": 168.0, "limits.btc.max": 1e6}


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("{from: $1m, to: $2m, steps: 5}", [1e6, 1.25e6, 1.5e6, 1.75e6, 2e6]),
        ("{from: $10k, to: $1m, steps: 3, spacing: log}", [1e4, 1e5, 1e6]),
        ("{from: $2m, to: $1m, steps: 2}", [2e6, 1e6]),
    ],
)
def test_ranges_hold_both_ends(tmp_path, axis, values):
    found = cells(tmp_path, f"sweep: {{grid: {{limits.btc.max: {axis}}}}}\n")
    assert [cell.overrides["limits.btc.max"] for cell in found.cells] == pytest.approx(values, rel=1e-11)
    assert [found.scenario(c).scenario.limits["btc"].max for c in found.cells] == pytest.approx(
        values, rel=1e-11
    )


def test_draws_repeat_and_those_of_a_key_do_not_depend_on_others(tmp_path):
    one = "limits.btc.max: {from: $1m, to: $9m}"
    two = one + ", objective.risk_aversion_per_usd: {from: 1.0e-7, to: 1.0e-3, spacing: log}"
    first, again, both, other = (
        cells(tmp_path, f"sweep: {{random: {{draws: 200, seed: {seed}, keys: {{{keys}}}}}}}\n")
        for seed, keys in ((3, one), (3, one), (3, two), (4, one))
    )

    def drawn(found, key="limits.btc.max"):
        return [cell.overrides[key] for cell in found.cells]

    assert drawn(first) == drawn(again) == drawn(both)
    assert drawn(first) != drawn(other)
    assert all(1e6 <= value <= 9e6 for value in drawn(first))
    assert sum(drawn(first)) / 200 == pytest.approx(5e6, rel=0.1)
    logs = [math.log10(value) for value in drawn(both, "objective.risk_aversion_per_usd")]
    assert sum(logs) / 200 == pytest.approx(-5, abs=0.3)
    assert names(first)[0] == "draw 001"


def test_overlays_are_values_and_lie_below_swept_keys(tmp_path):
    block = "sweep: {grid: {overlay: [null, calm, [calm, tight]], limits.btc.min: [-$1k]}}\n"
    found = cells(tmp_path, block)
    assert names(found) == [
        *("overlay=null, btc.min=-$1k", "overlay=calm, btc.min=-$1k", "overlay=calm+tight, btc.min=-$1k"),
    ]
    scenarios = [found.scenario(cell).scenario for cell in found.cells]
    assert [s.objective.risk_aversion_per_usd for s in scenarios] == [1e-6, 1e-7, 1e-7]
    assert [s.limits["btc"].max for s in scenarios] == [1e5, 1e5, 5e4]


def test_structure_may_change(tmp_path):
    block = "sweep: {list: [{stresses.crash: null}, {'limits.new': {kind: gross, max: $1m}}]}\n"
    found = cells(tmp_path, block)
    assert [len(found.scenario(c).scenario.stresses) for c in found.cells] == [0, 1]
    assert "new" in found.scenario(found.cells[1]).scenario.limits


def test_each_value_knows_its_line(tmp_path):
    block = "sweep:\n  grid:\n    limits.btc.max:\n      - $1m\n      - $2m\n"
    found = cells(tmp_path, block)
    line = line_of((tmp_path / "swept.yaml").read_text(), "- $2m")
    assert found.scenario(found.cells[1]).origin("limits.btc.max") == f"swept.yaml:{line}"


def test_set_lies_below_and_what_is_not_swept_keeps_it(tmp_path):
    block = "sweep: {grid: {limits.btc.max: [$1m]}}\n"
    found = cells(tmp_path, block, sets=["limits.btc.min=-$5"], overlays=["calm"])
    scenario = found.scenario(found.cells[0]).scenario
    assert (scenario.limits["btc"].min, scenario.objective.risk_aversion_per_usd) == (-5.0, 1e-7)


WRONG = {
    "one value": ("grid: {limits.btc.max: $1m}", "one value is no sweep"),
    "an empty list": ("grid: {limits.btc.max: []}", "the list is empty"),
    "an unknown key": ("grid: {limits.btc.most: [$1m]}", "unknown key"),
    "an unknown entry": ("grid: {limits.bcc.max: [$1m]}", "did you mean `btc`?"),
    "a bad value": ("grid: {limits.btc.max: [1000000]}", "has no unit"),
    "a range without steps": ("grid: {limits.btc.max: {from: $1m, to: $2m}}", "steps: missing"),
    "a range of words": ("grid: {objective.mode: {from: a, to: b, steps: 2}}", "list the values instead"),
    "a log range to zero": (
        "grid: {limits.btc.max: {from: 0, to: $1m, steps: 3, spacing: log}}",
        "two ends above zero",
    ),
    "steps apart": ("zip: {horizons.holding: [7d], limits.btc.max: [$1m, $2m]}", "1, 2 values"),
    "one key twice": ("{grid: {limits.btc.max: [$1m]}, zip: {limits.btc.max: [$1m]}}", "swept by `grid` too"),
    "no seed": ("random: {draws: 2, keys: {limits.btc.max: {from: $1m, to: $2m}}}", "seed: missing"),
    "a draw from nothing": (
        "random: {draws: 2, seed: 1, keys: {limits.btc.max: {from: $1m}}}",
        "or `choose`",
    ),
    "an unknown overlay": ("grid: {overlay: [clam]}", "did you mean `calm`?"),
    "a path of dots": ("grid: {limits..max: [$1m]}", "is no key"),
    "an unknown block": ("grd: {limits.btc.max: [$1m]}", "did you mean `grid`?"),
    "the sweep itself": ("grid: {sweep.max_cells: [1]}", "cannot be set"),
    "too many": (
        "{max_cells: 3, grid: {limits.btc.max: {from: $1m, to: $2m, steps: 4}}}",
        "4 cells are more",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_its_line(tmp_path, case):
    block, message = WRONG[case]
    problems = told(tmp_path, f"sweep:\n  {block}\n")
    line = line_of((tmp_path / "swept.yaml").read_text(), block)
    assert len(problems) == 1, problems
    assert message in problems[0]
    assert problems[0].startswith(("swept.yaml:" + str(line), "swept.yaml:" + str(line - 1)))


def test_mistakes_of_all_cells_are_told_at_once(tmp_path):
    axes = "    limits.btc.max:\n      - 5\n      - $1m\n      - 6\n    horizons.holding: [7d, x]\n"
    block = "sweep:\n  grid:\n" + axes
    assert len(told(tmp_path, block)) == 3


def test_a_huge_grid_is_refused_before_it_is_made(tmp_path):
    axis = "{from: $1m, to: $2m, steps: 1000000}"
    problems = told(tmp_path, f"sweep: {{grid: {{limits.btc.max: {axis}}}}}\n")
    assert "1,000,000 cells are more than sweep.max_cells of 10,000" in problems[0]


def test_a_file_without_a_sweep_says_what_to_write(tmp_path):
    assert "no sweep; write what to vary" in told(tmp_path, "")[0]


def test_a_sweep_changes_nothing_for_other_commands(tmp_path):
    path = tmp_path / "swept.yaml"
    path.write_text(MINIMAL)
    plain = load_scenario(path).scenario
    path.write_text(MINIMAL + "sweep: {grid: {limits.btc.max: [$1m]}}\n")
    assert load_scenario(path).scenario == plain
    path.write_text(MINIMAL + "sweep: {grid: 5}\n")
    with pytest.raises(ScenarioError, match=r"sweep\.grid"):
        load_scenario(path)


def test_editors_know_the_block():
    validator = jsonschema.Draft202012Validator(json_schema())
    draws = "random: {draws: 1, seed: 2, keys: {a: {choose: [1]}}}"
    block = f"sweep: {{grid: {{a.b: [1], c: {{from: $1, to: $2, steps: 3}}}}, {draws}}}\n"
    good = plain(parse(MINIMAL + block, "swept.yaml"))
    assert [error.message for error in validator.iter_errors(good) if "sweep" in error.absolute_path] == []
    bad = plain(parse(MINIMAL + "sweep: {grid: {a.b: 1}, cells: 3}\n", "swept.yaml"))
    assert not validator.is_valid(bad)


def test_cells_that_share_parts_are_what_they_would_be_alone(tmp_path):
    # Overlays, named entries added and removed, a section replaced, and what a venue's table gives.
    block = (
        "sweep:\n  grid:\n    overlay: [null, calm, [calm, tight]]\n"
        "    limits.btc.max: [$1m, $2m]\n    stresses.crash.move: [-20%, -50%]\n"
        "  list: [{objective.maker_share: 20%}, {limits.hedge_side: null},"
        " {limits.new: {kind: gross, max: $9m}},"
        " {venues.binance.fees.taker: 9bp}, {book: {size: $1m}}]\n"
    )
    found = cells(tmp_path, block)
    assert len(found.cells) == 60
    for cell in found.cells[::-1]:
        shared = found.scenario(cell)
        alone = resolve(found.files, replace(found.asked, variant=cell.variant))
        assert shared.scenario == alone.scenario
        assert shared.document == alone.document
        assert shared.origins == alone.origins
    # What no cell touches is one and the same, among cells of the same overlays.
    scenarios = [found.scenario(cell).scenario for cell in found.cells]
    assert len({id(scenario.forecasts) for scenario in scenarios}) == 3
    assert len({id(scenario.objective) for scenario in scenarios}) == 3 * (1 + 4)  # 4 cells state it


def test_a_cell_may_name_another_venue_table(tmp_path):
    path = tmp_path / "tables.yaml"
    text = MINIMAL.replace("venues:\n", "venues:\n  kraken: {table: kraken, haircuts: {USD: 0}}\n")
    path.write_text(
        text + "sweep: {list: [{}, {venues.kraken.table: bybit}, {venues.kraken.fees.taker: 9bp}]}\n"
    )
    found = load_cells(path)
    exchanges = [found.scenario(cell).scenario.venues["kraken"].exchange for cell in found.cells]
    assert exchanges == ["kraken", "bybit", "kraken"]
    assert found.scenario(found.cells[2]).scenario.venues["kraken"].fees.taker == pytest.approx(9e-4)


def test_a_cell_may_change_what_a_venue_table_gives(tmp_path):
    # A table's base rate of an asset stands below whatever open interest the scenario states of it.
    text = (ROOT / "scenarios" / "dex.yaml").read_text()
    stated = "    margin:\n      open_interest:\n"
    stated += "        SOL: {base: 5%, lower: $40m, upper: $100m, open_interest: $52m}\n"
    assert stated in text
    (tmp_path / "dex2.yaml").write_text(text.replace(stated, ""))
    path = tmp_path / "oi.yaml"
    path.write_text(
        "extends: dex2.yaml\nname: oi\nsweep:\n  list:\n"
        "    - {venues.dydx.margin.open_interest: {SOL: {open_interest: $52m}}}\n"
        "    - {venues.dydx.margin.open_interest.SOL: {open_interest: $99m}}\n"
        "    - {venues.dydx.margin: {open_interest: {SOL: {open_interest: $80m}}}}\n"
    )
    found = load_cells(path)
    stated_by_cell = []
    for cell in found.cells:
        alone = resolve(found.files, replace(found.asked, variant=cell.variant))
        assert found.scenario(cell).scenario == alone.scenario
        stated_by_cell.append(alone.scenario.venues["dydx"].margin.open_interest["SOL"].open_interest)
    assert stated_by_cell == [52e6, 99e6, 80e6]
