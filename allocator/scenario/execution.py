"""How the scenario says that orders are executed: slices within what the market bears."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from allocator.scenario.base import Model
from allocator.units import Fraction, Hours, Usd


class Execution(Model):
    """How an order is cut into slices: what of the market it may take, how long it may last."""

    participation: Annotated[Fraction, Field(gt=0, le=1)] = Field(
        0.1, description="Most of the market's volume that an order may be, while it lasts."
    )
    depth_share: Annotated[Fraction, Field(gt=0, le=1)] = Field(
        0.2, description="Most of the visible depth that one slice may take, where a book is read."
    )
    slice: Annotated[Hours, Field(gt=0)] = Field(5 / 60, description="Time between two slices.")
    min_slice: Annotated[Usd, Field(ge=0)] = Field(1e4, description="Slices are not cut smaller.")
    duration: Annotated[Hours, Field(gt=0)] = Field(
        1.0, description="An order lasts no longer, unless participation or depth make it."
    )
    settlement_wait: Annotated[Hours, Field(ge=0)] = Field(
        0.25, description="An order may wait this long for a funding settlement to pass."
    )
