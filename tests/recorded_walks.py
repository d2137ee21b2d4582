"""Backtest folders from recorded markets: prices and funding over months, terms as they stood at the start.

Like `recorded`, from the folder that HEDGE_MARKET_DATA names; nothing of it is copied into the repository.

- `ten_coins`: Binance, OKX and Hyperliquid perps of ten coins, hourly, late 2024 to 2025-04-14;
- `two_coins`: Binance and Bybit perps of BTC and ETH, 8-hourly closes, 2023-01 to 2024-06;
- `stressed`: Binance perps of six coins, hourly closes, 2019-12 to 2023-12.

These are closes: margin is checked on closes. Standing in for what was not recorded: USDT and USDC at 1 USD,
contract units and half-spreads of 2025, one rate of trading cost for every venue, Bybit's tiers of a like
contract, and before 2022-04 Binance's tiers of then. A perp without full funding is left out: missing is not
zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recorded import (
    _FUNDING_CAPS,
    _HYPERLIQUID_LAST_CAP,
    _HYPERLIQUID_TIERS,
    _OKX_SHARE,
    _OKX_TIERS,
    _UNITS,
    _index_rows,
    _utc,
    bracket_rows,
    market_data,
    whole_position_majorant,
)
from ruamel.yaml import YAML

from allocator.snapshot.columns import TABLES

EIGHT = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "LTC", "TRX")  # with Binance spot
TEN = (*EIGHT, "BNB", "TON")
QUOTES = {"binance": "USDT", "okx": "USDT", "hyperliquid": "USDC", "bybit": "USDT"}
INTERVALS = {"binance": 8, "okx": 8, "hyperliquid": 1, "bybit": 8}
# Of OKX these two have funding for a part of early 2025 only.
UNPAID = frozenset({("okx", "BTC"), ("okx", "LTC")})
ALL_IN = "6bp"

# Size, lot, tick and least notional of contracts that `recorded` does not list.
_MORE_UNITS = {
    ("binance", "TRX"): "1 1 0.00001 5", ("binance", "TON"): "1 0.1 0.0001 5",
    ("binance", "BCH"): "1 0.001 0.01 20",
    ("okx", "TRX"): "1000 0.1 0.00001 0", ("okx", "TON"): "1 1 0.0001 0",
    ("hyperliquid", "TRX"): "1 1 0.00001 10", ("hyperliquid", "TON"): "1 0.1 0.0001 10",
    ("bybit", "BTC"): "1 0.001 0.1 5", ("bybit", "ETH"): "1 0.01 0.01 5",
}  # fmt: skip
_MORE_CAPS = {"bybit": (0.00375, 0.015)}
_WIDE_CAP = 0.03  # Binance's BTC cap of 2020 to 2022: funding prints of ±30 bp are its bounds


@dataclass(frozen=True)
class Panel:
    """Recorded history in order of time: `perps` (time, venue, symbol, coin, price, volume_usd), `spot`
    (time, coin, price), and `funding` as the snapshot table has it.
    """

    name: str
    perps: pd.DataFrame
    spot: pd.DataFrame
    funding: pd.DataFrame

    @property
    def venues(self) -> list[str]:
        """In order of first appearance by name, Binance first."""
        return sorted(self.perps["venue"].unique())

    def price(self, coin: str, at: pd.Timestamp) -> float:
        """Reference price in USD: spot, or the median of the perps."""
        index = _index_rows(self.spot, self.perps)
        mine = index[(index["symbol"] == f"{coin}/USD") & (index["time"] <= at)]
        return float(mine["price"].iloc[-1])


def _symbols(coin: pd.Series, venue: pd.Series) -> pd.Series:
    quote = venue.map(QUOTES)
    return coin + "/" + quote + ":" + quote


@cache
def ten_coins(end: str = "2025-04-14") -> Panel:
    """Hourly closes of ten coins on three venues from 2024-10, known an hour after their candle opened."""
    venues, last = ("binance", "okx", "hyperliquid"), pd.Timestamp(end, tz="UTC")
    candles = pd.read_parquet(
        market_data() / "prices_1h_2024-09_2025-05.parquet",
        filters=[("coin", "in", TEN), ("venue", "in", venues)],
    ).astype(dict.fromkeys(("venue", "coin", "instrument", "quote"), "object"))
    candles["time"] = _utc(candles["open_ts"]) + pd.Timedelta(hours=1)
    candles = candles[candles["time"] <= last].rename(columns={"close": "price"}).sort_values("time")
    candles["volume_usd"] = candles["volume"] * candles["price"]
    perps = candles[(candles["instrument"] == "perp") & (candles["quote"] == candles["venue"].map(QUOTES))]
    spot = candles[(candles["instrument"] == "spot") & (candles["venue"] == "binance")]
    rates = pd.read_parquet(
        market_data() / "funding_2024-01_2025-05.parquet",
        filters=[("coin", "in", TEN), ("venue", "in", venues)],
    ).astype({"venue": "object", "coin": "object", "quote": "object"})
    rates = rates[rates["quote"] == rates["venue"].map(QUOTES)]
    rates = rates.assign(time=_utc(rates["ts"]).dt.round("min"))
    return _panel("ten_coins", perps, spot, rates[rates["time"] <= last])


@cache
def two_coins() -> Panel:
    """8-hourly closes of BTC and ETH on Binance and Bybit, 2023-01 to 2024-06."""
    candles = pd.read_parquet(market_data() / "prices_8h_2023-01_2024-06.parquet")
    candles = candles.astype(dict.fromkeys(("venue", "coin", "instrument"), "object"))
    candles = candles.assign(time=_utc(candles["close_ts"]), price=candles["close"])
    candles["volume_usd"] = candles["volume"] * candles["price"] / 8
    mine = candles["venue"].isin(("binance", "bybit"))
    rates = pd.read_parquet(market_data() / "funding_8h_2023-01_2024-06.parquet")
    rates = rates.astype(dict.fromkeys(("venue", "coin", "instrument"), "object"))
    paid = rates[(rates["instrument"] == "perp_usdtm") & rates["venue"].isin(("binance", "bybit"))]
    return _panel(
        "two_coins",
        candles[mine & (candles["instrument"] == "perp_usdtm")],
        candles[(candles["venue"] == "binance") & (candles["instrument"] == "spot")],
        paid.assign(time=_utc(paid["funding_ts"])),
    )


@cache
def stressed(start: str, end: str, coins: Sequence[str]) -> Panel:
    """Hourly closes of Binance perps and spot between two days of 2019-12 to 2023-12."""
    first, last = (pd.Timestamp(day, tz="UTC") for day in (start, end))
    candles = pd.read_parquet(
        market_data() / "stress_binance_close_1h_2019-12_2023-12.parquet", filters=[("coin", "in", coins)]
    ).astype({"coin": "object", "instrument": "object"})
    candles = candles.assign(time=_utc(candles["open_ts"]) + pd.Timedelta(hours=1), venue="binance")
    candles = candles[candles["time"].between(first, last)].rename(columns={"close": "price"})
    candles["volume_usd"] = candles["volume"] * candles["price"]
    rates = pd.read_parquet(
        market_data() / "stress_binance_funding_2019-09_2023-12.parquet", filters=[("coin", "in", coins)]
    ).astype({"venue": "object", "coin": "object"})
    rates = rates.assign(time=_utc(rates["ts"]).dt.round("min"))
    return _panel(
        "stressed",
        candles[candles["instrument"] == "perp"],
        candles[candles["instrument"] == "spot"],
        rates[rates["time"].between(first, last)],
    )


def _panel(name: str, perps: pd.DataFrame, spot: pd.DataFrame, rates: pd.DataFrame) -> Panel:
    perps, spot, rates = (f.sort_values(["time", "coin"], ignore_index=True) for f in (perps, spot, rates))
    kept, paid = (
        pd.Series([pair not in UNPAID for pair in zip(f["venue"], f["coin"], strict=True)], index=f.index)
        for f in (perps, rates)
    )
    perps, rates = perps[kept], rates[paid]
    funding = pd.DataFrame(
        {
            "time": rates["time"],
            "venue": rates["venue"],
            "symbol": _symbols(rates["coin"], rates["venue"]),
            "settlement_time": rates["time"],
            "rate": rates["funding_rate"],
            # A recorded interval over a gap is no interval; where settlements come more often it is one.
            "interval_hours": _intervals(rates),
        }
    ).drop_duplicates(["time", "venue", "symbol"])
    perps = perps.assign(symbol=_symbols(perps["coin"], perps["venue"]))
    columns = ["time", "venue", "symbol", "coin", "price", "volume_usd"]
    return Panel(name, perps[columns], spot[["time", "coin", "price"]], funding)


def _intervals(rates: pd.DataFrame) -> pd.Series:
    """The venue's usual interval, or a shorter one where settlements are that near each other."""
    usual = rates["venue"].map(INTERVALS)
    since = rates.groupby(["venue", "coin"])["time"].diff().dt.total_seconds() / 3600
    shorter = since.isin((1.0, 2.0, 4.0)) & (since < usual)
    return usual.where(~shorter, since).astype(int)


