"""The instruments of a market from their rows: contract, identity, and the tiers that margin them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from allocator.errors import Problem
from allocator.market.rules import convex_brackets
from allocator.market.types import Instrument
from allocator.market.universe import Findings, Listing
from allocator.scenario.load import LoadedScenario
from allocator.scenario.margin_rules import needs_tiers
from models.arrays import Vector
from models.contracts import Contract
from models.margin import Brackets, leverage_cap_usd

Tiers = Mapping[tuple[str, str], Brackets]


def newest_tiers(table: pd.DataFrame) -> Tiers:
    """The newest tiers of every symbol, as its venue states them."""
    last = table.groupby(["venue", "symbol"])["time"].transform("max")
    rows = table[table["time"] == last].sort_values("tier")
    return {(str(v), str(s)): _brackets(group) for (v, s), group in rows.groupby(["venue", "symbol"])}


def instruments(
    loaded: LoadedScenario, listings: list[Listing], tiers: Tiers, findings: Findings
) -> tuple[Instrument, ...]:
    """Every listing as an instrument; its brackets are convex, also where the venue's tiers are not."""
    result = []
    for listing in listings:
        row, venue = listing.row, loaded.scenario.venues[listing.venue]
        largest = _largest(loaded, listing, tiers, findings)
        result.append(
            Instrument(
                venue=listing.venue,
                exchange=listing.exchange,
                account=venue.account,
                symbol=listing.symbol,
                venue_symbol=row["venue_symbol"],
                asset=row["asset"],
                index_currency=row["index_currency"],
                settlement_currency=row["settlement_currency"],
                contract=_contract(row),
                brackets=convex_brackets(venue.margin, row["asset"], tiers.get(listing.key)),
                selection=listing.selection,
                largest_usd=largest,
            )
        )
    return tuple(result)


def _largest(loaded: LoadedScenario, listing: Listing, tiers: Tiers, findings: Findings) -> float:
    """Notional that the leverage allows by the stated tiers; it is asked for exactly where tiers need it."""
    path, leverage = f"instruments.{listing.selection}.leverage", listing.settings.leverage
    where = f"{listing.venue} {listing.symbol}"
    if not needs_tiers(loaded.scenario.venues[listing.venue].margin, listing.row["asset"]):
        if leverage is not None:
            message = f"{where}: its margin rule leaves no leverage to choose; remove `leverage`"
            findings.problems.append(Problem(loaded.origin(path), message))
        return np.inf
    if leverage is None:
        source = loaded.origin(f"instruments.{listing.selection}")
        findings.problems.append(Problem(source, f"{where}: write a `leverage` such as 10x"))
        return np.inf
    try:
        return leverage_cap_usd(tiers[listing.key], leverage)
    except ValueError as error:
        findings.problems.append(Problem(loaded.origin(path), f"{where}: {error}"))
        return np.inf


def _contract(row: Mapping[str, Any]) -> Contract:
    return Contract(
        kind=row["kind"],
        contract_size=Decimal(row["contract_size"]),
        lot_contracts=Decimal(row["lot_contracts"]),
        tick=Decimal(row["tick"]),
        min_contracts=Decimal(row["min_contracts"]),
        min_notional_usd=Decimal(row["min_notional_usd"]),
        coins_per_unit=int(row["coins_per_unit"]),
    )


def _brackets(rows: pd.DataFrame) -> Brackets:
    def column(name: str) -> Vector:
        return rows[name].to_numpy(dtype=float)

    return Brackets(
        floors_usd=column("floor_usd"),
        caps_usd=column("cap_usd"),
        rates=column("maintenance_margin_rate"),
        deductions_usd=column("deduction_usd"),
        max_leverages=column("max_leverage"),
    )
