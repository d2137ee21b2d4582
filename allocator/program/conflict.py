"""Which limits cannot hold together: the prices of the least breach that would let all others hold.

Every hard limit may be breached at one price per unit of the book. What the least total breach leaves binding
is in conflict; its multipliers are a certificate that no positions satisfy them (Farkas), and a limit with
room to spare has none. A certificate from the solver itself weighs limits that have nothing to do with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from allocator.errors import ConflictMember
from allocator.market.boxes import box_owner
from allocator.program.build import Program
from models.arrays import Vector

_SHARE = 1e-4  # of the heaviest weight: below is what an interior-point solver leaves of zero
_BREACH = 1e-9  # of the book: a smaller least breach is none


@dataclass(frozen=True)
class _Elastic:
    """A limit that may be breached, and whom to name: (name, subject, source) for each row."""

    constraint: cp.Constraint
    breach: cp.Variable
    names: list[tuple[str, str, str]]


def conflict(program: Program, solver: str) -> list[ConflictMember]:
    """Limits by their weight in the certificate, heaviest first; none if the solver cannot tell."""
    elastic = [*_limits(program), *_boxes(program)]
    named = {id(row.constraint) for row in program.limits} | {id(program.lower), id(program.upper)}
    rest = [c for c in program.problem.constraints if id(c) not in named]
    least = cp.Problem(
        cp.Minimize(sum(cp.sum(e.breach) for e in elastic)), [*rest, *(e.constraint for e in elastic)]
    )
    try:
        least.solve(solver=solver)
    except cp.error.SolverError:
        return []
    if least.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE) or least.value < _BREACH:
        return []
    members = [
        ConflictMember(*name, certificate=float(weight))
        for e in elastic
        for name, weight in zip(e.names, _weights(e.constraint), strict=True)
    ]
    heaviest = max((m.certificate for m in members), default=0.0)
    return sorted((m for m in members if m.certificate > _SHARE * heaviest), key=lambda m: -m.certificate)


def _weights(constraint: cp.Constraint) -> Vector:
    return np.atleast_1d(np.asarray(constraint.dual_value, dtype=float))


def _limits(program: Program) -> list[_Elastic]:
    found = []
    for row in program.limits:
        if row.breach is None:
            rows = row.rows
            breach = cp.Variable(rows.value.shape, nonneg=True)
            names = [(rows.name, subject, rows.source) for subject in rows.subjects]
            found.append(_Elastic(rows.value <= rows.bound + breach, breach, names))
    return found


def _boxes(program: Program) -> list[_Elastic]:
    x, slots, market = program.variables.positions, program.slots, program.market
    below, above = program.shape.boxed_below, program.shape.boxed_above
    found = []
    if len(below):
        breach = cp.Variable(len(below), nonneg=True)
        boxes = [(i, "lower", box_owner(market, int(i), "lower")) for i in below]
        names = [(box.name, f"{market.instruments[i].key} {side}", box.source) for i, side, box in boxes]
        found.append(_Elastic(slots("box.lower") - breach <= x[below], breach, names))
    if len(above):
        breach = cp.Variable(len(above), nonneg=True)
        boxes = [(i, "upper", box_owner(market, int(i), "upper")) for i in above]
        names = [(box.name, f"{market.instruments[i].key} {side}", box.source) for i, side, box in boxes]
        found.append(_Elastic(x[above] <= slots("box.upper") + breach, breach, names))
    return found
