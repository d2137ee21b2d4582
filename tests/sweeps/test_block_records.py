"""Rows of cells that were judged together are those of each cell alone; shared numbers are made once."""

from dataclasses import replace

import numpy as np
import pytest
from markets import build
from random_markets import PLAIN, random_spec
from specs import limit, single_asset

from allocator.errors import HedgeError
from allocator.program.backends import backend
from allocator.program.build import Program, numbers
from allocator.program.coefficients import structure
from allocator.program.parametric import Parametric
from allocator.program.parts import Parts
from allocator.scenario.cells import Cell
from allocator.scenario.sweep import Variant
from allocator.sweeps import store
from allocator.sweeps.fast import Answer, Solver
from allocator.sweeps.records import Records

WISH = replace(PLAIN, soft=True, kinds=PLAIN.kinds | {"gross", "venue_share", "net_delta"}, transfers=True)


def cells(count):
    return [
        Cell(k, f"cell {k}", {"limits.gross.max": 1.0 + k}, Variant((), ()), f"id{k}") for k in range(count)
    ]


def table(records, name):
    return store.arrow_table(getattr(records, name), {"limits.gross.max": float}).to_pylist()


def same(one, other):
    """Equal rows: texts exactly, numbers but for rounding of what the row's scale is."""
    assert len(one) == len(other)
    for mine, theirs in zip(one, other, strict=True):
        assert list(mine) == list(theirs)
        for key, value in theirs.items():
            if isinstance(value, float):
                scale = 1e-9 * max(abs(theirs.get("scale_usd") or 0.0), abs(value), 1.0)
                assert mine[key] == pytest.approx(value, abs=scale), key
            else:
                assert mine[key] == value, key


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_a_block_are_those_of_its_cells(seed):
    spec = random_spec(seed, WISH)
    markets = [
        build(replace(spec, exposure={a: usd * near for a, usd in spec.exposure.items()}))
        for near in (1.0, 0.99, 0.98)
    ]
    found = list(zip(cells(3), markets, Solver().solve(markets), strict=True))
    assert any(isinstance(answer, Answer) and answer.judged is not None for _, _, answer in found)
    together, alone = Records(), Records()
    together.extend(found)
    for cell, market, answer in found:
        by_itself = Answer((answer.solution, answer.audit)) if isinstance(answer, Answer) else answer
        alone.add(cell, market, by_itself)
    for name in store.TABLES:
        same(table(together, name), table(alone, name))
    assert table(alone, "positions")


def test_failed_cells_stand_between_the_others():
    spec = single_asset(1e7, 2, 1e-5, fee=3e-4)
    specs = [replace(spec, limits={"it": limit("gross", max=most)}) for most in (9e6, 8e6, 7e6)]
    markets = [build(s) for s in specs]
    answers = Solver().solve(markets)
    records = Records()
    found = [*zip(cells(3), markets, answers, strict=True)]
    found[1] = (found[1][0], None, HedgeError("no such table"))
    records.extend(found)
    assert [row["status"] for row in table(records, "cells")] == ["optimal", HedgeError.status, "optimal"]
    assert {row["cell"] for row in table(records, "positions")} == {0, 2}
    assert table(Records(), "positions") == []


def test_remembered_parts_give_the_numbers_made_afresh():
    parts = Parts(4)
    for seed in (3, 4, 3, 5, 6, 7, 3):
        market = build(random_spec(seed))
        shape, mine = structure(market), numbers(market, structure(market, parts), parts)
        afresh = numbers(market, shape)
        assert mine.keys() == afresh.keys()
        for name, value in afresh.items():
            assert np.array_equal(mine[name], value), name
    calls = []
    one, two = object(), object()
    for thing in (one, one, two, one):
        parts("it", lambda thing=thing: calls.append(thing), thing)
    assert calls == [one, two]


def test_a_bound_has_the_price_of_its_row():
    """One perp that may be sold for $9m at most: PIQP's bound has the price that Clarabel's row has."""
    spec = single_asset(1e7, 1, 1e-5, fee=3e-4)
    market = build(
        replace(spec, limits={"it": limit("position", max=9e6), "loose": limit("position", max=9.5e6)})
    )
    form = Parametric(Program(market, frozenset({"funding", "box"})))
    data = form.data([numbers(market, form.program.shape)])
    (cell,) = data.cells()
    found = {
        name: form.read(market, backend(form, name).solve(cell, float(data.d[0])))
        for name in ("PIQP", "CLARABEL")
    }
    prices = {name: solution.multipliers.lower for name, solution in found.items()}
    assert found["PIQP"].decision.positions == pytest.approx([-9e6], abs=1.0)
    assert prices["CLARABEL"][0] > 1e-4
    assert prices["PIQP"] == pytest.approx(prices["CLARABEL"], rel=1e-5)
