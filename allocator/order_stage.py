"""From the convex optimum to whole lots: rounding and repair, fewer orders where asked, the exact program.

Every answer is judged by the same plain formulas, and the best permitted one is kept. How far it can be from
the best one is measured against a bound that lies below all of them: the audited dual bound of the convex
program in which venues ask for no more than they really do.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from allocator.audit import Audit, audit
from allocator.errors import AuditFailed, Infeasible, SolverFailed
from allocator.market.relaxation import relaxed
from allocator.market.types import Box, Decision, Market
from allocator.orders.lots import rank, refine, round_to_lots
from allocator.orders.search import improve, worth
from allocator.orders.sequence import Sequence, sequence
from allocator.orders.settle import Lots, Rounded
from allocator.program.build import Program
from allocator.program.confined import Confined
from allocator.program.solve import Solution, solve
from allocator.program.whole_lots import NoWholeLots, Solver, solve_whole_lots
from allocator.scenario.orders import Orders
from allocator.trading import TradingRules
from models.arrays import BoolVector, Vector

log = logging.getLogger(__name__)

_FEW = 1e-4  # of the objective's scale: a gain of less ends a search


@dataclass(frozen=True)
class Placed:
    """Whole-lot trades, their objective in USD with fixed costs, and a bound below every permitted one."""

    rounded: Rounded
    objective_usd: float
    bound_usd: float
    method: str
    sequence: Sequence

    @property
    def gap_usd(self) -> float:
        """USD by which the trades may miss the best permitted ones, at most."""
        return self.objective_usd - self.bound_usd


def place(market: Market, solution: Solution, confirmed: Audit, orders: Orders) -> Placed:
    """The best whole-lot trades found for an audited optimum.

    Raises `AuditFailed` where no whole-lot decision that keeps every limit and count is found, and says
    whether there is none.
    """
    rules = TradingRules.of(market, orders)
    below, bound = lower_bound(market, solution, confirmed)
    tried = [round_to_lots(market, solution.decision, rules, Confined)]
    if below is not None:
        tried.append(round_to_lots(market, below, rules, _confined_below))
    found = {"rounding": _best(market, tried)}
    if found["rounding"].excess:
        found["rounding"] = _fewer(market, solution.decision, found["rounding"], rules)
        if not found["rounding"].excess:
            lots, gain = Lots.of(market, rules), _FEW * confirmed.scale_usd
            found["rounding"] = refine(lots, found["rounding"], gain, Confined, traded_only=True)
    nothing = ""
    if orders.whole_lots != "rounding":
        try:
            found[orders.whole_lots] = exact(market, rules, orders.whole_lots, orders.solver_nodes)
        except NoWholeLots as error:
            nothing = str(error)
        except SolverFailed as error:
            log.warning("%s; the rounding stands", error)
    method = min(found, key=lambda name: rank(market, found[name]))
    best = found[method]
    if best.excess or not best.check.passed:
        raise AuditFailed(_refusal(best, rules, nothing))
    fixed = Lots.of(market, rules).fixed_by_pocket(best)
    return Placed(best, worth(market, best)[1], bound, method, sequence(market, best, fixed))


def lower_bound(market: Market, solution: Solution, confirmed: Audit) -> tuple[Decision | None, float]:
    """USD below the objective of every permitted decision, and the relaxed optimum where there is another."""
    below = relaxed(market)
    if below is market:
        return None, confirmed.objective_usd - max(confirmed.duality_gap_usd, 0.0)
    answer = solve(Program(below))
    judged = audit(below, answer.decision, answer.multipliers.limits)
    return answer.decision, judged.objective_usd - max(judged.duality_gap_usd, 0.0)


def exact(
    market: Market, rules: TradingRules, solver: Solver, nodes: int, seconds: float | None = None
) -> Rounded:
    """The integer program's answer as it settles, repaired where its tolerances left a breach."""
    lots = Lots.of(market, rules)
    answer = solve_whole_lots(market, lots.choices(), solver, nodes, seconds)
    trades = [int(count) * lot for count, lot in zip(answer.trades, lots.lot, strict=True)]
    transfers = answer.transfers
    settled = lots.settle(Decision(market.positions.usd, transfers), trades)
    if settled.check.passed:
        return settled
    return improve(lots, settled.decision, settled, least_gain=_FEW * abs(worth(market, settled)[1]))


