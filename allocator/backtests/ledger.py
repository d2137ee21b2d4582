"""Every cash flow, as a venue would have booked it; wealth is what they add up to."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.arrays import Vector

Kind = Literal[
    "price", "funding", "fee", "slippage", "impact", "transfer", "liquidation", "holding", "revaluation",
    "moved",
]  # fmt: skip
Where = tuple[str, str, str]  # venue (or "" for what is held outside), subject, currency
COLUMNS = ("time", "kind", "venue", "subject", "currency", "amount", "usd")
_Part = tuple[NDArray[np.datetime64], NDArray[np.int64], Vector, Vector]


class Ledger:
    """Rows of `COLUMNS`: `amount` in `currency`, > 0 received; `usd` at the prices of that time.

    ``price`` is the change in value of perps, settled at every bar; ``holding`` that of coins held outside
    the venues, ``revaluation`` that of balances in coins and stablecoins. ``moved`` is what changes place at
    its worth, 0 USD: collateral sent and arrived, announced trades of the book. `subject` is a symbol, an
    asset, or a pocket's currency. The sum of `usd` over all rows is the change in wealth, the sum of `amount`
    by venue and currency the change of that balance: nothing else moves either.
    """

    def __init__(self) -> None:
        self._labels: dict[tuple[str, str, str, str], int] = {}
        self._parts: list[_Part] = []

    def book(self, time: pd.Timestamp, kind: Kind, where: Where, amount: float, usd: float) -> None:
        """Add one flow."""
        self.book_many(
            np.array([time.to_datetime64()]), kind, [where], np.array([[amount]]), np.array([[usd]])
        )

    def book_many(
        self, times: NDArray[np.datetime64], kind: Kind, where: list[Where], amount: Vector, usd: Vector
    ) -> None:
        """Add flows of many times (T,) and places (k,) at once: amounts and USD (T, k)."""
        codes = np.array(
            [self._labels.setdefault((kind, *place), len(self._labels)) for place in where], dtype=np.int64
        )
        t, k = np.nonzero((amount != 0.0) | (usd != 0.0))
        if t.size:
            self._parts.append((times[t].astype("datetime64[us]"), codes[k], amount[t, k], usd[t, k]))

    def frame(self) -> pd.DataFrame:
        """All rows as a table, in order of time."""
        if not self._parts:
            return pd.DataFrame([], columns=list(COLUMNS))
        times, codes, amounts, usd = (
            np.concatenate([part[k] for part in self._parts]) for k in range(len(self._parts[0]))
        )
        order = np.argsort(times, kind="stable")
        codes = codes[order]
        labels = {
            name: np.array([label[k] for label in self._labels], dtype=object)[codes]
            for k, name in enumerate(COLUMNS[1:5])
        }
        return pd.DataFrame(
            {
                "time": pd.DatetimeIndex(times[order]).tz_localize("UTC"),
                **{name: pd.Series(values, dtype="str") for name, values in labels.items()},
                "amount": amounts[order],
                "usd": usd[order],
            }
        )
