"""Probability that an account is liquidated before collateral can arrive: first passage of its cushion.

The cushion is equity minus maintenance margin. For a driftless Gaussian cushion with standard deviation s
over the hours until collateral arrives, the reflection principle gives P(it touches 0) = 2·Φ(−cushion/s);
the law at the end of the hours alone would be half of it.
"""

from statistics import NormalDist

import numpy as np

from models.arrays import Number, Vector, finite, like, non_negative


def first_passage_multiplier(probability: float) -> float:
    """z with P(first passage) = probability at cushion = z·s: the (1 − p/2) quantile of the normal law."""
    if not 0.0 < probability < 1.0:
        raise ValueError(f"probability is {probability:g}: write a fraction above 0 and below 1")
    return NormalDist().inv_cdf(1.0 - probability / 2.0)


def first_passage_probability(cushion_usd: float, sd_usd: float) -> float:
    """P(the cushion touches 0 within the hours of `sd_usd`): 2·Φ(−cushion/s), 1 where it is not positive."""
    cushion, sd = float(finite("cushion_usd", cushion_usd)), float(non_negative("sd_usd", sd_usd))
    if cushion <= 0.0:
        return 1.0
    return 0.0 if sd == 0.0 else min(1.0, 2.0 * NormalDist().cdf(-cushion / sd))


def cushion_exposure(position_usd: Number, marginal_rate: Vector | float) -> Number:
    """USD that the cushion gains per unit of the price's return: x − r·|x|, r the marginal maintenance rate.

    A short loses with the price and owes more margin as it rises, −n·(1 + r); a long owes less as it falls,
    n·(1 − r). This gives the leverage caps 1/(m + q(1 + m)) short and 1/(q + m(1 − q)) long of Alexander,
    Deng and Zou, "Hedging with Bitcoin futures" (EJOR 306(1), 2023).
    """
    held = finite("position_usd", position_usd)
    return like(position_usd, held - non_negative("marginal_rate", marginal_rate) * np.abs(held))
