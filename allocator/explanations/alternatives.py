"""What else could have been done, priced with the same objective: nothing, or a plain 1:1 hedge.

Neither needs a solve. An alternative may not be permitted: the limits that it breaches are named.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from allocator import evaluate
from allocator.audit.audit import breach_cost, check_limits, objective
from allocator.market.types import Decision, Market
from allocator.result import Json, number, usd
from models.arrays import Vector

_RUNNING = ("risk", "funding", "carry", "funding_uncertainty", "collateral")
_LEAST = 0.005  # USD: half a cent a day saves nothing


@dataclass(frozen=True)
class Breach:
    """A limit that an alternative does not keep, by how many USD, and where it was set."""

    limit: str
    subject: str
    over_usd: float
    source: str

    def to_json(self) -> Json:
        """Plain data."""
        return {
            "limit": self.limit,
            "subject": self.subject,
            "over_usd": usd(self.over_usd),
            "source": self.source,
        }


@dataclass(frozen=True)
class Alternative:
    """A decision that was not taken: what it costs and whether it is permitted.

    `terms` are the objective's, USD per decision horizon, before the weights of its mode; `objective_usd` is
    weighted and counts breaches of soft limits; `dearer_usd_per_day` is what it costs beyond the decision
    taken, by that objective (< 0 only where it is not permitted).
    """

    name: str
    decision: Decision
    terms: dict[str, float]
    objective_usd: float
    dearer_usd_per_day: float
    breaches: tuple[Breach, ...]

    @property
    def permitted(self) -> bool:
        """Whether it keeps every hard limit."""
        return not self.breaches

    def to_json(self) -> Json:
        """Plain data, without the positions."""
        return {
            "name": self.name,
            "permitted": self.permitted,
            "objective": {
                "total_usd": usd(self.objective_usd),
                **{f"{name}_usd": usd(value) for name, value in self.terms.items()},
            },
            "dearer_usd_per_day": usd(self.dearer_usd_per_day),
            "breaches": [breach.to_json() for breach in self.breaches],
        }


@dataclass(frozen=True)
class DoingNothing:
    """Keeping the positions, against the rebalance that was decided.

    `saves_usd_per_day` is what the rebalance saves of what goes on: risk charge, funding, carry, uncertainty,
    collateral charge and breaches of soft limits, at full weight in every mode. `cash_usd` is what it costs
    once. `break_even_hours` is their quotient: None where the rebalance saves nothing that goes on, as when
    a limit forces it; 0 where it costs nothing.
    """

    alternative: Alternative
    saves_usd_per_day: float
    cash_usd: float
    break_even_hours: float | None

    def to_json(self) -> Json:
        """Plain data."""
        hours = self.break_even_hours
        return {
            **self.alternative.to_json(),
            "rebalance": {
                "saves_usd_per_day": usd(self.saves_usd_per_day),
                "cash_usd": usd(self.cash_usd),
                "break_even_hours": None if hours is None else number(hours),
            },
        }


def doing_nothing(market: Market, decision: Decision) -> DoingNothing:
    """Price keeping all positions, without transfers; `decision` is the optimum it is set against."""
    still = Decision(market.positions.usd.copy(), np.zeros(len(market.transfers.routes)))
    kept = price_alternative(market, decision, still, "doing nothing")
    saved = 24.0 / market.decision_hours * (_running(market, still) - _running(market, decision))
    trade = decision.positions - market.positions.usd
    cash = float(evaluate.trade_costs(market, trade).total.sum())
    cash += float(market.transfers.cost @ decision.transfers)
    hours = 24.0 * cash / saved if saved > _LEAST else None
    return DoingNothing(kept, saved, cash, hours)


def plain_hedge(market: Market, decision: Decision) -> Alternative:
    """Price a hedge 1:1: each instrument's share of what its coin hedges, equal for all perps of the coin.

    Flags and caps of single positions are ignored, so that what it breaches is told. No transfers.
    """
    perps = np.bincount(market.asset_of, minlength=len(market.assets))[market.asset_of]
    equal = Decision(-market.hedged_exposure / perps, np.zeros(len(market.transfers.routes)))
    return price_alternative(market, decision, equal, "hedge 1:1")


def price_alternative(market: Market, decision: Decision, other: Decision, name: str) -> Alternative:
    """What `other` costs beyond `decision`, and which hard limits and boxes it breaches."""
    check, values = check_limits(market, other)
    _, taken = check_limits(market, decision)
    total = objective(market, other, values)
    return Alternative(
        name=name,
        decision=other,
        terms=evaluate.objective_terms(market, other),
        objective_usd=total,
        dearer_usd_per_day=24.0 / market.decision_hours * (total - objective(market, decision, taken)),
        breaches=breaches(market, other, check.tolerance_usd),
    )


def breaches(market: Market, decision: Decision, tolerance_usd: float) -> tuple[Breach, ...]:
    """Every hard limit and box that a decision breaches by more than the tolerance, the worst first."""
    _, values = check_limits(market, decision)
    found = [
        Breach(limit.name, subject, -float(slack), limit.source)
        for limit in values
        if limit.price is None
        for subject, slack in zip(limit.subjects, limit.slack_usd, strict=True)
        if -slack > tolerance_usd
    ]
    for box in market.boxes:
        over: Vector = np.maximum(box.lower - decision.positions, decision.positions - box.upper)
        found += [
            Breach(box.name, market.instruments[i].key, float(over[i]), box.source)
            for i in np.flatnonzero(over > tolerance_usd)
        ]
    return tuple(sorted(found, key=lambda b: -b.over_usd))


def _running(market: Market, decision: Decision) -> float:
    """What goes on for as long as a decision is held, USD per decision horizon at full weight."""
    terms = evaluate.objective_terms(market, decision)
    _, values = check_limits(market, decision)
    return sum(terms[name] for name in _RUNNING) + breach_cost(values)
