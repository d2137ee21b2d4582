"""The audit of many decisions at once: what `allocator.audit.audit` says of each, by formulas for blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from allocator.audit.audit import GAP, VIOLATION, Audit, Check
from allocator.audit.block.bound import Prices, duality_gaps
from allocator.audit.block.figures import Figures, figures
from allocator.audit.block.limits import BlockLimit, limit_rows
from allocator.audit.block.stack import Block
from allocator.market.types import Market, Matrix
from models.arrays import BoolVector, Vector


@dataclass(frozen=True)
class BlockAudit:
    """What the audit found in each of K cells; `cell` states one as the single audit would.

    `passed`, `permitted` (K,), `max_violation_usd`, `tolerance_usd`, `gap_usd`, `scale_usd`, `objective_usd`,
    `breaches_usd` (K,) are as in `Audit`; `worst` names the limit that is breached most.
    """

    figures: Figures
    limits: tuple[BlockLimit, ...]
    passed: BoolVector
    max_violation_usd: Vector
    tolerance_usd: Vector
    worst: tuple[str, ...]
    gap_usd: Vector
    scale_usd: Vector
    objective_usd: Vector
    breaches_usd: Vector

    def cell(self, k: int) -> Audit:
        """The audit of one cell."""
        violation, tolerance = float(self.max_violation_usd[k]), float(self.tolerance_usd[k])
        return Audit(
            passed=bool(self.passed[k]),
            permitted=Check(violation <= tolerance, violation, self.worst[k], tolerance),
            duality_gap_usd=float(self.gap_usd[k]),
            scale_usd=float(self.scale_usd[k]),
            objective_usd=float(self.objective_usd[k]),
            values=tuple(limit.cell(k) for limit in self.limits),
        )


def audit_block(
    markets: Sequence[Market], positions: Matrix, transfers: Matrix, prices: Prices
) -> BlockAudit:
    """Judge decisions (K, n), (K, R) in USD with the multipliers (K, rows) of the limits by name.

    The markets must be `evaluable` and `alike`, decisions finite. Raises `DifferentRows` where a limit speaks
    of other subjects in some cells: judge such cells one by one.
    """
    block = Block(tuple(markets))
    found = figures(block, positions, transfers)
    limits = tuple(limit_rows(found))
    violation, worst = _worst(found, limits)
    # Cells whose numbers overflow fail: comparisons with NaN are false.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        gap = duality_gaps(found, limits, prices)
    breaches = np.zeros(len(block))
    for limit in limits:
        if limit.price is not None:
            breaches = breaches + limit.price * np.maximum(-limit.slack_usd, 0.0).sum(axis=1)
    risk, other = block.weights
    weighted = [(risk if name == "risk" else other) * usd for name, usd in found.terms.items()]
    scale = np.asarray(sum(np.abs(term) for term in weighted) + breaches)
    tolerance = VIOLATION * block.book
    # A book of which nothing costs anything has no scale of its own; a millionth of a bp of it is one.
    small = gap <= GAP * np.maximum(scale, 1e-4 * GAP * block.book)
    return BlockAudit(
        figures=found,
        limits=limits,
        passed=np.asarray((violation <= tolerance) & small),
        max_violation_usd=violation,
        tolerance_usd=tolerance,
        worst=worst,
        gap_usd=gap,
        scale_usd=scale,
        objective_usd=np.asarray(sum(weighted) + breaches),
        breaches_usd=breaches,
    )


def _worst(found: Figures, limits: Sequence[BlockLimit]) -> tuple[Vector, tuple[str, ...]]:
    """The largest breach (K,) in USD of any hard limit or box, and of which."""
    block, x, first = found.block, found.positions, found.block.first
    worst, names = np.zeros(len(block)), [""] * len(block)

    def meet(over: Matrix, name: str, subjects: Sequence[str]) -> None:
        at = np.argmax(over, axis=1)
        most = over[np.arange(len(over)), at]
        for k in np.flatnonzero(~(most <= worst)).tolist():
            worst[k] = most[k]
            names[k] = f"{name} ({subjects[at[k]]})"

    for limit in limits:
        if limit.price is None and len(limit.subjects):
            meet(-limit.slack_usd, limit.name, limit.subjects)
    keys = [instrument.key for instrument in first.instruments]
    for b, box in enumerate(first.boxes, start=1):
        meet(np.maximum(block.box_lower[:, b] - x, x - block.box_upper[:, b]), box.name, keys)
    if found.transfers.shape[1]:
        for k in np.flatnonzero(-found.transfers.min(axis=1) > worst).tolist():
            worst[k], names[k] = -found.transfers[k].min(), "transfers are not negative"
    return worst, tuple(names)
