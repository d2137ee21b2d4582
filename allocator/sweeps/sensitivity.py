"""What the objective owes to each swept key: main effects of a finished sweep.

A key's *share* is its first-order sensitivity index, Var(E[Y|X]) / Var(Y): the variance of the group means
over that of all cells, which is Pearson's correlation ratio η². Groups are the key's values; where most cells
have a value of their own, as random draws do, they are groups of equal size in its order, the given-data
estimate (Saltelli et al., *Global Sensitivity Analysis: The Primer*, Wiley 2008, ch. 4; Plischke, Borgonovo
and Smith, European Journal of Operational Research 226, 2013). On a full grid the shares of all keys and of
their interactions add to one. Groups of a few draws each differ by chance alone: there the share is the
unbiased ε² of Kelley (PNAS 21, 1935), not below zero.

The *slope* is that of least squares on the key alone. Keys that always change together are not told apart:
each is given all they do, and names the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from allocator.result import Json, number, usd
from models.arrays import Vector

_FEWEST, _MOST = 10, 48  # groups of a drawn key, where there are enough cells
_IN_GROUP = 4  # cells of a group, at least
_UNSET = "as in the file"
_TINY = 1e-12  # of the largest objective: variation below this is rounding


@dataclass(frozen=True)
class Sensitivity:
    """What one swept key does to the objective, over the optimal cells.

    `share` of the objective's variance (None where it does not vary); `slope` in USD per unit of the key
    (None for words); `range_usd` between the means of its best and worst group, `best` and `worst`, of
    `groups`. `with_keys` change in step with it.
    """

    key: str
    share: float | None
    slope: float | None
    range_usd: float
    best: str
    worst: str
    groups: int
    binned: bool
    with_keys: tuple[str, ...]

    def to_json(self) -> Json:
        """Plain data."""
        return {
            "key": self.key,
            "share": None if self.share is None else number(self.share),
            "slope_usd_per_unit": None if self.slope is None else number(self.slope),
            "range_usd": usd(self.range_usd),
            "best": self.best,
            "worst": self.worst,
            "groups": self.groups,
            "binned": self.binned,
            "in_step_with": list(self.with_keys),
        }


def sensitivities(cells: pd.DataFrame, swept: Sequence[str], of: str = "total_usd") -> list[Sensitivity]:
    """Every key that takes more than one value among the optimal cells, the largest share first.

    `cells` is a sweep's table, `swept` its columns of swept keys, `of` the column that is explained.
    """
    optimal = cells[(cells["status"] == "optimal") & cells[of].notna()] if of in cells else cells.iloc[:0]
    if len(optimal) < 2:
        return []
    varied = [key for key in swept if key in optimal and _labels(optimal[key]).nunique() > 1]
    y = optimal[of].to_numpy(dtype=float)
    found = [_effect(key, optimal[varied], y) for key in varied]
    return sorted(found, key=lambda s: (-(s.share or 0.0), -s.range_usd, s.key))


def _labels(values: pd.Series[Any]) -> pd.Series[str]:
    """Each value as text; cells that leave the key alone are a value of their own."""
    return values.map(_text)


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return _UNSET
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _effect(key: str, varied: pd.DataFrame, y: Vector) -> Sensitivity:
    values: pd.Series[Any] = varied[key]
    labels = _labels(values)
    numeric = _numbers(values)
    together = [str(other) for other in varied if other != key and _in_step(values, varied[other])]
    # Values that hardly repeat cannot tell an effect from chance, unless nothing else changes beside it.
    own = labels.nunique() > len(y) / 2 and len(together) + 1 < varied.shape[1]
    binned = numeric is not None and own
    groups = _bins(numeric) if numeric is not None and own else labels.reset_index(drop=True)
    means = pd.Series(y).groupby(groups).mean()
    slope = None if numeric is None else _slope(numeric, y)
    best, worst = str(means.idxmin()), str(means.idxmax())
    spread = float(means.max() - means.min())
    share = _share(y, groups, own)
    return Sensitivity(key, share, slope, spread, best, worst, len(means), binned, tuple(together))


def _numbers(values: pd.Series[Any]) -> Vector | None:
    """The key's numbers (cells,), NaN where a cell leaves it alone; None for words and switches."""
    if not pd.api.types.is_float_dtype(values):
        return None
    return np.asarray(values, dtype=np.float64)


def _bins(values: Vector) -> pd.Series[str]:
    """Groups of about equal size in the order of the values, named by their ends."""
    known = np.isfinite(values)
    count = int(known.sum())
    wanted = max(min(max(_FEWEST, count // 40), _MOST, count // _IN_GROUP), 2)
    ranks = pd.Series(values[known]).rank(method="first").to_numpy()
    bins = np.minimum((ranks - 1) * wanted // count, wanted - 1)
    names = np.full(len(values), _UNSET, dtype=object)
    named = np.empty(count, dtype=object)
    for k in np.unique(bins):
        mine = values[known][bins == k]
        named[bins == k] = f"{mine.min():g} to {mine.max():g}"
    names[known] = named
    return pd.Series(names)


def _share(y: Vector, groups: pd.Series[str], own: bool) -> float | None:
    total = float(np.sum((y - y.mean()) ** 2))
    if total <= len(y) * (_TINY * np.abs(y).max()) ** 2:
        return None
    means = pd.Series(y).groupby(groups).transform("mean").to_numpy()
    between = float(np.sum((means - y.mean()) ** 2))
    if not own:
        return min(between / total, 1.0)
    k, n = groups.nunique(), len(y)
    if n < 2 * k:
        return None  # too few cells to tell
    within = (total - between) / (n - k)
    return max(between - (k - 1) * within, 0.0) / total


def _slope(x: Vector, y: Vector) -> float | None:
    known = np.isfinite(x)
    away = x[known] - x[known].mean() if known.any() else x[known]
    square = float(away @ away)
    return float(away @ y[known]) / square if square > 0 else None


def _in_step(one: pd.Series[Any], other: pd.Series[Any]) -> bool:
    """Whether two keys determine each other.

    Numbers do only where they rise or fall together: draws of two keys have the same cells, too.
    """
    labels = pd.DataFrame({"one": _labels(one), "other": _labels(other)})
    values = labels.nunique()
    if not len(labels.drop_duplicates()) == values["one"] == values["other"]:
        return False
    numbers = _numbers(one), _numbers(other)
    if numbers[0] is None or numbers[1] is None:
        return True
    steps = np.diff(numbers[1][np.argsort(numbers[0], kind="stable")])
    return bool(np.all(steps >= 0) or np.all(steps <= 0))
