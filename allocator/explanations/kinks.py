"""Which slope counts at kinks that several positions share, chosen so that all sums close.

Two kinds: a collateral haircut where the worth of a pocket passes zero, and a venue exactly at its warning
level. Together with the kinks of single positions they form a linear program: least Σ|what does not close|.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import linprog

from allocator import evaluate
from allocator.audit.weights import Weights
from allocator.explanations.slopes import Nearness, Slopes, slopes
from allocator.haircuts import marginal_value
from allocator.market.types import Decision, Market, Matrix
from models.arrays import Vector

_UNIT = 1e-4  # slopes are counted in basis points


@dataclass(frozen=True)
class Component:
    """What one cause weighs; where it is `open` any share of it from 0 to 1 may count."""

    cause: str
    weights: Weights
    norm: Vector
    open: bool = False


@dataclass(frozen=True)
class Kinks:
    """All slopes that may be chosen: of each position's own functions between `ends`, and the shared ones.

    `mass` (J, S, P) is what a dollar of each pocket's worth weighs, by component; `counted` (S, P) the share
    of it that counts after the haircut, and `bent` (S, P) where any share from `least` to `most` may.
    """

    market: Market
    components: Sequence[Component]
    mass: Matrix
    counted: Matrix
    least: Matrix
    most: Matrix
    bent: NDArray[np.bool_]
    ends: tuple[Slopes, Slopes]

    def slope(self, c: Component, counted: Matrix, at: Slopes) -> Vector:
        """Slope (n,) of one cause, with `counted` (S, P) of each pocket's worth."""
        pull = c.weights.equity[:, self.market.pocket_venue] * counted
        return own_slope(c, at) + self.pulled(pull, at)

    def pulled(self, pull: Matrix, at: Slopes) -> Vector:
        """Slope (n,) of −pull·worth, (S, P): P&L of the positions and costs paid."""
        stress, pocket_of = self.market.stresses, self.market.pocket_of
        moved = stress.size_loss * at.size - stress.pnl
        moved = moved + stress.pocket_factor[:, pocket_of] * (at.cost + at.impact)
        return np.asarray((pull[:, pocket_of] * moved).sum(axis=0))

    def total(self, shares: Vector, counted: Matrix, at: Slopes) -> Vector:
        """Slope (n,) of all causes at shares (J,)."""
        used = [(c, share) for c, share in zip(self.components, shares, strict=True) if share]
        parts = [share * self.slope(c, counted, at) for c, share in used]
        return np.asarray(sum(parts, np.zeros(len(self.market.instruments))))

    def trade(self, shares: Vector, counted: Matrix, at: Slopes) -> Vector:
        """The part of `total` that the trade itself makes: its cost wherever it is paid, and turnover."""
        pull = np.tensordot(shares, self.mass, axes=1) * counted * self.market.stresses.pocket_factor
        paid = pull.sum(axis=0)[self.market.pocket_of]
        paid = paid + sum(s * c.weights.cost for c, s in zip(self.components, shares, strict=True))
        turned = sum(s * c.weights.turnover for c, s in zip(self.components, shares, strict=True))
        return np.asarray(paid * (at.cost + at.impact) + turned * at.turnover)


def own_slope(c: Component, at: Slopes) -> Vector:
    """Slope (n,) of one cause but for what it makes of margin equity."""
    w = c.weights
    own = w.linear + w.size * at.size + w.order_size * at.order_size + w.turnover * at.turnover
    own = own + w.cost * (at.cost + at.impact) + (w.maintenance * at.maintenance).sum(axis=0)
    return np.asarray(own + c.norm * at.norm)


def find_kinks(market: Market, decision: Decision, components: Sequence[Component], near: Nearness) -> Kinks:
    """The kinks at or near a decision."""
    mass = np.array([c.weights.equity[:, market.pocket_venue] for c in components])
    weight, worth = mass.sum(axis=0), _worth(market, decision)
    # Within this of a kink, what is at stake is too little to tell on which side of it the pocket is.
    reach = np.divide(near.usd, weight, out=np.zeros_like(weight), where=weight > 0)
    most_counts = _marginal(market, worth - np.maximum(reach, near.distance))
    least_counts = _marginal(market, worth + np.maximum(reach, near.distance))
    most = Weights.empty(market)
    for c in components:
        for name in ("linear", "size", "order_size", "turnover", "cost", "maintenance"):
            setattr(most, name, getattr(most, name) + getattr(c.weights, name))
    paid = most.cost + (weight * market.stresses.pocket_factor).sum(axis=0)[market.pocket_of]
    return Kinks(
        market=market,
        components=components,
        mass=mass,
        counted=_marginal(market, worth),
        least=least_counts,
        most=most_counts,
        bent=(least_counts < most_counts) & (weight > 0),
        ends=slopes(market, decision.positions, most, paid, near),
    )


