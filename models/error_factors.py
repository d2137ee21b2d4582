"""What the errors of many funding forecasts have in common: shocks of the market, of a coin, of a venue.

Leverage is in demand everywhere at once, most alike for one coin and within one venue. Over 2023 to 2025 a
day's mean funding was missed with a correlation of 0.5 by perps of one coin, 0.3 to 0.6 by those of one venue
and 0.2 to 0.4 by others; over a week with 0.6 to 0.8, 0.5 to 0.8 and 0.3 to 0.8. The correlation matrix has
one number for each of these sorts of pairs: the sample's own, shrunk all the way to their means, which
predicts better than it does (Elton and Gruber 1973, "Estimating the dependence structure of share prices").
In factor form that is a row per market, coin, venue and perp with one entry per instrument in each sort:
4·n numbers for n instruments, and positive semidefinite whatever they are.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from models.arrays import BoolVector, IntVector, Vector, finite, fraction, indices, non_negative

_LEAST_PAIRS = 3
_ROUNDING = 1e-9


@dataclass(frozen=True)
class ErrorFactors:
    """Independent shocks of variance one whose sum is each error, itself of variance one.

    error_i = sum over blocks b of loadings[b, i]·shock(b, groups[b, i]), with groups and loadings (B, n).
    Two instruments are correlated by what they share: sum of loadings[b, i]·loadings[b, j] over the blocks in
    which they are of one group. Errors: ValueError unless squares of loadings sum to 1 per instrument.
    """

    groups: IntVector
    loadings: Vector

    def __post_init__(self) -> None:
        loadings = non_negative("loadings", self.loadings)
        if loadings.ndim != 2 or np.shape(self.groups) != loadings.shape:
            raise ValueError(f"groups {np.shape(self.groups)}, loadings {loadings.shape}: give (blocks, n)")
        indices("groups", self.groups, max(int(np.max(self.groups, initial=0)) + 1, 1))
        if not np.allclose(np.sum(loadings**2, axis=0), 1.0, atol=_ROUNDING):
            raise ValueError("loadings: the squares of each instrument's must sum to 1, the error's variance")


class ErrorSorts(NamedTuple):
    """What each instrument (n,) shares errors by: whole numbers that name its coin, venue and perp.

    The same perp held in two accounts is one perp.
    """

    coin: IntVector
    venue: IntVector
    perp: IntVector


def independent_errors(count: int) -> ErrorFactors:
    """Errors of `count` instruments that share nothing."""
    return ErrorFactors(np.arange(count)[None, :], np.ones((1, count)))


def embedded(factors: ErrorFactors, members: IntVector, n: int) -> ErrorFactors:
    """The factors of `members` (m,) among n instruments; each of the others has an error of its own."""
    places = np.asarray(members)
    loadings, groups = (
        np.zeros((len(factors.loadings), n)),
        np.zeros((len(factors.loadings), n), dtype=np.int64),
    )
    loadings[:, places], groups[:, places] = factors.loadings, factors.groups
    others = np.setdiff1d(np.arange(n), places)
    loadings[-1, others] = 1.0
    groups[-1, others] = np.max(factors.groups, initial=-1) + 1 + np.arange(len(others))
    return ErrorFactors(groups, loadings)


def shared_errors(sorts: ErrorSorts, market: float, coin: float, venue: float) -> ErrorFactors:
    """Factors by shares of the variance in [0, 1]: of the market, a coin, a venue; the rest is each perp's.

    Where they sum to more than 1 they are scaled down to it. Errors: ValueError for shares or shapes.
    """
    shares = fraction("market, coin, venue", [market, coin, venue])
    shares = shares / max(float(shares.sum()), 1.0)
    names = [np.asarray(sort) for sort in sorts]
    if any(name.ndim != 1 or name.shape != names[0].shape for name in names):
        raise ValueError("coin, venue and perp: give one whole number per instrument each")
    groups = np.vstack([np.zeros_like(names[0]), *names])
    variances = np.append(shares, max(1.0 - float(shares.sum()), 0.0))
    return ErrorFactors(groups, np.repeat(np.sqrt(variances)[:, None], names[0].size, axis=1))


def error_factors(errors: ArrayLike, sorts: ErrorSorts) -> ErrorFactors:
    """Factors of errors (O, n), a row per moment, NaN where unknown, with mean zero.

    Each share is a mean correlation, of pairs that differ in coin and venue, or what pairs of one coin, or of
    one venue, have more; below zero it is zero. Pairs count by the moments they have in common. A sort of
    pairs with fewer than 3 such moments is taken to move as one, which is safe.
    """
    table = np.asarray(errors, dtype=np.float64)
    if table.ndim != 2 or bool(np.isinf(table).any()) or table.shape[1:] != np.shape(sorts.perp):
        raise ValueError(f"errors {table.shape}: give a column per instrument, NaN where unknown")
    _, first = np.unique(sorts.perp, return_index=True)
    known = np.isfinite(table[:, first])
    scaled = _of_variance_one(table[:, first], known)
    coin, venue = sorts.coin[first], sorts.venue[first]
    both = coin * (int(np.max(venue, initial=0)) + 1) + venue
    everything, of_coin, of_venue, of_both = (
        _pairs(scaled, known, group) for group in (np.zeros_like(coin), coin, venue, both)
    )
    apart = _mean(everything - of_coin - of_venue + of_both)
    alike = [_mean(of_coin - of_both), _mean(of_venue - of_both), _mean(of_both)]
    # Without pairs apart, what all pairs share is that of the sort that shares least.
    market = min((m for m in alike if m is not None), default=0.0) if apart is None else apart
    coin_more, venue_more = (max((m or 0.0) - market, 0.0) for m in alike[:2])
    return shared_errors(sorts, market, coin_more, venue_more)


def shocks(factors: ErrorFactors, amounts: ArrayLike) -> Vector:
    """Loadings of a sum of errors, each times amounts (n,), on all shocks; their norm is the sum's sd."""
    weighted = factors.loadings * _checked(factors, amounts)
    rows = [np.bincount(g, weights=w) for g, w in zip(factors.groups, weighted, strict=True)]
    return np.concatenate([*rows, np.zeros(0)])


