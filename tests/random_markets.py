"""Random but realistic markets; some decision is permitted in each, by construction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from markets import build
from specs import Balance, Book, Perp, Spec, brackets, limit, objective

from allocator.audit.limits import LimitValues, limit_values
from allocator.market.types import Decision, Market
from allocator.scenario import schema
from models.arrays import Vector
from models.margin import Brackets

COINS = ("BTC", "DOGE", "ETH", "SOL", "XRP")
VENUES = ("alpha", "beta", "gamma", "omega")
MARGINS = ("initial_margin", "maintenance_margin", "liquidation_probability")
BAND = ("net_delta", "hedge_ratio")  # limits with a `min` and a `max`
ALWAYS = frozenset({"hedge_side", "initial_margin", "maintenance_margin"})
seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Wish:
    """What a random market may hold. `costs` is book, impact, linear or none; None is drawn at random."""

    mode: str | None = None
    costs: str | None = None
    kinds: frozenset[str] | None = None  # limits; None: the default ones and a random choice
    soft: bool = True
    kappa: bool = True
    transfers: bool = True
    shared_basis: bool = True
    open_orders: bool = True
    wrong_side: bool = True


ANYTHING = Wish()
PLAIN = Wish(mode="utility", kinds=ALWAYS, soft=False, transfers=False, shared_basis=False)


def random_market(seed: int, wish: Wish = ANYTHING) -> Market:
    """The market of `random_spec`."""
    return build(random_spec(seed, wish))


def random_spec(seed: int, wish: Wish = ANYTHING) -> Spec:
    """2-4 venues, 1-5 assets, stresses, costs, limits of all kinds: some decision satisfies them all."""
    rng = np.random.default_rng(seed)
    assets = sorted(rng.choice(COINS, size=int(rng.integers(1, 6)), replace=False).tolist())
    exposure = {a: float(rng.choice([1, 1, -1]) * rng.lognormal(15, 1)) for a in assets}
    venues = VENUES[: int(rng.integers(2, 5))]
    costs = wish.costs or str(rng.choice(["book", "impact", "linear", "none"]))
    perps = tuple(
        _perp(rng, wish, venue, asset, exposure[asset], costs, inverse)
        for venue in venues
        for asset in assets
        for inverse in (False, True)
        if rng.random() < (0.3 if inverse else 0.85) or (venue == venues[0] and not inverse)
    )
    cross: dict[str, Mapping[str, float]] = {}
    if rng.random() < 0.2:
        exposure["ALT"], cross["ALT"] = float(rng.lognormal(14, 1)), {assets[0]: float(rng.uniform(0.5, 1.5))}
    book = sum(map(abs, exposure.values()))
    spec = Spec(
        perps=perps,
        exposure=exposure,
        cross_hedges=cross,
        asset_sd={a: float(rng.uniform(0.015, 0.06)) for a in exposure},
        correlation=float(rng.uniform(0, 0.8)),
        factors=None if rng.random() < 0.5 else 1,
        currency_sd={"USDC": 4e-4, "USDT": 3e-4},
        cash={"USDC": 0.1 * book} if rng.random() < 0.5 else {},
        balances=_balances(rng, perps, book, transfers=wish.transfers and rng.random() < 0.6),
        charges={v: float(rng.uniform(0, 2e-4)) for v in venues} if rng.random() < 0.5 else {},
        stresses=_stresses(rng, assets, venues),
        objective=_objective(rng, wish, book),
        book_usd=book,
        holding_hours=float(rng.choice([24.0, 72.0, 240.0])),
    )
    shared = np.random.default_rng([seed, 1])
    if shared.random() < 0.5:
        market, coin, venue, _ = shared.dirichlet(np.ones(4)).tolist()
        correlation = float(shared.uniform(0, 0.8))
        spec = replace(spec, basis_correlation=correlation, error_shares=(market, coin, venue))
    bases = np.random.default_rng([seed, 2])
    if bases.random() < 0.5:
        # Far larger than recorded, so that what forgets it is seen.
        spec = replace(spec, basis_beta=float(bases.uniform(-0.05, 0.1)))
    spec = replace(spec, limits=_limits(rng, wish, spec))
    return with_room(spec, reference(build(spec), rng), rng)


def _perp(
    rng: np.random.Generator, wish: Wish, venue: str, asset: str, exposure: float, costs: str, inverse: bool
) -> Perp:
    size = abs(exposure)
    side = -np.sign(exposure) * (-1 if wish.wrong_side and rng.random() < 0.15 else 1)
    orders = wish.open_orders and rng.random() < 0.2
    sd = float(rng.uniform(2e-4, 1e-3))
    depth = size * float(rng.uniform(0.5, 2))
    taker = float(rng.choice([0.5, 1.0]))
    adv = depth * 200
    return Perp(
        venue=venue,
        asset=asset,
        quote="USD" if inverse else ("USDC" if venue == "gamma" else "USDT"),
        inverse=inverse,
        previous=float(side * size * rng.uniform(0, 0.6)) if rng.random() < 0.5 else 0.0,
        open_buys=float(size * rng.uniform(0, 0.1)) if orders else 0.0,
        open_sells=float(size * rng.uniform(0, 0.1)) if orders else 0.0,
        leverage=float(rng.uniform(2, 10)),
        brackets=_brackets(rng, size),
        fee=float(rng.uniform(1e-5 if costs == "linear" else -1e-4, 5e-4)) if costs != "none" else 0.0,
        spread=float(rng.uniform(0, 2e-4)) if costs != "none" else 0.0,
        bids=_book(rng, depth) if costs == "book" else None,
        asks=_book(rng, depth) if costs == "book" else None,
        taker_share=taker,
        impact=float(rng.uniform(0.5, 1) * 0.03 / np.sqrt(adv)) if costs == "impact" else 0.0,
        adv=adv,
        funding=float(rng.normal(1e-4, 3e-4)),
        funding_sd=float(rng.uniform(1e-5, 3e-4)),
        funding_hours=float(rng.choice([1.0, 8.0])),
        basis_sd=sd,
        # The same inverse perp in several accounts has one basis.
        basis=f"shared {asset}" if wish.shared_basis and inverse else "",
        reduce_only=bool(rng.random() < 0.05),
    )


def _brackets(rng: np.random.Generator, size: float) -> Brackets:
    count = int(rng.integers(1, 6))
    floors = np.append(0.0, np.sort(rng.uniform(0.02, 1.5, count - 1))) * size
    rates = np.cumsum(rng.uniform(0.002, 0.02, count))
    cap = np.inf if rng.random() < 0.5 else float(floors[-1] + size * rng.uniform(1, 3))
    return brackets(floors.tolist(), rates.tolist(), np.linspace(100, 11, count).tolist(), cap)


def _book(rng: np.random.Generator, depth: float) -> Book:
    levels = int(rng.integers(1, 6))
    premiums = np.append(0.0, np.cumsum(rng.uniform(0, 4e-4, levels - 1)))
    return Book(tuple((depth * rng.dirichlet(np.ones(levels))).tolist()), tuple(premiums.tolist()))


def _balances(
    rng: np.random.Generator, perps: tuple[Perp, ...], book: float, transfers: bool
) -> tuple[Balance, ...]:
    """Every currency that something settles in, both stablecoins, and now and then a debt."""
    wanted = {(p.venue, p.settlement) for p in perps} | {(p.venue, "USDT") for p in perps}
    found = []
    for venue, currency in sorted(wanted):
        stable = currency.startswith("USD")
        usd = book * float(rng.uniform(0.02, 0.5) if stable else rng.uniform(0.0, 0.1))
        if not stable and rng.random() < 0.1:
            usd = -0.01 * book
        moves = transfers and usd > 0 and rng.random() < 0.5
        found.append(
            Balance(
                venue,
                currency,
                usd,
                haircut=0.0 if currency == "USDT" else float(rng.uniform(0, 0.2)),
                withdrawable=usd * float(rng.uniform(0.2, 1)) if moves else 0.0,
                cost=float(rng.choice([0.0, 5e-5])),
                delay=float(rng.choice([0.5, 12.0])) if moves else None,
            )
        )
    return tuple(found)


def _stresses(
    rng: np.random.Generator, assets: list[str], venues: tuple[str, ...]
) -> dict[str, schema.Stress]:
    def stress(**values: Any) -> schema.Stress:
        return schema.Stress.model_construct(**values)

    pool = {
        "up": stress(move=float(rng.uniform(0.05, 0.4))),
        "down": stress(move=float(rng.uniform(-0.4, -0.05))),
        "apart": stress(moves={a: float(rng.uniform(-0.3, 0.3)) for a in assets}),
        "gap": stress(basis={venues[0]: 0.02, venues[-1]: -0.015}, move=0.1),
        "depeg": stress(currencies={"USDT": -0.05, "USDC": 0.002}, move=-0.1),
        "haircuts": stress(haircut_step=0.1, move=-0.2),
        "funding": stress(funding_at_cap=24.0),
        "deleveraged": stress(move=float(rng.choice([-0.25, 0.25])), auto_deleveraged=0.5),
    }
    chosen = rng.choice(list(pool), size=int(rng.integers(1, 5)), replace=False)
    return {name: pool[name] for name in chosen.tolist()}


def _objective(rng: np.random.Generator, wish: Wish, book: float) -> schema.Objective:
    mode = wish.mode or str(rng.choice(["utility", "utility", "min_variance", "min_cost"]))
    return objective(
        mode=mode,
        risk_aversion_per_usd=float(10 ** rng.uniform(0, 2) / book),
        funding_uncertainty_aversion=float(rng.uniform(0.1, 1)) if wish.kappa and rng.random() < 0.4 else 0.0,
        volatility_limit=1.0 if mode == "min_cost" else None,
        cost_budget=1.0 if mode == "min_variance" else None,
    )


def _limits(rng: np.random.Generator, wish: Wish, spec: Spec) -> dict[str, schema.Limit]:
    """Limits whose bounds `with_room` sets; a soft one keeps the tight bound it has here."""
    book = spec.book_usd
    pool: dict[str, dict[str, Any]] = {
        "net_delta": {"min": -0.05 * book, "max": 0.05 * book},
        "hedge_ratio": {"assets": [spec.perps[0].asset], "min": 0.8, "max": 1.1},
        "gross": {"max": 0.8 * book},
        "leverage": {"max": 1.5},
        "turnover": {"max": 0.5 * book},
        "venue_share": {"of": str(rng.choice(["book", "gross"])), "max": 0.4},
        "collateral_share": {"max": 0.5},
        "venue_outage": {"venues": list(spec.venues), "max": 0.6 * book},
        "liquidity": {"warning": float(rng.uniform(1.2, 3)), "reserve": 0.01 * book},
        "liquidation_probability": {"max": 0.01, "arrival": float(rng.uniform(1, 24))},
        "volatility": {"max": 0.005 * book},
        "position": {"max": 0.3 * book},
        "participation": {"of": "adv", "max": 0.01},
        "hedge_side": {},
        "initial_margin": {"use": float(rng.uniform(0.5, 1))},
        "maintenance_margin": {"buffer": float(rng.uniform(1, 2))},
    }
    limits = {}
    for kind, values in pool.items():
        drawn = kind in ALWAYS or rng.random() < 0.3
        if drawn if wish.kinds is None else kind in wish.kinds:
            soft = wish.soft and kind not in ALWAYS and rng.random() < 0.4
            price = float(10 ** rng.uniform(-4, -1.5)) if soft else None
            limits[kind] = limit(kind, soft=price, **values)
    return limits


def reference(market: Market, rng: np.random.Generator) -> Vector:
    """A sensible hedge within all boxes: each asset's exposure spread over its perps at random."""
    shares = rng.exponential(size=len(market.instruments))
    total = np.bincount(market.asset_of, weights=shares, minlength=len(market.assets))
    wanted = -float(rng.uniform(0.6, 1.0)) * market.hedged_exposure * shares / total[market.asset_of]
    return np.asarray(np.clip(wanted, market.lower, market.upper))


