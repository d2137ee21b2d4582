"""The benchmarks' desk as files: a scenario with its snapshot, for commands that start from files."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

AS_OF = "2026-11-20T00:00Z"

SCENARIO = """\
schema_version: 1
name: benchmark
horizons: {{decision: 24h, holding: 10d}}
snapshot: {{folder: tables}}
book: {{size: ${book:.0f}}}
venues:
{venues}
instruments:
{instruments}
forecasts:
  assets: {{method: given, daily_volatility: {{{volatility}}}, correlation: 0.6}}
  basis: {{method: given, level: 6bp, half_life: 2h}}
  currencies: {{daily_volatility: {{USDT: 3bp}}}}
  funding: {{half_life: 3d, long_run: 1bp/8h, reversion: 7d}}
objective:
  mode: utility
  risk_aversion_per_usd: {aversion:.3e}
  maker_share: 30%
  impact: {{model: book}}
limits:
  gross: {{kind: gross, max: ${gross:.0f}}}
  share: {{kind: venue_share, max: 50%}}
stresses:
  up: {{move: 15%}}
  down: {{move: -15%}}
  depeg: {{currencies: {{USDT: -3%}}}}
  gap: {{move: 10%, basis: {{venue0: 2%}}}}
orders: {{collar: 10bp}}
sweep:
  max_cells: 100000
  random:
    seed: 7
    draws: {cells}
    keys:
      forecasts.funding.long_run: {{from: 0.5bp/8h, to: 2bp/8h}}
      limits.gross.max: {{from: ${least:.0f}, to: ${most:.0f}}}
      book.size: {{from: ${small:.0f}, to: ${large:.0f}}}
      venues.venue0.haircuts.USDT: {{from: 0%, to: 10%}}
"""

_HEAD = "time,venue,symbol"
_COLUMNS = (
    "venue_symbol,kind,asset,index_currency,settlement_currency,contract_size,lot_contracts,tick,min_contracts,"
    "min_notional_usd,coins_per_unit,funding_interval_hours,funding_cap,half_spread,adv_usd"
)


def write_desk(folder: Path, instruments: int, venues: int, cells: int) -> Path:
    """Perps of coins on `venues`, 5 book levels a side, 3 brackets, 4 stresses, and a random sweep."""
    rng = np.random.default_rng(instruments)
    names = [f"venue{v}" for v in range(venues)]
    perps = [(names[k % venues], f"C{k // venues}") for k in range(instruments)]
    coins = list(dict.fromkeys(coin for _, coin in perps))
    usd = {coin: 1e7 / (1 + a) for a, coin in enumerate(coins)}
    price = {coin: float(10 ** rng.uniform(0, 4)) for coin in coins}
    book = sum(usd.values())
    tables = {
        "instruments": [f"{_HEAD},{_COLUMNS}"]
        + [
            f"{AS_OF},{v},{c}/USDT:USDT,{c}-PERP,linear,{c},USDT,USDT,1,0.001,{price[c] * 1e-6:.9f},"
            f"0.001,0,1,8,0.00375,{2e-5},{50 * usd[c]:.0f}"
            for v, c in perps
        ],
        "prices": [f"{_HEAD},price", f"{AS_OF},index,USDT/USD,1"]
        + [f"{AS_OF},index,{c}/USD,{price[c]:.6f}" for c in coins]
        + [f"{AS_OF},{v},{c}/USDT:USDT,{price[c]:.6f}" for v, c in perps],
        "funding": [f"{_HEAD},settlement_time,rate,interval_hours"]
        + [
            f"{time},{v},{c}/USDT:USDT,{time},{rate:.7f},8"
            for v, c in perps
            for time, rate in zip(_settlements(), rng.normal(1e-4, 1e-4) * np.ones(16), strict=True)
        ],
        "books": [f"{_HEAD},side,level,price,size_contracts"]
        + [row for v, c in perps for row in _book(rng, v, c, price[c], usd[c])],
        "margin_tiers": [f"{_HEAD},tier,floor_usd,cap_usd,maintenance_margin_rate,deduction_usd,max_leverage"]
        + [row for v, c in perps for row in _tiers(v, c, usd[c])],
        "holdings": ["time,name,kind,asset,coins,confidence,expected_time"]
        + [f"{AS_OF},cold {c},spot,{c},{usd[c] / price[c]:.9f},1," for c in coins],
        "positions": [
            "time,venue,account,symbol,contracts,entry_price,open_buy_contracts,open_sell_contracts"
        ]
        + [
            f"{AS_OF},{v},main,{c}/USDT:USDT,{-0.075 * usd[c] / price[c]:.3f},{price[c]:.6f},0,0"
            for v, c in perps[::3]
        ],
        "collateral": ["time,venue,account,currency,coins,withdrawable_coins"]
        + [f"{AS_OF},{v},main,USDT,{0.6 * book / venues:.0f},{0.1 * book / venues:.0f}" for v in names],
    }
    (folder / "tables").mkdir(parents=True)
    for name, rows in tables.items():
        (folder / "tables" / f"{name}.csv").write_text("\n".join(rows) + "\n")
    path = folder / "desk.yaml"
    path.write_text(_scenario(names, coins, book, cells))
    return path


def _scenario(names: list[str], coins: list[str], book: float, cells: int) -> str:
    venues = [
        f"  {v}: {{fees: {{maker: 2bp, taker: 5bp}}, haircuts: {{USDT: 0}}, capital_cost: 4%/y, "
        "withdrawals: {USDT: {cost: 0.5bp, delay: 30m}}}"
        for v in names
    ]
    instruments = [f"  {v}_perps: {{venue: {v}, symbols: all, leverage: 5x}}" for v in names]
    return SCENARIO.format(
        book=book,
        venues="\n".join(venues),
        instruments="\n".join(instruments),
        volatility=", ".join(f"{coin}: 3%" for coin in coins),
        aversion=10 / book,
        gross=1.5 * book,
        cells=cells,
        least=0.9 * book,
        most=1.6 * book,
        small=0.95 * book,
        large=1.05 * book,
    )


def _settlements() -> list[str]:
    last = datetime(2026, 11, 20)
    return [f"{last - k * timedelta(hours=8):%Y-%m-%dT%H:%MZ}" for k in reversed(range(16))]


def _book(rng: np.random.Generator, venue: str, coin: str, price: float, usd: float) -> list[str]:
    rows = []
    for side, sign in (("bid", -1), ("ask", 1)):
        away = 2e-5 + np.append(0.0, np.cumsum(rng.uniform(3e-5, 3e-4, 4)))
        sizes = usd * rng.dirichlet(np.ones(5)) / price
        rows += [
            f"{AS_OF},{venue},{coin}/USDT:USDT,{side},{k + 1},{price * (1 + sign * a):.8f},{size:.4f}"
            for k, (a, size) in enumerate(zip(away, sizes, strict=True))
        ]
    return rows


def _tiers(venue: str, coin: str, usd: float) -> list[str]:
    floors, rates = [0.0, 0.3 * usd, 1.5 * usd], [0.005, 0.01, 0.03]
    caps, leverages = [*floors[1:], 20 * usd], [50, 25, 10]
    rows, deduction = [], 0.0
    for k in range(3):
        deduction += floors[k] * (rates[k] - rates[k - 1]) if k else 0.0
        rows.append(
            f"{AS_OF},{venue},{coin}/USDT:USDT,{k + 1},{floors[k]:.4f},{caps[k]:.4f},{rates[k]},"
            f"{deduction:.6f},{leverages[k]}"
        )
    return rows