def correlated(factors: ErrorFactors, amounts: ArrayLike) -> Vector:
    """The correlation matrix times amounts (n,), without forming it."""
    weighted = factors.loadings * _checked(factors, amounts)
    found = np.zeros(factors.groups.shape[1])
    for group, loading, part in zip(factors.groups, factors.loadings, weighted, strict=True):
        found += loading * np.bincount(group, weights=part)[group]
    return found


def _checked(factors: ErrorFactors, amounts: ArrayLike) -> Vector:
    values = finite("amounts", amounts)
    count = factors.groups.shape[1]
    if values.shape != (count,):
        raise ValueError(f"amounts has shape {values.shape}: give one per instrument, ({count},)")
    return values


def _of_variance_one(table: Vector, known: BoolVector) -> Vector:
    values = np.where(known, table, 0.0)
    size = np.sqrt(np.sum(values**2, axis=0) / np.maximum(known.sum(axis=0), 1))
    return np.asarray(np.divide(values, size, out=np.zeros_like(values), where=size > 0.0))


def _pairs(scaled: Vector, known: BoolVector, group: IntVector) -> Vector:
    """Of pairs within groups: summed products, moments in common, and pairs, each pair twice."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.diff(np.append(starts, group.size))
    product = np.sum(np.add.reduceat(scaled[:, order], starts, axis=1) ** 2) - np.sum(scaled**2)
    if known.all():
        met = len(known) * (np.sum(sizes**2) - group.size)
    else:
        there = np.add.reduceat(known[:, order], starts, axis=1, dtype=np.float64)
        met = np.sum(there**2) - np.sum(known)
    count = np.sum(sizes**2) - group.size
    return np.array([product, met, count], dtype=np.float64)


def _mean(pairs: Vector) -> float | None:
    """Mean correlation in [0, 1]; 1 for pairs that never met, None without pairs."""
    product, met, count = pairs
    if count <= 0.5:
        return None
    return min(max(float(product / met), 0.0), 1.0) if met >= 2 * _LEAST_PAIRS else 1.0
