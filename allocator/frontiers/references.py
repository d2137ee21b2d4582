"""What a frontier is set against: the book as it stands, no hedge, plain 1:1 hedges, the own optimum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from allocator.audit.audit import check_limits
from allocator.explanations.alternatives import Breach, breaches
from allocator.frontiers.quantities import measure
from allocator.market.types import Decision, Market
from models.arrays import Vector


@dataclass(frozen=True)
class Reference:
    """A decision beside the curve. It may breach limits that every point of the curve keeps."""

    name: str
    label: str
    decision: Decision
    values: Mapping[str, float]
    breaches: tuple[Breach, ...]


def references(market: Market, scenario: Decision) -> tuple[Reference, ...]:
    """All of them; `scenario` is the optimum of the scenario's own objective."""
    n = len(market.instruments)
    return (
        _reference(market, "scenario", "scenario's own optimum", scenario),
        _reference(market, "doing_nothing", "current book, kept", _only(market, market.positions.usd.copy())),
        _reference(market, "no_hedge", "no hedge, all closed", _only(market, np.zeros(n))),
        *_plain_hedges(market),
    )


def _plain_hedges(market: Market) -> Iterator[Reference]:
    """1:1 over all instruments of each coin in equal parts, and on the first of each venue."""
    everywhere = np.bincount(market.asset_of, minlength=len(market.assets))[market.asset_of]
    equal = -market.hedged_exposure / everywhere
    yield _reference(market, "one_to_one", "1:1 in equal parts", _only(market, equal))
    for v, account in enumerate(market.accounts):
        first = _first_of_venue(market, v)
        if len(first):
            x = np.zeros(len(market.instruments))
            x[first] = -market.hedged_exposure[first]
            label = f"1:1 on {account.name}"
            yield _reference(market, f"one_to_one.{account.name}", label, _only(market, x))


def _first_of_venue(market: Market, venue: int) -> Vector:
    """Of each coin, its first instrument at a venue."""
    members = np.flatnonzero(market.venue_of == venue)
    _, first = np.unique(market.asset_of[members], return_index=True)
    return np.asarray(members[first])


def _only(market: Market, positions: Vector) -> Decision:
    return Decision(positions, np.zeros(len(market.transfers.routes)))


def _reference(market: Market, name: str, label: str, decision: Decision) -> Reference:
    check, _ = check_limits(market, decision)
    found = breaches(market, decision, check.tolerance_usd)
    return Reference(name, label, decision, measure(market, decision), found)