def _marginal(market: Market, worth: Matrix) -> Matrix:
    """What one dollar more of each pocket's worth (S, P) counts for, after haircuts."""
    stress, tiers = market.stresses, market.collateral.tiers
    return np.array(
        [
            marginal_value(tiers, row, stress.haircut[s], float(stress.haircut_step[s]))
            for s, row in enumerate(worth)
        ]
    )


def _worth(market: Market, decision: Decision) -> Matrix:
    """What each pocket is worth (S, P) before its haircut."""
    x, stress = decision.positions, market.stresses
    cash = evaluate.balances(market, decision, evaluate.trade_costs(market, x - market.positions.usd).total)
    gain = stress.pnl * x - stress.size_loss * np.abs(x)
    settled = [np.bincount(market.pocket_of, weights=row, minlength=len(cash)) for row in gain]
    return np.asarray(stress.pocket_factor * cash + np.array(settled))


def close(kinks: Kinks, boxes: Vector) -> tuple[Vector, Matrix]:
    """Shares (J,) of the components and counted shares (S, P) of the pockets that close the sums best."""
    shares = np.ones(len(kinks.components))
    free = np.flatnonzero([c.open for c in kinks.components])
    rows, columns = np.nonzero(kinks.bent)
    if not len(free) and not len(rows):
        return shares, kinks.counted

    def pull(z: Vector) -> tuple[Vector, Matrix, Matrix]:
        chosen = shares.copy()
        chosen[free] = z[: len(free)]
        mass = np.tensordot(chosen, kinks.mass, axes=1)
        pulled = mass * kinks.counted
        pulled[rows, columns] = z[len(free) :]
        return chosen, mass, pulled

    own = [np.array([own_slope(c, end) for c in kinks.components]) for end in kinks.ends]

    def at_end(k: int) -> Callable[[Vector], Vector]:
        def value(z: Vector) -> Vector:
            chosen, _, pulled = pull(z)
            return np.asarray(chosen @ own[k] + kinks.pulled(pulled, kinks.ends[k]))

        return value

    unknown = len(free) + len(rows)
    low, low_z = _affine(at_end(0), unknown)
    high, high_z = _affine(at_end(1), unknown)
    mass, mass_z = _affine(lambda z: pull(z)[1][rows, columns], unknown)
    z = _least_residual((low + boxes, low_z), (high - low, high_z - low_z), (mass, mass_z), kinks, len(free))
    chosen, weight, pulled = pull(z)
    counted = kinks.counted.copy()
    np.divide(pulled, weight, out=counted, where=kinks.bent & (weight > 0))
    return chosen, np.asarray(np.clip(counted, kinks.least, kinks.most))


Affine = tuple[Vector, Matrix]


def _affine(function: Callable[[Vector], Vector], unknown: int) -> Affine:
    """An affine function of z (unknown,) as its value at zero and its matrix."""
    base = function(np.zeros(unknown))
    columns = [function(unit) - base for unit in np.eye(unknown)]
    return base, np.array(columns).reshape(unknown, -1).T


def _least_residual(low: Affine, width: Affine, mass: Affine, kinks: Kinks, shares: int) -> Vector:
    """z with the least Σ|low + p − r|, 0 ≤ p ≤ width, shares in [0, 1], pulls in [least, most]·mass."""
    unknown, pulls = low[1].shape[1], low[1].shape[1] - shares
    # Positions that no unknown touches stay as they are.
    touched = np.flatnonzero(np.any(low[1] != 0, axis=1) | np.any(width[1] != 0, axis=1))
    n = len(touched)
    chosen, least, most = np.eye(unknown)[shares:], kinks.least[kinks.bent], kinks.most[kinks.bent]
    none, eye = sp.csr_array((2 * pulls, 3 * n)), sp.eye_array(n)
    wide = sp.hstack([sp.csr_array(-width[1][touched] / _UNIT), eye, sp.csr_array((n, 2 * n))])
    pulled = np.vstack([chosen - most[:, None] * mass[1], least[:, None] * mass[1] - chosen]) / _UNIT
    # SciPy's stubs know neither sparse constraints nor bounds as an array.
    ranges: Any = np.array([(0.0, 1.0)] * shares + [(0.0, np.inf)] * (pulls + 3 * n))
    above: Any = sp.csr_array(sp.vstack([wide, sp.hstack([sp.csr_array(pulled), none])]))
    equal: Any = sp.csr_array(sp.hstack([sp.csr_array(low[1][touched] / _UNIT), eye, -eye, eye]))
    found = linprog(
        np.concatenate([np.zeros(unknown + n), np.ones(2 * n)]),
        A_ub=above,
        b_ub=np.concatenate([width[0][touched], most * mass[0], -least * mass[0]]) / _UNIT,
        A_eq=equal,
        b_eq=-low[0][touched] / _UNIT,
        bounds=ranges,
    )
    if found.x is None:
        raise ValueError(f"slopes at shared kinks: {found.message}")
    return np.asarray(found.x[:unknown])
