"""The `backtest:` section: which part of a history is walked, and who walks it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from allocator.scenario.base import Model
from allocator.units import Hours

StrategyName = Literal[
    "allocator", "no_hedge", "one_to_one", "equal_split", "best_funding", "least_variance", "foresight"
]


class Simulation(Model):
    """A synthetic history in place of a recorded one, drawn from a seed."""

    days: Annotated[int, Field(ge=2, le=4000, description="How much of it, warm-up included.")]
    seed: Annotated[int, Field(ge=0)]


class Backtest(Model):
    """A walk over the history of the snapshot's `prices` and `funding`."""

    start: AwareDatetime | None = Field(None, description="First decision; default: after `warm_up`.")
    end: AwareDatetime | None = Field(None, description="Last bar; default: the last there is.")
    warm_up: Annotated[Hours, Field(ge=0)] = Field(
        720.0, description="History before the first decision, where `start` is not stated."
    )
    every: Annotated[Hours, Field(gt=0)] | None = Field(
        None, description="Between decisions; default: `horizons.decision`."
    )
    strategies: Annotated[list[StrategyName], Field(min_length=1)] = Field(
        ["allocator", "no_hedge", "one_to_one", "equal_split", "best_funding"],
        description="Who is compared; `one_to_one` is on the first venue, `foresight` knows funding to come.",
    )
    draws: Annotated[int, Field(ge=100, le=100_000)] = Field(
        1000, description="Of the block bootstrap behind the intervals."
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Of the bootstrap.")
    simulate: Simulation | None = Field(None, description="Walk a synthetic history instead.")
