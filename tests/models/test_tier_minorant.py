"""Tiers on the whole position from below: nowhere above the margin, and the greatest such convex bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from models.margin import maintenance_margin
from models.schedules import whole_position_majorant, whole_position_margin, whole_position_minorant

STEPS = st.lists(st.tuples(st.floats(1.0, 1e6), st.floats(1e-4, 0.05)), min_size=1, max_size=7)


@given(STEPS)
def test_it_is_the_lower_hull_of_the_margin(steps):
    caps, rates = np.cumsum([w for w, _ in steps]), np.minimum(np.cumsum([r for _, r in steps]), 1.0)
    below = whole_position_minorant(caps, rates)
    sizes = np.unique(np.concatenate([np.linspace(0, caps[-1], 500), caps, np.nextafter(caps[:-1], np.inf)]))
    true = whole_position_margin(sizes, caps, rates)
    mine = maintenance_margin(sizes, below)
    assert np.all(mine <= true * (1 + 1e-9) + 1e-12)
    assert np.all(np.diff(below.rates) > 0)
    above = whole_position_majorant(caps, rates, np.full(len(caps), 10.0))
    assert np.all(mine <= maintenance_margin(sizes, above) * (1 + 1e-9) + 1e-12)
    # Its vertices lie on the margin, so no convex function between is greater.
    vertices = np.append(below.floors_usd, caps[-1])
    np.testing.assert_allclose(
        maintenance_margin(vertices, below),
        whole_position_margin(vertices, caps, rates),
        rtol=1e-7,
        atol=1e-9,
    )


def test_it_agrees_with_a_hull_of_points():
    caps, rates = np.array([10.0, 20.0, 50.0, 60.0]), np.array([0.01, 0.02, 0.025, 0.08])
    bottoms = np.column_stack([np.append(0, caps), np.append(0, caps * rates)])
    hull = ConvexHull(np.vstack([bottoms, [[60.0, 10.0], [0.0, 10.0]]]))
    found = whole_position_minorant(caps, rates)
    kept = sorted(float(bottoms[k, 0]) for k in hull.vertices if k < len(bottoms))
    assert np.append(found.floors_usd, caps[-1]).tolist() == kept


def test_without_a_last_cap_no_slope_is_beyond_the_last_rate():
    """2 % to 10, then 5 %: 2 % towards (10, 0.2), then 0.2 + 5 %·(n − 10)."""
    found = whole_position_minorant(np.array([10.0, np.inf]), np.array([0.02, 0.05]))
    assert found.rates.tolist() == pytest.approx([0.02, 0.05])
    sizes = np.geomspace(0.1, 1e9, 300)
    true = whole_position_margin(sizes, np.array([10.0, 1e10]), np.array([0.02, 0.05]))
    assert np.all(maintenance_margin(sizes, found) <= true * (1 + 1e-12))
    # The hull is steeper than the last rate in the middle, where the end is far but the jump is high.
    steep = whole_position_minorant(np.array([10.0, 11.0, np.inf]), np.array([0.01, 0.5, 0.5]))
    assert steep.rates.max() <= 0.5


@pytest.mark.parametrize(
    ("caps", "rates"), [([2.0, 1.0], [0.1, 0.2]), ([1.0, 2.0], [0.2, 0.1]), ([1.0], [0.1, 0.2]), ([], [])]
)
def test_tiers_out_of_order_are_refused(caps, rates):
    with pytest.raises(ValueError, match="tier"):
        whole_position_minorant(np.array(caps), np.array(rates))
