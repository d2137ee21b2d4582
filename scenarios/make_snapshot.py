"""Write the synthetic snapshot that `scenarios/daily.yaml` runs on: ``python scenarios/make_snapshot.py``.

Everything random comes from one seed, so the same numpy writes the same bytes. Prices are a market factor
plus each coin's own shock; each venue adds a mean-reverting basis. Funding follows the published formula of
the large venues, premium + clamp(1 bp − premium, ±5 bp) per 8 h, so that many prints are exactly 1 bp;
Hyperliquid pays an eighth of it every hour. Contract units and Binance and Hyperliquid brackets are the
venues' own of Sep 2026 (Binance USD-M leverage and margin page, Hyperliquid margin tiers page); those of
Bybit and OKX are illustrative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
from synthetic import Vector, fat, funding_rate, on_lot, on_tick, reverting, stamp, write_tables

from allocator.snapshot.columns import TABLES

SEED = 20261120
AS_OF = datetime(2026, 11, 20, tzinfo=UTC)
FOLDER = Path(__file__).parent / "daily"
PRICE_DAYS = 60
FUNDING_DAYS = 10
STEP_HOURS = 8
# Of the optional columns this desk fills one only.
LEFT_OUT = {c.name for table in TABLES.values() for c in table.columns if c.optional} - {"expected_time"}


class Coin(NamedTuple):
    """Price in USD at AS_OF, beta to the market, own daily volatility; spread, volume, depth at Binance."""

    price: float
    beta: float
    own_volatility: float
    half_spread: float
    adv_usd: float
    depth_usd: float


class Venue(NamedTuple):
    """Quote currency, funding interval, and share of the first venue's volume and depth."""

    quote: str
    interval: int
    size: float
    basis_sd: float


class Terms(NamedTuple):
    """Contract size, lot, tick, least order in contracts and in USD, as the venues state them."""

    contract_size: str
    lot: str
    tick: str
    min_contracts: str
    min_notional: str


COINS: Mapping[str, Coin] = {
    "BTC": Coin(96_500.0, 1.0, 0.005, 0.000002, 14e9, 12e6),
    "ETH": Coin(3_420.0, 1.25, 0.013, 0.000005, 10e9, 7e6),
    "SOL": Coin(168.0, 1.5, 0.019, 0.00004, 3.2e9, 3.5e6),
    "XRP": Coin(2.35, 1.3, 0.022, 0.00005, 1.8e9, 3e6),
    "DOGE": Coin(0.212, 1.5, 0.024, 0.00007, 1.1e9, 2e6),
}
MARKET_VOLATILITY = 0.024
VENUES: Mapping[str, Venue] = {
    "binance": Venue("USDT", 8, 1.0, 0.0004),
    "okx": Venue("USDT", 8, 0.55, 0.0005),
    "bybit": Venue("USDT", 8, 0.5, 0.0005),
    "hyperliquid": Venue("USDC", 1, 0.35, 0.0008),
}
CURRENCIES: Mapping[str, tuple[float, float]] = {"USDT": (0.9997, 0.00015), "USDC": (0.99995, 0.00006)}

