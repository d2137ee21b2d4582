"""`result.json`: everything a run says, as plain data. No NaN; what is not there is null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from allocator import evaluate, outlook
from allocator.audit.audit import Audit, breach_cost
from allocator.audit.limits import LimitValues
from allocator.errors import HedgeError, Infeasible, Problem
from allocator.market.boxes import box_owner
from allocator.market.held import coin_prices
from allocator.market.types import Box, Decision, Market
from allocator.orders.lots import Rounded
from allocator.orders.order_list import timestamp
from models.arrays import Vector
from models.covariance import variance_by_asset
from models.hedge import anticipation_variance, currency_exposure, hedge_effectiveness

SCHEMA_VERSION = 1
Json = dict[str, Any]


def to_text(result: Json) -> str:
    """JSON text of a result; raises ValueError should a NaN have slipped in."""
    return json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def header(run_id: str, scenario: str, market: Market | None, status: str) -> Json:
    """The part that every result begins with."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "scenario": scenario,
        "as_of": timestamp(market.as_of) if market is not None else None,
        "decision_hours": market.decision_hours if market is not None else None,
        "holding_hours": market.holding_hours if market is not None else None,
        "status": status,
    }


def refusal(error: HedgeError) -> Json:
    """What ``--json`` prints where there is no run: nothing was computed."""
    return {
        "schema_version": SCHEMA_VERSION,
        "status": error.status,
        "errors": [problem(p) for p in error.problems],
    }


def problem(found: Problem) -> Json:
    """One problem as data."""
    return {"source": found.source or None, "message": found.message}


def failure(error: HedgeError) -> Json:
    """What a run without orders says about why."""
    said: Json = {"errors": [problem(p) for p in error.problems]}
    if isinstance(error, Infeasible):
        said["conflict"] = [
            {
                "name": m.name,
                "subject": m.subject,
                "source": m.source,
                "stress_source": m.stress_source,
                "certificate": number(m.certificate),
                "shortfall_usd": usd(m.shortfall_usd),
            }
            for m in error.conflict
        ]
        said["background"] = error.background
        said["ways_out"] = [
            {
                "text": way.text,
                "cost_usd": usd(way.cost_usd),
                "changes": [
                    {
                        "name": change.name,
                        "source": change.source,
                        "unit": change.unit,
                        "value": number(change.value),
                        "to": number(change.to),
                        "text": change.text,
                    }
                    for change in way.changes
                ],
            }
            for way in error.ways_out
        ]
    return said


def number(value: float) -> float | None:
    """A float to twelve significant digits, or None where it is not finite."""
    return float(f"{value:.12g}") if math.isfinite(value) else None


def usd(value: float) -> float | None:
    """USD to a millionth."""
    return round(float(value), 6) + 0.0 if math.isfinite(value) else None


def objective(market: Market, audit: Audit, decision: Decision) -> Json:
    """The terms at the convex optimum and their total as the mode weighs them."""
    terms = evaluate.objective_terms(market, decision)
    return {
        "total_usd": usd(audit.objective_usd),
        **{f"{name}_usd": usd(value) for name, value in terms.items()},
        "breaches_usd": usd(breach_cost(audit.values)),
        "mode": market.objective.mode,
    }


def cash(market: Market, rounded: Rounded) -> Json:
    """Cash that the rounded trades and transfers cost, and funding and carry on the rounded positions."""
    x = rounded.decision.positions
    costs = evaluate.trade_costs(market, x - market.positions.usd)
    return {
        "fees_usd": usd(costs.fees.sum()),
        "slippage_usd": usd(costs.slippage.sum()),
        "impact_usd": usd(costs.impact.sum()),
        "transfers_usd": usd(float(market.transfers.cost @ rounded.decision.transfers)),
        "fixed_usd": usd(rounded.fixed_usd),
        "funding_to_next_settlement_usd": usd(float(market.funding.next_rate @ x)),
        "funding_over_holding_usd": usd(float(market.funding.total @ np.where(market.dated, 0.0, x))),
        "carry_over_holding_usd": usd(float(market.funding.total @ np.where(market.dated, x, 0.0))),
    }


