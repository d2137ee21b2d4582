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
from allocator.audit.limits import LimitValues
from allocator.market.types import Market, Matrix
from models.arrays import BoolVector, Vector


@dataclass(frozen=True)
class BlockCheck:
    """Which limits each of K decisions keeps and what it costs, evaluated from the venues' own schedules.

    `max_violation_usd`, `tolerance_usd`, `scale_usd`, `objective_usd`, `breaches_usd` (K,) are as in `Check`
    and `Audit`; `worst` names the limit that is breached most.
    """

    figures: Figures
    limits: tuple[BlockLimit, ...]
    max_violation_usd: Vector
    tolerance_usd: Vector
    worst: tuple[str, ...]
    scale_usd: Vector
    objective_usd: Vector
    breaches_usd: Vector

    @property
    def permitted(self) -> BoolVector:
        """Whether every limit and box is kept (K,), within tolerance."""
        return np.asarray(self.max_violation_usd <= self.tolerance_usd)

    def cell(self, k: int) -> tuple[Check, tuple[LimitValues, ...]]:
        """What `check_limits` says of one decision."""
        violation, tolerance = float(self.max_violation_usd[k]), float(self.tolerance_usd[k])
        check = Check(violation <= tolerance, violation, self.worst[k], tolerance)
        return check, tuple(limit.cell(k) for limit in self.limits)


@dataclass(frozen=True)
class BlockAudit:
    """What the audit found in each of K cells; `passed`, `gap_usd` (K,) are as in `Audit`."""

    checked: BlockCheck
    passed: BoolVector
    gap_usd: Vector

    def cell(self, k: int) -> Audit:
        """The audit of one cell."""
        permitted, values = self.checked.cell(k)
        return Audit(
            passed=bool(self.passed[k]),
            permitted=permitted,
            duality_gap_usd=float(self.gap_usd[k]),
            scale_usd=float(self.checked.scale_usd[k]),
            objective_usd=float(self.checked.objective_usd[k]),
            values=values,
        )


def check_block(markets: Sequence[Market], positions: Matrix, transfers: Matrix) -> BlockCheck:
    """Evaluate decisions (K, n), (K, R) in USD, which are finite, on `evaluable` markets that are `alike`.

    Raises `DifferentRows` where a limit speaks of other subjects in some cells: check such cells one by one.
    """
    block = Block(tuple(markets))
    found = figures(block, positions, transfers)
    limits = tuple(limit_rows(found))
    violation, worst = _worst(found, limits)
    breaches = np.zeros(len(block))
    for limit in limits:
        if limit.price is not None:
            breaches = breaches + limit.price * np.maximum(-limit.slack_usd, 0.0).sum(axis=1)
    risk, other = block.weights
    weighted = [(risk if name == "risk" else other) * usd for name, usd in found.terms.items()]
    return BlockCheck(
        figures=found,
        limits=limits,
        max_violation_usd=violation,
        tolerance_usd=VIOLATION * block.book,
        worst=worst,
        scale_usd=np.asarray(sum(np.abs(term) for term in weighted) + breaches),
        objective_usd=np.asarray(sum(weighted) + breaches),
        breaches_usd=breaches,
    )


def audit_block(
    markets: Sequence[Market], positions: Matrix, transfers: Matrix, prices: Prices
) -> BlockAudit:
    """Judge decisions (K, n), (K, R) in USD with the multipliers (K, rows) of the limits by name.

    Markets, decisions and errors are as in `check_block`.
    """
    checked = check_block(markets, positions, transfers)
    # Cells whose numbers overflow fail: comparisons with NaN are false.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        gap = duality_gaps(checked.figures, checked.limits, prices)
    # A book of which nothing costs anything has no scale of its own; a millionth of a bp of it is one.
    small = gap <= GAP * np.maximum(checked.scale_usd, 1e-4 * GAP * checked.figures.block.book)
    return BlockAudit(checked, np.asarray(checked.permitted & small), gap)


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
