"""What calls for a decision between those of the clock: a delta band crossed, margin run low, funding jumped.

An event is the crossing, not the state, of one coin or one account: it is over once the bar before was out of
bounds too, so that a desk which cannot or will not mend it does not decide at every bar. It is seen at the
bar that shows it, and the decision it calls for knows nothing later. What happens while orders are under way
calls once they are through, if it still stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from allocator.backtests.margin_call import MarginPath
from allocator.backtests.rails import Rails
from allocator.market.types import Matrix
from allocator.scenario.walk import Events
from models.arrays import BoolVector

DELTA, MARGIN, FUNDING = "delta_band", "margin_ratio", "funding_jump"


@dataclass(frozen=True)
class Bars:
    """Bars (T,) after `first` as an alarm looks at them.

    `delta` (T, A) is net in USD of each of `assets`, `places` are exchange and symbol of what is held,
    `margin` is None without positions.
    """

    first: int
    assets: list[str]
    delta: Matrix
    places: list[tuple[str, str]]
    margin: MarginPath | None


_Bound = tuple[str, str]  # an event and the coin or account it is of


@dataclass
class Alarm:
    """Which bounds a desk was out of when last seen, and whether a jump of funding still waits."""

    events: Events
    out: set[_Bound] = field(default_factory=set)
    jumped: bool = False

    def first(self, rails: Rails, bars: Bars) -> int | None:
        """The first bar at which a bound is crossed, None where there is none; nothing is remembered."""
        crossed = [np.flatnonzero(crossed) for _, crossed in self._crossed(rails, bars)]
        return min((int(found[0]) for found in crossed if found.size), default=None)

    def see(self, rails: Rails, bars: Bars, heeded: bool) -> list[str]:
        """Look at bars, remember the state of the last, and name what calls there.

        What is not heeded calls again: a bound as long as it is broken, a jump of funding once.
        """
        called = [bound for bound, crossed in self._crossed(rails, bars) if crossed[-1]]
        self.out = {bound for bound, state in self._out(bars) if state[-1]}
        if not heeded:
            self.out -= set(called)
            self.jumped = self.jumped or any(name == FUNDING for name, _ in called)
            return []
        names = [name for name, _ in called] + ([FUNDING] if self.jumped else [])
        self.jumped = False
        return list(dict.fromkeys(names))

    def _crossed(self, rails: Rails, bars: Bars) -> Iterator[tuple[_Bound, BoolVector]]:
        for bound, state in self._out(bars):
            yield bound, np.asarray(state & ~np.append(bound in self.out, state[:-1]))
        if self.events.funding_jump is not None:
            yield (FUNDING, ""), self._jumped(rails, bars)

    def _out(self, bars: Bars) -> Iterator[tuple[_Bound, BoolVector]]:
        """Whether each bound that is a state is broken at each bar (T,)."""
        if self.events.delta_band is not None:
            for asset, delta in zip(bars.assets, bars.delta.T, strict=True):
                yield (DELTA, asset), np.asarray(np.abs(delta) > self.events.delta_band)
        if self.events.margin_ratio is not None and bars.margin is not None:
            path = bars.margin
            low = (path.equity < self.events.margin_ratio * path.required) & path.held[:, np.newaxis]
            for account, state in zip(path.accounts, low, strict=True):
                yield (MARGIN, account), state

    def _jumped(self, rails: Rails, bars: Bars) -> BoolVector:
        """Whether at a bar funding of a perp held settled too far from its settlement before."""
        jumped = np.zeros(len(bars.delta), dtype=bool)
        keys = [rails.tape.keys[place] for place in bars.places]
        jumps = rails.jumps.between(bars.first, bars.first + len(bars.delta))
        limit = self.events.funding_jump
        large = np.isin(jumps.key, keys) & (np.abs(jumps.rate) > (limit or 0.0))
        jumped[jumps.bar[large] - bars.first - 1] = True
        return jumped
