"""Solvers that take the program's data as they are and update them in place.

PIQP (Schwan, Jiang, Kuhn and Jones, *PIQP: A Proximal Interior-Point Quadratic Programming Solver*, 2023) is
the fastest found for quadratic programs but proves no infeasibility; Clarabel (Goulart and Chen, *Clarabel:
An interior-point solver for conic programs with quadratic objectives*, 2024) takes cones too. Whatever does
not end optimal here is judged by `allocator.program.solve`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Protocol

import clarabel
import numpy as np
import scipy.sparse as sp

from allocator.market.types import Index
from allocator.program.parametric import Cell, Cones, Parametric, Pattern, Point
from models.arrays import Vector

TOLERANCE = 1e-10
# An inaccurate optimum is judged by the audit, as `solve` leaves it to.
_OPTIMAL = ("Solved", "AlmostSolved")


class Backend(Protocol):
    """One solver's memory for cells of one pattern."""

    def solve(self, cell: Cell, constant: float) -> Point | None:
        """The optimum, or None where the solver did not reach one. `constant` adds to the objective."""

    def renewed(self) -> Backend:
        """One whose answers do not depend on the cells that this one has met."""


def backend(form: Parametric, name: str) -> Backend:
    """The solver of this name. Raises ValueError where PIQP is asked for a program with cones."""
    if name == "CLARABEL":
        return Clarabel(form.quadratic, form.rows, form.cones)
    if name == "PIQP" and not form.cones.second_order:
        return Piqp(form.quadratic, form.rows, form.cones)
    raise ValueError(f"{name} does not take this program")


def fastest(form: Parametric) -> str:
    """PIQP for a quadratic program, Clarabel for one with cones."""
    return "CLARABEL" if form.cones.second_order else "PIQP"


class Clarabel:
    """Symbolic factorisation kept; numbers updated in place."""

    def __init__(self, quadratic: Pattern, rows: Pattern, cones: Cones, tolerance: float = TOLERANCE) -> None:
        self._quadratic, self._rows = quadratic, rows
        self._cones = [
            *([clarabel.ZeroConeT(cones.zero)] if cones.zero else []),
            *([clarabel.NonnegativeConeT(cones.nonnegative)] if cones.nonnegative else []),
            *(clarabel.SecondOrderConeT(size) for size in cones.second_order),
        ]
        self._settings = clarabel.DefaultSettings()
        self._settings.verbose = False
        # Presolve drops rows by their numbers, after which data cannot be updated.
        self._settings.presolve_enable = False
        self._settings.max_threads = 1
        for name in ("tol_gap_abs", "tol_gap_rel", "tol_feas"):
            setattr(self._settings, name, tolerance)
        self._solver: clarabel.DefaultSolver | None = None
        self.last: clarabel.DefaultSolution | None = None  # the solver's own last word, certificates included

    def renewed(self) -> Clarabel:
        """Another, which scales by the numbers it meets first."""
        found = copy.copy(self)
        found._solver = None
        return found

    def solve(self, cell: Cell, constant: float) -> Point | None:
        """The optimum, or None."""
        if self._solver is None:
            p, a = self._quadratic.matrix(cell.p), self._rows.matrix(cell.a)
            self._solver = clarabel.DefaultSolver(p, cell.q, a, cell.b, self._cones, self._settings)
        else:
            self._solver.update(P=cell.p, q=cell.q, A=cell.a, b=cell.b)
        found = self.last = self._solver.solve()
        if str(found.status) not in _OPTIMAL:
            return None
        x, z = np.asarray(found.x), np.asarray(found.z)
        return Point(x, z, float(found.obj_val) + constant, "CLARABEL", int(found.iterations))


