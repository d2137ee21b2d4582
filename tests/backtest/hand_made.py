"""A history made by hand for the desk on two made-up venues: prices at rest, but for what a test moves."""

from __future__ import annotations

import pandas as pd
from nova_desk import AS_OF

HOURS = 48
START = pd.Timestamp(AS_OF) - pd.Timedelta(hours=HOURS)


def tables(bitcoin: dict[int, float], rates: dict[int, float]) -> dict[str, str]:
    """Prices at rest but for BTC from an hour on; funding of 1 bp but for BTC on Nova at an hour."""
    rows, funding, coin = [], [], 100_000.0
    for hour in range(-16, HOURS + 1):
        time = (START + pd.Timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%MZ")
        coin = bitcoin.get(hour, coin)
        marks = {"index,BTC/USD": coin, "nova,BTC/USDT:USDT": coin, "coinbay,BTC/USD:BTC": coin}
        marks |= {"index,ETH/USD": 4000, "index,USDT/USD": 1, "nova,ETH/USDT:USDT": 4000}
        rows += [f"{time},{key},{price}" for key, price in marks.items()]
        if hour % 8 == 0:
            rate = rates.get(hour, 0.0001)
            funding.append(f"{time},nova,BTC/USDT:USDT,{time},{rate},8")
            funding.append(f"{time},nova,ETH/USDT:USDT,{time},0.0001,8")
        funding.append(f"{time},coinbay,BTC/USD:BTC,{time},0.00001,1")
    terms = (START - pd.Timedelta(hours=20)).strftime("%Y-%m-%dT%H:%MZ")
    return {
        "prices": "time,venue,symbol,price\n" + "\n".join(rows) + "\n",
        "funding": "time,venue,symbol,settlement_time,rate,interval_hours\n" + "\n".join(funding) + "\n",
        "instruments": "time,venue,symbol,half_spread,adv_usd\n"
        f"{terms},nova,BTC/USDT:USDT,0.000005,5e9\n{terms},nova,ETH/USDT:USDT,0.00001,2e9\n"
        f"{terms},coinbay,BTC/USD:BTC,0.00001,1e9\n",
    }
