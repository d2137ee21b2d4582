"""Every number of the program, scaled to order one, from one function of the market.

Amounts are divided by U, the book's size; the objective and trade costs by U·bp (`COST`), since costs are
basis points of the book. A coefficient is a *product* that enters the program linearly (√λ·F, φ/bp,
r_k·ν, h/H, …), so that each may be a parameter and the program stays DPP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache

import numpy as np
import scipy.sparse as sp

from allocator.cushion import counted_share, settled_share
from allocator.haircuts import cut_pockets, value_pieces
from allocator.market.types import Index, Market
from allocator.program.parts import AFRESH, Parts
from allocator.scenario.schema import (
    HedgeRatio,
    Limit,
    LimitBase,
    LiquidationProbability,
    Liquidity,
    VenueOutage,
    VenueShare,
    Volatility,
)
from models.arrays import Vector

COST = 1e-4  # unit of cost, as a share of the book


@dataclass(frozen=True)
class MarginRows:
    """Affine pieces of all maintenance schedules: piece j bounds instrument `instrument[j]`."""

    instrument: Index
    rate: Vector
    deduction_usd: Vector


@dataclass(frozen=True)
class Structure:
    """What fixes the shape of the compiled program: changing any of it needs a rebuild."""

    segments: tuple[Index, Index]
    margin: MarginRows
    side: Vector
    boxed_below: Index
    boxed_above: Index
    ordered: Index
    has_impact: bool
    has_idiosyncratic: bool
    basis_factors: int
    has_basis_beta: bool
    has_funding_uncertainty: bool
    has_size_loss: bool
    haircut_pockets: Index
    value_pieces: Index
    bent: Index
    initial_bent: Index
    has_charge: bool
    debts: Index
    signature: tuple[str, ...]


def structure(market: Market, parts: Parts = AFRESH) -> Structure:
    """The shape of this market's program."""
    costs, scheme, stresses = market.costs, market.scheme, market.stresses
    held, risk = market.positions, market.risk
    pocketed = (stresses, market.collateral.tiers or None)
    return Structure(
        segments=parts("segments", lambda: _segments(market), costs),
        margin=parts("margin rows", lambda: _margin_rows(market), scheme),
        side=market.side,
        boxed_below=parts("below", lambda: np.flatnonzero(np.isfinite(market.lower)), market.boxes),
        boxed_above=parts("above", lambda: np.flatnonzero(np.isfinite(market.upper)), market.boxes),
        ordered=parts("ordered", lambda: np.flatnonzero(held.open_buys_usd + held.open_sells_usd > 0), held),
        has_impact=parts("impact", lambda: bool(np.any(costs.impact > 0)), costs),
        has_idiosyncratic=parts("own risk", lambda: bool(np.any(risk.asset_idiosyncratic > 0)), risk),
        basis_factors=len(risk.basis_loadings),
        has_basis_beta=parts("beta", lambda: bool(np.any(risk.basis_beta != 0)), risk),
        has_funding_uncertainty=market.objective.funding_uncertainty_aversion > 0,
        has_size_loss=parts("size loss", lambda: bool(np.any(stresses.size_loss > 0)), stresses),
        haircut_pockets=parts("cut pockets", lambda: cut_pockets(market), *pocketed),
        value_pieces=parts("value pieces", lambda: value_pieces(market, 0).pocket, *pocketed),
        bent=parts("bent", lambda: np.flatnonzero(scheme.bend > 0), scheme),
        initial_bent=parts("initial bent", lambda: np.flatnonzero(scheme.initial_bend > 0), scheme),
        has_charge=bool(np.any(market.collateral.charge > 0)),
        debts=np.flatnonzero(
            (market.collateral.balance < 0) & (market.collateral.charge[market.pocket_venue] > 0)
        ),
        signature=_signature(market, parts),
    )


def _segments(market: Market) -> tuple[Index, Index]:
    """Rows and columns of the segments of trade costs that are not padding."""
    slopes, cuts = market.costs.slopes, market.costs.intercepts
    fresh = np.ones(slopes.shape, dtype=bool)
    fresh[:, 1:] = (np.diff(slopes, axis=1) != 0) | (np.diff(cuts, axis=1) != 0)
    rows, columns = np.nonzero(fresh)
    return rows, columns


def _margin_rows(market: Market) -> MarginRows:
    scheme = market.scheme
    met = np.isfinite(scheme.schedules.floors_usd)
    return MarginRows(
        instrument=np.nonzero(met)[0],
        rate=scheme.schedules.rates[met],
        deduction_usd=scheme.schedules.deductions_usd[met],
    )


