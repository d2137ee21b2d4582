"""Bad inputs by name: what to spoil, the exit code it must end with, and what must be said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from small_desk import AS_OF, SCENARIO


@dataclass(frozen=True)
class Bad:
    """One bad input: replacements in the scenario or in a table, options, and what must be said."""

    name: str
    code: int
    said: tuple[str, ...]
    scenario: tuple[tuple[str, str], ...] = ()
    table: str = ""
    rows: tuple[tuple[str, str], ...] | None = ()
    options: tuple[str, ...] = ()
    disturb: Callable[[Path], None] | None = None


def _line(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def _to_both(folder: Path) -> None:
    frame = pd.read_csv(folder / "tables" / "prices.csv")
    frame.to_parquet(folder / "tables" / "prices.parquet")


def _not_utf8(folder: Path) -> None:
    (folder / "tables" / "prices.csv").write_bytes(b"time,venue\xff\xfe")


def _no_parquet(folder: Path) -> None:
    (folder / "tables" / "prices.csv").rename(folder / "tables" / "prices.parquet")


def _scenario_is_folder(folder: Path) -> None:
    (folder / "small.yaml").unlink()
    (folder / "small.yaml").mkdir()


OKX_BTC = f"{AS_OF},okx,BTC/USDT:USDT"
OLD = "2026-11-10T00:00Z"
AT = {
    part: f"small.yaml:{_line(SCENARIO, part)}"
    for part in ("gross:", "holding:", "maker: 2bp", "folder:", "book:")
}

AVERSION = "objective.risk_aversion_per_usd"

BAD = (
    # usage
    Bad("unknown option", 2, ("--ouput", "hedge"), options=("--ouput", "x")),
    Bad("abbreviated option", 2, ("--snap",), options=("--snap", "x")),
    Bad("option without value", 2, ("--set", "expected"), options=("--set",)),
    # scenario
    Bad("broken yaml", 2, ("small.yaml:",), scenario=(("limits:", "limits: ["),)),
    Bad("scenario is a folder", 2, ("small.yaml",), disturb=_scenario_is_folder),
    Bad("tab", 2, ("small.yaml:",), scenario=(("    fees", "\tfees"),)),
    Bad(
        "unknown key",
        2,
        (AT["gross:"], "limits.gross.maxx", "`max`"),
        scenario=(("gross, max:", "gross, maxx:"),),
    ),
    Bad("duplicate key", 2, ("small.yaml:",), scenario=(("name: small", "name: small\nname: twice"),)),
    Bad("no unit", 2, (AT["holding:"], "holding"), scenario=(("holding: 14d", "holding: 14"),)),
    Bad(
        "wrong unit",
        2,
        (AT["maker: 2bp"], "maker"),
        scenario=(("{maker: 2bp, taker: 5bp}", "{maker: $2, taker: 5bp}"),),
    ),
    Bad(
        "holding below decision", 2, (AT["holding:"], "decision"), scenario=(("holding: 14d", "holding: 1h"),)
    ),
    Bad("unknown kind", 2, (AT["gross:"], "gros"), scenario=(("kind: gross", "kind: gros"),)),
    Bad(
        "unknown schema version",
        2,
        ("small.yaml:1", "schema_version"),
        scenario=(("schema_version: 1", "schema_version: 2"),),
    ),
    Bad(
        "python tag",
        2,
        ("small.yaml:2",),
        scenario=(("name: small", "name: !!python/object/apply:os.system [ls]"),),
    ),
    Bad(
        "venue unknown to a selection",
        2,
        ("`kraken`", "venues"),
        scenario=(("venue: okx, symbols", "venue: kraken, symbols"),),
    ),
    Bad(
        "symbol selected twice",
        2,
        ("BTC/USD:BTC", "already"),
        options=("--set", "instruments.again={venue: binance, symbols: [BTC/USD:BTC], leverage: 2x}"),
    ),
    Bad("infinite number", 2, ("risk_aversion",), options=("--set", "objective.risk_aversion_per_usd=.inf")),
    Bad("nan", 2, ("risk_aversion",), options=("--set", "objective.risk_aversion_per_usd=.nan")),
    Bad(
        "negative risk aversion",
        2,
        ("risk_aversion",),
        options=("--set", "objective.risk_aversion_per_usd=-1.0"),
    ),
    Bad("risk aversion of another unit", 2, ("at most 1",), options=("--set", f"{AVERSION}=1e300")),
    Bad(
        "stress beyond a hundredfold",
        2,
        ("stresses.crash.move", "hundredfold"),
        options=("--set", "stresses.crash.move=1e9%"),
    ),
    Bad("overlay of an unset variable", 2, ("--overlay", "name is empty"), options=("--overlay", "")),
    Bad("overlay left out of a list", 2, ("--overlay", "name is empty"), options=("--overlay", "calm,,calm")),
    Bad("snapshot of an unset variable", 2, ("--snapshot", "path is empty"), options=("--snapshot", "")),
    Bad("out of an unset variable", 2, ("--out", "path is empty"), options=("--out", "")),
    Bad("naive as_of", 2, ("as_of", "zone"), options=("--set", "as_of=2026-11-20T00:00:00")),
    Bad("unknown overlay", 2, ("--overlay", "`clam`", "calm"), options=("--overlay", "clam")),
    Bad("second overlay unknown", 2, ("--overlay", "`b`"), options=("--overlay", "calm", "--overlay", "b")),
    Bad("set without value", 2, ("--set",), options=("--set", "limits.gross.max")),
    Bad("set unknown key", 2, ("--set", "max"), options=("--set", "limits.gross.mx=$1")),
    Bad("set unknown limit", 2, ("--set", "gross"), options=("--set", "limits.gros.max=$1")),
    Bad("set wrong type", 2, ("--set", "max"), options=("--set", "limits.gross.max=lots")),
    Bad(
        "market order that rests",
        2,
        ("post_only",),
        options=("--set", "orders.type=market", "--set", "orders.post_only=true"),
    ),
    # snapshot
    Bad("no snapshot named", 4, ("instruments",), scenario=(("snapshot: {folder: tables}", "snapshot: {}"),)),
    Bad("snapshot folder missing", 4, ("nowhere", "folder"), options=("--snapshot", "nowhere")),
    Bad(
        "snapshot of the scenario missing",
        4,
        ("nowhere", "folder"),
        scenario=(("folder: tables", "folder: nowhere"),),
    ),
    Bad("missing table", 4, ("tables/", "`funding`"), table="funding", rows=None),
    Bad("csv and parquet", 4, ("prices.parquet", "prices.csv"), disturb=_to_both),
    Bad("not utf-8", 4, ("prices.csv", "UTF-8"), disturb=_not_utf8),
    Bad("not parquet", 4, ("prices.parquet",), disturb=_no_parquet),
    Bad(
        "missing column", 4, ("holdings.csv:1", "`coins`"), table="holdings", rows=((",coins,", ",amount,"),)
    ),
    Bad("ragged row", 4, ("holdings.csv:2", "cells"), table="holdings", rows=(("BTC,30,1,", "BTC,30,1,,,"),)),
    Bad(
        "text for a number",
        4,
        ("holdings.csv:2", "thirty"),
        table="holdings",
        rows=(("BTC,30,1,", "BTC,thirty,1,"),),
    ),
    Bad("nan in a table", 4, ("holdings.csv:2",), table="holdings", rows=(("BTC,30,1,", "BTC,nan,1,"),)),
    Bad("empty number", 4, ("holdings.csv:2",), table="holdings", rows=(("BTC,30,1,", "BTC,,1,"),)),
    Bad(
        "naive time",
        4,
        ("holdings.csv:2",),
        table="holdings",
        rows=((f"{AS_OF},treasury", "2026-11-20T00:00,treasury"),),
    ),
    Bad(
        "funding in percent",
        4,
        ("funding.csv:", "fraction"),
        table="funding",
        rows=((",0.0001,8", ",0.01,8"),),
    ),
    Bad(
        "duplicate row",
        4,
        ("collateral.csv:3", "second row"),
        table="collateral",
        rows=((f"{AS_OF},okx,main,USDT,900000,400000\n", f"{AS_OF},okx,main,USDT,900000,400000\n" * 2),),
    ),
    Bad(
        "crossed book",
        4,
        ("books.csv:2", "crossed"),
        table="books",
        rows=(("bid,1,100030.4", "bid,1,100030.7"),),
    ),
    Bad(
        "position in coins",
        4,
        ("positions.csv:2", "lot"),
        table="positions",
        rows=(("-1250.5,", "-12.503,"),),
    ),
    Bad(
        "anticipated in the past",
        4,
        ("holdings.csv:4", "before"),
        table="holdings",
        rows=(("2026-11-21T00:00Z", "2026-11-19T00:00Z"),),
    ),
    Bad(
        "tick above the price",
        4,
        ("instruments", "tick"),
        table="instruments",
        rows=(("0.1,0.01,0.01,0.01,0,1,8,0.00375,0.00001", "0.1,0.01,5000,0.01,0,1,8,0.00375,0.00001"),),
    ),
    # snapshot against scenario
    Bad(
        "stale price",
        4,
        ("small.yaml:", "okx BTC/USDT:USDT", "prices is 240.0 h old", "on_missing"),
        table="prices",
        rows=((OKX_BTC, f"{OLD},okx,BTC/USDT:USDT"),),
    ),
    Bad(
        "stale reference price",
        4,
        ("BTC/USD",),
        table="prices",
        rows=((f"{AS_OF},index,BTC/USD", f"{OLD},index,BTC/USD"),),
    ),
    Bad(
        "stale quote currency",
        4,
        ("USDT/USD",),
        table="prices",
        rows=((f"{AS_OF},index,USDT/USD", f"{OLD},index,USDT/USD"),),
    ),
    Bad(
        "stale tiers",
        4,
        ("small.yaml:", "margin_tiers"),
        table="margin_tiers",
        rows=((f"{OKX_BTC},", "2026-09-10T00:00Z,okx,BTC/USDT:USDT,"),),
    ),
    Bad(
        "stale funding",
        4,
        ("small.yaml:", "funding"),
        table="funding",
        rows=(
            (f"{AS_OF},okx,BTC/USDT:USDT,{AS_OF},0.0001,8\n", ""),
            ("2026-11-19T16:00Z,okx,BTC/USDT:USDT,2026-11-19T16:00Z,0.0001,8\n", ""),
        ),
    ),
    Bad(
        "stale positions",
        4,
        ("positions", "48.0 h old"),
        table="positions",
        rows=((f"{AS_OF},okx", "2026-11-18T00:00Z,okx"),),
    ),
    Bad(
        "as_of before the book",
        4,
        ("holdings", "later than as_of"),
        options=("--set", "as_of=2026-11-19T23:00:00Z"),
    ),
    Bad("as_of long after", 4, ("holdings",), options=("--set", "as_of=2026-12-20T00:00:00Z")),
    Bad(
        "instrument missing",
        4,
        ("small.yaml:", "BTC/EUR:BTC"),
        scenario=(("[BTC/USD:BTC]", "[BTC/USD:BTC, BTC/EUR:BTC]"),),
    ),
    Bad(
        "position outside the scenario",
        4,
        ("positions", "okx main ETH/USDT:USDT"),
        scenario=(("okx, symbols: all", "okx, symbols: [BTC/USDT:USDT]"),),
        table="positions",
        rows=((f"{AS_OF},okx", f"{AS_OF},okx,main,ETH/USDT:USDT,-1,4000,0,0\n{AS_OF},okx"),),
    ),
    Bad("account unknown", 4, ("collateral", "spare"), table="collateral", rows=(("okx,main", "okx,spare"),)),
    Bad(
        "currency without haircut",
        4,
        ("haircuts", "USDC"),
        table="collateral",
        rows=(("hyperliquid,main,USDC", f"okx,main,USDC,1000,0\n{AS_OF},hyperliquid,main,USDC"),),
    ),
    Bad(
        "collateral without price",
        4,
        ("collateral.csv:2", "EUR"),
        table="collateral",
        rows=(("okx,main,USDT", "okx,main,EUR"),),
    ),
    Bad(
        "holding without price",
        4,
        ("prices", "SOL/USD"),
        table="holdings",
        rows=(("spot,BTC", "spot,SOL"),),
        options=("--set", "forecasts.assets.daily_volatility.SOL=4%"),
    ),
    Bad(
        "leverage above brackets",
        4,
        ("--set", "leverage", "at most 100"),
        options=("--set", "instruments.dex.leverage=200x"),
    ),
    Bad(
        "volatility missing an asset",
        4,
        ("daily_volatility", "ETH"),
        scenario=(("BTC: 2.5%, ETH: 3.5%", "BTC: 2.5%"),),
    ),
    Bad(
        "no volatility of a quote",
        4,
        ("USDC", "daily_volatility"),
        scenario=(("{USDT: 5bp, USDC: 4bp}", "{USDT: 5bp}"),),
    ),
    Bad("history too short", 4, ("prices", "returns"), options=("--set", "forecasts.assets.method=ewma")),
    Bad("basis too short", 4, ("prices", "basis"), options=("--set", "forecasts.basis.method=estimated")),
    Bad(
        "funding window too short",
        4,
        ("funding", "window"),
        options=("--set", "forecasts.funding.window=1h"),
        table="funding",
        rows=((f"{AS_OF},okx,BTC/USDT:USDT,{AS_OF},0.0001,8\n", ""),),
    ),
    Bad(
        "cross hedge of nothing",
        4,
        ("book.cross_hedges.PEPE",),
        options=("--set", "book.cross_hedges.PEPE={BTC: 1.5}"),
    ),
    Bad(
        "no instrument left",
        4,
        ("no instrument",),
        scenario=(
            ("okx, symbols: all,", "okx, symbols: all, assets: [SOL],"),
            ("[BTC/USD:BTC]", "[]"),
            ("[BTC/USDC:USDC, ETH/USDC:USDC]", "[]"),
        ),
    ),
    Bad(
        "book of another unit",
        4,
        (AT["book:"], "book.size is $5e+12", "add up to $8.19e+06"),
        scenario=(("size: $5m", "size: $5000000m"),),
    ),
    Bad(
        "book in millions",
        4,
        (AT["book:"], "book.size is $5,", "write their order of size in USD"),
        scenario=(("size: $5m", "size: $5"),),
    ),
    # output
    Bad("out is a file", 2, ("--out", "small.yaml"), options=("--out", "{folder}/small.yaml")),
    Bad("out below a file", 2, ("--out", "small.yaml"), options=("--out", "{folder}/small.yaml/runs")),
    Bad("out cannot be written", 2, ("--out",), options=("--out", "/proc/nothing")),
)
