"""What else a desk could do, on the same costs: the strategies that the allocator is compared with.

They hedge with perpetuals: a dated future asks when to roll, which no rule of these answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from allocator.backtests.decide import Moment, Strategy, allocator, only
from allocator.market.types import Decision, Market
from models.arrays import BoolVector, Vector


def no_hedge(moment: Moment) -> Decision:
    """Hold the coins, close every perp."""
    return only(moment.market, np.zeros(len(moment.market.instruments)))


def one_to_one(venue: str) -> Strategy:
    """Short each coin's whole exposure in its first perp on one venue."""

    def choose(moment: Moment) -> Decision:
        return _split(moment.market, lambda market, mine: _first(market, mine, venue))

    return choose


def equal_split(moment: Moment) -> Decision:
    """Short each coin's exposure in equal parts over all its perps."""
    return _split(moment.market, lambda market, mine: mine / mine.sum())


def best_funding(moment: Moment) -> Decision:
    """The pairwise rule that bots ship: each coin's whole exposure where its hedge is paid the most."""
    cost = moment.market.funding.cost

    def best(market: Market, mine: BoolVector) -> Vector:
        members = np.flatnonzero(mine)
        side = -np.sign(market.exposure[market.asset_of[members[0]]])
        weights = np.zeros(len(mine))
        weights[members[np.argmin(side * cost[members])]] = 1.0
        return weights

    return _split(moment.market, best)


def least_variance(moment: Moment) -> Decision:
    """Least variance without costs, on the side of a hedge: what a regression on returns would say."""
    from scipy.optimize import lsq_linear

    from allocator import evaluate
    from models.covariance import variance_gradient
    from models.hedge import currency_exposure

    market = moment.market
    n = len(market.instruments)

    def slope(x: Vector) -> Vector:
        quote = currency_exposure(market.cash, x, market.index_currency_of)
        found = variance_gradient(market.risk, evaluate.deltas(market, x), x, quote)
        by_quote = np.append(found.currency_exposure, 0.0)[market.index_currency_of]
        return np.asarray(found.delta[market.asset_of] + found.positions - by_quote)

    at_zero = slope(np.zeros(n))
    # The gradient of a quadratic is affine: its columns are differences of gradients.
    hessian = np.column_stack([slope(np.eye(n)[i] * market.book_usd) - at_zero for i in range(n)])
    root = np.linalg.cholesky(hessian / market.book_usd + 1e-18 * np.eye(n))
    target = np.linalg.solve(root, -at_zero)
    lower = np.where(market.hedged_exposure > 0, -np.inf, 0.0)
    upper = np.where(market.hedged_exposure > 0, 0.0, np.inf)
    free = (lower < upper) & ~market.dated
    found = np.zeros(n)
    if free.any():
        found[free] = lsq_linear(root.T[:, free], target, bounds=(lower[free], upper[free])).x
    return only(market, found)


def foresight(moment: Moment) -> Decision:
    """The allocator told the funding of the holding horizon: what its forecasts of that leave on the table.

    It still weighs risk and costs as they are predicted, so that it may well earn less than another walk.
    """
    market, tape = moment.market, moment.tape
    now = tape.times[moment.row]
    until = now + pd.Timedelta(hours=market.holding_hours)
    paid = tape.funding_between(now, until).groupby(["venue", "symbol"])["rate"].sum()
    total = np.array([float(paid.get((i.exchange, i.symbol), 0.0)) for i in market.instruments])
    covered = min((tape.times[-1] - now) / (until - now), 1.0)
    share = market.horizon_share / covered if covered > 0 else 0.0
    # Of a dated future the carry is known already; it settles no funding to foresee.
    cost = np.where(market.dated, market.funding.cost, share * total)
    known = np.where(market.dated, market.funding.total, total)
    funding = replace(market.funding, cost=cost, total=known, uncertainty=np.zeros(len(total)))
    return allocator(replace(moment, market=replace(market, funding=funding)))


def _first(market: Market, mine: BoolVector, venue: str) -> Vector:
    members = [k for k in np.flatnonzero(mine) if market.instruments[k].venue == venue]
    weights = np.zeros(len(mine))
    if members:
        weights[members[0]] = 1.0
    return weights


def _split(market: Market, weigh: Callable[[Market, BoolVector], Vector]) -> Decision:
    positions = np.zeros(len(market.instruments))
    for a in range(len(market.assets)):
        mine = (market.asset_of == a) & ~market.dated
        if mine.any() and market.exposure[a]:
            positions -= market.exposure[a] * weigh(market, mine)
    return only(market, positions)


def strategies(venues: list[str]) -> Mapping[str, Strategy]:
    """Every strategy by the name a scenario may give it; `one_to_one.<venue>` for each venue."""
    named = {f"one_to_one.{venue}": one_to_one(venue) for venue in venues}
    return {
        "allocator": allocator,
        "no_hedge": no_hedge,
        **named,
        "equal_split": equal_split,
        "best_funding": best_funding,
        "least_variance": least_variance,
        "foresight": foresight,
    }
