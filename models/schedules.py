"""Margin schedules beyond brackets, each as the venue states it and, where that is not convex, its majorant.

Notionals are USD at mark, n ≥ 0; rates are fractions. A schedule that jumps (a tier's rate on the whole
position) cannot be in a convex program: `whole_position_majorant` is the least continuous piecewise-linear
function through the tops of its jumps with slopes that do not fall, hence convex and never below it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from models.arrays import Number, Vector, finite, fraction, like, non_negative, positive
from models.margin import Brackets, Schedules, bracket_deductions


def quadratic_margin(notional_usd: Number, rate: float, per_usd: float) -> Number:
    """Margin n·(rate + per_usd·n) in USD: a rate that grows with the position (Deribit standard margin).

    Deribit states the growth per coin: BTC initial 2 % + 0.005 % per BTC, maintenance 1 % + 0.005 % per BTC;
    divide it by the coin's price for `per_usd` (Deribit, Linear Perpetual and standard margin pages, 2022).
    """
    size = non_negative("notional_usd", notional_usd)
    return like(
        notional_usd, size * (float(fraction("rate", rate)) + float(non_negative("per_usd", per_usd)) * size)
    )


def whole_position_margin(notional_usd: Number, caps_usd: Vector, rates: Vector) -> Number:
    """Margin r_k·n with the rate of the tier that holds the whole position: it jumps at each cap.

    caps_usd (K,) rising, the largest notional of each tier; above the last cap the last rate goes on.
    OKX position tiers, Kraken margin levels taken as whole-position (their margin pages, 2023-2026).
    """
    caps, tier_rates = _tiers(caps_usd, rates)
    size = non_negative("notional_usd", notional_usd)
    tier = np.minimum(np.searchsorted(caps, size, side="left"), len(caps) - 1)
    return like(notional_usd, tier_rates[tier] * size)


def whole_position_rates(notional_usd: Vector, tiers: Schedules) -> Vector:
    """Rate of the tier that holds each whole position: notionals (n,) or (n, M) >= 0 of n instruments."""
    size = non_negative("notional_usd", notional_usd)
    column = size.reshape(len(tiers.rates), -1)
    # A tier holds its own cap: (floor, cap].
    tier = np.maximum(np.sum(column[:, :, None] > tiers.floors_usd[:, None, :], axis=2) - 1, 0)
    return np.asarray(np.take_along_axis(tiers.rates, tier, axis=1).reshape(size.shape))


def whole_position_majorant(caps_usd: Vector, rates: Vector, max_leverages: Vector) -> Brackets:
    """Convex majorant of `whole_position_margin` as brackets, up to the last cap.

    It runs through (0, 0) and, at each cap, the margin just above it: (c_k, r_{k+1}·c_k). Where slopes would
    fall they are held, so the result is at or above the true margin everywhere (never below; up to 1.5 times
    it just past a small first tier of published tables).
    """
    caps, tier_rates = _tiers(caps_usd, rates)
    knots = np.append(0.0, caps)
    tops = np.append(0.0, caps * np.append(tier_rates[1:], tier_rates[-1]))
    slopes = np.maximum.accumulate(np.diff(tops) / np.diff(knots))
    # Equal slopes are one bracket: brackets must have rising rates.
    first = np.append(True, np.diff(slopes) > 1e-15)
    last = np.append(first[1:], True)
    floors = knots[:-1][first]
    return Brackets(
        floors_usd=floors,
        caps_usd=caps[last],
        rates=slopes[first],
        deductions_usd=bracket_deductions(floors, slopes[first]),
        max_leverages=np.asarray(max_leverages, dtype=np.float64)[last],
    )


def whole_position_minorant(caps_usd: Vector, rates: Vector) -> Brackets:
    """Convex minorant of `whole_position_margin` as brackets: the greatest convex function nowhere above it.

    The lower convex hull of (0, 0) and the bottoms of the jumps (c_k, r_k·c_k). The last cap may be infinite;
    then no slope exceeds the last rate, the steepest that stays below the margin of every size.
    """
    caps, tier_rates = np.asarray(caps_usd, dtype=np.float64), np.asarray(rates, dtype=np.float64)
    endless = bool(np.isinf(caps[-1:]).any())
    _tiers(np.append(caps[:-1], 2.0 * np.max(caps[:-1], initial=1.0)) if endless else caps, tier_rates)
    floors, bottoms = [0.0], [0.0]
    slopes: list[float] = []
    for cap, rate in zip(caps.tolist(), tier_rates.tolist(), strict=True):

        def slope(cap: float = cap, rate: float = rate) -> float:
            """From the newest vertex to this tier's end."""
            return rate if cap == np.inf else (rate * cap - bottoms[-1]) / (cap - floors[-1])

        # A vertex above the line from the one before it to here is not on the hull.
        while slopes and slope() <= slopes[-1] * (1.0 + 1e-15):
            floors.pop()
            bottoms.pop()
            slopes.pop()
        slopes.append(slope())
        floors.append(cap)
        bottoms.append(rate * cap)
    starts, steep = np.array(floors[:-1]), np.array(slopes)
    return Brackets(
        floors_usd=starts,
        caps_usd=np.array(floors[1:]),
        rates=steep,
        deductions_usd=bracket_deductions(starts, steep),
        max_leverages=np.full(len(starts), np.inf),
    )


