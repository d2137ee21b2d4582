"""Orders: exact decimals, whole lots, prices that keep their promises, and what the result says of them."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from small_desk import AS_OF, SCENARIO, TABLES, swap, write_desk

from allocator import Allocation, AuditFailed, Infeasible, allocate
from allocator.errors import DataError
from allocator.market.types import Decision
from allocator.orders.lots import round_to_lots
from allocator.orders.order_list import Order, cents, client_order_id
from allocator.scenario.load import load_scenario
from allocator.scenario.orders import Orders
from allocator.trading import TradingRules

DECIMAL = re.compile(r"-?\d+(\.\d+)?")
NUMBERS = (
    "contracts", "coins", "contract_size", "notional_usd", "expected_fee_usd", "expected_slippage_usd",
    "funding_to_next_settlement_usd", "position_before_contracts", "position_target_contracts",
)  # fmt: skip
INVERSE = "BTC/USD:BTC"


def allocated(folder: Path, *sets: str, scenario: str = SCENARIO, **tables: str) -> Allocation:
    return allocate(load_scenario(write_desk(folder / "desk", scenario, tables), (), sets))


def terms(allocation: Allocation, order: Order):
    (found,) = [
        i
        for i in allocation.market.instruments
        if (i.exchange, i.account, i.symbol) == (order.venue, order.account, order.symbol)
    ]
    return found.contract


def position(allocation: Allocation, order: Order) -> dict:
    (row,) = [
        row
        for row in allocation.result["positions"]
        if (row["venue"], row["account"], row["symbol"]) == (order.venue, order.account, order.symbol)
    ]
    return row


def check_orders(allocation: Allocation) -> None:
    """What holds of every order list."""
    orders = allocation.orders
    assert [order.seq for order in orders] == list(range(1, len(orders) + 1))
    ids = [order.client_order_id for order in orders]
    assert len(set(ids)) == len(ids)
    # All that reduces comes before all that adds.
    assert [order.reduce_only for order in orders] == sorted((o.reduce_only for o in orders), reverse=True)
    moved: dict[tuple[str, str], Decimal] = {}
    for order in orders:
        contract = terms(allocation, order)
        assert re.fullmatch(r"[a-z0-9]{1,28}", order.client_order_id)
        assert all(DECIMAL.fullmatch(getattr(order, name)) for name in NUMBERS), order
        size = Decimal(order.contracts)
        assert size > 0
        assert size % contract.lot_contracts == 0
        signed = size if order.side == "buy" else -size
        before, after = Decimal(order.position_before_contracts), Decimal(order.position_target_contracts)
        assert after - before == signed
        assert before * after >= 0  # a flip is two orders
        assert order.reduce_only == (abs(after) < abs(before))
        if after != 0:
            assert size >= contract.min_contracts
            assert Decimal(order.notional_usd) >= contract.min_notional_usd - Decimal("0.01")
        if contract.kind == "linear":
            assert Decimal(order.coins) == size * contract.contract_size * contract.coins_per_unit
        key = order.venue, order.symbol
        moved[key] = moved.get(key, Decimal(0)) + signed
        check_price(allocation, order)
    for row in allocation.result["positions"]:
        assert float(moved.get((row["venue"], row["symbol"]), Decimal(0))) == row["trade_contracts"]
    cash = allocation.result["cash"]
    rounding = 0.005 * len(orders) + 1e-6
    assert sum(float(o.expected_fee_usd) for o in orders) == pytest.approx(cash["fees_usd"], abs=rounding)
    slippage = sum(float(o.expected_slippage_usd) for o in orders)
    assert slippage == pytest.approx(cash["slippage_usd"] + cash["impact_usd"], abs=rounding)


def check_price(allocation: Allocation, order: Order) -> None:
    style, market = allocation.scenario.scenario.orders, allocation.market
    if style.type == "market":
        assert (order.limit_price, order.limit_price_time, order.time_in_force) == (None, None, "ioc")
        return
    assert order.limit_price is not None
    assert DECIMAL.fullmatch(order.limit_price)
    price, contract = Decimal(order.limit_price), terms(allocation, order)
    assert price > 0
    assert price % contract.tick == 0
    (i,) = [
        k
        for k, each in enumerate(market.instruments)
        if each.symbol == order.symbol and each.exchange == order.venue
    ]
    sign = 1 if order.side == "buy" else -1
    collar = float(market.prices.mark[i]) * (1 + sign * style.collar)
    assert sign * (float(price) - collar) <= 1e-9 * collar
    if not style.post_only:  # and as near to the collar as a tick allows
        assert sign * (collar - float(price)) < float(contract.tick) * (1 + 1e-6)


def test_the_small_desk(tmp_path):
    allocation = allocated(tmp_path)
    check_orders(allocation)
    assert allocation.rounded.check.passed
    # The long ETH is on the wrong side: it is closed reduce-only, then the short is opened.
    close, opened = (o for o in allocation.orders if (o.venue, o.symbol) == ("hyperliquid", "ETH/USDC:USDC"))
    assert (close.side, close.contracts, close.reduce_only) == ("sell", "10", True)
    assert (opened.side, opened.reduce_only) == ("sell", False)
    assert close.position_target_contracts == opened.position_before_contracts == "0"
    assert close.reason.startswith("close")
    assert opened.reason.startswith("open")


def test_ids_repeat_with_the_run_and_differ_between_runs(tmp_path):
    first = [order.client_order_id for order in allocated(tmp_path / "a").orders]
    assert [order.client_order_id for order in allocated(tmp_path / "b").orders] == first
    other = {order.client_order_id for order in allocated(tmp_path / "c", "limits.gross.max=$8m").orders}
    assert not other & set(first)
    many = {client_order_id("run", seq, "okx BTC", side) for seq in range(500) for side in ("buy", "sell")}
    assert len(many) == 1000


def test_inverse_contracts_are_dollars_and_their_coins_follow_the_mark(tmp_path):
    allocation = allocated(tmp_path)
    (order,) = (o for o in allocation.orders if o.symbol == INVERSE)
    assert Decimal(order.notional_usd) == Decimal(order.contracts) * 100
    assert float(order.coins) == pytest.approx(float(order.notional_usd) / 99990, abs=1e-8)
    row = position(allocation, order)
    assert row["target_coins"] == pytest.approx(row["rounded_usd"] / 99990, rel=1e-9)
    assert row["target_contracts"] * 100 == pytest.approx(row["rounded_usd"], rel=1e-12)


@pytest.mark.parametrize(
    "sets",
    [("orders.type=market",), ("orders.post_only=true",), ("orders.collar=0%",), ("orders.collar=250bp",)],
)
def test_order_styles(tmp_path, sets):
    allocation = allocated(tmp_path, *sets)
    check_orders(allocation)
    assert allocation.orders


def test_post_only_never_crosses_a_book_away_from_the_mark(tmp_path):
    """The mark is an index of venues: a venue's own book may stand off it by more than the spread."""
    shift = {"okx": 1.004, "binance": 0.997, "hyperliquid": 0.999}
    rows = [TABLES["books"].split("\n")[0]]
    for line in TABLES["books"].strip().split("\n")[1:]:
        cells = line.split(",")
        cells[5] = f"{float(cells[5]) * shift[cells[1]]:.10g}"
        rows.append(",".join(cells))
    best = {(c[1], c[2], c[3]): float(c[5]) for c in (r.split(",") for r in rows[1:]) if c[4] == "1"}
    sets = ("objective.impact.model=book", "orders.post_only=true", "orders.collar=2%")
    allocation = allocated(tmp_path, *sets, books="\n".join(rows) + "\n")
    check_orders(allocation)
    for order in allocation.orders:
        bid, ask = (best[order.venue, order.symbol, side] for side in ("bid", "ask"))
        assert order.limit_price is not None
        price = float(order.limit_price)
        tick = float(terms(allocation, order).tick)
        assert order.post_only
        # It rests at the near side of the book.
        assert (ask <= price < ask + tick) if order.side == "sell" else (bid - tick < price <= bid)