def _signature(market: Market, parts: Parts) -> tuple[str, ...]:
    """Texts equal for two markets exactly when all that is compiled outside of coefficients is equal."""
    # Everything of a limit but its bounds: which venues, assets, stresses, the price of a breach.
    limits = [(spec.key, *_choices(spec.limit)) for spec in market.limits]
    scheme, transfers = market.scheme, market.transfers
    portfolios = [(g.venue, g.members.tolist(), g.rules.affine_pieces().tolist()) for g in scheme.portfolios]
    own = (
        market.assets,
        market.currencies,
        market.stresses.names,
        [(g.venue, g.members.tolist()) for g in scheme.netting],
        portfolios,
        market.objective.mode,
        market.objective.tie_break,
        _compiled_numbers(market),
        limits,
        [(box.name, box.kind) for box in market.boxes],
    )
    return (
        parts("keys", lambda: repr([i.key for i in market.instruments]), market.instruments),
        parts("pockets", lambda: repr([p.key for p in market.pockets]), market.pockets),
        parts("routes", lambda: repr(transfers.routes), transfers.routes),
        parts(
            "transfers",
            lambda: repr((list(transfers.arrives), np.argwhere(np.isfinite(transfers.headroom)).tolist())),
            transfers,
        ),
        parts("basis", lambda: repr(market.risk.basis_group.tolist()), market.risk.basis_group),
        parts("errors", lambda: repr(market.funding.errors.groups.tolist()), market.funding.errors.groups),
        repr(own),
    )


def _compiled_numbers(market: Market) -> list[object]:
    """Numbers that some kinds of limits compile as constants."""
    found: list[object] = []
    if (
        market.objective.mode == "min_cost"
        or _has(market, Volatility)
        or _has(market, LiquidationProbability)
    ):
        # Risk factors are scaled by √λ; a limit on volatility divides by it again.
        found.append(market.objective.risk_aversion_per_usd * market.book_usd)
    if _has(market, LiquidationProbability):
        found.append(market.decision_hours)
    if market.scheme.portfolios or market.scheme.netting:
        held = market.positions
        found += [market.book_usd, held.open_buys_usd.tolist(), held.open_sells_usd.tolist()]
        found += [group.rules.initial_factor for group in market.scheme.portfolios]
    if _has(market, HedgeRatio):
        found.append(np.sign(market.exposure).tolist())
    if _has(market, VenueShare):
        found.append(market.direction.tobytes())
    return found


def _has(market: Market, kind: type[LimitBase]) -> bool:
    return any(isinstance(spec.limit, kind) for spec in market.limits)


def _choices(limit: Limit) -> list[object]:
    values = [getattr(limit, name) for name in _fields(type(limit))]
    compiled: list[object] = [limit.warning] if isinstance(limit, Liquidity) else []
    if isinstance(limit, LiquidationProbability):
        compiled = [limit.max, limit.sigmas, limit.arrival]
    if isinstance(limit, VenueOutage):
        bounded = (limit.max, limit.max_loss, limit.max_loss_share)
        compiled = [limit.recovery, [bound is None for bound in bounded]]
    return [limit.soft, *compiled, *(value for value in values if not isinstance(value, float))]


@cache
def _fields(kind: type[LimitBase]) -> tuple[str, ...]:
    return tuple(kind.model_fields)


def coefficients(market: Market, shape: Structure, parts: Parts = AFRESH) -> Mapping[str, Vector]:
    """All numbers of the core program by name. Limits add theirs (`allocator.program.limits`)."""
    book, held, collateral = market.book_usd, market.positions, market.collateral
    aversion, costs, transfers = market.objective.risk_aversion_per_usd, market.costs, market.transfers
    # The share that counts depends on the balance only where haircuts grow with it.
    haircuts = collateral if collateral.tiers or (collateral.balance < 0).any() else collateral.haircut
    settled = (market.instruments, market.assets, market.pocket_of, haircuts)
    result: dict[str, Vector] = {
        "exposure": market.exposure / book,
        "cash": market.cash / book,
        "previous": held.usd / book,
        "box.lower": market.lower[shape.boxed_below] / book,
        "box.upper": market.upper[shape.boxed_above] / book,
        "funding.cost": market.funding.cost / COST,
        "cost.share": np.array(market.horizon_share),
        "transfer.charged": market.horizon_share * transfers.cost / COST,
        "collateral.balance": collateral.balance / book,
        "collateral.charge": collateral.charge[market.pocket_venue] / COST,
        "cushion.rate": market.cushion_rate,
        "cushion.share": parts("settled", lambda: settled_share(market), *settled),
        "cushion.counted": parts("counted", lambda: counted_share(market), *settled),
        "open.buys": held.open_buys_usd[shape.ordered] / book,
        "open.sells": held.open_sells_usd[shape.ordered] / book,
        **parts("risk", lambda: _risk(market), market.risk, aversion, book),
        **parts("costs", lambda: _costs(market, shape), costs, shape.segments, book),
        **parts("routes", lambda: _routes(market), transfers, collateral.withdrawable, book),
        **parts("initial", lambda: _initial(market, shape), market.scheme, book),
    }
    kappa = market.objective.funding_uncertainty_aversion
    result |= parts("uncertainty", lambda: _uncertainty(market), market.funding, kappa)
    result |= parts(
        "stresses",
        lambda: _stresses(market, shape),
        *(market.stresses, market.scheme, collateral.tiers or None, shape.margin, book),
    )
    return result


