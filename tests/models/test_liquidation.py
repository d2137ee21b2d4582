"""First passage against simulated paths, and the leverage caps it implies."""

from __future__ import annotations

import numpy as np
import pytest

from models.closed_forms import liquidation_leverage_cap
from models.liquidation import cushion_exposure, first_passage_multiplier, first_passage_probability


@pytest.mark.parametrize("probability", [0.5, 0.1, 0.01, 1e-4])
def test_multiplier_and_probability_are_inverse(probability):
    z = first_passage_multiplier(probability)
    assert first_passage_probability(z * 7.0, 7.0) == pytest.approx(probability, rel=1e-9)


def test_twice_the_terminal_law_on_simulated_paths():
    rng = np.random.default_rng(5)
    steps, paths, cushion = 400, 20_000, 1.5
    lowest, level = np.zeros(paths), np.zeros(paths)
    for _ in range(steps):
        level += rng.normal(0.0, 1.0 / np.sqrt(steps), paths)
        lowest = np.minimum(lowest, level)
    expected = first_passage_probability(cushion, 1.0)
    # A path watched at 400 times misses some touches: the shift of Broadie, Glasserman and Kou (1997).
    watched = first_passage_probability(cushion + 0.5826 / np.sqrt(steps), 1.0)
    touched = float(np.mean(lowest <= -cushion))
    assert touched == pytest.approx(watched, abs=4 * np.sqrt(watched / paths))
    assert touched < expected
    assert float(np.mean(level <= -cushion)) == pytest.approx(expected / 2, abs=0.006)


@pytest.mark.parametrize(("rate", "quantile"), [(0.004, 0.10), (0.01, 0.20)])
def test_exposure_gives_the_leverage_caps(rate, quantile):
    for side, sign in (("short", -1.0), ("long", 1.0)):
        notional = liquidation_leverage_cap(rate, quantile, side)
        # At the cap, one USD of equity loses exactly its cushion in a move of the quantile.
        loss = abs(cushion_exposure(sign * notional, rate)) * quantile
        assert 1.0 - rate * notional == pytest.approx(loss, rel=1e-12)


def test_without_cushion_it_is_certain_and_without_risk_impossible():
    assert first_passage_probability(0.0, 1.0) == 1.0
    assert first_passage_probability(1.0, 0.0) == 0.0
    with pytest.raises(ValueError, match="probability"):
        first_passage_multiplier(0.0)
