"""Special cases of the allocation that have a solution on paper. They check the program and explain it.

Setting: an exposure E (USD, > 0 long) in one asset with return sd s over the decision horizon; V venues whose
perpetuals have the asset's return plus an independent basis of sd s_v; positions x_v (USD); objective
(lambda/2)·Var + costs, lambda in 1/USD. Var = s²(E + sum x)² + sum s_v² x_v².
"""

import math
from typing import Literal

import numpy as np

from models.arrays import Vector, finite, fraction, non_negative, positive

Side = Literal["long", "short"]


def regression_hedge(exposure: float, covariance: float, variance: float) -> float:
    """One instrument, no cost: x = -E·cov(spot, perp)/var(perp), Johnson's minimum-variance hedge (1960)."""
    ratio = float(finite("covariance", covariance)) / float(positive("variance", variance))
    return -float(finite("exposure", exposure)) * ratio


def minimum_variance_hedge(
    exposure: float,
    asset_sd: float,
    basis_sd: Vector,
    funding: Vector | None = None,
    risk_aversion: float | None = None,
) -> Vector:
    """Positions (V,) that minimise (lambda/2)·Var + funding·x, or Var alone without funding.

    x_v = -(s²(E + X) + f_v/lambda)/s_v² with X = sum x = -(s²·E·A + B)/(1 + s²·A), A = sum 1/s_v² and
    B = sum f_v/(lambda s_v²). funding (V,): USD per USD long over the decision horizon, with risk_aversion
    lambda in 1/USD; both or neither.
    """
    held, asset = float(finite("exposure", exposure)), float(positive("asset_sd", asset_sd)) ** 2
    basis = positive("basis_sd", basis_sd) ** 2
    if (funding is None) != (risk_aversion is None):
        raise ValueError("funding and risk_aversion go together: give both, or neither")
    carry = np.zeros_like(basis)
    if funding is not None and risk_aversion is not None:
        carry = finite("funding", funding) / float(positive("risk_aversion", risk_aversion))
    # E + X = (E - B)/(1 + s²·A), without the cancellation of E against X.
    residual = (held - np.sum(carry / basis)) / (1.0 + asset * np.sum(1.0 / basis))
    return np.asarray(-(asset * residual + carry) / basis)


def minimum_variance_residual_sd(exposure: float, asset_sd: float, basis_sd: Vector) -> float:
    """USD standard deviation left by the costless hedge: E·s/sqrt(1 + s²·A)."""
    s = float(positive("asset_sd", asset_sd))
    precision = float(np.sum(1.0 / positive("basis_sd", basis_sd) ** 2))
    return abs(float(finite("exposure", exposure))) * s / math.sqrt(1.0 + s**2 * precision)


def identical_venues_hedge(exposure: float, asset_sd: float, basis_sd: float, venues: int) -> Vector:
    """V identical venues share equally: x_v = -E·s²/(V·s² + s_1²)."""
    if venues < 1:
        raise ValueError(f"venues is {venues}: give at least 1")
    asset, basis = float(positive("asset_sd", asset_sd)) ** 2, float(positive("basis_sd", basis_sd)) ** 2
    return np.full(venues, -float(finite("exposure", exposure)) * asset / (venues * asset + basis))


def no_trade_band(
    exposure: float, asset_sd: float, basis_sd: float, unit_cost: float, risk_aversion: float
) -> tuple[float, float]:
    """Positions (low, high) between which one venue with linear cost c per USD trades nothing.

    From outside, trade to the nearer edge. Centre -E·s²/(s² + s_1²), half-width
    c/(lambda(s² + s_1²)): there the marginal risk equals the cost.
    """
    asset, basis = float(positive("asset_sd", asset_sd)) ** 2, float(non_negative("basis_sd", basis_sd)) ** 2
    centre = -float(finite("exposure", exposure)) * asset / (asset + basis)
    cost = float(non_negative("unit_cost", unit_cost))
    half = cost / (float(positive("risk_aversion", risk_aversion)) * (asset + basis))
    return centre - half, centre + half


def three_halves_hedge(
    exposure: float, asset_sd: float, adv_usd: float, coefficient: float, risk_aversion: float
) -> float:
    """Position from flat under square-root impact k·|x|^(3/2), k = b·s/sqrt(ADV), without basis risk.

    x = -sign(E)·w with sqrt(w) = [-1.5k + sqrt(2.25k² + 4(lambda s²)²|E|)]/(2 lambda s²). asset_sd and
    adv_usd per day.
    """
    held, s = float(finite("exposure", exposure)), float(positive("asset_sd", asset_sd))
    curvature = float(positive("risk_aversion", risk_aversion)) * s**2
    k = float(non_negative("coefficient", coefficient)) * s / math.sqrt(float(positive("adv_usd", adv_usd)))
    root = math.sqrt(2.25 * k**2 + 4.0 * curvature**2 * abs(held))
    # (root - 1.5k)/(2·curvature), without the cancellation where impact dominates.
    size = (2.0 * curvature * abs(held) / (root + 1.5 * k)) ** 2 if held else 0.0
    return -size if held > 0.0 else size


def binding_margin_hedge(
    exposure: float,
    asset_sd: float,
    basis_sd: Vector,
    funding: Vector,
    risk_aversion: float,
    margin_rates: Vector,
    margin_budget_usd: float,
) -> tuple[Vector, float]:
    """Short positions (V,) under sum m_v·|x_v| <= M, and mu >= 0, the shadow price of a USD of margin.

    With all x_v < 0 the solution is `minimum_variance_hedge` with f_v replaced by f_v - mu·m_v; it is linear
    in mu, so mu follows from sum m_v·|x_v| = M, or is 0 when the margin suffices. ValueError when a position
    would not be short: the closed form does not hold then.
    """
    rates = positive("margin_rates", margin_rates)
    budget = float(non_negative("margin_budget_usd", margin_budget_usd))
    free = minimum_variance_hedge(exposure, asset_sd, basis_sd, funding, risk_aversion)
    per_mu = minimum_variance_hedge(0.0, asset_sd, basis_sd, -rates, risk_aversion)
    used, relief = -float(rates @ free), float(rates @ per_mu)
    mu = max(0.0, (used - budget) / relief)
    positions = free + mu * per_mu
    if bool(np.any(positions > 0.0)):
        raise ValueError(
            "a position is long at this budget: leave out that venue, the form holds for shorts only"
        )
    return positions, mu


def liquidation_leverage_cap(maintenance_rate: float, quantile: float, side: Side) -> float:
    """Highest leverage (notional/equity) that survives a price move of `quantile` against the position.

    Short 1/(m0 + q(1 + m0)), long 1/(q + m0(1 - q)): equity after the move equals the maintenance margin on
    the notional at the moved price. The chance constraint of Alexander, Deng and Zou, "Hedging with Bitcoin
    futures" (EJOR 306, 2023).
    """
    rate = float(positive("maintenance_rate", fraction("maintenance_rate", maintenance_rate)))
    move = float(non_negative("quantile", quantile))
    if side == "short":
        return 1.0 / (rate + move * (1.0 + rate))
    if side != "long":
        raise ValueError(f"side is {side!r}: write 'long' or 'short'")
    if move >= 1.0:
        raise ValueError(f"quantile is {move:g}: a price falls by less than 1, write a fraction")
    return 1.0 / (move + rate * (1.0 - move))
