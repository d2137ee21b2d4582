"""Orders in other forms: ccxt takes them as they are, and no spreadsheet runs what is in them."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import re
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_desk import ROOT, TABLES, Hedge, only_run, read_csv, swap, write_desk

from allocator import ScenarioError
from allocator.orders.client_ids import spellings, venue_client_id
from allocator.orders.export import ccxt_lines, inert
from allocator.orders.order_list import COLUMNS, client_order_id

DECIMAL = re.compile(r"-?\d+(\.\d+)?")
needs_ccxt = pytest.mark.skipif(
    importlib.util.find_spec("ccxt") is None, reason="ccxt (extra `live`) is absent"
)
needs_excel = pytest.mark.skipif(
    importlib.util.find_spec("openpyxl") is None, reason="openpyxl (extra `excel`) is absent"
)


def order(**cells: str) -> dict[str, str]:
    row = dict.fromkeys(COLUMNS, "")
    plain = {
        "seq": "1", "venue": "okx", "account": "main", "symbol": "BTC/USDT:USDT", "side": "sell",
        "type": "limit", "contracts": "12.34", "contract_size": "0.01", "limit_price": "99930.4",
        "time_in_force": "gtc",
        "post_only": "false", "reduce_only": "false",
        "client_order_id": client_order_id("run", 1, "okx", "sell"),
    }  # fmt: skip
    return {**row, **plain, **cells}


def call(**cells: str) -> dict:
    (line,) = ccxt_lines([order(**cells)]).splitlines()
    return json.loads(line)


# --------------------------------------------------------------------------------------------- client ids


@given(st.text(min_size=1, max_size=8), st.integers(1, 500))
def test_ids_in_the_forms_venues_take(run, seq):
    own = client_order_id(run, seq, "hyperliquid BTC", "buy")
    cloid = venue_client_id("hyperliquid", own)
    assert re.fullmatch(r"0x[0-9a-f]{32}", cloid)
    # The 128 bits themselves: written in base 36 again, lowest digit first, they are the id.
    number, digits = int(cloid, 16), ""
    while len(digits) < 25:
        number, digit = divmod(number, 36)
        digits += "0123456789abcdefghijklmnopqrstuvwxyz"[digit]
    assert own == f"h{digits}"
    assert int(venue_client_id("dydx", own)) == int(cloid, 16) % 2**32
    assert venue_client_id("okx", own) == own
    assert re.fullmatch(r"[0-9a-z]{1,32}", own)
    assert spellings([("hyperliquid", own)]) == {own: own, cloid: own}


# -------------------------------------------------------------------------------------------------- ccxt


def test_arguments_of_create_order():
    assert call() == {
        "exchange": "okx", "account": "main", "symbol": "BTC/USDT:USDT", "type": "limit", "side": "sell",
        "amount": "12.34", "price": "99930.4",
        "params": {"clientOrderId": order()["client_order_id"], "reduceOnly": False, "timeInForce": "GTC"},
    }  # fmt: skip
    assert call(reduce_only="true")["params"]["reduceOnly"] is True
    resting = call(post_only="true")["params"]
    assert resting["postOnly"] is True
    assert "timeInForce" not in resting
    at_market = call(type="market", limit_price="", time_in_force="ioc")
    assert at_market["price"] is None
    assert "timeInForce" not in at_market["params"]
    assert call(venue="kraken", time_in_force="ioc")["params"]["timeInForce"] == "ioc"
    assert call(venue="kraken")["exchange"] == "krakenfutures"
    assert call(venue="binance_coinm")["exchange"] == "binancecoinm"


def test_amounts_are_contracts_but_for_deribit():
    assert (
        call(contracts="350", contract_size="10", venue="deribit", symbol="BTC/USD:BTC")["amount"] == "3500"
    )
    assert (
        call(contracts="350", contract_size="100", venue="binance", symbol="BTC/USD:BTC")["amount"] == "350"
    )
    assert call(contracts="0.30", contract_size="0.1")["amount"] == "0.3"


def test_what_ccxt_cannot_place_is_an_error():
    for cells, words in (
        ({"venue": "hyperliquid", "type": "market", "limit_price": ""}, "orders.type: limit"),
        ({"venue": "kraken", "time_in_force": "fok"}, "fill-or-kill"),
    ):
        with pytest.raises(ScenarioError, match=words):
            ccxt_lines([order(**cells)])
    with pytest.raises(ScenarioError, match="one client id"):
        ccxt_lines([order(), order(seq="2")])


def market(
    symbol: str, ident: str, size: float, lot: float, tick: float, least: float, **more: object
) -> dict:
    """A market as ccxt's `load_markets` would give it."""
    base, _, rest = symbol.partition("/")
    quote, _, settle = rest.partition(":")
    return {
        "id": ident, "symbol": symbol, "base": base, "quote": quote, "settle": settle, "baseId": base,
        "quoteId": quote, "settleId": settle, "type": "swap", "spot": False, "margin": False, "swap": True,
        "future": False, "option": False, "contract": True,
        "linear": settle == quote, "inverse": settle == base,
        "active": True, "contractSize": size, "precision": {"amount": lot, "price": tick},
        "limits": {"amount": {"min": least, "max": None}, "price": {"min": None, "max": None},
                   "cost": {"min": None, "max": None}, "leverage": {"min": None, "max": None}},
        "info": {"orderTypes": ["LIMIT", "MARKET"]}, **more,
    }  # fmt: skip


