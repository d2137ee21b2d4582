"""How each account asks for margin, as arrays and groups: the venues' rules met with the instruments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import IntVector, Vector
from models.margin import Brackets, Schedules
from models.schedules import PortfolioMargin, whole_position_majorant


@dataclass(frozen=True)
class Netting:
    """Instruments of one asset on one venue of which only the larger side is margined."""

    venue: int
    asset: int
    members: IntVector


@dataclass(frozen=True)
class Portfolio:
    """Instruments of one asset on one venue under portfolio margin; their own schedules do not count."""

    venue: int
    asset: int
    members: IntVector
    rules: PortfolioMargin


@dataclass(frozen=True)
class Scheme:
    """Margin of all instruments.

    `schedules` (n, K) are brackets as the convex program has them; `bend` (n,) adds ``bend·n²`` in 1/USD to
    maintenance. Initial margin is ``initial_rate·n + initial_bend·n²`` of the size with open orders.
    `whole_position` (n,) marks schedules that really are tiers on the whole position, which the brackets only
    bound; `tiers` (n, K) holds those. `alone` (n,) is 1 for instruments outside all groups, else 0.
    """

    schedules: Schedules
    bend: Vector
    initial_rate: Vector
    initial_bend: Vector
    whole_position: NDArray[np.bool_]
    tiers: Schedules
    netting: tuple[Netting, ...]
    portfolios: tuple[Portfolio, ...]

    @property
    def alone(self) -> Vector:
        """1 where an instrument is margined by itself, 0 where a group margins it."""
        result = np.ones(len(self.bend))
        for members in [*(g.members for g in self.netting), *(g.members for g in self.portfolios)]:
            result[members] = 0.0
        return result

    @property
    def exact(self) -> bool:
        """Whether the convex program holds the venues' own schedules, not bounds on them."""
        return not (self.whole_position.any() or self.netting)


def bracket_scheme(brackets: list[Brackets], leverage: Vector) -> Scheme:
    """The plain scheme: brackets with deductions, initial margin by leverage."""
    n = len(brackets)
    schedules = Schedules.of(brackets)
    return Scheme(
        schedules=schedules,
        bend=np.zeros(n),
        initial_rate=1.0 / np.asarray(leverage, dtype=float),
        initial_bend=np.zeros(n),
        whole_position=np.zeros(n, dtype=bool),
        tiers=schedules,
        netting=(),
        portfolios=(),
    )


def tier_majorant(tiers: Brackets) -> Brackets:
    """The brackets that bound tiers on the whole position."""
    return whole_position_majorant(tiers.caps_usd, tiers.rates, tiers.max_leverages)


def groups_by(venue_of: IntVector, asset_of: IntVector) -> Mapping[tuple[int, int], IntVector]:
    """Instruments by venue and asset."""
    pairs = sorted(set(zip(venue_of.tolist(), asset_of.tolist(), strict=True)))
    return {(v, a): np.flatnonzero((venue_of == v) & (asset_of == a)) for v, a in pairs}
