"""What trading each instrument costs: fee, half spread, the walk of the visible book, 3/2 impact."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from allocator.market.observed import Books, BookSide
from allocator.market.types import Costs, Matrix, Prices
from allocator.market.universe import Findings, Listing
from allocator.scenario.schema import Scenario
from models.arrays import Vector
from models.costs import DepthCurve, trade_cost_segments, unit_cost

Sides = dict[str, DepthCurve]


def trading_costs(
    scenario: Scenario,
    listings: list[Listing],
    prices: Prices,
    books: Books | None,
    daily_volatility: Vector,
    findings: Findings,
) -> Costs:
    """Costs of every instrument (n,). Fees are the venue's; the spread is the book's, else the table's."""
    objective = scenario.objective
    taker_share = 1.0 - objective.maker_share
    quotes = books if objective.impact.model == "book" and books is not None else {}
    n = len(listings)
    buy, sell = np.full(n, np.inf), np.full(n, np.inf)
    depth_buy, depth_sell = np.full(n, np.nan), np.full(n, np.nan)
    half_spread = np.array([float(listing.row["half_spread"]) for listing in listings])
    sides: list[Sides] = []
    for i, listing in enumerate(listings):
        book = quotes.get(listing.key)
        sides.append({})
        if book is None:
            continue
        half_spread[i], sides[i] = _read_book(book, prices.usd_per_contract[i], objective.impact.depth_share)
        offered, wanted = sides[i]["ask"].capacity_usd, sides[i]["bid"].capacity_usd
        depth_buy[i], depth_sell[i] = np.array([offered, wanted]) / objective.impact.depth_share
        if taker_share > 0:
            buy[i], sell[i] = offered / taker_share, wanted / taker_share
    fees = [scenario.venues[listing.venue].fees for listing in listings]
    cost = unit_cost([f.maker for f in fees], [f.taker for f in fees], half_spread, objective.maker_share)
    for i in np.flatnonzero(cost.rebate_not_optimised > 0).tolist():
        rebate = f"a net rebate of {cost.rebate_not_optimised[i] * 1e4:.2f} bp a trade is not optimised on"
        findings.notices.append(f"{listings[i].venue} {listings[i].symbol}: {rebate}")
    slopes, intercepts = _segments(cost.charged, sides, taker_share)
    adv = np.array([float(listing.row["adv_usd"]) for listing in listings])
    impact = np.zeros(n)
    if objective.impact.model == "square_root":
        impact = objective.impact.coefficient * daily_volatility / np.sqrt(adv)
    return Costs(
        fee=cost.fee,
        half_spread=half_spread,
        spread=cost.spread,
        unit=cost.charged,
        slopes=slopes,
        intercepts=intercepts,
        capacity_buy=buy,
        capacity_sell=sell,
        impact=impact,
        adv_usd=adv,
        depth_buy=depth_buy,
        depth_sell=depth_sell,
    )


def _segments(unit: Vector, sides: list[Sides], taker_share: float) -> tuple[Matrix, Matrix]:
    """Slopes and intercepts (n, K) of linear and book cost; short ones repeat their last segment."""
    if not any(sides):
        return np.stack([-unit, unit], axis=1), np.zeros((len(unit), 2))
    segments = [
        trade_cost_segments(float(each), side.get("bid"), side.get("ask"), taker_share)
        for each, side in zip(unit, sides, strict=True)
    ]
    width = max(len(slopes) for slopes, _ in segments)
    slopes, intercepts = (
        np.array([np.pad(each[k], (0, width - len(each[k])), mode="edge") for each in segments])
        for k in (0, 1)
    )
    return slopes, intercepts


def _read_book(book: Mapping[str, BookSide], usd_per_contract: float, share: float) -> tuple[float, Sides]:
    """Half spread as a fraction of the mid, and what each side offers beyond its best price."""
    bid, ask = float(book["bid"].prices[0]), float(book["ask"].prices[0])
    curves = {
        name: DepthCurve(
            sizes_usd=side.contracts * usd_per_contract * share,
            premiums=np.abs(side.prices - side.prices[0]) / side.prices[0],
        )
        for name, side in book.items()
    }
    return (ask - bid) / (ask + bid), curves
