"""A desk on two made-up venues, Nova (brackets in USD) and Coinbay (inverse, caps in coins), and no code."""

from __future__ import annotations

from pathlib import Path

from allocator.allocation import read_tables
from allocator.market.build import build_market
from allocator.market.types import Market
from allocator.scenario.load import LoadedScenario, load_scenario
from allocator.snapshot.read import SnapshotData

AS_OF = "2026-11-20T00:00Z"

NOVA = """\
schema_version: 1
venue: nova
as_of: 2026-11-10
sources:
  page: {title: Nova rules, date: 2026-11, tag: official}
  memory: {title: Nova contract list, date: 2026-11, tag: memory}
fees: {maker: 1bp, taker: 4bp, source: page, unverified: [maker]}
funding: {interval: 8h, cap: 0.5%/8h, source: page}
liquidation_penalty: {by_asset: {all: 1%}, source: page}
margin: {rules: {tiers: marginal, netting: none}, source: page}
instruments:
  BTC/USDT:USDT:
    {venue_symbol: BTCUSDT, contract_size: 0.01, lot_contracts: 1, tick: 0.5, min_contracts: 1,
     min_notional_usd: 10, source: page, unverified: [tick]}
  ETH/USDT:USDT:
    {venue_symbol: ETHUSDT, contract_size: 0.1, lot_contracts: 1, tick: 0.05, min_contracts: 1,
     min_notional_usd: 10, source: page}
margin_tiers:
  all:
    symbols: [BTC/USDT:USDT, ETH/USDT:USDT]
    source: page
    tiers:
      - {cap: $1m, rate: 0.5%, max_leverage: 50x, deduction: 0}
      - {floor: $1m, cap: $5m, rate: 1%, max_leverage: 25x, deduction: $5k}
      - {rate: 2%, max_leverage: 10x}
"""

COINBAY = """\
schema_version: 1
venue: coinbay
as_of: 2026-11-10
sources:
  page: {title: Coinbay rules, date: 2026-11, tag: official}
fees: {maker: 0, taker: 3bp, source: page}
funding: {interval: 1h, cap_rule: {multiple: 6x, of: initial_less_maintenance, per: 8h}, source: page}
margin: {rules: {netting: long_short}, source: page}
instruments:
  BTC/USD:BTC:
    {venue_symbol: BTC-PERP, contract_size: 10, lot_contracts: 1, tick: 0.5, min_contracts: 1,
     min_notional_usd: 0, source: page}
margin_tiers:
  btc:
    symbols: [BTC/USD:BTC]
    source: page
    tiers:
      - {cap_coins: 50, rate: 1.2%, max_leverage: 50x}
      - {cap_coins: 200, rate: 5%, max_leverage: 10x}
"""

SCENARIO = """\
schema_version: 1
name: tables
horizons: {decision: 24h, holding: 14d}
snapshot: {folder: data}
venues:
  nova:
    table: nova.yaml
    haircuts: {USDT: 0}
  coinbay:
    table: coinbay.yaml
    haircuts: {BTC: 5%}
instruments:
  nova_perps: {venue: nova, symbols: all, leverage: 10x}
  coin: {venue: coinbay, symbols: all, leverage: 5x}
forecasts:
  assets: {method: given, daily_volatility: {BTC: 2.5%, ETH: 3.5%}, correlation: 0.8}
  basis: {method: given, level: 6bp, half_life: 2h}
  currencies: {daily_volatility: {USDT: 5bp}}
objective:
  risk_aversion_per_usd: 1.0e-5
  impact: {model: none}
stresses:
  rally: {move: 30%}
"""

_HEAD = "time,venue,symbol"
TABLES = {
    "instruments": f"""\
{_HEAD},half_spread,adv_usd
{AS_OF},nova,BTC/USDT:USDT,0.000005,5e9
{AS_OF},nova,ETH/USDT:USDT,0.00001,2e9
{AS_OF},coinbay,BTC/USD:BTC,0.00001,1e9
""",
    "prices": f"""\
{_HEAD},price
{AS_OF},index,BTC/USD,100000
{AS_OF},index,ETH/USD,4000
{AS_OF},index,USDT/USD,1
{AS_OF},nova,BTC/USDT:USDT,100010
{AS_OF},nova,ETH/USDT:USDT,4001
{AS_OF},coinbay,BTC/USD:BTC,100020
""",
    "funding": f"{_HEAD},settlement_time,rate,interval_hours\n"
    + "".join(
        f"{time},{venue},{symbol},{time},{rate},{hours}\n"
        for venue, symbol, rate, hours, times in (
            ("nova", "BTC/USDT:USDT", 0.0001, 8, ("2026-11-19T16:00Z", AS_OF)),
            ("nova", "ETH/USDT:USDT", 0.0001, 8, ("2026-11-19T16:00Z", AS_OF)),
            ("coinbay", "BTC/USD:BTC", 0.00001, 1, ("2026-11-19T23:00Z", AS_OF)),
        )
        for time in times
    ),
    "holdings": "time,name,kind,asset,coins,confidence\n"
    f"{AS_OF},vault,spot,BTC,30,1\n{AS_OF},eth,spot,ETH,300,1\n",
    "positions": f"{_HEAD},account,contracts,entry_price,open_buy_contracts,open_sell_contracts\n",
    "collateral": "time,venue,account,currency,coins,withdrawable_coins\n"
    f"{AS_OF},nova,main,USDT,3000000,0\n{AS_OF},coinbay,main,BTC,8,0\n",
}


def write_desk(folder: Path, **texts: str) -> Path:
    """Write scenario, tables and snapshot; `texts` replace files by stem, such as ``nova`` or ``prices``."""
    for name, text in {"scenario": SCENARIO, "nova": NOVA, "coinbay": COINBAY}.items():
        (folder / f"{name}.yaml").write_text(texts.pop(name, text))
    (folder / "data").mkdir(exist_ok=True)
    for name, text in {**TABLES, **texts}.items():
        (folder / "data" / f"{name}.csv").write_text(text)
    return folder / "scenario.yaml"


def read(path: Path, *sets: str) -> tuple[LoadedScenario, SnapshotData, Market]:
    """The scenario, its tables and its market."""
    loaded = load_scenario(path, sets=sets)
    data = read_tables(loaded)
    return loaded, data, build_market(loaded, data)
