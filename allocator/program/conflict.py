"""Which limits cannot hold together: a certificate, confirmed, and reduced until no member can be spared.

Every limit may be breached at a price per unit of the book. The least priced breach is zero exactly when the
limits that are priced in full can hold together; its multipliers weigh those that cannot (Farkas), and a
limit with room to spare has none. A deletion filter then leaves out one limit after the other, as long as the
rest still cannot hold (Chinneck and Dravnieks, ORSA Journal on Computing 3(2), 1991).

What always holds, and is never a member: the definitions of the program (balances, margin, exposure),
transfers that are not negative, and the sign of positions whose margin is only convex on one side (netted
longs and shorts, positions on the wrong side that may only shrink).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cvxpy as cp
import numpy as np

from allocator.errors import ConflictMember, SolverFailed
from allocator.market.boxes import box_owner
from allocator.market.types import Market
from allocator.program.build import Program
from models.arrays import BoolVector, Vector

Attempt = Callable[[cp.Problem, str], None]
_SHARE = 1e-5  # of the heaviest weight: below is what an interior-point solver leaves of zero
_BREACH = 1e-8  # of the book: a smaller least breach is none
_SPARED = 1e-6  # price of breaching what is left out, against 1
_HELD = 1e3  # price of breaching what must hold, against 1


@dataclass(frozen=True)
class Row:
    """One limit of one subject."""

    name: str
    subject: str
    source: str


class Elastic:
    """A market's limits, each breached at a price that may be changed; compiled once."""

    def __init__(self, market: Market, solver: str, attempt: Attempt) -> None:
        self._solver, self._attempt = solver, attempt
        self.program = Program(with_free_sides(market))
        self.rows: list[Row] = []
        self._constraints: list[cp.Constraint] = []
        breaches: list[cp.Variable] = []
        for value, bound, rows in [*_limits(self.program), *_boxes(self.program, market)]:
            breach = cp.Variable(len(rows), nonneg=True)
            self._constraints.append(value <= bound + breach)
            breaches.append(breach)
            self.rows += rows
        self._price = cp.Parameter(len(self.rows), nonneg=True)
        self._breach = cp.hstack(breaches) if breaches else cp.Constant(np.zeros(0))
        self._problem = cp.Problem(
            cp.Minimize(self._price @ self._breach if breaches else 0.0),
            [*background(self.program), *self._constraints],
        )

    def least(self, price: Vector) -> tuple[Vector, Vector]:
        """Breaches (rows,) of least price, in books, and the multipliers (rows,) of the limits."""
        self._price.value = price
        self._attempt(self._problem, self._solver)
        if self._problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
            raise SolverFailed(
                f"even with every limit given up, {self._solver} ends with status {self._problem.status}: "
                "the data contradict each other or differ by too many orders of magnitude"
            )
        weights = [np.atleast_1d(np.asarray(c.dual_value, dtype=float)) for c in self._constraints]
        return np.maximum(self._breach.value, 0.0), np.maximum(np.concatenate(weights), 0.0)

    def together(self, held: BoolVector) -> tuple[bool, Vector]:
        """Whether these limits can hold together, and the weights (rows,) of a certificate if they cannot."""
        breach, weights = self.least(np.where(held, 1.0, _SPARED))
        return float(breach[held].sum()) < _BREACH, np.where(held, weights, 0.0)


def with_free_sides(market: Market) -> Market:
    """The market with positions of either sign where a bound that is a limit itself keeps them on a side."""
    opposing = market.side == -np.sign(market.hedged_exposure)
    netted = np.zeros(len(market.side), dtype=bool)
    for group in market.scheme.netting:
        netted[group.members] = True
    return replace(market, side=np.where(opposing & ~netted, 0.0, market.side))


