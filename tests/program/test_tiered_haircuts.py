"""Haircuts that grow with the balance: formula, program, audit and prices agree, debts count whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from answers import answer, check_bound, some_decision
from markets import build
from random_markets import random_spec
from specs import Balance, Perp, Spec, limit, objective
from transformations import scaled

from allocator.errors import Infeasible
from allocator.haircuts import counted_value, piece_shares, value_pieces
from allocator.margin import Shock, equity
from allocator.market.types import Market
from allocator.scenario.schema import Stress
from models.collateral import HaircutTiers

BINANCE = HaircutTiers(np.array([100e6, 120e6, 150e6, 180e6, 200e6]), np.array([0, 0.025, 0.05, 0.1, 0.15]))
SEEDS = range(8)


def in_words(balance: float, tiers: HaircutTiers, step: float) -> float:
    """Dollar by dollar: each tier's part at its ratio, nothing beyond the last, a debt whole."""
    total, floor = min(balance, 0.0), 0.0
    for cap, haircut in zip(tiers.caps_usd, tiers.haircuts, strict=True):
        total += max(min(balance, cap) - floor, 0.0) * max(1 - haircut - step, 0.0)
        floor = cap
    return total


def tiered(seed: int) -> Spec:
    """A random market in which every other balance, stablecoins too, has tiers that bind near its size."""
    spec, rng = random_spec(seed), np.random.default_rng([seed, 5])

    def of(k: int, b: Balance) -> Balance:
        if k % 2:
            return b
        caps = np.cumsum(rng.uniform(0.2, 0.8, 3)) * max(abs(b.usd), 0.01 * spec.book_usd)
        return replace(b, tiers=HaircutTiers(caps, np.sort(rng.uniform(0, 0.3, 3))))

    return replace(spec, balances=tuple(of(k, b) for k, b in enumerate(spec.balances)))


def test_the_published_example_through_a_market():
    # 6,000 BTC at $20,000: 100m whole and 20m at 97.5 %.
    spec = Spec(
        (Perp(asset="BTC", inverse=True, quote="USD"),),
        {},
        balances=(Balance("alpha", "BTC", 120e6, tiers=BINANCE),),
    )
    market = build(spec)
    assert equity(market, np.zeros(1), market.collateral.balance, Shock.of(market, 0))[0] == pytest.approx(
        119_500_000.0, abs=0.005
    )


@pytest.mark.parametrize(
    ("move", "step", "by_hand"),
    [
        (-0.25, 0.0, 90e6),
        (0.5, 0.0, 100e6 + 19.5e6 + 28.5e6 + 27e6),
        # The step is added to each tier's haircut: 90 %, 87.5 %.
        (0.0, 0.1, 90e6 + 17.5e6),
        (-0.25, 0.1, 81e6),
        (0.0, 0.99, 1e6 + 0.0),
    ],
)
def test_a_stress_moves_the_balance_through_the_tiers_and_raises_each(move, step, by_hand):
    spec = Spec(
        (Perp(asset="BTC", inverse=True, quote="USD"),),
        {},
        balances=(Balance("alpha", "BTC", 120e6, tiers=BINANCE),),
        stresses={"it": Stress.model_construct(move=move, haircut_step=step)},
    )
    market = build(spec)
    worth = equity(market, np.zeros(1), market.collateral.balance, Shock.of(market, 1))[0]
    assert worth == pytest.approx(by_hand, abs=0.005)


def test_value_is_the_words_concave_and_the_least_of_its_pieces():
    rng = np.random.default_rng(6)
    for step in (0.0, 0.04, 0.5):
        one, other = rng.uniform(-80e6, 300e6, 20_000), rng.uniform(-80e6, 300e6, 20_000)
        values = BINANCE.value(one, step)
        words = np.array([in_words(float(b), BINANCE, step) for b in one[:2_000]])
        assert values[:2_000] == pytest.approx(words, rel=1e-12, abs=1e-6)
        middle = BINANCE.value((one + other) / 2, step)
        assert np.all(middle >= (values + BINANCE.value(other, step)) / 2 - 1e-6)
        slopes, cuts = BINANCE.pieces(step)
        assert np.min(np.multiply.outer(one, slopes) + cuts, axis=1) == pytest.approx(
            values, rel=1e-12, abs=1e-6
        )