def test_a_flip_whose_opening_is_too_small_is_a_close(tmp_path):
    """Held +10 ETH, wanted −0.02: below the least order of 0.1, so the position is closed and no more."""
    allocation = allocated(tmp_path)
    market = allocation.market
    (i,) = [k for k, each in enumerate(market.instruments) if each.key == "hyperliquid ETH/USDC:USDC"]
    for wanted, expected in ((-0.02, "-10.0000"), (-0.2, "-10.2000"), (9.99999, "0")):
        x = market.positions.usd.copy()
        x[i] = wanted * market.prices.usd_per_contract[i]
        rules = TradingRules.of(market, Orders(min_trade="$400"))
        rounded = round_to_lots(market, Decision(x, np.zeros(len(market.transfers.routes))), rules)
        assert rounded.trades[i] == Decimal(expected)


def on_lots(seed: int) -> tuple[str, str]:
    """Random lots per instrument from a thousandth to 5 % of a usual position, and positions on them."""
    rng = np.random.default_rng(seed)
    usual = {
        "okx,BTC": 1200.0,
        "okx,ETH": 3000.0,
        "binance,BTC": 10000.0,
        "hyperliquid,BTC": 10.0,
        "hyperliquid,ETH": 300.0,
    }
    rows, lots = [TABLES["instruments"].split("\n")[0]], {}
    for line in TABLES["instruments"].strip().split("\n")[1:]:
        cells = line.split(",")
        size = usual[f"{cells[1]},{cells[5]}"] * 10 ** rng.uniform(-5, np.log10(0.05))
        lots[cells[1], cells[2]] = Decimal(f"{size:.3g}")
        cells[9] = cells[11] = format(lots[cells[1], cells[2]], "f")
        rows.append(",".join(cells))
    held = [TABLES["positions"].split("\n")[0]]
    for line in TABLES["positions"].strip().split("\n")[1:]:
        cells = line.split(",")
        lot = lots[cells[1], cells[3]]
        for k in (4, 6, 7):
            cells[k] = format(round(Decimal(cells[k]) / lot) * lot, "f")
        held.append(",".join(cells))
    return "\n".join(rows) + "\n", "\n".join(held) + "\n"


