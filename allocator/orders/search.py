"""Local search over whole lots: fewer breaches first, a lower objective then.

What moving one lot of each instrument does to every limit is tabulated once, by the plain formulas of the
audit; limits are nearly linear over single lots, so moves are picked from the table and each is confirmed
by the formulas before it is kept. That costs a few checks a move instead of two per instrument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from allocator.market.types import Decision, Index, Market, Matrix
from allocator.orders.settle import Lots, Rounded
from models.arrays import Vector

_MOVES = 200  # confirmed or not
_TABLES = 4
_PAIRED = 30  # moves of each sort that are tried in pairs
_POLISHED = 600  # decisions that are looked at in pairs of moves
_FAR = 1e30  # slack of a bound that is none, in USD

Worth = tuple[float, float]  # breach, objective: less is better
Pick = tuple[int, ...]  # rows of the table: 2i lengthens instrument i by a lot, 2i + 1 shortens it


def worth(market: Market, rounded: Rounded) -> Worth:
    """USD of breaches beyond tolerance, summed, and the objective in USD: the first decides."""
    excess = float(_excess(_slacks(market, rounded), rounded.check.tolerance_usd))
    # The check knows more than limits and bounds (numbers that are none, negative transfers).
    breach = 0.0 if rounded.check.passed else max(excess, rounded.check.max_violation_usd * 1e-12)
    return breach, rounded.objective_usd


def rank(market: Market, rounded: Rounded) -> tuple[int, float, float]:
    """What is compared: too many orders or venues first, then breaches in USD, then the objective in USD."""
    return (rounded.excess, *worth(market, rounded))


def improve(lots: Lots, decision: Decision, start: Rounded, least_gain: float) -> Rounded:
    """Move single lots, or two at once where one alone does not help, while breaches or the objective fall.

    A gain in the objective of less than `least_gain` USD is none. Ends after a bounded number of moves.
    """
    market, best = lots.market, start
    found = worth(market, best)
    table, tables, stale = _Table.of(lots, decision, best), 1, False
    failed: set[Pick] = set()
    for _ in range(_MOVES):
        pick = table.pick(_slacks(market, best), best.check.tolerance_usd, found[0], least_gain, failed)
        if pick is None and (not stale or tables == _TABLES):
            break
        if pick is None:
            table, tables, stale = _Table.of(lots, decision, best), tables + 1, False
            failed.clear()
            continue
        moved = lots.settle(decision, _moved(lots, best, pick))
        value = worth(market, moved)
        better = value[0] < found[0] or (value[0] == found[0] and value[1] < found[1] - least_gain)
        if better and moved.excess <= best.excess:
            best, found, stale = moved, value, True
            failed.clear()
            table.refresh(lots, decision, best, {row // 2 for row in pick})
        else:
            failed.add(pick)
    return best


def polish(lots: Lots, decision: Decision, start: Rounded, least_gain: float) -> Rounded:
    """Move two single lots at once wherever that helps: what one gives up, another may more than make up.

    For few instruments: their pairs are all tried, because the risk they share makes no table of single
    moves add up. Ends after a bounded number of tries.
    """
    market, best = lots.market, start
    found, tries = worth(market, best), 0
    rows = range(2 * len(lots.lot))
    picks = [(row,) for row in rows]
    pairs: list[Pick] = [*picks, *((a, b) for a in rows for b in rows if a // 2 < b // 2)]
    at, failed = 0, 0
    while failed < len(pairs) and tries < _POLISHED:
        moved = lots.settle(decision, _moved(lots, best, pairs[at]))
        value = worth(market, moved)
        failed, at, tries = failed + 1, (at + 1) % len(pairs), tries + 1
        better = value[0] < found[0] or (value[0] == found[0] and value[1] < found[1] - least_gain)
        if better and moved.excess <= best.excess:
            # The same move again comes next: what helps once often helps twice.
            best, found, failed, at = moved, value, 0, (at - 1) % len(pairs)
    return best


@dataclass
class _Table:
    """What each move does: to every slack (2n, R), and to the objective (2n,), in USD."""

    slack: Matrix
    objective: Vector

    @classmethod
    def of(cls, lots: Lots, decision: Decision, at: Rounded) -> _Table:
        rows = 2 * len(lots.lot)
        table = cls(np.zeros((rows, len(_slacks(lots.market, at)))), np.zeros(rows))
        table.refresh(lots, decision, at, set(range(len(lots.lot))))
        return table

    def refresh(self, lots: Lots, decision: Decision, at: Rounded, instruments: set[int]) -> None:
        """Compute the moves of some instruments anew."""
        slack, value = _slacks(lots.market, at), worth(lots.market, at)[1]
        for row in sorted(row for i in instruments for row in (2 * i, 2 * i + 1)):
            after = lots.settle(decision, _moved(lots, at, (row,)))
            self.slack[row] = _slacks(lots.market, after) - slack
            self.objective[row] = worth(lots.market, after)[1] - value

    def pick(
        self, slack: Vector, tolerance: float, breach: float, least_gain: float, failed: set[Pick]
    ) -> Pick | None:
        """The move that promises most, None if none does."""
        excess = _excess(slack + self.slack, tolerance)
        if breach > 0:
            single = _first([(row,) for row in np.argsort(excess)[:_PAIRED].tolist()], failed)
            if single is not None and excess[single[0]] < breach:
                return single
            return self._pick_pair(slack, tolerance, breach, failed)
        gains = [row for row in np.argsort(self.objective).tolist() if self.objective[row] < -least_gain]
        return _first([(row,) for row in gains if excess[row] <= 0], failed)

    def _pick_pair(self, slack: Vector, tolerance: float, breach: float, failed: set[Pick]) -> Pick | None:
        """One move that mends what is breached, and one that makes up for what it breaches itself."""
        broken = slack < -tolerance
        healing = np.argsort(_excess((slack + self.slack)[:, broken], tolerance))[:_PAIRED]
        mild = self._making_up(slack, tolerance, healing)
        both = slack + self.slack[healing][:, None, :] + self.slack[mild][None, :, :]
        excess = np.where(healing[:, None] // 2 == mild[None, :] // 2, np.inf, _excess(both, tolerance))
        order = np.argsort(excess, axis=None)[:_PAIRED]
        first, second = np.unravel_index(order, excess.shape)
        pairs = [
            (int(healing[a]), int(mild[b]))
            for a, b in zip(first, second, strict=True)
            if excess[a, b] < breach
        ]
        return _first(pairs, failed)

    def _making_up(self, slack: Vector, tolerance: float, healing: Index) -> Index:
        """Moves that most lower what the best healing moves would breach."""
        hurt = (slack + self.slack[healing] < -tolerance).any(axis=0)
        return np.argsort(-self.slack[:, hurt].sum(axis=1))[:_PAIRED]


def _first(picks: Sequence[Pick], failed: set[Pick]) -> Pick | None:
    return next((pick for pick in picks if pick not in failed), None)


def _slacks(market: Market, rounded: Rounded) -> Vector:
    """USD left under every hard limit and to the nearer bound of every position; negative is a breach."""
    x = rounded.decision.positions
    rows = [limit.slack_usd for limit in rounded.values if limit.price is None]
    found = np.concatenate([*rows, np.minimum(x - market.lower, market.upper - x)])
    return np.asarray(np.nan_to_num(found, nan=-_FAR, posinf=_FAR, neginf=-_FAR))


def _excess(slack: Vector | Matrix, tolerance: float) -> Vector:
    """Sum over the last axis of what is missing beyond the tolerance."""
    return np.asarray(np.maximum(-slack - tolerance, 0.0).sum(axis=-1))


def _moved(lots: Lots, rounded: Rounded, pick: Pick) -> list[Decimal]:
    """The trades after a pick; a trade that gets too small is dropped, and none becomes the smallest one."""
    trades = list(rounded.trades)
    for row in pick:
        i, sign = row // 2, 1 - 2 * (row % 2)
        trade = trades[i] + sign * lots.lot[i]
        if abs(trade) < lots.least[i] and lots.held[i] + trade != 0:
            trade = sign * lots.least[i] if trades[i] == 0 else Decimal(0)
        trades[i] = trade
    return trades
