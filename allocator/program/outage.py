"""The outage of a venue in the program: what it leaves naked, and what is lost with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import cvxpy as cp
import numpy as np

from allocator.evaluate import selected_assets, selected_venues
from allocator.market.stresses import stressed_rows
from allocator.program.coefficients import incidence
from allocator.scenario.schema import VenueOutage

if TYPE_CHECKING:
    from allocator.program.limits import Context

Row = tuple[str, tuple[str, ...], cp.Expression, cp.Expression]


def outage_rows(c: Context, limit: VenueOutage, key: str) -> Iterator[Row]:
    """Field, subjects, value and bound of every row of the limit named `key`, in units of the book."""
    if limit.max is not None:
        yield from _naked_delta(c, limit, key)
    if limit.loss_bound(c.market.book_usd) is not None:
        yield from _loss(c, limit, key)


def _naked_delta(c: Context, limit: VenueOutage, key: str) -> Iterator[Row]:
    """Delta without the venue's positions and without the coins that would be there after transfers."""
    market = c.market
    assets = selected_assets(market, limit.assets)
    coins = np.array(
        [market.assets.index(p.currency) if p.currency in market.assets else -1 for p in market.pockets]
    )
    for venue in selected_venues(market, limit.venues):
        here, there = market.venue_of == venue, market.pocket_venue == venue
        positions = incidence(np.where(here, market.asset_of, -1), len(market.assets))[assets]
        collateral = incidence(np.where(there, coins, -1), len(market.assets))[assets]
        left = c.v.delta[assets] - positions @ c.v.positions - collateral @ c.v.kept
        name = market.accounts[venue].name
        bound = c.slots(f"{key}.max") * np.ones(len(assets))
        for sign, side in ((1.0, "long"), (-1.0, "short")):
            subjects = tuple(f"{name} {market.assets[a]} {side}" for a in assets)
            yield "max", subjects, sign * left, bound


def _loss(c: Context, limit: VenueOutage, key: str) -> Iterator[Row]:
    """What is not recovered of the venue's collateral after transfers and of P&L there under a stress."""
    assert limit.recovery is not None
    market, chosen = c.market, selected_venues(c.market, limit.venues)
    bound = c.slots(f"{key}.max_loss") * np.ones(len(chosen))
    for s in stressed_rows(limit.stresses, market.stresses.names):
        collateral = c.pocket_sum(chosen) @ cp.multiply(c.slots(f"stress.{s}.pocket"), c.v.kept)
        gain = c.venue_sum(chosen) @ cp.multiply(c.slots(f"stress.{s}.pnl"), c.v.positions)
        subjects = tuple(f"{market.accounts[v].name} {market.stresses.names[s]}" for v in chosen)
        yield "max_loss", subjects, (1 - limit.recovery) * (collateral + gain), bound
