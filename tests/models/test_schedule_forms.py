"""Every margin schedule in the program's form: convex on random pairs, and how far above the venue's own.

Sizes are USD notionals, log-uniform over the sizes that desks hold; portfolios are four legs of either sign.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from models.collateral import HaircutTiers
from models.margin import Brackets, bracket_deductions, maintenance_margin, maintenance_margin_max_affine
from models.schedules import (
    PortfolioMargin,
    long_short_margin,
    multiplied_minimum,
    open_interest_scaled_rate,
    portfolio_margin,
    quadratic_margin,
    whole_position_majorant,
    whole_position_margin,
)

Array = NDArray[np.float64]
PAIRS = 20_000


def brackets(floors: list[float], rates: list[float], cap: float) -> Brackets:
    edges = np.array(floors)
    return Brackets(
        edges,
        np.append(edges[1:], cap),
        np.array(rates),
        bracket_deductions(edges, rates),
        np.ones(len(edges)),
    )


# Binance BTCUSDT to 230m (2026-09-29), Hyperliquid BTC, OKX CHZ-USDT (2023-05), Kraken's inverse BTC levels.
BINANCE = brackets(
    [0, 3e5, 8e5, 3e6, 12e6, 70e6, 100e6], [0.004, 0.005, 0.0065, 0.01, 0.02, 0.025, 0.05], 230e6
)
HYPERLIQUID = brackets([0, 150e6], [0.0125, 0.025], 1e9)
CHZ = np.array([5e3, 7.5e3, 15e3, 30e3, 45e3, 60e3]), np.array([0.01, 0.015, 0.02, 0.025, 0.03, 0.035])
KRAKEN = (
    np.array([0.5e6, 1e6, 3e6, 6e6, 12e6, 20e6, 50e6, 75e6]),
    np.array([0.01, 0.02, 0.03, 0.05, 0.075, 0.125, 0.15, 0.2]),
)
# BitMEX's shape: 1 % and 0.5 % more for each 100 XBT begun beyond 200, of the whole position.
BITMEX = 200.0 + 100.0 * np.arange(20), 0.01 + 0.005 * np.arange(20)
OKX = PortfolioMargin(
    np.array([-0.24, -0.12, -0.08, 0.08, 0.12, 0.24]),
    np.array([0.5, 1.0, 1.0, 1.0, 1.0, 0.5]),
    0.01,
    0.002,
    multiplied_minimum(0.005, np.array([250e3, 500e3, 1e6, np.inf]), np.array([1.0, 2.0, 4.0, 6.0])),
    1.3,
)
PARADEX = PortfolioMargin(np.array([-0.02, 0.02]), np.ones(2), 0.01, 0.0, None, 2.0)
COLLATERAL = HaircutTiers(np.array([100e6, 120e6, 150e6]), np.array([0.0, 0.025, 0.05]))


def majorant(tiers: tuple[Array, Array]) -> Brackets:
    return whole_position_majorant(*tiers, np.full(len(tiers[0]), 10.0))


def pieces(rules: PortfolioMargin) -> Callable[[Array], Array]:
    def form(x: Array) -> Array:
        rows = rules.affine_pieces()
        net, gross = x.sum(axis=-1), np.abs(x).sum(axis=-1)
        return np.asarray(np.max(np.multiply.outer(net, rows[:, 0]) + np.multiply.outer(gross, rows[:, 1])
                                 + rows[:, 2], axis=-1))  # fmt: skip

    return form


def words(rules: PortfolioMargin) -> Callable[[Array], Array]:
    return lambda x: np.array([portfolio_margin(row, rules) for row in x])


def netted(x: Array, own: Callable[[Array], Array]) -> Array:
    margin = own(np.abs(x))
    longs, shorts = (np.where(side, margin, 0.0).sum(axis=-1) for side in (x > 0, x < 0))
    return np.asarray(long_short_margin(longs, shorts))


def both_sides(x: Array) -> Array:
    """As the program has a netted group with every side free: each position counts long and short."""
    return np.asarray(maintenance_margin(np.abs(x), HYPERLIQUID).sum(axis=-1))


@dataclass(frozen=True)
class Form:
    """The program's form and the venue's own, of sizes (M,) up to `most` or portfolios (M, 4)."""

    program: Callable[[Array], Array]
    venue: Callable[[Array], Array]
    most: float
    legs: int = 0
    exact: bool = True


FORMS = {
    "brackets, Binance": Form(
        lambda n: maintenance_margin_max_affine(n, BINANCE), lambda n: maintenance_margin(n, BINANCE), 230e6
    ),
    "brackets, Hyperliquid": Form(
        lambda n: maintenance_margin_max_affine(n, HYPERLIQUID),
        lambda n: maintenance_margin(n, HYPERLIQUID),
        1e9,
    ),
    # An inverse contract after a fall by 30 %: deductions are coins, worth 0.7 of what they were.
    "brackets, inverse under stress": Form(
        lambda n: np.max(np.multiply.outer(n, BINANCE.rates) - 0.7 * BINANCE.deductions_usd, axis=-1),
        lambda n: 0.7 * np.asarray(maintenance_margin(n / 0.7, BINANCE)),
        160e6,
    ),
    "quadratic, Deribit": Form(
        lambda n: 0.01 * n + 5e-10 * n**2, lambda n: quadratic_margin(n, 0.01, 0.00005 / 1e5), 1e9
    ),
    "open interest, dYdX": Form(
        lambda n: n * 0.55, lambda n: n * open_interest_scaled_rate(0.1, 35e6, 20e6, 50e6), 5e6
    ),
    "whole position, OKX": Form(
        lambda n: maintenance_margin_max_affine(n, majorant(CHZ)),
        lambda n: whole_position_margin(n, *CHZ),
        60e3,
        exact=False,
    ),
    "whole position with fee, OKX": Form(
        lambda n: maintenance_margin_max_affine(n, majorant(CHZ)) + 0.0005 * n,
        lambda n: whole_position_margin(n, CHZ[0], CHZ[1] + 0.0005),
        60e3,
        exact=False,
    ),
    "whole position, Kraken": Form(
        lambda n: maintenance_margin_max_affine(n, majorant(KRAKEN)),
        lambda n: whole_position_margin(n, *KRAKEN),
        75e6,
        exact=False,
    ),
    "risk steps, BitMEX's shape": Form(
        lambda n: maintenance_margin_max_affine(n, majorant(BITMEX)),
        lambda n: whole_position_margin(n, *BITMEX),
        2_000.0,
        exact=False,
    ),
    "larger side, Kraken": Form(
        both_sides,
        lambda x: netted(x, lambda n: np.asarray(maintenance_margin(n, HYPERLIQUID))),
        0.0,
        4,
        False,
    ),
    "portfolio with rising minimum, OKX": Form(pieces(OKX), words(OKX), 0.0, 4),
    "portfolio, Paradex": Form(pieces(PARADEX), words(PARADEX), 0.0, 4),
    "collateral that does not count": Form(
        lambda b: b - np.min([s * b + c for s, c in zip(*COLLATERAL.pieces(), strict=True)], axis=0),
        lambda b: b - COLLATERAL.value(b),
        200e6,
    ),
}


def drawn(form: Form, rng: np.random.Generator, count: int = PAIRS) -> Array:
    if form.legs:
        return rng.normal(0, 10 ** rng.uniform(5, 8, (count, 1)), (count, form.legs))
    return form.most * 10 ** rng.uniform(-4, 0, count)


def test_every_form_is_convex_and_never_below_the_venue_s(told):
    rng = np.random.default_rng(11)
    lines = [f"{'schedule':38} {'worst':>7} {'median':>7}   program over venue"]
    for name, form in FORMS.items():
        one, other = drawn(form, rng), drawn(form, rng)
        left, right, middle = (form.program(x) for x in (one, other, (one + other) / 2))
        slack = 1e-9 * (left + right)
        assert np.all(middle <= (left + right) / 2 + slack), name
        some = one[:1_000] if form.legs else one
        asked = form.venue(some)
        assert np.all(left[: len(some)] >= asked * (1 - 1e-12) - 1e-6), name
        known = asked > 0
        ratio = left[: len(some)][known] / asked[known]
        if form.exact:
            assert left[: len(some)] == pytest.approx(asked, rel=1e-9, abs=1e-6), name
        lines.append(f"{name:38} {ratio.max():7.3f} {np.median(ratio):7.3f}")
    with told():
        print("\n".join(lines))


@pytest.mark.parametrize(("size", "margin"), [(250.0, 3.75), (500.0, 12.5), (1_000.0, 50.0)])
def test_bitmex_s_steps_count_for_the_whole_position(size, margin):
    assert whole_position_margin(size, *BITMEX) == pytest.approx(margin, rel=1e-12)


@pytest.mark.parametrize(("size", "ratio"), [(10_000.0, 1.125), (5_000.0 + 1e-9, 1.0), (2_500.0, 1.5)])
def test_the_majorant_of_published_tiers_by_hand(size, ratio):
    bound, true = maintenance_margin(size, majorant(CHZ)), whole_position_margin(size, *CHZ)
    assert bound / true == pytest.approx(ratio, rel=1e-6)
