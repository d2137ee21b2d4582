"""What the bases of many perps have in common: the correlation of their changes, in a few factors.

Shocks to the demand for leverage, and noise of the coin's reference price, move many bases at once; taken as
independent they understate a book short everywhere: with equal shorts the realised volatility of a day was
1.5 to 1.7 times that. The factors are principal components of the correlation, shrunk by as much as its few
observations ask for; what they leave is each basis's own.

The correlation is taken of changes cut at two robust sds: of plain ones the wildest week tells nearly all of
it, for months. In March 2023, when USDC fell, the changes of a day of BTC's basis on Binance and on Bybit
were correlated by 0.8, from April to July by 0.2. Hedges of least variance, held fixed from days of February
2023 (BTC and ETH, two venues) and of 2024-10 to 2025-01 (eight coins, three venues), had over the next thirty
days this sd against the calmer of equal split and Binance alone: at worst 1.001 and 1.037 with plain changes,
0.999 and 0.996 with cut ones; on average 0.992 and 0.858, and 0.995 and 0.855.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from models.arrays import Vector, column_medians, finite, non_negative, positive
from models.basis import lag_rows

CHANGE_LIMIT = 2.0
"""Where changes are cut for their correlation, in robust sds: as Khan, Van Aelst and Zamar (2007), "Robust
linear model selection based on least angle regression", winsorise for theirs.
"""

_PER_CHANGE = 4
_MAD_PER_SD = 0.6745
_ROUNDING = 1e-9
_LANCZOS_FROM = 100


class ChangeCorrelation(NamedTuple):
    """Correlation (G, G) of basis changes, and how many independent observations it rests on.

    Where two bases share no observation their correlation is 0. Not always positive semidefinite.
    """

    matrix: Vector
    observations: float


def change_correlation(
    levels: ArrayLike, step_hours: float, hours: float, memory_hours: float
) -> ChangeCorrelation:
    """Correlation of the changes over `hours` of basis levels (T, G), NaN where one is missing.

    Changes overlap, four begin within each `hours` where the step allows. Each pair uses the rows that have
    both, with weights 0.5^(age / memory_hours) and mean zero, as `models.basis.change_sd`; a basis without
    changes is uncorrelated with all. Changes are cut at CHANGE_LIMIT robust sds from zero, where a robust sd
    is the median of their sizes over 0.6745; a basis still more than half the time has none, and is not cut.
    The observations count weights (Kish 1965, "Survey sampling": the
    square of their sum over the sum of squares) and overlap. Errors: ValueError for infinity or no rows.
    """
    values, step = np.asarray(levels, dtype=np.float64), float(positive("step_hours", step_hours))
    if values.ndim != 2 or bool(np.isinf(values).any()):
        raise ValueError(f"levels {values.shape}: give a column per basis, NaN where missing")
    rows = lag_rows(hours, step)
    if len(values) <= rows:
        raise ValueError(f"levels hold {len(values)} rows: give more than the {rows} of one change")
    stride = max(rows // _PER_CHANGE, 1)
    changes = _winsorised((values[rows:] - values[:-rows])[::-1][::stride])  # newest first
    weights = 0.5 ** (np.arange(len(changes)) * stride * step / float(positive("memory_hours", memory_hours)))
    seen = np.isfinite(changes)
    moves = np.where(seen, changes, 0.0)
    weighted = weights[:, None] * moves
    squares = (weighted * moves).T @ seen.astype(np.float64)  # of the row's basis, where the column's is seen
    size = np.sqrt(squares * squares.T)
    matrix = np.divide(weighted.T @ moves, size, out=np.zeros_like(size), where=size > 0.0)
    np.fill_diagonal(matrix, 1.0)
    alike = float(weights.sum() ** 2 / (weights @ weights)) * stride / rows
    return ChangeCorrelation(np.clip(matrix, -1.0, 1.0), max(alike, 1.0))


def oracle_shrinkage(correlation: ArrayLike, observations: float) -> float:
    """Weight in [0, 1] of the identity against a correlation (G, G) from so many independent observations.

    Oracle approximating shrinkage: Chen, Wiesel, Eldar and Hero (2010), "Shrinkage algorithms for MMSE
    covariance estimation", in the form of scikit-learn's `OAS`, which takes only complete rows, all of one
    weight, none overlapping; here the number of observations says what the rows are worth.
    """
    matrix, count = finite("correlation", correlation), float(positive("observations", observations))
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(f"correlation has shape {matrix.shape}: give a square matrix")
    mean_square, squared_mean = float(np.mean(matrix**2)), float(np.mean(np.diag(matrix))) ** 2
    excess = mean_square - squared_mean / len(matrix)
    return min((mean_square + squared_mean) / ((count + 1.0) * excess), 1.0) if excess > 0.0 else 1.0


def common_loadings(correlation: ChangeCorrelation, factors: int) -> Vector:
    """Loadings (k, G) of unit-variance basis changes on k = min(factors, G - 1) common factors.

    Probabilistic principal components (Tipping and Bishop 1999) of the shrunk correlation, largest first:
    each eigenvalue less the mean of those left out, which is what a basis varies on its own. So two bases of
    correlation r load sqrt(r) each, and unrelated ones nothing. Each column's squares sum to at most 1; 1
    less that sum is the basis's own variance. Errors: ValueError for factors < 0.
    """
    if factors < 0:
        raise ValueError(f"factors is {factors}: write a whole number >= 0")
    count = len(correlation.matrix)
    kept = min(factors, count - 1)
    if kept <= 0:
        return np.zeros((0, count))
    shrinkage = oracle_shrinkage(correlation.matrix, correlation.observations)
    if shrinkage == 1.0:
        return np.zeros((kept, count))
    shrunk = (1.0 - shrinkage) * correlation.matrix
    np.fill_diagonal(shrunk, 1.0)
    values, vectors = _largest(shrunk, kept)
    left_out = (count - float(values.sum())) / (count - kept)
    loadings = np.sqrt(np.maximum(values - left_out, 0.0))[:, None] * vectors.T
    # Eigenvectors have no sign; most bases are taken to rise with a factor, so that answers repeat.
    loadings *= np.where(loadings.sum(axis=1) < 0.0, -1.0, 1.0)[:, None]
    share = np.sum(loadings**2, axis=0)
    return np.asarray(loadings / np.sqrt(np.maximum(share, 1.0)))


def own_sd(total_sd: ArrayLike, loadings: ArrayLike) -> Vector:
    """Sd (G,) that loadings (k, G) leave of total_sd (G,). Errors: ValueError where they exceed it."""
    total, common = non_negative("total_sd", total_sd), finite("loadings", loadings)
    if common.ndim != 2 or common.shape[1:] != total.shape:
        raise ValueError(f"loadings {common.shape}: give a column per basis, (factors, {total.size})")
    left = total**2 - np.sum(common**2, axis=0)
    if bool((left < -_ROUNDING * total**2).any()):
        raise ValueError(
            f"loadings of basis {int(np.argmin(left))} exceed its total_sd: scale them by it or less"
        )
    return np.asarray(np.sqrt(np.maximum(left, 0.0)))


def _winsorised(changes: Vector) -> Vector:
    """Changes (T, G) cut at CHANGE_LIMIT robust sds of their column from zero, NaN kept."""
    scale = column_medians(np.abs(changes)) / _MAD_PER_SD
    limit = np.where(scale > 0.0, CHANGE_LIMIT * scale, np.inf)  # NaN, of a basis never seen: infinity
    return np.asarray(np.clip(changes, -limit, limit))


def _largest(matrix: Vector, count: int) -> tuple[Vector, Vector]:
    """The largest eigenvalues (count,), falling, and their vectors (G, count)."""
    from scipy.linalg import eigh
    from scipy.sparse.linalg import eigsh

    size = len(matrix)
    if size >= _LANCZOS_FROM and count < size // 2:
        # Thousands of perps have a few factors: Lanczos, from a fixed start so that the answer is fixed too.
        start = np.random.default_rng(0).normal(size=size)
        values, vectors = eigsh(matrix, k=count, which="LA", v0=start)
    else:
        values, vectors = eigh(matrix, subset_by_index=[size - count, size - 1])
    return np.asarray(values)[::-1], np.asarray(vectors)[:, ::-1]
