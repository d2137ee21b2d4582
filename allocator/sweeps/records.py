"""Rows of a sweep's tables: one a cell, one a position, one a limit that binds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from allocator import evaluate
from allocator.audit.audit import breach_cost
from allocator.errors import HedgeError
from allocator.market.boxes import box_owner
from allocator.market.types import Market
from allocator.scenario.cells import Cell
from allocator.sweeps.fast import Answer

Field = float | int | str | bool | None
Record = dict[str, Field]
BINDING = 1e-6  # of the objective's scale: what the whole book's size of bound must be worth to be told


@dataclass
class Records:
    """Rows by table."""

    cells: list[Record] = field(default_factory=list)
    positions: list[Record] = field(default_factory=list)
    limits: list[Record] = field(default_factory=list)

    def add(self, cell: Cell, market: Market | None, found: Answer | HedgeError) -> None:
        """The rows of one cell; one that failed is a row with its reason."""
        row: Record = {"cell": cell.index, "name": cell.name, "id": cell.described}
        if market is None or isinstance(found, HedgeError):
            status = found.status if isinstance(found, HedgeError) else "failed"
            self.cells.append({**row, "status": status, "reason": str(found), **overrides(cell)})
            return
        binding = list(_binding(cell, market, found))
        told = "; ".join(f"{limit['name']} ({limit['subject']})" for limit in binding)
        self.cells.append(
            {
                **row,
                "status": "optimal",
                "reason": None,
                **overrides(cell),
                **_objective(market, found),
                **_venues(market, found),
                "binding": told,
            }
        )
        self.positions += _positions(cell, market, found)
        self.limits += binding


def overrides(cell: Cell) -> Record:
    """Swept values, each in a column named by its dotted key."""
    return dict(cell.overrides)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _objective(market: Market, found: Answer) -> Record:
    """Terms of the objective, risk, size and trust of one cell, in USD."""
    solution, judged = found.solution, found.audit
    x = solution.decision.positions
    terms = evaluate.objective_terms(market, solution.decision)
    hedged = sum(evaluate.variances(market, x).values())
    unhedged = sum(evaluate.variances(market, np.zeros(len(x))).values())
    return {
        "total_usd": _finite(judged.objective_usd),
        **{f"{name}_usd": _finite(value) for name, value in terms.items()},
        "breaches_usd": _finite(breach_cost(judged.values)),
        "volatility_unhedged_usd": _finite(math.sqrt(unhedged)),
        "volatility_hedged_usd": _finite(math.sqrt(hedged)),
        "gross_usd": float(np.abs(x).sum()),
        "turnover_usd": float(np.abs(x - market.positions.usd).sum()),
        "transferred_usd": float(solution.decision.transfers.sum()),
        "max_violation_usd": judged.permitted.max_violation_usd,
        "duality_gap_usd": _finite(judged.duality_gap_usd),
        "scale_usd": _finite(judged.scale_usd),
        "solver": solution.solver,
        "iterations": solution.iterations,
    }


def _venues(market: Market, found: Answer) -> Record:
    """Margin of each venue at the optimum, and its worst stress: a column each, named by the venue."""
    state = evaluate.venues(market, found.solution.decision, "true")
    surplus = state.equity - state.maintenance_margin
    row: Record = {}
    for v, account in enumerate(market.accounts):
        equity, required = float(state.equity[0, v]), float(state.maintenance_margin[0, v])
        worst = 1 + int(np.argmin(surplus[1:, v])) if len(surplus) > 1 else None
        row |= {
            f"venues.{account.name}.equity_usd": _finite(equity),
            f"venues.{account.name}.initial_margin_usd": _finite(float(state.initial_margin[v])),
            f"venues.{account.name}.maintenance_margin_usd": _finite(required),
            f"venues.{account.name}.margin_ratio": _finite(required / equity) if equity > 0 else None,
            f"venues.{account.name}.worst_stress": None if worst is None else market.stresses.names[worst],
            f"venues.{account.name}.worst_surplus_usd": None
            if worst is None
            else _finite(float(surplus[worst, v])),
        }
    return row


def _positions(cell: Cell, market: Market, found: Answer) -> Iterator[Record]:
    x, held = found.solution.decision.positions.tolist(), market.positions.usd.tolist()
    for instrument, target, previous in zip(market.instruments, x, held, strict=True):
        yield {
            "cell": cell.index,
            "venue": instrument.exchange,
            "account": instrument.account,
            "symbol": instrument.symbol,
            "asset": instrument.asset,
            "previous_usd": previous,
            "target_usd": target,
            "trade_usd": target - previous,
        }


def _binding(cell: Cell, market: Market, found: Answer) -> Iterator[Record]:
    """Limits whose price is more than rounding: those and boxes of positions, with what a unit would save."""
    prices, least = found.solution.multipliers, BINDING * found.audit.scale_usd / market.book_usd
    used: dict[str, int] = {}
    for limit in found.audit.values:
        start = used.get(limit.name, 0)
        used[limit.name] = start + len(limit.subjects)
        price = prices.limits[limit.name][start : used[limit.name]]
        for k in np.flatnonzero(price > least).tolist():
            yield {
                "cell": cell.index,
                "name": limit.name,
                "subject": limit.subjects[k],
                "kind": limit.kind,
                "value": _finite(float(limit.value[k])),
                "bound": _finite(float(limit.bound[k])),
                "unit": limit.unit,
                "shadow_price_usd": float(price[k] * limit.usd_per_unit[k]),
            }
    yield from _boxes(cell, market, found, least)


def _boxes(cell: Cell, market: Market, found: Answer, least: float) -> Iterator[Record]:
    x, prices = found.solution.decision.positions, found.solution.multipliers
    for side, price, sign in (("lower", prices.lower, -1.0), ("upper", prices.upper, 1.0)):
        for i in np.flatnonzero(price > least).tolist():
            box = box_owner(market, i, "lower" if side == "lower" else "upper")
            bound = -box.lower[i] if side == "lower" else box.upper[i]
            yield {
                "cell": cell.index,
                "name": box.name,
                "subject": f"{market.instruments[i].key} {side}",
                "kind": box.kind,
                "value": sign * float(x[i]),
                "bound": float(bound),
                "unit": "USD",
                "shadow_price_usd": float(price[i]),
            }


def types(cells: tuple[Cell, ...]) -> Mapping[str, type]:
    """Of each swept key, the type that all its values have: float, bool, or else text."""
    found: dict[str, type] = {}
    for cell in cells:
        for key, value in cell.overrides.items():
            kind = str if value is None else type(value)
            if value is not None or key not in found:
                found[key] = kind if found.get(key, kind) is kind or value is None else str
    return found
