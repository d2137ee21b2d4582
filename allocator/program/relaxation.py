"""The cheapest change of figures under which some positions are permitted, as a convex program.

Figures that enter the program as bounds or balances become variables beside the decision; the price of their
changes is minimised instead of the objective.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cvxpy as cp
import numpy as np

from allocator.market.types import Market
from allocator.program.build import Program
from models.arrays import Vector

_FAR = 1e3  # of a figure's size: no change is looked for beyond
_SPARSE = 1e-6  # of the cost: by so much a way with fewer changes may cost more


@dataclass(frozen=True)
class Opening:
    """A figure that may be relaxed by r ≥ 0 sizes: what each size adds to numbers of the program.

    `slots` are numbers by name, in the program's units; `box` names a box whose lower and upper bounds move
    apart by `room` (n,) books for each size. `most` is the largest change, in sizes.
    """

    name: str
    cost: float
    slots: Mapping[str, Vector]
    most: float = _FAR
    box: str | None = None
    room: Vector | None = None


class Relaxation:
    """All openings of a market, compiled once; any of them may be shut."""

    def __init__(
        self,
        market: Market,
        openings: Sequence[Opening],
        solver: str,
        attempt: Callable[[cp.Problem, str], None],
    ) -> None:
        self._openings, self._solver, self._attempt = tuple(openings), solver, attempt
        self._amount = cp.Variable(len(openings), nonneg=True)
        self._most = cp.Parameter(len(openings), nonneg=True)
        shifts: dict[str, cp.Expression] = {}
        for k, opening in enumerate(openings):
            for name, effect in opening.slots.items():
                shifts[name] = shifts.get(name, 0.0) + np.asarray(effect) * self._amount[k]
        opened = {opening.box for opening in openings}
        closed = replace(market, boxes=tuple(box for box in market.boxes if box.name not in opened))
        program = Program(closed, shifts=shifts)
        rows = [*program.problem.constraints, self._amount <= self._most]
        for k, opening in enumerate(openings):
            if opening.box is not None and opening.room is not None:
                rows += self._box(program, market, opening, k)
        price = np.array([opening.cost for opening in openings])
        self._problem = cp.Problem(cp.Minimize(price @ self._amount), rows)

    def _box(self, program: Program, market: Market, opening: Opening, k: int) -> list[cp.Constraint]:
        x, book = program.variables.positions, market.book_usd
        box = next(box for box in market.boxes if box.name == opening.box)
        assert opening.room is not None
        rows = []
        for sign, bound in ((1.0, box.upper), (-1.0, -box.lower)):
            held = np.flatnonzero(np.isfinite(bound))
            if len(held):
                rows.append(sign * x[held] <= bound[held] / book + opening.room[held] * self._amount[k])
        return rows

    def least(self, names: Sequence[str]) -> dict[str, float] | None:
        """The cheapest sizes of change by name when only these may change; None where they do not suffice."""
        most = np.array([o.most if o.name in names else 0.0 for o in self._openings])
        found = self._solve(most)
        if found is None:
            return None
        # Where many ways cost the same, an interior point mixes them: shut what can be spared.
        cost, amounts = found
        for k in np.argsort(amounts):
            if most[k] == 0.0:
                continue
            fewer = np.where(np.arange(len(most)) == k, 0.0, most)
            again = self._solve(fewer)
            if again is not None and again[0] <= cost * (1 + _SPARSE) + _SPARSE * 1e-3:
                most, (_, amounts) = fewer, again
        return {o.name: float(amounts[k]) for k, o in enumerate(self._openings) if amounts[k] > 1e-9}

    def _solve(self, most: Vector) -> tuple[float, Vector] | None:
        self._most.value = most
        self._attempt(self._problem, self._solver)
        if self._problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
            return None
        return float(self._problem.value), np.maximum(self._amount.value, 0.0)