TERMS: Mapping[str, Mapping[str, Terms]] = {
    "binance": {
        "BTC": Terms("1", "0.001", "0.1", "0.001", "100"),
        "ETH": Terms("1", "0.001", "0.01", "0.001", "20"),
        "SOL": Terms("1", "0.01", "0.01", "0.01", "5"),
        "XRP": Terms("1", "0.1", "0.0001", "0.1", "5"),
        "DOGE": Terms("1", "1", "0.00001", "1", "5"),
    },
    "okx": {
        "BTC": Terms("0.01", "0.01", "0.1", "0.01", "0"),
        "ETH": Terms("0.1", "0.01", "0.01", "0.01", "0"),
        "SOL": Terms("1", "0.01", "0.01", "0.01", "0"),
        "XRP": Terms("100", "0.01", "0.0001", "0.01", "0"),
        "DOGE": Terms("1000", "0.01", "0.00001", "0.01", "0"),
    },
    "bybit": {
        "BTC": Terms("1", "0.001", "0.1", "0.001", "5"),
        "ETH": Terms("1", "0.01", "0.01", "0.01", "5"),
        "SOL": Terms("1", "0.1", "0.01", "0.1", "5"),
        "XRP": Terms("1", "0.1", "0.0001", "0.1", "5"),
        "DOGE": Terms("1", "1", "0.00001", "1", "5"),
    },
    "hyperliquid": {
        "BTC": Terms("1", "0.00001", "1", "0.00001", "10"),
        "ETH": Terms("1", "0.0001", "0.1", "0.0001", "10"),
        "SOL": Terms("1", "0.01", "0.01", "0.01", "10"),
        "XRP": Terms("1", "1", "0.0001", "1", "10"),
        "DOGE": Terms("1", "1", "0.00001", "1", "10"),
    },
}
FUNDING_CAPS: Mapping[str, tuple[float, float]] = {  # BTC and ETH, other coins; fraction per interval
    "binance": (0.003, 0.02),
    "okx": (0.00375, 0.015),
    "bybit": (0.005, 0.02),
    "hyperliquid": (0.04, 0.04),
}

# Binance USD-M, Sep 2026: cap in USD, maintenance margin rate, largest leverage.
_BINANCE_TIERS: Mapping[str, tuple[tuple[float, float, float], ...]] = {
    "BTC": (
        (300e3, 0.004, 150), (800e3, 0.005, 100), (3e6, 0.0065, 75), (12e6, 0.01, 50), (70e6, 0.02, 25),
        (100e6, 0.025, 20), (230e6, 0.05, 10), (480e6, 0.1, 5), (600e6, 0.125, 4), (800e6, 0.15, 3),
        (1.2e9, 0.25, 2), (1.8e9, 0.5, 1),
    ),
    "ETH": (
        (300e3, 0.004, 150), (800e3, 0.005, 100), (3e6, 0.0065, 75), (12e6, 0.01, 50), (50e6, 0.02, 25),
        (65e6, 0.025, 20), (150e6, 0.05, 10), (320e6, 0.1, 5), (400e6, 0.125, 4), (530e6, 0.15, 3),
        (800e6, 0.25, 2), (1.2e9, 0.5, 1),
    ),
    "SOL": (
        (50e3, 0.005, 100), (400e3, 0.0065, 75), (1e6, 0.01, 50), (4e6, 0.02, 25), (8e6, 0.025, 20),
        (40e6, 0.05, 10), (80e6, 0.1, 5), (100e6, 0.125, 4), (200e6, 0.25, 2), (400e6, 0.5, 1),
    ),
    "XRP": (
        (40e3, 0.005, 100), (80e3, 0.006, 75), (150e3, 0.01, 50), (400e3, 0.0125, 40), (1e6, 0.02, 25),
        (2e6, 0.025, 20), (10e6, 0.05, 10), (20e6, 0.1, 5), (25e6, 0.125, 4), (50e6, 0.25, 2),
        (100e6, 0.5, 1),
    ),
    "DOGE": (
        (80e3, 0.0065, 75), (150e3, 0.01, 50), (750e3, 0.0125, 40), (2e6, 0.02, 25), (4e6, 0.025, 20),
        (20e6, 0.05, 10), (40e6, 0.1, 5), (50e6, 0.125, 4), (100e6, 0.25, 2), (200e6, 0.5, 1),
    ),
}  # fmt: skip
# Hyperliquid: rate is half of 1 / largest leverage. It names no last cap; these are illustrative.
_HYPERLIQUID_TIERS: Mapping[str, tuple[tuple[float, float, float], ...]] = {
    "BTC": ((150e6, 0.5 / 40, 40), (1e9, 0.5 / 20, 20)),
    "ETH": ((100e6, 0.5 / 25, 25), (1e9, 0.5 / 15, 15)),
    "SOL": ((70e6, 0.5 / 20, 20), (5e8, 0.5 / 10, 10)),
    "XRP": ((40e6, 0.5 / 20, 20), (2e8, 0.5 / 10, 10)),
    "DOGE": ((20e6, 0.5 / 10, 10), (2e8, 0.5 / 5, 5)),
}
_TIER_SCALE: Mapping[str, float] = {"binance": 1.0, "bybit": 0.5, "okx": 0.4}

