"""What each asset's perps have to hedge: its own exposure, and that of coins cross-hedged by it."""

from __future__ import annotations

from allocator.errors import Problem
from allocator.market.names import Names
from allocator.market.types import Matrix
from allocator.market.universe import Findings
from allocator.scenario.schema import Scenario
from models.arrays import Vector
from models.hedge import CROSS_HEDGE_RIDGE, cross_hedge_betas


def hedged_exposure(
    scenario: Scenario, names: Names, exposure: Vector, covariance: Matrix, findings: Findings
) -> Vector:
    """Exposure (A,) that perps of each asset hedge: its own, plus beta times what is cross-hedged by it."""
    target = exposure.copy()
    place = {asset: k for k, asset in enumerate(names.assets)}
    perps = {names.assets[a] for a in names.asset_of}
    for asset, betas in scenario.book.cross_hedges.items():
        if asset not in place:
            findings.problems.append(
                Problem("scenario", f"book.cross_hedges.{asset}: the book holds no {asset}")
            )
            continue
        if betas == "estimated":
            own, others = place[asset], [place[a] for a in sorted(perps - {asset})]
            estimated = cross_hedge_betas(covariance, own, others, CROSS_HEDGE_RIDGE)
            found = dict(zip(others, map(float, estimated), strict=True))
        else:
            for other in sorted(set(betas) - perps):
                message = f"book.cross_hedges.{asset}.{other}: no perp of {other} takes part"
                findings.problems.append(Problem("scenario", message))
            found = {place[other]: beta for other, beta in betas.items() if other in perps}
        for k, beta in found.items():
            target[k] += beta * exposure[place[asset]]
    hedged = perps | set(scenario.book.cross_hedges)
    for asset in sorted(set(names.assets) - hedged):
        if exposure[place[asset]] != 0:
            findings.notices.append(
                f"{asset} has no perp or future and no cross hedge: its exposure stays open"
            )
    return target
