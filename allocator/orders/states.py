"""What may stand between here and the target: margin and risk of a book whose orders are only partly done.

A state is the positions after some legs and some share of others, with transfers not sent, on their way or
arrived. Every figure is by the plain formulas, from the venues' true schedules. Fixed costs count as paid
from the start, trading costs as trades are done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from allocator import evaluate
from allocator.evaluate import VenueState, selected_venues
from allocator.market.stresses import stressed_rows
from allocator.market.types import Decision, Market, Matrix
from allocator.orders.legs import Leg
from allocator.orders.settle import Rounded
from allocator.scenario.schema import InitialMargin, MaintenanceMargin
from models.arrays import Vector

Transit = Literal["kept", "half sent", "sent", "arrived"]


@dataclass(frozen=True)
class State:
    """One state: the hard margin row with least slack in USD, and the book's sd in USD.

    `harm_usd` is the worst breach beyond tolerance that was not there at the start; `unhedged_usd` the sd
    beyond what the batch before it and the target have. Both are 0 in a safe state.
    """

    name: str
    venue: str
    limit: str
    slack_usd: float
    volatility_usd: float
    harm_usd: float = 0.0
    unhedged_usd: float = 0.0


@dataclass(frozen=True)
class Path:
    """From today's positions to the rounded ones by legs. `fixed_usd` (P,) are fixed costs by pocket."""

    market: Market
    rounded: Rounded
    legs: tuple[Leg, ...]
    fixed_usd: Vector

    @cached_property
    def moves(self) -> Matrix:
        """USD (L, n) that each leg trades; they add up to the whole trade."""
        moves = np.zeros((len(self.legs), len(self.market.instruments)))
        trade = self.rounded.decision.positions - self.market.positions.usd
        for k, leg in enumerate(self.legs):
            i = leg.instrument
            moves[k, i] = trade[i] * float(leg.size / self.rounded.trades[i])
        return moves

    @cached_property
    def subjects(self) -> tuple[tuple[str, str], ...]:
        """Venue and limit of each row of `slacks`."""
        return tuple((venue, name) for venue, name, _ in _rows(self.market, None))

    @cached_property
    def start(self) -> Vector:
        """Slacks before anything is done."""
        return self.slacks(np.zeros(len(self.legs)), "kept")

    @cached_property
    def target_volatility(self) -> float:
        """The book's sd in USD when all is done."""
        return self.volatility(np.ones(len(self.legs)))

    def positions(self, done: Vector) -> Vector:
        """USD (n,) with each leg done by a share (L,)."""
        return np.asarray(self.market.positions.usd + done @ self.moves)

    def volatility(self, done: Vector) -> float:
        """The book's sd in USD over the decision horizon."""
        return float(np.sqrt(sum(evaluate.variances(self.market, self.positions(done)).values())))

    def slacks(self, done: Vector, transit: Transit) -> Vector:
        """USD left under every hard margin limit, by venue and stress; negative is a breach."""
        sent = self.rounded.decision.transfers * {"kept": 0.0, "half sent": 0.5}.get(transit, 1.0)
        market = replace(
            self.market,
            collateral=replace(
                self.market.collateral, balance=self.market.collateral.balance - self.fixed_usd
            ),
        )
        if transit != "arrived":
            nothing = np.zeros(len(sent), dtype=bool)
            market = replace(market, transfers=replace(market.transfers, arrives=nothing))
        state = evaluate.venues(market, Decision(self.positions(done), sent), "true")
        return np.array([slack for _, _, slack in _rows(self.market, state)])

    def state(self, name: str, done: Vector, transit: Transit, before_usd: float) -> State:
        """The state after a batch that began with an sd of `before_usd`."""
        slacks, volatility = self.slacks(done, transit), self.volatility(done)
        worst = int(np.argmin(slacks)) if len(slacks) else -1
        venue, limit = self.subjects[worst] if worst >= 0 else ("", "")
        return State(
            name,
            venue,
            limit,
            float(slacks[worst]) if worst >= 0 else float("inf"),
            volatility,
            self.harm(slacks),
            self.unhedged(volatility, before_usd),
        )

    def harm(self, slacks: Vector) -> float:
        """USD of the worst breach that was not there at the start."""
        tolerance = self.rounded.check.tolerance_usd
        new = np.maximum(-slacks - tolerance, 0.0) - np.maximum(-self.start - tolerance, 0.0)
        harm = float(np.max(new, initial=0.0))
        # Rounding of sums: what is less than the tolerance of the check is nothing new.
        return harm if harm > tolerance else 0.0

    def unhedged(self, volatility: float, before_usd: float) -> float:
        """USD of sd beyond both what the batch began with and the target's."""
        return max(volatility - max(before_usd, self.target_volatility) * (1 + 1e-9), 0.0)


def _rows(market: Market, state: VenueState | None) -> Iterator[tuple[str, str, float]]:
    """Venue, limit and slack in USD of every hard margin limit; slack 0 without a state."""
    for spec in market.limits:
        limit = spec.limit
        if limit.soft is not None or not isinstance(limit, InitialMargin | MaintenanceMargin):
            continue
        for v in selected_venues(market, limit.venues).tolist():
            name = market.accounts[v].name
            if isinstance(limit, InitialMargin):
                slack = 0.0 if state is None else limit.use * state.equity[0, v] - state.initial_margin[v]
                yield name, f"limits.{spec.key}.use", float(slack)
                continue
            for s in stressed_rows(limit.stresses, market.stresses.names).tolist():
                required = 0.0 if state is None else limit.buffer * state.maintenance_margin[s, v]
                equity = 0.0 if state is None else state.equity[s, v]
                yield name, f"limits.{spec.key}.buffer ({market.stresses.names[s]})", float(equity - required)
