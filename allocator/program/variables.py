"""The decision and everything derived from it, as CVXPY variables tied by affine rows.

Arguments of cones and squares, and whatever a parameter multiplies, are variables of their own: that keeps
the program DPP and its factors sparse. Amounts are in units of the book, costs in bp of the book.
"""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from allocator.market.types import Index, Market
from allocator.program.coefficients import COST, Structure, incidence, transfer_matrices
from allocator.program.slots import Slots


@dataclass(frozen=True)
class Variables:
    """Expressions over the decision; `rows` are the constraints that define them.

    `factors` is √λ·F·y in blocks, whose norm is √λ times the volatility; `cost` is cash in bp of the book.
    """

    positions: cp.Variable
    trades: cp.Variable
    transfers: cp.Variable
    size: cp.Expression
    order_size: cp.Expression
    squared_size: cp.Variable | None
    squared_order: cp.Variable | None
    turnover: cp.Variable
    cost: cp.Expression
    balance: cp.Variable
    delta: cp.Variable
    factors: tuple[cp.Variable, ...]
    uncertainty: cp.Expression | None
    arrived: cp.Variable
    kept: cp.Variable
    charged: cp.Expression
    rows: tuple[cp.Constraint, ...]


def declare(market: Market, shape: Structure, slots: Slots, needs_turnover: bool) -> Variables:
    """All variables of the core program and the rows that tie them together."""
    n, routes = len(market.instruments), len(market.transfers.routes)
    x, z, t = (
        cp.Variable(n, name="positions"),
        cp.Variable(n, name="trades"),
        cp.Variable(routes, name="transfers"),
    )
    rows: list[cp.Constraint] = [z == x - slots("previous")]
    size = _sizes(x, shape, rows)
    cost = _costs(z, shape, slots, rows)
    turnover = cp.Variable(n, name="turnover")
    if needs_turnover:
        rows += [turnover >= z, turnover >= -z]
    delta = cp.Variable(len(market.assets), name="delta")
    rows.append(delta == slots("exposure") + incidence(market.asset_of, len(market.assets)) @ x)
    balance, arrived, kept = _balances(market, t, cost, slots, rows)
    ordered = _order_size(x, size, shape, slots, rows)
    return Variables(
        positions=x,
        trades=z,
        transfers=t,
        size=size,
        order_size=ordered,
        squared_size=_squared(size, shape.bent, "squared_size", rows),
        squared_order=_squared(ordered, shape.initial_bent, "squared_order", rows),
        turnover=turnover,
        cost=cost,
        balance=balance,
        delta=delta,
        factors=_factors(market, x, delta, shape, slots, rows),
        uncertainty=_uncertainty(market, x, shape, slots, rows),
        arrived=arrived,
        kept=kept,
        charged=_charged(kept, shape, rows),
        rows=tuple(rows),
    )


def _sizes(x: cp.Variable, shape: Structure, rows: list[cp.Constraint]) -> cp.Expression:
    """|x|: linear where the side is fixed, an epigraph variable where it is free."""
    free = np.flatnonzero(shape.side == 0)
    size = cp.multiply(shape.side, x)
    if len(free):
        w = cp.Variable(len(free), name="free_size")
        rows += [w >= x[free], w >= -x[free]]
        size = size + incidence(spread(free, x.size), len(free)).T @ w
    return size


def spread(chosen: Index, n: int) -> Index:
    """Owner array (n,): position within `chosen`, −1 for what is not chosen."""
    owner = np.full(n, -1, dtype=np.int64)
    owner[chosen] = np.arange(len(chosen))
    return owner


def _order_size(
    x: cp.Variable, size: cp.Expression, shape: Structure, slots: Slots, rows: list[cp.Constraint]
) -> cp.Expression:
    """max(|x + open buys|, |x − open sells|): the size initial margin is asked for."""
    chosen = shape.ordered
    if not len(chosen):
        return size
    w = cp.Variable(len(chosen), name="order_size")
    rows += [w >= x[chosen] + slots("open.buys"), w >= slots("open.sells") - x[chosen]]
    rest = np.ones(x.size)
    rest[chosen] = 0.0
    return cp.multiply(rest, size) + incidence(spread(chosen, x.size), len(chosen)).T @ w


def _squared(size: cp.Expression, chosen: Index, name: str, rows: list[cp.Constraint]) -> cp.Variable | None:
    """q ≥ size² for rates that grow with the position; None where no schedule has one."""
    if not len(chosen):
        return None
    q = cp.Variable(len(chosen), name=name)
    rows.append(q >= cp.square(size[chosen]))
    return q


