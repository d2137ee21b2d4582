"""What pockets count for as margin where haircuts are flat or grow tier by tier: values, slopes, pieces.

A pocket's value is concave in its worth: the least of affine pieces, which the program holds as rows and the
audit's bound as weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from allocator.market.types import Index, Market
from models.arrays import Vector
from models.collateral import HaircutTiers, margin_value

Tiers = Mapping[int, HaircutTiers]


def counted_value(tiers: Tiers, worth: Vector, haircut: Vector, step: float) -> Vector:
    """USD that pockets of this worth count for: at flat haircuts (P,), or by tiers raised by a step.

    `worth` is (P,), or (P, M) of many moments; the same comes out. Haircuts may be (P, M) then too.
    """
    along = haircut if haircut.ndim == worth.ndim else haircut.reshape(-1, *[1] * (worth.ndim - 1))
    value = np.array(margin_value(worth, along))
    for pocket, schedule in tiers.items():
        value[pocket] = schedule.value(worth[pocket], step)
    return value


def marginal_value(tiers: Tiers, worth: Vector, haircut: Vector, step: float = 0.0) -> Vector:
    """What one dollar more in each pocket (P,) counts for; a debt counts whole."""
    slope = np.where(worth >= 0, 1.0 - haircut, 1.0)
    for pocket, schedule in tiers.items():
        slope[pocket] = schedule.marginal(float(worth[pocket]), step)
    return slope


@dataclass(frozen=True)
class Pieces:
    """Affine pieces (J,): piece j says that pocket[j] counts for at most slope·worth + intercept USD."""

    pocket: Index
    slope: Vector
    intercept: Vector


def cut_pockets(market: Market) -> Index:
    """Pockets of which some part does not count, now or in some stress."""
    cut = np.any(market.stresses.haircut > 0, axis=0)
    cut[list(market.collateral.tiers)] = True
    return np.flatnonzero(cut)


def value_pieces(market: Market, s: int) -> Pieces:
    """The pieces of every cut pocket under stress s, pocket by pocket; the least of them is its value."""
    stress = market.stresses
    pockets, slopes, intercepts = [], [], []
    for p in cut_pockets(market).tolist():
        if p in market.collateral.tiers:
            slope, intercept = market.collateral.tiers[p].pieces(float(stress.haircut_step[s]))
        else:
            slope, intercept = np.array([1.0, 1.0 - stress.haircut[s, p]]), np.zeros(2)
        pockets += [p] * len(slope)
        slopes.append(slope)
        intercepts.append(intercept)
    return Pieces(
        np.array(pockets, dtype=np.int64),
        np.concatenate([*slopes, np.zeros(0)]),
        np.concatenate([*intercepts, np.zeros(0)]),
    )


def share_name(s: int) -> str:
    """Name under which the multipliers of the pieces under stress s are given."""
    return f"collateral.{s}"


def piece_shares(pieces: Pieces, value: Vector, duals: Vector | None, near_usd: float) -> Vector:
    """Weights (J,) ≥ 0 that add up to one per pocket, on pieces within `near_usd` of its least `value` (J,).

    The multipliers' (J,) where they say something, else all on the least piece. Any such weights bound the
    pockets' values from above; those of the multipliers make the bound tight at a kink.
    """
    shares = np.zeros(len(value))
    for p in np.unique(pieces.pocket):
        rows = np.flatnonzero(pieces.pocket == p)
        least = rows[int(np.argmin(value[rows]))]
        priced = (
            np.zeros(len(rows)) if duals is None or len(duals) != len(value) else np.maximum(duals[rows], 0)
        )
        priced = np.where(value[rows] <= value[least] + near_usd, priced, 0.0)
        if priced.sum() > 0:
            shares[rows] = priced / priced.sum()
        else:
            shares[least] = 1.0
    return shares
