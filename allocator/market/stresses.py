"""Each stress of the scenario as arrays: what it does to P&L, margin and collateral."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allocator.market.types import Index, Instrument, Pocket, Stresses
from allocator.scenario.schema import Stress
from models.arrays import BoolVector, Vector
from models.stress import (
    ShockedContract,
    adverse_funding_loss,
    deduction_factor,
    margined_notional_factor,
    pnl_per_usd,
    price_factor,
)

NOW = "now"


def stress_arrays(
    stresses: Mapping[str, Stress],
    instruments: tuple[Instrument, ...],
    pockets: tuple[Pocket, ...],
    currencies: tuple[str, ...],
    funding_cap: Vector,
    funding_interval: Vector,
) -> Stresses:
    """All stresses, with row 0 the unshocked present; haircuts are still to come, `with_haircuts`."""
    rows, contracts = {NOW: Stress(), **stresses}, _Contracts.of(instruments)
    pnl, size_loss, notional, deduction, bend, factor = [], [], [], [], [], []
    for stress in rows.values():
        shock = _shock(stress, contracts, currencies)
        gain = pnl_per_usd(shock)
        # The most settlements that a window of this length can hold, whatever the hour.
        settlements = np.ceil(stress.funding_at_cap / funding_interval).astype(np.int64)
        funding = adverse_funding_loss(np.ones(len(instruments)), funding_cap, settlements)
        # A winner closed at the old mark in share f leaves min(gx, (1−f)gx) = (1−f/2)gx − (f/2)|g||x|.
        closed = stress.auto_deleveraged / 2
        pnl.append((1 - closed) * gain)
        size_loss.append(closed * np.abs(gain) + funding)
        notional.append(margined_notional_factor(shock))
        deduction.append(deduction_factor(shock))
        # Coins of a linear position stay; an inverse one is N/P coins, more of them as the price falls.
        coins = np.where(shock.inverse, 1 / price_factor(shock), 1.0)
        bend.append(notional[-1] * coins)
        moves = [_return(stress, pocket.currency, currencies) for pocket in pockets]
        factor.append(1 + np.array(moves, dtype=float))
    return Stresses(
        names=tuple(rows),
        pnl=np.array(pnl),
        size_loss=np.array(size_loss),
        notional=np.array(notional),
        deduction=np.array(deduction),
        bend=np.array(bend),
        pocket_factor=np.array(factor),
        haircut=np.zeros((len(rows), len(pockets))),
        haircut_step=np.array([stress.haircut_step for stress in rows.values()]),
    )


def with_haircuts(stresses: Stresses, haircut: Vector) -> Stresses:
    """Each stress with today's haircuts (P,) and its own step on them."""
    step = stresses.haircut_step[:, np.newaxis]
    return replace(stresses, haircut=np.where(step > 0.0, np.minimum(haircut + step, 1.0), haircut))


def scaled_tiers(stresses: Stresses, whole_position: NDArray[np.bool_]) -> Stresses:
    """Tiers on the whole position are counted in contracts: their margin scales with the notional alone."""
    return replace(stresses, deduction=np.where(whole_position, stresses.notional, stresses.deduction))


class _Named(NamedTuple):
    """Names that instruments share, and which each has (n,): a stress is asked once for each name."""

    names: list[str]
    of: Index

    @classmethod
    def each(cls, names: Iterable[str]) -> _Named:
        places: dict[str, int] = {}
        of = [places.setdefault(name, len(places)) for name in names]
        return cls(list(places), np.array(of, dtype=np.int64))

    def values(self, value: Callable[[str], float]) -> Vector:
        return np.array([value(name) for name in self.names], dtype=float)[self.of]


class _Contracts(NamedTuple):
    """What stresses ask of instruments (n,)."""

    inverse: BoolVector
    asset: _Named
    venue: _Named
    quote: _Named
    settlement: _Named

    @classmethod
    def of(cls, instruments: tuple[Instrument, ...]) -> _Contracts:
        return cls(
            np.array([i.contract.kind == "inverse" for i in instruments], dtype=np.bool_),
            _Named.each(i.asset for i in instruments),
            _Named.each(i.venue for i in instruments),
            _Named.each(i.index_currency for i in instruments),
            _Named.each(i.settlement_currency for i in instruments),
        )


def _shock(stress: Stress, contracts: _Contracts, currencies: tuple[str, ...]) -> ShockedContract:
    def returned(name: str) -> float:
        return _return(stress, name, currencies)

    return ShockedContract(
        inverse=contracts.inverse,
        asset_return=contracts.asset.values(returned),
        basis_gap=contracts.venue.values(lambda venue: stress.basis.get(venue, 0.0)),
        index_return=contracts.quote.values(returned),
        settlement_return=contracts.settlement.values(returned),
    )


def _return(stress: Stress, name: str, currencies: tuple[str, ...]) -> float:
    """Return of a coin or currency against USD under the stress; USD itself does not move."""
    if name == "USD":
        return 0.0
    if name in currencies:
        return stress.currencies.get(name, 0.0)
    return stress.moves.get(name, stress.move)


def stressed_rows(selected: Literal["all"] | list[str], names: tuple[str, ...]) -> Index:
    """Rows of the stresses that a limit selects; the present always counts."""
    rows = [s for s, name in enumerate(names) if s == 0 or selected == "all" or name in selected]
    return np.array(rows, dtype=np.int64)
