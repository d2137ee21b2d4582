"""Estimates of the covariance of returns: rows of returns in, one matrix (A, A) per row out.

The mean of returns over hours is far below its error and is taken as zero. A volatility over a longer horizon
is a matter of `models.covariance.scale_to_horizon`.
"""

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from models.arrays import Vector, finite, positive

_PSD_TOLERANCE = 1e-9
_MIN_OVERLAP = 2


class CovarianceEstimator(Protocol):
    """What scikit-learn's covariance estimators do: `fit` on rows of returns, then hold `covariance_`.

    `sklearn.covariance.MinCovDet()` is one. A mean is its own affair, such as `assume_centered`.
    """

    covariance_: Any

    def fit(self, X: Any) -> Any:  # noqa: ANN401 - the names and types of scikit-learn's interface
        """Estimate from complete rows (T, A)."""


def ewma_covariance(returns: ArrayLike, half_life_rows: float, lags: int = 0) -> Vector:
    """Covariance (A, A) per row of returns (T, A) in time order, NaN where one is missing.

    Each pair uses the rows where both are present, with weights 0.5^(age in rows / half life) and mean zero.
    Pairwise estimates may be indefinite: negative eigenvalues of the correlation matrix are then set to 0 and
    its diagonal rescaled to 1, so that variances stay as estimated. `lags`: see `sample_covariance`. Errors:
    ValueError for infinity, or two columns that share fewer than 2 rows.
    """
    rows = _matrix(returns)
    ages = np.arange(len(rows))[::-1]
    return _weighted(rows, 0.5 ** (ages / float(positive("half_life_rows", half_life_rows))), lags)


def sample_covariance(returns: ArrayLike, lags: int = 0) -> Vector:
    """Like `ewma_covariance` with equal weights.

    lags: when prices are not observed at one moment, part of what two assets share shows one row late, and
    the covariance at lag 0 is too small (Epps 1979, "Comovements in stock prices in the very short run").
    With lags = n the covariances of each pair with up to n rows of lead and lag are added, the lead-lag
    estimator of Cohen, Hawawini, Maier, Schwartz and Whitcomb (1983) on a grid; one row is enough when no
    price is older than the grid's step. Variances are left alone: for them the added terms are only noise.
    """
    rows = _matrix(returns)
    return _weighted(rows, np.ones(len(rows)), lags)


def shrunk_covariance(returns: ArrayLike, method: Literal["ledoit_wolf", "oas"]) -> Vector:
    """Covariance (A, A) shrunk to a multiple of the identity, from rows (T, A) complete in every column.

    `ledoit_wolf`: Ledoit and Wolf (2004), "A well-conditioned estimator for large-dimensional covariance
    matrices". `oas`: Chen, Wiesel, Eldar and Hero (2010), "Shrinkage algorithms for MMSE covariance
    estimation". Both as scikit-learn has them. The shrinkage is done on returns scaled to unit variance,
    as assets of very different volatility have no common variance to shrink to; variances stay as estimated.
    """
    from sklearn.covariance import OAS, LedoitWolf

    estimators = {"ledoit_wolf": LedoitWolf, "oas": OAS}
    if method not in estimators:
        raise ValueError(f"method is {method}: write one of {', '.join(estimators)}")
    rows = complete_rows(returns)
    sd = np.sqrt(np.mean(rows**2, axis=0))
    if bool((sd == 0.0).any()):
        raise ValueError(f"returns: column {int(np.argmin(sd))} does not move, leave it out")
    correlation = fitted_covariance(rows / sd, estimators[method](assume_centered=True))
    own = np.sqrt(np.diag(correlation))
    return np.asarray(correlation / np.outer(own, own) * np.outer(sd, sd))


def fitted_covariance(returns: ArrayLike, estimator: CovarianceEstimator) -> Vector:
    """Covariance (A, A) by any estimator with scikit-learn's covariance interface, from complete rows.

    Errors: ValueError when what it finds is not a finite symmetric matrix of A columns.
    """
    rows = complete_rows(returns)
    estimator.fit(rows)
    found = finite(f"covariance_ of {type(estimator).__name__}", estimator.covariance_)
    square = found.shape == (rows.shape[1], rows.shape[1])
    if not square or not np.allclose(found, found.T, rtol=1e-6, atol=1e-9 * float(np.max(np.abs(found)))):
        raise ValueError(
            f"covariance_ of {type(estimator).__name__} has shape {found.shape}: "
            f"a symmetric matrix of {rows.shape[1]} columns is needed"
        )
    return repaired(found)


def complete_rows(returns: ArrayLike) -> Vector:
    """The rows of returns (T, A) without a missing value; ValueError when fewer than two are left."""
    rows = _matrix(returns)
    kept = rows[np.isfinite(rows).all(axis=1)]
    if len(kept) < _MIN_OVERLAP:
        raise ValueError(
            f"returns: {len(kept)} rows have every column, give at least {_MIN_OVERLAP} or use ewma or sample"
        )
    return kept


def repaired(covariance: Vector) -> Vector:
    """The matrix made symmetric and positive semidefinite, with the variances it has."""
    cov = 0.5 * (covariance + covariance.T)
    values = np.linalg.eigvalsh(cov)
    if values.size == 0 or values[0] >= -_PSD_TOLERANCE * float(values[-1]):
        return cov
    sd = np.sqrt(np.diag(cov))
    scale = np.where(sd > 0.0, sd, 1.0)
    values, vectors = np.linalg.eigh(cov / np.outer(scale, scale))
    clipped = (vectors * np.maximum(values, 0.0)) @ vectors.T
    own = np.sqrt(np.diag(clipped))
    correlation = clipped / np.outer(np.where(own > 0.0, own, 1.0), np.where(own > 0.0, own, 1.0))
    return np.asarray(correlation * np.outer(sd, sd))


def _matrix(returns: ArrayLike) -> Vector:
    rows = np.asarray(returns, dtype=np.float64)
    if rows.ndim != 2 or bool(np.isinf(rows).any()):
        raise ValueError(f"returns {rows.shape}: give a matrix (rows, assets) of numbers, NaN where missing")
    return rows


def _weighted(rows: Vector, weights: Vector, lags: int) -> Vector:
    if not 0 <= lags < max(len(rows), 1):
        raise ValueError(f"lags is {lags}: write a whole number from 0 to less than the {len(rows)} rows")
    cov = _cross_moment(rows, rows, weights)
    for lag in range(1, lags + 1):
        late = _cross_moment(rows[lag:], rows[:-lag], weights[lag:])
        np.fill_diagonal(late, 0.0)
        cov = cov + late + late.T
    return repaired(cov)


def _cross_moment(now: Vector, then: Vector, weights: Vector) -> Vector:
    """Weighted mean (A, A) of now_a · then_b over the rows where both are present."""
    here, there = np.isfinite(now).astype(np.float64), np.isfinite(then).astype(np.float64)
    overlap = here.T @ there
    if bool((overlap < _MIN_OVERLAP).any()):
        a, b = np.argwhere(overlap < _MIN_OVERLAP)[0]
        raise ValueError(
            f"returns: columns {a} and {b} share {overlap[a, b]:.0f} rows, give at least {_MIN_OVERLAP}"
        )
    mass = (weights[:, None] * here).T @ there
    if bool((mass <= np.finfo(np.float64).tiny).any()):
        raise ValueError(
            "returns: two columns last met too many half-lives ago to weigh anything, give newer rows"
        )
    first, second = np.where(here > 0, now, 0.0), np.where(there > 0, then, 0.0)
    return np.asarray(((weights[:, None] * first).T @ second) / mass)
