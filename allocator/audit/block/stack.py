"""Many markets of one structure as arrays with a leading axis of cells.

What is one and the same array in all cells keeps a leading axis of length 1, and what rests on it alone is
computed once. Letters of shapes are those of `allocator.market.types`, K is the number of cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from allocator import evaluate
from allocator.haircuts import cut_pockets
from allocator.market.types import Index, Market, Matrix
from models.arrays import Vector

Cells = NDArray[np.float64]
"""An array whose leading axis is K cells, or 1 where all cells share it."""


def stacked(parts: Sequence[Vector]) -> Cells:
    """Arrays of one shape on a new leading axis, which is of length 1 where they are the same object."""
    first = parts[0]
    if all(part is first for part in parts):
        return np.asarray(first, dtype=float)[None]
    return np.array(parts, dtype=float)


_FEW = 64  # owners


class Sums:
    """Sums over owners: (..., n) to (..., owners). An owner of −1 owns nothing."""

    def __init__(self, owner: Index, owners: int) -> None:
        kept = np.flatnonzero(owner >= 0)
        # A few owners: a dense product is faster than a sparse one.
        self._dense: Matrix | None = None
        if owners <= _FEW:
            self._dense = np.zeros((len(owner), owners))
            self._dense[kept, owner[kept]] = 1.0
        else:
            ones = (np.ones(len(kept)), (owner[kept], kept))
            self._matrix = sp.csr_array(ones, shape=(owners, len(owner)))

    def __call__(self, values: Cells) -> Cells:
        """Values of instruments, pockets or routes, summed by owner."""
        if self._dense is not None:
            return np.asarray(values @ self._dense)
        flat = values.reshape(-1, values.shape[-1])
        return np.asarray(self._matrix @ flat.T).T.reshape(*values.shape[:-1], self._matrix.shape[0])


@dataclass(frozen=True)
class Block:
    """Cells that one formula evaluates together; index arrays and names are those of `first`."""

    markets: tuple[Market, ...]

    def __len__(self) -> int:
        return len(self.markets)

    @property
    def first(self) -> Market:
        """The market whose names and indices stand for all."""
        return self.markets[0]

    def take(self, part: Callable[[Market], Vector]) -> Cells:
        """An array of every market, stacked."""
        return stacked([part(market) for market in self.markets])

    def scalars(self, part: Callable[[Market], float]) -> Vector:
        """A number of every market (K,)."""
        return np.array([part(market) for market in self.markets], dtype=float)

    def figure(self, place: int, name: str) -> Vector:
        """A figure (K,) of the limit at this place."""
        return np.array([getattr(market.limits[place].limit, name) for market in self.markets], dtype=float)

    @cached_property
    def book(self) -> Vector:
        """Size of the book (K,)."""
        return self.scalars(lambda m: m.book_usd)

    @cached_property
    def aversion(self) -> Vector:
        """Risk aversion in 1/USD (K,)."""
        return self.scalars(lambda m: m.objective.risk_aversion_per_usd)

    @cached_property
    def horizon_share(self) -> Vector:
        """h/H (K,)."""
        return self.scalars(lambda m: m.horizon_share)

    @cached_property
    def weights(self) -> tuple[float, float]:
        """Weights of risk and of all other terms, which belong to the structure."""
        return evaluate.objective_weights(self.first)

    @cached_property
    def by_venue(self) -> Sums:
        """Instruments to venues."""
        return Sums(self.first.venue_of, len(self.first.accounts))

    @cached_property
    def by_asset(self) -> Sums:
        """Instruments to assets."""
        return Sums(self.first.asset_of, len(self.first.assets))

    @cached_property
    def by_pocket(self) -> Sums:
        """Instruments to the pockets they settle in."""
        return Sums(self.first.pocket_of, len(self.first.pockets))

    @cached_property
    def by_index_currency(self) -> Sums:
        """Instruments to the currencies they are indexed in; USD is none of them."""
        return Sums(self.first.index_currency_of, len(self.first.currencies))

    @cached_property
    def by_basis(self) -> Sums:
        """Instruments to the groups that share a basis."""
        return Sums(self.first.risk.basis_group, len(self.first.risk.basis_sd))

    @cached_property
    def by_error(self) -> tuple[Sums, ...]:
        """Instruments to the shocks of each block of funding errors."""
        groups = self.first.funding.errors.groups
        return tuple(Sums(group, int(np.max(group, initial=-1)) + 1) for group in groups)

    @cached_property
    def pockets_by_venue(self) -> Sums:
        """Pockets to venues."""
        return Sums(self.first.pocket_venue, len(self.first.accounts))

    @cached_property
    def route_ends(self) -> tuple[Index, Index]:
        """Source and target pocket of each route (R,)."""
        routes = self.first.transfers.routes
        ends = np.array([(r.source, r.target) for r in routes], dtype=np.int64).reshape(-1, 2)
        return ends[:, 0], ends[:, 1]

    @cached_property
    def leaving_pocket(self) -> Sums:
        """Routes to the pockets they leave."""
        return Sums(self.route_ends[0], len(self.first.pockets))

    @cached_property
    def reaching_pocket(self) -> Sums:
        """Routes to the pockets they go to."""
        return Sums(self.route_ends[1], len(self.first.pockets))

    @cached_property
    def previous(self) -> Cells:
        """Positions held now (K, n)."""
        return self.take(lambda m: m.positions.usd)

    @cached_property
    def open_buys(self) -> Cells:
        """Resting buys (K, n)."""
        return self.take(lambda m: m.positions.open_buys_usd)

    @cached_property
    def open_sells(self) -> Cells:
        """Resting sells (K, n)."""
        return self.take(lambda m: m.positions.open_sells_usd)

    @cached_property
    def slopes(self) -> Cells:
        """Slopes of each trade's cost curve (K, n, segments)."""
        return self.take(lambda m: m.costs.slopes)

    @cached_property
    def intercepts(self) -> Cells:
        """Intercepts of each trade's cost curve (K, n, segments)."""
        return self.take(lambda m: m.costs.intercepts)

    @cached_property
    def impact(self) -> Cells:
        """Coefficient of the 3/2 law (K, n)."""
        return self.take(lambda m: m.costs.impact)

    @cached_property
    def balance(self) -> Cells:
        """Balance of each pocket (K, P)."""
        return self.take(lambda m: m.collateral.balance)

    @cached_property
    def withdrawable(self) -> Cells:
        """What may leave each pocket (K, P)."""
        return self.take(lambda m: m.collateral.withdrawable)

    @cached_property
    def exposure(self) -> Cells:
        """Exposure to each asset (K, A)."""
        return self.take(lambda m: m.exposure)

    @cached_property
    def funding(self) -> Cells:
        """Expected funding per USD long (K, n)."""
        return self.take(lambda m: m.funding.cost)

    @cached_property
    def pnl(self) -> Cells:
        """P&L per USD long under each stress (K, S, n)."""
        return self.take(lambda m: m.stresses.pnl)

    @cached_property
    def size_loss(self) -> Cells:
        """Loss per USD held, long or short, under each stress (K, S, n)."""
        return self.take(lambda m: m.stresses.size_loss)

    @cached_property
    def notional(self) -> Cells:
        """Factor on the margined notional under each stress (K, S, n)."""
        return self.take(lambda m: m.stresses.notional)

    @cached_property
    def deduction(self) -> Cells:
        """Factor on the deductions under each stress (K, S, n)."""
        return self.take(lambda m: m.stresses.deduction)

    @cached_property
    def pocket_factor(self) -> Cells:
        """Factor on each pocket's worth under each stress (K, S, P)."""
        return self.take(lambda m: m.stresses.pocket_factor)

    @cached_property
    def haircut(self) -> Cells:
        """Haircut of each pocket under each stress (K, S, P)."""
        return self.take(lambda m: m.stresses.haircut)

    @cached_property
    def ordered(self) -> bool:
        """Whether orders rest anywhere."""
        return bool(self.open_buys.any() or self.open_sells.any())

    @cached_property
    def transfer_cost(self) -> Cells:
        """Cost per USD sent along each route (K, R)."""
        return self.take(lambda m: m.transfers.cost)

    @cached_property
    def charge(self) -> Cells:
        """Charge on each pocket (K, P) per USD kept there."""
        return self.take(lambda m: m.collateral.charge)[:, self.first.pocket_venue]

    @cached_property
    def uncertainty(self) -> Cells:
        """κ times the sd of each funding cost's error (K, n)."""
        kappa = self.scalars(lambda m: m.objective.funding_uncertainty_aversion)
        return np.asarray(kappa[:, None] * self.take(lambda m: m.funding.uncertainty))

    @cached_property
    def floors(self) -> Cells:
        """Where brackets of maintenance margin begin (K, n, B); infinite ones are never met."""
        return self.take(lambda m: m.scheme.schedules.floors_usd)

    @cached_property
    def rates(self) -> Cells:
        """Their rates (K, n, B)."""
        return self.take(lambda m: m.scheme.schedules.rates)

    @cached_property
    def deductions(self) -> Cells:
        """Their deductions in USD (K, n, B)."""
        return self.take(lambda m: m.scheme.schedules.deductions_usd)

    @cached_property
    def box_lower(self) -> Cells:
        """Lower bounds of every box (K, boxes, n)."""
        return self._boxes(lambda m, b: m.boxes[b].lower, -np.inf)

    @cached_property
    def box_upper(self) -> Cells:
        """Upper bounds of every box (K, boxes, n)."""
        return self._boxes(lambda m, b: m.boxes[b].upper, np.inf)

    def _boxes(self, bound: Callable[[Market, int], Vector], free: float) -> Cells:
        n, boxes = len(self.first.instruments), range(len(self.first.boxes))
        rows = [np.broadcast_to(self.take(lambda m, b=b: bound(m, b)), (len(self), n)) for b in boxes]  # type: ignore[misc]
        return np.stack([np.full((len(self), n), free), *rows], axis=1)

    @cached_property
    def lower(self) -> Matrix:
        """Tightest lower bound on each position (K, n)."""
        return np.asarray(self.box_lower.max(axis=1))

    @cached_property
    def upper(self) -> Matrix:
        """Tightest upper bound on each position (K, n)."""
        return np.asarray(self.box_upper.min(axis=1))


