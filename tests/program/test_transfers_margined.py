"""What leaves a venue leaves today's positions margined, however soft the margin limit is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from answers import answer
from markets import build
from specs import Balance, Perp, Spec, limit

KINDS = {
    # 0.4 % of $5m four times over is $80k of the $100k there.
    "maintenance_margin": {"buffer": 4.0, "stresses": []},
    # $50k at a leverage of 100 within 62.5 % of equity needs $80k of it.
    "initial_margin": {"use": 0.625},
}


def desk(kind: str, soft: float | None) -> Spec:
    """Collateral costs 10 bp a day at alpha and nothing at beta: all of it would leave alpha if it could."""
    return Spec(
        (Perp(previous=-5e6, leverage=100.0), Perp(venue="beta")),
        {"BTC": 5e6},
        balances=(
            Balance("alpha", "USDT", 1e5, withdrawable=1e5, delay=0.5),
            Balance("beta", "USDT", 1e4),
        ),
        charges={"alpha": 1e-3},
        limits={"margin": limit(kind, soft=soft, **KINDS[kind]), "still": limit("turnover", max=1e-3)},
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("soft", [None, 1e-6])
def test_only_what_today_s_positions_can_spare_leaves(kind, soft):
    found = answer(build(desk(kind, soft)))
    assert found.audit.passed
    (sent,) = found.solution.decision.transfers
    assert sent == pytest.approx(20e3, abs=1.0)
    if soft is not None:
        # The answer's own margin prices next to nothing; what holds is the row of transfers, which is hard:
        # a dollar more that may leave saves its charge.
        assert found.price(f"transfers.{kind}").max() == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_venue_short_of_margin_sends_nothing_and_the_answer_stands(kind):
    spec = desk(kind, 1e-6)
    poor = replace(spec.balances[0], usd=5e4, withdrawable=5e4)
    found = answer(build(replace(spec, balances=(poor, spec.balances[1]))))
    assert found.audit.passed
    assert found.solution.decision.transfers[0] == pytest.approx(0.0, abs=1e-2)