def _confined_below(market: Market) -> Confined:
    return Confined(relaxed(market))


def _best(market: Market, found: list[Rounded]) -> Rounded:
    return min(found, key=lambda rounded: rank(market, rounded))


def _fewer(market: Market, optimum: Decision, start: Rounded, rules: TradingRules) -> Rounded:
    """Leave out the smallest trades, half of those that are too many at a time, and solve for the rest."""
    lots = Lots.of(market, rules)
    x = market.positions.usd
    bound_to_move = (x < market.lower) | (x > market.upper)
    kept = np.array([bool(trade) for trade in start.trades]) | bound_to_move
    best, size, step = start, np.abs(optimum.positions - x), 0
    while best.excess:
        dropped = _smallest(market, lots, best, size, kept & ~bound_to_move, step)
        if dropped is None:
            break
        narrowed = _frozen(market, ~(kept & ~dropped))
        try:
            decision = solve(Program(narrowed)).decision
        except (Infeasible, SolverFailed):
            if dropped.sum() == 1:
                bound_to_move |= dropped
                step = 0
            else:
                step += 1
            continue
        kept &= ~dropped
        size, step = np.abs(decision.positions - x), 0
        best = min(round_to_lots(narrowed, decision, rules), best, key=lambda rounded: rank(market, rounded))
    return best


def _smallest(
    market: Market, lots: Lots, rounded: Rounded, size: Vector, free: BoolVector, step: int
) -> BoolVector | None:
    """Which trades (n,) to leave out next: fewer after each step that failed; None where none may be."""
    if not free.any():
        return None
    rules, chosen = lots.rules, np.zeros(len(free), dtype=bool)
    traded = np.array([lots.orders(i, trade) for i, trade in enumerate(rounded.trades)])
    venues = np.unique(market.venue_of[traded > 0])
    if rules.max_venues is not None and len(venues) > rules.max_venues and step == 0:
        by_venue = np.bincount(market.venue_of, weights=size, minlength=len(market.accounts))
        for venue in venues[np.argsort(by_venue[venues], kind="stable")]:
            there = free & (market.venue_of == venue)
            if there.any():
                return np.asarray(there)
    order = np.argsort(np.where(free, size, np.inf), kind="stable")[: int(free.sum())]
    count = max((rounded.excess + 1) // 2 >> step, 1)
    chosen[order[:count]] = True
    return chosen


def _frozen(market: Market, still: BoolVector) -> Market:
    """The market in which some instruments (n,) are not traded."""
    x = market.positions.usd
    box = Box(
        "orders.max_orders", "no_trade", "orders", np.where(still, x, -np.inf), np.where(still, x, np.inf)
    )
    return replace(market, boxes=(*market.boxes, box))


def _refusal(best: Rounded, rules: TradingRules, nothing: str) -> str:
    if nothing:
        return f"{nothing}; widen a limit, or lower orders.min_trade"
    if best.excess and best.check.passed:
        return (
            f"no whole-lot decision was found with at most {rules.max_orders} orders on at most "
            f"{rules.max_venues} venues: {best.excess} too many are left; raise orders.max_orders or "
            "orders.max_venues, or write orders.whole_lots: scip to have it proven"
        )
    return (
        f"no whole-lot rounding keeps every limit: {best.check.worst_limit} "
        f"is breached by ${best.check.max_violation_usd:,.2f}; widen it or lower orders.min_trade"
    )


__all__ = ["Placed", "exact", "lower_bound", "place"]
