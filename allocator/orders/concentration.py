"""Pre-trade checks of what is too much in one place: one leg alone, one market, one instrument, one currency.

Each is a function of a `Proposal` like those in `checks.py`. Amounts are USD.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from allocator import evaluate
from allocator.orders.outcome import Measured
from allocator.orders.proposal import Found, Proposal
from models.arrays import Vector


def leg_risk(p: Proposal) -> Found:
    """Net delta of a coin while only the buys, or only the sells, of one batch are filled.

    Measured is by how much it lies outside the way from the delta before the batch to the delta after it:
    legs that all move towards the target leave nothing naked, a roll from venue to venue its whole size.
    """
    bound = p.rules.leg_risk
    assert bound is not None
    delta = evaluate.deltas(p.market, p.market.positions.usd)
    found, batches = [], dict.fromkeys(order.batch for order in p.orders)
    for batch in sorted(batches):
        bought, sold = np.zeros(len(delta)), np.zeros(len(delta))
        for order in p.orders:
            if order.batch == batch:
                asset = p.market.asset_of[p.instrument(order)]
                (bought if order.side == "buy" else sold)[asset] += float(order.notional_usd)
        # Before, after, and either side alone: delta + bought and delta − sold are the ends of what can be.
        naked = np.minimum(bought, sold)
        found += [
            Measured(
                f"batch {batch}: {p.market.assets[a]}",
                float(naked[a]),
                bound,
                f"net delta {_signed(delta[a] + bought[a])} with its buys alone, "
                f"{_signed(delta[a] - sold[a])} with its sells alone",
            )
            for a in np.flatnonzero(bought + sold)
        ]
        delta = delta + bought - sold
    return found


def _signed(usd: float) -> str:
    return f"{'-' if usd < 0 else ''}${abs(usd):,.0f}"


def venue_open_interest_share(p: Proposal) -> Found:
    """All positions in a coin at one exchange after all fills, of every account, against its open interest.

    Open interest that several accounts share counts once; instruments that state none are left out.
    """
    bound, stated = p.rules.venue_open_interest_share, p.stated.open_interest_usd
    assert bound is not None
    if np.isnan(stated).all():
        return "the instruments table states no open_interest_usd"
    size, grows = np.abs(p.rounded.decision.positions), p.grows
    held: dict[tuple[str, str], float] = {}
    interest: dict[tuple[str, str], dict[str, float]] = {}
    concerned = set()
    for k, instrument in enumerate(p.market.instruments):
        if np.isfinite(stated[k]):
            place = (instrument.exchange, instrument.asset)
            held[place] = held.get(place, 0.0) + float(size[k])
            interest.setdefault(place, {})[instrument.symbol] = float(stated[k])
            if grows[k]:
                concerned.add(place)
    return [
        Measured(f"{exchange} {asset}", _share(held[exchange, asset], interest[exchange, asset]), bound)
        for exchange, asset in sorted(concerned)
    ]


def _share(held: float, interest: Mapping[str, float]) -> float:
    total = sum(interest.values())
    return held / total if total > 0 else float("inf")


def instrument_share(p: Proposal) -> Found:
    """A growing position against the gross of all positions after all fills."""
    bound, size = p.rules.instrument_share, np.abs(p.rounded.decision.positions)
    assert bound is not None
    return [Measured(name, float(size[k] / size.sum()), bound) for k, name in p.subjects(p.grows)]


def collateral_currency_share(p: Proposal) -> Found:
    """Each currency against all collateral at the venues after transfers and costs, at market, no haircut."""
    bound = p.rules.collateral_currency_share
    assert bound is not None
    if not p.orders:
        return []
    costs = evaluate.trade_costs(p.market, p.trades).total
    balances = evaluate.balances(p.market, p.rounded.decision, costs, in_transit=True)
    by_currency = _by_currency(p, np.maximum(balances, 0.0))
    total = sum(by_currency.values())
    if total <= 0:
        return "there is no collateral"
    return [Measured(currency, usd / total, bound) for currency, usd in sorted(by_currency.items())]


def _by_currency(p: Proposal, balances: Vector) -> dict[str, float]:
    found: dict[str, float] = {}
    for pocket, usd in zip(p.market.pockets, balances.tolist(), strict=True):
        found[pocket.currency] = found.get(pocket.currency, 0.0) + usd
    return found
