"""What is left of the exposure after the hedge, and how good the hedge is. Amounts are USD, > 0 long."""

import numpy as np
from numpy.typing import ArrayLike

from models.arrays import IntVector, Vector, finite, fraction, indices, non_negative, positive

USD_INDEX = -1
"""Index currency of an instrument quoted in USD itself."""

CROSS_HEDGE_RIDGE = 0.01
"""Share of each hedging asset's own variance that `cross_hedge_betas` adds where nothing else is asked."""

_MIN_PAIRS = 10


def net_delta(exposure: Vector, positions: Vector, asset_of: IntVector) -> Vector:
    """Delta (A,) in USD: exposure (A,) plus the positions (n,), each added to its asset asset_of (n,)."""
    held = finite("exposure", exposure)
    return held + _summed(positions, indices("asset_of", asset_of, held.size), held.size)


def currency_exposure(cash: Vector, positions: Vector, index_currency_of: IntVector) -> Vector:
    """USD exposure (C,) to each quote currency: cash settled in it minus the positions indexed in it.

    cash (C,): collateral and cash. index_currency_of (n,): the currency of each instrument's index, -1 for
    USD. A short indexed in USDC and collateral in USDC add up: both lose when USDC falls.
    """
    held = finite("cash", cash)
    owners = indices("index_currency_of", index_currency_of, held.size, lowest=USD_INDEX)
    return held - _summed(positions, owners + 1, held.size + 1)[1:]


def anticipation_variance(amounts: ArrayLike, confidence: ArrayLike, sd: ArrayLike) -> float:
    """Variance in USD² that no hedge reaches: trades of `amounts` (K,) USD happen or do not.

    Sum of a²·p·(1 - p)·sd², for trades that happen with probability p, independently of each other and of
    returns of standard deviation sd: E[(Ba + x)²] = (pa + x)² + p(1 - p)a² with B 1 or 0. A hedge x is best
    against the expected amount pa.
    """
    p = fraction("confidence", confidence)
    return float(np.sum((finite("amounts", amounts) * non_negative("sd", sd)) ** 2 * p * (1.0 - p)))


def hedge_effectiveness(variance_hedged: float, variance_unhedged: float) -> float:
    """1 - Var(hedged)/Var(unhedged); 1 is perfect, below 0 the hedge adds risk. Error when unhedged is 0."""
    hedged = float(non_negative("variance_hedged", variance_hedged))
    return 1.0 - hedged / float(positive("variance_unhedged", variance_unhedged))


def hedge_ratio(exposure: float, positions_sum: float) -> float:
    """Share of the exposure that the positions offset: -sum(x)/exposure; ValueError without exposure."""
    base = float(finite("exposure", exposure))
    if base == 0.0:
        raise ValueError("exposure is 0: a hedge ratio needs an exposure")
    return -float(finite("positions_sum", positions_sum)) / base


def return_beta(perp_returns: ArrayLike, coin_returns: ArrayLike, half_life_rows: float | None) -> float:
    """Slope of a perp's returns (T,) on its own coin's (T,), in time order, NaN where one is missing.

    Least squares without intercept; rows weigh 0.5^(age / half_life_rows), or the same with None. Returns
    not observed at one moment pull it below one (0.91 at 5 minutes against 0.985 at an hour), so a step of an
    hour or more is wanted. Errors: ValueError for infinity, shapes, fewer than 10 common rows, or a coin that
    does not move.
    """
    perp, coin = np.asarray(perp_returns, dtype=np.float64), np.asarray(coin_returns, dtype=np.float64)
    if perp.ndim != 1 or perp.shape != coin.shape:
        raise ValueError(f"perp_returns {perp.shape} and coin_returns {coin.shape}: give one row each, alike")
    if bool(np.isinf(perp).any() or np.isinf(coin).any()):
        raise ValueError("perp_returns or coin_returns hold infinity: give numbers, NaN where missing")
    both = np.isfinite(perp) & np.isfinite(coin)
    if both.sum() < _MIN_PAIRS:
        raise ValueError(f"the returns share {both.sum()} rows: give at least {_MIN_PAIRS}")
    ages = np.arange(perp.size)[::-1][both]
    half_life = np.inf if half_life_rows is None else float(positive("half_life_rows", half_life_rows))
    weights = 0.5 ** ((ages - ages.min()) / half_life)
    spread = float(weights @ coin[both] ** 2)
    if spread == 0.0:
        raise ValueError("coin_returns do not move: there is nothing to hedge")
    return float(weights @ (perp[both] * coin[both])) / spread


def shrunk_hedge_ratio(estimated_beta: float, weight_on_one: float) -> float:
    """Beta of a perp on its own coin, weight_on_one·1 + (1 - weight_on_one)·estimated_beta.

    A perp is tied to its coin by funding and arbitrage, so at steps of an hour or more the truth is within a
    percent of one and an estimate is mostly noise; 0.9 is a sound weight. A position x of it moves like
    beta·x of the coin. weight_on_one in [0, 1].

    The program takes one itself. Over 2024-09 to 2025-05 no perp of 29 on three venues had a beta further
    than 1.2 % from one, and hedging by estimates in place of one moved the effectiveness by 2e-5 at most.
    What a beta leaves is counted all the same: the basis is the perp's return less that of its coin.
    """
    weight = float(fraction("weight_on_one", weight_on_one))
    return weight + (1.0 - weight) * float(finite("estimated_beta", estimated_beta))


def cross_hedge_betas(covariance: ArrayLike, own: int, others: ArrayLike, ridge: float) -> Vector:
    """Betas (K,) of the asset at place `own` on those at places `others` (K,), in the order of `others`.

    A hedge of 1 USD of `own` is -beta USD of each: the least variance of what is left, plus `ridge` times
    each hedging asset's own variance times beta². Without ridge (0) two hedges that move almost alike get
    huge opposite betas; with it they share, and a lone hedge loses a factor 1 + ridge. Hoerl and Kennard
    (1970), "Ridge regression". Errors: ValueError for places outside the matrix, `own` among `others`, a
    hedging asset that does not move, or, without ridge, ones that follow from each other.
    """
    cov = finite("covariance", covariance)
    if cov.ndim != 2 or cov.shape[0] != cov.shape[1]:
        raise ValueError(f"covariance has shape {cov.shape}: give a square matrix")
    places = indices("others", others, len(cov))
    place = int(indices("own", own, len(cov)))
    if place in places:
        raise ValueError(f"others holds {place}, the asset to be hedged: leave it out")
    if places.size == 0:
        return np.zeros(0)
    variances = positive("variance of others", np.diag(cov)[places])
    # In units of each asset's own spread, so that the ridge weighs a calm and a wild asset alike.
    sd = np.sqrt(variances)
    system = cov[np.ix_(places, places)] / np.outer(sd, sd)
    system += float(non_negative("ridge", ridge)) * np.eye(places.size)
    if np.linalg.cond(system) > 1e12:
        raise ValueError("others follow from each other: leave one out, or give a ridge such as 0.01")
    return np.asarray(np.linalg.solve(system, cov[places, place] / sd) / sd)


def _summed(positions: Vector, owners: IntVector, count: int) -> Vector:
    held = finite("positions", positions)
    if held.shape != owners.shape:
        raise ValueError(f"positions has shape {held.shape}: give one per instrument, {owners.shape}")
    return np.bincount(owners, weights=held, minlength=count).astype(np.float64)
