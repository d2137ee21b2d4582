"""Random markets small enough to be solved hundreds of times, and some without any permitted decision."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import cvxpy as cp
import numpy as np
from markets import build
from random_markets import ALWAYS, BAND, Wish, random_spec
from specs import Spec, limit

from allocator.program.conflict import Elastic
from allocator.program.solve import SOLVER, attempt
from allocator.scenario import schema

KINDS = (
    "net_delta", "hedge_ratio", "hedge_side", "position", "gross", "leverage", "participation", "turnover",
    "venue_share", "collateral_share", "venue_outage", "initial_margin", "maintenance_margin", "liquidity",
    "volatility", "liquidation_probability",
)  # fmt: skip
SHORTFALL = 1e-3  # of the book: what an infeasible market lacks at least
_GAP = 0.05


def small_spec(seed: int, wish: Wish, perps: int = 6) -> Spec:
    """The first random spec from this seed on with few perps and stresses."""
    for k in count():
        spec = random_spec(1000 * seed + k, wish)
        if len(spec.perps) <= perps and len(spec.stresses) <= 2:
            return spec
    raise AssertionError


def shortfall(spec: Spec) -> float:
    """The least sum of breaches, in books, that lets every limit hold."""
    elastic = Elastic(build(spec), SOLVER, attempt)
    breach, _ = elastic.least(np.ones(len(elastic.rows)))
    return float(breach.sum())


def infeasible_spec(seed: int) -> tuple[Spec, str]:
    """A spec without any permitted decision, and the kind of limit that was tightened for it."""
    kind = KINDS[seed % len(KINDS)]
    for k in count():
        rng = np.random.default_rng((seed, k))
        others = {str(o) for o in rng.choice(KINDS, size=2)} - {"hedge_ratio"}
        wish = Wish(mode="utility", kinds=frozenset({kind, "net_delta", *others}) | ALWAYS, soft=False)
        spec = small_spec(int(rng.integers(1 << 20)), wish)
        for _ in range(6):
            spec = tightened(spec, kind)
            if shortfall(spec) >= SHORTFALL:
                return spec, kind
    raise AssertionError


def tightened(spec: Spec, kind: str) -> Spec:
    """The limit of this kind asked for more; a side is contradicted by a ratio of its asset."""
    bound = spec.limits[kind]
    if kind == "hedge_side":
        asset = spec.perps[0].asset
        ratio = limit("hedge_ratio", assets=[asset], min=-0.4, max=-0.3)
        return replace(spec, limits={**spec.limits, "wrong_way": ratio})
    if kind in BAND:
        assert isinstance(bound, schema.NetDelta | schema.HedgeRatio)
        gap = _GAP * (spec.book_usd if kind == "net_delta" else 1.0)
        tight = bound.model_copy(update={"min": bound.max + gap, "max": bound.max + 2 * gap})
        return replace(spec, limits={**spec.limits, kind: tight})
    update = {
        "initial_margin": {"use": 0.4 * getattr(bound, "use", 0.0)},
        "maintenance_margin": {"buffer": 4 * getattr(bound, "buffer", 0.0)},
        "liquidity": {
            "warning": 1.5 * getattr(bound, "warning", 0.0),
            "reserve": 0.1 * getattr(bound, "reserve", 0.0),
        },
        "liquidation_probability": {"max": 1e-9, "arrival": 4 * getattr(bound, "arrival", 0.0)},
        "volatility": {"max": 0.7 * (getattr(bound, "max", 0.0) or 0.0)},
    }.get(kind, {"max": 0.25 * (getattr(bound, "max", 0.0) or 0.0)})
    return replace(spec, limits={**spec.limits, kind: bound.model_copy(update=update)})


def verdict(problem: cp.Problem) -> str:
    """What a second, independent call of the solver says of a problem of feasibility."""
    attempt(problem, SOLVER)
    return str(problem.status)
