"""Solve a program: status, decision, multipliers in dollars, or the certificate of infeasibility."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from allocator.errors import Infeasible, SolverFailed
from allocator.market.types import Decision, Index
from allocator.program.build import Program
from allocator.program.coefficients import COST
from allocator.program.conflict import conflict
from models.arrays import Vector

SOLVER = "CLARABEL"
_OPTIONS: Mapping[str, Mapping[str, float]] = {
    "CLARABEL": {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10},
    "QOCO": {"abstol": 1e-8, "reltol": 1e-8, "max_iters": 500},
    "PIQP": {"eps_abs": 1e-10, "eps_rel": 1e-10, "eps_duality_gap_abs": 1e-10, "eps_duality_gap_rel": 1e-10},
}


@dataclass(frozen=True)
class Multipliers:
    """Prices of limits in USD of objective per USD of limit, all ≥ 0.

    `limits` by name, one value per subject; `lower`, `upper` (n,) of the position boxes.
    """

    limits: Mapping[str, Vector]
    lower: Vector
    upper: Vector


@dataclass(frozen=True)
class Solution:
    """An optimum as the solver states it, unaudited."""

    decision: Decision
    multipliers: Multipliers
    breaches: Mapping[str, Vector]
    objective_usd: float
    solver: str
    iterations: int


def solve(program: Program, solver: str = SOLVER) -> Solution:
    """Solve; raise `Infeasible` with the certificate's limits, or `SolverFailed`."""
    problem = program.problem
    try:
        with warnings.catch_warnings():
            # An inaccurate status is judged below and by the audit, not by a warning.
            warnings.filterwarnings("ignore", message="Solution may be inaccurate", category=UserWarning)
            problem.solve(solver=solver, enforce_dpp=True, **_OPTIONS.get(solver, {}))
    except (cp.error.SolverError, ValueError) as error:
        # CVXPY raises ValueError where numbers overflow on their way to the solver.
        raise SolverFailed(f"{solver}: {error}") from error
    if problem.status in (cp.INFEASIBLE, cp.INFEASIBLE_INACCURATE):
        found = conflict(program, solver)
        names = ", ".join(f"{m.name} ({m.subject})" for m in found[:4]) or "no limit is named by the solver"
        raise Infeasible(f"no positions satisfy all limits; in conflict: {names}", found)
    if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        raise SolverFailed(f"{solver} ended with status {problem.status}")
    return _read(program)


def _read(program: Program) -> Solution:
    book, v = program.market.book_usd, program.variables
    transfers = (
        np.asarray(v.transfers.value, dtype=float).ravel() if program.market.transfers.routes else np.zeros(0)
    )
    decision = Decision(np.asarray(v.positions.value, dtype=float) * book, np.maximum(transfers, 0.0) * book)
    stats = program.problem.solver_stats
    return Solution(
        decision=decision,
        multipliers=Multipliers(
            limits={name: value * COST for name, value in _duals(program).items()},
            lower=_spread(program.lower, program.shape.boxed_below, len(decision.positions)) * COST,
            upper=_spread(program.upper, program.shape.boxed_above, len(decision.positions)) * COST,
        ),
        breaches=_breaches(program),
        objective_usd=float(program.problem.value) * book * COST,
        solver=stats.solver_name,
        iterations=int(stats.num_iters or 0),
    )


def _duals(program: Program) -> dict[str, Vector]:
    """Duals of each limit's rows by name, in order; and of the pieces of each margin group."""
    found: dict[str, list[Vector]] = {}
    for row in program.limits:
        dual = np.atleast_1d(np.asarray(row.constraint.dual_value, dtype=float))
        found.setdefault(row.rows.name, []).append(np.maximum(dual, 0.0))
    for name, rows in program.pieces.items():
        found[name] = [np.array([max(float(np.sum(row.dual_value or 0.0)), 0.0) for row in rows])]
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _breaches(program: Program) -> dict[str, Vector]:
    found: dict[str, list[Vector]] = {}
    for row in program.limits:
        if row.breach is not None:
            value = np.atleast_1d(np.asarray(row.breach.value, dtype=float)) * program.market.book_usd
            found.setdefault(row.rows.name, []).append(value)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _spread(constraint: cp.Constraint | None, where: Index, n: int) -> Vector:
    result = np.zeros(n)
    if constraint is not None and constraint.dual_value is not None:
        result[where] = np.maximum(np.asarray(constraint.dual_value, dtype=float), 0.0)
    return result
