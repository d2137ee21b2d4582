"""A synthetic history of a scenario's own market, so that a backtest runs where nothing is recorded.

Contract terms, margin, book and last prices are the snapshot's; the past is drawn from one seed and is called
synthetic wherever it is shown.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from allocator.market.observed import INDEX
from allocator.market.types import Market
from allocator.snapshot.read import SnapshotData
from models.arrays import Vector
from models.covariance import RiskModel
from models.simulate import (
    Matrix,
    SimulatedCoins,
    clamped_funding,
    coin_paths,
    reverting_paths,
    settlement_premiums,
)

BASIS_LEVEL, BASIS_HALF_LIFE = 0.0006, 2.0
PREMIUM_MEAN, PREMIUM_SD, PREMIUM_HALF_LIFE = 0.0003, 0.0004, 48.0
CURRENCY_LEVEL, CURRENCY_HALF_LIFE = 0.0003, 24.0
_TERMS_DAYS = 7


def simulated(
    snapshot: SnapshotData, market: Market, days: int, seed: int, bar_hours: int = 1
) -> SnapshotData:
    """The snapshot with `days` of synthetic prices and funding up to the market's `as_of`."""
    random = np.random.default_rng(seed)
    bars = days * 24 // bar_hours + 1
    end = pd.Timestamp(market.as_of)
    times = pd.date_range(end=end, periods=bars, freq=f"{bar_hours}h").as_unit("us")
    last = _last_prices(snapshot, market)
    sd = _daily_volatility(market.risk, market.decision_hours)
    coins = coin_paths(random, SimulatedCoins(sd, 0.7), last, bars, bar_hours)
    currencies = 1 + reverting_paths(
        random, np.full(len(market.currencies), CURRENCY_LEVEL), CURRENCY_HALF_LIFE, bars, bar_hours
    )
    n = len(market.instruments)
    basis = reverting_paths(random, np.full(n, BASIS_LEVEL), BASIS_HALF_LIFE, bars, bar_hours)
    frames = [_series(times, INDEX, f"{asset}/USD", coins[:, a]) for a, asset in enumerate(market.assets)] + [
        _series(times, INDEX, f"{c}/USD", currencies[:, k]) for k, c in enumerate(market.currencies)
    ]
    shared = reverting_paths(
        random, np.full(len(market.assets), PREMIUM_SD), PREMIUM_HALF_LIFE, bars, bar_hours
    )
    own = reverting_paths(random, np.full(n, PREMIUM_SD / 2), PREMIUM_HALF_LIFE, bars, bar_hours)
    premium = PREMIUM_MEAN + shared[:, market.asset_of] + own
    paid, drawn = [], set[tuple[str, str]]()
    for k, i in enumerate(market.instruments):
        if (i.exchange, i.symbol) in drawn:
            continue  # the same perp in another account
        drawn.add((i.exchange, i.symbol))
        quote = currencies[:, market.index_currency_of[k]] if market.index_currency_of[k] >= 0 else 1.0
        marks = coins[:, market.asset_of[k]] * i.contract.coins_per_unit / quote * (1 + basis[:, k])
        frames.append(_series(times, i.exchange, i.symbol, marks))
        if i.expiry is None:
            paid.append(_funding(times, market, k, premium, bar_hours))
    tables = dict(snapshot.tables)
    tables["prices"] = _lines(pd.concat(frames, ignore_index=True).sort_values(["time", "venue", "symbol"]))
    if paid:
        tables["funding"] = _lines(
            pd.concat(paid, ignore_index=True).sort_values(["time", "venue", "symbol"])
        )
    for name in ("instruments", "margin_tiers"):
        # Today's terms stand for the whole of a past that never was, restated so that they never are old.
        stated = [tables[name].assign(time=time) for time in times[:: _TERMS_DAYS * 24 // bar_hours]]
        tables[name] = _lines(pd.concat(stated, ignore_index=True))
    return replace(snapshot, tables=tables, newest=market.as_of)


def _series(times: pd.DatetimeIndex, venue: str, symbol: str, values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"time": times, "venue": venue, "symbol": symbol, "price": values})


def _lines(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_axis(pd.RangeIndex(1, len(frame) + 1, name="line"))


def _funding(
    times: pd.DatetimeIndex, market: Market, k: int, premium: Matrix, bar_hours: int
) -> pd.DataFrame:
    """Settled rates of one perp on its venue's clock."""
    hours = int(market.funding.interval_hours[k])
    each = max(hours // bar_hours, 1)
    bars = [bar for bar in range(1, len(times)) if times[bar].hour % hours == 0 and times[bar].minute == 0]
    average = settlement_premiums(premium, k, bars, each)
    rates = clamped_funding(average, hours, 0.0001, float(market.funding.cap[k]))
    settled = times[bars]
    i = market.instruments[k]
    return pd.DataFrame(
        {
            "time": settled,
            "venue": i.exchange,
            "symbol": i.symbol,
            "settlement_time": settled,
            "rate": rates,
            "interval_hours": np.int64(hours),
        }
    )


def _last_prices(snapshot: SnapshotData, market: Market) -> np.ndarray:
    prices = snapshot.tables["prices"]
    index = prices[(prices["venue"] == INDEX) & (prices["time"] <= market.as_of)].sort_values("time")
    last = index.drop_duplicates("symbol", keep="last").set_index("symbol")["price"]
    return last.reindex([f"{asset}/USD" for asset in market.assets]).to_numpy(dtype=float)


def _daily_volatility(risk: RiskModel, decision_hours: float) -> Vector:
    variance = np.square(risk.asset_loadings).sum(axis=0) + np.square(risk.asset_idiosyncratic)
    return np.asarray(np.sqrt(variance * 24 / decision_hours))
