"""In which order to trade: batches that leave no venue and no hedge worse off, done or half done.

Transfers come first, what reduces before what adds, less liquid instruments before others; orders that hedge
each other go together where one alone would leave the book less hedged. A batch is the first of these that
is safe, with all others of its sort that are safe beside it: coins do not wait for each other. All that
remains, traded together, is safe wherever margin is convex: half of it lies between two safe states. Where no
choice is safe (whole-position tiers jump), the least harmful is taken, and for few legs the safest of all
sequences is found by dynamic programming over the sets of legs done.

Safe: every hard margin limit holds under all its stresses, or is breached by no more than before anything was
done; and the book's volatility exceeds neither what it was before the batch nor what it will be at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from allocator.market.types import Market
from allocator.orders.legs import Leg, legs_of
from allocator.orders.settle import Rounded
from allocator.orders.states import Path, State
from allocator.trading import made
from models.arrays import Vector

_SEARCHED = 6  # legs: 3^6 pairs of sets are all looked at

Batch = tuple[int, ...]  # numbers of legs
Harm = tuple[float, float]  # USD of new breaches, USD of volatility: less is better


@dataclass(frozen=True)
class Sequence:
    """Batches of legs, the states they pass, and the batches that transfers must have arrived for.

    Batch 0 are the transfers, orders begin at 1. Every state is named by its batch.
    """

    legs: tuple[Leg, ...]
    batches: tuple[Batch, ...]
    states: tuple[State, ...]
    waiting: frozenset[int]
    tolerance_usd: float

    @property
    def passed(self) -> bool:
        """Whether every state keeps every margin limit and the hedge."""
        return not self.failures

    @property
    def failures(self) -> tuple[State, ...]:
        """States that breach a margin limit, or are less hedged than they may be."""
        return tuple(s for s in self.states if s.slack_usd < -self.tolerance_usd or s.unhedged_usd > 0)

    @property
    def worst(self) -> State | None:
        """The state with the least margin slack in USD; None where no limit speaks of margin."""
        bounded = [state for state in self.states if np.isfinite(state.slack_usd)]
        return min(bounded, key=lambda state: state.slack_usd) if bounded else None

    def in_order(self) -> Iterator[tuple[int, Leg]]:
        """Every leg with its batch, as they are sent."""
        for number, batch in enumerate(self.batches, start=1):
            for k in batch:
                yield number, self.legs[k]


def sequence(market: Market, rounded: Rounded, fixed_usd: Vector) -> Sequence:
    """The safest batches found for rounded trades. `fixed_usd` (P,) are fixed costs by pocket."""
    path = Path(market, rounded, tuple(legs_of(market, rounded)), fixed_usd)
    batches = _greedy(path)
    if len(path.legs) <= _SEARCHED and _worst(path, batches) > (0.0, 0.0):
        batches = min(batches, _safest(path), key=lambda found: _worst(path, found))
    return Sequence(
        path.legs,
        batches,
        tuple(_states(path, batches)),
        _waiting(path, batches),
        rounded.check.tolerance_usd,
    )


def _greedy(path: Path) -> tuple[Batch, ...]:
    done, found = np.zeros(len(path.legs)), []
    while not done.all():
        batch = _next(path, done)
        found.append(batch)
        done[list(batch)] = 1.0
    return tuple(found)


def _next(path: Path, done: Vector) -> Batch:
    """The first safe groups of legs, as many as are safe together, or the least harmful group."""
    before, left = path.volatility(done), np.flatnonzero(done == 0).tolist()
    for groups in _preferences(path, left):
        if batch := _together(path, done, groups, before):
            return batch
    every = [group for groups in _preferences(path, left) for group in groups]
    return min(every, key=lambda group: _harm(path, done, group, before))


def _together(path: Path, done: Vector, groups: Iterable[Batch], before: float) -> Batch:
    """Groups that are safe each for itself and all at once; none where none is."""
    batch: Batch = ()
    for group in groups:
        if set(group) & set(batch) or not _safe(path, done, group, before):
            continue
        if not batch or _safe(path, done, (*batch, *group), before):
            batch = (*batch, *group)
    return batch


def _safe(path: Path, done: Vector, batch: Batch, before: float) -> bool:
    """Whether a batch does no harm, filled or half filled; the cheapest figures are looked at first."""
    after = _after(done, batch, 1.0)
    # The sd is convex: half filled, it exceeds neither the one before nor the one after.
    if path.unhedged(path.volatility(after), before) > 0:
        return False
    shares = (after, _after(done, batch, 0.5))
    return all(path.harm(path.slacks(state, "arrived")) == 0 for state in shares)


def _preferences(path: Path, left: list[int]) -> Iterator[list[Batch]]:
    """Groups of legs by the desk's rules, the preferred sort first. An open never precedes its close."""
    reducing = [k for k in left if path.legs[k].reduces]
    adding = [k for k in left if not path.legs[k].reduces]
    closed_by = {path.legs[k].instrument: k for k in reducing}
    asset_of = path.market.asset_of

    def asset(k: int) -> int:
        return int(asset_of[path.legs[k].instrument])

    if reducing:
        yield [tuple(reducing)]
        yield [(k,) for k in reducing if len(reducing) > 1]
        yield [
            (k, a)
            for k in reducing
            for a in adding
            if asset(a) == asset(k) and _free(path, a, closed_by, (k,))
        ]
        yield [tuple(k for k in left if asset(k) == one) for one in dict.fromkeys(asset(k) for k in reducing)]
    ready = [a for a in adding if path.legs[a].instrument not in closed_by]
    if ready:
        yield [tuple(ready)]
        yield [(a,) for a in ready if len(ready) > 1]
    yield [tuple(left)]


