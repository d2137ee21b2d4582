"""Explanations as data: prices of a solved scenario with their ranges, and why another has no solution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from allocator.errors import ConflictMember, Infeasible
from allocator.explanations.figures import Figure
from allocator.explanations.prices import Price, ShadowPrices
from allocator.explanations.ranges import PriceRange, Side
from allocator.explanations.way_out import Wishes, ways_out
from allocator.explanations.words import sentence, step_of
from allocator.market.types import Market
from allocator.scenario.load import LoadedScenario

Json = dict[str, Any]
MOST_RANGES = 5
_CENT = 0.005


def explained(error: Infeasible, market: Market, scenario: LoadedScenario) -> Infeasible:
    """The error with where each stress is stated, and with verified ways out."""
    stated = scenario.scenario
    members = [replace(m, stress_source=_stress_source(m, market, scenario)) for m in error.conflict]
    wishes = Wishes(stated.explain.weights, stated.explain.hard)
    found = [
        replace(way, changes=tuple(replace(c, source=cited(scenario, c.name, c.source)) for c in way.changes))
        for way in ways_out(market, members, stated.stresses, wishes)
    ]
    return Infeasible(str(error), members, found)


def _stress_source(member: ConflictMember, market: Market, scenario: LoadedScenario) -> str | None:
    """Where the stress under which a limit holds is stated; None for the present."""
    name = member.subject.split(" ")[-1]
    return cited(scenario, f"stresses.{name}", "") or None if name in market.stresses.names[1:] else None


def cited(scenario: LoadedScenario, name: str, otherwise: str) -> str:
    """``file.yaml:line`` of a figure; what it is called otherwise where no scenario states it."""
    try:
        return scenario.origin(name)
    except KeyError:
        return otherwise


def price_rows(
    prices: ShadowPrices, market: Market, scenario: LoadedScenario, ranges: Sequence[PriceRange] = ()
) -> Json:
    """What figures cost, the dearest first, and where the next collateral dollar goes; as plain data."""
    ranged = {r.name: r for r in ranges}

    def row(price: Price) -> Json:
        step = step_of(price, market.book_usd)
        return {
            "name": price.name,
            "kind": price.kind,
            "source": cited(scenario, price.name, price.source),
            "unit": price.unit,
            "value": _number(price.value),
            "saves_usd": _number(price.saves_usd),
            "step": step,
            "saves_per_step_usd": None if price.saves_usd is None else _number(price.saves_usd * step),
            "charge_usd": _number(price.charge_usd),
            "subjects": [{"subject": s, "saves_usd": _number(y)} for s, y in price.subjects],
            "range": _range(ranged[price.name]) if price.name in ranged else None,
            "text": sentence(price, market.book_usd, market.decision_hours),
        }

    def costs(price: Price) -> bool:
        per_unit = price.saves_usd
        return per_unit is None or abs(per_unit) * step_of(price, market.book_usd) >= _CENT

    return {
        "prices": [row(price) for price in prices.figures if costs(price)],
        "collateral": [row(price) for price in prices.collateral],
    }


def dearest(prices: ShadowPrices, known: Sequence[Figure]) -> list[Price]:
    """The prices that cost most, those of collateral among them, of figures that may be changed."""
    names = {figure.name for figure in known}
    both = [p for p in (*prices.figures, *prices.collateral) if p.name in names and p.saves_usd]
    worth = sorted((p for p in both if p.worth_usd >= _CENT), key=lambda p: -p.worth_usd)
    return worth[:MOST_RANGES]


def _range(found: PriceRange) -> Mapping[str, object]:
    return {"kink": found.kink, "relaxed": _side(found.relaxed), "tightened": _side(found.tightened)}


def _side(side: Side) -> Mapping[str, object]:
    return {
        "until": _number(side.until),
        "next": _number(side.next),
        "saves_beyond_usd": _number(side.beyond_usd),
        "infeasible_beyond": side.infeasible,
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.9g}") + 0.0
