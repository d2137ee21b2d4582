"""What a snapshot is: its tables, their columns, units and keys, declared once.

Reading, checking and the reference page all follow this declaration. A table is one ``.csv`` or one
``.parquet`` file named after it; times are ISO-8601 with ``Z`` or an offset; numbers are finite.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

CellType = Literal["time", "text", "number", "decimal", "integer"]


@dataclass(frozen=True)
class Column:
    """One column. ``blank``: an empty cell means "does not apply". ``optional``: it may be left out."""

    name: str
    type: CellType
    unit: str
    description: str
    choices: tuple[str, ...] = ()
    blank: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Table:
    """One table. No two rows share the same values of the ``key`` columns."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in declared order."""
        return tuple(column.name for column in self.columns)


def _time(what: str) -> Column:
    return Column("time", "time", "UTC", what)


_VENUE = Column("venue", "text", "", "Exchange, in lower case.")
_SYMBOL = Column(
    "symbol",
    "text",
    "",
    "ccxt unified symbol: `BTC/USDT:USDT` linear, `BTC/USD:BTC` inverse; a dated future ends in its day of "
    "expiry, `BTC/USDT:USDT-261225`.",
)
_ACCOUNT = Column("account", "text", "", "Margin account at the venue.")

_INSTRUMENTS = Table(
    "instruments",
    "Contract terms, one row per perpetual or dated future.",
    (
        _time("When the terms were read."),
        _VENUE,
        _SYMBOL,
        Column("venue_symbol", "text", "", "The venue's own name of the contract."),
        Column("kind", "text", "", "Payoff.", choices=("linear", "inverse")),
        Column("asset", "text", "", "The coin whose price the contract follows."),
        Column("index_currency", "text", "", "Currency of the index and the price."),
        Column("settlement_currency", "text", "", "Currency of margin, P&L and funding."),
        Column(
            "contract_size",
            "decimal",
            "base units (linear) or quote currency (inverse) per contract",
            "OKX BTC-USDT-SWAP: 0.01; a coin-margined BTC contract: 100.",
        ),
        Column("lot_contracts", "decimal", "contracts", "Sizes are multiples of it."),
        Column("tick", "decimal", "quote currency", "Prices are multiples of it."),
        Column("min_contracts", "decimal", "contracts", "Least order size."),
        Column("min_notional_usd", "decimal", "USD", "Least order value; 0 if none."),
        Column("coins_per_unit", "integer", "coins", "1, or 1000 for 1000PEPE and kPEPE."),
        Column("funding_interval_hours", "integer", "hours", "1, 2, 4 or 8; 0 for a dated future."),
        Column(
            "funding_cap",
            "number",
            "fraction per interval",
            "Largest |funding rate| of one settlement; 0 for a dated future.",
        ),
        Column("half_spread", "number", "fraction", "Half the usual bid-ask spread over the mid price."),
        Column("adv_usd", "number", "USD per day", "Average daily volume."),
        Column(
            "expiry",
            "time",
            "UTC",
            "When a dated future settles at its index, on the day in its symbol; empty for a perpetual.",
            blank=True,
            optional=True,
        ),
        Column(
            "open_interest_usd",
            "number",
            "USD",
            "All open positions at the venue, for a pre-trade check.",
            blank=True,
            optional=True,
        ),
        Column(
            "status",
            "text",
            "",
            "What the venue lets one do now, for a pre-trade check.",
            choices=("trading", "reduce_only", "halted"),
            blank=True,
            optional=True,
        ),
    ),
    ("venue", "symbol"),
)

