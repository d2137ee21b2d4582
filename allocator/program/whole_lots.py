"""The exact program of a small book: the convex one, with whole lots, counts, fixed costs and true tiers.

The convex program is taken as it is, on the relaxed market (`allocator.market.relaxation`); integers add what
it leaves out. SCIP solves it with all its cones; HiGHS where nothing but the risk is curved: the variance
is then cut from below by tangents at each answer until the answers meet it (outer approximation: Duran and
Grossmann, Mathematical Programming 36, 1986). Either way `bound_usd` is the solver's word, unaudited.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from allocator.errors import SolverFailed
from allocator.evaluate import objective_weights
from allocator.market.relaxation import relaxed
from allocator.market.types import Market
from allocator.program.build import Program
from allocator.program.coefficients import COST, incidence
from allocator.trading import Choices
from models.arrays import IntVector, Vector

Solver = Literal["highs", "scip"]

_FINE = 100_000  # more lots than this in a range are as good as any fraction of one
_TANGENT_ROUNDS = 60
_OPEN = 1e-5  # of the objective: a bound within it proves
_CLOSE = 1e-5  # of the objective's curved part: the tangents meet the variance
_STARTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)  # times the convex answer's factors: the first tangents


@dataclass(frozen=True)
class WholeLots:
    """Trades in lots (n,), transfers in USD (R,), the objective in USD, a bound below it, if they meet."""

    trades: IntVector
    transfers: Vector
    objective_usd: float
    bound_usd: float
    proven: bool


@dataclass(frozen=True)
class _Trades:
    """Variables of all ranges laid end to end: which instrument each is of, lots, and whether it is used."""

    owner: IntVector
    used: cp.Variable
    lots: cp.Expression
    orders: Vector


class NoWholeLots(SolverFailed):
    """The solver proved that no whole-lot decision keeps every limit."""


def solve_whole_lots(
    market: Market, choices: Choices, solver: Solver, nodes: int, seconds: float | None = None
) -> WholeLots:
    """The best whole-lot decision that the solver finds within its nodes.

    Raises `NoWholeLots` where it proves that none exists, `SolverFailed` where it finds none or is missing.
    """
    program = Program(relaxed(market))
    trades, rows = _trades(program, choices)
    made, more = _transfers(program, choices)
    rows += [*more, *_counts(market, choices, trades), *_tiers(program, market)]
    fixed = _fixed(program, choices, trades, made)
    answer = _by_scip if solver == "scip" else _by_highs
    value, bound, proven = answer(program, rows, fixed, (nodes, seconds))
    lots = np.bincount(trades.owner, weights=np.asarray(trades.lots.value), minlength=len(choices.ranges))
    sent = program.variables.transfers.value if market.transfers.routes else np.zeros(0)
    unit = market.book_usd * COST
    return WholeLots(
        trades=np.rint(lots).astype(np.int64),
        transfers=np.maximum(np.asarray(sent, dtype=float), 0.0) * market.book_usd,
        objective_usd=value * unit,
        bound_usd=min(bound, value) * unit,
        proven=proven,
    )


def _trades(program: Program, choices: Choices) -> tuple[_Trades, list[cp.Constraint]]:
    """x = x⁰ + lots, in one range per instrument at most, or none of them."""
    flat = [(i, each) for i, ranges in enumerate(choices.ranges) for each in ranges]
    owner = np.array([i for i, _ in flat], dtype=np.int64)
    least, most = (np.array([getattr(r, name) for _, r in flat], dtype=float) for name in ("least", "most"))
    n, book = len(choices.ranges), program.market.book_usd
    used = cp.Variable(len(flat), boolean=True, name="used")
    fine = most - least > _FINE
    parts: list[cp.Expression] = [np.zeros(len(flat))]
    for chosen, whole in ((np.flatnonzero(~fine), True), (np.flatnonzero(fine), False)):
        if len(chosen):
            spread = sp.csr_array(
                (np.ones(len(chosen)), (chosen, np.arange(len(chosen)))), (len(flat), len(chosen))
            )
            parts.append(spread @ cp.Variable(len(chosen), integer=whole, name=f"lots_{whole}"))
    lots = sum(parts[1:], parts[0])
    by_instrument = incidence(owner, n)
    x = program.variables.positions
    moved = cp.multiply(choices.lot_usd[owner] / book, lots) + cp.multiply(
        choices.offset_usd[owner] / book, used
    )
    rows = [
        x == program.market.positions.usd / book + by_instrument @ moved,
        lots >= cp.multiply(least, used),
        lots <= cp.multiply(most, used),
        by_instrument @ used <= 1,
    ]
    orders = np.array([each.orders for _, each in flat], dtype=float)
    return _Trades(owner, used, lots, orders), rows


def _transfers(program: Program, choices: Choices) -> tuple[cp.Variable | None, list[cp.Constraint]]:
    """Which transfers are made, where that costs something."""
    market = program.market
    if not choices.rules.transfer_usd.any():
        return None, []
    source = np.array([route.source for route in market.transfers.routes], dtype=np.int64)
    most = market.collateral.withdrawable[source] / market.book_usd
    made = cp.Variable(len(source), boolean=True, name="made")
    return made, [program.variables.transfers <= cp.multiply(most, made)]


def _counts(market: Market, choices: Choices, trades: _Trades) -> list[cp.Constraint]:
    rules, rows = choices.rules, []
    if rules.max_orders is not None:
        rows.append(trades.orders @ trades.used <= rules.max_orders)
    if rules.max_venues is not None:
        active = cp.Variable(len(market.accounts), boolean=True, name="active")
        rows += [trades.used <= active[market.venue_of[trades.owner]], cp.sum(active) <= rules.max_venues]
    return rows


def _tiers(program: Program, market: Market) -> list[cp.Constraint]:
    """The rate of the tier that holds the whole position: beyond a cap, the next tier's on all of it."""
    scheme, book = market.scheme, market.book_usd
    variables = {v.name(): v for v in program.problem.variables()}
    asked = {
        s: variables[f"maintenance_{s}"]
        for s in range(len(market.stresses.names))
        if f"maintenance_{s}" in variables
    }
    rows: list[cp.Constraint] = []
    for i in np.flatnonzero(scheme.whole_position).tolist():
        floors = scheme.tiers.floors_usd[i]
        caps = floors[1:][np.isfinite(floors[1:])] / book
        if not len(caps):
            continue
        rates = scheme.tiers.rates[i, 1 : len(caps) + 1]
        far = max(abs(float(market.lower[i])), abs(float(market.upper[i]))) / book
        last = max(min(far, 10.0), 2.0 * float(caps[-1]))
        beyond = cp.Variable(len(caps), boolean=True, name=f"beyond_{i}")
        size = program.variables.size[i]
        rows.append(size <= caps[0] + np.diff(np.append(caps, last)) @ beyond)
        if len(caps) > 1:
            rows.append(beyond[1:] <= beyond[:-1])
        for s, margin in asked.items():
            scale = market.stresses.notional[s, i] * rates
            # Not beyond a cap, the size is at most that cap and the row asks for nothing.
            rows.append(margin[i] >= cp.multiply(scale, size - cp.multiply(caps, 1 - beyond)))
    return rows


