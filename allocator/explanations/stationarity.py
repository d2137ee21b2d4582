"""The Lagrangian's slope in every position, by cause, at an optimum: what the multipliers say of it.

At the optimum of a convex program the slopes of the objective, of each limit times its multiplier and of the
position's box add up to zero (stationarity), for some choice of slope wherever a function has a kink. That
choice is made here: a linear program picks it within its bounds so that the sums close, and what cannot be
closed is left as residual. Some kinks belong to several positions at once: a collateral haircut where a
pocket's worth passes zero, and a venue that stands exactly at its warning level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from allocator import evaluate
from allocator.audit.audit import objective_and_scale
from allocator.audit.bound import spread_limit, variance_slope
from allocator.audit.limits import LimitValues, limit_values
from allocator.audit.requirements import expand_requirements
from allocator.audit.weights import Weights
from allocator.explanations.kinks import Component, close, find_kinks
from allocator.explanations.slopes import Nearness
from allocator.market.boxes import box_owner
from allocator.market.stresses import stressed_rows
from allocator.market.types import Decision, Market
from allocator.result import Prices
from allocator.scenario import schema
from models.arrays import Vector
from models.error_factors import correlated


@dataclass(frozen=True)
class Stationarity:
    """Slopes of the Lagrangian by cause and instrument, USD per USD, > 0 where one more dollar long costs.

    `causes` maps each cause to (n,); boxes are among them. `residual` (n,) is what they add up to, to be
    judged by `scale` (n,): Σ|causes|, with the slope of the variance counted as that of the bare exposure
    plus that of the positions, of which it is the small difference.
    `left`, `right` (n,) are the slopes without boxes just below and just above the position;
    `trade_low`, `trade_high` (n,) what the trade itself, its costs and turnover, takes of them.
    """

    causes: dict[str, Vector]
    residual: Vector
    scale: Vector
    left: Vector
    right: Vector
    trade_low: Vector
    trade_high: Vector
    other_weight: float


def stationarity(market: Market, decision: Decision, prices: Prices) -> Stationarity:
    """Split the Lagrangian's slope at an optimum by cause; `prices` are its multipliers."""
    values = limit_values(market, decision, "program")
    near = Nearness.of(market, objective_and_scale(market, decision, tuple(values))[1])
    components, other = _components(market, decision, values, prices, near)
    boxes = prices.upper - prices.lower
    kinks = find_kinks(market, decision, components, near)
    shares, counted = close(kinks, boxes)
    ends = [kinks.total(shares, counted, end) for end in kinks.ends]
    width = ends[1] - ends[0]
    along = np.divide(-(ends[0] + boxes), width, out=np.full(len(width), 0.5), where=width > 0)
    at = kinks.ends[0].towards(kinks.ends[1], np.clip(along, 0.0, 1.0))
    causes: dict[str, Vector] = {}
    for c, share in zip(components, shares, strict=True):
        part = share * kinks.slope(c, counted, at)
        if c.cause == "trading":
            causes["impact"] = share * c.weights.cost * at.impact
            part = part - causes["impact"]
        causes[c.cause] = causes.get(c.cause, 0.0) + part
    trade = [kinks.trade(shares, counted, end) for end in kinks.ends]
    return Stationarity(
        causes={**causes, **_boxes(market, boxes)},
        residual=np.asarray(sum(causes.values(), boxes)),
        scale=_scale(market, decision.positions, {**causes, "": boxes}, values),
        left=ends[0],
        right=ends[1],
        trade_low=trade[0],
        trade_high=trade[1],
        other_weight=other,
    )


def _scale(market: Market, x: Vector, causes: Mapping[str, Vector], values: Sequence[LimitValues]) -> Vector:
    """Σ|causes| (n,), with those through the variance as large as their two parts."""
    whole, bare = variance_slope(market, x), variance_slope(market, np.zeros(len(x)))
    parts = np.abs(bare) + np.abs(whole - bare)
    grown = np.divide(parts, np.abs(whole), out=np.ones(len(x)), where=whole != 0)
    by_variance = {"risk", *(v.name for v in values if v.kind == "volatility")}
    found = [np.abs(slope) * (grown if c in by_variance else 1.0) for c, slope in causes.items()]
    return np.asarray(sum(found, np.zeros(len(x))))