def with_room(spec: Spec, positions: Vector, rng: np.random.Generator) -> Spec:
    """The spec with collateral and hard bounds such that these positions are permitted without transfers."""
    caps = {}
    for key, bound in spec.limits.items():
        if bound.soft is None and isinstance(bound, schema.PositionCap | schema.Participation):
            # At least the reference, and what is held now: bounds on a position may not contradict a flag.
            held = np.array([p.previous for p in spec.perps])
            size, trade = np.maximum(np.abs(positions), np.abs(held)), np.abs(positions - held)
            share = (trade / np.array([p.adv for p in spec.perps])).max()
            most = 1.1 * size.max() if isinstance(bound, schema.PositionCap) else 1.1 * share + 1e-4
            caps[key] = bound.model_copy(update={"max": float(most)})
    spec = _margined(replace(spec, limits={**spec.limits, **caps}), positions)
    _, values = _evaluate(spec, positions)
    limits = dict(spec.limits)
    for key, bound in spec.limits.items():
        if bound.soft is None and bound.kind not in (*ALWAYS, *MARGINS, *caps):
            limits[key] = _widened_to(bound, {v.name: v for v in values}, key, rng, spec.book_usd)
    found = {v.name: v for v in values}
    goal = spec.objective
    if "objective.volatility_limit" in found:
        sd = float(found["objective.volatility_limit"].value[0])
        goal = goal.model_copy(update={"volatility_limit": sd * float(rng.uniform(1, 1.3))})
    if "objective.cost_budget" in found:
        cost = float(found["objective.cost_budget"].value[0])
        goal = goal.model_copy(update={"cost_budget": cost + 1e-5 * spec.book_usd})
    return replace(spec, limits=limits, objective=goal)