# What the desk holds, in coins.
HOLDINGS: tuple[tuple[str, str, str, float, float, datetime | None], ...] = (
    ("treasury", "spot", "BTC", 44.0, 1.0, None),
    ("treasury-eth", "spot", "ETH", 420.0, 1.0, None),
    ("validators", "staked", "ETH", 260.0, 1.0, None),
    ("sol-stake", "staked", "SOL", 5_200.0, 1.0, None),
    ("treasury-sol", "spot", "SOL", 1_900.0, 1.0, None),
    ("treasury-xrp", "spot", "XRP", 260_000.0, 1.0, None),
    ("treasury-doge", "spot", "DOGE", 2_100_000.0, 1.0, None),
    ("client-block", "anticipated", "BTC", 6.0, 0.7, AS_OF + timedelta(hours=14)),
    ("validator-exit", "anticipated", "ETH", -120.0, 0.8, AS_OF + timedelta(hours=33)),
)
# Yesterday's hedge: the share of each coin's exposure that is short, by venue; about 90 % in all.
HEDGED: Mapping[str, tuple[float, float, float, float]] = {
    "BTC": (0.38, 0.22, 0.18, 0.12),
    "ETH": (0.40, 0.20, 0.20, 0.13),
    "SOL": (0.42, 0.20, 0.14, 0.10),
    "XRP": (0.45, 0.15, 0.20, 0.10),
    "DOGE": (0.50, 0.25, 0.20, 0.00),
}
COLLATERAL: tuple[tuple[str, str, float, float], ...] = (
    ("binance", "USDT", 1_650_000.0, 900_000.0),
    ("okx", "USDT", 850_000.0, 400_000.0),
    ("bybit", "USDT", 800_000.0, 400_000.0),
    ("hyperliquid", "USDC", 600_000.0, 250_000.0),
)


def symbol_of(venue: str, coin: str) -> str:
    """Return the ccxt unified symbol of a linear perpetual."""
    quote = VENUES[venue].quote
    return f"{coin}/{quote}:{quote}"


def venue_symbol_of(venue: str, coin: str) -> str:
    """Return the venue's own name of the contract."""
    names = {"okx": f"{coin}-USDT-SWAP", "hyperliquid": coin}
    return names.get(venue, f"{coin}USDT")


def coin_paths(random: np.random.Generator, rows: int) -> dict[str, Vector]:
    """Return USD prices (rows,) of each coin, ending at the price stated for AS_OF."""
    share = math.sqrt(STEP_HOURS / 24)
    market = fat(random, rows - 1) * MARKET_VOLATILITY * share
    paths: dict[str, Vector] = {}
    for name, coin in COINS.items():
        own = fat(random, rows - 1) * coin.own_volatility * share
        later = np.concatenate([np.cumsum((coin.beta * market + own)[::-1])[::-1], [0.0]])
        paths[name] = coin.price * np.exp(-later)
    return paths


