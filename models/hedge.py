"""What is left of the exposure after the hedge, and how good the hedge is. Amounts are USD, > 0 long."""

import numpy as np

from models.arrays import IntVector, Vector, finite, indices, non_negative, positive

USD_INDEX = -1
"""Index currency of an instrument quoted in USD itself."""


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


def _summed(positions: Vector, owners: IntVector, count: int) -> Vector:
    held = finite("positions", positions)
    if held.shape != owners.shape:
        raise ValueError(f"positions has shape {held.shape}: give one per instrument, {owners.shape}")
    return np.bincount(owners, weights=held, minlength=count).astype(np.float64)
