"""What instruments are worth now, and what is held of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from allocator.errors import Problem
from allocator.market.exposures import Reference
from allocator.market.observed import Newest, Row
from allocator.market.sense import check_amount
from allocator.market.types import Instrument, Positions, Prices
from allocator.market.universe import Findings, Listing
from models.arrays import Vector
from models.contracts import unrealised_pnl_settle, usd_per_contracts


def current_prices(
    listings: list[Listing], instruments: tuple[Instrument, ...], newest: Newest, reference: Reference
) -> Prices:
    """Newest marks (n,) with their USD values; a currency without one is a problem."""
    times = newest.times["prices"]
    mark = np.array([newest.prices[listing.key] for listing in listings], dtype=float)
    quote = np.array([reference.of(i.index_currency, i.key) for i in instruments])
    quote = np.where(np.isfinite(quote), quote, 1.0)  # a missing quote is already a problem
    usd = usd_per_contracts([i.contract for i in instruments], mark, quote)
    return Prices(mark, quote, usd, tuple(times[listing.key] for listing in listings))


def current_positions(
    rows: Sequence[Row],
    instruments: tuple[Instrument, ...],
    prices: Prices,
    findings: Findings,
) -> tuple[Positions, Vector]:
    """What is held, and each position's unrealised P&L in USD (n,); one outside the market is a problem."""
    place = {(i.exchange, i.account, i.symbol): k for k, i in enumerate(instruments)}
    n = len(instruments)
    contracts, buys, sells, unrealised = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    for row in rows:
        if row["contracts"] == 0 and row["open_buy_contracts"] == 0 and row["open_sell_contracts"] == 0:
            continue
        key = (row["venue"], row["account"], row["symbol"])
        if key not in place:
            message = (
                f"{' '.join(key)} is held but does not take part; "
                "add it to instruments (reduce_only or no_trade) or mend its data"
            )
            findings.problems.append(Problem("positions", message))
            continue
        i = place[key]
        contracts[i] = row["contracts"]
        check_amount(contracts[i] * prices.usd_per_contract[i], " ".join(key), "positions", findings)
        buys[i], sells[i] = row["open_buy_contracts"], row["open_sell_contracts"]
        if contracts[i]:
            gain = unrealised_pnl_settle(
                instruments[i].contract, float(contracts[i]), float(row["entry_price"]), float(prices.mark[i])
            )
            unrealised[i] = gain * _settlement_usd(instruments[i], prices, i)
    usd = prices.usd_per_contract
    return Positions(contracts, contracts * usd, buys * usd, sells * usd), unrealised


def _settlement_usd(instrument: Instrument, prices: Prices, i: int) -> float:
    """USD value of one unit of what `unrealised_pnl_settle` counts in."""
    if instrument.contract.kind == "linear":
        return float(prices.quote_usd[i])
    return float(prices.mark[i] * prices.quote_usd[i] / instrument.contract.coins_per_unit)


def coin_prices(instruments: tuple[Instrument, ...], prices: Prices) -> Vector:
    """USD of one coin at each instrument's mark (n,)."""
    units = np.array([i.contract.coins_per_unit for i in instruments], dtype=float)
    return np.asarray(prices.mark * prices.quote_usd / units)