def daily_markets() -> dict[str, list[dict]]:
    """The markets of the four venues of the daily scenario, from its contract terms."""
    listed = read_csv(ROOT / "scenarios" / "daily" / "instruments.csv")
    found: dict[str, list[dict]] = {}
    for k, row in enumerate(listed):
        terms = (float(row[name]) for name in ("contract_size", "lot_contracts", "tick", "min_contracts"))
        ident = row["venue_symbol"]
        made = market(row["symbol"], ident, *terms, baseId=str(k))
        made["limits"]["cost"]["min"] = float(row["min_notional_usd"]) or None
        found.setdefault(row["venue"], []).append(made)
    return found


def offline(name: str, markets: list[dict]):
    """An exchange of ccxt that knows its markets and never calls."""
    import ccxt

    exchange = getattr(ccxt, name)({"apiKey": "k", "secret": "s", "password": "p"})
    exchange.set_markets(markets)

    def fetch(*_: object, **__: object) -> None:
        raise AssertionError("a call to the network")

    exchange.fetch = fetch
    return exchange


def request(exchange, sent: dict) -> dict:
    """What ccxt would post for an order."""
    arguments = (
        sent["symbol"],
        sent["type"],
        sent["side"],
        sent["amount"],
        sent["price"],
        dict(sent["params"]),
    )
    return exchange.create_order_request(*arguments)


@pytest.fixture(scope="module")
def daily(tmp_path_factory) -> Path:
    from allocator.cli import main

    out = tmp_path_factory.mktemp("daily")
    assert main(["allocate", str(ROOT / "scenarios" / "daily.yaml"), "--out", str(out), "-q"]) == 0
    return only_run(out)


