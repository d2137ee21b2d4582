"""Array types and the checks every formula makes on its input."""

from collections.abc import Mapping
from typing import TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]
IntVector = NDArray[np.int64]
BoolVector = NDArray[np.bool_]

Number = TypeVar("Number", float, Vector)
"""A float or an array: functions marked with it return what they were given."""


def finite(name: str, array: ArrayLike) -> Vector:
    """Return `array` as float64; NaN or infinity is a ValueError that names `name` and the place."""
    values = np.asarray(array, dtype=np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        raise ValueError(f"{name}{_first(bad)} is {values[bad].flat[0]}: give a finite number")
    return values


def positive(name: str, array: ArrayLike) -> Vector:
    """Like `finite`, and every value must be > 0."""
    values = finite(name, array)
    return _require(name, values, values > 0.0, "a number > 0")


def non_negative(name: str, array: ArrayLike) -> Vector:
    """Like `finite`, and every value must be >= 0."""
    values = finite(name, array)
    return _require(name, values, values >= 0.0, "a number >= 0")


def fraction(name: str, array: ArrayLike) -> Vector:
    """Like `finite`, and every value must lie in [0, 1]."""
    values = finite(name, array)
    return _require(name, values, (values >= 0.0) & (values <= 1.0), "a fraction between 0 and 1")


def same_shape(arrays: Mapping[str, Vector]) -> None:
    """ValueError naming both arguments unless all arrays have one shape."""
    names = list(arrays)
    first = arrays[names[0]].shape
    for name in names[1:]:
        if arrays[name].shape != first:
            raise ValueError(f"{name} has shape {arrays[name].shape}, {names[0]} has {first}: give one shape")


@overload
def like(given: float, values: ArrayLike) -> float: ...
@overload
def like(given: Vector, values: ArrayLike) -> Vector: ...
def like(given: float | Vector, values: ArrayLike) -> float | Vector:
    """`values` as a float64 array, or as a float where `given` and the result are single numbers."""
    array = np.asarray(values, dtype=np.float64)
    return array if isinstance(given, np.ndarray) or array.ndim else float(array)


def indices(name: str, array: ArrayLike, count: int, lowest: int = 0) -> IntVector:
    """Return `array` as whole numbers in [lowest, count); ValueError naming `name` otherwise."""
    values = np.asarray(array)
    if values.size and values.dtype.kind not in "iu":
        raise ValueError(f"{name} has type {values.dtype}: give whole numbers")
    bad = (values < lowest) | (values >= count)
    if bad.any():
        raise ValueError(
            f"{name}{_first(bad)} is {values[bad].flat[0]}: give a number from {lowest} to {count - 1}"
        )
    return values.astype(np.int64)


def column_medians(values: Vector) -> Vector:
    """Median (n,) of each column (T, n) without its NaN; NaN for a column of nothing else."""
    if not len(values):
        return np.full(values.shape[1:], np.nan)
    rising = np.sort(values, axis=0)  # NaN last
    count = np.maximum(len(values) - np.isnan(rising).sum(axis=0), 1)
    middle = np.stack([(count - 1) // 2, count // 2])
    return np.asarray(np.take_along_axis(rising, middle, axis=0).mean(axis=0))


def column_medians_and_deviations(values: Vector) -> tuple[Vector, Vector]:
    """`column_medians` (n,), and the medians of each column's absolute deviations from its own."""
    rows = len(values)
    if not rows or bool(np.isnan(values).any()):
        middle = column_medians(values)
        return middle, column_medians(np.abs(values - middle))
    rising = np.sort(values, axis=0)
    ranks = ((rows - 1) // 2, rows // 2)
    middle = 0.5 * (rising[ranks[0]] + rising[ranks[1]])
    # The values nearest to any number stand together in a sorted column: so many have their farthest
    # deviation at one of their ends, least of all in the right place.
    far = [
        np.maximum(middle - rising[: rows - rank], rising[rank:] - middle).min(axis=0)
        for rank in dict.fromkeys(ranks)
    ]
    return middle, np.asarray(np.mean(far, axis=0))


def _require(name: str, values: Vector, good: BoolVector, wanted: str) -> Vector:
    bad = np.asarray(~good)
    if bad.any():
        raise ValueError(f"{name}{_first(bad)} is {values[bad].flat[0]:g}: give {wanted}")
    return values


def _first(bad: BoolVector) -> str:
    if bad.ndim == 0:
        return ""
    return "[" + ", ".join(str(int(i)) for i in np.argwhere(bad)[0]) + "]"