_PRICES = Table(
    "prices",
    "Marks of the perpetuals and dated futures and, as venue `index`, reference prices in USD of coins and "
    "currencies (`BTC/USD`, `USDT/USD`). History and newest value together.",
    (
        _time("When the price was known: the close of a candle, not its open."),
        Column("venue", "text", "", "Exchange, or `index`."),
        Column("symbol", "text", "", "ccxt unified symbol; of the venue `index`: `BTC/USD`."),
        Column("price", "number", "quote currency per unit", "Of 1000 coins where `coins_per_unit` is 1000."),
        *(
            Column(
                f"{word}_usd",
                "number",
                "USD per unit",
                f"The {word}est mark since the row before: a backtest checks margin there.",
                blank=True,
                optional=True,
            )
            for word in ("high", "low")
        ),
    ),
    ("time", "venue", "symbol"),
)

_FUNDING = Table(
    "funding",
    "Funding rates, positive when longs pay shorts. `settlement_time` after `time` marks the venue's "
    "indication of the coming settlement, otherwise the rate is settled. A dated future pays none.",
    (
        _time("When the rate was known."),
        _VENUE,
        _SYMBOL,
        Column("settlement_time", "time", "UTC", "When it is paid, on the hour."),
        Column("rate", "number", "fraction per interval", "0.0001 is 1 bp. A missing rate is a missing row."),
        Column("interval_hours", "integer", "hours", "Interval that ends at this settlement: 1, 2, 4 or 8."),
    ),
    ("time", "venue", "symbol", "settlement_time"),
)

_BOOKS = Table(
    "books",
    "Displayed order books; the newest `time` of an instrument is its book.",
    (
        _time("When the book was read."),
        _VENUE,
        _SYMBOL,
        Column("side", "text", "", "Side of the book.", choices=("bid", "ask")),
        Column("level", "integer", "", "1 is the best price, then 2, 3, …"),
        Column("price", "number", "quote currency", "Price of the level."),
        Column("size_contracts", "number", "contracts", "Contracts at this price."),
    ),
    ("time", "venue", "symbol", "side", "level"),
)

_MARGIN_TIERS = Table(
    "margin_tiers",
    "Maintenance margin tiers: margin of notional n in a tier is rate · n − deduction. Where a rate counts "
    "for the whole position (`venues.<name>.margin.tiers: whole_position`), `deduction_usd` is empty.",
    (
        _time("Date of the table."),
        _VENUE,
        _SYMBOL,
        Column("tier", "integer", "", "1, 2, 3, … with growing notional."),
        Column(
            "floor_usd", "number", "USD", "Notional above which the tier applies; 0 for tier 1.", blank=True
        ),
        Column(
            "cap_usd",
            "number",
            "USD",
            "Notional up to which it applies; the last is the largest position.",
            blank=True,
        ),
        Column("maintenance_margin_rate", "number", "fraction of notional", "Rate of the tier."),
        Column(
            "deduction_usd",
            "number",
            "USD",
            "Σ floor · (rate − previous rate): keeps margin continuous. Empty: there is none.",
            blank=True,
        ),
        Column("max_leverage", "number", "multiple", "Largest leverage setting allowed in the tier."),
        Column(
            "cap_contracts",
            "number",
            "contracts",
            "Instead of `floor_usd` and `cap_usd`, for tiers on the whole position.",
            blank=True,
            optional=True,
        ),
    ),
    ("time", "venue", "symbol", "tier"),
)

_HOLDINGS = Table(
    "holdings",
    "What is hedged, apart from collateral on venues. One row each; no history.",
    (
        _time("When the quantity was true."),
        Column("name", "text", "", "Name of the holding, unique."),
        Column(
            "kind",
            "text",
            "",
            "How it is held: `staked` and `locked` coins are exposure that cannot move; coins `in_transit` "
            "to a margin account are collateral there only if they arrive before the orders go out; "
            "`anticipated` is a coming trade at a price already agreed: exposure from now on.",
            choices=("spot", "staked", "locked", "in_transit", "anticipated"),
        ),
        Column("asset", "text", "", "Coin."),
        Column("coins", "number", "coins", "Positive is owned or to be bought, negative owed or to be sold."),
        Column(
            "confidence",
            "number",
            "fraction",
            "Probability of an anticipated trade, which weights it; 1 otherwise.",
        ),
        Column(
            "expected_time",
            "time",
            "UTC",
            "When the anticipated trade happens, or what is in transit arrives; empty otherwise.",
            blank=True,
            optional=True,
        ),
        Column(
            "locked_until",
            "time",
            "UTC",
            "When locked coins may move, staked ones too where it is known; empty otherwise.",
            blank=True,
            optional=True,
        ),
        Column("to_venue", "text", "", "Exchange that coins in transit go to.", blank=True, optional=True),
        Column(
            "to_account",
            "text",
            "",
            "Margin account there that they go to.",
            blank=True,
            optional=True,
        ),
    ),
    ("name",),
)

