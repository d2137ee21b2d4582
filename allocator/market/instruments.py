"""The instruments of a market from their rows: contract, identity, and the tiers that margin them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from allocator.errors import Problem
from allocator.market.exposures import Reference
from allocator.market.history import Key
from allocator.market.observed import Newest, Row, Tiers
from allocator.market.rules import convex_brackets
from allocator.market.types import Instrument, Market
from allocator.market.universe import Findings, Listing
from allocator.scenario.load import LoadedScenario
from allocator.scenario.margin_rules import needs_tiers
from models.arrays import Vector
from models.contracts import Contract, usd_per_contract
from models.margin import Brackets, leverage_cap_usd

if TYPE_CHECKING:
    from allocator.venues.fill import FromTable


def tier_scales(listings: list[Listing], newest: Newest, reference: Reference) -> Vector:
    """USD (n,) of one unit that each instrument's tiers are stated in: 1, or a contract at the mark."""
    scales = np.ones(len(listings))
    for k, listing in enumerate(listings):
        stated = newest.tiers.get(listing.key)
        if stated is not None and stated.in_contracts:
            quote = reference.of(listing.row["index_currency"], f"{listing.venue} {listing.symbol}")
            scales[k] = usd_per_contract(_contract(listing.row), newest.prices[listing.key], quote)
    return scales


def tiers_in_usd(
    loaded: LoadedScenario,
    listings: list[Listing],
    tiers: Tiers,
    scales: Vector,
    from_tables: Mapping[Key, FromTable],
    findings: Findings,
) -> Mapping[Key, Brackets]:
    """Each instrument's tiers in USD: contracts at the mark, as positions are.

    Whether a rate counts for the whole position is what its venue's `margin.tiers` says. Tiers without
    deductions at a venue whose tiers are marginal are a problem; deductions where there are none, a notice.
    """
    found: dict[Key, Brackets] = {}
    for listing, scale in zip(listings, scales.tolist(), strict=True):
        stated = tiers.get(listing.key)
        rules = loaded.scenario.venues[listing.venue].margin
        if stated is None or not needs_tiers(rules, listing.row["asset"]):
            continue
        where, path = f"{listing.venue} {listing.symbol}", f"venues.{listing.venue}.margin.tiers"
        whole = rules.tiers == "whole_position"
        if not whole and not stated.deducted:
            message = (
                f"{where}: its margin_tiers have no deductions; write deduction_usd (and caps in USD), or "
                f"{path}: whole_position where a rate counts for the whole position"
            )
            findings.problems.append(Problem(loaded.origin(path), message))
        of_table = (use := from_tables.get(listing.key)) is not None and use.tiers is not None
        if whole and stated.deducted and not of_table and stated.brackets.deductions_usd.any():
            message = f"{where}: deduction_usd of its margin_tiers is not used: {path} is whole_position"
            findings.notices.append(message)
        found[listing.key] = _scaled(stated.brackets, scale)
    return found


def tiers_held(market: Market, tiers: Tiers) -> Mapping[Key, Brackets]:
    """The tiers of a finished market's instruments in USD at their marks, as the venue states them."""
    found = {}
    for instrument, per_contract in zip(market.instruments, market.prices.usd_per_contract, strict=True):
        key = (instrument.exchange, instrument.symbol)
        if (stated := tiers.get(key)) is not None:
            found[key] = _scaled(stated.brackets, float(per_contract) if stated.in_contracts else 1.0)
    return found


def _scaled(brackets: Brackets, scale: float) -> Brackets:
    return Brackets(
        brackets.floors_usd * scale,
        brackets.caps_usd * scale,
        brackets.rates,
        brackets.deductions_usd * scale,
        brackets.max_leverages,
    )


def instruments(
    loaded: LoadedScenario, listings: list[Listing], tiers: Mapping[Key, Brackets], findings: Findings
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
                brackets=_brackets(loaded, listing, tiers, findings),
                selection=listing.selection,
                largest_usd=largest,
                expiry=listing.expiry,
            )
        )
    return tuple(result)


def _brackets(
    loaded: LoadedScenario, listing: Listing, tiers: Mapping[Key, Brackets], findings: Findings
) -> Brackets:
    """Convex brackets; a problem where the venue's tiers have none, as tiers without a last cap."""
    rules = loaded.scenario.venues[listing.venue].margin
    try:
        return convex_brackets(rules, listing.row["asset"], tiers.get(listing.key))
    except ValueError as error:
        path = f"venues.{listing.venue}.margin.tiers"
        message = (
            f"{listing.venue} {listing.symbol}: {path} is {rules.tiers}, but of its margin_tiers {error}"
        )
        findings.problems.append(Problem(loaded.origin(path), message))
        return tiers[listing.key]


def _largest(
    loaded: LoadedScenario, listing: Listing, tiers: Mapping[Key, Brackets], findings: Findings
) -> float:
    """Notional that the leverage allows by the stated tiers; it is asked for exactly where tiers need it.

    Where no initial margin is asked it may be left out: the last tier's cap is then the largest position.
    """
    path, leverage = f"instruments.{listing.selection}.leverage", listing.settings.leverage
    where = f"{listing.venue} {listing.symbol}"
    rules = loaded.scenario.venues[listing.venue].margin
    if not needs_tiers(rules, listing.row["asset"]):
        if leverage is not None:
            message = f"{where}: its margin rule leaves no leverage to choose; remove `leverage`"
            findings.problems.append(Problem(loaded.origin(path), message))
        return np.inf
    if leverage is None and rules.initial == "none":
        return float(tiers[listing.key].caps_usd[-1])
    if leverage is None:
        source = loaded.origin(f"instruments.{listing.selection}")
        findings.problems.append(Problem(source, f"{where}: write a `leverage` such as 10x"))
        return np.inf
    try:
        return leverage_cap_usd(tiers[listing.key], leverage)
    except ValueError as error:
        findings.problems.append(Problem(loaded.origin(path), f"{where}: {error}"))
        return np.inf


def _contract(row: Row) -> Contract:
    return Contract(
        kind=row["kind"],
        contract_size=Decimal(row["contract_size"]),
        lot_contracts=Decimal(row["lot_contracts"]),
        tick=Decimal(row["tick"]),
        min_contracts=Decimal(row["min_contracts"]),
        min_notional_usd=Decimal(row["min_notional_usd"]),
        coins_per_unit=int(row["coins_per_unit"]),
    )
