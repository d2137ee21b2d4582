"""What the synthetic snapshots are drawn with: reverting paths and fat tails of `models`, prices on tick."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np

from models.arrays import Vector
from models.simulate import clamped_funding, stationary_paths, student


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
    return stationary_paths(random, np.array([level_sd]), step_correlation, rows)[:, 0]


def fat(random: np.random.Generator, rows: int) -> Vector:
    """Return Student-5 shocks (rows,) of unit variance."""
    return student(random, (rows,), 5.0)


def funding_rate(premium: float, interval: int) -> str:
    """Return premium + clamp(1 bp − premium, ±5 bp) per 8 h, paid per interval, in plain digits."""
    rate = float(clamped_funding(np.array(premium), interval, interest=0.0001, cap=math.inf))
    return format(Decimal(f"{rate:.10f}").normalize(), "f")


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
