"""The audit of a decision: every limit by plain formulas, and how far from the optimum it can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from allocator import evaluate
from allocator.audit.bound import duality_gap
from allocator.audit.limits import LimitValues, limit_values
from allocator.market.types import Decision, Market
from models.arrays import Vector

VIOLATION = 1e-7  # of the book: $1 on $10m
GAP = 1e-6  # of the objective's scale


@dataclass(frozen=True)
class Check:
    """The worst breach of a decision in USD, of which limit, and whether it is within tolerance."""

    passed: bool
    max_violation_usd: float
    worst_limit: str
    tolerance_usd: float


@dataclass(frozen=True)
class Audit:
    """What the audit found. `scale_usd` is Σ|objective terms|; the gap is judged against it."""

    passed: bool
    permitted: Check
    duality_gap_usd: float
    scale_usd: float
    objective_usd: float
    values: tuple[LimitValues, ...]


def check_limits(market: Market, decision: Decision) -> tuple[Check, tuple[LimitValues, ...]]:
    """Evaluate every hard limit and box on a decision, from the venues' true schedules."""
    tolerance = VIOLATION * market.book_usd
    if not (np.isfinite(decision.positions).all() and np.isfinite(decision.transfers).all()):
        return Check(False, float("inf"), "a position or transfer is not a number", tolerance), ()
    values = tuple(limit_values(market, decision, "true"))
    worst, name = 0.0, ""
    for limit in values:
        if limit.price is None and len(limit.subjects):
            k = int(np.argmin(limit.slack_usd))
            if -limit.slack_usd[k] > worst:
                worst, name = float(-limit.slack_usd[k]), f"{limit.name} ({limit.subjects[k]})"
    for box in market.boxes:
        over = np.maximum(box.lower - decision.positions, decision.positions - box.upper)
        k = int(np.argmax(over))
        if over[k] > worst:
            worst, name = float(over[k]), f"{box.name} ({market.instruments[k].key})"
    if len(decision.transfers) and (least := float(decision.transfers.min())) < -worst:
        worst, name = -least, "transfers are not negative"
    return Check(worst <= tolerance, worst, name, tolerance), values


def breach_cost(values: tuple[LimitValues, ...]) -> float:
    """USD that breaches of soft limits cost in the objective."""
    return sum(v.price * float(np.maximum(-v.slack_usd, 0.0).sum()) for v in values if v.price is not None)


def objective(market: Market, decision: Decision, values: tuple[LimitValues, ...]) -> float:
    """The objective of the mode in USD: weighted terms and breaches of soft limits."""
    return objective_and_scale(market, decision, values)[0]


def objective_and_scale(
    market: Market, decision: Decision, values: tuple[LimitValues, ...]
) -> tuple[float, float]:
    """The objective and Σ|terms| of it in USD: what errors are measured against, as the total may cancel."""
    terms = evaluate.objective_terms(market, decision)
    risk, other = evaluate.objective_weights(market)
    breaches = breach_cost(values)
    costs = [usd for name, usd in terms.items() if name != "risk"]
    value = risk * terms["risk"] + other * sum(costs) + breaches
    return value, risk * abs(terms["risk"]) + other * sum(map(abs, costs)) + breaches


def audit(market: Market, decision: Decision, prices: Mapping[str, Vector]) -> Audit:
    """Judge a decision: is it permitted, and is it optimal? `prices` are the limits' multipliers."""
    permitted, values = check_limits(market, decision)
    if not np.isfinite(permitted.max_violation_usd):
        return Audit(False, permitted, float("inf"), 0.0, float("nan"), values)
    if not market.scheme.exact:
        # Prices belong to the program's form of margin, which bounds the venues'.
        values = tuple(limit_values(market, decision, "program"))
    gap = duality_gap(market, decision, values, prices)
    value, size = objective_and_scale(market, decision, values)
    # A book of which nothing costs anything has no scale of its own; a millionth of a bp of it is one.
    small = gap <= GAP * max(size, 1e-4 * GAP * market.book_usd)
    return Audit(
        passed=permitted.passed and bool(small),
        permitted=permitted,
        duality_gap_usd=gap,
        scale_usd=size,
        objective_usd=value,
        values=values,
    )
