"""More parts of `result.json`: what pages and pictures are made of, what is held, what may be ordered."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Series
from typing import Any

import numpy as np

from allocator import outlook
from allocator.market.types import Decision, Index, Market
from allocator.orders.order_list import timestamp
from allocator.orders.sequence import Sequence
from allocator.orders.states import State
from allocator.result import Json, number, usd
from models.arrays import Vector
from models.contracts import plain, round_to_lot


def summary(result: Mapping[str, Any]) -> Json:
    """Totals of a result's own rows: what is traded and moved, and the cash that leaves for it at once."""
    paid = [value for key, value in result["cash"].items() if not key.startswith(("funding_", "carry_"))]
    near = [row for row in result["venues"] if row["liquidation_move"] is not None]
    nearest = min(near, key=lambda row: abs(row["liquidation_move"]), default=None)
    sure = [row for row in result["venues"] if row["cushion_sigmas"] is not None]
    tightest = min(sure, key=lambda row: row["cushion_sigmas"], default=None)
    return {
        "traded_usd": usd(sum(abs(row["trade_usd"]) for row in result["positions"])),
        "transferred_usd": usd(sum(row["amount_usd"] for row in result["transfers"])),
        "paid_usd": usd(sum(paid)),
        "nearest_liquidation": nearest and {key: nearest[key] for key in ("name", "liquidation_move")},
        "fewest_sigmas": tightest and {key: tightest[key] for key in ("name", "cushion_sigmas")},
    }


def data(market: Market) -> list[Json]:
    """Age of each table against its limit; of the stalest that is used of it."""
    return [
        {
            "table": age.table,
            "rows": age.rows,
            "oldest_used": timestamp(age.oldest) if age.oldest is not None else None,
            "age_hours": None if age.age_hours is None else number(age.age_hours),
            "limit_hours": number(age.limit_hours),
        }
        for age in market.ages
    ]


def equity_by_price(market: Market, decision: Decision, venues: Series[Mapping[str, Any]]) -> Json:
    """Equity and maintenance margin of each venue at common price moves of all coins."""
    near = [row["liquidation_move"] for row in venues if row["liquidation_move"] is not None]
    curve = outlook.equity_curve(market, decision, near)
    return {
        "move": [number(move) for move in curve.moves],
        "venues": [
            {
                "name": account.name,
                "equity_usd": [usd(value) for value in curve.equity[:, v]],
                "maintenance_margin_usd": [usd(value) for value in curve.maintenance_margin[:, v]],
            }
            for v, account in enumerate(market.accounts)
        ],
    }


def carry(market: Market, positions: Vector) -> Json:
    """Expected funding by venue, by coin, by both, and in all, each with the sd of its forecast error."""

    def row(labels: Json, members: Index) -> Json:
        found = outlook.carry(market, positions, members)
        return {
            **labels,
            "position_usd": usd(found.position_usd),
            "to_next_settlement_usd": usd(found.next_usd),
            "per_decision_horizon_usd": usd(found.horizon_usd),
            "over_holding_horizon_usd": usd(found.holding_usd),
            "error_sd_usd": usd(found.sd_usd),
        }

    pairs = sorted(set(zip(market.venue_of.tolist(), market.asset_of.tolist(), strict=True)))
    both = [np.flatnonzero((market.venue_of == v) & (market.asset_of == a)) for v, a in pairs]
    return {
        "total": row({}, np.arange(len(market.instruments))),
        "by_venue": [
            row({"name": account.name}, np.flatnonzero(market.venue_of == v))
            for v, account in enumerate(market.accounts)
        ],
        "by_asset": [
            row({"asset": asset}, np.flatnonzero(market.asset_of == a))
            for a, asset in enumerate(market.assets)
        ],
        "by_venue_and_asset": [
            row({"name": market.accounts[v].name, "asset": market.assets[a]}, members)
            for (v, a), members in zip(pairs, both, strict=True)
        ],
    }


def holdings(market: Market) -> list[Json]:
    """What is held outside the margin accounts, when it may move or comes, and whether it is collateral."""
    return [
        {
            "name": held.name,
            "kind": held.kind,
            "asset": held.asset,
            "value_usd": usd(held.usd),
            "confidence": number(held.confidence),
            "until": None if held.until is None else timestamp(held.until),
            "to": held.venue,
            "counts_as_collateral": held.arrives,
        }
        for held in market.holdings
    ]


def instruments(market: Market) -> list[Json]:
    """Units of every instrument and what is held of it, exact: what reads the orders later needs them."""
    rows = []
    for i, instrument in enumerate(market.instruments):
        contract = instrument.contract
        held = round_to_lot(float(market.positions.contracts[i]), contract.lot_contracts, "nearest")
        rows.append(
            {
                "venue": instrument.exchange,
                "account": instrument.account,
                "symbol": instrument.symbol,
                "asset": instrument.asset,
                "kind": contract.kind,
                "contract_size": plain(contract.contract_size),
                "lot_contracts": plain(contract.lot_contracts),
                "tick": plain(contract.tick),
                "min_contracts": plain(contract.min_contracts),
                "min_notional_usd": plain(contract.min_notional_usd),
                "held_contracts": plain(held),
                "usd_per_contract": number(float(market.prices.usd_per_contract[i])),
            }
        )
    return rows


def sequence(found: Sequence) -> Json:
    """Every state between the first transfer and the last fill, and the worst of them."""

    def row(state: State) -> Json:
        return {
            "state": state.name,
            "venue": state.venue or None,
            "limit": state.limit or None,
            "slack_usd": usd(state.slack_usd),
            "volatility_usd": usd(state.volatility_usd),
            "unhedged_usd": usd(state.unhedged_usd),
        }

    return {
        "passed": found.passed,
        "batches": len(found.batches),
        "waits_for_transfers": sorted(found.waiting),
        "worst": row(found.worst) if found.worst is not None else None,
        "failures": [row(state) for state in found.failures],
        "states": [row(state) for state in found.states],
    }
