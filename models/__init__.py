"""Formulas of perpetual-futures hedging: contracts, margin, collateral, costs, funding, basis,
covariance, stresses and hedge measures. Numbers in, numbers out: plain functions and frozen dataclasses over
NumPy, without files, optimiser or state, so that the program, its audit, the backtest and the reports all
compute with the same few lines. Money is USD, positions are signed USD notional at mark (> 0 long), costs > 0
are paid by us, rates are fractions.
"""

__project__ = "hedge-allocator"
