"""Markets of few structures solved at solver speed: each structure is compiled once, its numbers put in.

Which numbers vary is found by looking: whatever differs between the markets met so far is a parameter of the
compiled program, all else a constant. The plain path (`allocator.program.solve`) stays the reference: it
judges every cell that does not end optimal and audited here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from allocator.audit import Audit, audit
from allocator.errors import AuditFailed, HedgeError
from allocator.market.types import Market
from allocator.program.backends import Backend, backend, fastest
from allocator.program.build import Program, numbers
from allocator.program.coefficients import Structure, same_structure, structure
from allocator.program.parametric import Cell, Parametric
from allocator.program.solve import Solution, solve
from models.arrays import Vector

_PROGRAMS = 8  # structures kept compiled at once


@dataclass(frozen=True)
class Answer:
    """An audited optimum."""

    solution: Solution
    audit: Audit


@dataclass(frozen=True)
class _Met:
    """A market with its place in the batch, its structure and its numbers."""

    place: int
    market: Market
    shape: Structure
    numbers: Mapping[str, Vector]

    def like(self, shape: Structure, values: Mapping[str, Vector]) -> bool:
        """Whether one program can hold both, were the right numbers its parameters."""
        return (
            self.numbers.keys() == values.keys()
            and all(np.shape(self.numbers[name]) == np.shape(value) for name, value in values.items())
            and same_structure(self.shape, shape)
        )


@dataclass(frozen=True)
class _Compiled:
    """A program, its parametric form, the solver's memory, and what varies in it."""

    program: Program
    form: Parametric
    solver: Backend
    vary: frozenset[str]


class Solver:
    """Keeps compiled programs between batches. `name` is PIQP or CLARABEL; None takes the faster one."""

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        self._compiled: list[_Compiled] = []

    def solve(self, markets: Sequence[Market]) -> list[Answer | HedgeError]:
        """An answer or the reason why there is none, for each market."""
        answers: dict[int, Answer | HedgeError] = {}
        for group in _groups(markets):
            compiled = self._for(group)
            try:
                data = compiled.form.data([met.numbers for met in group])
            except ValueError:
                # Numbers of some cell overflow; the plain path says of each what becomes of it.
                answers |= {met.place: plainly(compiled.program, met.market) for met in group}
                continue
            for met, cell, constant in zip(group, data.cells(), data.d.tolist(), strict=True):
                answers[met.place] = _answer(compiled, met, cell, constant)
        return [answers[place] for place in range(len(markets))]

    def _for(self, group: Sequence[_Met]) -> _Compiled:
        """The program of this group's structure, compiled anew where more varies than is a parameter."""
        first = group[0]
        known = next((c for c in self._compiled if first.like(c.program.shape, c.program.slots.values)), None)
        base = first.numbers if known is None else known.program.slots.values
        varying = {
            name for met in group for name in base if not np.array_equal(met.numbers[name], base[name])
        }
        if known is not None:
            self._compiled.remove(known)
            needed = varying - known.vary
            if not needed & known.program.slots.constants:
                self._compiled.append(known)
                return known
            varying |= known.vary
        compiled = _compile(first.market, frozenset(varying), self._name)
        self._compiled = [*self._compiled[-(_PROGRAMS - 1) :], compiled]
        return compiled


def _groups(markets: Sequence[Market]) -> list[list[_Met]]:
    """Markets of one structure together."""
    groups: list[list[_Met]] = []
    for place, market in enumerate(markets):
        shape = structure(market)
        met = _Met(place, market, shape, numbers(market, shape))
        same = next((group for group in groups if met.like(group[0].shape, group[0].numbers)), None)
        if same is None:
            groups.append([met])
        else:
            same.append(met)
    return groups


def _compile(market: Market, vary: frozenset[str], name: str | None) -> _Compiled:
    program = Program(market, vary)
    form = Parametric(program)
    # A named solver that does not take cones leaves them to the one that does.
    chosen = fastest(form) if name is None or form.cones.second_order else name
    return _Compiled(program, form, backend(form, chosen), vary)


def _answer(compiled: _Compiled, met: _Met, cell: Cell, constant: float) -> Answer | HedgeError:
    point = compiled.solver.solve(cell, constant)
    if point is not None:
        solution = compiled.form.read(met.market, point)
        judged = audit(met.market, solution.decision, solution.multipliers.limits)
        if judged.passed:
            return Answer(solution, judged)
    return plainly(compiled.program, met.market)


def plainly(program: Program, market: Market) -> Answer | HedgeError:
    """The answer of the plain path: CVXPY's own data, Clarabel's settings in turn, certificates."""
    try:
        program.update(market)
        solution = solve(program)
    except HedgeError as error:
        return error
    judged = audit(market, solution.decision, solution.multipliers.limits)
    if judged.passed:
        return Answer(solution, judged)
    check = judged.permitted
    return AuditFailed(
        f"the solution breaches {check.worst_limit or 'nothing'} by ${check.max_violation_usd:,.2f} "
        f"and may miss the optimum by ${judged.duality_gap_usd:,.4f}"
    )
