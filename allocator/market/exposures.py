"""What the book is exposed to: holdings and coin collateral by asset, cash by currency, and what is held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from allocator.errors import Problem
from allocator.market.observed import INDEX, Newest, Row
from allocator.market.sense import check_amount
from allocator.market.types import Holding, Index, Matrix, Pocket
from allocator.market.universe import Findings, Listing
from allocator.scenario.schema import Scenario
from models.arrays import Vector
from models.collateral import HaircutTiers

USD = "USD"


@dataclass(frozen=True)
class Reference:
    """Prices in USD of coins and currencies, with how to complain when one is missing."""

    prices: dict[str, float]
    findings: Findings

    def of(self, name: str, what: str) -> float:
        """USD price of one coin or unit of currency; a problem (and NaN) when there is none."""
        if name == USD:
            return 1.0
        if name not in self.prices:
            message = f"no fresh price {name}/USD of venue {INDEX!r} for {what}; add the row"
            self.findings.problems.append(Problem("prices", message))
            return float("nan")
        return self.prices[name]


def reference_prices(newest: Newest, max_age_hours: float) -> dict[str, float]:
    """Newest reference prices in USD by coin or currency; one older than the limit counts as missing."""
    oldest, times = newest.as_of - timedelta(hours=max_age_hours), newest.times["prices"]
    return {
        symbol.removesuffix("/USD"): price
        for (venue, symbol), price in newest.prices.items()
        if venue == INDEX and symbol.endswith("/USD") and times[venue, symbol] >= oldest
    }


def check_known(table: pd.DataFrame, name: str, as_of: datetime, findings: Findings) -> None:
    """A problem when any row is later than `as_of`: one state has no earlier rows that could stand for it."""
    if later := int((table["time"] > as_of).sum()):
        message = (
            f"{later} of {len(table)} rows are later than as_of {as_of:%Y-%m-%dT%H:%M:%SZ}; "
            "write the state of that time, or a later as_of"
        )
        findings.problems.append(Problem(name, message))


def check_age(
    table: pd.DataFrame, name: str, as_of: datetime, limit_hours: float, findings: Findings
) -> None:
    """A problem when any row is older than the limit: these tables hold one state, not a history."""
    if len(table) and (age := (as_of - table["time"].min()).total_seconds() / 3600) > limit_hours:
        message = f"a row is {age:.1f} h old, the limit is {limit_hours:g} h; refresh it or remove it"
        findings.problems.append(Problem(name, message))


@dataclass(frozen=True)
class Holdings:
    """USD by asset, and by currency, of everything held outside the margin accounts, entry by entry.

    What arrives before the orders is not in them, but in `arriving` by venue and currency: it is collateral.
    """

    assets: dict[str, float]
    cash: dict[str, float]
    arriving: dict[tuple[str, str], float]
    entries: tuple[Holding, ...]


def holdings(rows: Sequence[Row], scenario: Scenario, reference: Reference, as_of: datetime) -> Holdings:
    """Exposure of all holdings: coins · confidence · price, or the collateral that they are about to be."""
    found = Holdings({}, {}, {}, ())
    entries: list[Holding] = []
    for row in rows:
        entry = _holding(row, scenario, reference, as_of)
        if entry is None:
            continue
        entries.append(entry)
        exposure = entry.usd * entry.confidence
        if entry.venue is not None and entry.arrives:
            key = (entry.venue, entry.asset)
            found.arriving[key] = found.arriving.get(key, 0.0) + exposure
        elif entry.asset != USD:
            stable = entry.asset in scenario.forecasts.currencies.daily_volatility
            into = found.cash if stable else found.assets
            into[entry.asset] = into.get(entry.asset, 0.0) + exposure
    return replace(found, entries=tuple(entries))


def _holding(row: Row, scenario: Scenario, reference: Reference, as_of: datetime) -> Holding | None:
    """One row of `holdings`; None where it does not count, perhaps with a problem found."""
    name, kind, asset = str(row["name"]), str(row["kind"]), str(row["asset"])
    transit = kind == "in_transit"
    expected, locked = _moment(row["expected_time"]), _moment(row["locked_until"])
    if not transit and (asset in scenario.book.exclude or asset == USD):
        return None
    past = {
        "anticipated": (expected, "expected", "book it or re-date it"),
        "in_transit": (expected, "to arrive", "it is overdue: write the balance where it is, or a new time"),
        "locked": (locked, "locked until", "write kind spot, or the new time"),
        "staked": (locked, "locked until", "leave locked_until empty, or write the new time"),
    }
    time, what, remedy = past.get(kind, (None, "", ""))
    if time is not None and time <= as_of:
        message = f"{name}: {what} {time:%Y-%m-%dT%H:%MZ}, which is not after as_of; {remedy}"
        reference.findings.problems.append(Problem("holdings", message))
        return None
    venue = _destination(row, scenario, reference) if transit else None
    if transit and venue is None:
        return None
    arrives = transit and time is not None and time <= as_of + timedelta(hours=scenario.horizons.execution)
    if not arrives and (asset in scenario.book.exclude or asset == USD):
        return None
    usd = float(row["coins"]) * reference.of(asset, f"holding {name}")
    check_amount(usd, f"holding {name}", "holdings", reference.findings)
    return Holding(name, kind, asset, usd, float(row["confidence"]), time, venue, arrives)


def _moment(cell: datetime | None) -> datetime | None:
    return None if pd.isna(cell) else pd.Timestamp(cell).to_pydatetime()


def _destination(row: Row, scenario: Scenario, reference: Reference) -> str | None:
    """The scenario's name of the account that coins in transit go to; None with a problem found."""
    account = (row["to_venue"], row["to_account"])
    for name, venue in scenario.venues.items():
        if (venue.exchange or name, venue.account) != account:
            continue
        if row["asset"] in venue.haircuts:
            return name
        message = f"say under venues.{name}.haircuts how much of {row['asset']} counts there"
        break
    else:
        message = f"account {account[1]} of {account[0]} is not a venue of the scenario; add or correct it"
    reference.findings.problems.append(Problem("holdings", f"{row['name']} is in transit: {message}"))
    return None