def open_interest_scaled_rate(
    base_rate: float, open_interest_usd: float, lower_usd: float, upper_usd: float
) -> float:
    """Initial margin fraction that rises from its base to 1 as open interest goes from lower to upper cap.

    dYdX v4 perpetual clearing (protocol source, Mar 2026): base when open interest is at most `lower_usd` or
    `upper_usd` is 0 (no scaling); maintenance margin is not scaled.
    """
    base = float(fraction("base_rate", base_rate))
    interest = float(non_negative("open_interest_usd", open_interest_usd))
    lower, upper = float(non_negative("lower_usd", lower_usd)), float(non_negative("upper_usd", upper_usd))
    if upper == 0.0 or interest <= lower:
        return base
    if upper <= lower:
        raise ValueError(f"upper_usd {upper:g} is not above lower_usd {lower:g}: write the larger cap last")
    return min(1.0, base + (1.0 - base) * (interest - lower) / (upper - lower))


def long_short_margin(long_usd: Number, short_usd: Number) -> Number:
    """max(margin of all longs, margin of all shorts) of one underlying (Kraken multi-collateral futures)."""
    longs, shorts = non_negative("long_usd", long_usd), non_negative("short_usd", short_usd)
    return like(long_usd, np.maximum(longs, shorts))


@dataclass(frozen=True)
class PortfolioMargin:
    """Portfolio margin of one underlying's linear legs: a worst loss over moves, and charges.

    moves (M,): price moves of the grid, both signs; weights (M,): the share of the loss that counts (an
    extreme move may count half). hedged_rate: charge on min(long, short), for basis, roll or quote risk.
    gross_rate: charge on the gross. floor: least margin as brackets of the gross (a minimum charge), or None.
    initial_factor: initial margin over maintenance margin.

    Forms it holds: OKX (max of the normal and the halved extreme grid, basis charge, minimum charge),
    Deribit and Bybit (worst bucket and contingencies), Paradex (scan, net and hedged charges).
    Errors: ValueError where the sum is not convex: the hedged charge is a·|net| + c·min(long, short), convex
    if and only if the worst move on the weaker side is at least c/2.
    """

    moves: Vector
    weights: Vector
    hedged_rate: float
    gross_rate: float
    floor: Brackets | None
    initial_factor: float

    def __post_init__(self) -> None:
        moves, weights = finite("moves", self.moves), fraction("weights", self.weights)
        if moves.ndim != 1 or moves.shape != weights.shape or moves.size == 0:
            raise ValueError(f"moves {moves.shape} and weights {weights.shape}: give one weight per move")
        if bool(np.any(moves <= -1.0)):
            raise ValueError(f"a move is {moves.min():g}: write a return above -1")
        fraction("hedged_rate", self.hedged_rate)
        fraction("gross_rate", self.gross_rate)
        if self.initial_factor < 1.0:
            raise ValueError(f"initial_factor is {self.initial_factor:g}: write at least 1")
        weaker = min(self.rate_long, self.rate_short)
        if self.hedged_rate > 2.0 * weaker:
            raise ValueError(
                f"a hedged charge of {self.hedged_rate:g} on a worst move of {weaker:g} is not convex: "
                f"write at most {2.0 * weaker:g}, or larger moves"
            )

    @property
    def rate_long(self) -> float:
        """Worst counted loss of a net long of 1 USD."""
        return float(np.max(-np.asarray(self.moves) * self.weights, initial=0.0))

    @property
    def rate_short(self) -> float:
        """Worst counted loss of a net short of 1 USD."""
        return float(np.max(np.asarray(self.moves) * self.weights, initial=0.0))

    def affine_pieces(self) -> Vector:
        """Rows (J, 3) with margin = max_j(row_0·net + row_1·gross + row_2): the convex program's form.

        min(long, short) = (gross − |net|)/2, so the charge moves from the net to the gross.
        """
        half = self.hedged_rate / 2.0
        gross = half + self.gross_rate
        rows = [(self.rate_long - half, gross, 0.0), (-(self.rate_short - half), gross, 0.0)]
        if self.floor is not None:
            rows += [(0.0, r, -d) for r, d in zip(self.floor.rates, self.floor.deductions_usd, strict=True)]
        return np.array(rows, dtype=np.float64)


