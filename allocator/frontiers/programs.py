"""The programs behind a frontier: one quantity made least while another is bounded, solved and audited.

The ε-constraint method (Haimes, Lasdon and Wismer 1971; Miettinen 1999, §3.2): unlike weighted sums, it
reaches every point of the curve, also on its straight parts. A small share of the other terms breaks ties, so
that each answer is efficient and no point is dominated by another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from allocator.errors import AuditFailed, HedgeError, SolverFailed
from allocator.frontiers.quantities import Axes, measure
from allocator.market.types import Decision, LimitSpec, Market
from allocator.scenario import schema

# Share of the terms that break ties: both ends are found to about this much of their scale. Where rounding
# errors keep an answer from being proven, the next larger one is tried.
TIE = 1e-6
_TIES = (TIE, 1e-5, 1e-4)
_SLACK = 10.0  # books: a bound that does not bind
_LEAST_USE = 1e-9  # a limit on initial margin is above zero


@dataclass(frozen=True)
class Ask:
    """One program: what is made least, the bound on the other quantity or None, and the tie-break."""

    minimised: str
    bound: float | None
    tie: float = TIE


@dataclass(frozen=True)
class Found:
    """An audited answer: the decision, its quantities, and what the audit said."""

    ask: Ask
    decision: Decision
    values: Mapping[str, float]
    max_violation_usd: float
    duality_gap_usd: float
    scale_usd: float


class Programs:
    """Solves asks of one market. Each pair of objective and bound is compiled once, its bound a parameter."""

    def __init__(self, market: Market, axes: Axes, aversion: float) -> None:
        from allocator.program.build import Program

        self._build = Program
        self._market = market
        self._axes = axes
        self._aversion = aversion
        self._key = _free_key(market)
        self._compiled: dict[tuple[str, bool, float], Program] = {}

    def solve(self, ask: Ask) -> Found:
        """The audited answer. Raises `Infeasible`, `SolverFailed`, `AuditFailed`."""
        for tie in _TIES[:-1] if ask.minimised != "objective" else ():
            try:
                return self._solve(replace(ask, tie=tie))
            except (SolverFailed, AuditFailed):
                continue
        return self._solve(replace(ask, tie=_TIES[-1]))

    def _solve(self, ask: Ask) -> Found:
        from allocator.audited import audited

        market, name = self.market(ask)
        kind = (ask.minimised, ask.bound is None, ask.tie)
        program = self._compiled.get(kind)
        if program is None:
            program = self._compiled[kind] = self._build(market, frozenset(name))
        else:
            program.update(market)
        solution, judged = audited(program, conflicts=False)
        return Found(
            ask,
            solution.decision,
            measure(self._market, solution.decision),
            judged.permitted.max_violation_usd,
            judged.duality_gap_usd,
            judged.scale_usd,
        )

    def tried(self, ask: Ask) -> Found | None:
        """The audited answer, or None where there is none."""
        try:
            return self.solve(ask)
        except HedgeError:
            return None

    def market(self, ask: Ask) -> tuple[Market, tuple[str, ...]]:
        """The market whose optimum answers, and the name of the number that the bound is."""
        market, slack = self._market, _SLACK * self._market.book_usd
        goal: Mapping[str, object]
        if ask.minimised == "objective":
            goal = {"mode": "utility", "cost_budget": None, "volatility_limit": None}
        elif ask.minimised == "cost":
            by_goal = ask.bound is not None and self._axes.bounded == "volatility"
            most = ask.bound if by_goal else slack
            goal = {**self._tie(ask), "mode": "min_cost", "volatility_limit": most}
            if by_goal:
                return self._with(market, goal), ("objective.volatility_limit",)
        else:
            goal = {**self._tie(ask), "mode": "min_variance", "cost_budget": slack}
            # What breaches of soft limits cost breaks ties as other costs do.
            market = replace(market, limits=tuple(_softer(spec, ask.tie) for spec in market.limits))
        if ask.bound is None:
            return self._with(market, goal), ()
        limit, field = _limit(self._axes.bounded, ask.bound)
        spec = LimitSpec(self._key, limit, "frontier")
        market = replace(market, limits=(*market.limits, spec))
        return self._with(market, goal), (f"limits.{self._key}.{field}",)

    def settings(self, ask: Ask) -> list[str] | None:
        """What `--set` takes to allocate this very point; None where soft limits forbid to say it so."""
        market, _ = self.market(ask)
        if ask.minimised == "volatility" and any(s.limit.soft is not None for s in market.limits):
            return None
        goal = market.objective
        said = [f"objective.mode={goal.mode}"]
        if goal.mode != "utility":
            said += [
                f"objective.risk_aversion_per_usd={goal.risk_aversion_per_usd!r}",
                f"objective.tie_break={goal.tie_break!r}",
            ]
        if goal.mode == "min_cost":
            said.append(f"objective.volatility_limit=${goal.volatility_limit!r}")
        if goal.mode == "min_variance":
            said.append(f"objective.cost_budget=${goal.cost_budget!r}")
        if len(market.limits) > len(self._market.limits) and ask.bound is not None:
            kind = market.limits[-1].limit.kind
            bound = f"use: {ask.bound!r}" if kind == "initial_margin" else f"max: ${ask.bound!r}"
            said.append(f"limits.{self._key}={{kind: {kind}, {bound}}}")
        return said

    def _tie(self, ask: Ask) -> dict[str, object]:
        return {"risk_aversion_per_usd": self._aversion, "tie_break": ask.tie}

    def _with(self, market: Market, goal: Mapping[str, object]) -> Market:
        return replace(market, objective=market.objective.model_copy(update=dict(goal)))


def aversion(market: Market, scenario: Decision) -> float:
    """A risk aversion at which risk weighs about what the costs of a decision do: it only scales programs.

    In 1/USD; the risk is that of the exposure without any hedge.
    """
    unhedged = measure(market, Decision(np.zeros(len(market.instruments)), scenario.transfers))
    terms = [abs(v) for k, v in measure(market, scenario).items() if k.endswith("_usd")]
    scale = max(sum(terms), 1e-6 * market.book_usd)
    return 2 * scale / max(unhedged["volatility"], 1e-6 * market.book_usd) ** 2


def _limit(bounded: str, bound: float) -> tuple[schema.Limit, str]:
    """The limit that bounds a quantity, and its field."""
    # Numbers are taken as they are: only what a person writes needs a unit.
    match bounded:
        case "volatility":
            return schema.Volatility.model_construct(kind="volatility", max=bound), "max"
        case "gross":
            return schema.Gross.model_construct(kind="gross", max=bound), "max"
        case "turnover":
            return schema.Turnover.model_construct(kind="turnover", max=bound), "max"
        case _:
            use = min(max(bound, _LEAST_USE), 1.0)
            return schema.InitialMargin.model_construct(kind="initial_margin", use=use), "use"


def _softer(spec: LimitSpec, share: float) -> LimitSpec:
    price = spec.limit.soft
    if price is None:
        return spec
    return replace(spec, limit=spec.limit.model_copy(update={"soft": share * price}))


def _free_key(market: Market) -> str:
    taken, key = {spec.key for spec in market.limits}, "frontier"
    while key in taken:
        key += "_"
    return key
