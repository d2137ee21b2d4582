"""The no-trade band: just inside its trigger nothing is traded, just outside something is."""

from dataclasses import replace

import numpy as np
import pytest
from answers import answer
from explained import explained
from markets import build
from random_markets import PLAIN, random_spec
from specs import limit, objective, single_asset

from allocator.explanations.no_trade import triggers, untraded

LINEAR = replace(PLAIN, costs="linear", kappa=True)
INSIDE, OUTSIDE = 0.97, 1.03


def band_of(spec):
    market = build(spec)
    found, at = explained(market)
    return found, untraded(market, found.solution.decision, at), triggers(market, found.solution.decision, at)


def moved(spec, i, funding):
    perps = tuple(replace(p, funding=p.funding + funding) if k == i else p for k, p in enumerate(spec.perps))
    return replace(spec, perps=perps)


def trade(spec, i):
    """What is traded of perp i, as a share of the book."""
    return float(answer(build(spec)).positions[i] - spec.perps[i].previous) / spec.book_usd


def test_band_by_hand():
    """Held at x⁰, the slope of risk is λσ²·(e + x⁰); a dollar each way costs the fee, h/H of it."""
    spec = single_asset(1e7, 1, 1e-8, fee=3e-4, previous=-9.5e6, basis_sd=0.0, funding_hours=8.0)
    _, (band,), _ = band_of(replace(spec, holding_hours=48.0))
    slope = 1e-8 * 0.025**2 * 0.5e6
    assert band.buy.cost == pytest.approx(1.5e-4)
    assert band.round_trip == pytest.approx(3e-4)
    assert band.buy.gain == pytest.approx(-slope, rel=1e-6)
    assert band.sell.gain == pytest.approx(slope, rel=1e-6)
    assert band.sell.lacks == pytest.approx(1.5e-4 - slope)
    # φ over 24 h is three 8-hour rates.
    assert band.sell.funding_bp == pytest.approx((1.5e-4 - slope) / 3 * 1e4)
    assert band.buy.funding_bp == pytest.approx(-(1.5e-4 + slope) / 3 * 1e4)


def check_triggers(seed):
    """Re-solved a little inside and outside of each trigger; returns how many were tried."""
    spec = random_spec(seed, LINEAR)
    _, bands, _ = band_of(spec)
    tried = 0
    for band in bands[:2]:
        i = next(k for k, p in enumerate(spec.perps) if (p.venue, p.symbol) == (band.venue, band.symbol))
        for way, sign in ((band.buy, 1.0), (band.sell, -1.0)):
            if way.funding_bp is None:
                continue
            rate = way.funding_bp * 1e-4 * 24.0 / band.interval_hours
            assert abs(trade(moved(spec, i, INSIDE * rate), i)) < 2e-5
            assert sign * trade(moved(spec, i, OUTSIDE * rate), i) > 2e-5
            tried += 1
    return tried


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_funding_that_triggers_a_trade(seed):
    check_triggers(seed)


@pytest.mark.long
def test_triggers_at_length(told):
    tried = sum(check_triggers(seed) for seed in range(100, 120))
    with told():
        print(f"{tried} triggers of 20 markets: no trade 3 % inside, a trade 3 % outside")
    assert tried > 30


def standing_still():
    """Two coins hedged almost fully, fees that no risk left is worth."""
    goal = objective(risk_aversion_per_usd=2e-8)
    spec = single_asset(1e7, 2, 2e-8, fee=2e-4, basis_sd=2e-4)
    held = tuple(replace(p, previous=x) for p, x in zip(spec.perps, (-5e6, -4.5e6), strict=True))
    other = replace(spec.perps[0], asset="ETH", previous=-3e6, fee=3e-4)
    return replace(
        spec,
        perps=(*held, other),
        exposure={"BTC": 1e7, "ETH": 3.2e6},
        asset_sd={"BTC": 0.025, "ETH": 0.035},
        correlation=0.6,
        objective=goal,
    )


@pytest.mark.parametrize("asset", ["BTC", "ETH"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_moves_that_trigger_the_first_trade(asset, direction):
    spec = standing_still()
    _, _, rows = band_of(spec)
    row = next(r for r in rows if (r.asset, r.direction) == (asset, direction))
    assert row.exposure_usd is not None
    keys = [p.key for p in spec.perps]

    def largest(share):
        more = {**spec.exposure, asset: spec.exposure[asset] + share * row.exposure_usd}
        found = answer(build(replace(spec, exposure=more)))
        return np.abs(found.positions - found.market.positions.usd) / spec.book_usd

    assert largest(INSIDE).max() < 2e-5
    assert largest(OUTSIDE)[keys.index(row.exposure_trades)] > 2e-5
    if row.price_move is None:
        return

    def after(share):
        """The coin's price moved: exposure and positions with it."""
        factor = 1 + share * row.price_move
        perps = tuple(replace(p, previous=p.previous * factor) if p.asset == asset else p for p in spec.perps)
        more = {**spec.exposure, asset: spec.exposure[asset] * factor}
        found = answer(build(replace(spec, exposure=more, perps=perps)))
        return np.abs(found.positions - found.market.positions.usd) / spec.book_usd

    assert after(INSIDE).max() < 2e-5
    assert after(OUTSIDE)[keys.index(row.price_trades)] > 2e-5


def test_no_move_is_told_where_something_trades():
    assert band_of(single_asset(1e7, 1, 1e-5, fee=1e-4))[2] == ()


def test_a_direction_that_a_limit_forbids_is_told_so():
    spec = single_asset(1e7, 1, 1e-8, fee=3e-4, previous=-9.5e6)
    spec = replace(spec, limits={"cap": limit("position", venues="all", assets="all", max=9.5e6, soft=None)})
    _, (band,), _ = band_of(spec)
    assert band.sell.blocked_by == "limits.cap.max"
    assert band.sell.funding_bp is None
    assert band.buy.blocked_by is None
