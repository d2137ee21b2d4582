"""What a run should be told about the venue tables it rests on: doubts, contradictions, age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from allocator.errors import Problem
from allocator.venues.check import groups
from allocator.venues.fill import FromTable, Key

if TYPE_CHECKING:
    from allocator.market.universe import Listing
    from allocator.scenario.load import LoadedScenario


def table_notices(
    loaded: LoadedScenario, used: Mapping[Key, FromTable], listings: Sequence[Listing], as_of: datetime
) -> list[str]:
    """Unverified cells in use, cells on which snapshot and table differ, tiers older than tiers may be."""
    notices = [notice for venue in loaded.tables for notice in _of_venue(loaded, venue)]
    for listing in listings:
        use = used.get(listing.key)
        if use is None:
            continue
        name = f"{listing.venue} {listing.symbol}"
        if use.unverified:
            notices.append(f"{name} {', '.join(use.unverified)}: unverified (from memory) in {use.label}")
        notices += [f"{name}: {words} in {use.label}: the snapshot counts" for words in use.differing]
    return notices + _old_tiers(loaded, used, listings, as_of)


def _of_venue(loaded: LoadedScenario, venue: str) -> list[str]:
    """Unverified cells of the venue's entry that no layer above the table has set."""
    table = loaded.tables[venue]
    notices = []
    for path, group, cells in groups(table):
        if path[0] not in ("fees", "margin", "collateral", "open_interest"):
            continue
        place = {"open_interest": ("margin", "open_interest"), "collateral": ("haircut_tiers",)}.get(
            str(path[0]), path
        )
        doubtful = [
            cell
            for cell in sorted(table.unverified(group, cells))
            if (origin := loaded.stated(("venues", venue, *place, cell))) is not None
            and origin.file == table.at(*path).file
        ]
        if doubtful:
            what = f"venues.{venue}.{'.'.join(map(str, place))}"
            notices.append(f"{what} {', '.join(doubtful)}: unverified (from memory) in {table.label}")
    return notices


def _old_tiers(
    loaded: LoadedScenario, used: Mapping[Key, FromTable], listings: Sequence[Listing], as_of: datetime
) -> list[str]:
    limit = loaded.scenario.snapshot.max_age.margin_tiers
    old: dict[tuple[str, str, datetime], list[str]] = {}
    for listing in listings:
        use = used.get(listing.key)
        if use is not None and use.tiers is not None and (as_of - use.tiers).total_seconds() > limit * 3600:
            old.setdefault((listing.venue, use.label, use.tiers), []).append(listing.symbol)
    return [
        f"{venue}: margin tiers of {', '.join(symbols)} are those of {time:%Y-%m-%d} in {label}"
        for (venue, label, time), symbols in old.items()
    ]


def missing_open_interest(loaded: LoadedScenario, listings: Sequence[Listing]) -> list[Problem]:
    """One problem for each asset whose initial margin needs an open interest that nobody stated."""
    problems: dict[tuple[str, str], Problem] = {}
    for listing in listings:
        table = loaded.tables.get(listing.venue)
        group = None if table is None else table.file.open_interest
        asset = str(listing.row["asset"])
        if table is None or group is None or asset not in group.caps:
            continue
        if asset in loaded.scenario.venues[listing.venue].margin.open_interest:
            continue
        cap = group.caps[asset]
        key = f"venues.{listing.venue}.margin.open_interest.{asset}.open_interest"
        message = (
            f"initial margin of {listing.symbol} rises as the market's open interest goes from "
            f"${cap.lower:,.0f} to ${cap.upper:,.0f}; write it as {key}"
        )
        source = str(table.at("open_interest", "caps", asset))
        problems[listing.venue, asset] = Problem(source, message)
    return list(problems.values())