@needs_ccxt
@pytest.mark.parametrize("style", [{}, {"post_only": "true"}, {"time_in_force": "ioc"}])
def test_ccxt_takes_every_order_of_the_daily_run_unchanged(daily, style):
    rows = [{**row, **style} for row in read_csv(daily / "orders.csv")]
    calls = [json.loads(line) for line in ccxt_lines(rows).splitlines()]
    exchanges = {name: offline(name, markets) for name, markets in daily_markets().items()}
    assert (
        {sent["exchange"] for sent in calls} == set(exchanges) == {"binance", "okx", "bybit", "hyperliquid"}
    )
    for row, sent in zip(rows, calls, strict=True):
        exchange = exchanges[sent["exchange"]]
        known = exchange.market(sent["symbol"])
        # ccxt's own rounding changes nothing: the numbers are on lot and tick already.
        assert Decimal(exchange.amount_to_precision(sent["symbol"], sent["amount"])) == Decimal(
            sent["amount"]
        )
        assert Decimal(exchange.price_to_precision(sent["symbol"], sent["price"])) == Decimal(sent["price"])
        assert float(sent["amount"]) >= known["limits"]["amount"]["min"]
        cost = float(sent["amount"]) * float(sent["price"]) * known["contractSize"]
        assert cost >= (known["limits"]["cost"]["min"] or 0) or sent["params"]["reduceOnly"]
        # Contracts of ccxt are our contracts: their worth is the order's.
        assert cost == pytest.approx(float(row["notional_usd"]), rel=0.005)
        exchange.check_order_arguments(
            known, sent["type"], sent["side"], float(sent["amount"]), float(sent["price"]), sent["params"]
        )
        posted = json.dumps(request(exchange, sent))
        assert sent["params"]["clientOrderId"] in posted
        assert plain_in(sent["amount"], posted)
        assert plain_in(sent["price"], posted)


def plain_in(number: str, posted: str) -> bool:
    """Whether a number stands in what is posted, as text or as a number."""
    found = re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])", posted)
    return any(Decimal(text) == Decimal(number) for text in found)


@needs_ccxt
def test_flags_reach_the_venues_own_fields(daily):
    exchanges = {name: offline(name, markets) for name, markets in daily_markets().items()}
    terms = {"contracts": "1", "contract_size": "1", "limit_price": "90000", "reduce_only": "true"}
    wanted = {
        "binance": ({"timeInForce": "GTX"}, {"timeInForce": "IOC"}, {"reduceOnly": True}),
        "okx": ({"ordType": "post_only"}, {"ordType": "ioc"}, {"reduceOnly": True}),
        "bybit": ({"timeInForce": "PostOnly"}, {"timeInForce": "IOC"}, {"reduceOnly": True}),
        "hyperliquid": ({"t": {"limit": {"tif": "Alo"}}}, {"t": {"limit": {"tif": "Ioc"}}}, {"r": True}),
    }
    for name, (resting, taking, reducing) in wanted.items():
        symbol = "BTC/USDC:USDC" if name == "hyperliquid" else "BTC/USDT:USDT"
        post = request(exchanges[name], call(venue=name, symbol=symbol, post_only="true", **terms))
        ioc = request(exchanges[name], call(venue=name, symbol=symbol, time_in_force="ioc", **terms))
        assert {**post, **resting, **reducing} == post, name
        assert {**ioc, **taking} == ioc, name


@needs_ccxt
def test_coin_margined_contracts_are_contracts_in_ccxt():
    inverse = market("BTC/USD:BTC", "BTCUSD_PERP", 100.0, 1.0, 0.1, 1.0)
    sent = call(venue="binance", symbol="BTC/USD:BTC", contracts="350", contract_size="100")
    posted = request(offline("binance", [inverse]), sent)
    assert posted["quantity"] == "350"
    dollars = market("BTC/USD:BTC", "BTC-PERPETUAL", 10.0, 10.0, 0.5, 10.0)
    sent = call(
        venue="deribit", symbol="BTC/USD:BTC", contracts="350", contract_size="10", limit_price="99930.5"
    )
    exchange = offline("deribit", [dollars])
    assert exchange.amount_to_precision("BTC/USD:BTC", sent["amount"]) == "3500"  # Deribit's unit is USD


