"""Dated futures: carry against cash-and-carry arithmetic, the pinned basis against simulated bridges."""

from decimal import Decimal

import numpy as np
import pytest

from models.contracts import Contract, notional_usd, unrealised_pnl_settle
from models.dated import carry_line, carry_over, pinned_share, premium, surprise_sd


def contract(kind):
    one = Decimal(1)
    return Contract(kind, one, one, Decimal("0.1"), one, one)


def test_premium_by_hand():
    assert premium(102.0, 100.0) == pytest.approx(0.02)
    assert premium(np.array([99.0, 100.0]), 100.0) == pytest.approx([-0.01, 0.0])


@pytest.mark.parametrize("kind", ["linear", "inverse"])
@pytest.mark.parametrize("mark", [95.0, 103.0, 140.0])
def test_carry_to_expiry_is_what_a_long_loses_while_the_coin_stands_still(kind, mark):
    """A position of either kind, held until it settles at an index of 100, in USD per USD at mark."""
    size, index = 7.0, 100.0
    pnl = unrealised_pnl_settle(contract(kind), size, mark, index) * (index if kind == "inverse" else 1.0)
    per_usd = pnl / notional_usd(contract(kind), size, mark, 1.0)
    assert carry_over(premium(mark, index), 500.0, 500.0) == pytest.approx(-per_usd, rel=1e-12)


@pytest.mark.parametrize("end", [40.0, 100.0, 260.0])
def test_a_short_future_over_a_coin_earns_the_carry_wherever_the_coin_goes(end):
    """Cash and carry: one coin at 100 and one future sold at 103, whatever the settlement."""
    locked = (end - 100.0) + (103.0 - end)
    assert 103.0 * carry_over(premium(103.0, 100.0), 24.0, 24.0) == pytest.approx(locked, rel=1e-12)


def test_carry_counts_the_time_held_and_never_more_than_all_of_it():
    whole = carry_over(0.03, 800.0, 800.0)
    assert carry_over(0.03, 800.0, 200.0) == pytest.approx(whole / 4)
    assert carry_over(0.03, 800.0, 5000.0) == whole
    assert carry_over(0.0, 800.0, 200.0) == 0.0
    assert carry_over(-0.02, 100.0, 50.0) == pytest.approx(-(1 / 0.98 - 1) / 2)


@pytest.mark.parametrize(("k", "h", "until"), [(0.05, 24.0, 30.0), (0.02, 24.0, 100.0), (0.3, 8.0, 10.0)])
def test_pinned_share_against_simulated_bridges(k, h, until):
    """Gaussian: the variance given the end is what is left of it after regression on the end."""
    rng, n = np.random.default_rng(1), 400_000
    middle = 0.4 * np.exp(-k * h) + np.sqrt(1 - np.exp(-2 * k * h)) * rng.normal(size=n)
    rest = until - h
    end = middle * np.exp(-k * rest) + np.sqrt(1 - np.exp(-2 * k * rest)) * rng.normal(size=n)
    explained = np.corrcoef(middle, end)[0, 1] ** 2
    assert pinned_share(k, h, until) == pytest.approx(1 - explained, rel=0.01)


def test_pinned_share_from_no_expiry_to_expiry():
    left = np.array([1e6, 1000.0, 100.0, 30.0, 25.0, 24.0])
    share = pinned_share(0.01, 24.0, left)
    assert share[0] == 1.0
    assert np.all(np.diff(share) < 0)
    assert share[-1] == 0.0
    # A basis that hardly reverts is a Brownian bridge; one that reverts within minutes does not feel the end.
    assert pinned_share(1e-9, 24.0, 96.0) == pytest.approx(0.75, rel=1e-6)
    assert pinned_share(10.0, 24.0, 25.0) == pytest.approx(1.0, abs=1e-8)


def test_surprises_of_brownian_bridges_give_the_free_sd():
    """Premiums that run to zero from 3 %, with noise pinned at expiry: drift and pin must not show."""
    rng, hours, sd, paths = np.random.default_rng(2), 600, 1e-4, 60
    left = np.arange(hours, 0, -1.0)
    found, plain = [], []
    for _ in range(paths):
        walk = np.concatenate([[0.0], np.cumsum(sd * rng.normal(size=hours))])
        bridge = walk - walk[-1] * np.arange(hours + 1) / hours
        levels = 0.03 * left / hours + bridge[:-1]
        found.append(surprise_sd(levels, left, 1.0, 24.0, 1e9, 1e-9) ** 2)
        plain.append(np.mean((levels[24:] - levels[:-24]) ** 2))
    assert np.sqrt(np.mean(found)) == pytest.approx(sd * np.sqrt(24), rel=0.03)
    assert np.sqrt(np.mean(plain)) > 2 * sd * np.sqrt(24)  # what the run-off alone would have added


def test_surprises_by_hand():
    """No reversion to speak of: each change over two steps is divided by sqrt((tau-2)/tau)."""
    left = np.arange(16.0, 2.0, -1.0)
    levels = np.where(np.arange(14) % 2, 1e-3, -1e-3) * np.arange(14)
    rows = [
        (levels[i + 2] - levels[i] * left[i + 2] / left[i]) ** 2 * left[i] / left[i + 2] for i in range(12)
    ]
    assert surprise_sd(levels, left, 1.0, 2.0, 1e12, 1e-12) == pytest.approx(np.sqrt(np.mean(rows)), rel=1e-9)


def test_carry_line_is_the_constant_carry():
    left = np.arange(50.0, 0.0, -1.0)
    line = 2e-5 * left
    assert carry_line(np.where(left == 7, np.nan, line), left) == pytest.approx(line)
    noisy = line + 1e-4 * np.random.default_rng(0).normal(size=50)
    assert (noisy - carry_line(noisy, left)) @ left == pytest.approx(0.0, abs=1e-12)
    assert np.all(carry_line(np.full(50, np.nan), left) == 0.0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: premium(0.0, 100.0), "mark"),
        (lambda: premium(100.0, float("nan")), "index"),
        (lambda: carry_over(-1.0, 10.0, 10.0), "premium"),
        (lambda: carry_over(0.1, 0.0, 10.0), "hours_to_expiry"),
        (lambda: carry_over(0.1, 10.0, -1.0), "holding_hours"),
        (lambda: pinned_share(0.0, 1.0, 2.0), "reversion_per_hour"),
        (lambda: pinned_share(0.1, 3.0, 2.0), "hours_to_expiry - hours"),
        (lambda: carry_line([1.0, 2.0], [1.0]), "as many hours"),
        (lambda: surprise_sd([np.inf] * 30, np.arange(30.0, 0, -1), 1.0, 2.0, 9.0, 0.1), "series of numbers"),
        (lambda: surprise_sd([0.0] * 11, np.arange(11.0, 0, -1), 1.0, 2.0, 9.0, 0.1), "9 changes over 2 h"),
    ],
)
def test_bad_input_is_an_error(call, said):
    with pytest.raises(ValueError, match=said):
        call()