def risk(market: Market, x: Vector) -> Json:
    """Volatility over the decision horizon with and without the hedge, and where it comes from."""
    hedged = evaluate.variances(market, x)
    unhedged = sum(evaluate.variances(market, np.zeros(len(x))).values())
    delta = evaluate.deltas(market, x)
    before = evaluate.deltas(market, market.positions.usd)
    by_asset = variance_by_asset(market.risk, delta, x, market.asset_of)
    parts = _exposure_by_kind(market)
    total = sum(hedged.values())
    return {
        "volatility_unhedged_usd": usd(math.sqrt(unhedged)),
        "volatility_hedged_usd": usd(math.sqrt(total)),
        "hedge_effectiveness": number(hedge_effectiveness(total, unhedged)) if unhedged > 0 else None,
        "volatility_of_anticipated_usd": usd(math.sqrt(_anticipation(market))),
        "by_asset": [
            {
                "asset": asset,
                "exposure_usd": usd(market.exposure[a]),
                "exposure_by_kind_usd": {kind: usd(value) for kind, value in parts[asset].items()},
                "positions_usd": usd(delta[a] - market.exposure[a]),
                "net_delta_usd": usd(delta[a]),
                "previous_net_delta_usd": usd(before[a]),
                "variance_share": number(by_asset[a] / total) if total > 0 else None,
                "basis_beta": number(_basis_beta(market, a)),
            }
            for a, asset in enumerate(market.assets)
        ],
        "by_source": {source: usd(math.sqrt(variance)) for source, variance in hedged.items()},
        "by_venue": [
            {"name": account.name, "variance_share": number(own / total) if total > 0 else None}
            for account, own in zip(
                market.accounts, outlook.basis_variance_by_venue(market, x).tolist(), strict=True
            )
        ],
        "loss_99_unhedged_usd": usd(outlook.gaussian_loss(math.sqrt(unhedged))),
        "loss_99_hedged_usd": usd(outlook.gaussian_loss(math.sqrt(total))),
        "currency_exposure": {
            currency: usd(amount)
            for currency, amount in zip(
                market.currencies, currency_exposure(market.cash, x, market.index_currency_of), strict=True
            )
        },
    }


def _basis_beta(market: Market, asset: int) -> float:
    """How much more than the coin its contracts move, as a fraction of its return; 0 without contracts."""
    mine = market.risk.beta_of[market.asset_of == asset]
    return float(mine.mean()) if mine.size else 0.0


def _exposure_by_kind(market: Market) -> dict[str, dict[str, float]]:
    """USD of each asset's exposure by how it is held; `collateral` is what is in, or soon in, the venues."""
    parts: dict[str, dict[str, float]] = {asset: {} for asset in market.assets}
    for held in market.holdings:
        if held.asset in parts and not held.arrives:
            kinds = parts[held.asset]
            kinds[held.kind] = kinds.get(held.kind, 0.0) + held.usd * held.confidence
    for asset, amount in zip(market.assets, market.coin_collateral.sum(axis=0), strict=True):
        if amount != 0:
            parts[asset]["collateral"] = float(amount)
    return parts


def _anticipation(market: Market) -> float:
    """Variance over the decision horizon of whether anticipated trades of coins happen."""
    loadings, own = market.risk.asset_loadings, market.risk.asset_idiosyncratic
    sd = dict(zip(market.assets, np.sqrt((loadings**2).sum(axis=0) + own**2), strict=True))
    doubtful = [held for held in market.holdings if held.confidence < 1 and held.asset in sd]
    return anticipation_variance(
        [held.usd for held in doubtful],
        [held.confidence for held in doubtful],
        [sd[held.asset] for held in doubtful],
    )


def positions(market: Market, decision: Decision, rounded: Rounded) -> list[Json]:
    """Every instrument: before, the convex optimum, and what the rounded orders lead to."""
    x, held = rounded.decision.positions, market.positions
    holding, dated = market.funding.cost * x, market.dated
    costs = evaluate.trade_costs(market, x - held.usd).total
    coin_usd, rows = coin_prices(market.instruments, market.prices), []
    for i, instrument in enumerate(market.instruments):
        contracts = float(held.contracts[i]) + float(rounded.trades[i])
        per_contract = market.prices.usd_per_contract[i]
        coins = per_contract / coin_usd[i]
        rows.append(
            {
                "venue": instrument.exchange,
                "account": instrument.account,
                "symbol": instrument.symbol,
                "asset": instrument.asset,
                "previous_usd": usd(held.usd[i]),
                "target_usd": usd(decision.positions[i]),
                "rounded_usd": usd(x[i]),
                "trade_usd": usd(x[i] - held.usd[i]),
                "target_contracts": number(contracts),
                "target_coins": number(contracts * coins),
                "trade_contracts": number(float(rounded.trades[i])),
                "trade_coins": number(float(rounded.trades[i]) * coins),
                "funding_usd": usd(0.0 if dated[i] else holding[i]),
                "trading_usd": usd(costs[i]),
                "expiry": None if instrument.expiry is None else timestamp(instrument.expiry),
                "carry_usd": usd(holding[i] if dated[i] else 0.0),
            }
        )
    return rows


def transfers(market: Market, decision: Decision) -> list[Json]:
    """Transfers of at least a cent."""
    rows = []
    for r, route in enumerate(market.transfers.routes):
        amount = float(decision.transfers[r])
        if amount < 0.01:
            continue
        source, target = market.pockets[route.source], market.pockets[route.target]
        rows.append(
            {
                "from": source.venue,
                "to": target.venue,
                "currency": source.currency,
                "amount_usd": usd(amount),
                "cost_usd": usd(amount * float(market.transfers.cost[r])),
                "arrives_before_orders": bool(market.transfers.arrives[r]),
            }
        )
    return rows


