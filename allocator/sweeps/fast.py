"""Markets of few structures solved at solver speed: each structure is compiled once, its numbers put in.

Which numbers vary is found by looking: whatever differs between the markets met so far is a parameter of the
compiled program, all else a constant. The plain path (`allocator.program.solve`) stays the reference: it
judges every cell that does not end optimal and audited here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from allocator.audit import Audit, audit
from allocator.audit.block import BlockAudit, DifferentRows, alike, audit_block, evaluable
from allocator.audited import audited
from allocator.errors import HedgeError
from allocator.market.types import Market
from allocator.program.backends import Backend, backend, fastest
from allocator.program.build import Program, numbers
from allocator.program.coefficients import Structure, same_structure, structure
from allocator.program.parametric import Parametric, Point, Solutions
from allocator.program.parts import Parts
from allocator.program.solve import Solution
from models.arrays import Vector

_PROGRAMS = 8  # structures kept compiled at once
_BLOCK = 32  # cells that are mapped, read and audited together: what they need stays in the processor's cache


@dataclass(frozen=True)
class Judged:
    """Solved and audited cells of one block, in arrays with the cells as leading axis."""

    solutions: Solutions
    audit: BlockAudit


class Answer:
    """An audited optimum; of those that were judged together the `place`-th, stated when it is asked for."""

    def __init__(
        self, stated: tuple[Solution, Audit] | None, judged: Judged | None = None, place: int = 0
    ) -> None:
        assert (stated is None) != (judged is None)
        self.judged, self.place, self._stated = judged, place, stated

    @cached_property
    def solution(self) -> Solution:
        """The decision with its multipliers."""
        return self.judged.solutions.cell(self.place) if self.judged else self._alone[0]

    @cached_property
    def audit(self) -> Audit:
        """What the audit says of it."""
        return self.judged.audit.cell(self.place) if self.judged else self._alone[1]

    @property
    def _alone(self) -> tuple[Solution, Audit]:
        assert self._stated is not None
        return self._stated


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
            and all(np.shape(mine) == np.shape(theirs) for _, mine, theirs in _other(self.numbers, values))
            and same_structure(self.shape, shape)
        )


def _other(one: Mapping[str, Vector], two: Mapping[str, Vector]) -> list[tuple[str, Vector, Vector]]:
    """Numbers of the same names that are not one and the same array."""
    if list(one) != list(two):
        two = {name: two[name] for name in one}
    pairs = zip(one.items(), two.values(), strict=True)
    return [(name, mine, theirs) for (name, mine), theirs in pairs if mine is not theirs]


@dataclass(frozen=True)
class _Compiled:
    """A program, its parametric form, the solver's memory, the numbers it was compiled with, what varies."""

    program: Program
    base: Mapping[str, Vector]
    form: Parametric
    solver: Backend
    vary: frozenset[str]


class Solver:
    """Keeps compiled programs between batches. `name` is PIQP or CLARABEL; None takes the faster one.

    A solver scales its rows by the first numbers it meets. With `afresh` these are the first of each batch,
    so that answers do not depend on the batches before.
    """

    def __init__(self, name: str | None = None, afresh: bool = False) -> None:
        self._name, self._afresh = name, afresh
        self._compiled: list[_Compiled] = []
        self._parts = Parts(_PROGRAMS)

    def solve(self, markets: Sequence[Market]) -> list[Answer | HedgeError]:
        """An answer or the reason why there is none, for each market."""
        answers: dict[int, Answer | HedgeError] = {}
        for group in _groups(markets, self._parts):
            compiled = self._for(group)
            if self._afresh:
                compiled = replace(compiled, solver=compiled.solver.renewed())
            for start in range(0, len(group), _BLOCK):
                answers |= _answers(compiled, group[start : start + _BLOCK])
        return [answers[place] for place in range(len(markets))]

    def _for(self, group: Sequence[_Met]) -> _Compiled:
        """The program of this group's structure, compiled anew where more varies than is a parameter."""
        first = group[0]
        known = next((c for c in self._compiled if first.like(c.program.shape, c.program.slots.values)), None)
        base = first.numbers if known is None else known.base
        varying: set[str] = set()
        for met in group:
            for name, mine, theirs in _other(met.numbers, base):
                if name not in varying and not np.array_equal(mine, theirs):
                    varying.add(name)
        if known is not None:
            self._compiled.remove(known)
            needed = varying - known.vary
            if not needed & known.program.slots.constants:
                self._compiled.append(known)
                return known
            varying |= known.vary
        compiled = _compile(first, frozenset(varying), self._name)
        self._compiled = [*self._compiled[-(_PROGRAMS - 1) :], compiled]
        return compiled


def _groups(markets: Sequence[Market], parts: Parts) -> list[list[_Met]]:
    """Markets of one structure together."""
    groups: list[list[_Met]] = []
    for place, market in enumerate(markets):
        shape = structure(market, parts)
        met = _Met(place, market, shape, numbers(market, shape, parts))
        same = next((group for group in groups if met.like(group[0].shape, group[0].numbers)), None)
        if same is None:
            groups.append([met])
        else:
            same.append(met)
    return groups


def _compile(met: _Met, vary: frozenset[str], name: str | None) -> _Compiled:
    program = Program(met.market, vary)
    form = Parametric(program)
    # A named solver that does not take cones leaves them to the one that does.
    chosen = fastest(form) if name is None or form.cones.second_order else name
    return _Compiled(program, met.numbers, form, backend(form, chosen), vary)


def _answers(compiled: _Compiled, group: Sequence[_Met]) -> dict[int, Answer | HedgeError]:
    """Answers by place; the plain path has the word on every cell that is not optimal and audited here."""
    points: list[tuple[_Met, Point]] = []
    try:
        data = compiled.form.data([met.numbers for met in group])
    except ValueError:  # numbers of some cell overflow; the plain path says what becomes of each
        return {met.place: plainly(compiled.program, met.market) for met in group}
    for met, cell, constant in zip(group, data.cells(), data.d.tolist(), strict=True):
        point = compiled.solver.solve(cell, constant)
        if point is not None and np.isfinite(point.x).all():
            points.append((met, point))
    answers: dict[int, Answer | HedgeError] = {}
    if points:
        markets = [met.market for met, _ in points]
        found = _judge(markets, compiled.form.read_all(markets, [point for _, point in points]))
        answers = {met.place: answer for (met, _), answer in zip(points, found, strict=True) if answer}
    for met in group:
        if met.place not in answers:
            answers[met.place] = plainly(compiled.program, met.market)
    return answers


def _judge(markets: Sequence[Market], found: Solutions) -> list[Answer | None]:
    """Answers that pass the audit: of all cells at once where the audit has formulas for that."""
    if evaluable(markets[0]) and all(alike(markets[0], market) for market in markets):
        with suppress(DifferentRows):
            judged = Judged(found, audit_block(markets, found.positions, found.transfers, found.prices))
            passed = judged.audit.passed.tolist()
            return [Answer(None, judged, k) if passed[k] else None for k in range(len(markets))]
    answers: list[Answer | None] = []
    for k, market in enumerate(markets):
        solution = found.cell(k)
        single = audit(market, solution.decision, solution.multipliers.limits)
        answers.append(Answer((solution, single)) if single.passed else None)
    return answers


def plainly(program: Program, market: Market) -> Answer | HedgeError:
    """The answer of the plain path: CVXPY's own data, Clarabel's settings in turn, certificates."""
    try:
        program.update(market)
        return Answer(audited(program))
    except HedgeError as error:
        return error
