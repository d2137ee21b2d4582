"""Batches: every state on the way is safe, judged again by the audit, and the safest order is found."""

from __future__ import annotations

import itertools
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from answers import answer
from lotted import free, lotted_market
from markets import build
from random_markets import ANYTHING
from samples import chunks
from specs import Balance, Perp, Spec, limit, objective

from allocator import evaluate
from allocator.audit.limits import limit_values
from allocator.market.types import Decision, Market
from allocator.orders.legs import legs_of
from allocator.orders.lots import round_to_lots
from allocator.orders.sequence import Sequence, _safest, _worst, sequence
from allocator.orders.settle import Lots, Rounded
from allocator.orders.states import Path
from allocator.scenario import schema

MARGIN = ("initial_margin", "maintenance_margin")


def sequenced(market: Market, rounded: Rounded) -> Sequence:
    return sequence(market, rounded, np.zeros(len(market.pockets)))


def worst_margin(market: Market, positions, transfers, arrived: bool) -> float:
    """Least slack of the hard margin limits in USD, by the audit's own rules."""
    if not arrived:
        late = replace(market.transfers, arrives=np.zeros(len(transfers), dtype=bool))
        market = replace(market, transfers=late)
    values = limit_values(market, Decision(positions, transfers), "true")
    return min(
        (
            float(v.slack_usd.min())
            for v in values
            if v.kind in MARGIN and v.price is None and len(v.subjects)
        ),
        default=np.inf,
    )


def walk(market: Market, rounded: Rounded, found: Sequence):
    """Positions before each batch, half filled and filled, from the legs' own contracts."""
    x = market.positions.usd.copy()
    per_contract = market.prices.usd_per_contract
    for batch in found.batches:
        move = np.zeros(len(x))
        for k in batch:
            leg = found.legs[k]
            move[leg.instrument] += float(leg.size) * per_contract[leg.instrument]
        yield x, x + move / 2, x + move
        x = x + move
    offset = market.positions.contracts - np.array([float(h) for h in Lots.of(market, free(market)).held])
    traded = np.array([bool(t) for t in rounded.trades])
    np.testing.assert_allclose(
        x - np.where(traded, offset * per_contract, 0.0), rounded.decision.positions, atol=1e-6
    )


def sd(market: Market, x) -> float:
    return float(np.sqrt(sum(evaluate.variances(market, x).values())))


def check(market: Market, rounded: Rounded, found: Sequence) -> str:
    """The states by the audit's rules; `passed`, or how it says that the start is in breach."""
    assert sorted(k for batch in found.batches for k in batch) == list(range(len(found.legs)))
    tolerance = rounded.check.tolerance_usd
    sent = rounded.decision.transfers
    start = worst_margin(market, market.positions.usd, np.zeros(len(sent)), True)
    floor = min(start, -tolerance) - 2 * tolerance
    end = sd(market, rounded.decision.positions)
    # Held amounts that are no whole lots move to their lots with the first order.
    near = 1e-6 * market.book_usd * max(np.abs(market.risk.asset_loadings).max(), 1e-3) + 1e-3
    lot = max((float(lot) for lot in Lots.of(market, free(market)).lot), default=0.0)
    for before, half, after in walk(market, rounded, found):
        allowed = max(sd(market, before), end) + near + 0.1 * lot
        for x in (half, after):
            assert sd(market, x) <= allowed
            assert worst_margin(market, x, sent, True) >= floor - lot
    if start < -tolerance:
        assert not found.passed
        assert found.worst is not None
        assert found.worst.slack_usd <= start + 1e-6
        assert found.failures[0].name == "before"
        return "start in breach"
    assert found.passed, found.failures
    return "passed"


def sample(seeds, most=None) -> dict[str, int]:
    said: dict[str, int] = {}
    for seed in seeds:
        market = lotted_market(seed, ANYTHING, most=most)
        rounded = round_to_lots(market, answer(market).solution.decision, free(market))
        if rounded.check.passed:
            outcome = check(market, rounded, sequenced(market, rounded))
            said[outcome] = said.get(outcome, 0) + 1
    return said


def test_every_state_is_safe_or_named():
    assert sample(range(30, 50), most=10)["passed"] >= 16


@pytest.mark.long
@pytest.mark.parametrize("seeds", chunks(500, 100, 50), ids=lambda seeds: f"from {seeds[0]}")
def test_every_state_is_safe_or_named_on_many(seeds, told):
    said = sample(seeds)
    with told():
        print(f"seeds from {seeds[0]}: {said}")
    assert said["passed"] >= 40


def desk(*perps: Perp, balances=(), exposure=1e6, **limits: schema.Limit) -> Market:
    spec = Spec(
        perps,
        {"BTC": exposure},
        balances=tuple(balances),
        limits=limits,
        objective=objective(risk_aversion_per_usd=1e-6),
        stresses={
            "crash": schema.Stress.model_construct(move=-0.3),
            "rally": schema.Stress.model_construct(move=0.3),
        },
    )
    market = build(spec)
    return replace(market, positions=replace(market.positions, contracts=market.positions.usd))


def to(market: Market, *positions: float, transfers=()) -> Rounded:
    """Trades to these positions, with transfers."""
    lots = Lots.of(market, free(market))
    trades = [Decimal(repr(x)) - held for x, held in zip(positions, lots.held, strict=True)]
    sent = np.array(transfers, dtype=float) if len(transfers) else np.zeros(len(market.transfers.routes))
    return lots.settle(Decision(market.positions.usd, sent), trades)


def test_a_hedge_that_changes_venue_goes_in_one_batch():
    """Alone, the close would leave the book bare, and the open would hedge it twice."""
    market = desk(Perp("alpha", previous=-1e6), Perp("beta"))
    found = sequenced(market, to(market, 0.0, -1e6))
    assert [len(batch) for batch in found.batches] == [2]
    assert [leg.reduces for _, leg in found.in_order()] == [True, False]