def venues(market: Market, decision: Decision) -> list[Json]:
    """Margin of each venue after the rounded orders, and how far it is from liquidation."""
    state = evaluate.venues(market, decision, "true")
    moves = evaluate.liquidation_moves(market, decision)
    surplus = state.equity - state.maintenance_margin
    distances = outlook.distances(market, decision)
    rows = []
    for v, account in enumerate(market.accounts):
        equity, required = float(state.equity[0, v]), float(state.maintenance_margin[0, v])
        near = [move for move in moves[v] if move is not None]
        stressed = len(market.stresses.names) > 1
        worst = 1 + int(np.argmin(surplus[1:, v])) if stressed else 0
        rows.append(
            {
                "venue": account.exchange,
                "account": account.account,
                "name": account.name,
                "equity_usd": usd(equity),
                "initial_margin_usd": usd(state.initial_margin[v]),
                "maintenance_margin_usd": usd(required),
                "margin_ratio": number(required / equity) if equity > 0 else None,
                "liquidation_move": number(min(near, key=abs)) if near else None,
                "cushion_usd": usd(distances[v].cushion_usd),
                "cushion_sd_usd": usd(distances[v].sd_usd),
                "cushion_sigmas": number(distances[v].sigmas),
                "worst_stress": market.stresses.names[worst] if stressed else None,
                "worst_stress_equity_usd": usd(state.equity[worst, v]) if stressed else None,
                "worst_stress_maintenance_margin_usd": usd(state.maintenance_margin[worst, v])
                if stressed
                else None,
            }
        )
    return rows


@dataclass(frozen=True)
class Prices:
    """Multipliers as results need them: by limit name, and of the lower and upper bounds (n,)."""

    limits: Mapping[str, Vector]
    lower: Vector
    upper: Vector


def limits(market: Market, decision: Decision, values: Sequence[LimitValues], prices: Prices) -> list[Json]:
    """Every limit at the convex optimum: value, bound, slack, and the price of one unit more of bound."""
    rows: list[Json] = []
    used: dict[str, int] = {}
    for limit in values:
        start = used.get(limit.name, 0)
        used[limit.name] = start + len(limit.subjects)
        for k, subject in enumerate(limit.subjects):
            price = float(prices.limits[limit.name][start + k]) * float(limit.usd_per_unit[k])
            rows.append(
                _limit(limit, subject, float(limit.value[k]), float(limit.bound[k]), limit.unit, price)
            )
    for box in market.boxes:
        rows += _box_rows(market, decision, box, prices)
    return rows


def _limit(
    limit: LimitValues | Box, subject: str, value: float, bound: float, unit: str, price: float
) -> Json:
    return {
        "name": limit.name,
        "subject": subject,
        "kind": limit.kind,
        "value": number(value),
        "bound": number(bound),
        "slack": number(bound - value),
        "unit": unit,
        "shadow_price_usd": number(price),
        "source": limit.source,
    }


def _box_rows(market: Market, decision: Decision, box: Box, prices: Prices) -> list[Json]:
    """The nearer bound of each position that a box limits; its price belongs to the tightest box."""
    x, rows = decision.positions, []
    for i, instrument in enumerate(market.instruments):
        below, above = float(x[i] - box.lower[i]), float(box.upper[i] - x[i])
        if not math.isfinite(min(below, above)):
            continue
        side: Literal["lower", "upper"] = "lower" if below < above else "upper"
        sign = 1.0 if side == "upper" else -1.0
        bound = float(box.upper[i]) if side == "upper" else -float(box.lower[i])
        price = float((prices.upper if side == "upper" else prices.lower)[i])
        price = price if box_owner(market, i, side) is box else 0.0
        rows.append(_limit(box, f"{instrument.key} {side}", sign * float(x[i]), bound, "USD", price))
    return rows


def audit(found: Audit, rounded: Rounded, gap_usd: float, method: str) -> Json:
    """What the audit says of the optimum and of the rounded positions; `method` found those."""
    return {
        "passed": found.passed,
        "max_violation_usd": usd(found.permitted.max_violation_usd),
        "worst_limit": found.permitted.worst_limit or None,
        "duality_gap_usd": usd(found.duality_gap_usd),
        "scale_usd": usd(found.scale_usd),
        "rounded": {
            "passed": rounded.check.passed,
            "max_violation_usd": usd(rounded.check.max_violation_usd),
            "worst_limit": rounded.check.worst_limit or None,
            "gap_usd": usd(gap_usd),
            "method": method,
        },
    }
