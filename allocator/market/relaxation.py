"""A market whose convex program lies below the true one: the bound that whole-lot answers are judged by.

Where the core program holds a convex majorant of what a venue asks for, it is safe but may cost more than the
best permitted answer. Here every such schedule is replaced by a convex minorant instead, so that each
decision which the venues' own schedules permit is permitted, at the same cost.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from allocator.market.scheme import Scheme
from allocator.market.types import Market
from models.margin import Brackets, Schedules
from models.schedules import whole_position_minorant


def relaxed(market: Market) -> Market:
    """The market with margin bounded from below; the same object where margin is exact already."""
    if market.scheme.exact:
        return market
    return replace(market, scheme=_below(market))


def _below(market: Market) -> Scheme:
    """Tiers by their minorant; a netted position that may take either sign asks for nothing."""
    scheme = market.scheme
    farthest = np.maximum(np.abs(market.lower), np.abs(market.upper))
    rows = [
        _minorant(scheme, i, float(farthest[i])) if scheme.whole_position[i] else _own(scheme, i)
        for i in range(len(scheme.bend))
    ]
    free = np.zeros(len(rows), dtype=bool)
    for group in scheme.netting:
        free[group.members] = market.side[group.members] == 0
    schedules = Schedules.of(rows)
    schedules = replace(
        schedules,
        rates=np.where(free[:, None], 0.0, schedules.rates),
        deductions_usd=np.where(free[:, None], 0.0, schedules.deductions_usd),
    )
    return replace(
        scheme,
        schedules=schedules,
        bend=np.where(free, 0.0, scheme.bend),
        initial_rate=np.where(free, 0.0, scheme.initial_rate),
        initial_bend=np.where(free, 0.0, scheme.initial_bend),
        whole_position=np.zeros(len(rows), dtype=bool),
        tiers=schedules,
    )


def _minorant(scheme: Scheme, i: int, farthest: float) -> Brackets:
    """The minorant of one instrument's tiers, as far as its position may go."""
    met = np.isfinite(scheme.tiers.floors_usd[i])
    floors, rates = scheme.tiers.floors_usd[i, met], scheme.tiers.rates[i, met]
    # The last tier ends where the position must; it counts at least as wide as all before it.
    return whole_position_minorant(np.append(floors[1:], max(farthest, 2 * floors[-1], 1.0)), rates)


def _own(scheme: Scheme, i: int) -> Brackets:
    met = np.isfinite(scheme.schedules.floors_usd[i])
    floors, rates = scheme.schedules.floors_usd[i, met], scheme.schedules.rates[i, met]
    caps = np.append(floors[1:], np.inf)
    return Brackets(floors, caps, rates, scheme.schedules.deductions_usd[i, met], np.full(len(caps), np.inf))
