"""What one stress does to each instrument: P&L, notional and margin deductions per USD held today.

A stress gives each instrument four returns: r of its asset in USD, g the extra move of its own mark (basis
gap), q of its index (quote) currency in USD, p of its settlement currency in USD. The contract's price, in
index currency, moves by

    f = (1 + r)(1 + g) / (1 + q).

Linear: a long of 1 USD notional gains f - 1 units of settlement currency per unit it holds, each worth 1 + p
afterwards: (f - 1)(1 + p), to first order r + g - q. A short indexed in a stablecoin that falls therefore
loses.

Inverse: a position of N quote units at price P0 holds N/P0 coins' worth, x = N·S0/P0 USD at the coin's USD
price S0. Its P&L is N(1/P0 - 1/P1) coins with P1 = f·P0, and each coin is worth S0(1 + r) afterwards, hence
per USD (1 + r)(1 - 1/f) = (1 + r) - (1 + q)/(1 + g); exactly r when g = q = 0, so a 1x coin-margined short
never loses by price.
"""

from dataclasses import dataclass

import numpy as np

from models.arrays import BoolVector, IntVector, Number, Vector, finite, like, non_negative


@dataclass(frozen=True)
class ShockedContract:
    """One stress on n instruments; every field is (n,), returns are fractions above -1.

    inverse: True for inverse contracts. asset_return r, basis_gap g, index_return q, settlement_return p as
    in the module text. An inverse contract settles in its own coin, whose return is r: its settlement_return
    is not used.
    """

    inverse: BoolVector
    asset_return: Vector
    basis_gap: Vector
    index_return: Vector
    settlement_return: Vector

    def __post_init__(self) -> None:
        if np.asarray(self.inverse).dtype != np.bool_:
            raise ValueError("inverse holds other than True and False: give one flag per instrument")
        for name in ("asset_return", "basis_gap", "index_return", "settlement_return"):
            values = finite(name, getattr(self, name))
            if values.shape != np.shape(self.inverse):
                raise ValueError(
                    f"{name} has shape {values.shape}, inverse has {np.shape(self.inverse)}: give one shape"
                )
            if bool(np.any(values <= -1.0)):
                raise ValueError(
                    f"{name} is {values.min():g}: write a return above -1 (-0.3 for a fall by 30 %)"
                )


def price_factor(shock: ShockedContract) -> Vector:
    """f (n,): the contract's price after the stress over its price before, in index currency."""
    return (1.0 + shock.asset_return) * (1.0 + shock.basis_gap) / (1.0 + shock.index_return)


def pnl_per_usd(shock: ShockedContract) -> Vector:
    """USD P&L (n,) per USD of long notional: linear (f - 1)(1 + p), inverse (1 + r) - (1 + q)/(1 + g)."""
    linear = (price_factor(shock) - 1.0) * (1.0 + shock.settlement_return)
    inverse = (1.0 + shock.asset_return) - (1.0 + shock.index_return) / (1.0 + shock.basis_gap)
    return np.where(shock.inverse, inverse, linear)


def notional_factor(shock: ShockedContract) -> Vector:
    """USD notional (n,) after the stress over today's: linear f(1 + p), inverse 1 + q (its face value)."""
    linear = price_factor(shock) * (1.0 + shock.settlement_return)
    return np.where(shock.inverse, 1.0 + shock.index_return, linear)


def margined_notional_factor(shock: ShockedContract) -> Vector:
    """USD notional (n,) that maintenance margin is charged on after the stress, over today's.

    As `notional_factor`, but an inverse contract is margined on its N/P1 coins at the stressed mark, each
    worth S0(1 + r): (1 + q)/(1 + g). The two agree without a basis gap; with a gap g < 0 this one is the
    larger.
    """
    inverse = (1.0 + shock.index_return) / (1.0 + shock.basis_gap)
    return np.where(shock.inverse, inverse, notional_factor(shock))


def deduction_factor(shock: ShockedContract) -> Vector:
    """USD value (n,) of the brackets' deductions after the stress over today's.

    Deductions are fixed amounts of the currency that margin is counted in: linear 1 + p, inverse (coin) 1 +
    r.
    """
    return np.where(shock.inverse, 1.0 + shock.asset_return, 1.0 + shock.settlement_return)


def adverse_funding_loss(
    position_usd: Number, funding_cap: Number | float, settlements: IntVector | int
) -> Number:
    """USD lost (>= 0) when funding is at its cap, per settlement, against us n times: |x|·cap·n."""
    count = non_negative("settlements", settlements)
    return like(
        position_usd,
        np.abs(finite("position_usd", position_usd)) * non_negative("funding_cap", funding_cap) * count,
    )