TIGHT = (
    "limits.band={kind: net_delta, min: -$90k, max: $20k}",
    "limits.gross.max=$4.83m",
    "limits.turnover={kind: turnover, max: $4m}",
)


@pytest.mark.parametrize("seed", range(8))
def test_any_lots_pass_the_audit_or_say_that_they_do_not(tmp_path, seed):
    """Rounded positions keep every limit though limits bind from two sides; or there are no orders at all."""
    instruments, positions = on_lots(seed)
    try:
        allocation = allocated(tmp_path, *TIGHT[: seed % 4], instruments=instruments, positions=positions)
    except AuditFailed as error:
        assert "no whole-lot rounding" in str(error)  # noqa: PT017
        return
    check_orders(allocation)
    rounded, market = allocation.rounded, allocation.market
    assert rounded.check.passed
    held = [Decimal(repr(float(c))) for c in market.positions.contracts]
    exact = [h + t for h, t in zip(held, rounded.trades, strict=True)]
    usd = [float(c) * u for c, u in zip(exact, market.prices.usd_per_contract, strict=True)]
    assert rounded.decision.positions == pytest.approx(usd, rel=1e-9, abs=1e-6)
    assert (market.lower - 1 <= rounded.decision.positions).all()
    assert (rounded.decision.positions <= market.upper + 1).all()


def test_most_random_lots_are_found_though_limits_bind_from_two_sides(tmp_path):
    found = 0
    for seed in range(20, 26):
        instruments, positions = on_lots(seed)
        try:
            allocated(tmp_path / str(seed), *TIGHT[:2], instruments=instruments, positions=positions)
            found += 1
        except AuditFailed:
            continue
    assert found >= 5  # plain rounding alone finds none or one


def test_a_search_finds_lots_where_no_plain_rounding_does(tmp_path):
    """Gross and delta bind together: some positions must round up and others down."""
    sets = ("limits.band={kind: net_delta, min: -$40k, max: $10k}", "limits.gross.max=$4.85m")
    for lot in ("1", "37", "64"):
        allocation = allocated(
            tmp_path / lot, *sets, instruments=swap(TABLES["instruments"], (",100,1,", f",100,{lot},"))
        )
        assert allocation.rounded.check.passed
        assert allocation.rounding_gap_usd >= -1e-6


def test_coarse_lots_cost_little(tmp_path):
    """Lots of $25,000: the search leaves a smaller net delta than each position's own nearest lot."""
    coarse = swap(
        TABLES["instruments"],
        ("0.01,0.01,0.1,0.01,0", "0.01,25,0.1,0.01,0"),
        ("0.1,0.01,0.01,0.01,0", "0.1,62,0.01,0.01,0"),
        ("100,1,0.1,1", "100,250,0.1,1"),
        ("1,0.00001,1,", "1,0.25,1,"),
        ("1,0.0001,0.1,", "1,6.25,0.1,"),
    )
    held = swap(TABLES["positions"], ("-1250.5,98000,0,10", "-1250,98000,0,0"), (",10,3990", ",12.5,3990"))
    aversion = "objective.risk_aversion_per_usd=1.0e-3"
    allocation = allocated(tmp_path, aversion, instruments=coarse, positions=held)
    check_orders(allocation)
    deltas = [abs(row["net_delta_usd"]) for row in allocation.result["risk"]["by_asset"]]
    assert max(deltas) <= 25_000


def test_nothing_to_trade_is_an_order_list_without_orders(tmp_path):
    none = "\n".join([TABLES["holdings"].split("\n")[0], ""])
    flat = "\n".join([TABLES["positions"].split("\n")[0], ""])
    dollars = swap(TABLES["collateral"], (f"{AS_OF},binance,main,BTC,4,0\n", ""))
    allocation = allocated(tmp_path, holdings=none, positions=flat, collateral=dollars)
    assert allocation.orders == ()
    assert allocation.result["risk"]["hedge_effectiveness"] is None or allocation.result["orders"] == 0


def test_a_minimum_above_every_trade_leaves_all_as_it_is_or_fails_the_audit(tmp_path):
    allocation = allocated(tmp_path, "orders.min_trade=$50m")
    assert all(order.reduce_only for order in allocation.orders)
    with pytest.raises((AuditFailed, Infeasible)):
        allocated(
            tmp_path / "b", "orders.min_trade=$50m", "limits.full={kind: hedge_ratio, min: 95%, max: 105%}"
        )


def test_data_errors_reach_python_too(tmp_path):
    with pytest.raises(DataError, match="holdings"):
        allocated(tmp_path, "as_of=2026-11-19T00:00:00Z")


def test_cents_round_and_have_no_negative_zero():
    assert [cents(value) for value in (1.005, -0.001, 0.0, -2.5, 1e9, 1e-9)] == [
        "1.00",
        "0.00",
        "0.00",
        "-2.50",
        "1000000000.00",
        "0.00",
    ]
