"""What venues count and ask for, in the program: equity, maintenance and initial margin of each venue.

Equity is concave and margin convex in the decision, both by affine pieces (and squares, for rates that grow
with the position). The rows of a group's pieces are kept: their multipliers tell the audit which pieces
count.
"""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from allocator.haircuts import share_name as value_share_name
from allocator.margin import group_name, sides
from allocator.market.scheme import Portfolio
from allocator.market.types import Market
from allocator.program.coefficients import Structure, incidence
from allocator.program.slots import Slots
from allocator.program.variables import Variables, spread


@dataclass(frozen=True)
class Margin:
    """Under one stress: what each pocket counts for (P,), and each venue's maintenance margin (V,)."""

    counted: cp.Expression
    required: cp.Expression


@dataclass
class Rows:
    """Constraints that define margin, and those of pieces by the name of their shares."""

    market: Market
    shape: Structure
    slots: Slots
    v: Variables
    ties: list[cp.Constraint]
    pieces: dict[str, list[cp.Constraint]]


def maintenance(rows: Rows, s: int) -> Margin:
    """Equity and maintenance margin under stress s."""
    return Margin(_counted(rows, s), _required(rows, s))


def _counted(rows: Rows, s: int) -> cp.Expression:
    """Pockets at their stressed price with P&L, after haircuts."""
    market, slots, v = rows.market, rows.slots, rows.v
    gain = cp.multiply(slots(f"stress.{s}.pnl"), v.positions)
    if rows.shape.has_size_loss:
        gain = gain - cp.multiply(slots(f"stress.{s}.size_loss"), v.size)
    pockets = len(market.pockets)
    worth = cp.Variable(pockets, name=f"worth_{s}")
    moved = cp.multiply(slots(f"stress.{s}.pocket"), v.balance)
    rows.ties.append(worth == moved + incidence(market.pocket_of, pockets) @ gain)
    cut = rows.shape.haircut_pockets
    if not len(cut):
        return worth
    q = cp.Variable(len(cut), name=f"counted_{s}")
    owner = rows.shape.value_pieces
    at = sp.csr_array(incidence(owner, pockets).T)
    part = sp.csr_array(incidence(np.searchsorted(cut, owner), len(cut)).T)
    least = cp.multiply(slots(f"stress.{s}.counted"), at @ worth) - slots(f"stress.{s}.uncounted")
    pieces = part @ q <= least
    rows.ties.append(pieces)
    rows.pieces[value_share_name(s)] = [pieces]
    whole = np.ones(pockets)
    whole[cut] = 0.0
    return cp.multiply(whole, worth) + incidence(spread(cut, pockets), len(cut)).T @ q


def _required(rows: Rows, s: int) -> cp.Expression:
    """Maintenance margin of each venue: own schedules, netted groups, portfolios."""
    market, shape, slots, v = rows.market, rows.shape, rows.slots, rows.v
    n = len(market.instruments)
    m = cp.Variable(n, name=f"maintenance_{s}")
    at = sp.csr_array(incidence(shape.margin.instrument, n).T)
    margin = cp.multiply(slots(f"stress.{s}.rate"), at @ v.size) - slots(f"stress.{s}.deduction")
    if len(shape.bent):
        bent = cp.multiply(slots(f"stress.{s}.bend"), v.squared_size)
        margin = margin + at @ (incidence(spread(shape.bent, n), len(shape.bent)).T @ bent)
    rows.ties.append(at @ m >= margin)
    total = _venue_sum(market) @ m
    notional = slots(f"stress.{s}.notional")
    scaled = (cp.multiply(notional, v.positions), cp.multiply(notional, v.size))
    return total + _groups(rows, str(s), m, [(*scaled, 1.0)])


def _venue_sum(market: Market) -> sp.csr_array:
    """(V, n): sums over each venue the instruments that are margined by themselves."""
    return incidence(np.where(market.scheme.alone > 0, market.venue_of, -1), len(market.accounts))


def initial(rows: Rows) -> cp.Expression:
    """Initial margin of each venue, open orders counted."""
    market, shape, slots, v = rows.market, rows.shape, rows.slots, rows.v
    n = len(market.instruments)
    own = cp.multiply(slots("margin.initial"), v.order_size)
    if len(shape.initial_bent):
        bent = cp.multiply(slots("margin.initial_bend"), v.squared_order)
        own = own + incidence(spread(shape.initial_bent, n), len(shape.initial_bent)).T @ bent
    total = _venue_sum(market) @ own
    if not (market.scheme.netting or market.scheme.portfolios):
        return total
    asked = cp.Variable(n, name="initial")
    rows.ties.append(asked >= own)
    held = market.positions
    fills = []
    for filled in (held.open_buys_usd, -held.open_sells_usd):
        x = v.positions + filled / market.book_usd
        # With every side fixed and no open orders this is |x| itself.
        fills.append((x, v.size if not filled.any() else cp.abs(x), 0.0))
    return total + _groups(rows, "initial", asked, fills)


def _groups(
    rows: Rows, kind: str, own: cp.Expression, held: list[tuple[cp.Expression, cp.Expression, float]]
) -> cp.Expression:
    """Margin of all groups by venue; `held` are (position, size) to margin portfolios at, the worst counting.

    The third entry of `held` is 1 for maintenance and 0 for initial margin, which takes its own factor.
    """
    market, scheme = rows.market, rows.market.scheme
    at = [*(g.venue for g in scheme.netting), *(g.venue for g in scheme.portfolios)]
    if not at:
        return cp.Constant(np.zeros(len(market.accounts)))
    asked = cp.Variable(len(at), name=f"group_{kind}")
    for g, netting in enumerate(scheme.netting):
        longs, shorts = sides(market, netting, np.zeros(own.size), "program", orders=kind == "initial")
        margin = own[netting.members]
        found = [asked[g] >= side.astype(float) @ margin for side in (longs, shorts)]
        rows.pieces[group_name(kind, g)] = found
        rows.ties += found
    for g, portfolio in enumerate(scheme.portfolios, start=len(scheme.netting)):
        found = _portfolio(rows, portfolio, asked[g], held)
        rows.pieces[group_name(kind, g)] = found
        rows.ties += found
    return incidence(np.array(at, dtype=np.int64), len(market.accounts)) @ asked


def _portfolio(
    rows: Rows,
    group: Portfolio,
    asked: cp.Expression,
    held: list[tuple[cp.Expression, cp.Expression, float]],
) -> list[cp.Constraint]:
    book, found = rows.market.book_usd, []
    for position, size, is_maintenance in held:
        factor = 1.0 if is_maintenance else group.rules.initial_factor
        net, gross = cp.sum(position[group.members]), cp.sum(size[group.members])
        for on_net, on_gross, constant in group.rules.affine_pieces():
            found.append(asked >= factor * (on_net * net + on_gross * gross + constant / book))
    return found