def test_a_wrong_position_is_closed_before_anything_is_added():
    market = desk(Perp("alpha", previous=4e5), Perp("beta", adv=1e7), Perp("gamma", adv=1e6))
    found = sequenced(market, to(market, 0.0, -5e5, -5e5))
    assert [batch for batch, _ in found.in_order()] == [1, 2, 2]
    # The less liquid of the two goes first.
    assert [market.instruments[leg.instrument].venue for _, leg in found.in_order()] == [
        "alpha",
        "gamma",
        "beta",
    ]


def test_coins_do_not_wait_for_each_other():
    """Each of twelve coins moves from one venue to the other: pairs, since a leg alone leaves a coin bare."""
    coins = [f"C{k:02d}" for k in range(12)]
    perps = tuple(
        Perp(v, c, previous=-1e6 if v == "alpha" else 0.0) for v in ("alpha", "beta") for c in coins
    )
    spec = Spec(perps, dict.fromkeys(coins, 1e6), asset_sd=dict.fromkeys(coins, 0.03), correlation=0.5)
    market = build(spec)
    market = replace(market, positions=replace(market.positions, contracts=market.positions.usd))
    found = sequenced(market, to(market, *([0.0] * 12), *([-1e6] * 12)))
    assert found.passed
    (batch,) = found.batches
    for close, opened in zip(batch[::2], batch[1::2], strict=True):
        one, other = (market.instruments[found.legs[k].instrument] for k in (close, opened))
        assert (one.venue, other.venue, one.asset) == ("alpha", "beta", other.asset)


def test_a_flip_is_closed_before_it_is_opened():
    market = desk(Perp("alpha", previous=4e5))
    found = sequenced(market, to(market, -1e6))
    assert [leg.after for _, leg in found.in_order()] == [0, Decimal("-1000000")]


MARGINED = {
    "initial_margin": limit("initial_margin", use=1.0),
    "maintenance_margin": limit("maintenance_margin", buffer=1.0, stresses="all"),
}


def test_orders_wait_for_the_collateral_that_they_need():
    """beta has $50k for a short of $1m whose rally costs $300k: $400k is on its way."""
    balances = (
        Balance("alpha", "USDT", 1e6, withdrawable=6e5, delay=0.5),
        Balance("beta", "USDT", 5e4),
    )
    market = desk(Perp("alpha", fee=0.0), Perp("beta", fee=0.0), balances=balances, **MARGINED)
    found = sequenced(market, to(market, -1e3, -1e6, transfers=[4e5]))
    assert found.passed
    assert found.waiting == {1}
    assert [state.name for state in found.states[:4]] == [
        "before",
        "batch 0, transfers half sent",
        "batch 0, transfers sent, none arrived",
        "batch 0, transfers arrived",
    ]
    # Nothing is tighter than beta as it is: $50k. At the end a rally leaves $50k + $400k − $300k there,
    # less 0.4 % of the $1.3m that the short is then.
    assert found.worst is not None
    assert found.worst.slack_usd == pytest.approx(5e4)
    end = found.states[-1]
    assert (end.venue, end.limit) == ("beta", "limits.maintenance_margin.buffer (rally)")
    assert end.slack_usd == pytest.approx(144_800)
    without = sequenced(market, to(market, -1e3, -1e4))
    assert without.waiting == frozenset()


def test_a_start_in_breach_is_said_with_its_dollars():
    """$200k carry a short of $1m to a rally of 30 %: $300k + 0.4 % of $1.3m − $200k are missing."""
    market = desk(
        Perp("alpha", previous=-1e6),
        Perp("beta"),
        balances=(Balance("alpha", "USDT", 2e5), Balance("beta", "USDT", 1e6)),
        **MARGINED,
    )
    rounded = to(market, -5e5, -5e5)
    assert rounded.check.passed
    found = sequenced(market, rounded)
    assert not found.passed
    assert found.failures[0].name == "before"
    assert found.failures[0].limit == "limits.maintenance_margin.buffer (rally)"
    assert found.failures[0].slack_usd == pytest.approx(-(3e5 + 0.004 * 1.3e6 - 2e5))
    assert all(state.harm_usd == 0 for state in found.states)


def test_the_search_finds_the_safest_of_all_sequences():
    """Against every ordered partition of the legs of small random markets, whatever harm they do."""
    seen = 0
    for seed in range(400):
        market = lotted_market(seed, ANYTHING, largest=0.2, most=4)
        rng = np.random.default_rng(seed)
        lots = Lots.of(market, free(market))
        # Any trades: what they lead to need not be permitted.
        trades = [Decimal(int(rng.integers(-8, 9))) * lot for lot in lots.lot]
        rounded = lots.settle(Decision(market.positions.usd, np.zeros(len(market.transfers.routes))), trades)
        path = Path(market, rounded, tuple(legs_of(market, rounded)), np.zeros(len(market.pockets)))
        if not 2 <= len(path.legs) <= 3:
            continue
        flips = {leg.instrument for leg in path.legs if leg.before == 0} & {
            leg.instrument for leg in path.legs if leg.after == 0
        }
        if flips:
            continue
        every = [
            tuple(
                tuple(sorted(k for k in range(len(path.legs)) if place[k] == step))
                for step in sorted(set(place))
            )
            for place in itertools.product(range(len(path.legs)), repeat=len(path.legs))
        ]
        best = min(_worst(path, batches) for batches in set(every))
        assert _worst(path, _safest(path)) == best
        seen += 1
        if seen == 4:
            break
    assert seen == 4
