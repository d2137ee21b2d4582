"""Bounds on single positions, each with its name: caps, sides, flags, depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from allocator.market.types import Box, Costs, Instrument, LimitSpec, Market
from allocator.market.universe import Listing
from allocator.scenario.load import LoadedScenario
from allocator.scenario.schema import HedgeSide, Participation, PositionCap
from models.arrays import Vector


def fixed_sides(boxes: tuple[Box, ...], n: int) -> Vector:
    """Sign (n,) that the bounds leave to each position: +1, −1, or 0 where it may take either."""
    lower = np.max([box.lower for box in boxes], axis=0, initial=-np.inf) if boxes else np.full(n, -np.inf)
    upper = np.min([box.upper for box in boxes], axis=0, initial=np.inf) if boxes else np.full(n, np.inf)
    return np.where(upper <= 0, -1.0, np.where(lower >= 0, 1.0, 0.0))


def position_boxes(
    loaded: LoadedScenario,
    listings: list[Listing],
    instruments: tuple[Instrument, ...],
    limits: tuple[LimitSpec, ...],
    previous: Vector,
    target: Vector,
    costs: Costs,
) -> tuple[Box, ...]:
    """Every bound on a single position. `target` (n,) is the exposure that each instrument hedges."""
    n = len(instruments)
    boxes = [
        *_per_selection(loaded, listings, instruments, previous),
        _depth(loaded, previous, costs),
    ]
    for spec in limits:
        limit = spec.limit
        if limit.soft is not None:
            continue
        if isinstance(limit, HedgeSide):
            boxes.append(Box(f"limits.{spec.key}", "hedge_side", spec.source, *side_bounds(target, previous)))
        elif isinstance(limit, PositionCap):
            cap = position_cap(limit, instruments)
            boxes.append(Box(f"limits.{spec.key}.max", "position", spec.source, -cap, cap))
        elif isinstance(limit, Participation):
            sell, buy = participation_bounds(limit, costs)
            boxes.append(
                Box(f"limits.{spec.key}.max", "participation", spec.source, previous - sell, previous + buy)
            )
    return tuple(
        box for box in boxes if np.isfinite(box.lower).any() or np.isfinite(box.upper).any() or n == 0
    )


def participation_bounds(limit: Participation, costs: Costs) -> tuple[Vector, Vector]:
    """Largest sale and purchase (n,) in USD that a participation limit allows."""
    if limit.of == "adv":
        return limit.max * costs.adv_usd, limit.max * costs.adv_usd
    return limit.max * costs.depth_sell, limit.max * costs.depth_buy


def box_owner(market: Market, i: int, side: Literal["lower", "upper"]) -> Box:
    """The box that sets the tightest bound of instrument i on one side."""
    return max(market.boxes, key=lambda box: box.lower[i] if side == "lower" else -box.upper[i])


def position_cap(limit: PositionCap, instruments: tuple[Instrument, ...]) -> Vector:
    """Cap (n,) that a position limit sets, infinite on what it does not select."""
    chosen = [
        (limit.venues == "all" or i.venue in limit.venues)
        and (limit.assets == "all" or i.asset in limit.assets)
        for i in instruments
    ]
    return np.where(chosen, limit.max, np.inf)


def side_bounds(target: Vector, previous: Vector) -> tuple[Vector, Vector]:
    """Opposite to the exposure; what is held on the wrong side may only shrink. Without exposure: shrink."""
    side = -np.sign(target)
    lower = np.where(side < 0, -np.inf, np.minimum(previous, 0.0))
    upper = np.where(side > 0, np.inf, np.maximum(previous, 0.0))
    return lower, upper


def _depth(loaded: LoadedScenario, previous: Vector, costs: Costs) -> Box:
    name = "objective.impact.depth_share"
    lower, upper = previous - costs.capacity_sell, previous + costs.capacity_buy
    return Box(name, "depth", loaded.origin(name), lower, upper)


def _per_selection(
    loaded: LoadedScenario, listings: list[Listing], instruments: tuple[Instrument, ...], previous: Vector
) -> list[Box]:
    """Leverage brackets, caps and flags, one box for each entry of `instruments` that states them."""

    def cap(i: int) -> float | None:
        return instruments[i].largest_usd

    def own_cap(i: int) -> float | None:
        return listings[i].settings.max_position

    def flagged(flag: str) -> Callable[[int], float | None]:
        return lambda i: 0.0 if getattr(listings[i].settings, flag) else None

    boxes = []
    for name in dict.fromkeys(listing.selection for listing in listings):
        rows = [i for i, listing in enumerate(listings) if listing.selection == name]
        for key, kind, bound in (
            ("leverage", "bracket_cap", cap),
            ("max_position", "position", own_cap),
            ("no_trade", "no_trade", flagged("no_trade")),
            ("reduce_only", "reduce_only", flagged("reduce_only")),
        ):
            lower, upper = np.full(len(listings), -np.inf), np.full(len(listings), np.inf)
            for i in rows:
                value = bound(i)
                if value is None:
                    continue
                if kind == "no_trade":
                    lower[i] = upper[i] = previous[i]
                elif kind == "reduce_only":
                    lower[i], upper[i] = min(previous[i], 0.0), max(previous[i], 0.0)
                else:
                    lower[i], upper[i] = -value, value
            path = f"instruments.{name}.{key}"
            boxes.append(Box(path, kind, loaded.origin(path), lower, upper))
    return boxes
