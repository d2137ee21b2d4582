"""A market's optimum with all that tests ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from allocator.audit import Audit, audit
from allocator.market.types import Decision, Market
from allocator.program.build import Program
from allocator.program.solve import SOLVER, Solution, solve
from models.arrays import Vector


@dataclass(frozen=True)
class Answer:
    """What was asked, the compiled program, the solver's word, and the audit of it."""

    market: Market
    program: Program
    solution: Solution
    audit: Audit

    @property
    def positions(self) -> Vector:
        """USD (n,)."""
        return self.solution.decision.positions

    @property
    def cost(self) -> float:
        """The objective in USD, by the plain formulas."""
        return self.audit.objective_usd

    def by_key(self) -> dict[str, float]:
        """Positions by instrument key."""
        return {i.key: float(x) for i, x in zip(self.market.instruments, self.positions, strict=True)}

    def price(self, name: str) -> Vector:
        """Multipliers of a limit, USD per USD."""
        return self.solution.multipliers.limits[name]


def answer(market: Market, solver: str = SOLVER) -> Answer:
    """Build, solve and audit."""
    program = Program(market)
    solution = solve(program, solver)
    return Answer(market, program, solution, audit(market, solution.decision, solution.multipliers.limits))


def some_decision(market: Market, rng: np.random.Generator) -> Decision:
    """Any positions within the boxes (no further than 3 books), and any transfers that can be made."""
    far = 3 * market.book_usd
    lower, upper = np.maximum(market.lower, -far), np.minimum(market.upper, far)
    held = np.clip(market.positions.usd, lower, upper)
    x = held + rng.uniform(size=len(held)) * (rng.uniform(lower, upper) - held)
    source = np.array([route.source for route in market.transfers.routes], dtype=np.int64)
    shared = np.bincount(source, minlength=len(market.pockets))[source]
    most = market.collateral.withdrawable[source] / (1 + market.transfers.cost) / shared
    return Decision(x, rng.uniform(size=len(most)) * most)


def wild_prices(prices: Mapping[str, Vector], rng: np.random.Generator) -> dict[str, Vector]:
    """Multipliers of any size, most of them wrong."""
    kind = rng.integers(4)
    if kind == 0:
        return {name: np.zeros(len(y)) for name, y in prices.items()}
    if kind == 1:
        return {name: y * (1 + 0.01 * rng.normal(size=len(y))) for name, y in prices.items()}
    if kind == 2:
        return {name: np.maximum(y, 10 ** rng.uniform(-9, -3, len(y))) for name, y in prices.items()}
    return {name: 10 ** rng.uniform(-8, 1, len(y)) * (rng.random(len(y)) < 0.3) for name, y in prices.items()}


def check_bound(found: Answer, rng: np.random.Generator, trials: int) -> None:
    """Assert that objective − gap is below the optimum, near it and far, whatever the multipliers."""
    best, prices = found.solution.decision, found.solution.multipliers.limits
    for _ in range(trials):
        elsewhere = some_decision(found.market, rng)
        near = 10 ** rng.uniform(-6, 0)
        decision = Decision(
            best.positions + near * (elsewhere.positions - best.positions),
            best.transfers + near * (elsewhere.transfers - best.transfers),
        )
        judged = audit(found.market, decision, wild_prices(prices, rng))
        rounding = 1e-7 * found.audit.scale_usd + 1e-12 * abs(judged.duality_gap_usd)
        assert judged.objective_usd - judged.duality_gap_usd <= found.cost + rounding
