"""What the decisions of a block of cells are worth: costs, margin, variance and terms of the objective.

The same formulas as `allocator.evaluate`, `allocator.margin` and `models.covariance`, all cells at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from allocator.audit.block.stack import Block, Cells
from allocator.market.types import Matrix
from models.arrays import Vector


@dataclass(frozen=True)
class Risk:
    """Variance (K,) by source, and its derivative (K, n) in each position."""

    sources: Mapping[str, Vector]
    slope: Matrix

    @property
    def variance(self) -> Vector:
        """Of all sources together (K,)."""
        return np.asarray(sum(self.sources.values()))


@dataclass(frozen=True)
class Figures:
    """A decision per cell and what follows from it. Amounts are USD.

    `positions`, `trades` (K, n), `transfers` (K, R); `fees`, `slippage`, `impact` (K, n) are the cash costs;
    `cash` (K, P) is what margin counts, `kept` (K, P) what will be there after all transfers; `worth`
    (K, S, P) pockets at their stressed price with P&L; `equity`, `maintenance` (K, S, V), `initial` (K, V);
    `delta` (K, A); `terms` of the objective (K,) by name; `uncertainty_slope` (K, n).
    """

    block: Block
    positions: Matrix
    trades: Matrix
    transfers: Matrix
    fees: Matrix
    slippage: Matrix
    impact: Matrix
    cash: Matrix
    kept: Matrix
    worth: Cells
    equity: Cells
    maintenance: Cells
    initial: Matrix
    delta: Matrix
    risk: Risk
    uncertainty_slope: Matrix
    terms: Mapping[str, Vector]

    @property
    def size(self) -> Matrix:
        """|x| (K, n)."""
        return np.abs(self.positions)


def figures(block: Block, positions: Matrix, transfers: Matrix) -> Figures:
    """Evaluate decisions (K, n) and (K, R)."""
    trades = positions - block.previous
    fees, slippage, impact = _trade_costs(block, trades)
    paid = block.by_pocket(fees + slippage + impact)
    balance = block.balance
    left = balance - block.leaving_pocket(transfers * (1 + block.transfer_cost))
    kept = left + block.reaching_pocket(transfers)
    cash = left + block.reaching_pocket(transfers * block.first.transfers.arrives) - paid
    worth, equity = _equity(block, positions, cash)
    delta = block.exposure + block.by_asset(positions)
    risk = _risk(block, positions, delta)
    uncertainty, slope = _uncertainty(block, positions)
    funding = block.funding * positions
    dated, share = block.first.dated, block.horizon_share
    terms = {
        "risk": block.aversion / 2 * risk.variance,
        "funding": np.where(dated, 0.0, funding).sum(axis=1),
        "carry": np.where(dated, funding, 0.0).sum(axis=1),
        "funding_uncertainty": uncertainty,
        "trading": share * (fees + slippage).sum(axis=1),
        "impact": share * impact.sum(axis=1),
        "transfer": share * (block.transfer_cost * transfers).sum(axis=1),
        "collateral": (block.charge * np.maximum(kept, 0.0)).sum(axis=1),
    }
    return Figures(
        block=block,
        positions=positions,
        trades=trades,
        transfers=transfers,
        fees=fees,
        slippage=slippage,
        impact=impact,
        cash=cash,
        kept=kept,
        worth=worth,
        equity=equity,
        maintenance=block.by_venue(_maintenance(block, positions)),
        initial=_initial(block, positions),
        delta=delta,
        risk=risk,
        uncertainty_slope=slope,
        terms=terms,
    )


def unhedged_variance(block: Block) -> Vector:
    """Variance (K,) of the exposure alone."""
    nothing = np.zeros((len(block), len(block.first.instruments)))
    return _risk(block, nothing, block.exposure).variance


def trade_curve(block: Block, trades: Cells) -> Cells:
    """Linear and book cost max_k(slope·u + intercept) of trades (K, n) or (K, n, M), segment by segment."""
    slopes, cuts = block.slopes, block.intercepts
    wide = trades.ndim == 3
    found, term = np.empty(trades.shape), np.empty(trades.shape)
    for k in range(slopes.shape[2]):
        slope, cut = slopes[:, :, k], cuts[:, :, k]
        out = found if k == 0 else term
        np.multiply(trades, slope[:, :, None] if wide else slope, out=out)
        out += cut[:, :, None] if wide else cut
        if k:
            np.maximum(found, term, out=found)
    return found


def _trade_costs(block: Block, trades: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Fees, slippage and impact (K, n), as `evaluate.trade_costs` has them."""
    unit, spread = block.take(lambda m: m.costs.unit), block.take(lambda m: m.costs.spread)
    size = np.abs(trades)
    walk = np.maximum(trade_curve(block, trades), 0.0) - unit * size
    return (
        (unit - spread) * size,
        spread * size + walk,
        block.impact * size**1.5,
    )


def _equity(block: Block, positions: Matrix, cash: Matrix) -> tuple[Cells, Cells]:
    """Worth of pockets (K, S, P) and equity of venues (K, S, V), after haircuts."""
    gain = block.pnl * positions[:, None]
    gain = gain - block.size_loss * np.abs(positions)[:, None]
    worth = block.pocket_factor * cash[:, None] + block.by_pocket(gain)
    counted = np.minimum((1.0 - block.haircut) * worth, worth)
    return worth, block.pockets_by_venue(counted)