class Piqp:
    """Equalities, inequalities and bounds apart: a row that holds a single variable is a bound on it."""

    def __init__(self, quadratic: Pattern, rows: Pattern, cones: Cones) -> None:
        import piqp  # type: ignore[import-untyped]  # only where a program is solved with it

        self._quadratic, self._equalities = quadratic, cones.zero
        held = np.bincount(rows.indices, minlength=rows.shape[0])
        single = np.flatnonzero((held == 1) & (np.arange(rows.shape[0]) >= cones.zero))
        several = np.setdiff1d(np.arange(cones.zero, rows.shape[0]), single)
        self._equal, self._in_equal = _some_rows(rows, np.arange(cones.zero))
        self._less, self._in_less = _some_rows(rows, several)
        self._several, self._bounds = several, _Bounds.of(rows, single)
        self._solver, self._solved = _piqp(), piqp.PIQP_SOLVED
        self._last: Cell | None = None
        self._tight: Tight | None = None

    def renewed(self) -> Piqp:
        """Another, which scales by the numbers it meets first."""
        found = copy.copy(self)
        found._solver, found._last, found._tight = _piqp(), None, None
        return found

    def solve(self, cell: Cell, constant: float) -> Point | None:
        """The optimum, or None."""
        e, last = self._equalities, self._last
        tight = self._bounds.at(cell, last, self._tight)
        if tight is None:
            return None
        self._tight = tight
        matrices: dict[str, sp.csc_matrix] = {}
        if last is None or not np.array_equal(cell.p, last.p):
            matrices["P"] = self._quadratic.matrix(cell.p)
        if last is None or not np.array_equal(cell.a, last.a):
            matrices["A"] = self._equal.matrix(cell.a[self._in_equal])
            matrices["G"] = self._less.matrix(cell.a[self._in_less])
        put = self._solver.setup if last is None else self._solver.update
        put(**matrices, c=cell.q, b=cell.b[:e], h_u=cell.b[self._several], x_l=tight.lower, x_u=tight.upper)
        self._last = cell
        status = self._solver.solve()
        found = self._solver.result
        if status != self._solved:
            return None
        z = np.zeros(len(cell.b))
        z[:e], z[self._several] = found.y, found.z_u
        z += self._bounds.duals(cell, tight, np.asarray(found.z_bl), np.asarray(found.z_bu))
        objective = float(found.info.primal_obj) + constant
        return Point(np.array(found.x), z, objective, "PIQP", int(found.info.iter))


def _piqp() -> Any:  # noqa: ANN401
    import piqp

    solver = piqp.SparseSolver()
    solver.settings.verbose = False
    for name in ("eps_abs", "eps_rel", "eps_duality_gap_abs", "eps_duality_gap_rel"):
        setattr(solver.settings, name, TOLERANCE)
    return solver


@dataclass(frozen=True)
class _Bounds:
    """Rows with a single entry: row `rows[j]` holds entry `entries[j]`, of variable `columns[j]` of n."""

    rows: Index
    entries: Index
    columns: Index
    n: int

    @classmethod
    def of(cls, pattern: Pattern, rows: Index) -> _Bounds:
        """The entries of these rows, each of which has one."""
        entries = np.flatnonzero(np.isin(pattern.indices, rows))
        columns = np.repeat(np.arange(pattern.shape[1]), np.diff(pattern.indptr))
        return cls(np.asarray(pattern.indices)[entries], entries, columns[entries], pattern.shape[1])

    def at(self, cell: Cell, last: Cell | None, known: Tight | None) -> Tight | None:
        """The bounds of every variable, those `known` of the last cell where they are the same.

        None where a row holds nothing.
        """
        entries = cell.a[self.entries]
        if last is not None and known is not None:
            same = np.array_equal(cell.b[self.rows], last.b[self.rows])
            if same and np.array_equal(entries, last.a[self.entries]):
                return known
        if not entries.all():
            return None
        bound = cell.b[self.rows] / entries
        lower, upper = np.full(self.n, -np.inf), np.full(self.n, np.inf)
        owners = []
        for side, limit in ((-1.0, lower), (1.0, upper)):
            here = np.flatnonzero(entries * side > 0)
            # The tightest row of a variable comes last, and stays.
            here = here[np.argsort(-side * bound[here], kind="stable")]
            owner = np.full(self.n, -1, dtype=np.int64)
            limit[self.columns[here]], owner[self.columns[here]] = bound[here], here
            owners.append(owner[owner >= 0])
        return Tight(lower, upper, owners[0], owners[1])

    def duals(self, cell: Cell, tight: Tight, lower: Vector, upper: Vector) -> Vector:
        """Duals of all rows (m,), from those of the variables' bounds (n,): the tightest row has each."""
        result = np.zeros(len(cell.b))
        for owners, dual in ((tight.below, lower), (tight.above, upper)):
            entries = np.abs(cell.a[self.entries[owners]])
            result[self.rows[owners]] = dual[self.columns[owners]] / entries
        return result


@dataclass(frozen=True)
class Tight:
    """Bounds (n,) of each variable, infinite where there is none, and which rows they come from."""

    lower: Vector
    upper: Vector
    below: Index
    above: Index


def _some_rows(rows: Pattern, chosen: Index) -> tuple[Pattern, Index]:
    """The pattern of some rows, and which entries of the whole are in it."""
    place = np.full(rows.shape[0], -1, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    kept = np.flatnonzero(place[rows.indices] >= 0)
    columns: Vector = np.repeat(np.arange(rows.shape[1]), np.diff(rows.indptr))
    counts = np.bincount(columns[kept], minlength=rows.shape[1])
    indptr = np.append(0, np.cumsum(counts))
    return Pattern(place[rows.indices[kept]], indptr, (len(chosen), rows.shape[1])), kept
