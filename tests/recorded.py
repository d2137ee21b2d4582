"""Snapshots of recorded markets: any hour from 2024-09 to 2025-05 as a folder of snapshot tables.

The market data folder is named by HEDGE_MARKET_DATA (default: ``../shared/data`` beside the repository) and
never copied into it; tests that need it are marked with :data:`needs_market_data` and skip, with the reason,
where it is absent.

Recorded are hourly closes, volumes and settled funding of Binance, OKX and Hyperliquid perpetuals, Binance
spot, Binance brackets by date, OKX BTC tiers. Standing in for the rest, said where it is used: contract units
and spreads of 2025 by hand, OKX tiers of other coins, Hyperliquid's margin page, USDT and USDC at 1 USD.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from ruamel.yaml import YAML

from allocator.snapshot.columns import TABLES

Vector = NDArray[np.float64]
Rows = Sequence[Mapping[str, Any]]

COINS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "AVAX", "LINK", "LTC", "BNB")
QUOTES = {"binance": "USDT", "okx": "USDT", "hyperliquid": "USDC"}
FIRST, LAST = pd.Timestamp("2024-09-12", tz="UTC"), pd.Timestamp("2025-05-11", tz="UTC")

_INTERVAL_HOURS = {"binance": 8, "okx": 8, "hyperliquid": 1}
_FUNDING_CAPS = {"binance": (0.003, 0.02), "okx": (0.00375, 0.015), "hyperliquid": (0.04, 0.04)}
# Half-spreads of liquid hours: about a tick for BTC and ETH, 0.3 to 1 bp for the others, wider on-chain.
_HALF_SPREADS = dict(zip(COINS, (5e-6, 1e-5, 3e-5, 3e-5, 6e-5, 8e-5, 8e-5, 8e-5, 6e-5, 6e-5), strict=True))
_SPREAD_FACTOR = {"binance": 1.0, "okx": 1.5, "hyperliquid": 2.0}
# Contract size, lot, tick, least notional in USD; as the venues' instrument pages stated them in 2025.
_UNITS: Mapping[str, Mapping[str, str]] = {
    "binance": {
        "BTC": "1 0.001 0.1 100", "ETH": "1 0.001 0.01 20", "SOL": "1 1 0.01 5", "XRP": "1 0.1 0.0001 5",
        "DOGE": "1 1 0.00001 5", "ADA": "1 1 0.0001 5", "AVAX": "1 1 0.001 5", "LINK": "1 0.01 0.001 20",
        "LTC": "1 0.001 0.01 20", "BNB": "1 0.01 0.01 5",
    },
    "okx": {
        "BTC": "0.01 0.01 0.1 0", "ETH": "0.1 0.01 0.01 0", "SOL": "1 0.01 0.01 0",
        "XRP": "100 0.01 0.0001 0", "DOGE": "1000 0.01 0.00001 0", "ADA": "100 0.1 0.0001 0",
        "AVAX": "1 1 0.001 0", "LINK": "1 0.1 0.001 0", "LTC": "1 0.1 0.01 0", "BNB": "0.01 1 0.1 0",
    },
    "hyperliquid": {
        "BTC": "1 0.00001 1 10", "ETH": "1 0.0001 0.1 10", "SOL": "1 0.01 0.01 10", "XRP": "1 1 0.0001 10",
        "DOGE": "1 1 0.00001 10", "ADA": "1 1 0.00001 10", "AVAX": "1 0.01 0.001 10",
        "LINK": "1 0.1 0.001 10", "LTC": "1 0.01 0.01 10", "BNB": "1 0.001 0.01 10",
    },
}  # fmt: skip
# Hyperliquid margin tiers page: largest leverage, cap of the first tier in USD; beyond it half that leverage.
_HYPERLIQUID_TIERS = {
    "BTC": (40, 20, 150e6),
    "ETH": (25, 15, 100e6),
    "SOL": (20, 10, 70e6),
    "XRP": (20, 10, 40e6),
}
_HYPERLIQUID_TIERS |= dict.fromkeys(("DOGE", "ADA", "AVAX", "LINK", "LTC"), (10, 5, 20e6)) | {
    "BNB": (10, 5, 3e6)
}
_HYPERLIQUID_LAST_CAP = 1e9
# Only OKX's BTC tiers are recorded; other coins take their rates at this share of the BTC sizes.
_OKX_SHARE = {"BTC": 1.0, "ETH": 0.5, "SOL": 0.2} | dict.fromkeys(COINS[3:], 0.1)
_OKX_TIERS = 20
_BOOK_USD = dict(zip(COINS, (4.0e6, 2.2e6, 1.2e6, 8e5, 4e5, 4e5, 3e5, 3e5, 2e5, 2e5), strict=True))


def market_data() -> Path:
    """Return the folder of recorded market data, whether it is there or not."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    return Path(os.environ.get("HEDGE_MARKET_DATA", default))


