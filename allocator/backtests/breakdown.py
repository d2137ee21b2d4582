"""Where a walk's money came from: its ledger by coin, venue and month, to the cent."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from allocator.backtests.walks import Walk
from allocator.result import Json, usd

BY = ("coin", "venue", "month")
_NAMES = {
    "price": "price_usd", "funding": "funding_usd", "fee": "fees_usd", "slippage": "slippage_usd",
    "impact": "impact_usd", "transfer": "transfers_usd", "liquidation": "liquidation_usd",
    "holding": "holding_usd", "revaluation": "revaluation_usd",
}  # fmt: skip
OUTSIDE = "outside"  # the venue of what is held outside all venues


def by_kind(walk: Walk) -> pd.DataFrame:
    """USD of the ledger by month, venue, coin and kind: columns month, venue, coin, kind, usd.

    A flow of a contract belongs to the coin it follows, one of a balance to the balance's currency. The sum
    of `usd` is the change in wealth.
    """
    ledger = walk.ledger.frame()
    if ledger.empty:
        return pd.DataFrame({"month": [], "venue": [], "coin": [], "kind": [], "usd": []})
    places = zip(ledger["venue"], ledger["subject"], strict=True)
    coins = [walk.assets.get((venue, subject), subject) for venue, subject in places]
    flows = pd.DataFrame(
        {
            "month": ledger["time"].dt.strftime("%Y-%m"),
            "venue": ledger["venue"].where(ledger["venue"] != "", OUTSIDE),
            "coin": coins,
            "kind": ledger["kind"],
            "usd": ledger["usd"],
        }
    )
    flows = flows[flows["kind"] != "moved"]
    return flows.groupby(["month", "venue", "coin", "kind"])[["usd"]].sum().reset_index()


def breakdowns(walks: Sequence[Walk]) -> list[Json]:
    """Each strategy's USD by coin, by venue and by month: a row each, every kind of flow and a total."""
    found: list[Json] = []
    for walk in walks:
        flows = by_kind(walk)
        for name in BY:
            table = flows.pivot_table(index=name, columns="kind", values="usd", aggfunc="sum", fill_value=0.0)
            for key, row in table.iterrows():
                kinds = {label: usd(float(row.get(kind, 0.0))) for kind, label in _NAMES.items()}
                entry: Json = {"strategy": walk.name, "by": name, "name": str(key)}
                found.append(entry | kinds | {"total_usd": usd(float(row.sum()))})
    return found
