"""One venue table: its file's values, the lines they stand on, and what they say of an instrument."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cached_property

import numpy as np

from allocator.scenario.messages import source_at
from allocator.scenario.source import Node, Origin
from allocator.snapshot.symbols import SYMBOL, is_dated
from allocator.venues.schema import ContractTerms, Group, Tier, TierSchedule, VenueFile
from models.arrays import Vector
from models.margin import Brackets, bracket_deductions

Cell = str | int | float
_BUNDLE = re.compile(r"(?:10{2,}|1M|k)(?P<asset>[A-Z]\w*)")
_COLUMNS = tuple(name for name in ContractTerms.model_fields if name not in Group.model_fields)
_DECIMALS = ("contract_size", "lot_contracts", "tick", "min_contracts", "min_notional_usd")


@dataclass(frozen=True)
class Terms:
    """Cells of the `instruments` table that a venue table gives for one symbol.

    `stated` are those that the table states or the symbol implies; what the venue's funding rule implies may
    differ from symbol to symbol and is not among them.
    """

    cells: Mapping[str, Cell]
    stated: frozenset[str]
    unverified: frozenset[str]


@dataclass(frozen=True)
class VenueTable:
    """A validated venue table. `label` is what its lines are called by: ``venues/binance.yaml``."""

    label: str
    file: VenueFile
    tree: Node

    @property
    def time(self) -> datetime:
        """The start of the day for which the table holds, UTC."""
        return _midnight(self.file.as_of)

    def at(self, *path: str | int) -> Origin:
        """File and line of a value."""
        return source_at(self.tree, path, Origin(self.label, 1))

    def unverified(self, group: Group, stated: frozenset[str]) -> frozenset[str]:
        """Cells of a group that are from memory only: those it lists, or all where its source is memory."""
        if self.file.sources[group.source].tag == "memory":
            return stated
        return frozenset(group.unverified)

    @cached_property
    def schedules(self) -> Mapping[str, str]:
        """Name of the tier schedule of each symbol."""
        return {symbol: name for name, one in self.file.margin_tiers.items() for symbol in one.symbols}

    def schedule(self, symbol: str) -> TierSchedule | None:
        """The margin tiers of a symbol, or None."""
        name = self.schedules.get(symbol)
        return None if name is None else self.file.margin_tiers[name]

    def schedule_time(self, symbol: str) -> datetime:
        """The date of a symbol's tiers, UTC."""
        one = self.schedule(symbol)
        return self.time if one is None or one.as_of is None else _midnight(one.as_of)

    def mentions(self, symbol: str) -> bool:
        """Whether the table has an entry of this symbol."""
        return symbol in self.file.instruments or symbol in self.schedules

    def terms(self, symbol: str) -> Terms:
        """All that the table says of a symbol, as cells of the `instruments` table."""
        entry = self.file.instruments.get(symbol)
        cells: dict[str, Cell] = {**_implied(symbol, entry)}
        if entry is not None:
            written = {name: v for name in _COLUMNS if (v := getattr(entry, name)) is not None}
            cells |= {name: _decimal(v) if name in _DECIMALS else v for name, v in written.items()}
            own = frozenset(written)
            unverified = self.unverified(entry, own)
        else:
            unverified = frozenset()
        stated = frozenset(cells)
        funding, doubtful = self._funding(symbol)
        later = {name: cell for name, cell in funding.items() if name not in cells}
        return Terms({**cells, **later}, stated, unverified | (doubtful & frozenset(later)))

    def _funding(self, symbol: str) -> tuple[dict[str, Cell], frozenset[str]]:
        if is_dated(symbol):
            return {"funding_interval_hours": 0, "funding_cap": 0}, frozenset()
        rule = self.file.funding
        if rule is None:
            return {}, frozenset()
        cells: dict[str, Cell] = {"funding_interval_hours": int(rule.interval)}
        cap = self.funding_cap(symbol)
        if cap is not None:
            cells["funding_cap"] = cap
        names = {"interval": "funding_interval_hours", "cap": "funding_cap", "cap_rule": "funding_cap"}
        doubtful = self.unverified(rule, frozenset(names))
        return cells, frozenset(names[name] for name in doubtful)

    def funding_cap(self, symbol: str) -> float | None:
        """Largest |funding rate| of one settlement by the venue's rule, as a fraction; None where unknown."""
        rule = self.file.funding
        if rule is None:
            return None
        if rule.cap is not None:
            return _rounded(rule.cap * rule.interval)
        schedule = self.schedule(symbol)
        if rule.cap_rule is None or schedule is None:
            return None
        first = schedule.tiers[0]
        margin = first.rate if rule.cap_rule.of == "maintenance" else 1 / first.max_leverage - first.rate
        return _rounded(rule.cap_rule.multiple * margin * rule.interval / rule.cap_rule.per)


