"""Bounds on single positions, each with its name: caps, sides, flags, depth."""

from __future__ import annotations

from typing import Literal

import numpy as np

from allocator.market.types import Box, Costs, Instrument, LimitSpec, Market
from allocator.market.universe import Listing
from allocator.scenario.load import LoadedScenario
from allocator.scenario.schema import HedgeSide, Participation, PositionCap
from models.arrays import BoolVector, Vector


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
    closing: BoolVector,
) -> tuple[Box, ...]:
    """Every bound on a single position. `target` (n,) is the exposure that each instrument hedges.

    `closing` (n,) are those that must go.
    """
    n = len(instruments)
    boxes = [
        *_per_selection(loaded, listings, instruments, previous, closing),
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
    loaded: LoadedScenario,
    listings: list[Listing],
    instruments: tuple[Instrument, ...],
    previous: Vector,
    closing: BoolVector,
) -> list[Box]:
    """Leverage brackets, caps and flags, one box for each entry of `instruments` that states them."""
    boxes, n = [], len(listings)
    members: dict[str, list[int]] = {}
    for i, listing in enumerate(listings):
        members.setdefault(listing.selection, []).append(i)
    for name, mine in members.items():
        rows, settings = np.array(mine), listings[mine[0]].settings
        held = previous[rows]
        largest = np.array([instruments[i].largest_usd for i in mine])
        bounds = [("leverage", "bracket_cap", -largest, largest)]
        if settings.max_position is not None:
            own = np.full(len(mine), settings.max_position)
            bounds.append(("max_position", "position", -own, own))
        if settings.no_trade:
            bounds.append(("no_trade", "no_trade", held, held))
        if settings.reduce_only:
            bounds.append(("reduce_only", "reduce_only", np.minimum(held, 0.0), np.maximum(held, 0.0)))
        if closing[rows].any() and not settings.no_trade:
            # One that may not be traded stays until it settles by itself.
            free = np.where(closing[rows], 0.0, np.inf)
            bounds.append(("expiry", "expiry", -free, free))
        for key, kind, least, most in bounds:
            lower, upper = np.full(n, -np.inf), np.full(n, np.inf)
            lower[rows], upper[rows] = least, most
            path = f"instruments.{name}.{key}"
            # An expiry is no key of the scenario: the contract comes with the symbols that are chosen.
            stated = f"instruments.{name}.symbols" if key == "expiry" else path
            boxes.append(Box(path, kind, loaded.origin(stated), lower, upper))
    return boxes
