"""What posted collateral counts for as margin, and what it costs to leave it at a venue.

A haircut h is a fraction in [0, 1]; the venue credits (1 - h) of a positive balance and the whole of a
negative one (Binance portfolio margin page, Sep 2026: adjusted equity = min(balance·rate, balance)), which is
concave in the balance.
"""

from dataclasses import dataclass

import numpy as np

from models.arrays import Number, Vector, finite, fraction, like, non_negative, positive
from models.schedules import tiered_margin_value, tiered_value_pieces

HOURS_PER_YEAR = 8760.0


def margin_value(balance_usd: Number, haircut: Number | float) -> Number:
    """USD that a balance counts for as margin: min((1 - h)·b, b)."""
    balance = finite("balance_usd", balance_usd)
    return like(balance_usd, np.minimum((1.0 - fraction("haircut", haircut)) * balance, balance))


@dataclass(frozen=True)
class HaircutTiers:
    """A haircut that grows with the balance: tier k's counts for the part between the cap before and its own.

    caps_usd (K,) rising, in USD of the balance; haircuts (K,) that do not fall. Beyond the last cap nothing
    counts. A step-up raises every tier's haircut by as much, up to 1. (Binance cross-margin page, tiered
    collateral ratio, 2026.)
    """

    caps_usd: Vector
    haircuts: Vector

    def __post_init__(self) -> None:
        self.value(0.0)  # the formula refuses caps and haircuts that are out of order

    def ratios(self, step: float = 0.0) -> Vector:
        """Share (K,) of each tier that counts."""
        return 1.0 - np.minimum(fraction("haircuts", self.haircuts) + non_negative("step", step), 1.0)

    def value(self, balance_usd: Number, step: float = 0.0) -> Number:
        """USD that a balance counts for; a debt counts whole."""
        return tiered_margin_value(balance_usd, self.caps_usd, self.ratios(step))

    def marginal(self, balance_usd: float, step: float = 0.0) -> float:
        """What one dollar more counts for: 1 below zero, its tier's ratio, 0 beyond the last cap."""
        slopes, _ = self.pieces(step)
        knots = np.append(0.0, self.caps_usd)
        return float(slopes[np.searchsorted(knots, balance_usd, side="right")])

    def pieces(self, step: float = 0.0) -> tuple[Vector, Vector]:
        """Slopes and intercepts (K + 2,) whose least is the value."""
        return tiered_value_pieces(self.caps_usd, self.ratios(step))


def stressed_margin_value(
    balance_usd: Number, haircut: Number | float, price_factor: Number | float, haircut_step: Number | float
) -> Number:
    """Margin value in USD after a price move by a factor >= 0 and a haircut step-up >= 0.

    The raised haircut stops at 1. A debt in the currency moves with the price too.
    """
    raised = fraction("haircut", haircut) + non_negative("haircut_step", haircut_step)
    moved = finite("balance_usd", balance_usd) * non_negative("price_factor", price_factor)
    return like(balance_usd, margin_value(np.asarray(moved), np.minimum(raised, 1.0)))


def collateral_charge(
    balance_usd: Number,
    capital_cost_per_year: Number | float,
    default_probability_per_year: Number | float,
    recovery: Number | float,
    hours: float,
) -> Number:
    """USD cost (>= 0) of a positive balance at a venue: b·(capital + p·(1 - R))·hours/8760.

    capital_cost_per_year: opportunity cost, a fraction per year. p: probability of the venue's default per
    year. R: share recovered then. Negative balances are charged nothing here; what a venue asks for a loan is
    a rate of its own.
    """
    loss = fraction("default_probability_per_year", default_probability_per_year) * (
        1.0 - fraction("recovery", recovery)
    )
    per_year = non_negative("capital_cost_per_year", capital_cost_per_year) + loss
    years = float(positive("hours", hours)) / HOURS_PER_YEAR
    return like(balance_usd, np.maximum(finite("balance_usd", balance_usd), 0.0) * per_year * years)