def bracket_margin(block: Block, size: Cells, notional: Cells, scale: Cells) -> Cells:
    """δ·PWL(ν|x|/δ) of sizes (K, n) or (K, n, M), ν and δ (K, n) the factors of notional and deductions.

    By bracket look-up as in `models.margin.maintenance_margins`, floor by floor.
    """
    at = (..., None) if size.ndim == 3 else ...
    factor = notional / scale
    scaled = size * factor[at]
    rate = np.broadcast_to(block.rates[:, :, 0][at], size.shape)
    deduction = np.broadcast_to(block.deductions[:, :, 0][at], size.shape)
    for b in range(1, block.floors.shape[2]):
        met = scaled >= block.floors[:, :, b][at]
        rate = np.where(met, block.rates[:, :, b][at], rate)
        deduction = np.where(met, block.deductions[:, :, b][at], deduction)
    return np.asarray(scale[at] * (rate * scaled - deduction))


def _maintenance(block: Block, positions: Matrix) -> Cells:
    """Maintenance margin of each instrument under each stress (K, S, n)."""
    size = np.abs(positions)
    notional, scale = block.notional, block.deduction
    bend = block.take(lambda m: m.stresses.bend) * block.take(lambda m: m.scheme.bend)[:, None]
    rows = [
        bracket_margin(block, size, notional[:, s], scale[:, s])
        for s in range(len(block.first.stresses.names))
    ]
    return np.asarray(np.stack(rows, axis=1) + bend * size[:, None] ** 2)


def order_size(block: Block, positions: Cells) -> Cells:
    """max(|x + buys|, |x − sells|) of positions (K, n)."""
    return np.maximum(np.abs(positions + block.open_buys), np.abs(positions - block.open_sells))


def _initial(block: Block, positions: Matrix) -> Matrix:
    size = order_size(block, positions)
    rate, bend = block.take(lambda m: m.scheme.initial_rate), block.take(lambda m: m.scheme.initial_bend)
    return block.by_venue(rate * size + bend * size**2)


def _times(matrix: Cells, vector: Cells) -> Cells:
    """(K, r, c) times (K, c)."""
    if len(matrix) == 1:
        return np.asarray(vector @ matrix[0].T)
    return np.asarray(np.matmul(matrix, vector[:, :, None])[:, :, 0])


def _back(matrix: Cells, vector: Cells) -> Cells:
    """The transpose of (K, r, c) times (K, r)."""
    return _times(np.swapaxes(matrix, 1, 2), vector)


def _risk(block: Block, positions: Matrix, delta: Matrix) -> Risk:
    """As `models.covariance.variance_by_source` and the chain rule over `variance_gradient`."""
    first = block.first
    by_asset = block.take(lambda m: m.risk.asset_loadings)
    own = block.take(lambda m: m.risk.asset_idiosyncratic)
    common, basis_sd = block.take(lambda m: m.risk.basis_loadings), block.take(lambda m: m.risk.basis_sd)
    by_currency = block.take(lambda m: m.risk.currency_loadings)
    held, beta = block.by_basis(positions), block.take(lambda m: m.risk.beta_of)
    moved = delta + block.by_asset(beta * positions)
    quote = block.take(lambda m: m.cash) - block.by_index_currency(positions)
    factors, shared, quoted = _times(by_asset, moved), _times(common, held), _times(by_currency, quote)
    alone, lone = own * moved, basis_sd * held
    sources = {
        "asset": (factors**2).sum(axis=1),
        "basis": (shared**2).sum(axis=1) + (lone**2).sum(axis=1),
        "quote": (quoted**2).sum(axis=1),
        "idiosyncratic": (alone**2).sum(axis=1),
    }
    on_delta = 2.0 * (_back(by_asset, factors) + own * alone)
    on_basis = 2.0 * (_back(common, shared) + basis_sd * lone)
    on_currency = 2.0 * _back(by_currency, quoted)
    by_quote = np.column_stack([on_currency, np.zeros(len(on_currency))])  # −1, USD, is the appended 0
    slope = (
        on_delta[:, first.asset_of] * (1.0 + beta)
        + on_basis[:, first.risk.basis_group]
        - by_quote[:, first.index_currency_of]
    )
    return Risk(sources, np.asarray(slope))


def _uncertainty(block: Block, positions: Matrix) -> tuple[Vector, Matrix]:
    """κ·sd of the funding error (K,), and its derivative in each position (K, n); 0 where there is none."""
    spread = block.uncertainty
    if not spread.any():
        return np.zeros(len(block)), np.zeros(positions.shape)
    loadings = block.take(lambda m: m.funding.errors.loadings)
    squared, slope = np.zeros(len(block)), np.zeros(positions.shape)
    for b, (group, sums) in enumerate(zip(block.first.funding.errors.groups, block.by_error, strict=True)):
        shocks = sums(loadings[:, b] * spread * positions)
        squared = squared + (shocks**2).sum(axis=1)
        slope = slope + loadings[:, b] * shocks[:, group]
    norm = np.sqrt(squared)
    inverse = np.divide(1.0, norm, out=np.zeros(len(block)), where=norm > 0)
    return norm, np.asarray(spread * slope * inverse[:, None])
