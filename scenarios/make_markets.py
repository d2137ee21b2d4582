"""Write prices and funding of the smaller scenarios: ``python scenarios/make_markets.py``.

One synthetic market, everything random from one seed; each scenario's folder gets its own coins and contracts
of it. Coins follow a market factor, some also their sector; each perpetual adds a mean-reverting basis to its
coin. Funding is premium + clamp(1 bp − premium, ±5 bp) per 8 h. Contract terms beside them are written by
hand, what a desk holds stands in its scenario file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
from synthetic import Vector, fat, funding_rate, on_tick, reverting, stamp, write_tables

from allocator.snapshot.columns import TABLES

SEED = 20261121
AS_OF = datetime(2026, 11, 20, tzinfo=UTC)
FOLDER = Path(__file__).parent
PRICE_DAYS = 40
FUNDING_DAYS = 7
STEP_HOURS = 8
MARKET_VOLATILITY = 0.024


class Coin(NamedTuple):
    """Price in USD at AS_OF, beta to the market, to Ethereum's sector, own daily volatility."""

    price: float
    market: float
    sector: float
    own_volatility: float


class Perp(NamedTuple):
    """Exchange, symbol, tick, funding interval in hours, sd of the basis.

    A dated future has no interval, and a premium per year that runs to nothing at its expiry.
    """

    venue: str
    symbol: str
    tick: str
    interval: int
    basis_sd: float
    premium: float = 0.0


COINS: Mapping[str, Coin] = {
    "BTC": Coin(96_500.0, 1.0, 0.0, 0.005),
    "ETH": Coin(3_420.0, 1.1, 1.0, 0.004),
    "SOL": Coin(168.0, 1.5, 0.2, 0.019),
    "HYPE": Coin(38.4, 1.3, 0.0, 0.034),
    "GNO": Coin(142.0, 0.6, 0.9, 0.017),  # without a perpetual
    "RPL": Coin(5.86, 0.8, 1.3, 0.031),  # without a perpetual
}
SECTOR_VOLATILITY = 0.014
CURRENCIES: Mapping[str, tuple[float, float]] = {"USDT": (0.9997, 0.00015), "USDC": (0.99995, 0.00006)}
PERPS: tuple[Perp, ...] = (
    Perp("binance", "BTC/USDT:USDT", "0.1", 8, 0.0004),
    Perp("binance", "ETH/USDT:USDT", "0.01", 8, 0.0004),
    Perp("binance", "BTC/USD:BTC", "0.1", 8, 0.0005),
    Perp("binance", "ETH/USD:ETH", "0.01", 8, 0.0005),
    Perp("deribit", "BTC/USD:BTC", "0.5", 8, 0.0005),
    Perp("deribit", "ETH/USD:ETH", "0.05", 8, 0.0005),
    Perp("okx", "BTC/USDT:USDT", "0.1", 8, 0.0005),
    Perp("okx", "ETH/USDT:USDT", "0.01", 8, 0.0005),
    Perp("okx", "SOL/USDT:USDT", "0.01", 8, 0.0005),
    Perp("okx", "BTC/USD:BTC", "0.1", 8, 0.0006),
    Perp("hyperliquid", "BTC/USDC:USDC", "1", 1, 0.0008),
    Perp("hyperliquid", "ETH/USDC:USDC", "0.1", 1, 0.0008),
    Perp("hyperliquid", "SOL/USDC:USDC", "0.01", 1, 0.0009),
    Perp("hyperliquid", "HYPE/USDC:USDC", "0.001", 1, 0.0012),
    Perp("dydx", "BTC/USD:USDC", "1", 1, 0.0009),
    Perp("dydx", "ETH/USD:USDC", "0.1", 1, 0.0009),
    Perp("dydx", "SOL/USD:USDC", "0.01", 1, 0.0011),
    Perp("binance", "BTC/USDT:USDT-261225", "0.1", 0, 0.0006, 0.075),
    Perp("binance", "ETH/USDT:USDT-261225", "0.01", 0, 0.0007, 0.06),
    Perp("binance", "BTC/USDT:USDT-270326", "0.1", 0, 0.0009, 0.085),
)
# Exchanges and assets of each scenario: its folder holds their contracts, and the currencies they need.
MARKETS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "inverse": (("binance BTC/USD:BTC", "binance ETH/USD:ETH", "deribit"), ("BTC", "ETH")),
    "cross_hedge": (
        ("binance BTC/USDT:USDT", "binance ETH/USDT:USDT", "hyperliquid"),
        ("BTC", "ETH", "GNO", "RPL"),
    ),
    "portfolio_margin": (("okx",), ("BTC", "ETH")),
    "dated": (
        (
            *("binance BTC/USDT:USDT", "binance ETH/USDT:USDT", "hyperliquid"),
            *("binance BTC/USDT:USDT-261225", "binance ETH/USDT:USDT-261225", "binance BTC/USDT:USDT-270326"),
        ),
        ("BTC", "ETH"),
    ),
    "dex": (
        ("binance BTC/USDT:USDT", "binance ETH/USDT:USDT", "hyperliquid", "dydx"),
        ("BTC", "ETH", "SOL", "HYPE"),
    ),
}


