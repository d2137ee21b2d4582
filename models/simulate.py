"""A synthetic market, seeded: coins with a common factor and fat tails, reverting bases, clamped funding.

Not a forecast and not history: a stage on which strategies can be compared where nothing is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import Vector

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class SimulatedCoins:
    """Daily volatilities (A,) and the correlation of every pair, in [0, 1); Student `tails` > 2 degrees."""

    volatility: Vector
    correlation: float
    tails: float = 5.0

    def __post_init__(self) -> None:
        if np.any(np.asarray(self.volatility) <= 0) or not np.isfinite(self.volatility).all():
            raise ValueError("volatility holds a value that is not above 0: give daily sds such as 0.03")
        if not 0 <= self.correlation < 1:
            raise ValueError(f"correlation is {self.correlation:g}: give a number from 0 to below 1")
        if not self.tails > 2:
            raise ValueError(
                f"tails is {self.tails:g}: give degrees of freedom above 2, or the variance is infinite"
            )


def student(random: np.random.Generator, shape: tuple[int, ...], tails: float) -> Matrix:
    """Student shocks of unit variance."""
    return np.asarray(random.standard_t(tails, shape) / math.sqrt(tails / (tails - 2)))


def coin_paths(
    random: np.random.Generator, coins: SimulatedCoins, last: Vector, bars: int, bar_hours: float
) -> Matrix:
    """Prices (bars, A) in USD that end at `last` (A,); returns share one factor and have fat tails.

    A common scale of Student shocks would make tails joint; here factor and own shocks are drawn apart, so
    coins crash together through the factor and alone through their own.
    """
    share = math.sqrt(bar_hours / 24)
    factor = student(random, (bars - 1, 1), coins.tails) * math.sqrt(coins.correlation)
    own = student(random, (bars - 1, len(last)), coins.tails) * math.sqrt(1 - coins.correlation)
    returns = (factor + own) * np.asarray(coins.volatility) * share
    behind = np.concatenate([np.cumsum(returns[::-1], axis=0)[::-1], np.zeros((1, len(last)))])
    return np.asarray(np.asarray(last) * np.exp(-behind))


def stationary_paths(random: np.random.Generator, level: Vector, keep: float, bars: int) -> Matrix:
    """Stationary AR(1) paths (bars, n) of sd `level` (n,): each bar keeps the share `keep` of the one before.

    Raises ValueError for a level below 0, a share outside [0, 1), or no bar.
    """
    level = np.asarray(level, dtype=float)
    if not (np.isfinite(level).all() and np.all(level >= 0)):
        raise ValueError("level holds a value that is not a standard deviation: give numbers from 0")
    if not 0 <= keep < 1:
        raise ValueError(f"keep is {keep:g}: give the share that a bar keeps of the last, from 0 to below 1")
    if bars < 1:
        raise ValueError(f"bars is {bars}: give at least 1")
    paths = random.standard_normal((bars, len(level))) * level
    for bar in range(1, bars):
        paths[bar] = keep * paths[bar - 1] + math.sqrt(1 - keep**2) * paths[bar]
    return paths


def reverting_paths(
    random: np.random.Generator, level: Vector, half_life_hours: float, bars: int, bar_hours: float
) -> Matrix:
    """`stationary_paths` by half-life: what remains after it is a half. Raises ValueError as they do."""
    if not 0 < half_life_hours < math.inf:
        raise ValueError(f"half_life_hours is {half_life_hours:g}: give a number of hours above 0")
    return stationary_paths(random, level, 0.5 ** (bar_hours / half_life_hours), bars)


def clamped_funding(premium: Matrix, interval_hours: float, interest: float, cap: float) -> Matrix:
    """Funding per interval from premiums per 8 h: premium + clamp(interest − premium, ±5 bp), capped.

    Binance and Hyperliquid funding pages, Nov 2026: stated per 8 h, paid by the interval's share; `cap` is
    per interval, infinite for none.
    """
    rate = premium + np.clip(interest - premium, -0.0005, 0.0005)
    return np.asarray(np.clip(rate * interval_hours / 8, -cap, cap))


def settlement_premiums(premium: Matrix, column: int, bars: Sequence[int], bars_each: int) -> Vector:
    """Average premium (len(bars),) of one column over the `bars_each` bars before each settlement."""
    return np.array([premium[max(bar - bars_each, 0) : bar, column].mean() for bar in bars])