@dataclass(frozen=True)
class Balances:
    """Per pocket (P,): wallet balance with what is `arriving`, that, and what may be withdrawn, in USD."""

    pockets: tuple[Pocket, ...]
    wallet: Vector
    withdrawable: Vector
    arriving: Vector


def balances(
    stated: Sequence[Row],
    scenario: Scenario,
    listings: list[Listing],
    reference: Reference,
    arriving: Mapping[tuple[str, str], float],
) -> Balances:
    """Every balance, plus an empty pocket wherever an instrument settles or a transfer may arrive.

    `arriving` is USD by venue and currency that arrives before the orders; none of it may be withdrawn.
    """
    rows = {(r["venue"], r["account"], r["currency"]): r for r in stated}
    pockets: list[Pocket] = []
    wallet: list[float] = []
    withdrawable: list[float] = []
    movable = {currency for venue in scenario.venues.values() for currency in venue.withdrawals}
    for name, venue in scenario.venues.items():
        account = (venue.exchange or name, venue.account)
        held = {key[2] for key in rows if key[:2] == account}
        settled = {listing.row["settlement_currency"] for listing in listings if listing.venue == name}
        coming = {currency for target, currency in arriving if target == name}
        for currency in sorted(held | settled | coming | (movable & set(venue.haircuts))):
            if currency not in venue.haircuts:
                message = (
                    f"{name} holds or settles in {currency}; "
                    f"say under venues.{name}.haircuts how much of it counts"
                )
                reference.findings.problems.append(Problem("collateral", message))
                continue
            row = rows.get((*account, currency), {"coins": 0.0, "withdrawable_coins": 0.0})
            price = reference.of(currency, f"collateral of {name}")
            check_amount(
                float(row["coins"]) * price, f"{currency} at {name}", "collateral", reference.findings
            )
            pockets.append(Pocket(name, currency))
            wallet.append(float(row["coins"]) * price + arriving.get((name, currency), 0.0))
            withdrawable.append(float(row["withdrawable_coins"]) * price)
    on_the_way = np.array([arriving.get((p.venue, p.currency), 0.0) for p in pockets])
    return Balances(tuple(pockets), np.array(wallet), np.array(withdrawable), on_the_way)


def haircuts(
    scenario: Scenario, pockets: tuple[Pocket, ...], findings: Findings
) -> tuple[Vector, dict[int, HaircutTiers]]:
    """Each pocket's haircut (P,), the first tier's where it grows, and the tiers of those pockets."""
    flat, tiers = np.zeros(len(pockets)), dict[int, HaircutTiers]()
    for p, pocket in enumerate(pockets):
        venue = scenario.venues[pocket.venue]
        stated, steps = venue.haircuts[pocket.currency], venue.haircut_tiers.get(pocket.currency)
        if isinstance(stated, float):
            flat[p] = stated
            if steps is not None:
                where = f"venues.{pocket.venue}.haircuts.{pocket.currency}"
                findings.notices.append(
                    f"{where}: {stated:.4g} of every balance; write `tiered` for its haircut_tiers"
                )
        elif steps is not None:  # the scenario's own checks refuse `tiered` without tiers
            caps = np.array([step.cap for step in steps])
            tiers[p] = HaircutTiers(caps, np.array([step.haircut for step in steps]))
            flat[p] = steps[0].haircut
    return flat, tiers


def unknown_accounts(table: pd.DataFrame, name: str, scenario: Scenario, findings: Findings) -> None:
    """A problem for every account in a table that the scenario's venues do not have: nothing is ignored."""
    ours = {(venue.exchange or key, venue.account) for key, venue in scenario.venues.items()}
    for account in sorted(
        {(str(v), str(a)) for v, a in zip(table["venue"], table["account"], strict=True)} - ours
    ):
        message = (
            f"account {account[1]} of {account[0]} is not a venue of the scenario; add it, or drop its rows"
        )
        findings.problems.append(Problem(name, message))


def coin_collateral(
    pockets: tuple[Pocket, ...], balance: Vector, pocket_venue: Index, assets: tuple[str, ...], venues: int
) -> Matrix:
    """USD of each asset held as collateral at each venue (V, A)."""
    result = np.zeros((venues, len(assets)))
    where = {asset: column for column, asset in enumerate(assets)}
    for pocket, usd, venue in zip(pockets, balance, pocket_venue, strict=True):
        if pocket.currency in where:
            result[venue, where[pocket.currency]] += usd
    return result


def cash_by_currency(
    held: Holdings, pockets: tuple[Pocket, ...], balance: Vector, currencies: tuple[str, ...]
) -> Vector:
    """USD of each stablecoin, in and outside the margin accounts (C,)."""
    total = {currency: held.cash.get(currency, 0.0) for currency in currencies}
    for pocket, usd in zip(pockets, balance, strict=True):
        if pocket.currency in total:
            total[pocket.currency] += usd
    return np.array([total[currency] for currency in currencies], dtype=float)