def price_rows(random: np.random.Generator) -> list[tuple[str, ...]]:
    """Return the prices table: reference prices, currencies, and marks of every perpetual."""
    rows = PRICE_DAYS * 24 // STEP_HOURS + 1
    times = [stamp(AS_OF - timedelta(hours=STEP_HOURS * (rows - 1 - row))) for row in range(rows)]
    coins = coin_paths(random, rows)
    currencies = {name: level + reverting(random, rows, sd, 0.6) for name, (level, sd) in CURRENCIES.items()}
    columns: list[tuple[str, str, list[str]]] = []
    for name, path in coins.items():
        columns.append(("index", f"{name}/USD", [f"{price:.6g}" for price in path]))
    for name, path in currencies.items():
        columns.append(("index", f"{name}/USD", [f"{price:.5f}" for price in path]))
    for venue, terms in VENUES.items():
        for name, path in coins.items():
            basis = -0.0002 + reverting(random, rows, terms.basis_sd, 0.06)
            marks = path / currencies[terms.quote] * (1 + basis)
            tick = TERMS[venue][name].tick
            columns.append((venue, symbol_of(venue, name), [on_tick(mark, tick) for mark in marks]))
    return [(times[row], venue, symbol, path[row]) for row in range(rows) for venue, symbol, path in columns]


def funding_rows(random: np.random.Generator) -> list[tuple[str, ...]]:
    """Return ten days of settled rates and the indication of each coming settlement."""
    rows: list[tuple[str, ...]] = []
    hours = FUNDING_DAYS * 24
    for name in COINS:
        shared = 0.0003 + reverting(random, hours + 9, 0.0003, 0.98)
        for venue, terms in VENUES.items():
            own = random.normal(0.0, 0.00025) + reverting(random, hours + 9, 0.00025, 0.95)
            for hour in range(terms.interval, hours + 1, terms.interval):
                time = stamp(AS_OF - timedelta(hours=hours - hour))
                window = slice(hour - terms.interval, hour)
                rate = funding_rate(float((shared + own)[window].mean()), terms.interval)
                rows.append((time, venue, symbol_of(venue, name), time, rate, str(terms.interval)))
            coming = funding_rate(
                float((shared + own)[hours : hours + terms.interval].mean()), terms.interval
            )
            settles = stamp(AS_OF + timedelta(hours=terms.interval))
            rows.append((stamp(AS_OF), venue, symbol_of(venue, name), settles, coming, str(terms.interval)))
    return sorted(rows)


def instrument_rows() -> list[tuple[str, ...]]:
    """Return the contract terms of every perpetual."""
    rows: list[tuple[str, ...]] = []
    for venue, terms in VENUES.items():
        for name, coin in COINS.items():
            units = TERMS[venue][name]
            cap = FUNDING_CAPS[venue][0 if name in ("BTC", "ETH") else 1]
            half_spread = max(coin.half_spread, float(units.tick) / coin.price / 2) / terms.size**0.5
            names = (stamp(AS_OF), venue, symbol_of(venue, name), venue_symbol_of(venue, name))
            money = ("linear", name, terms.quote, terms.quote)
            volume = f"{coin.adv_usd * terms.size:.0f}"
            market = (str(terms.interval), f"{cap:g}", f"{half_spread:.8f}", volume)
            rows.append((*names, *money, *units, "1", *market))
    return rows


def book_rows(random: np.random.Generator, marks: Mapping[tuple[str, str], float]) -> list[tuple[str, ...]]:
    """Return five levels a side around each newest mark; deeper levels are larger and farther apart."""
    rows: list[tuple[str, ...]] = []
    for venue, terms in VENUES.items():
        for name, coin in COINS.items():
            mark, units = marks[venue, symbol_of(venue, name)], TERMS[venue][name]
            tick = float(units.tick)
            half = max(coin.half_spread / terms.size**0.5 * mark, tick / 2)
            for side, sign in (("bid", -1), ("ask", 1)):
                shares = np.array([0.06, 0.12, 0.2, 0.27, 0.35]) * random.uniform(0.85, 1.15, 5)
                best = (math.floor if sign < 0 else math.ceil)((mark + sign * half) / tick) * tick
                for level in range(1, 6):
                    gap = sign * max((level - 1) * tick, mark * 0.00004 * (level - 1) ** 1.5)
                    size = coin.depth_usd * terms.size * shares[level - 1] / mark / float(units.contract_size)
                    contracts = max(on_lot(float(size), units.lot), Decimal(units.lot))
                    price = on_tick(best + gap, units.tick)
                    cells = (stamp(AS_OF), venue, symbol_of(venue, name), side, str(level), price)
                    rows.append((*cells, format(contracts, "f")))
    return rows


