"""A change of the objective, attributed: which input moved which term, and what the new decision made of it.

States are priced one after the other: the first run's decision in its own market; the same contracts after
prices, then exposure, funding, … have become the second run's; at last the second run's own decision. The
effect of a step is the difference of two states in a row, so that effects add up to the change, in each term
and in total. A step's effect depends on the order, which is fixed (`STEPS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from allocator import evaluate
from allocator.audit.audit import breach_cost, check_limits
from allocator.explanations.finished import Finished, decision_of
from allocator.market.types import Decision, Market
from allocator.result import Json

TERMS = (
    "risk", "funding", "carry", "funding_uncertainty", "trading", "impact", "transfer", "collateral",
    "breaches",
)  # fmt: skip

# Each step takes these parts of the market from the second run, in this order.
STEPS: Mapping[str, tuple[str, ...]] = {
    "prices": ("prices", "positions"),
    "exposure": ("exposure", "hedged_exposure", "coin_collateral", "cash"),
    "funding": ("funding",),
    "risk model": ("risk",),
    "trading costs": ("costs",),
    "collateral": ("collateral", "transfers"),
    "horizons and objective": ("decision_hours", "holding_hours", "objective", "book_usd"),
}
LAST, ALL, DECISION, TOGETHER = "limits and stresses", "inputs", "decision", "inputs and decision"


@dataclass(frozen=True)
class Step:
    """What one step adds to each term, USD per decision horizon as the objective weighs it; > 0 is dearer."""

    name: str
    effects: Mapping[str, float]

    @property
    def total(self) -> float:
        """What it adds to the objective."""
        return round(sum(self.effects.values()), 6)


@dataclass(frozen=True)
class Attribution:
    """Terms of two runs and the steps between them; `why_coarse` says why inputs are one step, if so."""

    before: Mapping[str, float]
    after: Mapping[str, float]
    steps: tuple[Step, ...]
    why_coarse: str | None

    @property
    def change(self) -> float:
        """By how much the objective changed."""
        return round(sum(self.after.values()) - sum(self.before.values()), 6)

    def to_json(self) -> Json:
        """Plain data."""
        return {
            "before_usd": dict(self.before),
            "after_usd": dict(self.after),
            "change_usd": self.change,
            "steps": [
                {"name": s.name, "total_usd": s.total, "effects_usd": dict(s.effects)} for s in self.steps
            ],
            "why_coarse": self.why_coarse,
        }


def attribute(one: Finished, two: Finished, markets: tuple[Market | str, Market | str]) -> Attribution:
    """Attribute the change from one optimal run to another; a text in place of a market says why none."""
    states = [("", written_terms(one))]
    first, second = markets
    missing = [f"run {r.run_id}: {m}" for r, m in zip((one, two), markets, strict=True) if isinstance(m, str)]
    coarse = missing[0] if missing else None
    if isinstance(first, Market) and isinstance(second, Market):
        coarse = _other_universe(first, second)
        states += _walk(one, first, second) if coarse is None else [(ALL, _carried_terms(one, first, second))]
        states.append((DECISION, written_terms(two)))
    else:
        states.append((TOGETHER, written_terms(two)))
    steps = []
    for (_, before), (name, after) in pairwise(states):
        steps.append(Step(name, {term: round(after[term] - before[term], 6) for term in TERMS}))
    return Attribution(states[0][1], states[-1][1], tuple(steps), coarse)


def written_terms(run: Finished) -> dict[str, float]:
    """Terms of a run's objective as its mode weighs them, from what it wrote."""
    objective, goal = run.result["objective"], run.scenario["objective"]
    assert isinstance(goal, dict)
    weights = evaluate.mode_weights(objective["mode"], float(str(goal["tie_break"])))
    return _weighted({term: float(objective[f"{term}_usd"]) for term in TERMS}, weights)


def _weighted(terms: Mapping[str, float], weights: tuple[float, float]) -> dict[str, float]:
    """To a millionth of a dollar, so that differences add up."""
    weight = {"risk": weights[0], "breaches": 1.0}
    return {term: round(weight.get(term, weights[1]) * terms[term], 6) for term in TERMS}


def priced_terms(market: Market, decision: Decision) -> dict[str, float]:
    """Weighted terms of any decision in a market."""
    _, values = check_limits(market, decision)
    terms = {**evaluate.objective_terms(market, decision), "breaches": breach_cost(values)}
    return _weighted(terms, evaluate.objective_weights(market))


def carried(run: Finished, first: Market, second: Market) -> Decision:
    """The run's contracts at the second market's prices. Its transfers count as made: none is left."""
    then, per = decision_of(run, first).positions, first.prices.usd_per_contract
    held = {i.key: float(x / p) for i, x, p in zip(first.instruments, then, per, strict=True)}
    contracts = np.array([held.get(i.key, 0.0) for i in second.instruments])
    return Decision(contracts * second.prices.usd_per_contract, np.zeros(len(second.transfers.routes)))


def _carried_terms(run: Finished, first: Market, second: Market) -> dict[str, float]:
    return priced_terms(second, carried(run, first, second))


def _walk(run: Finished, first: Market, second: Market) -> list[tuple[str, dict[str, float]]]:
    states, market = [], first
    decision = carried(run, first, second)
    for name, parts in STEPS.items():
        market = replace(market, **{part: getattr(second, part) for part in parts})
        states.append((name, priced_terms(market, decision)))
    return [*states, (LAST, priced_terms(second, decision))]


def _other_universe(first: Market, second: Market) -> str | None:
    """Why parts of the second market do not fit into the first, if they do not."""
    for what in ("instruments", "pockets"):
        one, two = ({e.key for e in getattr(m, what)} for m in (first, second))
        if one != two:
            return f"{what} differ: {', '.join(sorted(one ^ two)[:4])}"
    same = (
        [i.key for i in first.instruments] == [i.key for i in second.instruments]
        and [p.key for p in first.pockets] == [p.key for p in second.pockets]
        and (first.assets, first.currencies) == (second.assets, second.currencies)
        and first.transfers.routes == second.transfers.routes
        and [a.name for a in first.accounts] == [a.name for a in second.accounts]
        and first.stresses.names == second.stresses.names
        and first.risk.asset_loadings.shape == second.risk.asset_loadings.shape
    )
    return None if same else "coins, venues, routes or stresses differ"
