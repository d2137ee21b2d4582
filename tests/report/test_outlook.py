"""Figures beside the program: distance to liquidation, equity by price, carry, ages; against plain sums."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from answers import some_decision
from random_markets import random_market

from allocator import evaluate, outlook
from allocator.market.ages import table_ages
from allocator.market.types import Decision
from allocator.scenario.schema import MaxAge

SEEDS = range(12)


@pytest.fixture(params=SEEDS)
def case(request):
    market = random_market(request.param)
    return market, some_decision(market, np.random.default_rng(request.param))


def test_gaussian_loss_is_2_326_standard_deviations():
    assert outlook.gaussian_loss(1000.0) == pytest.approx(2326.347874, rel=1e-9)
    assert outlook.gaussian_loss(0.0) == 0.0


def test_distance_is_the_cushion_over_its_own_deviation(case):
    market, decision = case
    state = evaluate.venues(market, decision, "true")
    for v, found in enumerate(outlook.distances(market, decision)):
        assert found.cushion_usd == pytest.approx(state.equity[0, v] - state.maintenance_margin[0, v])
        if found.sd_usd > 0:
            assert found.sigmas * found.sd_usd == pytest.approx(found.cushion_usd, rel=1e-9)
        else:
            assert found.sigmas == math.copysign(math.inf, found.cushion_usd)


def test_a_sigma_is_what_the_liquidation_limit_counts(case):
    """Random shocks of the coin, basis and quote risk of a venue have the deviation that is stated."""
    market, decision = case
    risk, rng = market.risk, np.random.default_rng(1)
    if market.scheme.netting or market.scheme.portfolios:
        pytest.skip("the requirement of these is not one rate per instrument")
    still = Decision(decision.positions, np.zeros_like(decision.transfers))
    for v, found in enumerate(outlook.distances(market, still)):
        here = market.venue_of == v
        x = np.where(here, decision.positions, 0.0)
        shocks = [rng.standard_normal((20_000, len(part))) for part in
                  (risk.asset_loadings, risk.asset_idiosyncratic, risk.basis_loadings, risk.basis_sd,
                   risk.currency_loadings)]  # fmt: skip
        coins = shocks[0] @ risk.asset_loadings + shocks[1] * risk.asset_idiosyncratic
        basis = shocks[2] @ risk.basis_loadings + shocks[3] * risk.basis_sd
        quotes = np.column_stack([shocks[4] @ risk.currency_loadings, np.zeros(20_000)])
        gain = (coins[:, market.asset_of] + basis[:, risk.basis_group]) @ x
        gain += quotes[:, market.index_currency_of] @ x
        owed = coins[:, market.asset_of] @ (market.cushion_rate * np.abs(x))
        worth = np.zeros(20_000)
        for p, pocket in enumerate(market.pockets):
            if market.pocket_venue[p] == v and not market.collateral.haircut[p]:
                balance = market.collateral.balance[p]
                if pocket.currency in market.assets:
                    worth += balance * coins[:, market.assets.index(pocket.currency)]
                elif pocket.currency in market.currencies:
                    worth += balance * quotes[:, market.currencies.index(pocket.currency)]
        if market.collateral.haircut[market.pocket_venue == v].any():
            continue
        assert np.std(gain - owed + worth) == pytest.approx(found.sd_usd, rel=0.025)


def test_the_curve_passes_through_today_and_meets_margin_where_liquidation_is(case):
    market, decision = case
    moves = evaluate.liquidation_moves(market, decision)
    near = [move for pair in moves for move in pair if move is not None and abs(move) < 1.0]
    curve = outlook.equity_curve(market, decision, near)
    state = evaluate.venues(market, decision, "true")
    now = int(np.flatnonzero(curve.moves == 0.0)[0])
    np.testing.assert_allclose(curve.equity[now], state.equity[0], rtol=1e-12)
    np.testing.assert_allclose(curve.maintenance_margin[now], state.maintenance_margin[0], rtol=1e-12)
    assert np.all(np.diff(curve.moves) > 0)
    for v, (down, up) in enumerate(moves):
        safe = curve.equity[:, v] >= curve.maintenance_margin[:, v]
        low, high = -1.0 if down is None else down, math.inf if up is None else up
        if np.any(decision.positions[market.venue_of == v]) and low < 0 < high:
            inside = (curve.moves > low + 1e-9) & (curve.moves < high - 1e-9)
            beyond = (curve.moves < low - 1e-9) | (curve.moves > high + 1e-9)
            assert safe[inside].all()
            assert not safe[beyond].any()


def test_carry_adds_up_and_shared_errors_do_not_cancel(case):
    market, decision = case
    x, count = decision.positions, len(market.instruments)
    total = outlook.carry(market, x, np.arange(count))
    parts = [
        outlook.carry(market, x, np.flatnonzero(market.venue_of == v)) for v in range(len(market.accounts))
    ]
    assert total.horizon_usd == pytest.approx(float(market.funding.cost @ x))
    for name in ("position_usd", "next_usd", "horizon_usd", "holding_usd"):
        assert getattr(total, name) == pytest.approx(sum(getattr(part, name) for part in parts), abs=1e-6)
    aversion = market.objective.funding_uncertainty_aversion
    assert aversion * total.sd_usd == pytest.approx(evaluate.funding_uncertainty(market, x))
    # The triangle inequality: together at most the sum of the parts.
    assert total.sd_usd <= sum(part.sd_usd for part in parts) * (1 + 1e-12)
    one = outlook.carry(market, x, np.array([0]))
    assert one.sd_usd == pytest.approx(abs(x[0]) * market.funding.uncertainty[0])


def test_basis_variance_of_venues_adds_up_to_its_source(case):
    market, decision = case
    parts = outlook.basis_variance_by_venue(market, decision.positions)
    assert parts.sum() == pytest.approx(evaluate.variances(market, decision.positions)["basis"])


def test_a_venue_alone_carries_all_basis_variance(case):
    market, decision = case
    here = Decision(np.where(market.venue_of == 0, decision.positions, 0.0), decision.transfers)
    parts = outlook.basis_variance_by_venue(market, here.positions)
    assert parts[0] == pytest.approx(evaluate.variances(market, here.positions)["basis"])
    np.testing.assert_allclose(parts[1:], 0.0, atol=1e-9)


AS_OF = datetime(2026, 11, 20, 12, tzinfo=UTC)


def frame(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """Rows of venue, symbol, age in hours."""
    times = pd.to_datetime([AS_OF - timedelta(hours=age) for *_, age in rows], utc=True)
    return pd.DataFrame({"venue": [r[0] for r in rows], "symbol": [r[1] for r in rows], "time": times})


def test_age_is_of_the_stalest_instrument_used():
    prices = frame(("okx", "BTC", 5.0), ("okx", "BTC", 0.5), ("okx", "ETH", 1.5), ("okx", "OLD", 99.0))
    holdings = frame(("", "", 1.0), ("", "", 7.0))
    used = [("okx", "BTC"), ("okx", "ETH")]
    found = {
        age.table: age for age in table_ages({"prices": prices, "holdings": holdings}, used, AS_OF, MaxAge())
    }
    assert (found["prices"].age_hours, found["prices"].limit_hours, found["prices"].rows) == (1.5, 2.0, 4)
    assert found["prices"].oldest == AS_OF - timedelta(hours=1.5)
    assert (found["holdings"].age_hours, found["holdings"].limit_hours) == (7.0, 24.0)


def test_what_is_not_used_has_no_age():
    (age,) = table_ages({"books": frame(("okx", "OLD", 99.0))}, [("okx", "BTC")], AS_OF, MaxAge())
    assert (age.oldest, age.age_hours, age.rows) == (None, None, 1)
    (age,) = table_ages({"positions": frame()}, [("okx", "BTC")], AS_OF, MaxAge())
    assert age.age_hours is None
