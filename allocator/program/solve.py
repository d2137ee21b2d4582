"""Solve a program: status, decision, multipliers in dollars, or the certificate of infeasibility."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from allocator.errors import Infeasible, SolverFailed
from allocator.market.types import Decision, Index, Market
from allocator.program.build import Program
from allocator.program.coefficients import COST
from allocator.program.conflict import conflict
from models.arrays import Vector

SOLVER = "CLARABEL"
_TIGHT: Mapping[str, float] = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
# Where rounding errors stop Clarabel (about one random problem in a thousand), it is asked again to go in
# smaller steps, then on the problem as it is, unequilibrated: the same solver, another path.
_OPTIONS: Mapping[str, tuple[Mapping[str, float], ...]] = {
    "CLARABEL": (_TIGHT, {**_TIGHT, "max_step_fraction": 0.9}, {**_TIGHT, "equilibrate_enable": False}),
    "QOCO": ({"abstol": 1e-8, "reltol": 1e-8, "max_iters": 500},),
    "PIQP": (
        {"eps_abs": 1e-10, "eps_rel": 1e-10, "eps_duality_gap_abs": 1e-10, "eps_duality_gap_rel": 1e-10},
    ),
}
# Multipliers, in bp of the book per book, are some tens where costs decide (over a thousand in three of a
# hundred random problems). Where risk does that margin keeps a large book from hedging, or a dear breach,
# they are millions, and the solver's rounding errors, which grow with them, leave breaches far above
# tolerance. Then the objective is stated in a larger unit ...
_DEAR = 1e3
# ... near the multipliers, yet so that the solver's absolute tolerance stays far below the objective.
_UNIT = 1e2
_UNITS = (1e1, 1e2, 1e4)
_BREACH = 1e-9  # books: smaller ones are far below what the audit permits
_FAR = 1e3  # books: where an unbounded program is stopped to see which positions run away
_OPTIMAL = (cp.OPTIMAL, cp.OPTIMAL_INACCURATE)
_JUDGED = (*_OPTIMAL, cp.INFEASIBLE, cp.INFEASIBLE_INACCURATE)


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


def solve(program: Program, solver: str = SOLVER, conflicts: bool = True) -> Solution:
    """Solve; raise `Infeasible` with its conflict, or `SolverFailed`.

    Without `conflicts` the solver's word is taken, and no conflict looked for.
    """
    problem, unit = program.problem, 1.0
    attempt(problem, solver)
    if problem.status in _OPTIMAL and (larger := _larger_unit(problem)) > 1 and _breach(problem) > _BREACH:
        problem, unit = _restated(problem, solver, larger)
    if problem.status in (cp.INFEASIBLE, cp.INFEASIBLE_INACCURATE):
        found = conflict(program.market, solver, attempt) if conflicts else []
        names = ", ".join(dict.fromkeys(f"{m.name} ({m.subject})" for m in found[:4]))
        more = f" and {len(found) - 4} more" if len(found) > 4 else ""
        raise Infeasible(f"no positions satisfy all limits; in conflict: {names}{more}", found)
    if problem.status in (cp.UNBOUNDED, cp.UNBOUNDED_INACCURATE):
        raise SolverFailed(
            f"the objective falls without end: {_runaways(program, solver)} earn more than they risk and no "
            "limit bounds them; add a limit such as `gross`, `position` or `hedge_side`"
        )
    if problem.status not in _OPTIMAL:
        raise SolverFailed(f"{solver} ended with status {problem.status}")
    return read(program, program.market, _solved(problem, unit))


def answers(program: Program, conflicts: bool = True) -> Iterator[Solution]:
    """The optimum, then the same optimum along other ways of the same solver, for who finds it inexact.

    On the problem as it is, unequilibrated; in smaller steps; with the objective in larger units. An account
    of some dollars in a book of millions is what makes ways differ: of 381 random ones 17 ended inexact on
    the first, none on all. Raises as `solve`.
    """
    yield solve(program, conflicts=conflicts)
    whole, *others = _OPTIONS[SOLVER]
    ways = [(program.problem, 1.0, options) for options in reversed(others)]
    for unit in _UNITS:
        divided = _divided(program.problem, unit)
        ways += [(divided, unit, options) for options in (whole, *others)]
    for problem, unit, options in ways:
        with suppress(SolverFailed):
            attempt(problem, SOLVER, [options])
            if problem.status in _OPTIMAL:
                yield read(program, program.market, _solved(problem, unit))


def _divided(problem: cp.Problem, unit: float) -> cp.Problem:
    """The same problem with its objective in another unit."""
    return cp.Problem(cp.Minimize(problem.objective.expr / unit), problem.constraints)


def _larger_unit(problem: cp.Problem) -> float:
    """The power of ten, in bp of the book, to divide an objective by; one where that would not help."""
    dearest = max((_size(row.dual_value) for row in problem.constraints), default=0.0)
    if dearest <= _DEAR:
        return 1.0
    unit = min(dearest, _UNIT * abs(problem.value))
    return float(10 ** np.ceil(np.log10(unit))) if unit > 1 else 1.0


def _breach(problem: cp.Problem) -> float:
    """How far the furthest row is from being kept, in the program's units: books, for all that is a limit."""
    return max((float(np.max(row.violation(), initial=0.0)) for row in problem.constraints), default=0.0)