needs_market_data = pytest.mark.skipif(
    not (market_data() / "prices_1h_2024-09_2025-05.parquet").is_file(),
    reason=f"no recorded market data in {market_data()}: set HEDGE_MARKET_DATA to the folder that holds it",
)


@dataclass(frozen=True)
class _Recorded:
    """What the big files hold of our venues and coins, rows sorted by the time they were known."""

    prices: pd.DataFrame  # time, venue, symbol, coin, price, volume_usd
    spot: pd.DataFrame  # time, coin, price
    funding: pd.DataFrame  # time, venue, symbol, settlement_time, rate, interval_hours
    binance_tiers: pd.DataFrame
    okx_tiers: pd.DataFrame


@cache
def _recorded() -> _Recorded:
    folder = market_data()
    candles = pd.read_parquet(
        folder / "prices_1h_2024-09_2025-05.parquet",
        columns=["open_ts", "venue", "coin", "instrument", "quote", "close", "volume"],
        filters=[("coin", "in", COINS), ("venue", "in", tuple(QUOTES))],
    )
    candles = candles.astype(dict.fromkeys(("venue", "coin", "instrument", "quote"), "object"))
    # A candle is stamped at its open; its close is known an hour later.
    candles["time"] = _utc(candles["open_ts"]) + pd.Timedelta(hours=1)
    candles = candles.rename(columns={"close": "price"}).sort_values(["time", "venue", "coin"])
    # Volumes are in coins on all three venues: they give BTC some $13bn, $6bn and $1bn a day in early 2025.
    candles["volume_usd"] = candles["volume"] * candles["price"]
    perps = candles[(candles["instrument"] == "perp") & (candles["quote"] == candles["venue"].map(QUOTES))]
    perps = perps.assign(symbol=perps["coin"] + "/" + perps["quote"] + ":" + perps["quote"])
    spot = candles[(candles["instrument"] == "spot") & (candles["venue"] == "binance")]
    okx = pd.read_csv(folder / "margin_tiers_other_venues_2025.csv")
    return _Recorded(
        perps[["time", "venue", "symbol", "coin", "price", "volume_usd"]].reset_index(drop=True),
        spot[["time", "coin", "price"]].reset_index(drop=True),
        _recorded_funding(folder),
        pd.read_parquet(folder / "margin_tiers_binance_2022_2026-05.parquet").astype(
            {"vintage": str, "symbol": str}
        ),
        okx[(okx["venue"] == "okx") & (okx["symbol"] == "BTC/USDT:USDT")].sort_values("tier"),
    )


def _recorded_funding(folder: Path) -> pd.DataFrame:
    rates = pd.read_parquet(
        folder / "funding_2024-01_2025-05.parquet",
        filters=[("coin", "in", COINS), ("venue", "in", tuple(QUOTES))],
    ).astype({"venue": "object", "coin": "object", "quote": "object"})
    rates = rates[rates["quote"] == rates["venue"].map(QUOTES)]
    time = _utc(rates["ts"]).dt.round("min")
    return pd.DataFrame(
        {
            "time": time,
            "venue": rates["venue"],
            "symbol": rates["coin"] + "/" + rates["quote"] + ":" + rates["quote"],
            "settlement_time": time,
            "rate": rates["funding_rate"],
            # The recorded interval is the time since the last print: over a gap it is no interval.
            "interval_hours": rates["venue"].map(_INTERVAL_HOURS),
        }
    ).sort_values(["time", "venue", "symbol"], ignore_index=True)


