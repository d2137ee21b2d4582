"""What posted collateral counts for as margin, and what it costs to leave it at a venue.

A haircut h is a fraction in [0, 1]; the venue credits (1 - h) of a positive balance and the whole of a
negative one (Binance portfolio margin page, Sep 2026: adjusted equity = min(balance·rate, balance)), which is
concave in the balance.
"""

import numpy as np

from models.arrays import Number, finite, fraction, like, non_negative, positive

HOURS_PER_YEAR = 8760.0


def margin_value(balance_usd: Number, haircut: Number | float) -> Number:
    """USD that a balance counts for as margin: min((1 - h)·b, b)."""
    balance = finite("balance_usd", balance_usd)
    return like(balance_usd, np.minimum((1.0 - fraction("haircut", haircut)) * balance, balance))


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
