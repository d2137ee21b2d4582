"""Solve a program: status, decision, multipliers in dollars, or the certificate of infeasibility."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cvxpy as cp
import numpy as np

from allocator.errors import ConflictMember, Infeasible, SolverFailed
from allocator.market.boxes import box_owner
from allocator.market.types import Decision, Index
from allocator.program.build import Program
from allocator.program.coefficients import COST
from models.arrays import Vector

SOLVER = "CLARABEL"
_OPTIONS: Mapping[str, Mapping[str, float]] = {
    "CLARABEL": {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10},
}
_CERTIFICATE_SHARE = 1e-6  # smaller weights in a certificate are noise


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
    except cp.error.SolverError as error:
        raise SolverFailed(f"{solver}: {error}") from error
    if problem.status in (cp.INFEASIBLE, cp.INFEASIBLE_INACCURATE):
        conflict = _conflict(program)
        names = (
            ", ".join(f"{m.name} ({m.subject})" for m in conflict[:4]) or "no limit is named by the solver"
        )
        raise Infeasible(f"no positions satisfy all limits; in conflict: {names}", conflict)
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
    """Duals of each limit's rows by name; rows of one name follow each other."""
    found: dict[str, list[Vector]] = {}
    for row in program.limits:
        dual = np.atleast_1d(np.asarray(row.constraint.dual_value, dtype=float))
        found.setdefault(row.rows.name, []).append(np.maximum(dual, 0.0))
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


def _conflict(program: Program) -> list[ConflictMember]:
    """Limits by their weight in the Farkas certificate, heaviest first."""
    members: list[ConflictMember] = []
    for row in program.limits:
        if row.constraint.dual_value is None:
            continue
        weights = np.atleast_1d(np.asarray(row.constraint.dual_value, dtype=float))
        members += [
            ConflictMember(row.rows.name, subject, row.rows.source, float(weight))
            for subject, weight in zip(row.rows.subjects, weights, strict=True)
        ]
    n = len(program.market.instruments)
    sides: tuple[tuple[Literal["lower", "upper"], cp.Constraint | None, Index], ...] = (
        ("lower", program.lower, program.shape.boxed_below),
        ("upper", program.upper, program.shape.boxed_above),
    )
    for side, constraint, where in sides:
        weights = _spread(constraint, where, n)
        for i in np.flatnonzero(weights > 0):
            box = box_owner(program.market, int(i), side)
            key = program.market.instruments[i].key
            members.append(ConflictMember(box.name, f"{key} {side}", box.source, float(weights[i])))
    heaviest = max((m.certificate for m in members), default=0.0)
    kept = [m for m in members if m.certificate > _CERTIFICATE_SHARE * heaviest > 0]
    return sorted(kept, key=lambda m: -m.certificate)
