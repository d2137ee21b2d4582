"""Wrong answers do not pass: suboptimal ones, and ones that break a limit, by hand-computed dollars."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from answers import answer
from markets import build
from random_markets import Wish, random_spec
from specs import Balance, limit, objective, single_asset

from allocator.audit import audit
from allocator.audit.audit import GAP
from allocator.audit.limits import limit_values
from allocator.market.types import Decision
from allocator.scenario.schema import Stress


@cache
def two_permitted(seed):
    """The optimum, and that of one who fears risk more: permitted in the same market."""
    spec = random_spec(seed, Wish(mode="utility"))
    averse = spec.objective.model_copy(
        update={"risk_aversion_per_usd": 30 * spec.objective.risk_aversion_per_usd}
    )
    return answer(build(spec)), answer(build(replace(spec, objective=averse)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [1e-3, 0.1, 1.0])
def test_a_suboptimal_decision_has_a_gap_of_at_least_what_it_costs_too_much(seed, share):
    found, other = two_permitted(seed)
    best = found.solution.decision
    decision = Decision(
        best.positions + share * (other.positions - best.positions),
        best.transfers + share * (other.solution.decision.transfers - best.transfers),
    )
    judged = audit(found.market, decision, found.solution.multipliers.limits)
    assert judged.permitted.passed
    missed = judged.objective_usd - found.cost
    assert missed >= -1e-7 * found.audit.scale_usd
    assert judged.duality_gap_usd >= missed - 1e-7 * judged.scale_usd
    if missed > 2 * GAP * judged.scale_usd:
        assert not judged.passed


SD_AT = np.sqrt((0.025 * 1e6) ** 2 + 4e-4**2 * (6e6**2 + 5e6**2))
BROKEN = [
    ("net_delta", {"min": -5e5, "max": 5e5}, 5e5, "limits.it.min (BTC)"),
    ("hedge_ratio", {"min": 0.0, "max": 1.05}, 5e5, "limits.it.max (BTC)"),
    ("gross", {"max": 1e7}, 1e6, "limits.it.max (book)"),
    ("gross", {"max": 4e6, "venues": ["venue1"]}, 1e6, "limits.it.max (book)"),
    ("turnover", {"max": 9e6}, 2e6, "limits.it.max (book)"),
    ("leverage", {"max": 5.0}, 1e6, "limits.it.max (venue0)"),
    ("venue_share", {"max": 0.5}, 1e6, "limits.it.max (venue0)"),
    ("venue_share", {"max": 0.5, "of": "gross"}, 5e5, "limits.it.max (venue0)"),
    ("collateral_share", {"max": 0.4}, 2e5, "limits.it.max (venue0)"),
    ("venue_outage", {"max": 3e6}, 2e6, "limits.it.max (venue0 BTC long)"),
    ("initial_margin", {"use": 1.0}, 2e5, "limits.it.use (venue0)"),
    # Up 20 %: equity 1m − 1.2m, margin 0.4 % of 7.2m.
    ("maintenance_margin", {"buffer": 1.0}, 2e5 + 28_800, "limits.it.buffer (venue0 up)"),
    # Both venues lack: 0.2m + 2·28,800, and 0 + 2·24,000.
    ("liquidity", {"warning": 2.0, "reserve": 0.0}, 305_600, "limits.it.reserve (up)"),
    ("volatility", {"max": 2e4}, SD_AT - 2e4, "limits.it.max (book)"),
    ("position", {"max": 5e6}, 1e6, "limits.it.max (venue0 BTC/USDT:USDT)"),
    ("participation", {"of": "adv", "max": 0.005}, 1e6, "limits.it.max (venue0 BTC/USDT:USDT)"),
]


@pytest.mark.parametrize(("kind", "values", "usd", "where"), BROKEN)
def test_a_broken_limit_is_found_with_its_dollars(kind, values, usd, where):
    spec = replace(
        single_asset(1e7, 2, 1e-5),
        balances=(Balance("venue0", "USDT", 1e6), Balance("venue1", "USDT", 1e6)),
        stresses={"up": Stress.model_construct(move=0.2)},
        limits={"it": limit(kind, **values)},
    )
    market = build(spec)
    decision = Decision(np.array([-6e6, -5e6]), np.zeros(0))
    prices = {v.name: np.zeros(len(v.subjects)) for v in limit_values(market, decision)}
    judged = audit(market, decision, prices)
    assert not judged.passed
    assert judged.permitted.max_violation_usd == pytest.approx(usd, rel=1e-9)
    assert judged.permitted.worst_limit == where


def test_a_soft_breach_is_a_cost_and_no_violation():
    spec = replace(single_asset(1e7, 2, 1e-5), limits={"it": limit("gross", max=1e7, soft=0.001)})
    market = build(spec)
    decision = Decision(np.array([-6e6, -5e6]), np.zeros(0))
    free = build(replace(spec, limits={}))
    judged = audit(market, decision, {"limits.it.max": np.zeros(1)})
    assert judged.permitted.passed
    assert judged.objective_usd == pytest.approx(audit(free, decision, {}).objective_usd + 1_000.0)


def test_wrong_side_is_a_violation():
    spec = replace(single_asset(1e7, 2, 1e-5), limits={"side": limit("hedge_side")})
    judged = audit(build(spec), Decision(np.array([-6e6, 1e6]), np.zeros(0)), {})
    assert judged.permitted.max_violation_usd == pytest.approx(1e6)
    assert judged.permitted.worst_limit == "limits.side (venue1 BTC/USDT:USDT)"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_decision_that_is_no_number_never_passes(bad):
    spec = replace(single_asset(1e7, 2, 1e-5), limits={"it": limit("gross", max=1e7)})
    judged = audit(build(spec), Decision(np.array([-6e6, bad]), np.zeros(0)), {"limits.it.max": np.zeros(1)})
    assert not judged.passed
    assert judged.permitted.max_violation_usd == np.inf


def test_unpaid_transfer_or_one_beyond_the_balance_is_a_violation():
    spec = replace(
        single_asset(1e7, 2, 1e-5),
        balances=(
            Balance("venue0", "USDT", 1e6, withdrawable=4e5, delay=0.5, cost=0.0),
            Balance("venue1", "USDT", 1e6),
        ),
        objective=objective(risk_aversion_per_usd=1e-5),
    )
    market = build(spec)
    prices = {"transfers.withdrawable": np.zeros(1)}
    over = audit(market, Decision(np.zeros(2), np.array([5e5])), prices)
    assert over.permitted.max_violation_usd == pytest.approx(1e5)
    assert over.permitted.worst_limit == "transfers.withdrawable (venue0 USDT)"
    back = audit(market, Decision(np.zeros(2), np.array([-5e4])), prices)
    assert back.permitted.max_violation_usd == pytest.approx(5e4)
    assert back.permitted.worst_limit == "transfers are not negative"