def _fixed(program: Program, choices: Choices, trades: _Trades, made: cp.Variable | None) -> cp.Expression:
    """Fixed costs in the program's unit of the objective."""
    market, rules = program.market, choices.rules
    unit = objective_weights(market)[1] * market.horizon_share / (market.book_usd * COST)
    total = unit * (rules.order_usd[trades.owner] * trades.orders) @ trades.used
    return total if made is None else total + unit * rules.transfer_usd @ made


def _by_scip(
    program: Program, rows: list[cp.Constraint], fixed: cp.Expression, effort: tuple[int, float | None]
) -> tuple[float, float, bool]:
    """Value, lower bound (both in the program's unit), and whether they meet."""
    if "SCIP" not in cp.installed_solvers():
        raise SolverFailed("orders.whole_lots: scip needs PySCIPOpt; pip install 'hedge-allocator[scip]'")
    whole = cp.Problem(
        cp.Minimize(program.problem.objective.expr + fixed), [*program.problem.constraints, *rows]
    )
    nodes, seconds = effort
    limits: dict[str, float] = {"limits/nodes": nodes, "limits/gap": 1e-6, "numerics/feastol": 1e-7}
    if seconds is not None:
        limits["limits/time"] = seconds
    _run(whole, partial(whole.solve, solver="SCIP", enforce_dpp=True, scip_params=limits))
    model = whole.solver_stats.extra_stats["model"]
    value = float(whole.objective.value)
    missing = max(float(model.getPrimalbound()) - float(model.getDualbound()), 0.0)
    return value, value - missing, _proven(value, value - missing)


