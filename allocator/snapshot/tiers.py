"""Margin tiers as a snapshot states them: in USD with deductions, or on the whole position without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.arrays import Vector
from models.margin import Brackets

TIER_COLUMNS = (
    "floor_usd",
    "cap_usd",
    "maintenance_margin_rate",
    "deduction_usd",
    "max_leverage",
    "cap_contracts",
)


@dataclass(frozen=True)
class StatedTiers:
    """One instrument's tiers; floors and caps are contracts where `in_contracts`, else USD.

    `deducted` says whether deductions were stated: tiers on the whole position have none, and the brackets
    hold those that would join them.
    """

    brackets: Brackets
    deducted: bool
    in_contracts: bool


def stated_tiers(columns: Mapping[str, Vector]) -> StatedTiers:
    """The tiers in their rows (K,), in order; empty cells are NaN. Raises ValueError for mixtures."""
    known = {name: ~np.isnan(column) for name, column in columns.items()}
    floors, caps, deductions = columns["floor_usd"], columns["cap_usd"], columns["deduction_usd"]
    in_contracts, deducted = bool(known["cap_contracts"].any()), bool(known["deduction_usd"].any())
    in_usd = known["floor_usd"] | known["cap_usd"]
    if in_contracts:
        if not known["cap_contracts"].all() or in_usd.any() or deducted:
            raise ValueError(
                "`cap_contracts` stands alone; write it in every tier, and leave floor_usd, cap_usd and "
                "deduction_usd empty"
            )
        caps = columns["cap_contracts"]
        floors = np.append(0.0, caps[:-1])
    elif not (known["floor_usd"].all() and known["cap_usd"].all()):
        raise ValueError("a tier lacks floor_usd or cap_usd; write both, or cap_contracts in every tier")
    rates = columns["maintenance_margin_rate"]
    if deducted and not known["deduction_usd"].all():
        raise ValueError(
            "deduction_usd is empty in some tiers; write all, or none where a rate counts for the whole "
            "position"
        )
    if not deducted:
        deductions = np.cumsum(floors * np.diff(rates, prepend=rates[:1]))
    return StatedTiers(
        Brackets(floors, caps, rates, deductions, columns["max_leverage"]), deducted, in_contracts
    )
