"""The desk of the recorded backtests: eight coins, three venues, one all-in cost; and how a walk is measured.

Figures are bp of the book a day, in two conventions. `Measured` is what the walk booked, of the book at its
start. `by_hand` restates $1m of every coin each day and charges turnover between the weights of two days,
nothing else: so was the sketch measured that the allocator is compared with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import recorded_walks as rw

from allocator.allocation import read_tables
from allocator.backtests.decide import Moment, only
from allocator.backtests.engine import Span, Walk, walk
from allocator.backtests.rivals import strategies
from allocator.backtests.tape import Tape
from allocator.market.types import Decision
from allocator.scenario.load import LoadedScenario, load_scenario

EARLY = (pd.Timestamp("2024-11-05", tz="UTC"), pd.Timestamp("2025-02-08", tz="UTC"))
LATE = (pd.Timestamp("2025-02-08", tz="UTC"), pd.Timestamp("2025-04-14", tz="UTC"))
DAY = pd.Timedelta("24h")
COST = 6e-4
PERPS = tuple((v, c) for v in ("binance", "okx", "hyperliquid") for c in rw.EIGHT if (v, c) not in rw.UNPAID)
# Fully hedged within lots and a day's drift; the least basis sd far below the median of these liquid perps.
SETTINGS = (
    "limits.hedged={kind: hedge_ratio, min: 99%, max: 101%}",
    "forecasts.basis.floor=0.5bp",
)


@dataclass(frozen=True, eq=False)
class Desk:
    """A scenario file over recorded tables, its tape, and the days it is about."""

    path: Path
    tape: Tape
    start: pd.Timestamp

    def load(self, *sets: str) -> LoadedScenario:
        """The scenario with more keys set."""
        return load_scenario(self.path, sets=list(sets))

    def walk(self, name: str, days: float, *sets: str) -> Walk:
        """One strategy by the name a scenario gives it, or `last_days`, from the start on."""
        loaded = self.load(*sets)
        strategy = {**strategies(list(loaded.scenario.venues)), "last_days": last_days}[name]
        return walk(loaded, self.tape, Span(self.start, self.start + days * DAY, DAY), name, strategy)


def desk_of(folder: Path, start: pd.Timestamp) -> Desk:
    """Eight coins of $1m each at `start`, with more collateral than margin can ask for on three venues."""
    venues = ["binance", "okx", "hyperliquid"]
    rw.write_walk(folder, rw.ten_coins(), start, dict.fromkeys(rw.EIGHT, 1e6), dict.fromkeys(venues, 4e7))
    chosen = {"symbols": "all", "leverage": "5x", "assets": list(rw.EIGHT), "on_missing": "drop"}
    document = rw.walk_document(
        folder, venues, instruments={venue: {"venue": venue, **chosen} for venue in venues}
    )
    path = rw.write_document(document, folder)
    return Desk(path, Tape.of(read_tables(load_scenario(path))), start)


def last_days(moment: Moment) -> Decision:
    """The pairwise rule by hand: each coin whole where the last three days' funding was the highest."""
    market, now = moment.market, moment.tape.times[moment.row]
    paid = moment.tape.funding_between(now - 3 * DAY, now).groupby(["venue", "symbol"])["rate"].sum()
    seen = np.array([paid.get((i.exchange, i.symbol), -np.inf) for i in market.instruments])
    x = np.zeros(len(seen))
    for a, exposure in enumerate(market.exposure):
        mine = np.flatnonzero(market.asset_of == a)
        if mine.size and exposure:
            x[mine[np.argmax(np.sign(exposure) * seen[mine])]] = -exposure
    return only(market, x)


@dataclass(frozen=True)
class Measured:
    """bp of the book a day: sd (n, not n − 1) of price P&L, and funding, cost, turnover as means."""

    volatility: float
    funding: float
    cost: float
    turnover: float

    @property
    def carry(self) -> float:
        """Funding less cost."""
        return self.funding - self.cost