def _implied(symbol: str, entry: ContractTerms | None) -> dict[str, Cell]:
    """What a ccxt unified symbol says by itself: `BTC/USD:BTC` is inverse, on BTC, in USD, settled in BTC.

    A base such as 1000PEPE or kPEPE may be a thousand coins: without `coins_per_unit` nothing is concluded.
    """
    match = SYMBOL.fullmatch(symbol)
    if match is None:
        return {}
    cells: dict[str, Cell] = {
        "index_currency": match["quote"],
        "settlement_currency": match["settle"],
        "kind": "inverse" if match["settle"] == match["base"] else "linear",
    }
    bundle = _BUNDLE.fullmatch(match["base"])
    units = None if entry is None else entry.coins_per_unit
    if bundle is None or units == 1:
        cells |= {"asset": match["base"], "coins_per_unit": 1}
    elif units is not None:
        cells |= {"asset": bundle["asset"], "coins_per_unit": units}
    return cells


def is_bundle(symbol: str) -> bool:
    """Whether a symbol's base looks like a thousand or a million coins."""
    return _BUNDLE.fullmatch(symbol.partition("/")[0]) is not None


def tier_sizes(tiers: list[Tier]) -> tuple[str, Vector]:
    """Unit (`usd`, `contracts` or `coins`) and caps (K,) of tiers, inf for none. Raises ValueError."""
    units = {"usd": "cap", "contracts": "cap_contracts", "coins": "cap_coins"}
    used = {unit for tier in tiers for unit, key in units.items() if getattr(tier, key) is not None}
    if len(used) > 1 or any(sum(getattr(t, key) is not None for key in units.values()) > 1 for t in tiers):
        raise ValueError("caps are in several units; write all as `cap`, `cap_contracts` or `cap_coins`")
    unit = used.pop() if used else "usd"
    caps = [getattr(tier, units[unit]) for tier in tiers]
    if any(cap is None for cap in caps[:-1]):
        raise ValueError("only the last tier may be without a cap")
    return unit, np.array([np.inf if cap is None else cap for cap in caps], dtype=np.float64)


def tier_brackets(tiers: list[Tier], usd_per_unit: float = 1.0) -> Brackets:
    """The tiers as brackets in USD, at so many USD per contract or coin where caps are in those."""
    _, sizes = tier_sizes(tiers)
    caps = sizes * usd_per_unit
    floors = np.concatenate([[0.0], caps[:-1]])
    rates = np.array([tier.rate for tier in tiers])
    # To the millionth of a dollar, as venues publish cents: the noise of binary fractions would be printed.
    deductions = np.round(bracket_deductions(floors, rates), 6)
    return Brackets(floors, caps, rates, deductions, np.array([tier.max_leverage for tier in tiers]))


def _decimal(value: float) -> str:
    return f"{Decimal(repr(value)).normalize():f}"


def _rounded(value: float) -> float:
    """Fifteen digits: 3 %/8 h times 8 h is 3 % again."""
    return float(f"{value:.15g}")


def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), UTC)