def _free(path: Path, leg: int, closed_by: dict[int, int], batch: Batch) -> bool:
    """Whether what a leg opens is closed before it or with it."""
    return closed_by.get(path.legs[leg].instrument, batch[0]) in batch


def _harm(path: Path, done: Vector, batch: Batch, before: float) -> Harm:
    states = [path.state("", _after(done, batch, share), "arrived", before) for share in (0.5, 1.0)]
    return max(s.harm_usd for s in states), max(s.unhedged_usd for s in states)


def _after(done: Vector, batch: Batch, share: float) -> Vector:
    result = done.copy()
    result[list(batch)] = share
    return result


def _worst(path: Path, batches: tuple[Batch, ...]) -> Harm:
    done, worst = np.zeros(len(path.legs)), (0.0, 0.0)
    for batch in batches:
        found = _harm(path, done, batch, path.volatility(done))
        worst = max(worst[0], found[0]), max(worst[1], found[1])
        done = _after(done, batch, 1.0)
    return worst


def _safest(path: Path) -> tuple[Batch, ...]:
    """The batches whose worst harm is least, of all there are; more batches before fewer."""
    count = len(path.legs)
    whole = (1 << count) - 1
    best: dict[int, tuple[Harm, tuple[Batch, ...]]] = {0: ((0.0, 0.0), ())}
    for have in range(whole):
        if have not in best:
            continue
        so_far, batches = best[have]
        done = np.array([float(have >> k & 1) for k in range(count)])
        before = path.volatility(done)
        more = rest = whole & ~have
        while more:
            batch = tuple(k for k in range(count) if more >> k & 1)
            if _in_turn(path, done, batch):
                found = _harm(path, done, batch, before)
                harm = max(so_far[0], found[0]), max(so_far[1], found[1])
                known = best.get(have | more)
                if known is None or (harm, -len(batches) - 1) < (known[0], -len(known[1])):
                    best[have | more] = harm, (*batches, batch)
            more = (more - 1) & rest
    return best[whole][1]


def _in_turn(path: Path, done: Vector, batch: Batch) -> bool:
    """Whether everything the batch opens is closed by then."""
    closing = {leg.instrument: k for k, leg in enumerate(path.legs) if leg.reduces}
    return all(
        path.legs[k].reduces or (c := closing.get(path.legs[k].instrument)) is None or done[c] or c in batch
        for k in batch
    )


def _states(path: Path, batches: tuple[Batch, ...]) -> Iterator[State]:
    """Every state in its order: transfers half sent, sent and arrived; each batch half filled and filled."""
    done = np.zeros(len(path.legs))
    before = path.volatility(done)
    yield path.state("before", done, "kept", before)
    if made(path.rounded.decision.transfers).any():
        yield path.state("batch 0, transfers half sent", done, "half sent", before)
        yield path.state("batch 0, transfers sent, none arrived", done, "sent", before)
        yield path.state("batch 0, transfers arrived", done, "arrived", before)
    for number, batch in enumerate(batches, start=1):
        yield path.state(f"batch {number}, half filled", _after(done, batch, 0.5), "arrived", before)
        done = _after(done, batch, 1.0)
        yield path.state(f"batch {number}, filled", done, "arrived", before)
        before = path.volatility(done)


def _waiting(path: Path, batches: tuple[Batch, ...]) -> frozenset[int]:
    """Batches that breach some limit unless what was sent has arrived."""
    arriving = made(path.rounded.decision.transfers) & path.market.transfers.arrives
    if not arriving.any():
        return frozenset()
    found, done = set(), np.zeros(len(path.legs))
    for number, batch in enumerate(batches, start=1):
        halves = [path.state("", _after(done, batch, share), "sent", np.inf) for share in (0.5, 1.0)]
        if any(state.harm_usd > 0 for state in halves):
            found.add(number)
        done = _after(done, batch, 1.0)
    return frozenset(found)