def _by_highs(
    program: Program, rows: list[cp.Constraint], fixed: cp.Expression, effort: tuple[int, float | None]
) -> tuple[float, float, bool]:
    """The same by mixed-integer linear programs, whose tangents to the variance grow in number."""
    program.problem.solve(solver="CLARABEL", enforce_dpp=True)
    curved, linear = program.split()
    factors = cp.hstack(program.variables.factors)
    heights = cp.Variable(factors.size, name="heights")
    objective = curved * cp.sum(heights) + linear + fixed
    tangents = [heights >= 0, *(_tangent(factors, heights, scale * _values(factors)) for scale in _STARTS)]
    bound = -np.inf
    for _ in range(_TANGENT_ROUNDS):
        problem = cp.Problem(cp.Minimize(objective), [*program.problem.constraints, *rows, *tangents])
        if not problem.is_lp():
            raise SolverFailed(
                "orders.whole_lots: highs solves programs whose only curve is the risk; "
                "this one has others, write `scip` or `rounding`"
            )
        options: dict[str, float] = {"mip_rel_gap": 1e-7, "mip_max_nodes": effort[0]}
        if effort[1] is not None:
            options["time_limit"] = effort[1]
        _run(problem, partial(problem.solve, solver="HIGHS", **options))
        found = float(problem.value)
        at = _values(factors)
        risk = curved * 0.5 * float(at @ at)
        missing = risk - curved * float(np.sum(heights.value))
        if problem.status != cp.OPTIMAL:
            # Stopped by its nodes: what it found counts, a bound it is not.
            return found + missing, -np.inf, False
        bound = max(bound, found)
        # The solver's own tolerance may keep a tangent from touching: then what is left open counts.
        if missing <= _CLOSE * max(risk, 1e-3) or _proven(found + missing, bound):
            return found + missing, bound, True
        tangents.append(_tangent(factors, heights, at))
    return found + missing, bound, False


def _proven(value: float, bound: float) -> bool:
    return value - bound <= _OPEN * max(abs(value), 1.0)


def _tangent(factors: cp.Expression, heights: cp.Variable, at: Vector) -> cp.Constraint:
    """½g² ≥ ĝ·g − ½ĝ²."""
    return heights >= cp.multiply(at, factors) - 0.5 * at**2


def _values(factors: cp.Expression) -> Vector:
    return np.asarray(factors.value, dtype=float)


def _run(problem: cp.Problem, solve: Callable[[], object]) -> None:
    """Solve; raise where nothing was found."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Solution may be inaccurate", category=UserWarning)
            solve()
    except cp.error.SolverError as error:
        raise SolverFailed(f"whole lots: {error}") from error
    if problem.status == cp.INFEASIBLE:
        raise NoWholeLots("no whole-lot decision keeps every limit: proven by the integer program")
    if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE, cp.USER_LIMIT) or problem.value is None:
        raise SolverFailed(f"whole lots: the solver ended with status {problem.status}")
