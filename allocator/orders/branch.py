"""Search over whole lots that solves the convex program again: rounding in steps, and branch and bound.

Every node confines positions to ranges; the convex optimum within them says what is left to win there, and
comes with the transfers that suit it. It is rounded and settled like any other decision, so that nothing but
the audit's formulas decides what is kept. A position between two permitted ones splits its range there (Land
and Doig, Econometrica 28, 1960). Ends after a fixed number of solves: the same inputs give the same trades.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from allocator.market.types import Decision
from allocator.orders.search import rank
from allocator.orders.settle import Lots, Rounded
from allocator.trading import Choices
from models.arrays import Vector

# The best decision with lower ≤ positions ≤ upper (n,) in USD, and its objective in USD; None without one.
Resolve = Callable[[Vector, Vector], tuple[Decision, float] | None]

_WORK = 1200  # solves times instruments: some three times what the first solve takes, compiled
_MOST, _LEAST = 250, 5  # solves
_HALVED = 30  # free positions: of so many a half is fixed at each step of rounding, of more three quarters
_ON_GRID = 2e-8  # of the book: positions this close to whole lots are whole lots
_AHEAD = 1e-6  # of a lot: float noise of counts


@dataclass(frozen=True)
class Grid:
    """Positions that whole-lot trades lead to, per instrument; a trade is a count of lots, 0 for none."""

    held: Vector
    choices: Choices

    @classmethod
    def of(cls, lots: Lots) -> Grid:
        """The positions that `Lots.settle` keeps as they are."""
        return cls(lots.market.positions.usd, lots.choices())

    def position(self, i: int, count: int) -> float:
        """USD after a trade of so many lots."""
        moved = self.choices.offset_usd[i] + count * self.choices.lot_usd[i] if count else 0.0
        return float(self.held[i] + moved)

    def below(self, i: int, usd: float) -> int | None:
        """The trade to the largest permitted position of at most `usd`; None where there is none."""
        return max(self._near(i, usd, 1), key=lambda count: self.position(i, count), default=None)

    def above(self, i: int, usd: float) -> int | None:
        """The trade to the smallest permitted position of at least `usd`; None where there is none."""
        return min(self._near(i, usd, -1), key=lambda count: self.position(i, count), default=None)

    def _near(self, i: int, usd: float, sign: int) -> Iterator[int]:
        """In each range the trade that comes nearest from below (sign 1) or above (−1), and no trade."""
        lot = self.choices.lot_usd[i]
        if sign * (usd - self.held[i]) >= -_AHEAD * lot:
            yield 0
        wanted = (usd - self.held[i] - self.choices.offset_usd[i]) / lot
        count = sign * int(np.floor(sign * wanted + _AHEAD))
        for each in self.choices.ranges[i]:
            near = min(each.most, count) if sign > 0 else max(each.least, count)
            if each.least <= near <= each.most:
                yield near


@dataclass(order=True)
class _Node:
    """Ranges of positions (n,), and an objective in USD that nothing within them undercuts."""

    bound: float
    number: int
    lower: Vector = field(compare=False)
    upper: Vector = field(compare=False)


class Search:
    """Whole-lot decisions around a convex program; `best` is the best one met so far."""

    def __init__(self, lots: Lots, resolve: Resolve, start: Rounded, least_gain: float) -> None:
        self.lots, self.best = lots, start
        self._resolve, self._least_gain, self._grid = resolve, least_gain, Grid.of(lots)
        n = len(lots.lot)
        self._left = max(min(_WORK // n, _MOST), _LEAST)
        self._tolerance = _ON_GRID * lots.market.book_usd
        self._number = 0

    def run(self, lower: Vector, upper: Vector) -> Rounded:
        """The best decision found within ranges (n,) in USD."""
        self._in_steps(lower, upper)
        self._branch(lower, upper)
        return self.best

    def _solve(self, lower: Vector, upper: Vector) -> tuple[Decision, float] | None:
        """The convex optimum within ranges, whose rounding may become the best."""
        self._left -= 1
        found = self._resolve(lower, upper)
        if found is None or self._hopeless(found[1]):
            return None
        x = found[0].positions
        counts = [self._nearest(i, float(x[i]), lower, upper) for i in range(len(x))]
        trades = [(count or 0) * lot for count, lot in zip(counts, self.lots.lot, strict=True)]
        self._consider(found[0], trades)
        return found

    def _consider(self, decision: Decision, trades: list[Decimal]) -> None:
        settled, market = self.lots.settle(decision, trades), self.lots.market
        if rank(market, settled) < rank(market, self.best):
            self.best = settled

    def _hopeless(self, bound: float) -> bool:
        """Whether a decision that costs no less than `bound` is not worth looking for."""
        excess, breach, objective = rank(self.lots.market, self.best)
        return not excess and breach == 0.0 and bound >= objective - self._least_gain

    def _around(self, i: int, usd: float, lower: Vector, upper: Vector) -> tuple[int | None, int | None]:
        """Trades to the permitted positions next to `usd` within the range of instrument i."""
        found: list[int | None] = []
        for count in (self._grid.below(i, usd), self._grid.above(i, usd)):
            inside = count is not None and (
                lower[i] - self._tolerance <= self._grid.position(i, count) <= upper[i] + self._tolerance
            )
            found.append(count if inside else None)
        return found[0], found[1]

    def _nearest(self, i: int, usd: float, lower: Vector, upper: Vector) -> int | None:
        """The trade to the nearest permitted position in the range of instrument i; None without one."""
        near = [count for count in self._around(i, usd, lower, upper) if count is not None]
        return min(near, key=lambda count: abs(self._grid.position(i, count) - usd), default=None)

    def _in_steps(self, lower: Vector, upper: Vector) -> None:
        """Fix most positions, those nearest to whole lots, solve for the rest, and again."""
        lower, upper = lower.copy(), upper.copy()
        free = np.flatnonzero(upper > lower)
        while self._left > 0:
            found = self._solve(lower, upper)
            if found is None or not len(free):
                return
            x, counts = found[0].positions, {}
            for i in free.tolist():
                count = self._nearest(i, float(x[i]), lower, upper)
                if count is None:
                    return
                counts[i] = self._grid.position(i, count)
            off = np.array([abs(counts[i] - x[i]) for i in free.tolist()])
            fixed = free[np.argsort(off, kind="stable")[: _step(len(free))]]
            for i in fixed.tolist():
                lower[i] = upper[i] = counts[i]
            free = np.setdiff1d(free, fixed)

    def _branch(self, lower: Vector, upper: Vector) -> None:
        """Depth first to whole lots, then from the node that promises most."""
        waiting: list[_Node] = []
        node: _Node | None = _Node(-np.inf, 0, lower, upper)
        while node is not None and self._left > 0:
            children = self._split(node)
            if children:
                node, *others = children
                for other in others:
                    heapq.heappush(waiting, other)
                continue
            node = heapq.heappop(waiting) if waiting else None
            if node is not None and self._hopeless(node.bound):
                return

    def _split(self, node: _Node) -> list[_Node]:
        """The two parts of a node, cut where a position is farthest from whole lots, the nearer one first."""
        found = self._solve(node.lower, node.upper)
        if found is None:
            return []
        x, bound = found[0].positions, found[1]
        farthest, split, nearest_first = self._tolerance, None, True
        for i in range(len(x)):
            below, above = self._around(i, float(x[i]), node.lower, node.upper)
            if below is None and above is None:
                return []
            down = np.inf if below is None else x[i] - self._grid.position(i, below)
            up = np.inf if above is None else self._grid.position(i, above) - x[i]
            if min(down, up) > farthest:
                farthest, split, nearest_first = min(down, up), (i, below, above), bool(down <= up)
        if split is None:
            return []
        i, below, above = split
        children = []
        if below is not None:
            children.append(
                self._child(bound, node.lower, _put(node.upper, i, self._grid.position(i, below)))
            )
        if above is not None:
            children.append(
                self._child(bound, _put(node.lower, i, self._grid.position(i, above)), node.upper)
            )
        return children if nearest_first else children[::-1]

    def _child(self, bound: float, lower: Vector, upper: Vector) -> _Node:
        self._number += 1
        return _Node(bound, self._number, lower, upper)


def _step(free: int) -> int:
    """How many of the free positions are fixed next."""
    return (free + 1) // 2 if free <= _HALVED else 3 * free // 4


def _put(values: Vector, i: int, value: float) -> Vector:
    result = values.copy()
    result[i] = value
    return result
