"""Changes of a market whose effect on the optimum is known: the laws of the program speak of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from specs import Book, Spec

from allocator.scenario import schema
from models.margin import Brackets


def widened(bound: schema.Limit, factor: float) -> schema.Limit:
    """The same limit, weaker by a factor > 1."""
    match bound:
        case schema.NetDelta() | schema.HedgeRatio():
            pad = (factor - 1) * (abs(bound.min) + abs(bound.max))
            return bound.model_copy(update={"min": bound.min - pad, "max": bound.max + pad})
        case schema.InitialMargin():
            return bound.model_copy(update={"use": bound.use * factor})
        case schema.MaintenanceMargin():
            return bound.model_copy(update={"buffer": bound.buffer / factor})
        case schema.LiquidationProbability():
            return bound.model_copy(update={"max": min(bound.max * factor, 0.99)})
        case schema.Liquidity():
            return bound.model_copy(update={"reserve": bound.reserve * factor})
        case schema.HedgeSide():
            return bound
        case schema.VenueOutage():
            amounts = {name: getattr(bound, name) for name in ("max", "max_loss", "max_loss_share")}
            return bound.model_copy(
                update={name: usd * factor for name, usd in amounts.items() if usd is not None}
            )
        case _:
            return bound.model_copy(update={"max": bound.max * factor})


AMOUNTS = {
    "net_delta": ("min", "max"),
    "gross": ("max",),
    "turnover": ("max",),
    "venue_outage": ("max", "max_loss"),
    "liquidity": ("reserve",),
    "volatility": ("max",),
    "position": ("max",),
}


def scaled(spec: Spec, k: float) -> Spec:
    """Every amount of money times k, λ divided by k, k of 3/2 impact by √k (ADV grows): k-fold answers."""

    def levels(book: Book | None) -> Book | None:
        return book and replace(book, sizes=tuple(k * s for s in book.sizes))

    perps = tuple(
        replace(
            p,
            previous=k * p.previous,
            open_buys=k * p.open_buys,
            open_sells=k * p.open_sells,
            brackets=_scaled_brackets(p.brackets, k),
            bids=levels(p.bids),
            asks=levels(p.asks),
            adv=k * p.adv,
            impact=p.impact / np.sqrt(k),
        )
        for p in spec.perps
    )
    limits = {
        key: bound.model_copy(
            update={
                name: k * usd
                for name in AMOUNTS.get(bound.kind, ())
                if (usd := getattr(bound, name)) is not None
            }
        )
        for key, bound in spec.limits.items()
    }
    goal = spec.objective
    amounts = {name: getattr(goal, name) for name in ("volatility_limit", "cost_budget")}
    goal = goal.model_copy(
        update={
            "risk_aversion_per_usd": goal.risk_aversion_per_usd / k,
            **{name: None if usd is None else k * usd for name, usd in amounts.items()},
        }
    )
    return replace(
        spec,
        perps=perps,
        exposure={a: k * usd for a, usd in spec.exposure.items()},
        cash={c: k * usd for c, usd in spec.cash.items()},
        balances=tuple(
            replace(
                b,
                usd=k * b.usd,
                withdrawable=k * b.withdrawable,
                tiers=b.tiers and replace(b.tiers, caps_usd=k * b.tiers.caps_usd),
            )
            for b in spec.balances
        ),
        limits=limits,
        objective=goal,
        book_usd=k * spec.book_usd,
    )


def _scaled_brackets(b: Brackets, k: float) -> Brackets:
    return Brackets(k * b.floors_usd, k * b.caps_usd, b.rates, k * b.deductions_usd, b.max_leverages)


def twinned(spec: Spec, i: int) -> Spec:
    """Perp i in two halves that share its basis and split its depth, ADV, brackets and orders."""
    p = spec.perps[i]

    def half(book: Book | None) -> Book | None:
        return book and replace(book, sizes=tuple(s / 2 for s in book.sizes))

    twin = replace(
        p,
        previous=p.previous / 2,
        open_buys=p.open_buys / 2,
        open_sells=p.open_sells / 2,
        brackets=_scaled_brackets(p.brackets, 0.5),
        bids=half(p.bids),
        asks=half(p.asks),
        adv=p.adv / 2,
        impact=p.impact * np.sqrt(2),
        basis=p.basis or p.key,
    )
    return replace(spec, perps=(*spec.perps[:i], twin, replace(twin, label="2"), *spec.perps[i + 1 :]))