@pytest.mark.parametrize(
    ("balance", "slope"),
    [(-1.0, 1.0), (0.0, 1.0), (110e6, 0.975), (120e6, 0.95), (190e6, 0.85), (200e6, 0.0)],
)
def test_marginal_worth_is_the_right_hand_slope(balance, slope):
    assert BINANCE.marginal(balance) == slope
    rise = BINANCE.value(balance + 0.5) - BINANCE.value(balance)
    assert rise == pytest.approx(0.5 * slope, abs=1e-7)


def test_equity_of_random_markets_is_the_plain_formula_and_the_program_s():
    for seed in SEEDS:
        market, rng = build(tiered(seed)), np.random.default_rng(seed)
        for _ in range(5):
            x = some_decision(market, rng).positions
            for s in range(len(market.stresses.names)):
                plain = by_pocket(market, x, s)
                assert equity(market, x, market.collateral.balance, Shock.of(market, s)) == pytest.approx(
                    plain, rel=1e-9, abs=1e-6 * market.book_usd
                )


def by_pocket(market: Market, x: np.ndarray, s: int) -> np.ndarray:
    """Equity (V,) pocket by pocket, in words."""
    stress, total = market.stresses, np.zeros(len(market.accounts))
    for p, pocket in enumerate(market.pockets):
        held = market.pocket_of == p
        worth = stress.pocket_factor[s, p] * market.collateral.balance[p]
        worth += float((stress.pnl[s] * x - stress.size_loss[s] * np.abs(x))[held].sum())
        tiers = market.collateral.tiers.get(p)
        if tiers is None:
            counted = min(worth, worth * (1 - stress.haircut[s, p]))
        else:
            counted = in_words(worth, tiers, float(stress.haircut_step[s]))
        total[[a.name for a in market.accounts].index(pocket.venue)] += counted
    return total


def test_random_answers_are_proven_and_scale():
    solved = 0
    for seed in range(9):
        spec = tiered(seed)
        try:
            found = answer(build(spec))
        except Infeasible:
            continue
        solved += 1
        assert found.audit.passed, (seed, found.audit.permitted, found.audit.duality_gap_usd)
        assert found.solution.objective_usd == pytest.approx(found.cost, abs=1e-6 * found.audit.scale_usd)
        if seed % 3 == 0:
            twice = answer(build(scaled(spec, 2.0)))
            assert twice.cost == pytest.approx(2 * found.cost, abs=2e-6 * twice.audit.scale_usd)
    assert solved >= 5


def test_the_bound_holds_whatever_the_prices():
    checked = 0
    for seed in SEEDS:
        market, rng = build(tiered(seed)), np.random.default_rng(seed)
        try:
            found = answer(market)
        except Infeasible:
            continue
        check_bound(found, rng, 6)
        checked += 1
    assert checked >= 5


TIERS = HaircutTiers(np.array([4e5, 8e5, 1.2e6]), np.array([0.0, 0.1, 0.4]))


def bound_by_equity(balance: float) -> Spec:
    """A BTC book hedged by a short whose size the equity of USDT in tiers allows."""
    return Spec(
        perps=(Perp(leverage=5.0),),
        exposure={"BTC": 1e7},
        balances=(Balance("alpha", "USDT", balance, tiers=TIERS),),
        limits={"initial": limit("initial_margin", use=1.0)},
        objective=objective(risk_aversion_per_usd=1e-6),
    )


