"""What pydantic alone cannot see in a venue table: unknown sources, tiers that do not join, odd fees."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from allocator.errors import Problem
from allocator.scenario.keys import dotted, suggest
from allocator.scenario.source import KeyPath
from allocator.snapshot.symbols import SYMBOL
from allocator.venues.schema import Group, TierSchedule
from allocator.venues.table import VenueTable, is_bundle, tier_brackets, tier_sizes
from models.margin import DEDUCTION_TOLERANCE, check_brackets

INTERVALS_HOURS = (1, 2, 4, 8)
_HIGHEST_FEE = 0.01


def check_table(table: VenueTable) -> list[Problem]:
    """Every contradiction in a venue table."""
    checks = (_groups, _fees, _funding, _symbols, _tiers)
    return [problem for each in checks for problem in each(table)]


def _problem(table: VenueTable, path: KeyPath, message: str) -> Problem:
    return Problem(str(table.at(*path)), f"{dotted(path)}: {message}")


def groups(table: VenueTable) -> Iterator[tuple[KeyPath, Group, frozenset[str]]]:
    """Every group of cells with its place and the names of its cells."""
    file = table.file
    for name in ("fees", "funding"):
        group: Group | None = getattr(file, name)
        if group is not None:
            yield (name,), group, _written(group)
    if file.liquidation_penalty is not None:
        yield ("liquidation_penalty",), file.liquidation_penalty, frozenset(file.liquidation_penalty.by_asset)
    if file.margin is not None:
        yield ("margin",), file.margin, frozenset(file.margin.rules.model_fields_set)
    if file.collateral is not None:
        yield ("collateral",), file.collateral, frozenset(file.collateral.tiers)
    if file.open_interest is not None:
        yield ("open_interest",), file.open_interest, frozenset(file.open_interest.caps)
    for symbol, terms in file.instruments.items():
        yield ("instruments", symbol), terms, _written(terms)
    for name, schedule in file.margin_tiers.items():
        yield ("margin_tiers", name), schedule, frozenset(("symbols", "tiers"))


def _written(group: Group) -> frozenset[str]:
    return frozenset(group.model_dump(exclude={"source", "unverified"}, exclude_none=True))


def _groups(table: VenueTable) -> Iterator[Problem]:
    for path, group, cells in groups(table):
        if group.source not in table.file.sources:
            message = f"`{group.source}` is not among `sources`; {suggest(group.source, table.file.sources)}"
            yield _problem(table, (*path, "source"), message)
        for cell in group.unverified:
            if cell not in cells:
                message = f"`{cell}` is no cell stated here; {suggest(cell, cells)}"
                yield _problem(table, (*path, "unverified"), message)


def _fees(table: VenueTable) -> Iterator[Problem]:
    fees = table.file.fees
    if fees is None:
        return
    for name, fee in (("maker", fees.maker), ("taker", fees.taker)):
        if abs(fee) > _HIGHEST_FEE:
            yield _problem(
                table, ("fees", name), f"{fee:.2%} of the notional; write basis points such as 2bp"
            )
    if fees.maker > fees.taker:
        yield _problem(table, ("fees", "maker"), "is above the taker fee: a digit too many, or swapped")
    if fees.maker + fees.taker < 0:
        yield _problem(table, ("fees", "maker"), "a round trip would earn; write what is paid as positive")


def _funding(table: VenueTable) -> Iterator[Problem]:
    rule = table.file.funding
    if rule is None:
        return
    if rule.interval not in INTERVALS_HOURS:
        yield _problem(table, ("funding", "interval"), f"{rule.interval:g}h; write 1h, 2h, 4h or 8h")
    if rule.cap is not None and rule.cap_rule is not None:
        yield _problem(table, ("funding", "cap_rule"), "there is a `cap` too; write one of them")


def _symbols(table: VenueTable) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for symbol, terms in table.file.instruments.items():
        path: KeyPath = ("instruments", symbol)
        yield from _unified(table, path, symbol)
        if is_bundle(symbol) and terms.coins_per_unit is None:
            yield _problem(table, path, "may be many coins; write `coins_per_unit`, 1 if it is one coin")
    for name, schedule in table.file.margin_tiers.items():
        for at, symbol in enumerate(schedule.symbols):
            path = ("margin_tiers", name, "symbols", at)
            yield from _unified(table, path, symbol)
            if symbol in seen:
                yield _problem(table, path, f"`{symbol}` has tiers in `{seen[symbol]}` already; remove one")
            seen.setdefault(symbol, name)


def _unified(table: VenueTable, path: KeyPath, symbol: str) -> Iterator[Problem]:
    if SYMBOL.fullmatch(symbol) is None:
        yield _problem(table, path, "is not a ccxt perpetual; write BASE/QUOTE:SETTLE, as in BTC/USDT:USDT")


def _tiers(table: VenueTable) -> Iterator[Problem]:
    for name, schedule in table.file.margin_tiers.items():
        path: KeyPath = ("margin_tiers", name, "tiers")
        try:
            unit, sizes = tier_sizes(schedule.tiers)
        except ValueError as error:
            yield _problem(table, path, str(error))
            continue
        rules = None if table.file.margin is None else table.file.margin.rules
        if rules is not None and rules.tiers == "whole_position" and not np.isfinite(sizes[-1]):
            message = "tiers on the whole position need a largest position; give the last a cap"
            yield _problem(table, path, message)
            continue
        defects = check_brackets(tier_brackets(schedule.tiers))
        if defects:
            yield from (_problem(table, path, defect) for defect in defects)
        else:
            yield from _joints(table, path, schedule, unit)


def _joints(table: VenueTable, path: KeyPath, schedule: TierSchedule, unit: str) -> Iterator[Problem]:
    """Floors and deductions, where stated, are those that follow from caps and rates."""
    brackets = tier_brackets(schedule.tiers)
    for k, tier in enumerate(schedule.tiers):
        floor, deduction = float(brackets.floors_usd[k]), float(brackets.deductions_usd[k])
        if unit != "usd" and (tier.floor is not None or tier.deduction is not None):
            yield _problem(table, (*path, k), f"amounts in USD beside caps in {unit}; leave them out")
            continue
        if tier.floor is not None and tier.floor != floor:
            message = f"${tier.floor:,.2f} leaves a gap or an overlap; write the cap before, ${floor:,.2f}"
            yield _problem(table, (*path, k, "floor"), message)
        if tier.deduction is not None and abs(tier.deduction - deduction) > DEDUCTION_TOLERANCE * max(
            1.0, floor
        ):
            message = f"${tier.deduction:,.2f} does not join the tiers; caps and rates give ${deduction:,.2f}"
            yield _problem(table, (*path, k, "deduction"), message)