def _size(dual: object) -> float:
    """The largest |multiplier| of one constraint; those of a cone come in parts."""
    parts = dual if isinstance(dual, list) else [dual]
    sizes = [np.abs(np.asarray(part, dtype=float)) for part in parts if part is not None]
    return max((float(np.max(size, initial=0.0)) for size in sizes), default=0.0)


def _restated(problem: cp.Problem, solver: str, unit: float) -> tuple[cp.Problem, float]:
    """The same optimum with the objective divided by `unit`, and that unit.

    Where that ends worse: the problem itself, solved again, with unit one.
    """
    larger = _divided(problem, unit)
    try:
        attempt(larger, solver)
    except SolverFailed:
        pass  # The first verdict stands.
    else:
        if larger.status in (cp.OPTIMAL, problem.status):
            return larger, unit
    attempt(problem, solver)
    return problem, 1.0


def _runaways(program: Program, solver: str) -> str:
    """The positions that an unbounded program drives as far as it is let, the furthest first."""
    x = program.variables.positions
    far = cp.Problem(program.problem.objective, [*program.problem.constraints, cp.abs(x) <= _FAR])
    attempt(far, solver)
    if x.value is None:
        return "some positions"
    order = [i for i in np.argsort(-np.abs(x.value)) if abs(x.value[i]) > _FAR / 10]
    named = [f"{program.market.instruments[i].key} {'long' if x.value[i] > 0 else 'short'}" for i in order]
    return ", ".join(named[:4]) or "some positions"


def attempt(problem: cp.Problem, solver: str, settings: Sequence[Mapping[str, float]] | None = None) -> None:
    """Solve with each of these settings, or the solver's own, in turn until it reaches a verdict."""
    failure: Exception | None = None
    for options in _OPTIONS.get(solver, ({},)) if settings is None else settings:
        try:
            with warnings.catch_warnings():
                # An inaccurate status is judged below and by the audit, not by a warning. Nothing is kept of
                # what was solved before: CVXPY would keep its scaling, and settings that are not named here.
                warnings.filterwarnings("ignore", message="Solution may be inaccurate", category=UserWarning)
                problem.solve(solver=solver, warm_start=False, enforce_dpp=True, **options)
        except (cp.error.SolverError, ValueError) as error:
            # CVXPY raises ValueError where numbers overflow on their way to the solver.
            failure = error
            continue
        failure = None
        if problem.status in _JUDGED:
            return
    if failure is not None:
        raise SolverFailed(f"{solver}: {failure}") from failure


@dataclass(frozen=True)
class Values:
    """Where to read an optimum from: values of variables and duals of constraints, in program units."""

    value: Callable[[cp.Variable], Vector]
    dual: Callable[[cp.Constraint], Vector]
    objective: float
    solver: str
    iterations: int


def _solved(problem: cp.Problem, unit: float) -> Values:
    """The optimum that CVXPY put into variables and constraints; the objective was divided by `unit`."""
    stats = problem.solver_stats
    return Values(
        value=lambda variable: np.asarray(variable.value, dtype=float),
        dual=lambda row: unit * np.asarray(0.0 if row.dual_value is None else row.dual_value, dtype=float),
        objective=unit * float(problem.value),
        solver=stats.solver_name,
        iterations=int(stats.num_iters or 0),
    )


def read(program: Program, market: Market, found: Values) -> Solution:
    """An optimum in USD; `market` is the one whose numbers were solved."""
    book, v, n = market.book_usd, program.variables, len(market.instruments)
    sent = found.value(v.transfers).ravel() if market.transfers.routes else np.zeros(0)
    return Solution(
        decision=Decision(found.value(v.positions) * book, np.maximum(sent, 0.0) * book),
        multipliers=Multipliers(
            limits={name: value * COST for name, value in _duals(program, found).items()},
            lower=_spread(program.lower, found, program.shape.boxed_below, n) * COST,
            upper=_spread(program.upper, found, program.shape.boxed_above, n) * COST,
        ),
        breaches=_breaches(program, book, found),
        objective_usd=found.objective * book * COST,
        solver=found.solver,
        iterations=found.iterations,
    )


def _duals(program: Program, found: Values) -> dict[str, Vector]:
    """Duals of each limit's rows by name, in order; and of the pieces of margin groups and pockets."""
    by_name: dict[str, list[Vector]] = {}
    for row in program.limits:
        dual = np.atleast_1d(found.dual(row.constraint))
        by_name.setdefault(row.rows.name, []).append(np.maximum(dual, 0.0))
    for name, rows in program.pieces.items():
        by_name[name] = [np.maximum(np.ravel(found.dual(row)), 0.0) for row in rows]
    return {name: np.concatenate(parts) for name, parts in by_name.items()}


def _breaches(program: Program, book: float, found: Values) -> dict[str, Vector]:
    by_name: dict[str, list[Vector]] = {}
    for row in program.limits:
        if row.breach is not None:
            by_name.setdefault(row.rows.name, []).append(np.atleast_1d(found.value(row.breach)) * book)
    return {name: np.concatenate(parts) for name, parts in by_name.items()}


def _spread(constraint: cp.Constraint | None, found: Values, where: Index, n: int) -> Vector:
    result = np.zeros(n)
    if constraint is not None:
        result[where] = np.maximum(found.dual(constraint), 0.0)
    return result
