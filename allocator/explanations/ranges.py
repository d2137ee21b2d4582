"""Over which values of a figure its price holds: found by solving again, never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from allocator.errors import SolverFailed
from allocator.explanations.figures import Figure, touched
from allocator.explanations.prices import Price, derivative, dollars_per_multiplier
from allocator.explanations.resolve import Resolver
from allocator.market.types import Market

HOLDS = 0.01  # a price that changes by less holds
_STEP = 1e-5  # of the figure's size: a price that changes within it has a kink there
_GROWTH = 16.0
_HALVINGS = 3
_FURTHEST = 1.0  # of the figure's size
_NOISE = 1e-7  # USD per USD: two prices this close are the same


@dataclass(frozen=True)
class Side:
    """One direction: the last value tried at which the price holds, and the price at the next one tried.

    `beyond_usd` is null where nothing is permitted at `next`, or where the price holds as far as was looked.
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


def price_ranges(market: Market, prices: Sequence[Price], figures: Sequence[Figure]) -> list[PriceRange]:
    """The ranges of these prices; one compiled program serves all. A figure without price has none."""
    by_name = {figure.name: figure for figure in figures}
    chosen = [(p, by_name[p.name]) for p in prices if p.name in by_name and p.saves_usd]
    if not chosen:
        return []
    vary = frozenset[str]().union(*(touched(market, figure) for _, figure in chosen))
    resolver = Resolver(market, vary)
    return [_range(resolver, price, figure) for price, figure in chosen]


def _range(resolver: Resolver, price: Price, figure: Figure) -> PriceRange:
    assert price.saves_usd is not None
    direction = figure.relaxing or 1.0
    relaxed = _side(resolver, price.saves_usd, figure, direction)
    tightened = _side(resolver, price.saves_usd, figure, -direction)
    return PriceRange(
        figure.name,
        price.saves_usd,
        relaxed,
        tightened,
        kink=_at_once(relaxed, figure) or _at_once(tightened, figure),
    )


def _at_once(side: Side, figure: Figure) -> bool:
    return side.until == figure.value and side.next is not None and not side.infeasible


def _side(resolver: Resolver, price: float, figure: Figure, direction: float) -> Side:
    """Ever larger steps until the price changes, then halvings between the last that held and that one."""
    held, step = 0.0, _STEP * figure.size
    while True:
        value = _within(figure, figure.value + direction * step)
        amount = abs(value - figure.value)
        if amount <= held:  # the end of what the scenario allows
            return Side(figure.value + direction * held, None, None)
        found = price_at(resolver, figure, value)
        if not _same(found, price, figure):
            break
        held = amount
        if step >= _FURTHEST * figure.size:
            return Side(value, None, None)
        step = min(step * _GROWTH, _FURTHEST * figure.size)
    changed = amount
    for _ in range(_HALVINGS if held > 0 else 0):
        middle = (held * changed) ** 0.5
        trial = price_at(resolver, figure, figure.value + direction * middle)
        if _same(trial, price, figure):
            held = middle
        else:
            changed, found = middle, trial
    at = figure.value + direction * changed
    return Side(figure.value + direction * held, at, found, infeasible=found is None)


def _within(figure: Figure, value: float) -> float:
    return min(max(value, figure.least), figure.most)


def _same(found: float | None, price: float, figure: Figure) -> bool:
    per_dollar = 1.0 if figure.unit == "USD" else figure.size
    return found is not None and abs(found - price) <= HOLDS * abs(price) + _NOISE * per_dollar


def price_at(resolver: Resolver, figure: Figure, value: float) -> float | None:
    """The price with the figure at another value; None where nothing is permitted or the budget is slack."""
    moved = figure.move(resolver.market, value)
    try:
        solution = resolver(moved)
    except SolverFailed:
        return None
    if solution is None:
        return None
    unit = dollars_per_multiplier(moved, solution.multipliers)
    here = replace(figure, value=value)
    return None if unit is None else unit * derivative(moved, solution, here)
