"""Rows of a sweep's tables: one a cell, one a position, one a limit that binds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from allocator import evaluate
from allocator.audit.audit import breach_cost
from allocator.errors import HedgeError
from allocator.market.boxes import box_owner
from allocator.market.types import Market
from allocator.scenario.cells import Cell
from allocator.sweeps.block_records import BINDING, Binding, Record, block_rows, finite
from allocator.sweeps.columns import Columns, each, repeated
from allocator.sweeps.fast import Answer
from models.arrays import Vector

Found = tuple[Cell, Market | None, Answer | HedgeError]

__all__ = ["Record", "Records", "overrides", "types"]


@dataclass
class Records:
    """Rows by table."""

    cells: list[Record] = field(default_factory=list)
    positions: Columns = field(default_factory=Columns)
    limits: Columns = field(default_factory=Columns)

    def extend(self, found: Sequence[Found]) -> None:
        """The rows of many cells, in their order: those that were judged together are told together."""
        for _, part in groupby(found, key=_block):
            cells = list(part)
            answer = cells[0][2]
            if isinstance(answer, Answer) and answer.judged is not None and len(cells) > 1:
                self._add_block(cells)
            else:
                for cell, market, said in cells:
                    self.add(cell, market, said)

    def add(self, cell: Cell, market: Market | None, found: Answer | HedgeError) -> None:
        """The rows of one cell; one that failed is a row with its reason."""
        if market is None or isinstance(found, HedgeError):
            status = found.status if isinstance(found, HedgeError) else "failed"
            row = {**_named(cell), "status": status, "reason": str(found), **overrides(cell)}
            self.cells.append(row)
            return
        binding = list(_binding(market, found))
        self._add(cell, {**_objective(market, found), **_venues(market, found)}, binding)
        self._add_limits([(cell, binding)])
        self._add_positions([cell], market, market.positions.usd, found.solution.decision.positions)

    def _add(self, cell: Cell, figures: Record, binding: Sequence[Binding]) -> None:
        told = "; ".join([f"{limit.name} ({limit.subject})" for limit in binding])
        row = {**_named(cell), "status": "optimal", "reason": None, **overrides(cell), **figures}
        self.cells.append({**row, "binding": told})

    def _add_limits(self, found: Sequence[tuple[Cell, Sequence[Binding]]]) -> None:
        """Rows of binding limits of some cells."""
        rows = [(cell.index, *limit) for cell, binding in found for limit in binding]
        if rows:
            self.limits.append(dict(zip(("cell", *Binding._fields), zip(*rows, strict=True), strict=True)))

    def _add_block(self, found: Sequence[Found]) -> None:
        """Cells of one block, whose figures are there already."""
        answers = [answer for _, _, answer in found if isinstance(answer, Answer)]
        judged = answers[0].judged
        assert judged is not None
        places = np.array([answer.place for answer in answers])
        limits: list[tuple[Cell, Sequence[Binding]]] = []
        for (cell, _, _), (figures, binding) in zip(found, block_rows(judged, places), strict=True):
            self._add(cell, figures, binding)
            limits.append((cell, binding))
        self._add_limits(limits)
        block = judged.audit.checked.figures.block
        previous = np.broadcast_to(block.previous, judged.solutions.positions.shape)[places]
        positions = judged.solutions.positions[places]
        self._add_positions([cell for cell, _, _ in found], block.first, previous.ravel(), positions.ravel())

    def _add_positions(self, cells: Sequence[Cell], market: Market, previous: Vector, target: Vector) -> None:
        held, times = market.instruments, len(cells)
        self.positions.append(
            {
                "cell": each(np.array([cell.index for cell in cells]), len(held)),
                "venue": repeated([i.exchange for i in held], times),
                "account": repeated([i.account for i in held], times),
                "symbol": repeated([i.symbol for i in held], times),
                "asset": repeated([i.asset for i in held], times),
                "previous_usd": previous,
                "target_usd": target,
                "trade_usd": target - previous,
            }
        )


def _block(found: Found) -> int:
    """Equal for cells in a row that were judged together."""
    answer = found[2]
    return id(answer.judged) if isinstance(answer, Answer) and answer.judged is not None else 0


def _named(cell: Cell) -> Record:
    return {"cell": cell.index, "name": cell.name, "id": cell.described}


def overrides(cell: Cell) -> Record:
    """Swept values, each in a column named by its dotted key."""
    return dict(cell.overrides)


def _objective(market: Market, found: Answer) -> Record:
    """Terms of the objective, risk, size and trust of one cell, in USD."""
    solution, judged = found.solution, found.audit
    x = solution.decision.positions
    terms = evaluate.objective_terms(market, solution.decision)
    hedged = sum(evaluate.variances(market, x).values())
    unhedged = sum(evaluate.variances(market, np.zeros(len(x))).values())
    return {
        "total_usd": finite(judged.objective_usd),
        **{f"{name}_usd": finite(value) for name, value in terms.items()},
        "breaches_usd": finite(breach_cost(judged.values)),
        "volatility_unhedged_usd": finite(math.sqrt(unhedged)),
        "volatility_hedged_usd": finite(math.sqrt(hedged)),
        "gross_usd": float(np.abs(x).sum()),
        "turnover_usd": float(np.abs(x - market.positions.usd).sum()),
        "transferred_usd": float(solution.decision.transfers.sum()),
        "max_violation_usd": judged.permitted.max_violation_usd,
        "duality_gap_usd": finite(judged.duality_gap_usd),
        "scale_usd": finite(judged.scale_usd),
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
            f"venues.{account.name}.equity_usd": finite(equity),
            f"venues.{account.name}.initial_margin_usd": finite(float(state.initial_margin[v])),
            f"venues.{account.name}.maintenance_margin_usd": finite(required),
            f"venues.{account.name}.margin_ratio": finite(required / equity) if equity > 0 else None,
            f"venues.{account.name}.worst_stress": None if worst is None else market.stresses.names[worst],
            f"venues.{account.name}.worst_surplus_usd": None
            if worst is None
            else finite(float(surplus[worst, v])),
        }
    return row


def _binding(market: Market, found: Answer) -> Iterator[Binding]:
    """Limits whose price is more than rounding: those and boxes of positions, with what a unit would save."""
    prices, least = found.solution.multipliers, BINDING * found.audit.scale_usd / market.book_usd
    used: dict[str, int] = {}
    for limit in found.audit.values:
        start = used.get(limit.name, 0)
        used[limit.name] = start + len(limit.subjects)
        price = prices.limits[limit.name][start : used[limit.name]]
        for k in np.flatnonzero(price > least).tolist():
            value, bound = finite(float(limit.value[k])), finite(float(limit.bound[k]))
            worth = float(price[k] * limit.usd_per_unit[k])
            yield Binding(limit.name, limit.subjects[k], limit.kind, value, bound, limit.unit, worth)
    yield from _boxes(market, found, least)


def _boxes(market: Market, found: Answer, least: float) -> Iterator[Binding]:
    x, prices = found.solution.decision.positions, found.solution.multipliers
    for side, price, sign in (("lower", prices.lower, -1.0), ("upper", prices.upper, 1.0)):
        for i in np.flatnonzero(price > least).tolist():
            box = box_owner(market, i, "lower" if side == "lower" else "upper")
            bound = float(-box.lower[i] if side == "lower" else box.upper[i])
            subject, value = f"{market.instruments[i].key} {side}", sign * float(x[i])
            yield Binding(box.name, subject, box.kind, value, bound, "USD", float(price[i]))


def types(cells: tuple[Cell, ...]) -> Mapping[str, type]:
    """Of each swept key, the type that all its values have: float, bool, or else text."""
    found: dict[str, type] = {}
    for cell in cells:
        for key, value in cell.overrides.items():
            kind = str if value is None else type(value)
            if value is not None or key not in found:
                found[key] = kind if found.get(key, kind) is kind or value is None else str
    return found