def tier_rows() -> list[tuple[str, ...]]:
    """Return each perpetual's maintenance margin brackets with the deductions that make margin continuous."""
    rows: list[tuple[str, ...]] = []
    for venue in VENUES:
        scale = _TIER_SCALE.get(venue, 1.0)
        for name, tiers in (_HYPERLIQUID_TIERS if venue == "hyperliquid" else _BINANCE_TIERS).items():
            floor, previous, deduction = 0.0, tiers[0][1], 0.0
            for number, (cap, rate, leverage) in enumerate(tiers, start=1):
                deduction += floor * (rate - previous)
                bounds = (f"{floor:.0f}", f"{cap * scale:.0f}")
                terms = (f"{rate:g}", f"{deduction:.2f}", f"{leverage:g}")
                rows.append((stamp(AS_OF), venue, symbol_of(venue, name), str(number), *bounds, *terms))
                floor, previous = cap * scale, rate
    return rows


def position_rows(
    random: np.random.Generator, marks: Mapping[tuple[str, str], float]
) -> list[tuple[str, ...]]:
    """Return yesterday's short perpetuals, entered a few percent away, and one resting order."""
    exposure = dict.fromkeys(COINS, 0.0)
    for _, _, name, coins, confidence, _ in HOLDINGS:
        exposure[name] += coins * confidence
    rows: list[tuple[str, ...]] = []
    for venue_number, venue in enumerate(VENUES):
        for name, shares in HEDGED.items():
            units, symbol = TERMS[venue][name], symbol_of(venue, name)
            contracts = on_lot(-shares[venue_number] * exposure[name] / float(units.contract_size), units.lot)
            if not contracts:
                continue
            entry = on_tick(marks[venue, symbol] * random.uniform(0.98, 1.05), units.tick)
            resting = "0.2" if (venue, name) == ("binance", "BTC") else "0"
            rows.append((stamp(AS_OF), venue, "main", symbol, format(contracts, "f"), entry, "0", resting))
    return rows


def account_tables() -> dict[str, list[tuple[str, ...]]]:
    """Return holdings and collateral."""
    holdings = [
        (stamp(AS_OF), name, kind, asset, f"{coins:.0f}", f"{sure:g}", stamp(expected) if expected else "")
        for name, kind, asset, coins, sure, expected in HOLDINGS
    ]
    collateral = [
        (stamp(AS_OF), venue, "main", currency, f"{coins:.0f}", f"{free:.0f}")
        for venue, currency, coins, free in COLLATERAL
    ]
    return {"holdings": holdings, "collateral": collateral}


def main(folder: Path = FOLDER) -> None:
    """Write the whole snapshot into ``folder``."""
    # One stream per table: a change to one table leaves the others as they are.
    prices_random, funding_random, books_random, positions_random = (
        np.random.default_rng(seed) for seed in np.random.SeedSequence(SEED).spawn(4)
    )
    prices = price_rows(prices_random)
    marks = {(venue, symbol): float(price) for _, venue, symbol, price in prices}
    tables = {
        "instruments": instrument_rows(),
        "prices": prices,
        "funding": funding_rows(funding_random),
        "books": book_rows(books_random, marks),
        "margin_tiers": tier_rows(),
        "positions": position_rows(positions_random, marks),
        **account_tables(),
    }
    columns = {name: tuple(c for c in TABLES[name].names if c not in LEFT_OUT) for name in tables}
    write_tables(folder, tables, columns)


if __name__ == "__main__":
    main()
