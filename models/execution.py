"""How to spread an order over time: the Almgren–Chriss trade-off of impact against risk.

R. Almgren and N. Chriss, "Optimal execution of portfolio transactions", Journal of Risk 3 (2001), with linear
temporary impact and no permanent impact (which is the asset's, however its perps share the trade). Sizes are
USD ≥ 0, time is in hours, a rate is USD per hour; costs > 0 are paid by us.

A size X is traded in N slices n_k over T = N·τ hours; after slice k, x_k = X − n_1 − … − n_k is left. The
cost is E = ε·X + (η/τ)·Σ n_k², its variance V = σ²·τ·Σ x_k², and E + a·V is least for

    x_k = X · sinh(κ(T − kτ)) / sinh(κT),   2(cosh κτ − 1)/τ² = a·σ²/η.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.arrays import Vector, finite, non_negative, positive

_FLAT = 1e-9  # κT below this is a straight line
_STEEP = 700.0  # of sinh's argument in floats


@dataclass(frozen=True)
class Impact:
    """Linear temporary impact: trading v USD/h costs `spread` + `slope`·v per USD; `slope` in 1/(USD/h)."""

    spread: float
    slope: float

    def __post_init__(self) -> None:
        non_negative("spread", self.spread)
        non_negative("slope", self.slope)


def matched_impact(
    spread: float, daily_volatility: float, adv_usd: float, participation: float, coefficient: float = 1.0
) -> Impact:
    """The linear impact that meets the square-root law b·σ·√(rate/volume) at the highest participation.

    At `participation` (in (0, 1]) of the market's volume of adv_usd/24 an hour both cost b·σ·√participation
    per USD; below it the line is the lower. ``coefficient`` is b (`models.costs.square_root_impact`).
    """
    share, volume = (
        float(positive("participation", participation)),
        float(positive("adv_usd", adv_usd)) / 24.0,
    )
    sigma = float(non_negative("daily_volatility", daily_volatility))
    top = float(non_negative("coefficient", coefficient)) * sigma * np.sqrt(share)
    return Impact(float(non_negative("spread", spread)), float(top / (share * volume)))


def urgency(
    risk_aversion_per_usd: float, hourly_volatility: float, impact: Impact, slice_hours: float
) -> float:
    """κ in 1/h: a·σ² = η·2(cosh κτ − 1)/τ², a the price of variance in 1/USD. 0 where risk costs nothing."""
    tau = float(positive("slice_hours", slice_hours))
    aversion = float(non_negative("risk_aversion_per_usd", risk_aversion_per_usd))
    risk = aversion * float(non_negative("hourly_volatility", hourly_volatility)) ** 2
    if risk == 0.0:
        return 0.0
    ratio = risk / float(positive("impact.slope", impact.slope))
    # cosh y − 1 = 2 sinh²(y/2) keeps small y exact.
    return float(2.0 * np.arcsinh(0.5 * tau * np.sqrt(ratio)) / tau)


def remaining(size: float, kappa: float, slice_hours: float, slices: int) -> Vector:
    """x_0 … x_N (N + 1,): what is left before the first slice and after each; x_0 = size, x_N = 0."""
    total, rate = float(non_negative("size", size)), float(non_negative("kappa", kappa))
    if slices < 1:
        raise ValueError(f"slices is {slices}: write at least 1")
    end = float(positive("slice_hours", slice_hours)) * slices
    left = np.linspace(end, 0.0, slices + 1)
    if rate * end < _FLAT:
        return np.asarray(total * left / end)
    if rate * end > _STEEP:
        # sinh is its exponential there.
        result = total * np.exp(-rate * (end - left)) * -np.expm1(-2.0 * rate * left)
    else:
        result = total * np.sinh(rate * left) / np.sinh(rate * end)
    result[0], result[-1] = total, 0.0
    return np.asarray(result)


def capped_remaining(size: float, kappa: float, slice_hours: float, slices: int, cap: float) -> Vector:
    """The same with no slice above `cap` USD: at the cap first, then the closed form for what is left.

    Slices fall along the closed form, so the cap binds at the beginning or nowhere. Errors: ValueError where
    the slices together cannot hold the size.
    """
    most = float(positive("cap", cap))
    if size > most * slices * (1 + 1e-12):
        raise ValueError(f"{slices} slices of {most:,.2f} USD cannot hold {size:,.2f} USD: write more slices")
    for first in range(slices):
        left = max(size - first * most, 0.0)
        rest = remaining(left, kappa, slice_hours, slices - first)
        if rest[0] - rest[1] <= most * (1 + 1e-12):
            return np.concatenate([size - most * np.arange(first), rest])
    return np.asarray(np.maximum(size - most * np.arange(slices + 1), 0.0))


@dataclass(frozen=True)
class Expected:
    """Cost of a schedule in USD, and the standard deviation in USD of what waiting adds to it."""

    cost_usd: float
    sd_usd: float


def expected(left: Vector, impact: Impact, hourly_volatility: float, slice_hours: float) -> Expected:
    """Cost and sd of a schedule x_0 … x_N (N + 1,)."""
    held = finite("left", left)
    tau = float(positive("slice_hours", slice_hours))
    sigma = float(non_negative("hourly_volatility", hourly_volatility))
    traded = -np.diff(held)
    cost = impact.spread * np.abs(traded).sum() + impact.slope / tau * float(traded @ traded)
    return Expected(float(cost), float(sigma * np.sqrt(tau * float(held[1:] @ held[1:]))))


def closed_form(
    size: float, kappa: float, impact: Impact, hourly_volatility: float, slice_hours: float, slices: int
) -> Expected:
    """Cost and sd of the uncapped schedule in closed form (Almgren and Chriss 2001, eq. 20, without γ).

    E = εX + η X² tanh(κτ/2)(τ sinh 2κT + 2T sinh κτ) / (2τ² sinh² κT),
    V = σ² X² (τ sinh κT cosh κ(T−τ) − T sinh κτ) / (2 sinh² κT sinh κτ).
    """
    tau, end = float(slice_hours), float(slice_hours) * slices
    k, y = float(positive("kappa", kappa)), float(kappa) * end
    step = k * tau
    cost = impact.spread * size + impact.slope * size**2 * np.tanh(0.5 * step) * (
        tau * np.sinh(2 * y) + 2 * end * np.sinh(step)
    ) / (2 * tau**2 * np.sinh(y) ** 2)
    variance = (
        0.5
        * (hourly_volatility * size) ** 2
        * (tau * np.sinh(y) * np.cosh(k * (end - tau)) - end * np.sinh(step))
        / (np.sinh(y) ** 2 * np.sinh(step))
    )
    return Expected(float(cost), float(np.sqrt(variance)))
