"""Every cash flow, as a venue would have booked it; wealth is what they add up to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

Kind = Literal[
    "price", "funding", "fee", "slippage", "impact", "transfer", "liquidation", "holding", "revaluation"
]
COLUMNS = ("time", "kind", "venue", "subject", "currency", "amount", "usd")


@dataclass
class Ledger:
    """Rows of `COLUMNS`: `amount` in `currency`, > 0 received; `usd` at the prices of that time.

    ``price`` is the change in value of perps, settled at every bar; ``holding`` that of coins held outside
    the venues, ``revaluation`` that of balances in coins and stablecoins. `subject` is a symbol, an asset, or
    a pocket's currency. The sum of `usd` over all rows is the change in wealth: nothing else moves it.
    """

    rows: list[tuple[pd.Timestamp, str, str, str, str, float, float]] = field(default_factory=list)

    def book(
        self, time: pd.Timestamp, kind: Kind, where: tuple[str, str, str], amount: float, usd: float
    ) -> None:
        """Add one flow; `where` is venue (or "" for what is held outside), subject, currency."""
        if amount or usd:
            self.rows.append((time, kind, *where, amount, usd))

    def frame(self) -> pd.DataFrame:
        """All rows as a table."""
        found = pd.DataFrame(self.rows, columns=list(COLUMNS))
        return found.astype({"time": "datetime64[us, UTC]"}) if len(found) else found
