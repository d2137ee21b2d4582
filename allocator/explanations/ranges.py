"""Over which values of a figure its price holds: found by solving again, never guessed.

The optimum is convex in a bound or a balance, so that its price only falls as the figure is relaxed: where
it holds at a distance, it holds on the way there. In a coefficient the price may turn; distances there begin
small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from allocator.errors import SolverFailed
from allocator.explanations.figures import Figure, touched
from allocator.explanations.prices import Price, derivative, dollars_per_multiplier
from allocator.explanations.resolve import Resolver
from allocator.market.types import Market
from allocator.program.solve import Solution

HOLDS = 0.01  # a price that changes by less holds
_STEP = 1e-5  # of the figure's size: a price that changes within it has a kink there
_FIRST = 0.02  # of the figure's size: the first distance tried in a bound
_FURTHEST = 1.0  # of the figure's size
_GROWTH = 8.0  # from one distance to the next
_ENDS = 1.4  # the end of a range is known to this factor of its distance
_INSIDE, _OUTSIDE = 0.95, 1.2  # of the distance at which the price is expected to change
_HALVED = 5  # every so many trials what is open is halved, whatever is expected
_HALFWAY = 0.02  # tangents that meet so near to halfway say that the price bends steadily
_NOISE = 1e-7  # USD per USD: two prices this close are the same


@dataclass(frozen=True)
class Side:
    """One direction: the last value tried at which the price holds, and the price at the next one tried.

    `beyond_usd` is null where nothing is permitted at `next` (`infeasible`), where there is no price (a slack
    cost budget, a solver that gave up), or where the price holds as far as was looked.
    """

    until: float
    next: float | None
    beyond_usd: float | None
    infeasible: bool = False


@dataclass(frozen=True)
class PriceRange:
    """How far a price holds when its figure is relaxed and tightened.

    A kink is a figure at which the next unit saves less than the last one cost.
    """

    name: str
    saves_usd: float
    relaxed: Side
    tightened: Side
    kink: bool


@dataclass(frozen=True)
class Trial:
    """The price of a figure at some value, the optimum there in USD, and what of it a unit more saves.

    All are None where nothing is permitted (`infeasible`) or the solver gave up; `price` too where the cost
    budget is slack.
    """

    price: float | None = None
    optimum: float | None = None
    saves: float | None = None
    infeasible: bool = False


def concerned(market: Market, prices: Sequence[Price], figures: Sequence[Figure]) -> frozenset[str]:
    """Names of the program's numbers that the ranges of these prices change (`Resolver(vary=...)`)."""
    names = {price.name for price in prices}
    return frozenset[str]().union(*(touched(market, f) for f in figures if f.name in names))


def price_ranges(
    resolver: Resolver, solution: Solution, prices: Sequence[Price], figures: Sequence[Figure]
) -> list[PriceRange]:
    """The ranges of these prices, which are those of `solution`. A figure without price has none.

    One compiled program serves all: `resolver` is of the solved market, or of one with wider boxes.
    """
    by_name = {figure.name: figure for figure in figures}
    chosen = [(p.saves_usd, by_name[p.name]) for p in prices if p.name in by_name and p.saves_usd]
    unit = dollars_per_multiplier(resolver.market, solution.multipliers) or 1.0
    return [
        _range(resolver, Trial(saves, solution.objective_usd, saves / unit), figure)
        for saves, figure in chosen
    ]


def _range(resolver: Resolver, now: Trial, figure: Figure) -> PriceRange:
    assert now.price is not None
    direction = figure.relaxing or 1.0
    relaxed = _Search(resolver, figure, now, direction).side()
    tightened = _Search(resolver, figure, now, -direction).side()
    kink = _at_once(relaxed, figure) or _at_once(tightened, figure)
    return PriceRange(figure.name, now.price, relaxed, tightened, kink)


def _at_once(side: Side, figure: Figure) -> bool:
    return side.until == figure.value and side.beyond_usd is not None


