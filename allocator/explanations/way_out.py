"""The cheapest ways to make an infeasible scenario feasible, in the user's own figures.

One way changes as many figures as are cheapest together; the others change a single figure each, where one
suffices. Each is scaled to the least that solves, rounded up, solved with, and audited.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from allocator import evaluate
from allocator.audit import audit
from allocator.errors import Change, ConflictMember, SolverFailed, WayOut
from allocator.explanations.figures import Figure, Stated, figures, touched, usd_per_size
from allocator.explanations.resolve import Resolver
from allocator.explanations.words import change_text
from allocator.market.boxes import participation_bounds
from allocator.market.types import Market
from allocator.program.relaxation import Opening, Relaxation
from allocator.program.solve import SOLVER, attempt
from allocator.scenario import schema
from models.arrays import Vector

DIGITS = 4  # figures are rounded up to so many: by less than a thousandth
_TIGHT = 2e-3  # a change is the least one when less of it by this share does not solve
_SLACK = (-1e-6, 0.0, 1e-3, 3e-3, 6e-3)  # more than the least, where the audit finds the very edge too sharp
_FAR = 64.0  # of a coefficient: where bisection stops looking


@dataclass(frozen=True)
class Wishes:
    """The scenario's word on ways out: USD per unit of change by name, and names that must not change.

    A name covers all that lies below it: `limits.gross` its `max`, `collateral` every balance.
    """

    weights: Mapping[str, float]
    hard: Sequence[str]

    def cost(self, market: Market, figure: Figure) -> float:
        """USD per unit of the figure: the longest name that covers it, or dollars of the book."""
        stated = [name for name in self.weights if covers(name, figure.name)]
        return self.weights[max(stated, key=len)] if stated else usd_per_size(market, figure)

    def allows(self, figure: Figure) -> bool:
        """Whether the figure may be proposed."""
        return not any(covers(name, figure.name) for name in self.hard)


def covers(name: str, figure: str) -> bool:
    """Whether a dotted name is that of a figure or of something above it."""
    return figure == name or figure.startswith(f"{name}.")


NO_WISHES = Wishes({}, ())


def ways_out(
    market: Market, conflict: Sequence[ConflictMember], stresses: Stated, wishes: Wishes = NO_WISHES
) -> list[WayOut]:
    """Verified ways out, the cheapest first; ways by a coefficient last. Empty where no figure helps."""
    known = [f for f in figures(market, stresses) if f.relaxing and wishes.allows(f) and _hard(market, f)]
    known = [f for f in known if f.kind != "collateral" or f.name in _deposits(market)]
    search = _Search(market, known, wishes, conflict)
    found = [*search.together(), *search.alone()]
    unique = {tuple(c.name for c in way.changes): way for way in reversed(found)}
    coefficient = {f.name for f in known if f.coefficient}
    return sorted(unique.values(), key=lambda way: (way.changes[0].name in coefficient, way.cost_usd))


def _hard(market: Market, figure: Figure) -> bool:
    """A soft limit gives way by itself."""
    spec = next((s for s in market.limits if covers(f"limits.{s.key}", figure.name)), None)
    return spec is None or spec.limit.soft is None


def _deposits(market: Market) -> set[str]:
    """One balance of each venue: the currency of least haircut, a stablecoin before a coin."""
    best: dict[str, tuple[tuple[bool, float, str], str]] = {}
    for p, pocket in enumerate(market.pockets):
        rank = (pocket.currency in market.assets, float(market.collateral.haircut[p]), pocket.currency)
        name = f"collateral.{pocket.venue}.{pocket.currency}"
        if pocket.venue not in best or rank < best[pocket.venue][0]:
            best[pocket.venue] = (rank, name)
    return {name for _, name in best.values()}


@dataclass
class _Search:
    market: Market
    known: list[Figure]
    wishes: Wishes
    conflict: Sequence[ConflictMember]

    def __post_init__(self) -> None:
        self.bounds = [f for f in self.known if not f.coefficient]
        self.single = [f for f in self.known if _concerns(self.market, f, self.conflict)]
        self.relaxation = Relaxation(self.market, [self._opening(f) for f in self.bounds], SOLVER, attempt)
        # One program, compiled once, serves every trial.
        concerned = dict.fromkeys([*self.bounds, *self.single])
        self.resolver = Resolver(
            self.market, frozenset[str]().union(*(touched(self.market, f) for f in concerned))
        )

    def together(self) -> Iterator[WayOut]:
        """The cheapest combination of bounds and balances, if any suffices."""
        sizes = self.relaxation.least([f.name for f in self.bounds])
        if sizes:
            yield from self._verified({f: sizes[f.name] * f.size for f in self.bounds if f.name in sizes})

    def alone(self) -> Iterator[WayOut]:
        """Every figure of the conflict that suffices by itself."""
        for figure in self.single:
            if figure.coefficient:
                least = self._bisected(figure)
            else:
                sizes = self.relaxation.least([figure.name])
                least = sizes[figure.name] * figure.size if sizes else None
            if least:
                yield from self._verified({figure: least})

    def _opening(self, figure: Figure) -> Opening:
        cost = self.wishes.cost(self.market, figure) * figure.size / self.market.book_usd
        most = min((abs(figure.relaxed(math.inf) - figure.value)) / figure.size, 1e3)
        if figure.kind in ("position", "participation"):
            return Opening(figure.name, cost, {}, most, figure.name, _room(self.market, figure))
        return Opening(figure.name, cost, _effects(self.market, figure), most)

    def _bisected(self, figure: Figure) -> float | None:
        """The least change of a coefficient that solves; None where none does."""
        most = abs(figure.relaxed(_FAR * figure.size) - figure.value)

        def solves(amount: float) -> bool:
            return self.resolver.feasible(figure.move(self.market, figure.relaxed(amount)))

        if most <= 0 or not solves(most):
            return None
        low, high = 0.0, most
        while high - low > 0.25 * _TIGHT * high and high > 1e-6 * figure.size:
            middle = (low + high) / 2
            low, high = (low, middle) if solves(middle) else (middle, high)
        return high

    def _verified(self, amounts: Mapping[Figure, float]) -> Iterator[WayOut]:
        """The way scaled to the least that solves, rounded up and proven; nothing where it cannot be."""
        share = self._least_share(amounts)
        if share is None:
            return
        for more in _SLACK:
            rounded = {f: _rounded(f, amount * share * (1 + more)) for f, amount in amounts.items()}
            if self._holds(rounded):
                yield self._way(rounded)
                return

    def _least_share(self, amounts: Mapping[Figure, float]) -> float | None:
        """The share of these changes below which nothing is permitted, to a fraction of a per cent."""

        def solves(share: float) -> bool:
            return self.resolver.feasible(
                _moved(self.market, {f: f.relaxed(a * share) for f, a in amounts.items()})
            )

        high = next((s for s in (1.0, 1 + _TIGHT, 1.02, 1.2, 2.0) if solves(s)), None)
        if high is None or not solves(high * (1 - _TIGHT)):
            return high
        low = 0.0
        high *= 1 - _TIGHT
        while high - low > 0.5 * _TIGHT * high:
            middle = (low + high) / 2
            low, high = (low, middle) if solves(middle) else (middle, high)
        return high

    def _holds(self, values: Mapping[Figure, float]) -> bool:
        moved = _moved(self.market, values)
        try:
            solution = self.resolver(moved)
        except SolverFailed:
            return False
        return solution is not None and audit(moved, solution.decision, solution.multipliers.limits).passed

    def _way(self, values: Mapping[Figure, float]) -> WayOut:
        changes, cost = [], 0.0
        for f, to in values.items():
            changes.append(Change(f.name, f.source, f.unit, f.value, to, change_text(self.market, f, to)))
            cost += self.wishes.cost(self.market, f) * abs(to - f.value)
        return WayOut(tuple(changes), cost, " and ".join(change.text for change in changes))


def _moved(market: Market, values: Mapping[Figure, float]) -> Market:
    for figure, value in values.items():
        market = figure.move(market, value)
    return market


def _rounded(figure: Figure, amount: float) -> float:
    """The figure relaxed by the amount rounded up; a coefficient's new value is as precise as its change."""
    if amount <= 0:
        return figure.value
    unit = 10.0 ** (math.floor(math.log10(amount)) + 1 - DIGITS)
    return figure.relaxed(math.ceil(amount / unit * (1 - 1e-12)) * unit)


