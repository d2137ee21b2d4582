"""What the axes of a frontier may be: quantities of a decision, and how a program bounds each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from allocator import evaluate
from allocator.audit.audit import breach_cost, check_limits
from allocator.errors import Problem, ScenarioError
from allocator.market.types import Decision, Market


@dataclass(frozen=True)
class Quantity:
    """One measured quantity. `minimised`: a program can make it least; `bounded`: a program can bound it."""

    name: str
    label: str
    unit: str
    minimised: bool
    bounded: bool


QUANTITIES: Mapping[str, Quantity] = {
    q.name: q
    for q in (
        Quantity("cost", "cost, charged per decision", "USD", True, False),
        Quantity("objective", "objective of the scenario", "USD", True, False),
        Quantity("volatility", "volatility over the decision horizon", "USD", True, True),
        Quantity("gross", "gross positions", "USD", False, True),
        Quantity("turnover", "traded notional", "USD", False, True),
        Quantity("margin", "initial margin, share of equity at the fullest venue", "share", False, True),
    )
}


@dataclass(frozen=True)
class Axes:
    """The quantities of both axes, and which of them programs minimise while they bound the other."""

    x: str
    y: str
    minimised: str
    bounded: str


def axes(x: str, y: str) -> Axes:
    """The axes by name. Raises `ScenarioError` where no program trades one for the other."""
    for option, name in (("--x", x), ("--y", y)):
        if name not in QUANTITIES:
            raise ScenarioError([Problem(option, f"{name}: no such quantity; write {_names()}")])
    for minimised, bounded in ((y, x), (x, y)):
        if minimised != bounded and QUANTITIES[minimised].minimised and QUANTITIES[bounded].bounded:
            return Axes(x, y, minimised, bounded)
    least = ", ".join(q.name for q in QUANTITIES.values() if q.minimised)
    most = ", ".join(q.name for q in QUANTITIES.values() if q.bounded)
    message = (
        f"{x} against {y} is no trade-off that can be solved; write one of {least} and another of {most}"
    )
    raise ScenarioError([Problem("--x, --y", message)])


def _names() -> str:
    return ", ".join(QUANTITIES)


def measure(market: Market, decision: Decision) -> dict[str, float]:
    """Every quantity of a decision, and the terms of its cost as `<term>_usd`.

    `cost` is all terms of the objective but risk, with what breaches of soft limits cost, in USD per decision
    horizon; `objective` adds risk at the scenario's aversion. `margin` is the largest share of a venue's
    margin equity that its initial margin takes, as the program counts margin; infinite without equity.
    """
    x = decision.positions
    terms = evaluate.objective_terms(market, decision)
    _, values = check_limits(market, decision)
    breaches = breach_cost(values)
    cost = sum(value for name, value in terms.items() if name != "risk") + breaches
    return {
        "cost": cost,
        "objective": terms["risk"] + cost,
        "volatility": float(np.sqrt(sum(evaluate.variances(market, x).values()))),
        "gross": float(np.abs(x).sum()),
        "turnover": float(np.abs(x - market.positions.usd).sum()),
        "margin": _margin(market, decision),
        **{f"{name}_usd": value for name, value in terms.items() if name != "risk"},
        "breaches_usd": breaches,
    }


def _margin(market: Market, decision: Decision) -> float:
    state = evaluate.venues(market, decision)
    used = [
        float(needed / equity) if equity > 0 else np.inf
        for needed, equity in zip(state.initial_margin, state.equity[0], strict=True)
        if needed > 0
    ]
    return max(used, default=0.0)
