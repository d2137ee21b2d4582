"""From tables of prices and funding to the risk model and expected funding, by the scenario's keys."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.covariance import EmpiricalCovariance

from allocator.market.bases import Bases, basis_risk
from allocator.market.forecast import asset_covariance, risk_model
from allocator.market.funding import funding_forecast, funding_histories
from allocator.market.history import Grid, Known, settlements
from allocator.market.universe import Findings, Listing
from allocator.scenario.forecasts import AssetForecast, BasisForecast, Forecasts, FundingForecast
from models.covariance import variance_by_source
from models.error_factors import correlated

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ASSETS = ("BTC", "ETH", "SOL")
DAY_SD = np.array([0.03, 0.04, 0.06])
CORRELATION = np.array([[1.0, 0.8, 0.6], [0.8, 1.0, 0.6], [0.6, 0.6, 1.0]])


def listing(asset, venue="binance", cap="0.02"):
    row = {"asset": asset, "index_currency": "USD", "coins_per_unit": "1", "funding_cap": cap}
    return Listing(venue, venue, f"{asset}/USD:USD", "all", None, row)  # type: ignore[arg-type]


def levels(count, step, sd=6e-4, half_life=4.0, seed=3):
    rng, decay = np.random.default_rng(seed), 0.5 ** (step / half_life)
    out = np.zeros(count)
    for k in range(1, count):
        out[k] = decay * out[k - 1] + sd * np.sqrt(1 - decay**2) * rng.normal()
    return out


def prices(days=120, step=1.0, seed=0):
    """Index prices of three coins and the perp of each, its basis an Ornstein-Uhlenbeck process."""
    rng, count = np.random.default_rng(seed), int(days * 24 / step)
    root = np.linalg.cholesky(CORRELATION * np.outer(DAY_SD, DAY_SD) * step / 24)
    coins = 100 * np.exp(np.cumsum(rng.normal(size=(count, 3)) @ root.T, axis=0))
    times = [NOW - timedelta(hours=step * back) for back in range(count)][::-1]
    frames = []
    for k, asset in enumerate(ASSETS):
        perp = coins[:, k] * np.exp(levels(count, step, seed=seed + k + 1))
        for venue, symbol, price in (
            ("index", f"{asset}/USD", coins[:, k]),
            ("binance", f"{asset}/USD:USD", perp),
        ):
            frames.append(pd.DataFrame({"time": times, "venue": venue, "symbol": symbol, "price": price}))
    return pd.concat(frames, ignore_index=True).astype({"time": "datetime64[us, UTC]"})


PRICES = prices()


def known(table=PRICES, hours=24.0):
    return Known(Grid.of(table), NOW, hours)


def of_bases(seen, listings=None):
    return seen, Bases.of(seen.prices, [listing(a) for a in ASSETS] if listings is None else listings)


def covariance(findings=None, table=PRICES, estimator=None, **keys):
    found = Findings() if findings is None else findings
    return asset_covariance(known(table), ASSETS, AssetForecast(**keys), found, estimator)


@pytest.mark.parametrize("method", ["ewma", "sample", "ledoit_wolf", "oas"])
def test_every_method_finds_the_covariance_of_a_day(method):
    cov = covariance(method=method)
    sd = np.sqrt(np.diag(cov))
    np.testing.assert_allclose(sd, DAY_SD, rtol=0.1)
    np.testing.assert_allclose(cov / np.outer(sd, sd), CORRELATION, atol=0.06)


def test_methods_differ_and_an_estimator_takes_their_place():
    sample = covariance(method="sample")
    assert not np.allclose(sample, covariance(method="ledoit_wolf"), rtol=1e-9)
    centred = EmpiricalCovariance(assume_centered=True)
    np.testing.assert_allclose(covariance(method="ewma", estimator=centred), sample, rtol=1e-6)
    given_too = covariance(method="given", estimator=centred)
    np.testing.assert_allclose(given_too, sample, rtol=1e-6)


def test_lags_reach_the_estimate():
    late = PRICES.copy()
    eth = late["symbol"] == "ETH/USD"
    late.loc[eth, "price"] = late.loc[eth, "price"].shift(1).bfill()
    plain, lagged = (covariance(table=late, method="sample", asynchronous_lags=n) for n in (0, 1))
    sd = np.sqrt(np.diag(plain))
    assert abs(plain[0, 1] / (sd[0] * sd[1])) < 0.1
    assert lagged[0, 1] / (sd[0] * sd[1]) == pytest.approx(0.8, abs=0.08)


def test_implied_volatility_and_scale():
    plain = covariance()
    scaled = covariance(scale=1.5, implied_volatility={"BTC": "95.5%/y"})
    sd, then = np.sqrt(np.diag(scaled)), np.sqrt(np.diag(plain))
    np.testing.assert_allclose(sd, [0.955 / np.sqrt(365), 1.5 * then[1], 1.5 * then[2]], rtol=1e-9)
    np.testing.assert_allclose(scaled / np.outer(sd, sd), plain / np.outer(then, then), rtol=1e-9)
    findings = Findings()
    covariance(findings, implied_volatility={"ETC": "50%/y"})
    assert "implied_volatility: ETC not in the market" in findings.notices[0]


def test_given_volatility_may_be_implied():
    cov = covariance(
        method="given",
        daily_volatility={"ETH": "4%", "SOL": "6%"},
        implied_volatility={"BTC": "55%/y"},
        correlation=0.5,
    )
    np.testing.assert_allclose(np.sqrt(np.diag(cov)), [0.55 / np.sqrt(365), 0.04, 0.06])
    assert cov[1, 2] == pytest.approx(0.5 * 0.04 * 0.06)
    findings = Findings()
    covariance(findings, method="given", daily_volatility={"ETH": "4%"})
    assert "no entry for BTC, SOL" in findings.problems[0].message


def test_what_is_too_thin_is_a_problem():
    findings = Findings()
    covariance(findings, PRICES[PRICES["time"] > NOW - timedelta(hours=15)])
    assert "BTC, ETH, SOL give fewer than 20 returns" in findings.problems[0].message
    # Each asset has 24 hours, no two at the same time.
    apart = PRICES[PRICES["time"] > NOW - timedelta(hours=72)]
    hours = (NOW - apart["time"]).dt.total_seconds() / 3600
    block = apart["symbol"].str[:3].map({"BTC": 0, "ETH": 1, "SOL": 2})
    for method, message in (("oas", "only 0 times have a return of every asset"), ("ewma", "share 0 rows")):
        findings = Findings()
        covariance(findings, apart[hours // 24 == block], method=method)
        assert message in findings.problems[0].message


def model(findings, **keys):
    forecasts = Forecasts(assets=AssetForecast(**keys), currencies={"daily_volatility": {"USDT": "5bp"}})
    return risk_model(*of_bases(known()), ASSETS, ("USDT",), forecasts, findings)


def test_factor_assets_are_the_factors():
    found, cov = model(Findings(), factor_assets=["BTC", "ETH"])
    assert found.asset_loadings.shape == (2, 3)
    np.testing.assert_array_equal(found.asset_idiosyncratic > 0, [False, False, True])
    dense = found.asset_loadings.T @ found.asset_loadings + np.diag(found.asset_idiosyncratic**2)
    np.testing.assert_allclose(dense, cov, rtol=1e-9)  # with one asset beside the factors nothing is lost
    findings = Findings()
    model(findings, factor_assets=["BTC", "XMR"])
    assert "factor_assets: XMR not among the assets BTC, ETH, SOL" in findings.problems[0].message


def common_basis(share, seed=20):
    """Prices whose bases have a part in common: levels of one sd, `share` of its square shared."""
    together = levels(120 * 24, 1.0, seed=seed)
    table = PRICES.copy()
    for k, asset in enumerate(ASSETS):
        coin = table.loc[table["symbol"] == f"{asset}/USD", "price"].to_numpy()
        own = levels(len(coin), 1.0, seed=k + 1)
        basis = np.sqrt(share) * together + np.sqrt(1 - share) * own
        table.loc[table["symbol"] == f"{asset}/USD:USD", "price"] = coin * np.exp(basis)
    return table


def basis_of(table, hours=24.0, **keys):
    forecast = BasisForecast(memory="600d", correlation_memory="600d", **{"floor": "0.1bp", **keys})
    return basis_risk(*of_bases(known(table, hours)), forecast, 120 * 24.0, Findings())


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("hours", [2.0, 24.0])
def test_what_bases_share_is_found_and_saturates_with_the_horizon(share, hours):
    found = basis_of(common_basis(share), hours, factors=1)
    cov = found.loadings.T @ found.loadings + np.diag(found.own**2)
    variance = 2 * 6e-4**2 * (1 - 0.5 ** (hours / 4.0))
    np.testing.assert_allclose(cov, variance * (share + (1 - share) * np.eye(3)), atol=0.2 * variance)
    np.testing.assert_allclose(np.sqrt(np.diag(cov)), found.sd, rtol=1e-12)


def test_the_floor_adds_own_variance_and_factors_can_be_left_out():
    table = common_basis(0.5)
    low, high, none = basis_of(table), basis_of(table, floor="20bp"), basis_of(table, factors=0)
    np.testing.assert_allclose(high.sd, 20e-4)
    np.testing.assert_allclose(high.loadings, low.loadings)
    assert none.loadings.shape == (0, 3)
    np.testing.assert_allclose(none.own, low.sd)


def test_given_bases_have_one_correlation():
    found = basis_of(PRICES, method="given", level="6bp", half_life="4h", correlation=0.4)
    cov = found.loadings.T @ found.loadings + np.diag(found.own**2)
    variance = 2 * 6e-4**2 * (1 - 0.5**6)
    np.testing.assert_allclose(cov, variance * (0.4 + 0.6 * np.eye(3)))
    assert basis_of(PRICES, method="given", correlation=0.0).loadings.shape == (0, 3)


def test_the_same_perp_in_two_accounts_has_one_basis():
    forecasts = Forecasts(
        basis=BasisForecast(method="given", correlation=0.5), currencies={"daily_volatility": {"USDT": "5bp"}}
    )
    legs = [listing("BTC"), replace(listing("BTC"), venue="second"), listing("ETH")]
    found, _ = risk_model(*of_bases(known(), legs), ASSETS, ("USDT",), forecasts, Findings())
    assert found.basis_loadings.shape == (1, 2)
    spread = variance_by_source(found, np.zeros(3), np.array([1e6, -1e6, 0.0]), np.zeros(1))
    assert spread["basis"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("step", "hours"), [(1.0, 24.0), (8.0, 24.0), (1.0, 2.0), (4.0, 1.0)], ids=lambda value: f"{value:g}h"
)
def test_basis_over_the_horizon_from_hourly_and_coarse_prices(step, hours):
    table, findings = prices(days=600, step=step), Findings()
    forecast = BasisForecast(memory="600d", floor="0.1bp")
    sd = basis_risk(*of_bases(known(table, hours)), forecast, 600 * 24.0, findings).sd
    true = np.sqrt(2 * 6e-4**2 * (1 - 0.5 ** (hours / 4.0)))
    np.testing.assert_allclose(sd, true, rtol=0.12)
    assert findings.notices == []


def test_prices_too_coarse_for_the_half_life_are_reported():
    table, findings = prices(days=300, step=24.0), Findings()
    forecast = BasisForecast(memory="300d", floor="0.1bp")
    sd = basis_risk(*of_bases(known(table, 4.0)), forecast, 300 * 24.0, findings).sd
    assert "every 24 h are too coarse to see the half-life" in findings.notices[0]
    # What may have happened within a day is taken to happen within four hours.
    np.testing.assert_allclose(sd, np.sqrt(2) * 6e-4, rtol=0.15)


def test_one_bad_print_does_not_make_the_basis():
    spoilt = PRICES.copy()
    perp = spoilt.index[spoilt["symbol"] == "BTC/USD:USD"]
    spoilt.loc[perp[-50], "price"] *= 1.05
    legs, forecast = [listing("BTC")], BasisForecast()
    clean = basis_risk(*of_bases(known(), legs), forecast, 120 * 24.0, Findings()).sd
    cut = basis_risk(*of_bases(known(spoilt), legs), forecast, 120 * 24.0, Findings()).sd
    wide = basis_risk(
        *of_bases(known(spoilt), legs), BasisForecast(outlier_limit=1e6), 120 * 24.0, Findings()
    ).sd
    assert cut == pytest.approx(clean, rel=0.2)
    assert wide > 2.5 * clean


def test_a_gap_of_hours_is_no_change_of_an_hour():
    # Without any price for four days the basis has moved on; the step across is not an hour's.
    times = PRICES["time"]
    gap = (times > NOW - timedelta(days=60)) & (times < NOW - timedelta(days=56))
    grid = known(PRICES[~gap]).grid(120 * 24.0)
    evenly = grid.evenly(list(grid.places))
    assert len(evenly.values) == 120 * 24
    assert np.isnan(evenly.values).all(axis=1).sum() == 95
    assert evenly.step_hours == 1.0


def test_thin_basis_is_a_problem():
    findings = Findings()
    basis_risk(*of_bases(known(PRICES.iloc[:0]), [listing("BTC")]), BasisForecast(), 24.0, findings)
    assert "for binance BTC/USD:USD" in findings.problems[0].message


def funding_table(rates, interval, venue="binance", asset="BTC"):
    times = [NOW - timedelta(hours=interval * back) for back in range(len(rates))][::-1]
    return pd.DataFrame(
        {
            "time": times,
            "venue": venue,
            "symbol": f"{asset}/USD:USD",
            "settlement_time": times,
            "rate": rates,
            "interval_hours": interval,
        }
    ).astype({"time": "datetime64[us, UTC]", "settlement_time": "datetime64[us, UTC]"})


def forecast(tables, legs, holding=168.0, findings=None, **keys):
    forecasts = Forecasts(currencies={"daily_volatility": {"USDT": "5bp"}}, funding=FundingForecast(**keys))
    found = Findings() if findings is None else findings
    believed = forecasts.funding
    histories = funding_histories(settlements(pd.concat(tables)), legs, believed.window, NOW, found)
    return funding_forecast(histories, legs, believed, NOW, 24.0, holding, found)


def ar1(count, seed=1, level=1e-4):
    rng, out = np.random.default_rng(seed), np.zeros(count)
    for k in range(1, count):
        out[k] = 0.8 * out[k - 1] + 1e-4 * rng.normal()
    return level + out


def test_expected_funding_hands_over_from_recent_to_long_run():
    # Three months at 3 bp, the last day at 9 bp: near the 9, over weeks the 3, over months the long run of 1.
    rates = np.r_[np.full(267, 3e-4), np.full(3, 9e-4)]
    mean = {}
    for holding in (24.0, 168.0, 2160.0):
        found = forecast([funding_table(rates, 8)], [listing("BTC")], holding)
        mean[holding] = float(found.total[0]) / (holding / 8)
        assert found.cost[0] == pytest.approx(found.total[0] * 24 / holding)
    assert 6e-4 < mean[24.0] < 8.5e-4
    assert 3e-4 < mean[168.0] < 4.5e-4
    assert 1.2e-4 < mean[2160.0] < 2e-4


def test_the_last_print_matters_for_an_hour_only():
    calm, spike = np.full(600, 1e-5), np.r_[np.full(599, 1e-5), 9e-5]
    near = [forecast([funding_table(r, 1)], [listing("BTC")], 24.0).next_rate[0] for r in (calm, spike)]
    week = [forecast([funding_table(r, 1)], [listing("BTC")], 168.0).total[0] / 168 for r in (calm, spike)]
    assert near[1] - near[0] > 3e-5
    assert 0 < week[1] - week[0] < 3e-6


def test_uncertainty_grows_away_from_the_long_run():
    calm, wild = ar1(270), ar1(270)
    wild[-6:] = 30e-4
    near, far = (forecast([funding_table(r, 8)], [listing("BTC")]).uncertainty[0] for r in (calm, wild))
    assert 0 < near < far / 2
    # Errors are per settlement: the sd of the sum over a week, per day, of one bp or so a settlement.
    assert 3 * 0.3e-4 < near < 3 * 2e-4


def test_an_instrument_without_history_borrows_the_error_of_others():
    findings = Findings()
    tables = [funding_table(ar1(270), 8), funding_table(ar1(5), 1, "hyperliquid")]
    found = forecast(tables, [listing("BTC"), listing("BTC", "hyperliquid")], findings=findings)
    assert found.uncertainty[1] == pytest.approx(found.uncertainty[0])
    assert "hyperliquid BTC/USD:USD: as uncertainty of its funding, the largest" in findings.notices[0]
    alone = Findings()
    assert forecast([funding_table(ar1(5), 8)], [listing("BTC")], findings=alone).uncertainty[0] == 0.0
    assert "none is taken" in alone.notices[0]
    # A new perp among old ones of its clock needs no notice: their errors are pooled.
    pooled = Findings()
    tables = [funding_table(ar1(270), 8), funding_table(ar1(5), 8, asset="ETH")]
    both = forecast(tables, [listing("BTC"), listing("ETH")], findings=pooled)
    assert both.uncertainty[1] > 0
    assert pooled.notices == []


def correlation(found):
    count = len(found.uncertainty)
    return np.column_stack([correlated(found.errors, unit) for unit in np.eye(count)])


def test_errors_of_funding_are_as_alike_as_they_were():
    shock, rng = ar1(270, seed=7), np.random.default_rng(8)
    legs = [listing(a, v) for v in ("binance", "okx") for a in ("BTC", "ETH")]
    noises = rng.normal(size=(4, 270)) * 1e-9
    tables = [
        funding_table(shock + noise, 8, leg.exchange, leg.row["asset"])
        for leg, noise in zip(legs, noises, strict=True)
    ]
    np.testing.assert_allclose(correlation(forecast(tables, legs)), 1.0, atol=1e-3)
    own = [
        funding_table(ar1(270, seed=k), 8, leg.exchange, leg.row["asset"]) for k, leg in enumerate(legs, 30)
    ]
    np.testing.assert_allclose(correlation(forecast(own, legs, 24.0)), np.eye(4), atol=0.2)


def test_errors_are_compared_across_settlement_intervals():
    """What pays each hour an eighth of what the other pays each 8 h errs with it, at the same moments."""
    eight = ar1(270, seed=9)
    hourly = np.repeat(eight, 8) / 8
    legs = [listing("BTC"), listing("BTC", "hyperliquid")]
    found = forecast([funding_table(eight, 8), funding_table(hourly, 1, "hyperliquid")], legs, 72.0)
    shuffled = np.repeat(np.random.default_rng(0).permutation(eight), 8) / 8
    other = forecast([funding_table(eight, 8), funding_table(shuffled, 1, "hyperliquid")], legs, 72.0)
    assert correlation(found)[0, 1] > 0.9
    assert correlation(other)[0, 1] < 0.4


def test_settlements_a_few_seconds_late_are_on_the_grid():
    table = funding_table(ar1(270), 8)
    late = table.assign(settlement_time=table["settlement_time"] - pd.Timedelta(seconds=20))
    sds = [forecast([t], [listing("BTC")]).uncertainty[0] for t in (table, late)]
    assert sds[0] == pytest.approx(sds[1], rel=1e-3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: AssetForecast(method="oas", asynchronous_lags=1),
            "asynchronous_lags has no effect on `oas`",
        ),
        (lambda: AssetForecast(factors=2, factor_assets=["BTC"]), "exclude each other"),
        (lambda: AssetForecast(implied_volatility={"BTC": "5%"}), "yearly rate"),
        (lambda: AssetForecast(scale=0), "greater than 0"),
        (lambda: BasisForecast(factors=-1), "greater than or equal to 0"),
        (lambda: BasisForecast(correlation=1.0), "less than 1"),
        (lambda: FundingForecast(recent_half_life="6d"), "recent_half_life is longer"),
    ],
)
def test_contradictions_are_refused(build, message):
    with pytest.raises(ValidationError, match=message):
        build()


def test_scikit_learn_is_imported_only_when_used():
    code = "import sys, allocator.market.build; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