def _risk(market: Market) -> dict[str, Vector]:
    risk = market.risk
    root = np.sqrt(market.objective.risk_aversion_per_usd * market.book_usd / COST)
    return {
        "risk.asset": root * risk.asset_loadings,
        "risk.idiosyncratic": root * risk.asset_idiosyncratic,
        "risk.basis": root * risk.basis_sd,
        "risk.basis_factors": root * risk.basis_loadings,
        "risk.beta": risk.beta_of,
        "risk.currency": root * risk.currency_loadings,
    }


def _costs(market: Market, shape: Structure) -> dict[str, Vector]:
    costs, book = market.costs, market.book_usd
    rows, columns = shape.segments
    return {
        "cost.slopes": costs.slopes[rows, columns] / COST,
        "cost.intercepts": costs.intercepts[rows, columns] / (book * COST),
        "cost.impact": costs.impact * np.sqrt(book) / COST,
    }


def _routes(market: Market) -> dict[str, Vector]:
    transfers, book = market.transfers, market.book_usd
    result = {
        "transfer.cost": transfers.cost,
        "transfer.gross": 1 + transfers.cost,
        "transfer.withdrawable": _withdrawable(market) / book,
    }
    for row, headroom in enumerate(transfers.headroom):
        result[f"transfer.{row}.counted"] = transfers.leaving[row]
        result[f"transfer.{row}.headroom"] = headroom[np.isfinite(headroom)] / book
    return result


def _initial(market: Market, shape: Structure) -> dict[str, Vector]:
    return {
        "margin.initial": market.scheme.initial_rate,
        "margin.initial_bend": market.scheme.initial_bend[shape.initial_bent] * market.book_usd,
    }


def _uncertainty(market: Market) -> dict[str, Vector]:
    spread = market.objective.funding_uncertainty_aversion * market.funding.uncertainty / COST
    loadings = market.funding.errors.loadings
    return {f"funding.uncertainty.{block}": spread * loading for block, loading in enumerate(loadings)}


def _stresses(market: Market, shape: Structure) -> dict[str, Vector]:
    stress, margin, book = market.stresses, shape.margin, market.book_usd
    result: dict[str, Vector] = {}
    for s in range(len(stress.names)):
        result[f"stress.{s}.pnl"] = stress.pnl[s]
        result[f"stress.{s}.size_loss"] = stress.size_loss[s]
        result[f"stress.{s}.pocket"] = stress.pocket_factor[s]
        pieces = value_pieces(market, s)
        result[f"stress.{s}.counted"] = pieces.slope
        result[f"stress.{s}.uncounted"] = -pieces.intercept / book
        result[f"stress.{s}.notional"] = stress.notional[s]
        result[f"stress.{s}.bend"] = (stress.bend[s] * market.scheme.bend)[shape.bent] * book
        result[f"stress.{s}.rate"] = margin.rate * stress.notional[s, margin.instrument]
        result[f"stress.{s}.deduction"] = margin.deduction_usd * stress.deduction[s, margin.instrument] / book
    return result


def _withdrawable(market: Market) -> Vector:
    """What may leave each pocket that is the source of some route."""
    sources = np.unique(np.array([route.source for route in market.transfers.routes], dtype=np.int64))
    return market.collateral.withdrawable[sources]


def incidence(owner: Index, owners: int) -> sp.csr_array:
    """Matrix (owners, n) that sums over what each owner owns; an owner of −1 owns nothing."""
    kept = np.flatnonzero(owner >= 0)
    return sp.csr_array((np.ones(len(kept)), (owner[kept], kept)), shape=(owners, len(owner)))


def transfer_matrices(market: Market) -> tuple[sp.csr_array, sp.csr_array, sp.csr_array]:
    """(P, R) matrices of what leaves each pocket, what arrives before the orders, and all that arrives."""
    routes = market.transfers.routes
    pockets, columns = len(market.pockets), np.arange(len(routes))
    source = np.array([r.source for r in routes], dtype=np.int64)
    target = np.array([r.target for r in routes], dtype=np.int64)
    ones, shape = np.ones(len(routes)), (pockets, len(routes))
    out = sp.csr_array((ones, (source, columns)), shape=shape)
    into = sp.csr_array((ones, (target, columns)), shape=shape)
    before = sp.csr_array((market.transfers.arrives.astype(float), (target, columns)), shape=shape)
    return out, before, into


def same_structure(one: Structure, other: Structure) -> bool:
    """Whether a program compiled for one market can be updated to the other."""

    def equal(a: object, b: object) -> bool:
        if a is b:
            return True
        if isinstance(a, np.ndarray):
            return np.array_equal(a, np.asarray(b))
        if isinstance(a, tuple) and isinstance(b, tuple):
            return len(a) == len(b) and all(map(equal, a, b))
        if isinstance(a, MarginRows) and isinstance(b, MarginRows):
            return equal(a.instrument, b.instrument)
        return bool(a == b)

    return all(equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Structure))