def _evaluate(spec: Spec, positions: Vector) -> tuple[Market, list[LimitValues]]:
    market = build(spec)
    return market, limit_values(market, Decision(positions, np.zeros(len(market.transfers.routes))))


def _margined(spec: Spec, positions: Vector) -> Spec:
    """Adds USDT to venues that lack margin at these positions."""
    for _ in range(20):
        _, values = _evaluate(spec, positions)
        lacking = dict.fromkeys(spec.venues, 0.0)
        for v in values:
            if v.kind in MARGINS and v.price is None:
                for subject, slack in zip(v.subjects, v.slack_usd, strict=True):
                    venue = subject.split(" ")[0]
                    lacking[venue] = max(lacking[venue], -float(slack))
        if not any(lack > 0 for lack in lacking.values()):
            return spec
        topped = tuple(
            replace(b, usd=b.usd + 2.5 * lacking[b.venue] + 1.0)
            if b.currency == "USDT" and lacking[b.venue] > 0
            else b
            for b in spec.balances
        )
        spec = replace(spec, balances=topped)
    raise AssertionError("no collateral suffices: the random market is not sensible")


def _widened_to(
    bound: schema.Limit, found: Mapping[str, LimitValues], key: str, rng: np.random.Generator, book: float
) -> schema.Limit:
    """The limit with bounds a little beyond its values at the reference."""

    def value(name: str) -> float:
        return float(np.max(found[f"limits.{key}.{name}"].value))

    room = float(rng.uniform(0.01, 0.1))
    if bound.kind == "net_delta":
        pad = room * book
        return bound.model_copy(update={"min": -value("min") - pad, "max": value("max") + pad})
    if bound.kind == "hedge_ratio":
        return bound.model_copy(update={"min": -value("min") - room, "max": value("max") + room})
    if bound.kind == "liquidity":
        return bound.model_copy(update={"reserve": value("reserve") + 0.1 * room * book})
    row = found[f"limits.{key}.max"]
    if bound.kind in ("leverage", "venue_share", "collateral_share"):
        # Their bound is share × whole: the share at the reference is value / (bound / share).
        whole = np.maximum(row.bound / bound.max, 1e-9)
        return bound.model_copy(
            update={"max": min(float(np.max(row.value / whole)) * (1 + room) + 1e-3, 1e3)}
        )
    return bound.model_copy(update={"max": float(np.max(row.value)) * (1 + room) + 1e-4 * book})
