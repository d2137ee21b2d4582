"""From the venues' margin rules to the scheme of a market: which schedule each instrument is under."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from allocator.market.scheme import Netting, Portfolio, Scheme, groups_by, tier_majorant
from allocator.market.universe import Listing
from allocator.scenario.margin_rules import MarginRules, PortfolioRule, needs_tiers
from allocator.scenario.schema import Scenario
from models.arrays import IntVector, Vector
from models.margin import Brackets, Schedules, marginal_rates
from models.schedules import PortfolioMargin, multiplied_minimum, open_interest_scaled_rate


def flat(rate: float) -> Brackets:
    """One rate for any size, without cap."""
    one = np.ones(1)
    return Brackets(0 * one, np.inf * one, rate * one, 0 * one, np.inf * one)


def with_fee(brackets: Brackets, fee: float) -> Brackets:
    """The brackets with a fee of the notional on top, as a margin ratio counts it (OKX: liquidation fee)."""
    return replace(brackets, rates=brackets.rates + fee)


def convex_brackets(rules: MarginRules, asset: str, tiers: Brackets | None) -> Brackets:
    """The brackets that the program holds for an instrument: its tiers, their majorant, or a flat rate."""
    if asset in rules.quadratic:
        return with_fee(flat(rules.quadratic[asset].maintenance), rules.liquidation_fee)
    if asset in rules.portfolio:
        return flat(1.0)  # never charged: the portfolio's margin replaces it
    assert tiers is not None
    held = tier_majorant(tiers) if rules.tiers == "whole_position" else tiers
    return with_fee(held, rules.liquidation_fee)


@dataclass(frozen=True)
class Placed:
    """Instruments with their venues and assets (n,), and the USD price of one coin of each (n,)."""

    listings: list[Listing]
    venue_of: IntVector
    asset_of: IntVector
    coin_usd: Vector


def margin_scheme(
    scenario: Scenario, placed: Placed, brackets: list[Brackets], tiers: list[Brackets | None]
) -> Scheme:
    """The scheme of all instruments. `brackets` are convex, `tiers` as the tables state them (or None).

    Raises ValueError where a portfolio rule is not convex.
    """
    rules = [scenario.venues[listing.venue].margin for listing in placed.listings]
    assets = [str(listing.row["asset"]) for listing in placed.listings]
    n = len(rules)
    bend, initial_bend, rate = np.zeros(n), np.zeros(n), np.ones(n)
    whole = np.zeros(n, dtype=bool)
    for i, (rule, asset) in enumerate(zip(rules, assets, strict=True)):
        quadratic, leverage = rule.quadratic.get(asset), placed.listings[i].settings.leverage
        if quadratic is not None:
            bend[i] = initial_bend[i] = quadratic.per_coin / placed.coin_usd[i]
            rate[i] = quadratic.initial
        elif needs_tiers(rule, asset):
            whole[i] = rule.tiers == "whole_position"
            if rule.initial == "none":
                rate[i] = 0.0
            elif leverage is not None:
                rate[i] = max(1.0 / leverage, _open_interest_rate(rule, asset))
    return Scheme(
        schedules=Schedules.of(brackets),
        bend=bend,
        initial_rate=rate,
        initial_bend=initial_bend,
        whole_position=whole,
        tiers=Schedules.of(
            [
                b if t is None else with_fee(t, rule.liquidation_fee)
                for b, t, rule in zip(brackets, tiers, rules, strict=True)
            ]
        ),
        netting=_netting(placed, rules, assets),
        portfolios=_portfolios(placed, rules, assets),
    )


def _open_interest_rate(rules: MarginRules, asset: str) -> float:
    rule = rules.open_interest.get(asset)
    if rule is None:
        return 0.0
    return open_interest_scaled_rate(rule.base, rule.open_interest, rule.lower, rule.upper)


def _netting(placed: Placed, rules: list[MarginRules], assets: list[str]) -> tuple[Netting, ...]:
    """Groups of at least two instruments whose venue nets longs against shorts."""
    return tuple(
        Netting(venue, asset, members)
        for (venue, asset), members in groups_by(placed.venue_of, placed.asset_of).items()
        if len(members) > 1
        and rules[members[0]].netting == "long_short"
        and assets[members[0]] not in rules[members[0]].portfolio
    )


def _portfolios(placed: Placed, rules: list[MarginRules], assets: list[str]) -> tuple[Portfolio, ...]:
    return tuple(
        Portfolio(venue, asset, members, portfolio_rules(rules[members[0]].portfolio[assets[members[0]]]))
        for (venue, asset), members in groups_by(placed.venue_of, placed.asset_of).items()
        if assets[members[0]] in rules[members[0]].portfolio
    )


def portfolio_rules(rule: PortfolioRule) -> PortfolioMargin:
    """The scenario's words as numbers."""
    return PortfolioMargin(
        moves=np.array([step.move for step in rule.grid]),
        weights=np.array([step.weight for step in rule.grid]),
        hedged_rate=rule.hedged,
        gross_rate=rule.gross,
        floor=_minimum(rule) if rule.minimum > 0 else None,
        initial_factor=rule.initial_factor,
    )


def _minimum(rule: PortfolioRule) -> Brackets:
    """The least margin as brackets of the gross: the charge itself, or its parts times their multipliers."""
    if not rule.minimum_tiers:
        return flat(rule.minimum)
    caps = [np.inf if tier.cap is None else tier.cap for tier in rule.minimum_tiers]
    return multiplied_minimum(
        rule.minimum, np.array(caps), np.array([t.multiplier for t in rule.minimum_tiers])
    )


def cushion_rates(scheme: Scheme, reference_usd: Vector) -> Vector:
    """Marginal maintenance rate (n,) at reference sizes, by the schedule each instrument is really under."""
    size = np.abs(reference_usd)
    rate = marginal_rates(size, scheme.schedules) + 2 * scheme.bend * size
    for group in scheme.portfolios:
        rules = group.rules
        rate[group.members] = max(rules.rate_long, rules.rate_short) + rules.gross_rate
    return np.asarray(rate)
