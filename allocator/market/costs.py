"""What trading each instrument costs: fee, half spread, the walk of the visible book, 3/2 impact."""

from __future__ import annotations

import numpy as np
import pandas as pd

from allocator.market.types import Costs, Prices
from allocator.market.universe import Findings, Listing
from allocator.scenario.schema import Scenario
from models.arrays import Vector
from models.costs import DepthCurve, trade_cost_segments, unit_cost

Sides = dict[str, DepthCurve]


def trading_costs(
    scenario: Scenario,
    listings: list[Listing],
    prices: Prices,
    books: pd.DataFrame | None,
    daily_volatility: Vector,
    findings: Findings,
) -> Costs:
    """Costs of every instrument (n,). Fees are the venue's; the spread is the book's, else the table's."""
    objective = scenario.objective
    taker_share = 1.0 - objective.maker_share
    quotes = _books(books) if objective.impact.model == "book" and books is not None else {}
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
    segments = [
        trade_cost_segments(float(unit), side.get("bid"), side.get("ask"), taker_share)
        for unit, side in zip(cost.charged, sides, strict=True)
    ]
    width = max(len(slopes) for slopes, _ in segments)
    adv = np.array([float(listing.row["adv_usd"]) for listing in listings])
    impact = np.zeros(n)
    if objective.impact.model == "square_root":
        impact = objective.impact.coefficient * daily_volatility / np.sqrt(adv)
    return Costs(
        fee=cost.fee,
        half_spread=half_spread,
        spread=cost.spread,
        unit=cost.charged,
        slopes=np.array([np.pad(slopes, (0, width - len(slopes)), mode="edge") for slopes, _ in segments]),
        intercepts=np.array([np.pad(cut, (0, width - len(cut)), mode="edge") for _, cut in segments]),
        capacity_buy=buy,
        capacity_sell=sell,
        impact=impact,
        adv_usd=adv,
        depth_buy=depth_buy,
        depth_sell=depth_sell,
    )


def _books(books: pd.DataFrame) -> dict[object, pd.DataFrame]:
    """The newest book of each instrument."""
    last = books.groupby(["venue", "symbol"])["time"].transform("max")
    return dict(iter(books[books["time"] == last].groupby(["venue", "symbol"])))


def _read_book(book: pd.DataFrame, usd_per_contract: float, share: float) -> tuple[float, Sides]:
    """Half spread as a fraction of the mid, and what each side offers beyond its best price."""
    best: dict[str, float] = {}
    curves: Sides = {}
    for side in ("bid", "ask"):
        levels = book[book["side"] == side].sort_values("level")
        price = levels["price"].to_numpy(dtype=float)
        best[side] = price[0]
        usd = levels["size_contracts"].to_numpy(dtype=float) * usd_per_contract * share
        curves[side] = DepthCurve(sizes_usd=usd, premiums=np.abs(price - price[0]) / price[0])
    return (best["ask"] - best["bid"]) / (best["ask"] + best["bid"]), curves