_ALIKE: tuple[Callable[[Market], object], ...] = (
    lambda m: m.accounts,
    lambda m: m.assets,
    lambda m: m.currencies,
    lambda m: m.pockets,
    lambda m: m.transfers.routes,
    lambda m: m.stresses.names,
    lambda m: tuple((spec.key, type(spec.limit)) for spec in m.limits),
    lambda m: tuple(box.name for box in m.boxes),
    lambda m: (m.objective.mode, m.objective.tie_break),
)
_ALIKE_ARRAYS: tuple[Callable[[Market], NDArray[np.generic]], ...] = (
    lambda m: m.venue_of,
    lambda m: m.asset_of,
    lambda m: m.index_currency_of,
    lambda m: m.pocket_of,
    lambda m: m.pocket_venue,
    lambda m: m.transfers.arrives,
    lambda m: m.risk.basis_group,
    lambda m: m.funding.errors.groups,
)
_SHAPES: tuple[Callable[[Market], tuple[int, ...]], ...] = (
    lambda m: m.costs.slopes.shape,
    lambda m: m.scheme.schedules.floors_usd.shape,
    lambda m: m.risk.asset_loadings.shape,
    lambda m: m.risk.basis_loadings.shape,
)


def evaluable(market: Market) -> bool:
    """Whether every margin rule of this market has a formula for blocks: plain schedules, flat haircuts."""
    scheme = market.scheme
    return scheme.exact and not scheme.portfolios and not market.collateral.tiers


def alike(one: Market, other: Market) -> bool:
    """Whether two markets of one compiled program can be cells of one block."""
    same = all(part(one) == part(other) for part in _ALIKE) and all(
        part(one) == part(other) for part in _SHAPES
    )
    if not same:
        return False
    for array in _ALIKE_ARRAYS:
        a, b = array(one), array(other)
        if a is not b and not np.array_equal(a, b):
            return False
    if one.instruments is not other.instruments and (
        [i.key for i in one.instruments] != [i.key for i in other.instruments]
        or not np.array_equal(one.dated, other.dated)
    ):
        return False
    if one.stresses is not other.stresses and not np.array_equal(cut_pockets(one), cut_pockets(other)):
        return False
    finite = np.isfinite(one.transfers.headroom)
    return one.transfers is other.transfers or np.array_equal(finite, np.isfinite(other.transfers.headroom))
