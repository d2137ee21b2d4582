"""What the synthetic snapshots are drawn with: mean-reverting paths, funding by formula, prices on tick."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def stamp(time: datetime) -> str:
    """Return a time as ISO-8601 UTC to the minute."""
    return time.strftime("%Y-%m-%dT%H:%MZ")


def on_tick(price: float, tick: str) -> str:
    """Return the price rounded to the tick, in plain digits."""
    step = Decimal(tick)
    return format((Decimal(repr(float(price))) / step).quantize(Decimal(1)) * step, "f")


def on_lot(size: float, lot: str) -> Decimal:
    """Return the size rounded to the lot."""
    step = Decimal(lot)
    return (Decimal(repr(float(size))) / step).quantize(Decimal(1)) * step


def reverting(random: np.random.Generator, rows: int, level_sd: float, step_correlation: float) -> Vector:
    """Return a stationary AR(1) path (rows,) with the given standard deviation."""
    shocks = random.standard_normal(rows) * level_sd
    path = np.empty(rows)
    path[0] = shocks[0]
    for row in range(1, rows):
        path[row] = step_correlation * path[row - 1] + math.sqrt(1 - step_correlation**2) * shocks[row]
    return path


def funding_rate(premium: float, interval: int) -> str:
    """Return premium + clamp(1 bp − premium, ±5 bp) per 8 h, paid per interval, in plain digits."""
    rate = premium + min(max(0.0001 - premium, -0.0005), 0.0005)
    return format(Decimal(f"{rate * interval / 8:.10f}").normalize(), "f")


def write_tables(
    folder: Path, tables: Mapping[str, Iterable[tuple[str, ...]]], columns: Mapping[str, tuple[str, ...]]
) -> None:
    """Write each table as csv under its declared columns."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(columns[name])
            writer.writerows(rows)
