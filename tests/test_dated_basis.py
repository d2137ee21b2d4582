"""Basis risk of a dated future from its price history: run-off and pin do not dilute the estimate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from allocator.market.bases import Bases, basis_risk
from allocator.market.history import Grid, Known
from allocator.market.universe import Findings, Listing
from allocator.scenario.forecasts import BasisForecast

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FORECAST = BasisForecast.model_validate({"floor": "0.01bp"})
WINDOW = 120 * 24.0


def listing(expiry: datetime | None) -> Listing:
    row = {"asset": "BTC", "index_currency": "USD", "coins_per_unit": "1", "expiry": expiry}
    return Listing("okx", "okx", "BTC/USD:BTC", "all", None, row)  # type: ignore[arg-type]


def price_table(levels: np.ndarray, seed: int) -> pd.DataFrame:
    """Hourly prices of the coin and of a contract that much above it, the last at NOW."""
    coin = 1e5 * np.exp(np.cumsum(5e-3 * np.random.default_rng(seed).normal(size=levels.size)))
    times = [NOW - timedelta(hours=back) for back in range(levels.size)][::-1]
    rows = (("index", "BTC/USD", coin), ("okx", "BTC/USD:BTC", coin * np.exp(levels)))
    frames = [pd.DataFrame({"time": times, "venue": v, "symbol": s, "price": p}) for v, s, p in rows]
    return pd.concat(frames, ignore_index=True).astype({"time": "datetime64[us, UTC]"})


def bridge(hours: int, k: float, sd: float, seed: int) -> np.ndarray:
    """Ornstein-Uhlenbeck levels (hours + 1,) from 0, less what takes the last one to 0 (Gaussian bridge)."""
    rng, levels = np.random.default_rng(seed), np.zeros(hours + 1)
    for t in range(hours):
        levels[t + 1] = np.exp(-k) * levels[t] + sd * np.sqrt(1 - np.exp(-2 * k)) * rng.normal()
    t = np.arange(hours + 1)
    # Regression of the level at t on the one at the end.
    share = np.exp(-k * (hours - t)) * np.expm1(-2 * k * t) / np.expm1(-2 * k * hours)
    return levels - share * levels[-1]


def estimate(levels: np.ndarray, seed: int, expiry: datetime | None, hours: float = 24.0) -> float:
    findings = Findings()
    known = Known(Grid.of(price_table(levels, seed)), NOW, hours)
    (sd,) = basis_risk(known, Bases.of(known.prices, [listing(expiry)]), FORECAST, WINDOW, findings).sd
    findings.raise_if_any()
    return float(sd)


@pytest.mark.parametrize("left", [400, 30])
def test_estimate_is_that_of_a_free_basis_times_the_pin(left, told):
    """Half-life 6 h, a premium that falls from 6 %: far from expiry and 30 h before it, over 24 h."""
    k, sd, past, found = np.log(2) / 6, 8e-4, 1500, []
    for seed in range(12):
        path = bridge(past + left, k, sd, seed)
        line = 0.06 * (1 - np.arange(past + left + 1) / (past + left))
        found.append(estimate((path + line)[: past + 1], seed, NOW + timedelta(hours=left)))
    # A change that is not expected is one from a level taken to run off evenly: reversion is in it.
    free = sd * np.sqrt(2 * (1 - np.exp(-k * 24)))
    pin = np.sqrt(np.expm1(-2 * k * (left - 24)) / np.expm1(-2 * k * left))
    with told():
        print(f"{left} h to expiry: sd over 24 h {np.mean(found):.3e}, theory {free * pin:.3e}")
    assert np.mean(found) == pytest.approx(free * pin, rel=0.06)


def test_the_run_off_of_the_premium_is_no_risk():
    """As risky as the same perp whose premium does not run off; taken for one, the run-off would count."""
    k, past, left = np.log(2) / 6, 1500, 2000
    noise = bridge(past + left, k, 2e-4, 5)[: past + 1]
    line = 0.10 * (1 - np.arange(past + 1) / (past + left))
    dated = estimate(noise + line, 5, NOW + timedelta(hours=left))
    assert dated == pytest.approx(estimate(noise, 5, None), rel=0.02)
    assert estimate(noise + line, 5, None) > 2 * dated


def test_a_bad_print_on_a_falling_premium_is_cut():
    k, past, left = np.log(2) / 6, 1500, 2000
    levels = bridge(past + left, k, 2e-4, 6)[: past + 1]
    levels += 0.10 * (1 - np.arange(past + 1) / (past + left))
    clean = estimate(levels, 6, NOW + timedelta(hours=left))
    levels[-100] += 0.04
    assert estimate(levels, 6, NOW + timedelta(hours=left)) < 1.5 * clean


def test_too_short_a_history_is_an_error():
    with pytest.raises(Exception, match="fewer than 20 basis levels"):
        estimate(np.full(15, 0.01), 0, NOW + timedelta(hours=500))