def _components(
    market: Market, decision: Decision, values: Sequence[LimitValues], prices: Prices, near: Nearness
) -> tuple[list[Component], float]:
    """The objective's terms and the limits, and the weight of all terms but risk.

    The multiplier of a cost budget counts in that weight: it prices what the budget is spent on.
    """
    nothing = np.zeros(len(market.instruments))
    found: list[Component] = []
    risk, other = evaluate.objective_weights(market)
    used: dict[str, int] = {}
    for limit in values:
        start = used.get(limit.name, 0)
        used[limit.name] = start + len(limit.subjects)
        y = np.maximum(prices.limits[limit.name][start : used[limit.name]], 0.0)
        y = y if limit.price is None else np.minimum(y, limit.price)
        if limit.kind == "cost_budget":
            other += float(y[0])
        elif limit.kind == "liquidity":
            found += _liquidity(market, decision, limit, y, near)
        elif y.any():
            w = _no_weights(market)
            spread_limit(market, decision, w, limit, y)
            found.append(Component(limit.name, w, nothing))
    for c in found:
        expand_requirements(market, decision, c.weights, prices.limits)
    return [*_objective(market, decision, risk, other), *found], other


def _no_weights(market: Market) -> Weights:
    return replace(Weights.empty(market), risk=0.0, other=0.0)


def _objective(market: Market, decision: Decision, risk: float, other: float) -> list[Component]:
    x, goal, nothing = decision.positions, market.objective, np.zeros(len(market.instruments))
    uncertain = goal.funding_uncertainty_aversion * market.funding.uncertainty
    norm = evaluate.funding_uncertainty(market, x)
    together = uncertain * correlated(market.funding.errors, uncertain * x)
    terms = {
        "risk": risk * goal.risk_aversion_per_usd / 2 * variance_slope(market, x),
        "funding": other * market.funding.cost,
        "funding_uncertainty": other * together / norm if norm > 0 else nothing,
    }
    found = []
    for cause, linear in terms.items():
        w = _no_weights(market)
        w.linear += linear
        # Where no position makes any uncertainty, each may count for its own: the slope of a norm at zero.
        found.append(Component(cause, w, other * uncertain if cause == "funding_uncertainty" else nothing))
    w = _no_weights(market)
    w.cost += other * market.horizon_share
    return [*found, Component("trading", w, nothing)]


def _liquidity(
    market: Market, decision: Decision, limit: LimitValues, y: Vector, near: Nearness
) -> list[Component]:
    """A shortfall counts where there is one; at the warning level itself, any share of it may."""
    spec = next(s.limit for s in market.limits if limit.name.split(".")[1] == s.key)
    assert isinstance(spec, schema.Liquidity)
    state = evaluate.venues(market, decision)
    found = []
    for s, price in zip(stressed_rows(spec.stresses, market.stresses.names), y, strict=True):
        lacking = spec.warning * state.maintenance_margin[s] - state.equity[s]
        level = (np.abs(lacking) * price <= near.usd) | (np.abs(lacking) <= near.distance)
        for v in np.flatnonzero((level | (lacking > 0)) & (price > 0)):
            w = _no_weights(market)
            w.required[s, v], w.equity[s, v] = spec.warning * price, price
            found.append(Component(limit.name, w, np.zeros(len(market.instruments)), bool(level[v])))
    return found


def _boxes(market: Market, pushes: Vector) -> dict[str, Vector]:
    """Multipliers of positions' boxes by the limit that sets the tightest bound."""
    found: dict[str, Vector] = {}
    for i in np.flatnonzero(pushes):
        owner = box_owner(market, int(i), "upper" if pushes[i] > 0 else "lower").name
        found.setdefault(owner, np.zeros(len(pushes)))[i] = pushes[i]
    return found
