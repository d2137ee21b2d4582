"""Dated futures: the premium that runs to zero at expiry, what it costs to hold, and the basis risk left.

A dated future settles at its index, so its premium pi = mark/index - 1 is known to be gone at expiry. A long
of 1 USD at mark holds 1/mark coins, linear or inverse, and with the coin unchanged loses (mark - index)/mark
= pi/(1 + pi) USD by then. The premium is taken to run off evenly in time; it is no funding and has no error
but basis risk.

That risk is the one of a mean-reverting basis (`models.basis`) pinned at expiry. With T hours to expiry,
reversion k and free variance v(h) = s²(1 - e^(-2kh)) of a level h hours after a known one, the level of the
bridge has variance v(h)·v(T - h)/v(T). Its ratio to the free one,

    (1 - e^(-2k(T - h))) / (1 - e^(-2kT)),

is 1 far from expiry, (T - h)/T for a basis that hardly reverts, and 0 at expiry.
"""

import numpy as np
from numpy.typing import ArrayLike

from models.arrays import Number, Vector, finite, like, non_negative, positive
from models.basis import lag_rows, weighted_rms


def premium(mark: Number, index: Number | float) -> Number:
    """mark/index - 1 as a fraction, both in USD per coin."""
    return like(mark, positive("mark", mark) / positive("index", index) - 1.0)


def carry_over(premium: Number, hours_to_expiry: Number | float, holding_hours: float) -> Number:
    """Expected loss of a long over the holding horizon, per USD at mark: pi/(1 + pi)·min(H, T)/T.

    > 0: a long pays. Beyond expiry (H > T) the whole premium is earned once; a roll is not modelled.
    Errors: ValueError for a premium <= -1, T <= 0 or H <= 0.
    """
    gross = positive("1 + premium", 1.0 + finite("premium", premium))
    left, held = positive("hours_to_expiry", hours_to_expiry), positive("holding_hours", holding_hours)
    return like(premium, (1.0 - 1.0 / gross) * np.minimum(held, left) / left)


def pinned_share(
    reversion_per_hour: Number | float, hours: Number | float, hours_to_expiry: Number
) -> Number:
    """Variance of a basis pinned at expiry over that of a free one after `hours`, in [0, 1].

    Errors: ValueError for a reversion or hours_to_expiry <= 0, or hours outside [0, hours_to_expiry].
    """
    twice = 2.0 * positive("reversion_per_hour", reversion_per_hour)
    left = positive("hours_to_expiry", hours_to_expiry)
    after = non_negative("hours_to_expiry - hours", left - non_negative("hours", hours))
    return like(hours_to_expiry, np.expm1(-twice * after) / np.expm1(-twice * left))


def carry_line(levels: ArrayLike, hours_to_expiry: ArrayLike) -> Vector:
    """The constant carry nearest to basis levels (T,), NaN where missing, as levels (T,) that end at zero.

    c·tau with c by least squares; hours_to_expiry tau (T,), each > 0. Without any level it is zero.
    """
    values, left = _series(levels, hours_to_expiry)
    seen = np.isfinite(values)
    slope = float(left[seen] @ values[seen]) / float(left[seen] @ left[seen]) if seen.any() else 0.0
    return np.asarray(slope * left)


def surprise_sd(
    levels: ArrayLike,
    hours_to_expiry: ArrayLike,
    step_hours: float,
    hours: float,
    memory_hours: float,
    reversion_per_hour: float,
) -> float:
    """Sd of the change over `hours` that a basis of levels (T,) would have, were it not pinned.

    `models.basis.change_sd` of what was not expected, b_(t+h) - b_t·tau_(t+h)/tau_t, each squared over its
    own `pinned_share`: the known run-off is no risk, and changes held back by a near expiry are no calm.
    hours_to_expiry tau (T,) falls by step_hours from row to row. Errors: as `change_sd`.
    """
    values, left = _series(levels, hours_to_expiry)
    rows = lag_rows(hours, step_hours)
    expected = values[:-rows] * left[rows:] / left[:-rows]
    share = pinned_share(reversion_per_hour, left[:-rows] - left[rows:], left[:-rows])
    return weighted_rms(
        (values[rows:] - expected) / np.sqrt(share), rows * step_hours, step_hours, memory_hours
    )


def _series(levels: ArrayLike, hours_to_expiry: ArrayLike) -> tuple[Vector, Vector]:
    values, left = np.asarray(levels, dtype=np.float64), positive("hours_to_expiry", hours_to_expiry)
    if values.ndim != 1 or values.shape != left.shape or bool(np.isinf(values).any()):
        raise ValueError(
            f"levels {values.shape}, hours_to_expiry {left.shape}: give one series of numbers, NaN where "
            "missing, and as many hours"
        )
    return values, left
