"""Solvers alone on given data: update and solve, nothing else. Everything else is prepared beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import clarabel
import numpy as np
import piqp
import qoco

from allocator.program.backends import TOLERANCE
from allocator.program.parametric import Cell, Parametric

Solve = Callable[[], object]


def piqp_solves(form: Parametric, cells: Sequence[Cell], bounds: bool) -> list[Solve]:
    """PIQP on cells whose vectors alone differ; with `bounds`, rows of one variable are bounds."""
    e, first = form.cones.zero, cells[0]
    rows = form.rows.matrix(first.a).tocsr()
    less, right = rows[e:], np.array([cell.b[e:] for cell in cells])
    single = np.flatnonzero(np.diff(less.indptr) == 1) if bounds else np.zeros(0, dtype=int)
    several = np.setdiff1d(np.arange(less.shape[0]), single)
    column, entry = less.indices[less.indptr[single]], less.data[less.indptr[single]]

    def numbers(k: int) -> dict[str, np.ndarray]:
        lower, upper = np.full(rows.shape[1], -np.inf), np.full(rows.shape[1], np.inf)
        limit = right[k][single] / entry
        np.minimum.at(upper, column[entry > 0], limit[entry > 0])
        np.maximum.at(lower, column[entry < 0], limit[entry < 0])
        found = {"c": cells[k].q, "b": cells[k].b[:e], "h_u": right[k][several]}
        return found | ({"x_l": lower, "x_u": upper} if bounds else {})

    solver = piqp.SparseSolver()
    for name in ("eps_abs", "eps_rel", "eps_duality_gap_abs", "eps_duality_gap_rel"):
        setattr(solver.settings, name, TOLERANCE)
    matrices = {
        "P": form.quadratic.matrix(first.p),
        "A": rows[:e].tocsc(),
        "G": less[several].tocsc(),
    }
    solver.setup(**matrices, **numbers(0))
    assert solver.solve() == piqp.PIQP_SOLVED

    def solve(given: dict[str, np.ndarray]) -> object:
        solver.update(**given)
        return solver.solve()

    prepared = [numbers(k) for k in range(len(cells))]
    return [lambda given=given: solve(given) for given in prepared]


def clarabel_solves(form: Parametric, cells: Sequence[Cell]) -> list[Solve]:
    """Clarabel on cells whose vectors alone differ."""
    settings = clarabel.DefaultSettings()
    settings.verbose, settings.presolve_enable, settings.max_threads = False, False, 1
    for name in ("tol_gap_abs", "tol_gap_rel", "tol_feas"):
        setattr(settings, name, TOLERANCE)
    kinds = [clarabel.ZeroConeT(form.cones.zero), clarabel.NonnegativeConeT(form.cones.nonnegative)]
    first = cells[0]
    p, a = form.quadratic.matrix(first.p), form.rows.matrix(first.a)
    solver = clarabel.DefaultSolver(p, first.q, a, first.b, kinds, settings)
    solver.solve()

    def solve(cell: Cell) -> object:
        solver.update(q=cell.q, b=cell.b)
        return solver.solve()

    return [lambda cell=cell: solve(cell) for cell in cells]


def qoco_solves(form: Parametric, cells: Sequence[Cell]) -> list[Solve]:
    """QOCO on cells whose vectors alone differ."""
    e, first = form.cones.zero, cells[0]
    rows, less = form.rows.matrix(first.a).tocsr(), form.cones.nonnegative
    solver = qoco.QOCO()
    solver.setup(
        rows.shape[1],
        less,
        e,
        form.quadratic.matrix(first.p),
        first.q,
        rows[:e].tocsc(),
        first.b[:e],
        rows[e:].tocsc(),
        first.b[e:],
        less,
        0,
        np.zeros(0, dtype=np.int32),
        abstol=1e-8,
        reltol=1e-8,
        max_iters=500,
    )

    def solve(cell: Cell) -> object:
        solver.update_vector_data(cell.q, cell.b[:e], cell.b[e:])
        return solver.solve()

    return [lambda cell=cell: solve(cell) for cell in cells]
