"""Which instruments take part: the scenario's selections met with what the snapshot really holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd

from allocator.errors import DataError, Problem
from allocator.market.history import Key
from allocator.market.observed import INDEX, Newest, Row
from allocator.scenario.load import LoadedScenario
from allocator.scenario.margin_rules import needs_tiers
from allocator.scenario.schema import Instruments, Scenario

if TYPE_CHECKING:
    from allocator.venues.fill import FromTable


@dataclass(frozen=True)
class Listing:
    """One selected instrument: its row of the instruments table and the selection that chose it."""

    venue: str
    exchange: str
    symbol: str
    selection: str
    settings: Instruments
    row: Row

    @property
    def key(self) -> tuple[str, str]:
        """Exchange and symbol, as tables are keyed."""
        return self.exchange, self.symbol

    @property
    def expiry(self) -> datetime | None:
        """When it settles; None for a perpetual."""
        return expiry_of(self.row)


def expiry_of(row: Row) -> datetime | None:
    """When the contract of a row of `instruments` settles; None for a perpetual."""
    expiry = row.get("expiry")
    return None if expiry is None or pd.isna(expiry) else pd.Timestamp(expiry).to_pydatetime()


@dataclass
class Findings:
    """What went wrong (an error) and what is worth telling (a notice) while a market is built."""

    problems: list[Problem] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def raise_if_any(self) -> None:
        """Raise all problems at once."""
        if self.problems:
            raise DataError(self.problems)


_NAMED = 3  # of the instruments that were dropped
Chosen = tuple[str, str, str]  # the selection, exchange and symbol of an instrument that takes part


Held = tuple[str, str, str]  # exchange, account and symbol of a position


def expiring(
    positions: Sequence[Row], terms: Mapping[Key, Row], as_of: datetime, decision_hours: float
) -> tuple[Held, ...]:
    """Positions in dated futures that expire within the decision horizon: they take part to be closed."""
    found = []
    for row in positions:
        listed = terms.get((row["venue"], row["symbol"]))
        if listed is None or _too_short(listed, as_of, decision_hours) is None:
            continue
        if row["contracts"] or row["open_buy_contracts"] or row["open_sell_contracts"]:
            found.append((str(row["venue"]), str(row["account"]), str(row["symbol"])))
    return tuple(sorted(found))


def select(
    loaded: LoadedScenario, newest: Newest, closing: Collection[Held], findings: Findings
) -> tuple[Chosen, ...]:
    """Every instrument that takes part, in the order of venues in the scenario, then symbols.

    An instrument whose data are missing or stale is dropped with a notice where its selection says
    ``on_missing: drop``, and is a problem otherwise. A dated future that expires within the decision horizon
    hedges no longer, and takes part only where it is held (`closing`), to be closed.
    """
    scenario, rows = loaded.scenario, newest.terms
    lacks = _data_check(scenario, newest)
    chosen: list[Chosen] = []
    for name, selection in scenario.instruments.items():
        exchange = scenario.venues[selection.venue].exchange or selection.venue
        source = loaded.origin(f"instruments.{name}.symbols")
        symbols = _symbols(scenario, name, selection, exchange, rows, source, findings)
        if not symbols:
            findings.notices.append(
                f"instruments.{name} selects nothing: no such contract of {exchange} is listed"
            )
        margin, account = scenario.venues[selection.venue].margin, scenario.venues[selection.venue].account
        for symbol in symbols:
            row = rows[exchange, symbol]
            ended = _ended(row, newest.as_of)
            short = _too_short(row, newest.as_of, scenario.horizons.decision)
            held = (exchange, account, symbol) in closing
            if short is not None:
                said = "is to be closed" if held else "takes no part"
                findings.notices.append(f"{selection.venue} {symbol} {said}: {short}")
            # Listings of the past are no news where all are chosen.
            if (ended is not None and selection.symbols == "all") or (short is not None and not held):
                continue
            reason = ended or lacks(exchange, symbol, row, needs_tiers(margin, str(row["asset"])))
            if reason is None:
                chosen.append((name, exchange, symbol))
            elif selection.on_missing == "drop":
                findings.notices.append(f"{selection.venue} {symbol} dropped: {reason}")
            else:
                message = f"{selection.venue} {symbol}: {reason}; refresh the data or write on_missing: drop"
                findings.problems.append(Problem(source, message))
    order = {venue: position for position, venue in enumerate(scenario.venues)}
    if not chosen and not findings.problems:
        why = "".join(f"; {notice}" for notice in findings.notices[-_NAMED:])
        findings.problems.append(Problem(loaded.origin("instruments"), f"no instrument is left{why}"))
    place = {name: order[selection.venue] for name, selection in scenario.instruments.items()}
    return tuple(sorted(chosen, key=lambda item: (place[item[0]], item[2])))


def listings_of(
    selections: Mapping[str, Instruments], terms: Mapping[Key, Row], chosen: tuple[Chosen, ...]
) -> list[Listing]:
    """The chosen instruments with their rows."""
    return [
        Listing(selections[name].venue, exchange, symbol, name, selections[name], terms[exchange, symbol])
        for name, exchange, symbol in chosen
    ]


def _symbols(
    scenario: Scenario,
    name: str,
    selection: Instruments,
    exchange: str,
    rows: Mapping[Key, Row],
    source: str,
    findings: Findings,
) -> list[str]:
    """Symbols of one selection: those named, or all of the venue that no other selection names."""
    available = [symbol for venue, symbol in rows if venue == exchange]
    if selection.symbols == "all":
        named = {
            symbol
            for other, peer in scenario.instruments.items()
            if other != name and peer.venue == selection.venue and peer.symbols != "all"
            for symbol in peer.symbols
        }
        symbols = [symbol for symbol in available if symbol not in named]
    else:
        symbols = [symbol for symbol in selection.symbols if symbol in available]
        for symbol in selection.symbols:
            if symbol not in available:
                message = f"{symbol} of {exchange} is not in the instruments table"
                if selection.on_missing == "drop":
                    findings.notices.append(
                        f"{selection.venue} {symbol} dropped: not in the instruments table"
                    )
                else:
                    findings.problems.append(Problem(source, message))
    if selection.assets is not None:
        symbols = [symbol for symbol in symbols if rows[exchange, symbol]["asset"] in selection.assets]
    return symbols


def _data_check(scenario: Scenario, newest: Newest) -> Callable[[str, str, Row, bool], str | None]:
    """A function that says what an instrument lacks, or None."""
    limits, as_of, times = scenario.snapshot.max_age, newest.as_of, newest.times
    ages: dict[str, float] = {
        "prices": limits.prices,
        "funding": limits.funding,
        "margin_tiers": limits.margin_tiers,
    }
    if scenario.objective.impact.model == "book":
        ages["books"] = limits.books

    def lacks(exchange: str, symbol: str, row: Row, tiered: bool) -> str | None:
        key = (exchange, symbol)
        listed = times["instruments"][key]
        if (reason := _too_old("instruments", listed, as_of, limits.instruments)) is not None:
            return reason
        dated = expiry_of(row) is not None
        for name, limit in ages.items():
            if (name == "margin_tiers" and not tiered) or (name == "funding" and dated):
                continue
            given = newest.from_tables.get(key) if name == "margin_tiers" else None
            if key not in times[name]:
                return f"no row in {name}" + _nor_in(given)
            # Tables of the package are always older than a month: their age is a notice, not a fault.
            if given is not None and given.tiers is not None:
                continue
            if (reason := _too_old(name, times[name][key], as_of, limit)) is not None:
                return reason
        reference = (INDEX, f"{row['asset']}/USD")
        if reference not in times["prices"]:
            return f"no reference price {reference[1]} of venue {INDEX!r} in prices"
        return _too_old(f"reference price {reference[1]}", times["prices"][reference], as_of, limits.prices)

    return lacks


def _nor_in(given: FromTable | None) -> str:
    if given is None:
        return ""
    if given.tiers is None:
        return f", nor in {given.label}"
    return f", and those of {given.label} are of {given.tiers:%Y-%m-%d}, after as_of"


def _ended(row: Row, as_of: datetime) -> str | None:
    """Since when a dated future is no more, or None."""
    expiry = expiry_of(row)
    return None if expiry is None or expiry > as_of else f"it expired at {expiry:%Y-%m-%dT%H:%MZ}"


def _too_short(row: Row, as_of: datetime, decision_hours: float) -> str | None:
    """Why a dated future cannot hedge until the next rebalance, or None."""
    expiry = expiry_of(row)
    if expiry is None or not as_of < expiry <= as_of + timedelta(hours=decision_hours):
        return None
    when = f"{expiry:%Y-%m-%dT%H:%MZ}"
    return f"it expires at {when}, within the decision horizon of {decision_hours:g} h, and hedges no longer"


def _too_old(what: str, time: datetime, as_of: datetime, limit_hours: float) -> str | None:
    age = (as_of - time).total_seconds() / 3600
    return f"{what} is {age:.1f} h old, the limit is {limit_hours:g} h" if age > limit_hours else None
