"""Variance of the book's P&L in factor form, its sources and gradient, and what shapes a covariance.

P&L over the decision horizon, in USD:

    sum_a delta_a·R_a + sum_g (sum_{i in g} x_i)·(B_g + beta_g·R_a(g)) + sum_c k_c·Q_c

with R the asset returns (factors plus idiosyncratic), B the basis returns of the groups of instruments that
share one basis (common factors plus each basis's own) beyond what they move with their own coin, and Q the
returns of the quote currencies; R, B and Q are uncorrelated with each other. All are fractions.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from models.arrays import IntVector, Vector, finite, indices, non_negative, positive

_PSD_TOLERANCE = 1e-9


@dataclass(frozen=True)
class RiskModel:
    """Standard deviations and loadings over the decision horizon, as fractions.

    asset_loadings (k, A) and asset_idiosyncratic (A,): cov(R) = loadings.T @ loadings + diag(idiosyncratic²).
    basis_sd (G,), basis_group (n,): instrument i has the basis of group basis_group[i].
    basis_loadings (k, G): cov(B) = loadings.T @ loadings + diag(basis_sd²), so that basis_sd is what common
    factors leave; there are none by default.
    currency_loadings (C, C): cov(Q) = loadings.T @ loadings. basis_beta (G,): how a basis moves with the
    return of its own asset basis_asset (G,), see `models.basis_beta`; zeros by default. Errors: ValueError on
    shapes, NaN, negative sd.
    """

    asset_loadings: Vector
    asset_idiosyncratic: Vector
    basis_sd: Vector
    basis_group: IntVector
    currency_loadings: Vector
    basis_loadings: Vector = field(default_factory=lambda: np.zeros((0, 0)))
    basis_beta: Vector = field(default_factory=lambda: np.zeros(0))
    basis_asset: IntVector = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        loadings = finite("asset_loadings", self.asset_loadings)
        assets = non_negative("asset_idiosyncratic", self.asset_idiosyncratic)
        currencies = finite("currency_loadings", self.currency_loadings)
        if loadings.ndim != 2 or loadings.shape[1:] != assets.shape:
            raise ValueError(
                f"asset_loadings {loadings.shape}: give (factors, {assets.size}), a column per asset"
            )
        if currencies.ndim != 2:
            raise ValueError(
                f"currency_loadings {currencies.shape}: give a matrix with a column per currency"
            )
        groups = non_negative("basis_sd", self.basis_sd).size
        indices("basis_group", self.basis_group, groups)
        common = finite("basis_loadings", self.basis_loadings)
        if common.size == 0 and common.ndim == 2:
            # No factor at all, of however many groups.
            object.__setattr__(self, "basis_loadings", np.zeros((0, groups)))
        elif common.shape[1:] != (groups,) or common.ndim != 2:
            raise ValueError(f"basis_loadings {common.shape}: give (factors, {groups}), a column per basis")
        if np.size(self.basis_beta) == 0:
            # No basis, of however many, moves with its asset.
            object.__setattr__(self, "basis_beta", np.zeros(groups))
            object.__setattr__(self, "basis_asset", np.zeros(groups, dtype=np.int64))
            return
        if finite("basis_beta", self.basis_beta).shape != (groups,) or np.shape(self.basis_asset) != (
            groups,
        ):
            raise ValueError(f"basis_beta and basis_asset: give ({groups},), one per basis each")
        indices("basis_asset", self.basis_asset, assets.size)

    @property
    def beta_of(self) -> Vector:
        """Beta (n,) of each instrument: a dollar of it moves like 1 + beta dollars of its asset."""
        return np.asarray(self.basis_beta[self.basis_group])


class VarianceGradient(NamedTuple):
    """Derivatives of the variance by asset delta (A,), position (n,) and currency exposure (C,).

    The one by position is through its basis alone, what that moves with its coin included; a position moves
    delta and currency exposure too, which the caller adds by the chain rule.
    """

    delta: Vector
    positions: Vector
    currency_exposure: Vector


def variance_by_source(
    model: RiskModel, delta: Vector, positions: Vector, currency_exposure: Vector
) -> dict[str, float]:
    """Variance in USD² by source: asset (common factors), basis, quote, idiosyncratic; the sum is `variance`.

    delta (A,): USD exposure plus positions per asset. positions (n,): USD. currency_exposure (C,): USD, > 0
    owns it.
    """
    _check_book(model, delta, positions, currency_exposure)
    held = _by_group(model, positions)
    moved = _moved(model, delta, held)
    return {
        "asset": float(np.sum((model.asset_loadings @ moved) ** 2)),
        "basis": float(np.sum((model.basis_loadings @ held) ** 2) + np.sum((model.basis_sd * held) ** 2)),
        "quote": float(np.sum((model.currency_loadings @ currency_exposure) ** 2)),
        "idiosyncratic": float(np.sum((model.asset_idiosyncratic * moved) ** 2)),
    }


def variance(model: RiskModel, delta: Vector, positions: Vector, currency_exposure: Vector) -> float:
    """Variance of the P&L over the decision horizon, USD²."""
    return sum(variance_by_source(model, delta, positions, currency_exposure).values())


def variance_gradient(
    model: RiskModel, delta: Vector, positions: Vector, currency_exposure: Vector
) -> VarianceGradient:
    """Partial derivatives of `variance`, in USD."""
    _check_book(model, delta, positions, currency_exposure)
    held = _by_group(model, positions)
    by_asset = 2.0 * _asset_covariance_times(model, _moved(model, delta, held))
    basis = 2.0 * _basis_covariance_times(model, held) + model.basis_beta * by_asset[model.basis_asset]
    return VarianceGradient(
        delta=by_asset,
        positions=basis[model.basis_group],
        currency_exposure=2.0 * (model.currency_loadings.T @ (model.currency_loadings @ currency_exposure)),
    )


def variance_by_asset(model: RiskModel, delta: Vector, positions: Vector, asset_of: IntVector) -> Vector:
    """Euler allocation (A,) in USD² of the asset, idiosyncratic and basis variance; it sums to these three.

    asset_of (n,): the asset of each instrument. An asset that diversifies the others has a negative share.
    """
    _check_book(model, delta, positions, np.zeros(model.currency_loadings.shape[1]))
    held = _by_group(model, positions)
    basis = positions * _basis_covariance_times(model, held)[model.basis_group]
    moved = _moved(model, delta, held)
    owners = indices("asset_of", asset_of, delta.size)
    by_basis = np.bincount(owners, weights=basis, minlength=delta.size)
    return np.asarray(moved * _asset_covariance_times(model, moved) + by_basis, dtype=np.float64)


def factor_form(covariance: ArrayLike, rank: int) -> tuple[Vector, Vector]:
    """Loadings (rank, A) and sd (A,) such that loadings.T @ loadings + diag(sd²) is near `covariance`.

    Keeps the `rank` largest eigen-directions and moves the rest of the diagonal to the idiosyncratic part, so
    every asset's own variance is exact at any rank and the whole matrix at full rank. Errors: not symmetric,
    not PSD, rank.
    """
    cov = _symmetric(covariance)
    if not 0 <= rank <= len(cov):
        raise ValueError(f"rank is {rank}: write a whole number from 0 to {len(cov)}")
    values, vectors = _eigen(cov)
    kept = slice(len(cov) - rank, None)
    loadings = np.sqrt(np.maximum(values[kept], 0.0))[::-1, None] * vectors[:, kept].T[::-1]
    if rank == len(cov):
        return loadings, np.zeros(len(cov))
    return loadings, np.sqrt(np.maximum(np.diag(cov) - np.sum(loadings**2, axis=0), 0.0))


def asset_factor_form(covariance: ArrayLike, factors: ArrayLike) -> tuple[Vector, Vector]:
    """Loadings (F, A) and sd (A,) with the assets `factors` (F,), as places in `covariance`, as the factors.

    Every asset is regressed on the factor assets: cov(R) = B' S B + diag(residual variance), with S the
    covariance of the factors and B = S^-1 cov(factors, assets). Own variances and all covariances with a
    factor are exact; two other assets move together only through the factors. A factor asset has no residual.
    Sharpe (1963), "A simplified model for portfolio analysis". Errors: not symmetric, not PSD, a factor named
    twice, factors without a variance of their own.
    """
    cov = _symmetric(covariance)
    _eigen(cov)
    places = indices("factors", factors, len(cov))
    if places.ndim != 1 or places.size == 0 or np.unique(places).size != places.size:
        raise ValueError(f"factors is {places.tolist()}: give one list of different assets, at least one")
    values, vectors = _eigen(cov[np.ix_(places, places)])
    if values[0] <= _PSD_TOLERANCE * values[-1]:
        raise ValueError("factors: one of them follows from the others, or does not move; leave it out")
    # The rows of `loadings` are uncorrelated mixtures of the factor assets, each of variance one.
    loadings = (vectors / np.sqrt(values)).T @ cov[places]
    residual = np.maximum(np.diag(cov) - np.sum(loadings**2, axis=0), 0.0)
    residual[places] = 0.0
    return np.asarray(loadings), np.sqrt(residual)


def scale_to_horizon(covariance: ArrayLike, step_hours: float, hours: float) -> Vector:
    """Covariance over `hours` from one per `step_hours`, for returns without memory: times their ratio."""
    return _symmetric(covariance) * (
        float(positive("hours", hours)) / float(positive("step_hours", step_hours))
    )


def floor_volatility(covariance: ArrayLike, floor_sd: ArrayLike) -> Vector:
    """Raise each variance to at least floor_sd², a number or (A,), by adding uncorrelated variance.

    Covariances stay as they are, so a floor never invents a cross-hedge, and the matrix stays PSD.
    """
    cov = _symmetric(covariance)
    missing = np.maximum(non_negative("floor_sd", floor_sd) ** 2 - np.diag(cov), 0.0)
    return np.asarray(cov + np.diag(missing))


def with_volatility(covariance: ArrayLike, sd: ArrayLike) -> Vector:
    """The covariance with the same correlations and the standard deviations sd (A,), all > 0.

    How an implied volatility enters: it moves an asset's own spread, not how it moves with the others.
    Errors: ValueError for an asset of zero variance, which has no correlation to keep.
    """
    cov, wanted = _symmetric(covariance), positive("sd", sd)
    if wanted.shape != (len(cov),):
        raise ValueError(f"sd has shape {wanted.shape}: give one per asset, ({len(cov)},)")
    ratio = wanted / np.sqrt(positive("covariance's variances", np.diag(cov)))
    return np.asarray(cov * np.outer(ratio, ratio))


def _check_book(model: RiskModel, delta: Vector, positions: Vector, currency_exposure: Vector) -> None:
    expected = (
        ("delta", delta, model.asset_idiosyncratic.size),
        ("positions", positions, model.basis_group.size),
        ("currency_exposure", currency_exposure, model.currency_loadings.shape[1]),
    )
    for name, values, count in expected:
        if finite(name, values).shape != (count,):
            raise ValueError(f"{name} has shape {np.shape(values)}: give ({count},)")


def _by_group(model: RiskModel, positions: Vector) -> Vector:
    return np.bincount(model.basis_group, weights=positions, minlength=model.basis_sd.size).astype(np.float64)


def _moved(model: RiskModel, delta: Vector, held: Vector) -> Vector:
    """Dollars (A,) that move like each asset: its delta, and the betas of bases held (G,) on it."""
    if not model.basis_beta.any():
        return np.asarray(delta)
    betas = model.basis_beta * held
    return np.asarray(delta + np.bincount(model.basis_asset, weights=betas, minlength=np.size(delta)))


def _basis_covariance_times(model: RiskModel, held: Vector) -> Vector:
    factors = model.basis_loadings.T @ (model.basis_loadings @ held)
    return np.asarray(factors + model.basis_sd**2 * held, dtype=np.float64)


def _asset_covariance_times(model: RiskModel, delta: Vector) -> Vector:
    factors = model.asset_loadings.T @ (model.asset_loadings @ delta)
    return np.asarray(factors + model.asset_idiosyncratic**2 * delta, dtype=np.float64)


def _eigen(covariance: Vector) -> tuple[Vector, Vector]:
    """Eigenvalues, rising, and eigenvectors; ValueError when one is clearly negative."""
    values, vectors = np.linalg.eigh(covariance)
    if values.size and values[0] < -_PSD_TOLERANCE * max(float(values[-1]), 0.0):
        raise ValueError(f"covariance is not positive semidefinite: its lowest eigenvalue is {values[0]:.3g}")
    return np.asarray(values), np.asarray(vectors)


def _symmetric(covariance: ArrayLike) -> Vector:
    cov = finite("covariance", covariance)
    if cov.ndim != 2 or cov.shape[0] != cov.shape[1]:
        raise ValueError(f"covariance has shape {cov.shape}: give a square matrix")
    rounding = 1e-9 * np.abs(cov.T) + 1e-12 * float(np.max(np.abs(cov), initial=0.0))
    if bool((np.abs(cov - cov.T) > rounding).any()):
        raise ValueError("covariance is not symmetric: give cov(a, b) = cov(b, a)")
    return np.asarray(0.5 * (cov + cov.T))