def measured(found: Walk, book_usd: float = 8e6) -> Measured:
    """What a walk booked, by day from its first bar on; the first day pays for the entry."""
    ledger, start = found.ledger.frame(), found.times[0]
    day = ((ledger["time"] - start) / DAY).pipe(np.ceil).clip(lower=1).astype(int)
    flows = ledger.pivot_table(index=day, columns="kind", values="usd", aggfunc="sum", fill_value=0.0)
    # The day's own prices: what is settled, and what holdings and balances are worth.
    price = sum(flows[kind] for kind in ("price", "holding", "revaluation") if kind in flows)
    paid = sum(-flows[kind].mean() for kind in ("fee", "slippage", "impact", "transfer") if kind in flows)
    turnover = sum(choice.trade_usd for choice in found.choices) / len(flows)
    scale = 1e4 / book_usd
    funding = float(flows["funding"].mean()) if "funding" in flows else 0.0
    return Measured(float(price.std(ddof=0)) * scale, funding * scale, float(paid) * scale, turnover * scale)


def weights(found: Walk, days: Iterable[pd.Timestamp]) -> np.ndarray:
    """Shorts (days, perps of `PERPS`) per dollar of their coin, as each decision left them."""
    held = pd.DataFrame(found.positions, columns=["time", "venue", "symbol", "usd"])
    held = held.assign(coin=held["symbol"].str.partition("/")[0])
    table = held.pivot_table(index="time", columns=["venue", "coin"], values="usd", fill_value=0.0)
    table = table.reindex(index=pd.DatetimeIndex(list(days)), columns=list(PERPS), fill_value=0.0)
    spot, coins = prices()[1], book(found.times[0])
    worth = np.array([[spot.loc[t, coin] * coins[coin] for _, coin in PERPS] for t in table.index])
    return np.asarray(-table.to_numpy() / worth)


@cache
def prices() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Closes of perps by (venue, coin), spot by coin, and settled rates, straight from the recorded panel."""
    panel = rw.ten_coins()
    perps = panel.perps.pivot_table(index="time", columns=["venue", "coin"], values="price")
    rates = panel.funding.assign(coin=panel.funding["symbol"].str.partition("/")[0])
    paid = rates.pivot_table(index="settlement_time", columns=["venue", "coin"], values="rate")
    return perps.ffill(), panel.spot.pivot_table(index="time", columns="coin", values="price").ffill(), paid


@cache
def book(start: pd.Timestamp) -> Mapping[str, float]:
    """Coins that were $1m each at `start`."""
    return {coin: 1e6 / float(prices()[1].loc[start, coin]) for coin in rw.EIGHT}


def by_hand(shares: np.ndarray, start: pd.Timestamp, settled_at_decision: bool = False) -> Measured:
    """Plain pandas: $1m of every coin each day, shorts of `shares` (days, perps) of it, 6 bp on what changes.

    Funding of a day is what settles after its decision, up to the next; `settled_at_decision` counts the
    settlement at the very moment of the decision, which no one can trade on, and not that of the next.
    """
    days = pd.date_range(start, periods=len(shares) + 1, freq="24h")
    perps, spot, paid = prices()
    moves = perps.reindex(days)[list(PERPS)].pct_change().iloc[1:].to_numpy()
    coins = spot.reindex(days)[[coin for _, coin in PERPS]].pct_change().iloc[1:].to_numpy()
    once = np.array([PERPS.index(next(p for p in PERPS if p[1] == coin)) for coin in rw.EIGHT])
    price = coins[:, once].sum(axis=1) - np.nansum(shares * moves, axis=1)
    side = "left" if settled_at_decision else "right"
    rows = paid.index.searchsorted(days, side=side)
    rates = np.array([paid[list(PERPS)].iloc[a:b].sum().to_numpy() for a, b in pairwise(rows)])
    turnover = np.abs(np.diff(shares, axis=0, prepend=0.0)).sum(axis=1)
    scale = 1e4 / len(rw.EIGHT)
    funding, traded = float((shares * rates).sum(axis=1).mean()), float(turnover.mean())
    return Measured(float(price.std()) * scale, funding * scale, COST * traded * scale, traded * scale)