def coin_paths(random: np.random.Generator, rows: int) -> dict[str, Vector]:
    """Return USD prices (rows,) of each coin, ending at the price stated for AS_OF."""
    share = math.sqrt(STEP_HOURS / 24)
    market = fat(random, rows - 1) * MARKET_VOLATILITY * share
    sector = fat(random, rows - 1) * SECTOR_VOLATILITY * share
    paths: dict[str, Vector] = {}
    for name, coin in COINS.items():
        own = fat(random, rows - 1) * coin.own_volatility * share
        returns = coin.market * market + coin.sector * sector + own
        later = np.concatenate([np.cumsum(returns[::-1])[::-1], [0.0]])
        paths[name] = coin.price * np.exp(-later)
    return paths


def quote_of(symbol: str) -> str:
    """Return the currency in which a ccxt unified symbol is priced."""
    return symbol.partition("/")[2].partition(":")[0]


def premium_path(perp: Perp, rows: int) -> Vector:
    """Return what a contract is above its coin (rows,): a perpetual 2 bp below, a dated future its carry."""
    if not perp.premium:
        return np.full(rows, -0.0002)
    expiry = datetime.strptime(perp.symbol[-6:], "%y%m%d").replace(hour=8, tzinfo=UTC)
    hours = (expiry - AS_OF) / timedelta(hours=1) + STEP_HOURS * np.arange(rows - 1, -1, -1)
    return perp.premium * hours / (365 * 24)


def price_rows(random: np.random.Generator) -> list[tuple[str, ...]]:
    """Return reference prices of coins and currencies, and marks of every perpetual."""
    rows = PRICE_DAYS * 24 // STEP_HOURS + 1
    times = [stamp(AS_OF - timedelta(hours=STEP_HOURS * (rows - 1 - row))) for row in range(rows)]
    coins = coin_paths(random, rows)
    currencies = {name: level + reverting(random, rows, sd, 0.6) for name, (level, sd) in CURRENCIES.items()}
    columns = [("index", f"{name}/USD", [f"{price:.6g}" for price in path]) for name, path in coins.items()]
    columns += [("index", f"{name}/USD", [f"{p:.5f}" for p in path]) for name, path in currencies.items()]
    for perp in PERPS:
        basis = premium_path(perp, rows) + reverting(random, rows, perp.basis_sd, 0.06)
        quote = currencies.get(quote_of(perp.symbol), np.ones(rows))
        marks = coins[perp.symbol.partition("/")[0]] / quote * (1 + basis)
        columns.append((perp.venue, perp.symbol, [on_tick(mark, perp.tick) for mark in marks]))
    return [(times[row], venue, symbol, path[row]) for row in range(rows) for venue, symbol, path in columns]


def funding_rows(random: np.random.Generator) -> list[tuple[str, ...]]:
    """Return a week of settled rates and the indication of each coming settlement."""
    hours = FUNDING_DAYS * 24
    shared = {name: 0.0003 + reverting(random, hours + 9, 0.0003, 0.98) for name in COINS}
    rows: list[tuple[str, ...]] = []
    for venue, symbol, _, interval, _, premium_a_year in PERPS:
        if premium_a_year:
            continue
        own = random.normal(0.0, 0.00025) + reverting(random, hours + 9, 0.00025, 0.95)
        premium = shared[symbol.partition("/")[0]] + own
        for hour in range(interval, hours + interval + 1, interval):
            settles = stamp(AS_OF - timedelta(hours=hours - hour))
            known = min(settles, stamp(AS_OF))
            rate = funding_rate(float(premium[hour - interval : hour].mean()), interval)
            rows.append((known, venue, symbol, settles, rate, str(interval)))
    return sorted(rows)


def belongs(market: str, venue: str, symbol: str) -> bool:
    """Return whether a series is part of a scenario's market."""
    contracts, coins = MARKETS[market]
    asset = symbol.partition("/")[0]
    if venue == "index":
        return asset in coins or any(asset == quote_of(s) for v, s in series(market))
    return asset in coins and (venue in contracts or f"{venue} {symbol}" in contracts)


def series(market: str) -> list[tuple[str, str]]:
    """Return exchange and symbol of each perpetual of a scenario's market."""
    return [(perp.venue, perp.symbol) for perp in PERPS if belongs(market, perp.venue, perp.symbol)]


def main(folder: Path = FOLDER) -> None:
    """Write both tables of every market into its folder in ``folder``."""
    prices_random, funding_random = (
        np.random.default_rng(seed) for seed in np.random.SeedSequence(SEED).spawn(2)
    )
    prices, funding = price_rows(prices_random), funding_rows(funding_random)
    columns = {
        name: tuple(c.name for c in TABLES[name].columns if not c.optional) for name in ("prices", "funding")
    }
    for market in MARKETS:
        tables = {
            "prices": [row for row in prices if belongs(market, row[1], row[2])],
            "funding": [row for row in funding if belongs(market, row[1], row[2])],
        }
        write_tables(folder / market, tables, columns)


if __name__ == "__main__":
    main()