def _utc(times: pd.Series) -> pd.Series:
    return times.astype("datetime64[us, UTC]")


def _between(frame: pd.DataFrame, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """Rows with start < time <= end; the frame is sorted by time."""
    first, last = (int(frame["time"].searchsorted(moment, side="right")) for moment in (start, end))
    return frame.iloc[first:last]


def build_snapshot(
    as_of: datetime,
    folder: Path,
    *,
    history_days: int = 45,
    holdings: Rows | None = None,
    collateral: Rows | None = None,
    positions: Rows | None = None,
) -> Path:
    """Write what was known at ``as_of`` (aware) as snapshot tables into ``folder`` and return it.

    Rows given for holdings, collateral or positions replace the default $10m book, its margin and no
    positions. A perpetual is listed when it traded within the last day. There are no books and no
    funding indications.
    """
    if as_of.tzinfo is None:
        raise ValueError(f"as_of {as_of} has no time zone: give an aware datetime")
    now, data = pd.Timestamp(as_of).tz_convert("UTC").as_unit("us"), _recorded()
    start = now - pd.Timedelta(days=history_days)
    perps = _between(data.prices, start, now)
    live = _between(perps, now - pd.Timedelta(days=1), now).drop_duplicates(["venue", "coin"], keep="last")
    if live.empty:
        raise ValueError(f"nothing is recorded for {as_of}: take an hour between {FIRST} and {LAST}")
    perps = perps[(perps["venue"] + perps["symbol"]).isin(live["venue"] + live["symbol"])]
    index = _index_rows(_between(data.spot, start, now), perps)
    latest = index.drop_duplicates("symbol", keep="last").set_index("symbol")["price"]
    prices = {coin: float(latest[f"{coin}/USD"]) for coin in COINS if f"{coin}/USD" in latest.index}
    tables: dict[str, pd.DataFrame] = {
        "instruments": _instruments(live, _between(perps, now - pd.Timedelta(days=7), now), now),
        "prices": pd.concat([perps[["time", "venue", "symbol", "price"]], index], ignore_index=True),
        "funding": _between(data.funding, start, now),
        "margin_tiers": _margin_tiers(live, data, now, prices["BTC"]),
        "holdings": pd.DataFrame(holdings if holdings is not None else default_holdings(as_of, prices)),
        "collateral": pd.DataFrame(collateral if collateral is not None else default_collateral(as_of)),
        "positions": pd.DataFrame(
            positions or [], columns=[c.name for c in TABLES["positions"].columns if not c.optional]
        ),
    }
    listed = set(live["venue"] + live["symbol"])
    tables["funding"] = tables["funding"][
        (tables["funding"]["venue"] + tables["funding"]["symbol"]).isin(listed)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in tables.items():
        if name in ("prices", "funding"):
            frame.to_parquet(folder / f"{name}.parquet", index=False)
        else:
            frame.to_csv(folder / f"{name}.csv", index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    return folder


def _index_rows(spot: pd.DataFrame, perps: pd.DataFrame) -> pd.DataFrame:
    """Reference prices: Binance spot with USDT taken at 1 USD; else the median of the perpetuals."""
    without = perps[~perps["coin"].isin(spot["coin"].unique())]
    median = without.groupby(["time", "coin"], as_index=False)["price"].median()
    coins = pd.concat([spot[["time", "coin", "price"]], median], ignore_index=True)
    hours = perps["time"].drop_duplicates()
    stable = [pd.DataFrame({"time": hours, "coin": name, "price": 1.0}) for name in ("USDT", "USDC")]
    rows = pd.concat([coins, *stable], ignore_index=True)
    rows = rows.assign(venue="index", symbol=rows["coin"] + "/USD").sort_values(["time", "symbol"])
    return rows[["time", "venue", "symbol", "price"]]


def _instruments(live: pd.DataFrame, week: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    hourly = week.groupby(["venue", "coin"])["volume_usd"].mean()
    rows = []
    for venue, coin, symbol in zip(live["venue"], live["coin"], live["symbol"], strict=True):
        size, lot, tick, notional = _UNITS[venue][coin].split()
        names = {"binance": f"{coin}USDT", "okx": f"{coin}-USDT-SWAP", "hyperliquid": coin}
        cells = (
            now,
            venue,
            symbol,
            names[venue],
            "linear",
            coin,
            QUOTES[venue],
            QUOTES[venue],
            size,
            lot,
            tick,
            lot,
        )
        cap = _FUNDING_CAPS[venue][0 if coin in ("BTC", "ETH") else 1]
        spread = _HALF_SPREADS[coin] * _SPREAD_FACTOR[venue]
        rows.append((*cells, notional, 1, _INTERVAL_HOURS[venue], cap, spread, hourly[venue, coin] * 24))
    declared = TABLES["instruments"].columns
    return pd.DataFrame(rows, columns=[column.name for column in declared if not column.optional])


def _margin_tiers(live: pd.DataFrame, data: _Recorded, now: pd.Timestamp, btc_usd: float) -> pd.DataFrame:
    """Brackets in force: Binance of the newest date up to now; the others bear `now` for want of dates."""
    vintages = sorted(
        name for name in data.binance_tiers["vintage"].unique() if pd.Timestamp(name, tz="UTC") <= now
    )
    binance = data.binance_tiers[data.binance_tiers["vintage"] == vintages[-1]]
    parts = []
    for venue, coin, symbol in zip(live["venue"], live["coin"], live["symbol"], strict=True):
        if venue == "binance":
            mine = binance[binance["symbol"].isin([symbol, f"{coin}/USDT", f"{coin}USDT"])].sort_values(
                "tier"
            )
            columns = (mine[name].to_numpy(float) for name in ("max_notional", "mmr", "max_leverage"))
            part = bracket_rows(*columns)
        elif venue == "okx":
            contract_usd = 0.01 * btc_usd * _OKX_SHARE[coin]
            okx = data.okx_tiers.head(_OKX_TIERS)
            caps, rates, leverages = (
                okx[name].to_numpy(float) for name in ("max_size", "mmr", "max_leverage")
            )
            part = whole_position_majorant(caps * contract_usd, rates, leverages)
        else:
            first, second, cap = _HYPERLIQUID_TIERS[coin]
            leverages = np.array([first, second], dtype=float)
            part = bracket_rows(np.array([cap, _HYPERLIQUID_LAST_CAP]), 0.5 / leverages, leverages)
        dated = pd.Timestamp(vintages[-1], tz="UTC") if venue == "binance" else now
        parts.append(part.assign(time=dated, venue=venue, symbol=symbol))
    columns = [column.name for column in TABLES["margin_tiers"].columns if not column.optional]
    return pd.concat(parts, ignore_index=True)[columns]


def bracket_rows(caps_usd: Vector, rates: Vector, max_leverages: Vector) -> pd.DataFrame:
    """Return bracket rows with the deductions that make margin continuous."""
    floors = np.concatenate([[0.0], caps_usd[:-1]])
    return pd.DataFrame(
        {
            "tier": np.arange(1, caps_usd.size + 1),
            "floor_usd": floors,
            "cap_usd": caps_usd,
            "maintenance_margin_rate": rates,
            "deduction_usd": np.cumsum(floors * np.diff(rates, prepend=rates[:1])),
            "max_leverage": max_leverages,
        }
    )


def whole_position_majorant(caps_usd: Vector, rates: Vector, max_leverages: Vector) -> pd.DataFrame:
    """Return the brackets of a convex margin that is never below tiers charged on the whole position.

    Tier k charges rates[k] on the whole notional up to caps_usd[k], so margin jumps at each cap. The majorant
    goes through (c_k, r_{k+1} c_k), its slopes made non-decreasing by a running maximum; equal slopes are
    merged, with the smaller leverage. Conservative by up to r_2 / r_1 for small positions.
    """
    after_cap = np.append(rates[1:], rates[-1]) * caps_usd
    slopes = np.diff(after_cap, prepend=0.0) / np.diff(caps_usd, prepend=0.0)
    slopes = np.maximum.accumulate(slopes)
    last = np.append(np.diff(slopes) > 1e-12, True)
    return bracket_rows(caps_usd[last], slopes[last], max_leverages[last])


def default_holdings(as_of: datetime, prices_usd: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return a $10m spot book over the coins that have a price, in coins rounded to four digits."""
    return [
        {
            "time": as_of,
            "name": f"treasury-{coin.lower()}",
            "kind": "spot",
            "asset": coin,
            "coins": float(f"{usd / prices_usd[coin]:.4g}"),
            "confidence": 1.0,
            "expected_time": None,
        }
        for coin, usd in _BOOK_USD.items()
        if coin in prices_usd
    ]


def default_collateral(as_of: datetime) -> list[dict[str, Any]]:
    """Return $4m of stablecoins over the three venues, half of them withdrawable."""
    balances = {("binance", "USDT"): 1.6e6, ("okx", "USDT"): 1.2e6, ("hyperliquid", "USDC"): 1.2e6}
    return [
        {"time": as_of, "venue": venue, "account": "main", "currency": currency, "coins": coins}
        | {"withdrawable_coins": coins / 2}
        for (venue, currency), coins in balances.items()
    ]


def scenario_document(folder: Path, *, holding: str = "14d") -> dict[str, Any]:
    """Return a scenario, as plain data, that allocates on the snapshot in ``folder``."""
    stablecoin = {"cost": "1bp", "delay": "30m"}
    venue = {
        "fees": {"maker": "2bp", "taker": "5bp"},
        "haircuts": {"USDT": 0},
        "withdrawals": {"USDT": stablecoin},
    }
    onchain = {
        "fees": {"maker": "1.5bp", "taker": "4.5bp"},
        "haircuts": {"USDC": 0},
        "withdrawals": {"USDC": {"cost": "1bp", "delay": "4h"}},
    }
    return {
        "schema_version": 1,
        "name": "recorded",
        "description": "The daily allocation on a recorded market.",
        "horizons": {"decision": "24h", "holding": holding},
        # Brackets are dated tables, some more than a year old.
        "snapshot": {"folder": folder.name, "max_age": {"margin_tiers": "1000d"}},
        "book": {"size": "$10m"},
        "venues": {"binance": venue, "okx": venue, "hyperliquid": onchain},
        "instruments": {
            f"{name}_perps": {"venue": name, "symbols": "all", "leverage": "10x", "on_missing": "drop"}
            for name in ("binance", "okx")
        }
        | {
            "hyperliquid_perps": {
                "venue": "hyperliquid", "symbols": "all", "leverage": "5x", "on_missing": "drop"
            }
        },
        "forecasts": {
            "assets": {"half_life": "15d", "window": "45d"},
            "currencies": {"daily_volatility": {"USDT": "5bp", "USDC": "4bp"}},
        },
        "objective": {
            "risk_aversion_per_usd": 1e-5,
            "funding_uncertainty_aversion": 0.5,
            "impact": {"model": "square_root", "coefficient": 1.0},
        },
        "limits": {
            "net_delta": {"kind": "net_delta", "min": "-$500k", "max": "$500k"},
            "venue_share": {"kind": "venue_share", "max": "60%"},
            "participation": {"kind": "participation", "of": "adv", "max": "2%"},
            "initial_margin": {"kind": "initial_margin", "use": "80%"},
            "maintenance_margin": {"kind": "maintenance_margin", "buffer": "1.5x"},
        },
        "stresses": {"rally": {"move": "20%"}, "crash": {"move": "-30%"}},
    }  # fmt: skip


def write_scenario(folder: Path, *, holding: str = "14d") -> Path:
    """Write the scenario of a snapshot folder beside it, as ``<folder>.yaml``, and return its path."""
    path = folder.with_name(f"{folder.name}.yaml")
    yaml = YAML()
    yaml.representer.ignore_aliases = lambda _: True
    with path.open("w", encoding="utf-8") as handle:
        yaml.dump(scenario_document(folder, holding=holding), handle)
    return path
