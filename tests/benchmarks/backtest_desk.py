"""A desk of many coins on many venues, as a scenario with a snapshot, for walks over a synthetic history."""

from __future__ import annotations

from pathlib import Path

from allocator.allocation import read_tables
from allocator.backtests.simulate import simulated
from allocator.market.build import build_market
from allocator.scenario.load import LoadedScenario, load_scenario
from allocator.snapshot.read import SnapshotData

AS_OF = "2026-11-20T00:00Z"
_VENUE = """\
  {name}:
    fees: {{maker: 2bp, taker: 5bp}}
    haircuts: {{{currency}: 0}}
    withdrawals: {{{currency}: {{cost: 1bp, delay: 30m}}}}
"""
_SCENARIO = """\
schema_version: 1
name: many
horizons: {{decision: 24h, holding: 14d}}
snapshot: {{folder: data}}
book: {{size: $10m}}
venues:
{venues}instruments:
{perps}forecasts:
  assets: {{half_life: 15d, window: 30d}}
  currencies: {{daily_volatility: {{USDT: 5bp, USDC: 4bp}}}}
objective:
  risk_aversion_per_usd: 1.0e-5
  impact: {{model: square_root, coefficient: 1.0}}
limits:
  net_delta: {{kind: net_delta, min: -$500k, max: $500k}}
  venue_share: {{kind: venue_share, max: 60%}}
  initial_margin: {{kind: initial_margin, use: 80%}}
  maintenance_margin: {{kind: maintenance_margin, buffer: 1.5x}}
stresses:
  rally: {{move: 20%}}
  crash: {{move: -30%}}
backtest: {{warm_up: 30d}}
"""
_TERMS = (
    "time,venue,symbol,venue_symbol,kind,asset,index_currency,settlement_currency,contract_size,"
    "lot_contracts,tick,min_contracts,min_notional_usd,coins_per_unit,funding_interval_hours,funding_cap,"
    "half_spread,adv_usd"
)


def write(folder: Path, instruments: int, venues: int) -> Path:
    """Write the scenario and its tables; returns the scenario's path."""
    names = [f"venue{k}" for k in range(venues)]
    quotes = {name: "USDC" if k == venues - 1 else "USDT" for k, name in enumerate(names)}
    coins = [f"C{k}" for k in range(-(-instruments // venues))]
    price = {coin: 10.0 ** (4 - k % 5) for k, coin in enumerate(coins)}
    perps = [(names[k % venues], coins[k // venues]) for k in range(instruments)]
    listed = [(venue, f"{coin}/{quotes[venue]}:{quotes[venue]}", coin) for venue, coin in perps]
    rows = {
        "instruments": [_TERMS]
        + [
            f"{AS_OF},{v},{s},{c}{quotes[v]},linear,{c},{quotes[v]},{quotes[v]},1,0.001,0.0001,0.001,10,1,"
            f"{1 if v == names[-1] else 8},0.003,0.0001,5e8"
            for v, s, c in listed
        ],
        "prices": ["time,venue,symbol,price"]
        + [f"{AS_OF},index,{coin}/USD,{price[coin]}" for coin in coins]
        + [f"{AS_OF},index,{currency}/USD,1" for currency in ("USDT", "USDC")]
        + [f"{AS_OF},{v},{s},{price[c]}" for v, s, c in listed],
        "funding": ["time,venue,symbol,settlement_time,rate,interval_hours"]
        + [
            f"{time},{v},{s},{time},0.0001,{1 if v == names[-1] else 8}"
            for v, s, _ in listed
            for time in ("2026-11-19T00:00Z", AS_OF)
        ],
        "margin_tiers": [
            "time,venue,symbol,tier,floor_usd,cap_usd,maintenance_margin_rate,deduction_usd,max_leverage"
        ]
        + [
            f"{AS_OF},{v},{s},{tier}"
            for v, s, _ in listed
            for tier in ("1,0,1000000,0.005,0,50", "2,1000000,100000000,0.01,5000,20")
        ],
        "holdings": ["time,name,kind,asset,coins,confidence"]
        + [f"{AS_OF},{coin},spot,{coin},{1e7 / len(coins) / price[coin]},1" for coin in coins],
        "positions": [
            "time,venue,account,symbol,contracts,entry_price,open_buy_contracts,open_sell_contracts"
        ],
        "collateral": ["time,venue,account,currency,coins,withdrawable_coins"]
        + [f"{AS_OF},{v},main,{quotes[v]},{6e6 / venues},{3e6 / venues}" for v in names],
    }
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, lines in rows.items():
        (folder / "data" / f"{name}.csv").write_text("\n".join(lines) + "\n")
    path = folder / "many.yaml"
    path.write_text(
        _SCENARIO.format(
            venues="".join(_VENUE.format(name=name, currency=quotes[name]) for name in names),
            perps="".join(f"  {n}_perps: {{venue: {n}, symbols: all, leverage: 10x}}\n" for n in names),
        )
    )
    return path


def history(path: Path, days: int, seed: int = 7) -> tuple[LoadedScenario, SnapshotData]:
    """The scenario, which estimates everything, and `days` of synthetic history drawn with stated figures."""
    coins = sorted(
        {line.split(",")[3] for line in (path.parent / "data" / "holdings.csv").read_text().splitlines()[1:]}
    )
    given = (
        "{method: given, correlation: 0.7, daily_volatility: {" + ", ".join(f"{c}: 3%" for c in coins) + "}}"
    )
    drawn = load_scenario(
        path, sets=[f"forecasts.assets={given}", "forecasts.basis={method: given, level: 6bp, half_life: 2h}"]
    )
    tables = read_tables(drawn)
    return load_scenario(path), simulated(tables, build_market(drawn, tables), days, seed)
