"""Verdicts on many markets of one shape, each proven: an optimum to full accuracy, or a Farkas certificate.

The program is compiled once; a market is one update of the solver's data. What the solver leaves in doubt
(an inaccurate optimum that fails its audit, a certificate that does not hold when checked here) is no
verdict: whoever asks goes to `allocator.program.solve`, which tries all of the solver's settings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from allocator.audit import audit
from allocator.market.types import Market
from allocator.program.backends import Clarabel
from allocator.program.build import Program, numbers
from allocator.program.coefficients import same_structure, structure
from allocator.program.parametric import Cell, Cones, Parametric, Pattern
from allocator.program.slots import StructureChanged
from allocator.program.solve import Solution
from models.arrays import Vector

_ACCURATE, _INFEASIBLE = "Solved", "PrimalInfeasible"  # Clarabel's words
_SHARPER = (1e-13, 1e-12, 1e-11)  # tolerances that stop the solver where rounding errors do, or soon before
_FAR = 1e6  # in the program's units, books or bp of the book: no decision that counts is so large


@dataclass(frozen=True)
class Verdict:
    """An optimum, or the proof that nothing is permitted; neither where the solver left it in doubt."""

    solution: Solution | None
    infeasible: bool


_DOUBT = Verdict(None, infeasible=False)


class Judge:
    """A compiled program's solver, updated in place."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._form = Parametric(program)
        self._solver = Clarabel(self._form.quadratic, self._form.rows, self._form.cones)

    def __call__(self, market: Market) -> Verdict:
        """The verdict on a market; raise `StructureChanged` where it needs another program."""
        try:
            cell, constant = self._data(market)
        except ValueError:  # a number overflows
            return _DOUBT
        point = self._solver.solve(cell, constant)
        last = self._solver.last
        assert last is not None
        if point is not None:
            found = self._form.read(market, point)
            proven = str(last.status) == _ACCURATE or _audited(market, found)
            return Verdict(found, infeasible=False) if proven else _DOUBT
        proven = str(last.status) == _INFEASIBLE and proves_infeasible(
            self._form.rows, self._form.cones, cell, np.asarray(last.z)
        )
        return Verdict(None, infeasible=proven)

    def sharpest(self, market: Market) -> Solution | None:
        """The optimum as far as the solver's arithmetic goes, whatever it says of it; None without one."""
        cell, constant = self._data(market)
        for tolerance in _SHARPER:
            solver = Clarabel(self._form.quadratic, self._form.rows, self._form.cones, tolerance)
            point = solver.solve(cell, constant)
            if point is not None:
                return self._form.read(market, point)
        return None

    def _data(self, market: Market) -> tuple[Cell, float]:
        shape = structure(market)
        if not same_structure(self._program.shape, shape):
            raise StructureChanged("instruments, limits or bounds are of another shape")
        values = numbers(market, shape)
        self._program.slots.check(values)
        data = self._form.data([values])
        return next(data.cells()), float(data.d[0])


def _audited(market: Market, found: Solution) -> bool:
    return audit(market, found.decision, found.multipliers.limits).passed


def proves_infeasible(rows: Pattern, cones: Cones, cell: Cell, z: Vector) -> bool:
    """Whether z (m,) proves that no x with |x| ≤ `_FAR` has Ax + s = b, s in the cones (Farkas).

    For z in the dual cones z's ≥ 0, so that such an x would have b'z ≥ z'Ax ≥ −`_FAR`·Σ|A'z|.
    """
    dual = z.copy()
    start = cones.zero + cones.nonnegative
    dual[cones.zero : start] = np.maximum(dual[cones.zero : start], 0.0)
    for size in cones.second_order:
        dual[start] = max(dual[start], float(np.linalg.norm(dual[start + 1 : start + size])))
        start += size
    reached = float(cell.b @ dual)
    pulled = float(np.abs(rows.matrix(cell.a).T @ dual).sum())
    return bool(np.isfinite(reached) and reached < -_FAR * pulled)