_POSITIONS = Table(
    "positions",
    "Open positions and resting orders. One row each; no history.",
    (
        _time("When the position was true."),
        _VENUE,
        _ACCOUNT,
        _SYMBOL,
        Column("contracts", "number", "contracts", "Positive is long. Contracts, not coins."),
        Column("entry_price", "number", "quote currency", "Average entry price; 0 without a position."),
        Column("open_buy_contracts", "number", "contracts", "Resting buy orders, >= 0."),
        Column("open_sell_contracts", "number", "contracts", "Resting sell orders, >= 0."),
        Column(
            "last_target_contracts",
            "number",
            "contracts",
            "What the last run aimed at, for a pre-trade check.",
            blank=True,
            optional=True,
        ),
        Column(
            "largest_trade_20d_contracts",
            "number",
            "contracts",
            "Largest trade of one day in the last 20 days, >= 0, for a pre-trade check.",
            blank=True,
            optional=True,
        ),
    ),
    ("venue", "account", "symbol"),
)

_COLLATERAL = Table(
    "collateral",
    "Balances of margin accounts, without unrealised P&L. One row each; no history.",
    (
        _time("When the balance was true."),
        _VENUE,
        _ACCOUNT,
        Column("currency", "text", "", "Coin or stablecoin."),
        Column("coins", "number", "coins of the currency", "A negative balance is a loan."),
        Column("withdrawable_coins", "number", "coins of the currency", "At most the balance; 0 for a loan."),
    ),
    ("venue", "account", "currency"),
)

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        _INSTRUMENTS,
        _PRICES,
        _FUNDING,
        _BOOKS,
        _MARGIN_TIERS,
        _HOLDINGS,
        _POSITIONS,
        _COLLATERAL,
    )
}


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """``; did you mean `x`?`` with the option nearest to ``word``, or an empty text."""
    by_fold = {option.casefold(): option for option in options}
    near = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    return f"; did you mean `{by_fold[near[0]]}`?" if near else ""


def reference_markdown() -> str:
    """Return the reference page of every table and column, generated from the declaration."""
    lines = [
        "# Snapshot tables",
        "",
        "A snapshot folder holds each table as one `.csv` or one `.parquet` file (never both). All columns "
        "are required unless marked optional; an unknown column is an error. Times are ISO-8601 with `Z` "
        "or an offset. Numbers are finite; an empty number is an error, never 0.",
    ]
    for table in TABLES.values():
        key = ", ".join(f"`{name}`" for name in table.key)
        lines += ["", f"## {table.name}", "", table.description, "", f"Unique by {key}.", ""]
        lines += ["| column | type | unit | meaning |", "|---|---|---|---|"]
        lines += [_reference_row(column) for column in table.columns]
    return "\n".join(lines) + "\n"


def _reference_row(column: Column) -> str:
    kind = " or ".join(f"`{choice}`" for choice in column.choices) or column.type
    notes = [
        note for note, on in (("optional column", column.optional), ("may be empty", column.blank)) if on
    ]
    meaning = column.description + (f" ({', '.join(notes)})" if notes else "")
    return f"| `{column.name}` | {kind} | {column.unit.replace('|', '∣')} | {meaning.replace('|', '∣')} |"