def portfolio_margin(positions_usd: ArrayLike, rules: PortfolioMargin) -> float:
    """Maintenance margin in USD of one underlying's positions (n,), straight from the rules' words."""
    held = finite("positions_usd", positions_usd)
    net, longs, shorts = float(held.sum()), held[held > 0].sum(), -held[held < 0].sum()
    losses = [-move * net * weight for move, weight in zip(rules.moves, rules.weights, strict=True)]
    charge = rules.hedged_rate * min(longs, shorts) + rules.gross_rate * (longs + shorts)
    least = 0.0
    if rules.floor is not None:
        gross = longs + shorts
        least = float(np.max(rules.floor.rates * gross - rules.floor.deductions_usd))
    return float(max(max([0.0, *losses]) + charge, least))


def multiplied_minimum(rate: float, caps_usd: Vector, multipliers: Vector) -> Brackets:
    """A minimum charge of `rate` × gross whose parts count several times as it grows: brackets of the gross.

    caps_usd (K,) of the charge, the last infinite; multipliers (K,) that do not fall. OKX's adjusted minimum
    charge, in its notice of portfolio margin (2021): 30,000 with 10,000 once and the rest twice is 50,000.
    """
    share = float(positive("rate", fraction("rate", rate)))
    caps, times = np.asarray(caps_usd, dtype=np.float64), positive("multipliers", multipliers)
    if caps.ndim != 1 or caps.shape != times.shape or caps.size == 0 or not np.isposinf(caps[-1]):
        raise ValueError("caps_usd, multipliers: give one cap per multiplier, and infinity as the last cap")
    floors = np.append(0.0, positive("caps_usd", caps[:-1]))
    if bool(np.any(np.diff(floors) <= 0.0)) or bool(np.any(np.diff(times) < 0.0)):
        raise ValueError("tiers are not in order: caps must rise and multipliers must not fall")
    gross = np.append(floors, np.inf) / share
    rates = share * times
    deductions = bracket_deductions(gross[:-1], rates)
    return Brackets(gross[:-1], gross[1:], rates, deductions, np.full(len(times), np.inf))


def tiered_margin_value(balance_usd: Number, caps_usd: Vector, ratios: Vector) -> Number:
    """Margin value of a balance whose collateral ratio falls tier by tier; a debt counts whole. Concave.

    caps_usd (K,) rising: tier k holds the part of the balance up to its cap; what exceeds the last cap counts
    nothing. Example of Binance's cross-margin page: BTC 100 % to 100m, 97.5 % to 120m, 95 % to 150m, ...
    """
    caps, shares = positive("caps_usd", caps_usd), fraction("ratios", ratios)
    if caps.ndim != 1 or caps.shape != shares.shape or bool(np.any(np.diff(caps) <= 0)):
        raise ValueError("caps_usd and ratios: give one rising cap and one ratio per tier")
    if bool(np.any(np.diff(shares) > 0)):
        raise ValueError("ratios rise with the balance: from tier to tier they must fall or stay")
    balance = finite("balance_usd", balance_usd)
    widths = np.diff(caps, prepend=0.0)
    floors = caps - widths
    inside = np.clip(np.subtract.outer(balance, floors), 0.0, widths)
    return like(balance_usd, inside @ shares + np.minimum(balance, 0.0))


def tiered_value_pieces(caps_usd: Vector, ratios: Vector) -> tuple[Vector, Vector]:
    """Slopes and intercepts (K + 2,) with `tiered_margin_value` = min_k(slope_k·b + intercept_k).

    The first piece is the debt's (slope 1), the last is what lies beyond the last cap (slope 0).
    """
    slopes = np.concatenate([[1.0], np.asarray(ratios, dtype=np.float64), [0.0]])
    knots = np.concatenate([[0.0], np.asarray(caps_usd, dtype=np.float64)])
    steps = -np.diff(slopes) * knots
    return slopes, np.concatenate([[0.0], np.cumsum(steps)])


def _tiers(caps_usd: Vector, rates: Vector) -> tuple[Vector, Vector]:
    caps, tier_rates = positive("caps_usd", caps_usd), fraction("rates", rates)
    if caps.ndim != 1 or caps.shape != tier_rates.shape or caps.size == 0:
        raise ValueError(f"caps_usd {caps.shape}, rates {tier_rates.shape}: give one cap and rate per tier")
    if bool(np.any(np.diff(caps) <= 0.0)) or bool(np.any(np.diff(tier_rates) < 0.0)):
        raise ValueError("tiers are not in order: caps must rise and rates must not fall")
    return caps, tier_rates
