"""How much of its own coin's return a basis moves with: one small beta for all perps.

The demand for leverage follows the price: in a rally perps trade above their coins, in a fall below. So a
hedge of one dollar short per dollar held is a little too large. Over six windows from 2023 to 2025 the daily
change of the mean basis of all perps was correlated with the coins' mean return by 0.32 to 0.55, and by 0.0
(ranks: 0.25) over the first half of 2023. The best hedge ratio is 1 / (1 + beta), with betas of 5 to 50 bp a
fraction of a per cent below one, and costs nothing.

One beta is pooled over all perps: a perp's own rests on few independent days, the largest ones on one event
of one coin (TRX in December 2024), and predicted worse than none. What is pooled is right on average but the
best one wanders from month to month, so it counts half against none: forecasts are best combined in equal
parts when their errors are not known well enough to weigh them (Timmermann 2006, "Forecast combinations").
Hedges of least variance held over the next thirty days, from many days of twelve sets of perps, had 0.90 to
1.02 times the sd of hedging one to one, on average 0.96; believed whole, 0.82 to 1.08, but on single days up
to 1.7 where half had at most 1.3.
"""

import numpy as np
from numpy.typing import ArrayLike

from models.arrays import fraction, positive
from models.basis import lag_rows

COMBINED = 0.5
"""Weight of the pooled beta against none: an average of the two forecasts."""

_LEAST_ROWS = 20


def pooled_beta(
    levels: ArrayLike,
    coin_logs: ArrayLike,
    step_hours: float,
    hours: float,
    memory_hours: float,
    weight: float = COMBINED,
) -> float:
    """`weight` times the slope of all changes of basis levels (T, G) on their coins' log returns.

    coin_logs (T, G): the log of the price of each basis's own coin; NaN where a level or price is missing.
    Changes over `hours`, in whole steps, rounded up, overlap; weights are 0.5^(age / memory_hours), means
    zero. 0 where fewer than 20 rows hold a change. Errors: ValueError for infinity, shapes, a weight outside
    [0, 1].
    """
    share = float(fraction("weight", weight))
    values, logs = np.asarray(levels, dtype=np.float64), np.asarray(coin_logs, dtype=np.float64)
    if values.ndim != 2 or values.shape != logs.shape or bool(np.isinf(values).any() or np.isinf(logs).any()):
        raise ValueError(f"levels {values.shape}, coin_logs {logs.shape}: give a column per basis")
    step = float(positive("step_hours", step_hours))
    rows = lag_rows(hours, step)
    if len(values) <= rows:
        return 0.0
    moves, returns = values[rows:] - values[:-rows], logs[rows:] - logs[:-rows]
    seen = np.isfinite(moves) & np.isfinite(returns)
    if int(seen.any(axis=1).sum()) < _LEAST_ROWS:
        return 0.0
    ages = np.arange(len(moves))[::-1] * step
    weights = 0.5 ** (ages / float(positive("memory_hours", memory_hours)))
    moves, returns = np.where(seen, moves, 0.0), np.where(seen, returns, 0.0)
    squares = float(weights @ np.sum(returns**2, axis=1))
    return share * float(weights @ np.sum(moves * returns, axis=1)) / squares if squares > 0.0 else 0.0