def _concerns(market: Market, figure: Figure, conflict: Sequence[ConflictMember]) -> bool:
    """Whether a change of the figure changes a limit of the conflict."""
    venue = figure.name.split(".")[1] if figure.kind == "collateral" else ""
    for member in conflict:
        words = member.subject.split(" ")
        if covers(".".join(member.name.split(".")[:2]), figure.name):
            return True
        if figure.kind == "stress" and figure.name.partition(".")[2] in words:
            return True
        if (
            figure.kind == "collateral"
            and _counts_equity(market, member)
            and (venue in words or len(words) == 1)
        ):
            return True
    return False


_EQUITY = (schema.InitialMargin, schema.MaintenanceMargin, schema.Liquidity, schema.LeverageLimit,
           schema.LiquidationProbability, schema.CollateralShare)  # fmt: skip


def _counts_equity(market: Market, member: ConflictMember) -> bool:
    if member.name.startswith("transfers."):
        return True
    spec = next((s for s in market.limits if covers(f"limits.{s.key}", member.name)), None)
    return spec is not None and isinstance(spec.limit, _EQUITY)


def _room(market: Market, figure: Figure) -> Vector:
    """Books (n,) of room on either side that one size of a cap gives."""
    n, book = len(market.instruments), market.book_usd
    spec = next((s.limit for s in market.limits if covers(f"limits.{s.key}", figure.name)), None)
    if not isinstance(spec, schema.Participation):
        return np.full(n, figure.size / book)
    sell, buy = participation_bounds(spec.model_copy(update={"max": 1.0}), market.costs)
    both = np.minimum(sell, buy)
    return np.where(np.isfinite(both), both, 0.0) * figure.size / book


def _effects(market: Market, figure: Figure) -> dict[str, Vector]:
    """What one size of a bound or balance adds to the program's numbers."""
    if figure.kind == "collateral":
        keys = [f"collateral.{pocket.venue}.{pocket.currency}" for pocket in market.pockets]
        unit = np.zeros(len(keys))
        unit[keys.index(figure.name)] = figure.size / market.book_usd
        return {"collateral.balance": unit}
    if figure.name.startswith("limits."):
        spec = next(s.limit for s in market.limits if covers(f"limits.{s.key}", figure.name))
        if isinstance(spec, schema.NetDelta):
            chosen = evaluate.selected_assets(market, spec.assets)
            return {figure.name: np.ones(len(chosen)) * figure.size / market.book_usd}
        if isinstance(spec, schema.HedgeRatio):
            chosen = evaluate.selected_assets(market, spec.assets)
            return {figure.name: np.abs(market.exposure[chosen]) / market.book_usd * figure.size}
        if isinstance(spec, schema.VenueShare):
            return {figure.name: np.array(figure.size)}
    return {figure.name: np.array(figure.size / market.book_usd)}
