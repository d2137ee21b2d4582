"""A desk with nothing to hedge: nothing to do is an answer, and what is still open is closed."""

from __future__ import annotations

import pytest
from small_desk import SCENARIO, TABLES, Hedge, swap, write_desk

NO_SIZE = swap(SCENARIO, ("book: {size: $5m}\n", ""))
NO_COINS = {
    "holdings": swap(
        TABLES["holdings"], ("BTC,30,1,", "BTC,0,1,"), ("ETH,300,1,", "ETH,0,1,"), ("BTC,5,0.5,", "BTC,0,1,")
    ),
    "collateral": swap(TABLES["collateral"], ("BTC,4,0", "BTC,0,0")),
}
NO_POSITIONS = {"positions": TABLES["positions"].splitlines()[0] + "\n"}


def test_without_exposure_and_positions_there_is_nothing_to_do(tmp_path, hedge: Hedge):
    path = write_desk(tmp_path / "desk", NO_SIZE, {**NO_COINS, **NO_POSITIONS})
    outcome = hedge("allocate", path, "--json", "--out", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    assert (outcome.json["status"], outcome.json["orders"]) == ("optimal", 0)
    assert all(row["rounded_usd"] == 0 for row in outcome.json["positions"])


@pytest.mark.parametrize("dust", ["0", "0.00001"])
def test_what_is_left_open_is_closed_whatever_dust_is_held(tmp_path, hedge: Hedge, dust):
    """A book of a dollar would be no measure for positions of $1.5m."""
    tables = {**NO_COINS, "holdings": swap(NO_COINS["holdings"], ("BTC,0,1,\n", f"BTC,{dust},1,\n"))}
    path = write_desk(tmp_path / "desk", NO_SIZE, tables)
    outcome = hedge("allocate", path, "--json", "--out", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    assert outcome.json["audit"]["passed"]
    before = sum(abs(row["previous_usd"]) for row in outcome.json["positions"])
    after = sum(abs(row["rounded_usd"]) for row in outcome.json["positions"])
    assert before == pytest.approx(1.54e6, rel=0.01)
    assert after < 0.1 * before
