"""Each pre-trade check passes where it should, fails where it should, and says the numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from markets import build
from small_desk import write_desk
from specs import Balance, Perp, Spec, limit

from allocator import Allocation, Refused, allocate, load
from allocator.allocation import read_tables
from allocator.audit.audit import Check
from allocator.market.instruments import tiers_held
from allocator.market.observed import newest_tiers
from allocator.market.types import Decision
from allocator.orders import checks
from allocator.orders.checks import CHECKS, Proposal, Stated, pre_trade
from allocator.orders.client_ids import venue_client_id
from allocator.orders.order_list import client_order_id
from allocator.orders.outcome import Measured, Outcome, judge
from allocator.orders.release import Handover, check_release
from allocator.orders.settle import Rounded
from allocator.scenario import schema
from allocator.scenario.order_checks import Checks
from allocator.scenario.orders import Orders


@pytest.fixture(scope="module")
def allocation(tmp_path_factory) -> Allocation:
    return allocate(load(write_desk(tmp_path_factory.mktemp("checks") / "desk")))


@pytest.fixture(scope="module")
def proposal(allocation) -> Proposal:
    tables = read_tables(allocation.scenario).tables
    return Proposal(
        market=allocation.market,
        rounded=allocation.rounded,
        orders=allocation.orders,
        rules=Checks(),
        stated=Stated.nothing(len(allocation.market.instruments)),
        leverage=checks.settings(allocation.scenario, allocation.market),
        tiers=tiers_held(allocation.market, newest_tiers(tables["margin_tiers"])),
    )


def outcomes(p: Proposal, name: str) -> list[Outcome]:
    return [o for o in pre_trade(p, lambda key: "default") if o.name == name]


def only(p: Proposal, name: str) -> Outcome:
    (found,) = outcomes(p, name)
    return found


def failing(p: Proposal, name: str) -> list[Outcome]:
    found = outcomes(p, name)
    assert {o.outcome for o in found} == {"failed"}
    assert all(o.value is None or o.bound is None or o.value > o.bound for o in found)
    return found


def ruled(p: Proposal, **rules: object) -> Proposal:
    return replace(p, rules=p.rules.model_copy(update=rules))


def test_every_check_is_made_or_says_why_not(allocation, proposal):
    found = pre_trade(proposal, lambda key: "default")
    assert [o.name for o in found] == [name for name, *_ in CHECKS]
    assert found == allocation.checks
    assert {o.outcome for o in found} == {"passed", "skipped"}
    skipped = {o.name: o.reason for o in found if o.outcome == "skipped"}
    assert skipped.keys() == {
        "open_interest_share", "venue_open_interest_share", "instrument_share", "collateral_currency_share",
        "max_order", "history_multiple", "target_change", "leg_risk", "venue_status",
    }  # fmt: skip
    assert skipped["max_order"] == "not asked for"
    assert "open_interest_usd" in skipped["open_interest_share"]


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, key, *_ in CHECKS])
def test_a_check_that_is_switched_off_says_where(proposal, name, key):
    silent = ruled(proposal, **{key: False if isinstance(getattr(Checks(), key), bool) else None})
    (found,) = [o for o in pre_trade(silent, lambda key: "desk.yaml:7") if o.name == name]
    assert (found.outcome, found.reason) == ("skipped", "switched off at desk.yaml:7")


def test_no_order_passes_everything(proposal):
    n = len(proposal.market.instruments)
    stays = Decision(proposal.market.positions.usd, proposal.rounded.decision.transfers)
    still = replace(proposal.rounded, trades=(Decimal(0),) * n, decision=stays)
    found = pre_trade(replace(proposal, orders=(), rounded=still), lambda key: "default")
    assert not [o for o in found if o.outcome == "failed"]


def test_orders_off_lot_tick_or_minimum(proposal):
    first = proposal.orders[0]
    contract = proposal.market.instruments[proposal.instrument(first)].contract
    half_lot = str(Decimal(first.contracts) + contract.lot_contracts / 2)
    for wrong in (
        replace(first, contracts=half_lot),
        replace(first, limit_price=str(Decimal(first.limit_price) + contract.tick / 4)),
        replace(first, contracts="0"),
    ):
        (found,) = failing(replace(proposal, orders=[wrong, *proposal.orders[1:]]), "precision")
        assert found.subject.startswith("order 1: ")
        assert found.value in (0.5, 0.25, 1.0)


def test_price_collar(proposal):
    assert only(proposal, "price_collar").value == pytest.approx(0.001, rel=0.01)  # orders.collar is 10 bp
    assert len(failing(ruled(proposal, price_collar=0.0005), "price_collar")) == len(proposal.orders)
    order = proposal.orders[0]
    mark = float(proposal.market.prices.mark[proposal.instrument(order)])
    wild = replace(order, limit_price=str(Decimal(repr(mark)) * 2))
    (found,) = failing(replace(proposal, orders=[wild]), "price_collar")
    assert found.value == pytest.approx(1.0)
    at_market = [replace(o, limit_price=None) for o in proposal.orders]
    assert only(replace(proposal, orders=at_market), "price_collar").outcome == "skipped"


def grown(p: Proposal) -> int:
    return int(np.flatnonzero(p.grows)[0])


def with_cap(p: Proposal, k: int, cap: float) -> Proposal:
    rows = list(p.market.instruments)
    rows[k] = replace(rows[k], largest_usd=cap)
    return replace(p, market=replace(p.market, instruments=tuple(rows)))


def test_size_against_the_bracket_cap_counts_resting_orders(proposal):
    k = grown(proposal)
    size = abs(float(proposal.rounded.decision.positions[k]))
    held = proposal.market.positions
    resting = replace(held, open_sells_usd=np.zeros_like(held.usd), open_buys_usd=np.zeros_like(held.usd))
    plain = replace(proposal, market=replace(proposal.market, positions=resting))
    assert only(with_cap(plain, k, size), "bracket_cap").outcome == "passed"
    (found,) = failing(with_cap(plain, k, size - 1), "bracket_cap")
    assert (found.value, found.bound) == pytest.approx((size, size - 1))
    # One more dollar resting on the side that grows is one dollar too many.
    more = np.zeros_like(held.usd)
    more[k] = 1.0
    sells = replace(resting, open_sells_usd=more)
    assert proposal.rounded.decision.positions[k] < 0
    crowded = replace(plain, market=replace(plain.market, positions=sells))
    assert failing(with_cap(crowded, k, size), "bracket_cap")


def test_a_position_above_its_cap_may_shrink(proposal):
    k = int(np.argmin(proposal.market.positions.usd))
    x = proposal.rounded.decision.positions.copy()
    x[k] = proposal.market.positions.usd[k] / 2
    shrunk = replace(proposal.rounded, decision=replace(proposal.rounded.decision, positions=x))
    subjects = {
        o.subject for o in outcomes(with_cap(replace(proposal, rounded=shrunk), k, 1.0), "bracket_cap")
    }
    assert proposal.market.instruments[k].key not in subjects


def test_leverage_setting_against_the_target_s_own_bracket(proposal):
    """The tiers of the small desk allow 100x up to $1m and 50x up to $50m."""
    k = grown(proposal)
    x, lever = proposal.rounded.decision.positions.copy(), proposal.leverage.copy()
    lever[k] = 60.0
    for size, passes in ((1e6, True), (1e6 + 1, False), (60e6, False)):
        x[k] = -size
        decision = replace(proposal.rounded.decision, positions=x)
        p = replace(proposal, leverage=lever, rounded=replace(proposal.rounded, decision=decision))
        found = outcomes(p, "leverage")
        assert (found[0].outcome == "passed") == passes
        if not passes:
            assert (found[0].value, found[0].bound) == (60.0, 50.0 if size < 50e6 else 0.0)


def test_open_interest(proposal):
    k = grown(proposal)
    size = abs(float(proposal.rounded.decision.positions[k]))
    stated = Stated.nothing(len(proposal.leverage))
    for interest, passes in ((size / 0.05 * 1.001, True), (size / 0.05 * 0.999, False)):
        row = stated.open_interest_usd.copy()
        row[k] = interest
        found = only(replace(proposal, stated=replace(stated, open_interest_usd=row)), "open_interest_share")
        assert (found.outcome == "passed") == passes
        assert found.value == pytest.approx(size / interest)


def test_volume_and_single_orders(proposal):
    share = np.abs(proposal.trades) / proposal.market.costs.adv_usd
    assert only(proposal, "adv_share").value == pytest.approx(share.max())
    assert len(failing(ruled(proposal, adv_share=float(share.max()) * 0.999), "adv_share")) == 1
    largest = max(float(o.notional_usd) for o in proposal.orders)
    assert only(ruled(proposal, max_order=largest), "max_order").outcome == "passed"
    (found,) = failing(ruled(proposal, max_order=largest - 1), "max_order")
    assert found.value == largest


def test_fat_finger_against_history_and_last_target(proposal):
    k, stated = grown(proposal), Stated.nothing(len(proposal.leverage))
    per = float(proposal.market.prices.usd_per_contract[k])
    trade, target = abs(float(proposal.trades[k])), float(proposal.rounded.decision.positions[k])

    def told(**values: float) -> Proposal:
        rows = {
            name: np.where(np.arange(len(proposal.leverage)) == k, value, np.nan)
            for name, value in values.items()
        }
        return replace(proposal, stated=replace(stated, **rows))

    assert only(told(largest_trade_contracts=trade / per / 4.9), "history_multiple").outcome == "passed"
    (found,) = failing(told(largest_trade_contracts=trade / per / 5.1), "history_multiple")
    assert (found.value, found.bound) == pytest.approx((trade, 5 * trade / 5.1))
    # Nothing traded in 20 days is nothing to compare with.
    assert only(told(largest_trade_contracts=0.0), "history_multiple").outcome == "skipped"
    book = proposal.market.book_usd
    near = told(last_target_contracts=(target + 0.499 * book) / per)
    far = told(last_target_contracts=(target + 0.501 * book) / per)
    assert only(near, "target_change").value == pytest.approx(0.499 * book)
    assert only(near, "target_change").outcome == "passed"
    assert failing(far, "target_change")[0].bound == pytest.approx(0.5 * book)


def margin_case(before: float, after: float, equity: float, *, stressed: bool = False) -> Proposal:
    """One perp with 5x leverage (initial margin a fifth) and 0.4 % maintenance margin; MARK is 100."""
    spec = Spec(
        (Perp(previous=before),),
        {"BTC": 1e6},
        balances=(Balance("alpha", "USDT", equity),),
        stresses={"rally": schema.Stress.model_construct(move=0.1)} if stressed else {},
        limits={"mm": limit("maintenance_margin", venues="all", stresses="all", buffer=1.0)}
        if stressed
        else {},
    )
    market = build(spec)
    rounded = Rounded(
        (Decimal(repr(after - before)),),
        Decision(np.array([after]), np.zeros(0)),
        Check(True, 0.0, "", 0.1),
        (),
        0,
        0.0,
        0.0,
    )
    return Proposal(market, rounded, (), Checks(), Stated.nothing(1), np.array([5.0]), {})


def worst(p: Proposal, name: str) -> tuple[float, float]:
    found = outcomes(p, name)[0]
    assert found.value is not None
    assert found.bound is not None
    return found.value, found.bound


def test_margin_after_fills_and_half_fills_by_hand():
    # $1m short at 5x needs $200k; half of it $100k.
    p = margin_case(0.0, -1e6, 150e3)
    assert worst(p, "margin_filled") == pytest.approx((200e3, 150e3), abs=2)
    assert failing(p, "margin_filled")[0].subject == "alpha initial margin"
    assert worst(p, "margin_half_filled") == pytest.approx((100e3, 150e3), abs=2)
    assert only(p, "margin_half_filled").outcome == "passed"
    assert only(margin_case(0.0, -1e6, 200e3), "margin_filled").outcome == "passed"


def test_margin_in_a_stress_that_a_limit_names():
    # +10 %: a $1m short loses $100k and then asks 0.4 % of $1.1m.
    p = margin_case(0.0, -1e6, 104e3, stressed=True)
    rows = {o.subject: o for o in failing(p, "margin_filled")}
    assert rows["alpha rally"].value == pytest.approx(4400)
    assert rows["alpha rally"].bound == pytest.approx(4000, abs=2)
    without = replace(p, market=replace(p.market, limits=()))
    assert "alpha rally" not in {o.subject for o in outcomes(without, "margin_filled")}


def test_a_shortfall_that_stands_is_no_reason_to_refuse_a_reduction():
    # $2m short with $150k asks $400k already: to close half of it leaves less missing than before.
    assert only(margin_case(-2e6, -1e6, 150e3), "margin_filled").outcome == "passed"
    assert only(margin_case(-2e6, -1e6, 150e3), "margin_half_filled").outcome == "passed"
    assert failing(margin_case(-2e6, -2.1e6, 150e3), "margin_filled")


def test_venue_status(proposal):
    n = len(proposal.leverage)

    def status(word: str) -> list[Outcome]:
        return outcomes(
            replace(proposal, stated=replace(Stated.nothing(n), status=(word,) * n)), "venue_status"
        )

    assert [o.outcome for o in status("trading")] == ["passed"]
    assert len(status("halted")) == len(proposal.orders)
    reducing = [o.reduce_only for o in proposal.orders]
    assert [o.outcome for o in status("reduce_only")] == ["failed"] * reducing.count(False)


def two_accounts(one: str, other: str) -> Proposal:
    """Two accounts of one exchange, each with an order of $1m; prices are theirs."""
    market = build(Spec((Perp("alpha"), Perp("beta")), {"BTC": 1e6}))
    rows = tuple(
        replace(i, exchange="alpha", account=name)
        for i, name in zip(market.instruments, ("main", "sub"), strict=True)
    )
    market = replace(market, instruments=rows)
    x = np.array([1e6, -1e6])
    rounded = Rounded(
        (Decimal(10**6), Decimal(-(10**6))),
        Decision(x, np.zeros(0)),
        Check(True, 0.0, "", 0.1),
        (),
        0,
        0.0,
        0.0,
    )
    from allocator.orders.order_list import order_list
    from allocator.orders.quotes import best_prices
    from allocator.orders.sequence import sequence

    style = Orders.model_construct(type="market", collar=0.001, time_in_force="gtc", post_only=False)
    orders = order_list(
        market, rounded, sequence(market, rounded, 0.0), style, best_prices(market, None), "run"
    )
    priced = [replace(o, limit_price=one if o.side == "buy" else other) for o in orders]
    return Proposal(market, rounded, priced, Checks(), Stated.nothing(2), np.full(2, 5.0), {})


def test_two_accounts_must_not_meet(proposal):
    assert {o.value for o in failing(two_accounts("100", "100"), "self_trade")} == {1e6}
    assert only(two_accounts("99.99", "100"), "self_trade").outcome == "passed"
    apart = two_accounts("99.99", "100")
    resting = replace(apart.market.positions, open_sells_usd=np.array([0.0, 300e3]))
    found = failing(replace(apart, market=replace(apart.market, positions=resting)), "self_trade")
    assert [o.value for o in found] == [300e3]  # the main account's buy meets the sub-account's resting sell
    # One's own resting orders are the venue's own business.
    own = replace(apart.market.positions, open_sells_usd=np.array([300e3, 0.0]))
    assert only(replace(apart, market=replace(apart.market, positions=own)), "self_trade").outcome == "passed"


def test_numbers_that_are_none_fail():
    (found,) = judge("x", "USD", "default", [Measured("s", float("nan"), 1.0)])
    assert (found.outcome, found.value) == ("failed", None)


def test_the_library_refuses_too(tmp_path):
    scenario = load(write_desk(tmp_path / "desk"), (), ["orders.checks.max_order=$10k"])
    with pytest.raises(Refused, match=r"max_order.*\$10,000") as refused:
        allocate(scenario)
    assert refused.value.exit_code == 6
    assert refused.value.allocation is not None
    assert (refused.value.allocation.orders, refused.value.allocation.status) == ((), "refused")


# ------------------------------------------------------------------------------------ by clock and files

NOW = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
OWN = client_order_id("run", 1, "okx BTC", "buy")
KEYS = ("max_age", "funding_window", "kill_switch", "sent_ids", "duplicate_run")


def released(out, now=NOW, follow_up=False, **values) -> dict[str, Outcome]:
    terms = {
        "as_of": "2026-11-20T00:00:00Z",
        **dict.fromkeys(KEYS),
        "duplicate_run": False,
        "sources": dict.fromkeys(KEYS, "default"),
        "settlements": [{"subject": "okx BTC", "next": "2026-11-20T08:00:00Z", "interval_hours": 8.0}],
        **values,
    }
    handover = Handover("run", out, [("okx", OWN), ("hyperliquid", OWN)], now)
    return {o.name: o for o in check_release(terms, handover, follow_up)}


def test_what_is_not_stated_is_not_asked_of_the_clock(tmp_path):
    assert {o.reason for o in released(tmp_path).values()} == {"not asked for"}


def test_age_by_the_clock(tmp_path):
    assert released(tmp_path, max_age=6.0)["data_age"].outcome == "passed"
    found = released(tmp_path, NOW + timedelta(minutes=1), max_age=6.0)["data_age"]
    assert (found.outcome, found.value) == ("failed", pytest.approx(6 + 1 / 60))
    early = released(tmp_path, datetime(2026, 11, 19, 23, tzinfo=UTC), max_age=6.0)["data_age"]
    assert early.outcome == "failed"
    assert "future" in early.reason


@pytest.mark.parametrize(
    ("hour", "minute", "outcome"),
    [
        (7, 44, "passed"),
        (7, 46, "failed"),
        (8, 0, "failed"),
        (8, 1, "passed"),
        (15, 50, "failed"),
        (23, 50, "failed"),
    ],
)
def test_minutes_to_funding_repeat_every_interval(tmp_path, hour, minute, outcome):
    now = datetime(2026, 11, 21, hour, minute, tzinfo=UTC)
    assert released(tmp_path, now, funding_window=0.25)["funding_window"].outcome == outcome


def test_kill_switch(tmp_path):
    assert released(tmp_path, kill_switch="KILL")["kill_switch"].outcome == "passed"
    (tmp_path / "KILL").touch()
    assert released(tmp_path, kill_switch="KILL")["kill_switch"].outcome == "failed"
    (tmp_path / "KILL").unlink()
    (tmp_path / "KILL").symlink_to("nowhere")  # a link to nothing was put there by somebody, too
    assert released(tmp_path, kill_switch="KILL")["kill_switch"].outcome == "failed"
    # A place that cannot be looked at is no reason to trade.
    (tmp_path / "file").touch()
    assert released(tmp_path, kill_switch="file/KILL")["kill_switch"].outcome == "failed"


def test_ids_that_were_sent(tmp_path):
    missing = released(tmp_path, sent_ids="sent.txt")["sent_ids"]
    assert missing.outcome == "failed"
    assert "make it" in missing.reason
    path = tmp_path / "sent.txt"
    path.write_text("hsomethingelse\n")
    assert released(tmp_path, sent_ids="sent.txt")["sent_ids"].outcome == "passed"
    for form in (OWN, venue_client_id("hyperliquid", OWN)):
        path.write_text(f"time,id\n2026-11-20,{form}\n")
        found = released(tmp_path, sent_ids="sent.txt")["sent_ids"]
        assert (found.outcome, found.value) == ("failed", 1.0)


def test_duplicate_run(tmp_path):
    assert released(tmp_path, duplicate_run=True)["duplicate_run"].outcome == "passed"
    # What was exported of a reconciliation is none.
    (tmp_path / "run-fills-0123456789ab.orders.jsonl").touch()
    assert released(tmp_path, duplicate_run=True)["duplicate_run"].outcome == "passed"
    beside = tmp_path / "run-fills-0123456789ab"
    beside.mkdir()
    assert released(tmp_path, duplicate_run=True)["duplicate_run"].outcome == "failed"
    # A follow-up belongs to orders that were sent; it is a duplicate once it counts as sent itself.
    assert released(tmp_path, duplicate_run=True, follow_up=True)["duplicate_run"].outcome == "passed"
    (beside / "left.csv").write_text(f"client_order_id,venue\n{OWN},hyperliquid\n")
    assert released(tmp_path, duplicate_run=True, follow_up=True)["duplicate_run"].outcome == "failed"
