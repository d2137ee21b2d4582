"""One market's convex program, solved again and again with its positions confined to other ranges.

Compiled once; only the bounds on positions are parameters, so that each solve differs from the last by two
vectors. That makes it some hundred times cheaper than the first one, and gives back transfers that suit the
positions: what a search over whole lots asks for.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from allocator.market.types import Box, Decision, Market
from allocator.program.backends import Clarabel
from allocator.program.build import Program
from allocator.program.parametric import Parametric
from models.arrays import Vector

_FAR = 10.0  # books, and what is held: no position is looked for beyond where nothing bounds it
_WIDER = 1e-8  # of the book: a position that may take one value only would leave the solver no interior


class Confined:
    """The best decision within any ranges of positions. Compiling takes about as long as a first solve."""

    def __init__(self, market: Market) -> None:
        self._market = market
        far = _FAR * market.book_usd + np.abs(market.positions.usd)
        self._lower, self._upper = np.maximum(market.lower, -far), np.minimum(market.upper, far)
        # One more box, so that every position has a row below and above to move.
        box = Box("orders.range", "no_trade", "orders", -far, far)
        self._program = Program(replace(market, boxes=(*market.boxes, box)), vary=frozenset({"box"}))
        self._form = Parametric(self._program)
        self._solver = Clarabel(self._form.quadratic, self._form.rows, self._form.cones)

    def __call__(self, lower: Vector, upper: Vector) -> tuple[Decision, float] | None:
        """The optimum with lower ≤ positions ≤ upper (n,) in USD, and its objective in USD.

        None where the solver finds none. Ranges are met to a 1e-8th of the book; fixed costs are left out.
        """
        book = self._market.book_usd
        low, high = np.maximum(lower, self._lower), np.minimum(upper, self._upper)
        if (low > high + _WIDER * book).any():
            return None
        bounds = {"box.lower": low / book - _WIDER, "box.upper": high / book + _WIDER}
        data = self._form.data([{**self._program.slots.values, **bounds}])
        point = self._solver.solve(next(data.cells()), float(data.d[0]))
        if point is None:
            return None
        solution = self._form.read(self._market, point)
        return solution.decision, solution.objective_usd
