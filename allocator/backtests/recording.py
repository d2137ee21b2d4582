"""Bars as a walk records them: net delta by asset, positions, wealth."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from allocator.backtests.desk import Desk
from allocator.backtests.rails import Rails
from allocator.backtests.stretch import Stretch, hold
from allocator.backtests.tape import Tape
from allocator.backtests.walks import Block
from allocator.market.types import Matrix
from models.arrays import Vector


def bars_of(held: Stretch, desk: Desk, tape: Tape, assets: Collection[str]) -> Block:
    """All bars of a stretch but its last, at which more happens. Coins of `assets` count as delta."""
    times = tape.times[held.first + 1 : held.first + held.bars]
    return Block(times, *_deltas(held, desk, assets, slice(1, -1), held.balances[:-1], held.usd[:-1]))


def bar_now(rails: Rails, desk: Desk, row: int, assets: Collection[str]) -> tuple[Block, Vector]:
    """One bar as the desk stands now, and its wealth (1,)."""
    held = hold(rails, desk, row, row)
    contracts = np.array([desk.contracts[place] for place in held.places], dtype=float)
    rail = rails.of_all([desk.listed[place] for place in held.places], row, row)
    positions = contracts * rail.usd
    balances = held.opening[np.newaxis]
    block = Block(
        rails.tape.times[row : row + 1], *_deltas(held, desk, assets, slice(0, 1), balances, positions)
    )
    wealth = held.prices @ held.coins + ((balances + held.coming) * held.worth).sum(axis=1)
    return block, np.asarray(wealth)


def _deltas(
    held: Stretch, desk: Desk, assets: Collection[str], rows: slice, balances: Matrix, usd: Matrix
) -> tuple[list[str], Matrix, list[tuple[str, str]], Matrix]:
    """Assets, their net delta (T, A), positions, and their USD (T, k)."""
    prices, worth = held.prices[rows], held.worth[rows]
    parts = [(a, prices[:, k] * held.coins[k]) for k, a in enumerate(held.assets) if a != "USD"]
    parts += [(c, balances[:, k] * worth[:, k]) for k, (_, c) in enumerate(held.pockets) if c in assets]
    parts += [(desk.listed[place].asset, usd[:, k]) for k, place in enumerate(held.places)]
    deltas: dict[str, Vector] = {}
    for asset, column in parts:
        deltas[asset] = deltas[asset] + column if asset in deltas else column
    table = np.column_stack(list(deltas.values())) if deltas else np.zeros((len(prices), 0))
    return list(deltas), table, held.places, usd