def _costs(z: cp.Variable, shape: Structure, slots: Slots, rows: list[cp.Constraint]) -> cp.Expression:
    """Cash cost of each trade in bp of the book: linear and book walk by segments, 3/2 impact by cones."""
    instrument, _ = shape.segments
    c = cp.Variable(z.size, name="cost")
    rows.append(c[instrument] >= cp.multiply(slots("cost.slopes"), z[instrument]) + slots("cost.intercepts"))
    if not shape.has_impact:
        return c
    # p ≥ |z|^(3/2) through w² ≤ p·r, r² ≤ w, |z| ≤ w: two rotated cones per instrument.
    p, r, w = (cp.Variable(z.size, name=name) for name in ("impact", "impact_root", "impact_size"))
    total = cp.Variable(z.size, name="cost_with_impact")
    one = np.ones(z.size)
    rows += [
        w >= z,
        w >= -z,
        cp.SOC(p + r, cp.vstack([2 * w, p - r]), axis=0),
        cp.SOC(w + one, cp.vstack([2 * r, w - one]), axis=0),
        total == c + cp.multiply(slots("cost.impact"), p),
    ]
    return total


def _balances(
    market: Market, t: cp.Variable, cost: cp.Expression, slots: Slots, rows: list[cp.Constraint]
) -> tuple[cp.Variable, cp.Variable, cp.Variable]:
    """Pocket balances as margin counts them; before trading costs; and as they will be, transit included."""
    pockets = len(market.pockets)
    balance, arrived, kept = (cp.Variable(pockets, name=name) for name in ("balance", "arrived", "kept"))
    paid = COST * (incidence(market.pocket_of, pockets) @ cost)
    if not market.transfers.routes:
        rows += [arrived == slots("collateral.balance"), balance == arrived - paid, kept == arrived]
        return balance, arrived, kept
    out, before, into = transfer_matrices(market)
    left = slots("collateral.balance") - out @ (t + cp.multiply(slots("transfer.cost"), t))
    rows += [arrived == left + before @ t, balance == arrived - paid, kept == left + into @ t, t >= 0]
    return balance, arrived, kept


def _charged(kept: cp.Variable, shape: Structure, rows: list[cp.Constraint]) -> cp.Expression:
    """What of the balances is charged: a debt is charged nothing, and no credit is given for it.

    Only where there is a charge: what nothing prices would rise without end, and take the solver's sense of
    scale with it.
    """
    if not len(shape.debts):
        return kept
    credit = cp.Variable(len(shape.debts), name="credit", nonneg=True)
    rows.append(credit >= kept[shape.debts])
    rest = np.ones(kept.size)
    rest[shape.debts] = 0.0
    return cp.multiply(rest, kept) + incidence(spread(shape.debts, kept.size), len(shape.debts)).T @ credit


def _factors(
    market: Market,
    x: cp.Variable,
    delta: cp.Variable,
    shape: Structure,
    slots: Slots,
    rows: list[cp.Constraint],
) -> tuple[cp.Variable, ...]:
    """√λ·F·y in blocks: common factors, idiosyncratic, basis and its common factors, quote currencies."""
    risk = market.risk
    blocks: list[cp.Variable] = []

    def tie(name: str, expression: cp.Expression) -> None:
        g = cp.Variable(expression.size, name=name)
        rows.append(g == expression)
        blocks.append(g)

    moved = delta
    if shape.has_basis_beta:
        # Bases move with their coins: an instrument counts 1 + beta times. As in `models.covariance`.
        moved = cp.Variable(delta.size, name="moved")
        owner = incidence(market.asset_of, delta.size)
        rows.append(moved == delta + owner @ cp.multiply(slots("risk.beta"), x))
    tie("factor_asset", slots("risk.asset") @ moved)
    if shape.has_idiosyncratic:
        tie("factor_idiosyncratic", cp.multiply(slots("risk.idiosyncratic"), moved))
    groups = incidence(risk.basis_group, len(risk.basis_sd))
    tie("factor_basis", cp.multiply(slots("risk.basis"), groups @ x))
    if shape.basis_factors:
        tie("factor_basis_common", slots("risk.basis_factors") @ (groups @ x))
    if len(market.currencies):
        quote = cp.Variable(len(market.currencies), name="currency_exposure")
        rows.append(quote == slots("cash") - incidence(market.index_currency_of, len(market.currencies)) @ x)
        tie("factor_currency", slots("risk.currency") @ quote)
    return tuple(blocks)


def _uncertainty(
    market: Market, x: cp.Variable, shape: Structure, slots: Slots, rows: list[cp.Constraint]
) -> cp.Expression | None:
    """κ times the loadings of the funding error on each shock: of the market, coins, venues and perps."""
    if not shape.has_funding_uncertainty:
        return None
    blocks = []
    for block, group in enumerate(market.funding.errors.groups):
        shock = cp.Variable(int(group.max()) + 1, name=f"funding_shock_{block}")
        weighted = cp.multiply(slots(f"funding.uncertainty.{block}"), x)
        rows.append(shock == incidence(group, shock.size) @ weighted)
        blocks.append(shock)
    return cp.hstack(blocks)
