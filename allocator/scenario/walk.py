"""The `backtest:` section: which part of a history is walked, and who walks it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from allocator.scenario.base import Model
from allocator.units import FundingRate, Hours, Multiple, Usd

StrategyName = Literal[
    "allocator", "no_hedge", "one_to_one", "equal_split", "best_funding", "least_variance", "foresight"
]


class Simulation(Model):
    """A synthetic history in place of a recorded one, drawn from a seed."""

    days: Annotated[int, Field(ge=2, le=4000, description="How much of it, warm-up included.")]
    seed: Annotated[int, Field(ge=0)]


class Events(Model):
    """What calls for a decision between those of the clock, at the bar that shows it; none unless stated.

    An event is a crossing, of one coin or one venue: a bound that stays broken calls once. What happens while
    orders are under way calls when they are through, if it still stands.
    """

    delta_band: Annotated[Usd, Field(gt=0)] | None = Field(
        None, description="The net delta of some asset leaves this band around zero."
    )
    margin_ratio: Annotated[Multiple, Field(gt=1)] | None = Field(
        None, description="Equity of some venue falls below this multiple of its maintenance margin."
    )
    funding_jump: Annotated[FundingRate, Field(gt=0)] | None = Field(
        None, description="Funding of some perp held settles further than this from its settlement before."
    )


class Select(Model):
    """Settings chosen while walking: at each date the best on the past alone, judged on what comes after."""

    grid: Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], Field(min_length=1)] = Field(
        description="Values by dotted key, as `sweep.grid` has them: every combination is a candidate."
    )
    every: Annotated[Hours, Field(gt=0)] = Field(720.0, description="Between choices.")
    least: Annotated[Hours, Field(gt=0)] = Field(720.0, description="Walked before the first choice.")


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
    events: Events | None = Field(None, description="Decisions between those of the clock.")
    select: Select | None = Field(None, description="Settings to choose among while walking.")
    strategies: Annotated[list[StrategyName], Field(min_length=1)] = Field(
        ["allocator", "no_hedge", "one_to_one", "equal_split", "best_funding"],
        description="Who is compared; `one_to_one` is on the first venue, `foresight` knows funding to come.",
    )
    missing_funding: Literal["refuse", "nothing"] = Field(
        "refuse",
        description="Where funding lacks settlements of a chosen perp: no walk, or nothing is paid there.",
    )
    missing_prices: Literal["refuse", "hold"] = Field(
        "refuse",
        description="Where prices of a chosen contract or coin are missing for longer than "
        "`snapshot.max_age.prices`: no walk, or what is held stands at its last one.",
    )
    draws: Annotated[int, Field(ge=100, le=100_000)] = Field(
        1000, description="Of the block bootstrap behind the intervals."
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Of the bootstrap.")
    simulate: Simulation | None = Field(None, description="Walk a synthetic history instead.")
