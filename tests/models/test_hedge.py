"""Net exposures and hedge measures."""

import numpy as np
import pytest

from models.hedge import currency_exposure, hedge_effectiveness, hedge_ratio, net_delta


def test_net_delta_adds_positions_to_their_asset():
    out = net_delta(np.array([10.0, 5.0, 1.0]), np.array([-4.0, -5.0, -1.0]), np.array([0, 1, 0]))
    np.testing.assert_allclose(out, [5.0, 0.0, 1.0])
    np.testing.assert_allclose(net_delta(np.array([3.0]), np.array([]), np.array([], dtype=int)), [3.0])


def test_collateral_and_short_in_one_stablecoin_add_up():
    # USDC collateral 2 m, shorts 5 m indexed in USDC, 7 m in USDT, 1 m in USD.
    out = currency_exposure(np.array([2e6, 0.0]), np.array([-5e6, -7e6, -1e6]), np.array([0, 1, -1]))
    np.testing.assert_allclose(out, [7e6, 7e6])


def test_measures():
    assert hedge_effectiveness(1.0, 4.0) == 0.75
    assert hedge_effectiveness(8.0, 4.0) == -1.0
    assert hedge_ratio(10.0, -9.0) == 0.9
    assert hedge_ratio(-10.0, 9.0) == 0.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hedge_effectiveness(1.0, 0.0), "variance_unhedged is 0"),
        (lambda: hedge_ratio(0.0, 1.0), "exposure is 0"),
        (lambda: net_delta(np.ones(2), np.ones(1), np.array([2])), r"asset_of\[0\] is 2: .* from 0 to 1"),
        (lambda: net_delta(np.ones(2), np.ones(1), np.array([-1])), "asset_of"),
        (lambda: net_delta(np.ones(2), np.ones(2), np.array([0])), "one per instrument"),
        (lambda: net_delta(np.array([np.nan]), np.ones(1), np.array([0])), "exposure"),
        (lambda: currency_exposure(np.ones(1), np.ones(1), np.array([-2])), "from -1 to 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