@pytest.mark.parametrize(("balance", "ratio"), [(2e5, 1.0), (6e5, 0.9), (1e6, 0.6), (1.5e6, 0.0)])
def test_a_dollar_of_collateral_is_worth_its_tier_s_share_of_a_dollar_of_equity(balance, ratio):
    found = answer(build(bound_by_equity(balance)))
    assert found.audit.passed
    assert found.positions == pytest.approx([-5 * TIERS.value(balance)], rel=1e-6)
    price, step = float(found.price("limits.initial.use")[0]), 100.0
    up, down = (answer(build(bound_by_equity(balance + d))).cost for d in (step, -step))
    assert price > 0
    assert (down - up) / (2 * step) == pytest.approx(price * ratio, rel=1e-4, abs=1e-9)


def test_collateral_is_moved_up_to_the_cap_of_a_tier_and_no_further():
    """The last dollar at the cap is worth its cost before it and not after: the answer is at the kink."""
    spec = Spec(
        perps=(Perp(venue="alpha", leverage=5.0), Perp(venue="beta", leverage=5.0, no_trade=True)),
        exposure={"BTC": 1e7},
        balances=(
            Balance("alpha", "USDT", 1e5, tiers=HaircutTiers(np.array([5e5, 1e9]), np.array([0.0, 0.9]))),
            Balance("beta", "USDT", 3e6, withdrawable=2e6, cost=0.01, delay=0.5),
        ),
        limits={"initial": limit("initial_margin", use=1.0)},
        objective=objective(risk_aversion_per_usd=1e-6),
    )
    found = answer(build(spec))
    assert found.audit.passed, found.audit.duality_gap_usd
    assert found.solution.decision.transfers == pytest.approx([4e5], rel=1e-5)
    assert found.positions[0] == pytest.approx(-2.5e6, rel=1e-5)
    assert float(found.price("collateral.0").sum()) > 0


def test_shares_are_the_multipliers_at_a_kink_and_the_slope_elsewhere():
    market = build(bound_by_equity(4e5))
    pieces = value_pieces(market, 0)
    value = pieces.slope * 4e5 + pieces.intercept
    at_kink = piece_shares(pieces, value, np.array([0.0, 1.0, 3.0, 9.0, 9.0]), 1.0)
    assert at_kink.tolist() == [0.0, 0.25, 0.75, 0.0, 0.0]
    inside = piece_shares(pieces, pieces.slope * 6e5 + pieces.intercept, None, 1.0)
    assert inside.tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]


def test_what_leaves_is_counted_by_the_lowest_tier_it_may_reach():
    spec = Spec(
        perps=(Perp(venue="alpha"), Perp(venue="beta")),
        exposure={"BTC": 1e6},
        balances=(
            Balance("alpha", "USDT", 1e6, tiers=TIERS, withdrawable=3e5, delay=0.5),
            Balance("beta", "USDT", 1e6),
        ),
        stresses={"haircuts": Stress.model_construct(haircut_step=0.05)},
        limits={"maintenance": limit("maintenance_margin", buffer=1.0)},
    )
    market = build(spec)
    # From 1.0m at 60 % down to 0.7m at 90 %: each dollar leaving counts 90 %, 85 % with the haircuts raised.
    assert market.transfers.leaving[:, 0] == pytest.approx([0.9, 0.9, 0.85])


def test_flat_haircuts_are_one_tier_without_end():
    worth, haircut = np.array([-5.0, 7.0]), np.array([0.1, 0.2])
    endless = {p: HaircutTiers(np.array([1e15]), haircut[[p]]) for p in range(2)}
    assert counted_value(endless, worth, haircut, 0.0) == pytest.approx(
        counted_value({}, worth, haircut, 0.0)
    )


@pytest.mark.parametrize(
    ("caps", "haircuts", "words"),
    [
        ([2.0, 1.0], [0.0, 0.1], "rising cap"),
        ([1.0, 2.0], [0.2, 0.1], "rise with"),
        ([1.0], [1.5], "fraction between"),
    ],
)
def test_tiers_out_of_order_are_refused(caps, haircuts, words):
    with pytest.raises(ValueError, match=words):
        HaircutTiers(np.array(caps), np.array(haircuts))
