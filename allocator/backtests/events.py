"""What calls for a decision between those of the clock: a delta band crossed, margin run low, funding jumped.

An event is the crossing, not the state: it is over once the bar before was out of bounds too, so that a desk
which cannot or will not mend it does not decide at every bar. It is seen at the bar that shows it, and the
decision it calls for knows nothing later.
"""

from __future__ import annotations

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

    `delta` (T, A) is net by asset in USD, `places` are exchange and symbol of what is held, `margin` is None
    without positions.
    """

    first: int
    delta: Matrix
    places: list[tuple[str, str]]
    margin: MarginPath | None


@dataclass
class Alarm:
    """Which bounds a desk is out of at the bar that was seen last."""

    events: Events
    out: dict[str, bool] = field(default_factory=dict)

    def first(self, rails: Rails, bars: Bars) -> int | None:
        """The first bar at which a bound is crossed, None where there is none; nothing is remembered."""
        crossed = [np.flatnonzero(crossed) for crossed in self._crossed(rails, bars).values()]
        return min((int(found[0]) for found in crossed if found.size), default=None)

    def see(self, rails: Rails, bars: Bars) -> list[str]:
        """Look at bars, remember the state of the last, and name what was crossed at it."""
        crossed = self._crossed(rails, bars)
        self.out = {name: bool(state[-1]) for name, state in self._out(bars).items()}
        return [name for name, found in crossed.items() if found[-1]]

    def _crossed(self, rails: Rails, bars: Bars) -> dict[str, BoolVector]:
        found = {}
        for name, state in self._out(bars).items():
            before = np.append(self.out.get(name, False), state[:-1])
            found[name] = np.asarray(state & ~before)
        if self.events.funding_jump is not None:
            found[FUNDING] = self._jumped(rails, bars)
        return found

    def _out(self, bars: Bars) -> dict[str, BoolVector]:
        """Whether each bound that is a state is broken at each bar (T,)."""
        found = {}
        if self.events.delta_band is not None:
            largest = np.abs(bars.delta).max(axis=1, initial=0.0)
            found[DELTA] = np.asarray(largest > self.events.delta_band)
        if self.events.margin_ratio is not None and bars.margin is not None:
            path = bars.margin
            low = path.equity < self.events.margin_ratio * path.required
            found[MARGIN] = np.asarray((low & path.held[:, np.newaxis]).any(axis=0))
        return found

    def _jumped(self, rails: Rails, bars: Bars) -> BoolVector:
        """Whether at a bar funding of a perp held settled too far from its settlement before."""
        jumped = np.zeros(len(bars.delta), dtype=bool)
        keys = [rails.tape.keys[place] for place in bars.places]
        jumps = rails.jumps.between(bars.first, bars.first + len(bars.delta))
        limit = self.events.funding_jump
        large = np.isin(jumps.key, keys) & (np.abs(jumps.rate) > (limit or 0.0))
        jumped[jumps.bar[large] - bars.first - 1] = True
        return jumped