def background(program: Program) -> list[cp.Constraint]:
    """What always holds: all but the limits and boxes of a program, and the signs that margin rests on."""
    named = {id(row.constraint) for row in program.limits} | {id(program.lower), id(program.upper)}
    rest = [c for c in program.problem.constraints if id(c) not in named]
    soft = [row.constraint for row in program.limits if row.breach is not None]
    side, x = program.shape.side, program.variables.positions
    fixed = np.flatnonzero(side != 0)
    return [*rest, *soft, *([cp.multiply(side[fixed], x[fixed]) >= 0] if len(fixed) else [])]


def conflict(market: Market, solver: str, attempt: Attempt) -> list[ConflictMember]:
    """Limits that cannot hold together though any smaller set of them can, by weight, heaviest first.

    Raises `SolverFailed` where the verdict of the solver is not confirmed: a breach too small to matter lets
    every limit hold, so that the program is infeasible by rounding errors only.
    """
    elastic = Elastic(market, solver, attempt)
    everything = np.ones(len(elastic.rows), dtype=bool)
    feasible, weights = elastic.together(everything)
    if feasible:
        raise SolverFailed(
            f"{solver} calls the program infeasible, but all limits hold within a dollar of a $100m book: "
            "bounds meet exactly, or numbers differ by too many orders of magnitude; give a limit some room"
        )
    held, weights = _reduced(elastic, everything, weights)
    members = np.flatnonzero(held)
    book = market.book_usd
    found = []
    for j in members:
        row = elastic.rows[j]
        price = np.where(held, _HELD, _SPARED)
        price[j] = 1.0
        breach, _ = elastic.least(price)
        found.append(
            ConflictMember(row.name, row.subject, row.source, float(weights[j]), float(breach[j]) * book)
        )
    return sorted(found, key=lambda m: -m.certificate)


def _reduced(elastic: Elastic, held: BoolVector, weights: Vector) -> tuple[BoolVector, Vector]:
    """The deletion filter, lightest first. What a certificate does not weigh goes with it, if it may."""
    held, weights = _supported(elastic, held, weights)
    for j in sorted(np.flatnonzero(held), key=lambda j: weights[j]):
        if not held[j]:
            continue
        fewer = held.copy()
        fewer[j] = False
        feasible, certificate = elastic.together(fewer)
        if not feasible:
            held, weights = _supported(elastic, fewer, certificate)
    return held, weights


def _supported(elastic: Elastic, held: BoolVector, weights: Vector) -> tuple[BoolVector, Vector]:
    support = held & (weights > _SHARE * weights.max(initial=0.0))
    if support.sum() == held.sum():
        return held, weights
    feasible, certificate = elastic.together(support)
    return (held, weights) if feasible else (support, certificate)


_Part = tuple[cp.Expression, cp.Expression, list[Row]]


def _limits(program: Program) -> Sequence[_Part]:
    hard = [row.rows for row in program.limits if row.breach is None]
    return [(r.value, r.bound, [Row(r.name, s, r.source) for s in r.subjects]) for r in hard]


def _boxes(program: Program, market: Market) -> Sequence[_Part]:
    """The tightest bound of each position on each side; those that are background are not asked twice."""
    x, side = program.variables.positions, program.shape.side
    found: list[_Part] = []
    below = [i for i in program.shape.boxed_below if not (side[i] > 0 and market.lower[i] == 0)]
    above = [i for i in program.shape.boxed_above if not (side[i] < 0 and market.upper[i] == 0)]
    if below:
        lower = -market.lower[below] / market.book_usd
        found.append((-x[below], cp.Constant(lower), [_box_row(market, int(i), "lower") for i in below]))
    if above:
        upper = market.upper[above] / market.book_usd
        found.append((x[above], cp.Constant(upper), [_box_row(market, int(i), "upper") for i in above]))
    return found


def _box_row(market: Market, i: int, side: str) -> Row:
    box = box_owner(market, i, "lower" if side == "lower" else "upper")
    return Row(box.name, f"{market.instruments[i].key} {side}", box.source)
