"""Reference prices as of any time: the rows of venue `index`, in USD per coin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from allocator.snapshot.faults import Checked
from models.arrays import Vector

INDEX = "index"


@dataclass(frozen=True)
class ReferencePrices:
    """Per coin or currency: hours (n,) growing, and the USD price known then (n,)."""

    series: Mapping[str, tuple[Vector, Vector]]

    def at(self, coin: str, hours: Vector, tolerance_hours: float = 6.0) -> Vector:
        """USD price of ``coin`` last known at each of ``hours``; NaN when unknown or older than tolerated."""
        if coin == "USD":
            return np.ones_like(hours)
        if coin not in self.series:
            return np.full_like(hours, np.nan)
        times, prices = self.series[coin]
        row = np.searchsorted(times, hours, side="right") - 1
        age = hours - times[np.maximum(row, 0)]
        return np.where((row >= 0) & (age <= tolerance_hours), prices[np.maximum(row, 0)], np.nan)

    def latest(self, coin: str) -> float:
        """Newest USD price of ``coin``; NaN when it has none."""
        if coin == "USD":
            return 1.0
        return float(self.series[coin][1][-1]) if coin in self.series else float("nan")


def reference_prices(prices: Checked | None) -> ReferencePrices:
    """Collect the rows of venue `index` whose symbol is ``COIN/USD`` and whose price is positive."""
    if prices is None or not len(prices.frame):
        return ReferencePrices({})
    venue, symbol, price, hours = (
        prices.text("venue"),
        prices.text("symbol"),
        prices.number("price"),
        prices.hours("time"),
    )
    series: dict[str, tuple[Vector, Vector]] = {}
    for rows in prices.groups("venue", "symbol"):
        coin, _, quote = str(symbol[rows[0]]).partition("/")
        if venue[rows[0]] != INDEX or quote != "USD":
            continue
        rows = rows[price[rows] > 0]
        if rows.size:
            rows = rows[np.argsort(hours[rows], kind="stable")]
            series[coin] = (hours[rows], price[rows])
    return ReferencePrices(series)
