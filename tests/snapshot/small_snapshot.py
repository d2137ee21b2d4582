"""A small valid snapshot as csv text, for tests that spoil one thing in it."""

from pathlib import Path

AS_OF = "2026-11-20T00:00:00Z"
_HEAD = "time,venue,symbol"

TABLES_CSV = {
    "instruments": f"""\
{_HEAD},venue_symbol,kind,asset,index_currency,settlement_currency,contract_size,lot_contracts,tick,min_contracts,min_notional_usd,coins_per_unit,funding_interval_hours,funding_cap,half_spread,adv_usd
{AS_OF},okx,BTC/USDT:USDT,BTC-USDT-SWAP,linear,BTC,USDT,USDT,0.01,0.01,0.1,0.01,0,1,8,0.00375,0.000002,9e9
{AS_OF},binance,BTC/USD:BTC,BTCUSD_PERP,inverse,BTC,USD,BTC,100,1,0.1,1,0,1,8,0.003,0.000002,2e9
{AS_OF},binance,1000PEPE/USDT:USDT,1000PEPEUSDT,linear,PEPE,USDT,USDT,1,1,0.0000001,1,5,1000,4,0.02,0.00005,5e8
{AS_OF},hyperliquid,BTC/USDC:USDC,BTC,linear,BTC,USDC,USDC,1,0.00001,1,0.00001,10,1,1,0.04,0.00001,3e9
""",
    "prices": f"""\
{_HEAD},price
{AS_OF},index,BTC/USD,100000
{AS_OF},index,PEPE/USD,0.00001
{AS_OF},index,USDT/USD,0.9998
{AS_OF},index,USDC/USD,1
{AS_OF},okx,BTC/USDT:USDT,100030.5
{AS_OF},binance,BTC/USD:BTC,99990
{AS_OF},binance,1000PEPE/USDT:USDT,0.01001
{AS_OF},hyperliquid,BTC/USDC:USDC,100010
""",
    "funding": f"""\
{_HEAD},settlement_time,rate,interval_hours
2026-11-19T08:00:00Z,okx,BTC/USDT:USDT,2026-11-19T08:00:00Z,0.0001,8
2026-11-19T16:00:00Z,okx,BTC/USDT:USDT,2026-11-19T16:00:00Z,0.0001,8
{AS_OF},okx,BTC/USDT:USDT,{AS_OF},0.00012,8
{AS_OF},okx,BTC/USDT:USDT,2026-11-20T08:00:00Z,0.0001,8
2026-11-19T22:00:00Z,hyperliquid,BTC/USDC:USDC,2026-11-19T22:00:00Z,0.0000125,1
2026-11-19T23:00:00Z,hyperliquid,BTC/USDC:USDC,2026-11-19T23:00:00Z,0.0000125,1
{AS_OF},hyperliquid,BTC/USDC:USDC,{AS_OF},0.00002,1
""",
    "books": f"""\
{_HEAD},side,level,price,size_contracts
{AS_OF},okx,BTC/USDT:USDT,bid,1,100030.4,120
{AS_OF},okx,BTC/USDT:USDT,bid,2,100030.3,300
{AS_OF},okx,BTC/USDT:USDT,ask,1,100030.6,90
{AS_OF},okx,BTC/USDT:USDT,ask,2,100030.9,400
""",
    "margin_tiers": f"""\
{_HEAD},tier,floor_usd,cap_usd,maintenance_margin_rate,deduction_usd,max_leverage
{AS_OF},okx,BTC/USDT:USDT,1,0,300000,0.004,0,150
{AS_OF},okx,BTC/USDT:USDT,2,300000,800000,0.005,300,100
{AS_OF},okx,BTC/USDT:USDT,3,800000,3000000,0.0065,1500,75
""",
    "holdings": f"""\
time,name,kind,asset,coins,confidence,expected_time
{AS_OF},treasury,spot,BTC,40,1,
{AS_OF},block,anticipated,BTC,5,0.5,2026-11-21T00:00:00Z
""",
    "positions": f"""\
time,venue,account,symbol,contracts,entry_price,open_buy_contracts,open_sell_contracts
{AS_OF},okx,main,BTC/USDT:USDT,-1250.5,98000,0,10
{AS_OF},hyperliquid,main,BTC/USDC:USDC,-2.5,99000,0,0
""",
    "collateral": f"""\
time,venue,account,currency,coins,withdrawable_coins
{AS_OF},okx,main,USDT,900000,400000
{AS_OF},okx,main,BTC,-2,0
{AS_OF},hyperliquid,main,USDC,500000,100000
""",
}


def write_snapshot(folder: Path, tables: dict[str, str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (tables or TABLES_CSV).items():
        (folder / f"{name}.csv").write_text(text)
    return folder
