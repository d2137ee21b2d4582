"""The Lagrangian of a market as coefficients of separable functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from allocator import evaluate
from allocator.market.types import Market, Matrix
from models.arrays import Vector


@dataclass
class Weights:
    """Coefficients of the Lagrangian: what each function of an instrument, stress or route is worth.

    `linear`, `size`, `order_size`, `turnover`, `cost` (n,) multiply x, |x|, the size with open orders,
    |trade| and the cash cost; per stress, `maintenance` (S, n) is of own brackets, `required` (S, V) of what
    a venue asks for and `equity` (S, V) of what it counts; `initial` (V,) is of initial margin; `kept` (P,)
    and `route` (R,) per dollar there; `risk` and `other` weigh the objective's terms; `gap` is what the
    limits add to the gap.
    """

    linear: Vector
    size: Vector
    order_size: Vector
    turnover: Vector
    cost: Vector
    maintenance: Matrix
    required: Matrix
    initial: Vector
    equity: Matrix
    kept: Vector
    route: Vector
    risk: float
    other: float
    gap: float = 0.0

    @classmethod
    def empty(cls, market: Market) -> Weights:
        """All zero but the weights of the objective's mode."""
        n, s = len(market.instruments), len(market.stresses.names)
        risk, other = evaluate.objective_weights(market)
        return cls(
            linear=np.zeros(n),
            size=np.zeros(n),
            order_size=np.zeros(n),
            turnover=np.zeros(n),
            cost=np.zeros(n),
            maintenance=np.zeros((s, n)),
            required=np.zeros((s, len(market.accounts))),
            initial=np.zeros(len(market.accounts)),
            equity=np.zeros((s, len(market.accounts))),
            kept=np.zeros(len(market.pockets)),
            route=np.zeros(len(market.transfers.routes)),
            risk=risk,
            other=other,
        )