# --------------------------------------------------------------------------------------- csv and workbook


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_that_starts_a_formula_is_made_inert(cell):
    assert inert(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-12.5", "+3", "0", "BTC/USDT:USDT", "", "1=2"])
def test_numbers_and_plain_text_stay(cell):
    assert inert(cell) == cell


def evil_desk(folder: Path, hedge: Hedge) -> Path:
    """A venue whose own name of a contract is a formula."""
    tables = {"instruments": swap(TABLES["instruments"], ("USDC:USDC,ETH,", "USDC:USDC,=HYPERLINK(1),"))}
    path = write_desk(folder / "desk", tables=tables)
    assert hedge("allocate", path, "--no-report", "--out", folder / "runs").code == 0
    return only_run(folder / "runs")


def test_csv_is_the_order_list_made_inert(tmp_path, hedge: Hedge):
    run = evil_desk(tmp_path, hedge)
    outcome = hedge("orders", "export", run, "--format", "csv")
    target = run.parent / f"{run.name}.orders.csv"
    assert (outcome.code, outcome.out.strip()) == (0, str(target))
    rows, own = read_csv(target), read_csv(run / "orders.csv")
    assert "=HYPERLINK(1)" in {row["venue_symbol"] for row in own}
    assert [{**r, "venue_symbol": r["venue_symbol"].lstrip("'")} for r in rows] == own
    assert "'=HYPERLINK(1)" in {row["venue_symbol"] for row in rows}
    again = hedge("orders", "export", run, "--format", "csv", "--to", "-")
    assert list(csv.DictReader(io.StringIO(again.out))) == rows
    assert [p.name for p in run.parent.iterdir() if p.name.startswith(".")] == []


def test_export_to_where_nothing_can_be_written(tmp_path, hedge: Hedge):
    run = evil_desk(tmp_path, hedge)
    outcome = hedge("orders", "export", run, "--format", "csv", "--to", tmp_path / "no" / "such.csv")
    assert outcome.code == 2
    assert "name a file that can be written" in outcome.err
    assert hedge("orders", "export", run, "--format", "pdf").code == 2


@needs_excel
def test_a_workbook_of_decimal_strings_without_formulas(tmp_path, hedge: Hedge):
    import openpyxl

    run = evil_desk(tmp_path, hedge)
    assert hedge("orders", "export", run, "--format", "xlsx").code == 0
    book = openpyxl.load_workbook(run.parent / f"{run.name}.orders.xlsx")
    assert book.sheetnames == ["Orders", "Transfers", "Before and after", "Checks"]
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} == {"s"}  # no formula, no number that a sheet would round
    assert all(cell.quotePrefix for cell in cells)

    def rows(name: str) -> list[dict[str, str]]:
        head, *body = ([cell.value or "" for cell in row] for row in book[name].iter_rows())
        return [dict(zip(head, row, strict=True)) for row in body]

    assert rows("Orders") == read_csv(run / "orders.csv")
    result = json.loads((run / "result.json").read_text())
    ends = {(r["venue"], r["symbol"]): r for r in rows("Before and after")}
    assert len(ends) == len(result["positions"])
    for row in result["positions"]:
        shown = ends[row["venue"], row["symbol"]]
        assert float(shown["after_contracts"]) == row["target_contracts"]
        assert float(shown["after_usd"]) == pytest.approx(row["rounded_usd"], abs=0.005)
        assert all(DECIMAL.fullmatch(v) for k, v in shown.items() if k.endswith(("_contracts", "_usd")))
    names = {row["name"] for row in rows("Checks")}
    assert names >= {"price_collar", "margin_half_filled", "kill_switch", "data_age"}
    assert hedge("orders", "export", run, "--format", "xlsx", "--to", "-").code == 2


def test_without_openpyxl_the_extra_is_named(tmp_path, hedge: Hedge, monkeypatch):
    run = evil_desk(tmp_path, hedge)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    outcome = hedge("orders", "export", run, "--format", "xlsx")
    assert outcome.code == 2
    assert "hedge-allocator[excel]" in outcome.err
    assert list(run.parent.iterdir()) == [run]
