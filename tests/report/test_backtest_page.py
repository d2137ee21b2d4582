"""The page of a backtest: its numbers are the result's and the ledger's; liquidations are seen."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from nova_desk import write_desk
from page_reader import Reader, check_numbers, files_of

from allocator.backtests.run import backtest, parquet
from allocator.report.backtest_figures import (
    Walked,
    calibration,
    funding,
    margin,
    margin_use,
    outcomes,
    predicted,
    wealth,
)
from allocator.report.backtest_figures import models as by_model
from allocator.report.backtest_page import page
from allocator.report.svg import draw
from allocator.result import to_text
from allocator.runs import find, write
from allocator.scenario.load import load_scenario

SETS = [
    "backtest.simulate={days: 16, seed: 3}",
    "backtest.warm_up=5d",
    "backtest.every=48h",
    "backtest.strategies=[equal_split, no_hedge, best_funding]",
]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return backtest(load_scenario(write_desk(tmp_path_factory.mktemp("desk")), sets=SETS))


@pytest.fixture(scope="module")
def walked(found) -> Walked:
    return Walked.of(found.result, found.tables())


@pytest.fixture(scope="module")
def run(found, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    files = {"result.json": to_text({**found.result, "run_id": "backtest-1"})}
    tables = {f"{name}.parquet": parquet(frame) for name, frame in found.tables().items()}
    write(out, "backtest-1", files | tables, {"status": "optimal", "exit_code": 0})
    return find(out, "backtest-1")


@pytest.fixture(scope="module")
def text(run) -> str:
    return page(run)


def test_every_number_of_a_backtest_is_its_result_or_its_ledger(run, text):
    assert check_numbers(Reader(text), files_of(run.folder)) > 60
    files = files_of(run.folder)
    files["ledger.parquet"]["usd"] += 0.01
    with pytest.raises(AssertionError, match="ledger"):
        check_numbers(Reader(text), files)


def test_the_page_warns_of_synthetic_markets_and_shows_every_part(text):
    read = Reader(text)
    assert "Synthetic" in " ".join(e.text for e in read.of("p", **{"class": "synthetic"}))
    parts = {"rivals", "wealth", "margin", "funding", "calibration", "decisions", "provenance"}
    assert parts <= {e.attributes.get("id") for e in read.of("section")}
    assert len(text.encode()) < 2_000_000


def test_wealth_ends_at_the_profit_and_starts_at_the_entry(found, walked):
    drawn = wealth(walked)
    pnl = {row["strategy"]: row["pnl_usd"] for row in found.result["strategies"]}
    assert [curve.name for curve in drawn.curves] == ["equal_split", "best_funding"]
    for curve in drawn.curves:
        assert curve.y[-1] == pytest.approx(pnl[curve.name], abs=1e-6)
    assert "no_hedge" in [curve.name for curve in wealth(walked, unhedged=True).curves]


def test_margin_and_funding_are_those_of_the_tables(found, walked):
    tables = found.tables()
    bars = tables["venues"].query("strategy == 'equal_split'")
    worst = (bars["maintenance_margin_usd"] / bars["equity_usd"]).groupby(bars["time"]).max()
    use = next(curve for curve in margin_use(walked).curves if curve.name == "equal_split")
    assert max(use.high or use.y) == pytest.approx(worst.max(), rel=1e-12)
    nova = margin(walked, "equal_split", "nova").curves[0]
    assert max(nova.high or nova.y) == bars.query("venue == 'nova'")["equity_usd"].max()
    ledger = tables["ledger"].query("strategy == 'equal_split' and kind == 'funding'")
    for curve in funding(walked, "equal_split").curves:
        assert curve.y[-1] == pytest.approx(ledger.query("venue == @curve.name")["usd"].sum(), rel=1e-9)


def test_a_prediction_is_held_against_what_came_of_it(found, walked):
    """By hand, with pandas: wealth at a decision and at the next, over what the first predicted."""
    seen = outcomes(walked, "equal_split")
    made = found.tables()["decisions"].query("strategy == 'equal_split'").set_index("time")
    level = found.tables()["wealth"].query("strategy == 'equal_split'").set_index("time")["wealth_usd"]
    pnl = level[made.index].diff().dropna()
    assert seen.pnl == pytest.approx(pnl.to_numpy(), rel=1e-12)
    assert seen.predicted == pytest.approx(made["volatility_usd"].to_numpy()[:-1])
    inside = int((np.abs(pnl.to_numpy()) <= 1.96 * made["volatility_usd"].to_numpy()[:-1]).sum())
    assert f"{inside} of {len(pnl)} lie inside" in predicted(walked, "equal_split").note


def test_liquidations_are_marked_and_listed(found, tmp_path):
    time = found.tables()["wealth"]["time"].iloc[200]
    lost = {
        "strategy": "best_funding",
        "time": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "venue": "nova",
        "equity_usd": 1_000.0,
        "maintenance_margin_usd": 2_000.0,
    }
    result = {**found.result, "liquidations": [lost]}
    seen = Walked.of(result, found.tables())
    (moment,) = margin_use(seen).moments
    assert pd.Timestamp(moment.x, unit="s", tz="UTC") == time
    assert "best_funding liquidated" in draw(wealth(seen))
    assert "liquidated" in draw(margin(seen, "best_funding", "nova"))
    files = {"result.json": json.dumps({**result, "run_id": "lost"})}
    tables = {f"{name}.parquet": parquet(frame) for name, frame in found.tables().items()}
    write(tmp_path, "lost", files | tables, {"status": "optimal", "exit_code": 0})
    read = Reader(page(find(tmp_path, "lost")))
    assert [e.attributes["id"] for e in read.of("table") if e.attributes.get("id") == "liquidation-list"]


def test_intervals_of_calibration_are_drawn_where_there_are_any(found):
    names = [row["strategy"] for row in found.result["strategies"]]
    models = [{"strategy": n, "of": of, "ratio": 1.2, "ratio_interval": [0.5, 1.5]} for n in names
              for of in ("volatility", "funding")]  # fmt: skip
    full = Walked.of({**found.result, "calibration": models}, found.tables())
    drawn = calibration(full)
    assert [row.high.number() for row in drawn.rows] == [1.5] * len(names)
    assert draw(drawn).count("whisker") == len(names)
    assert [row.name for row in by_model(full, names[0]).rows] == ["volatility", "funding"]
    bare = calibration(Walked.of({**found.result, "calibration": None}, found.tables()))
    assert "whisker" not in draw(bare)


def test_what_later_results_hold_is_shown(found, tmp_path):
    """Breakdowns, warnings and further figures of a strategy are on the page where the result has them."""
    flows = {"strategy": found.walks[0].name, "by": "coin", "name": "BTC", "price_usd": 5.0, "total_usd": 5.0}
    rows = [
        {**row, "regret_usd": 12.5, "smallest_liquidation_distance": 0.31}
        for row in found.result["strategies"]
    ]
    more = {"run_id": "later", "strategies": rows, "breakdowns": [flows], "warnings": ["volatility is <off>"]}
    files = {"result.json": to_text({**found.result, **more})}
    tables = {f"{name}.parquet": parquet(frame) for name, frame in found.tables().items()}
    write(tmp_path, "later", files | tables, {"status": "optimal", "exit_code": 0})
    text = page(find(tmp_path, "later"))
    assert check_numbers(Reader(text), files_of(tmp_path / "later")) > 60
    said = " ".join(element.text for element in Reader(text).of("main"))
    for wanted in ("volatility is <off>", "behind foresight", "31.0 %", "By coin"):
        assert wanted in said


def test_as_a_notebook_shows_it(found):
    shown = found._repr_html_()
    assert "SYNTHETIC" in shown
    for row in found.result["strategies"]:
        assert row["strategy"] in shown
