"""Handing orders out: every way out of the house asks the last gate first."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from allocator.orders.outcome import Outcome

ORDERS = "orders.csv"
SCHEDULE = "schedule.csv"

log = logging.getLogger(__name__)


def gate(
    out: Path,
    run_id: str,
    result: Mapping[str, Any],
    orders: Sequence[Mapping[str, str]],
    follow_up: bool = False,
) -> tuple[Outcome, ...]:
    """What the clock and the files beside a run say of its orders now; each refusal is logged."""
    from allocator.orders.outcome import refusals
    from allocator.orders.release import Handover, check_release, clock

    ids = [(order["venue"], order["client_order_id"]) for order in orders]
    if not ids:
        return ()
    outcomes = check_release(result["release"], Handover(run_id, out, ids, clock()), follow_up)
    for problem in refusals(outcomes):
        log.error("%s", problem)
    return outcomes