def write_walk(
    folder: Path,
    panel: Panel,
    start: pd.Timestamp,
    book_usd: Mapping[str, float],
    collateral_usd: Mapping[str, float],
) -> Path:
    """Write a panel as snapshot tables; the book is so many USD of each coin at `start`, then so many coins.

    Contract terms and tiers bear the first time of the history, volumes are those up to `start`.
    """
    first = panel.perps["time"].min()
    before = panel.perps[panel.perps["time"].between(start - pd.Timedelta(days=30), start)]
    listed = before.drop_duplicates(["venue", "coin"])
    tables = {
        "instruments": _instruments(listed, before, first),
        "prices": pd.concat(
            [panel.perps[["time", "venue", "symbol", "price"]], _index_rows(panel.spot, panel.perps)]
        ),
        "funding": panel.funding,
        "margin_tiers": _margin_tiers(listed, start, first, panel.price("BTC", start)),
        "holdings": _holdings(panel, start, first, book_usd),
        "collateral": _collateral(first, collateral_usd),
        "positions": pd.DataFrame(columns=[c.name for c in TABLES["positions"].columns if not c.optional]),
    }
    for name in ("prices", "funding"):
        keys = tables[name]["venue"] + tables[name]["symbol"]
        mine = set(listed["venue"] + listed["symbol"])
        tables[name] = tables[name][keys.isin(mine) | (tables[name]["venue"] == "index")]
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in tables.items():
        if name in ("prices", "funding"):
            frame.to_parquet(folder / f"{name}.parquet", index=False)
        else:
            frame.to_csv(folder / f"{name}.csv", index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    return folder


def _instruments(listed: pd.DataFrame, before: pd.DataFrame, first: pd.Timestamp) -> pd.DataFrame:
    hourly = before.groupby(["venue", "coin"])["volume_usd"].mean()
    caps, rows = _FUNDING_CAPS | _MORE_CAPS, []
    for venue, coin, symbol in zip(listed["venue"], listed["coin"], listed["symbol"], strict=True):
        units = _MORE_UNITS.get((venue, coin)) or _UNITS[venue][coin]
        size, lot, tick, notional = units.split()
        quote, cap = QUOTES[venue], max(caps[venue][coin not in ("BTC", "ETH")], _WIDE_CAP)
        name = symbol.replace("/", "").partition(":")[0]
        cells = (first, venue, symbol, name, "linear", coin, quote, quote, size, lot, tick, lot, notional)
        # Spread is in the all-in fee.
        rows.append((*cells, 1, INTERVALS[venue], cap, 0.0, hourly[venue, coin] * 24))
    declared = TABLES["instruments"].columns
    return pd.DataFrame(rows, columns=[column.name for column in declared if not column.optional])


def _margin_tiers(
    listed: pd.DataFrame, start: pd.Timestamp, first: pd.Timestamp, btc_usd: float
) -> pd.DataFrame:
    folder, parts = market_data(), []
    binance = pd.read_parquet(folder / "margin_tiers_binance_2022_2026-05.parquet").astype(
        {"vintage": str, "symbol": str}
    )
    vintages = sorted(binance["vintage"].unique())
    then = [name for name in vintages if pd.Timestamp(name, tz="UTC") <= start] or vintages[:1]
    binance = binance[binance["vintage"] == then[-1]]
    others = pd.read_csv(folder / "margin_tiers_other_venues_2025.csv")
    for venue, coin, symbol in zip(listed["venue"], listed["coin"], listed["symbol"], strict=True):
        if venue == "binance":
            mine = binance[binance["symbol"].isin([symbol, f"{coin}/USDT"])].sort_values("tier")
            part = bracket_rows(
                *(mine[name].to_numpy(float) for name in ("max_notional", "mmr", "max_leverage"))
            )
        elif venue == "bybit":
            mine = others[others["symbol"] == "BTC/USDC:USDC"].sort_values("tier")
            columns = (mine[name].to_numpy(float) for name in ("max_size", "mmr", "max_leverage"))
            part = bracket_rows(*columns)
        elif venue == "okx":
            okx = others[others["symbol"] == "BTC/USDT:USDT"].sort_values("tier").head(_OKX_TIERS)
            caps, *rest = (okx[name].to_numpy(float) for name in ("max_size", "mmr", "max_leverage"))
            part = whole_position_majorant(caps * 0.01 * btc_usd * _OKX_SHARE.get(coin, 0.1), *rest)
        else:
            low, high, cap = _HYPERLIQUID_TIERS.get(coin, (10, 5, 3e6))
            leverages = np.array([low, high], dtype=float)
            part = bracket_rows(np.array([cap, _HYPERLIQUID_LAST_CAP]), 0.5 / leverages, leverages)
        parts.append(part.assign(time=first, venue=venue, symbol=symbol))
    columns = [column.name for column in TABLES["margin_tiers"].columns if not column.optional]
    return pd.concat(parts, ignore_index=True)[columns]


def _holdings(
    panel: Panel, start: pd.Timestamp, first: pd.Timestamp, book_usd: Mapping[str, float]
) -> pd.DataFrame:
    rows = [
        {"time": first, "name": f"{coin} held", "kind": "spot", "asset": coin}
        | {"coins": usd / panel.price(coin, start), "confidence": 1.0, "expected_time": None}
        for coin, usd in book_usd.items()
    ]
    return pd.DataFrame(rows)


def _collateral(first: pd.Timestamp, collateral_usd: Mapping[str, float]) -> pd.DataFrame:
    rows = [
        {"time": first, "venue": venue, "account": "main", "currency": QUOTES[venue], "coins": usd}
        | {"withdrawable_coins": usd}
        for venue, usd in collateral_usd.items()
    ]
    return pd.DataFrame(rows)


def walk_document(folder: Path, venues: Sequence[str], **sections: Any) -> dict[str, Any]:
    """A scenario, as plain data, over a folder of `write_walk`; `sections` replace whole sections of it.

    The quote is no risk here, as USDT and USDC stand at 1 USD; tables bear one old date.
    """
    old = "10000d"
    return {
        "schema_version": 1,
        "name": folder.name,
        "horizons": {"decision": "24h", "holding": "14d", "execution": "0h"},
        "snapshot": {
            "folder": folder.name,
            "max_age": {"instruments": old, "margin_tiers": old, "prices": "25h", "funding": "33h"},
        },
        "venues": {
            venue: {
                "fees": {"maker": ALL_IN, "taker": ALL_IN},
                "haircuts": {QUOTES[venue]: 0},
                "liquidation_penalty": {"all": "1%"},
            }
            for venue in venues
        },
        "instruments": {venue: {"venue": venue, "symbols": "all", "leverage": "5x"} for venue in venues},
        "forecasts": {
            "currencies": {
                "daily_volatility": dict.fromkeys({QUOTES[v] for v in venues}, "0bp"), "floor": "0bp"
            }
        },
        "objective": {"risk_aversion_per_usd": 1e-5, "impact": {"model": "none"}},
        "limits": {},
        "stresses": {"rally": {"move": "20%"}, "crash": {"move": "-30%"}},
    } | sections  # fmt: skip


def write_document(document: Mapping[str, Any], folder: Path) -> Path:
    """Write a scenario beside its folder, as ``<folder>.yaml``."""
    path = folder.with_name(f"{folder.name}.yaml")
    yaml = YAML()
    yaml.representer.ignore_aliases = lambda _: True
    with path.open("w", encoding="utf-8") as handle:
        yaml.dump(dict(document), handle)
    return path