class _Search:
    """The distance in one direction at which a price ceases to hold: it does at `held`, not at `changed`."""

    def __init__(self, resolver: Resolver, figure: Figure, now: Trial, direction: float) -> None:
        assert now.price is not None
        self._resolver, self._figure, self._direction = resolver, figure, direction
        self._price = price = now.price
        per_dollar = 1.0 if figure.unit == "USD" else figure.size
        self._band = HOLDS * abs(price) + _NOISE * per_dollar
        end = figure.most if direction > 0 else figure.least
        self._least = _STEP * figure.size
        self._furthest = min(_FURTHEST * figure.size, abs(end - figure.value))
        self._held, self._changed = 0.0, math.inf
        self._inside, self._outside = now, Trial()
        self._tried = self._failures = 0

    def side(self) -> Side:
        """Solve at one distance after the other until the end of the range is known."""
        while (distance := self._next()) is not None:
            trial = price_at(self._resolver, self._figure, self._at(distance))
            self._tried += 1
            if trial.price is not None and abs(trial.price - self._price) <= self._band:
                self._held, self._inside = distance, trial
            else:
                self._changed, self._outside = distance, trial
                self._failures += 1
        if not math.isfinite(self._changed):
            return Side(self._at(self._held), None, None)
        beyond = self._outside
        return Side(self._at(self._held), self._at(self._changed), beyond.price, beyond.infeasible)

    def _at(self, distance: float) -> float:
        return self._figure.value + self._direction * distance

    def _next(self) -> float | None:
        """The next distance to try; None once the end is known well enough."""
        if not math.isfinite(self._changed):
            return None if self._held >= self._furthest else min(self._outwards(), self._furthest)
        if self._held == 0 and self._changed <= self._least:
            return None
        if self._held > 0 and self._changed <= _ENDS * self._held:
            return None
        return self._between()

    def _outwards(self) -> float:
        """A first distance, in a coefficient the least of all; then ever larger ones."""
        first = _FIRST * self._figure.size
        if self._held == 0 and self._figure.coefficient:
            return self._least
        return max(first, _GROWTH * self._held) if self._held >= first else first

    def _between(self) -> float:
        """Just inside of where the price is expected to change, or just outside of it."""
        low, high = max(self._held, self._least), self._changed
        if self._held == 0 and self._failures > 1:
            return self._least
        if self._tried % _HALVED == 0 or (at := self._expected()) is None:
            return math.sqrt(low * high)
        if _INSIDE * at > low / _INSIDE:
            return _INSIDE * at
        return _OUTSIDE * at if low < _OUTSIDE * at < high * _INSIDE else math.sqrt(low * high)

    def _expected(self) -> float | None:
        """Where the price is expected to leave the band, from the optima and prices on both sides.

        Where it jumps, the optima's tangents on both sides meet at the jump (Eisner and Severance, J. ACM
        23(4), 1976). Where it bends steadily they meet halfway, and its own line tells.
        """
        one, two, width = self._inside, self._outside, self._changed - self._held
        if one.price is None or two.price is None or one.price == two.price:
            return None
        meet = _meeting(one, two, width * self._direction * (self._figure.relaxing or 1.0))
        if meet is None:
            return None
        if abs(meet - 0.5) < _HALFWAY:
            end = self._price + math.copysign(self._band, two.price - self._price)
            meet = min(max((end - one.price) / (two.price - one.price), 0.0), 1.0)
        return self._held + meet * width


def _meeting(one: Trial, two: Trial, relaxed: float) -> float | None:
    """The share of the way between two optima, `relaxed` units apart, at which their tangents meet."""
    if one.saves is None or two.saves is None or one.saves == two.saves:
        return None
    assert one.optimum is not None
    assert two.optimum is not None
    share = (one.optimum - two.optimum - two.saves * relaxed) / (one.saves - two.saves) / relaxed
    return share if 0 <= share <= 1 else None


def price_at(resolver: Resolver, figure: Figure, value: float) -> Trial:
    """The price with the figure at another value, by solving there."""
    moved = figure.move(resolver.market, value)
    try:
        solution = resolver(moved)
    except SolverFailed:
        return Trial()
    if solution is None:
        return Trial(infeasible=True)
    unit = dollars_per_multiplier(moved, solution.multipliers)
    saves = derivative(moved, solution, replace(figure, value=value))
    return Trial(None if unit is None else unit * saves, solution.objective_usd, saves)
