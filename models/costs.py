"""Trading costs in USD: fees and half-spread, the walk of a visible book, square-root impact.

Costs > 0 are paid by us; fees, spreads and premiums are fractions of the traded notional. A trade u is signed
USD, > 0 buy.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from models.arrays import Number, Vector, finite, fraction, like, non_negative, positive, same_shape

BookSide = Literal["bid", "ask"]

_CAPACITY_TOLERANCE = 1e-9


@dataclass(frozen=True)
class UnitCost:
    """Cost per USD traded, each (n,): charged = max(0, fee + spread).

    fee and spread are its parts. rebate_not_optimised = max(0, -(fee + spread)) is stated only: a net rebate
    per USD traded would make the cost concave and pay for wash trades.
    """

    fee: Vector
    spread: Vector
    charged: Vector
    rebate_not_optimised: Vector


@dataclass(frozen=True)
class DepthCurve:
    """One side of a book (L,): level l offers sizes_usd[l] > 0 at premiums[l] >= 0 beyond the best price.

    Sizes are USD at the best price, premiums relative to the best price and non-decreasing. Errors:
    ValueError.
    """

    sizes_usd: Vector
    premiums: Vector

    def __post_init__(self) -> None:
        sizes, premiums = positive("sizes_usd", self.sizes_usd), non_negative("premiums", self.premiums)
        same_shape({"sizes_usd": sizes, "premiums": premiums})
        if sizes.ndim != 1 or sizes.size == 0:
            raise ValueError(f"sizes_usd has shape {sizes.shape}: give at least one level")
        if bool(np.any(np.diff(premiums) < 0.0)):
            raise ValueError("premiums decrease: give the levels from the best price outwards")

    @property
    def capacity_usd(self) -> float:
        """USD that the curve offers in all."""
        return float(np.sum(self.sizes_usd))

    def affine_pieces(self) -> tuple[Vector, Vector]:
        """Slopes and intercepts, one per distinct premium: walk cost = max_k(slope_k·size + intercept_k)."""
        distinct = np.append(True, np.diff(self.premiums) > 0.0)
        slopes = np.asarray(self.premiums, dtype=np.float64)[distinct]
        starts = np.append(0.0, np.cumsum(self.sizes_usd)[:-1])[distinct]
        # Adjacent pieces meet where the next premium starts: c_k = c_{k-1} - (p_k - p_{k-1})·start_k.
        return slopes, -np.cumsum(np.diff(slopes, prepend=slopes[:1]) * starts)


def unit_cost(
    maker_fee: ArrayLike, taker_fee: ArrayLike, half_spread: ArrayLike, maker_share: ArrayLike
) -> UnitCost:
    """Cost per USD traded when a share m in [0, 1] is filled as maker.

    fee = m·maker + (1 - m)·taker (a maker fee < 0 is a rebate), spread = (1 - m)·half_spread, half_spread >=
    0: makers do not cross the spread.
    """
    m = fraction("maker_share", maker_share)
    fee = m * finite("maker_fee", maker_fee) + (1.0 - m) * finite("taker_fee", taker_fee)
    spread = (1.0 - m) * non_negative("half_spread", half_spread)
    fee, spread = np.broadcast_arrays(np.asarray(fee), np.asarray(spread))
    net = np.asarray(fee + spread)
    return UnitCost(fee, spread, charged=np.maximum(net, 0.0), rebate_not_optimised=np.maximum(-net, 0.0))


def depth_curve(
    prices: ArrayLike,
    sizes_coins: ArrayLike,
    best_price: float,
    usd_per_price_coin: float,
    side: BookSide,
    share: float,
) -> DepthCurve:
    """The curve of raw book levels (L,), of whose size one is willing to take `share` in (0, 1].

    prices: from the best price outwards (bids falling, asks rising), in quote currency. sizes_coins: coins
    per level. usd_per_price_coin: USD per (price unit x coin), which is quote_usd / coins_per_unit. Levels of
    size 0 are left out. Errors: ValueError for a level better than best_price or out of order.
    """
    levels, coins = positive("prices", prices), non_negative("sizes_coins", sizes_coins)
    same_shape({"prices": levels, "sizes_coins": coins})
    best = float(positive("best_price", best_price))
    taken = float(positive("share", fraction("share", share)))
    if side not in ("bid", "ask"):
        raise ValueError(f"side is {side!r}: write 'bid' or 'ask'")
    premiums = (levels - best if side == "ask" else best - levels) / best
    if bool(np.any(premiums < 0.0)):
        raise ValueError(
            f"prices hold an {side} better than the best price {best:g}: check side and best_price"
        )
    offered = coins > 0.0
    usd = coins * taken * best * float(positive("usd_per_price_coin", usd_per_price_coin))
    return DepthCurve(sizes_usd=usd[offered], premiums=premiums[offered])


def walk_cost(traded_usd: Number, curve: DepthCurve) -> Number:
    """USD paid beyond the best price for taking traded_usd >= 0; ValueError beyond the capacity."""
    size = non_negative("traded_usd", traded_usd)
    if float(np.max(size, initial=0.0)) > curve.capacity_usd * (1.0 + _CAPACITY_TOLERANCE):
        raise ValueError(f"traded_usd {np.max(size):,.2f} exceeds the depth of {curve.capacity_usd:,.2f} USD")
    return like(traded_usd, piecewise_cost(np.asarray(size), *curve.affine_pieces()))


def trade_cost_segments(
    unit_cost: float, bids: DepthCurve | None, asks: DepthCurve | None, taker_share: float
) -> tuple[Vector, Vector]:
    """Slopes and intercepts (K,) with max_k(slope_k·u + intercept_k) = unit_cost·|u| + walk(taker_share·|u|).

    A buy walks the asks, a sell the bids; a side without a book costs unit_cost·|u| only. Beyond the capacity
    of a side the last segment goes on: |u| <= capacity / taker_share is a limit of the caller. unit_cost >= 0
    keeps it convex.
    """
    unit, share = float(non_negative("unit_cost", unit_cost)), float(fraction("taker_share", taker_share))
    slopes, intercepts = [], []
    for sign, curve in ((-1.0, bids), (1.0, asks)):
        walk, offsets = (np.zeros(1), np.zeros(1)) if curve is None or share == 0.0 else curve.affine_pieces()
        slopes.append(sign * (unit + share * walk))
        intercepts.append(offsets)
    return np.concatenate(slopes), np.concatenate(intercepts)


def piecewise_cost(traded_usd: Number, slopes: Vector, intercepts: Vector) -> Number:
    """USD cost max_k(slope_k·u + intercept_k) of a signed trade u."""
    trade = finite("traded_usd", traded_usd)
    return like(traded_usd, np.max(np.multiply.outer(trade, slopes) + intercepts, axis=-1))


def square_root_impact(
    traded_usd: Number, daily_volatility: Number | float, adv_usd: Number | float, coefficient: Number | float
) -> Number:
    """USD impact cost b·sigma·|u|^(3/2)/sqrt(ADV), sigma and ADV per day.

    The square-root law of Donier and Bonart, "A million metaorder analysis of market impact on the Bitcoin"
    (arXiv 1412.4503), in the form of Boyd et al., "Multi-period trading via convex optimization" (2017),
    whose b is 1 by default.
    """
    size = np.abs(finite("traded_usd", traded_usd))
    return like(traded_usd, _impact_scale(daily_volatility, adv_usd, coefficient) * size**1.5)


def square_root_impact_slope(
    traded_usd: Number, daily_volatility: Number | float, adv_usd: Number | float, coefficient: Number | float
) -> Number:
    """Derivative of `square_root_impact` in the signed trade: 1.5·b·sigma·sqrt(|u|/ADV)·sign(u)."""
    trade = finite("traded_usd", traded_usd)
    scale = _impact_scale(daily_volatility, adv_usd, coefficient)
    return like(traded_usd, 1.5 * scale * np.sqrt(np.abs(trade)) * np.sign(trade))


def _impact_scale(
    daily_volatility: Number | float, adv_usd: Number | float, coefficient: Number | float
) -> Vector:
    sigma = non_negative("daily_volatility", daily_volatility)
    scale = non_negative("coefficient", coefficient) * sigma / np.sqrt(positive("adv_usd", adv_usd))
    return np.asarray(scale)
