"""A scenario that names venue tables: what they give, what beats them, what is said about them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from nova_desk import AS_OF, COINBAY, NOVA, SCENARIO, TABLES, read, write_desk

from allocator.allocation import allocate, read_tables
from allocator.errors import DataError, ScenarioError
from allocator.runs import run_id
from allocator.scenario.load import load_scenario, resolved_yaml, show_origin
from allocator.snapshot.columns import TABLES as DECLARED


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


@pytest.fixture
def desk(tmp_path):
    return write_desk(tmp_path)


def test_a_new_venue_is_a_table_a_full_allocation_runs_on_it(desk):
    found = allocate(load_scenario(desk))
    assert found.audit.passed
    assert found.rounded.check.passed
    assert found.orders
    x = dict(zip([i.key for i in found.market.instruments], found.solution.decision.positions, strict=True))
    assert sum(x.values()) < -2e6
    nova = next(row for row in found.result["venues"] if row["venue"] == "nova")
    # The brackets of the table, by hand: 0.5 % to $1m, 1 % beyond, less $5,000.
    sizes = [abs(r["rounded_usd"]) for r in found.result["positions"] if r["venue"] == "nova"]
    assert max(sizes) > 1e6
    by_hand = sum(max(0.005 * n, 0.01 * n - 5e3, 0.02 * n - 55e3) for n in sizes)
    assert nova["maintenance_margin_usd"] == pytest.approx(by_hand, rel=1e-9)


def test_a_table_gives_terms_fees_funding_and_margin(desk):
    loaded, data, market = read(desk)
    btc, eth, coin = market.instruments
    assert (str(btc.contract.contract_size), str(btc.contract.tick)) == ("0.01", "0.5")
    assert coin.contract.kind == "inverse"
    assert (coin.venue_symbol, coin.settlement_currency) == ("BTC-PERP", "BTC")
    assert market.funding.cap.tolist() == pytest.approx([0.005, 0.005, 6 * 0.008 / 8])
    assert (loaded.scenario.venues["nova"].fees.maker, loaded.scenario.venues["nova"].fees.taker) == (
        1e-4,
        4e-4,
    )
    assert loaded.scenario.venues["coinbay"].margin.netting == "long_short"
    assert loaded.scenario.venues["nova"].liquidation_penalty == {"all": 0.01}
    assert eth.brackets.deductions_usd.tolist() == [0.0, 5e3, 55e3]
    assert eth.brackets.caps_usd[-1] == np.inf
    # 50 and 200 BTC at $100,000; 3.8 % more above 50 BTC.
    assert coin.brackets.caps_usd.tolist() == [5e6, 2e7]
    assert coin.brackets.deductions_usd.tolist() == pytest.approx([0.0, 5e6 * 0.038])
    assert data.newest == datetime(2026, 11, 20, tzinfo=UTC)


def test_caps_in_contracts_are_priced_at_the_coin(tmp_path):
    spoilt = COINBAY.replace("cap_coins: 50", "cap_contracts: 1e5").replace(
        "cap_coins: 200", "cap_contracts: 3e5"
    )
    nova = NOVA.replace("cap: $1m", "cap_contracts: 1000").replace("cap: $5m", "cap_contracts: 5000")
    nova = nova.replace(", deduction: 0}", "}").replace("floor: $1m, ", "").replace(", deduction: $5k}", "}")
    _, _, market = read(write_desk(tmp_path, coinbay=spoilt, nova=nova))
    btc, eth, coin = (i.brackets.caps_usd.tolist() for i in market.instruments)
    assert coin == [1e6, 3e6]  # 10 USD each
    assert btc == [1e6, 5e6, np.inf]  # 0.01 BTC each
    assert eth == pytest.approx([4e5, 2e6, np.inf])  # 0.1 ETH each


def test_every_cell_of_a_table_can_be_overridden(desk, tmp_path):
    loaded, _, _ = read(desk, "venues.nova.fees.maker=2bp", "venues.coinbay.margin.netting=none")
    assert (loaded.scenario.venues["nova"].fees.maker, loaded.scenario.venues["nova"].fees.taker) == (
        2e-4,
        4e-4,
    )
    assert loaded.origin("venues.nova.fees.maker") == "--set"
    assert loaded.origin("venues.nova.fees.taker") == f"nova.yaml:{line_of(NOVA, 'fees:')}"
    assert loaded.scenario.venues["coinbay"].margin.netting == "none"
    # Contract terms in one line of a table that extends the other ...
    mine = "extends: nova.yaml\ninstruments:\n  BTC/USDT:USDT: {tick: 0.1, unverified: []}\n"
    (tmp_path / "mine.yaml").write_text(mine)
    _, _, market = read(desk, "venues.nova.table=" + str(tmp_path / "mine.yaml"))
    assert str(market.instruments[0].contract.tick) == "0.1"
    assert str(market.instruments[0].contract.contract_size) == "0.01"
    # ... or in the snapshot, which says that they differ.
    rows = TABLES["instruments"].replace("adv_usd\n", "adv_usd,tick\n").replace("5e9\n", "5e9,0.25\n")
    _, _, market = read(
        write_desk(tmp_path, instruments=rows.replace("2e9\n", "2e9,\n").replace("1e9\n", "1e9,\n"))
    )
    assert [str(i.contract.tick) for i in market.instruments] == ["0.25", "0.05", "0.5"]
    words = "nova BTC/USDT:USDT: tick is 0.25 in the snapshot and 0.5 in nova.yaml: the snapshot counts"
    assert words in market.notices


def test_the_snapshot_s_tiers_replace_the_table_s(tmp_path):
    tiers = (
        "time,venue,symbol,tier,floor_usd,cap_usd,maintenance_margin_rate,deduction_usd,max_leverage\n"
        f"{AS_OF},nova,BTC/USDT:USDT,1,0,9000000,0.03,0,20\n"
    )
    _, data, market = read(write_desk(tmp_path, margin_tiers=tiers))
    assert market.instruments[0].brackets.rates.tolist() == [0.03]
    assert market.instruments[1].brackets.rates.tolist() == [0.005, 0.01, 0.02]
    assert data.from_tables["nova", "BTC/USDT:USDT"].tiers is None
    assert data.from_tables["nova", "ETH/USDT:USDT"].tiers == datetime(2026, 11, 10, tzinfo=UTC)


def test_a_cell_in_neither_place_is_an_error_that_names_both(tmp_path):
    path = write_desk(tmp_path, nova=NOVA.replace("tick: 0.05, ", ""))
    with pytest.raises(DataError) as caught:
        read(path)
    (problem,) = caught.value.problems
    assert problem.source == "instruments.csv:3"
    assert problem.message == (
        "`tick` of nova ETH/USDT:USDT is neither here nor in nova.yaml: write it in one of them"
    )


def test_tiers_in_neither_place_are_an_error_that_names_both(tmp_path):
    path = write_desk(
        tmp_path, nova=NOVA.replace("symbols: [BTC/USDT:USDT, ETH/USDT:USDT]", "symbols: [BTC/USDT:USDT]")
    )
    with pytest.raises(DataError, match=r"nova ETH/USDT:USDT: no row in margin_tiers, nor in nova\.yaml"):
        read(path)


def test_unverified_cells_in_use_are_told_and_others_are_not(desk):
    _, _, market = read(desk)
    assert "nova BTC/USDT:USDT tick: unverified (from memory) in nova.yaml" in market.notices
    assert "venues.nova.fees maker: unverified (from memory) in nova.yaml" in market.notices
    _, _, market = read(desk, "venues.nova.fees.maker=1bp", "instruments.nova_perps.symbols=[ETH/USDT:USDT]")
    assert not [notice for notice in market.notices if "unverified" in notice]


def test_old_tiers_of_a_table_are_told_those_of_a_snapshot_refused(tmp_path):
    old = NOVA.replace("as_of: 2026-11-10", "as_of: 2026-03-01")
    _, _, market = read(write_desk(tmp_path, nova=old))
    words = "nova: margin tiers of BTC/USDT:USDT, ETH/USDT:USDT are those of 2026-03-01 in nova.yaml"
    assert words in market.notices
    assert not [notice for notice in market.notices if notice.startswith("coinbay: margin tiers")]


def test_tiers_from_after_as_of_are_not_used(tmp_path):
    with pytest.raises(DataError, match=r"those of nova\.yaml are of 2026-11-21, after as_of"):
        read(write_desk(tmp_path, nova=NOVA.replace("as_of: 2026-11-10", "as_of: 2026-11-21")))


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("maker: 1bp", "maker: 2bp", True),
        ("tick: 0.5,", "tick: 0.1,", True),
        ("rate: 2%", "rate: 3%", True),
        ("cap: 0.5%/8h", "cap: 0.6%/8h", True),
        ("as_of: 2026-11-10", "as_of: 2026-11-11", True),
        ("title: Nova rules", "title: The rules of Nova", False),
    ],
)
def test_the_run_id_follows_the_content_of_a_table(tmp_path, old, new, changes):
    loaded, data, _ = read(write_desk(tmp_path))
    before = run_id(loaded, data)
    loaded, data, _ = read(write_desk(tmp_path, nova=NOVA.replace(old, new)))
    assert (run_id(loaded, data) != before) is changes


def test_the_run_id_does_not_depend_on_where_a_table_lies(desk, tmp_path):
    loaded, data, _ = read(desk)
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk/other.yaml").write_text(NOVA)
    moved = write_desk(tmp_path, scenario=SCENARIO.replace("table: nova.yaml", "table: desk/other.yaml"))
    other, again, _ = read(moved)
    assert run_id(other, again) == run_id(loaded, data)
    assert other.origin("venues.nova.fees.taker").startswith("desk/other.yaml:")


def test_a_snapshot_that_states_everything_gives_the_same_tables(desk, tmp_path):
    """Filled cells are cells: written out, the same tables have the same digests."""
    _, data, _ = read(desk)
    for name in ("instruments", "margin_tiers"):
        assert list(data.tables[name].columns) == list(DECLARED[name].names)
    full = data.tables["instruments"].astype(
        {c.name: str for c in DECLARED["instruments"].columns if c.type == "decimal"}
    )
    written = write_desk(tmp_path, instruments=full.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ"))
    _, again, market = read(written)
    assert again.digests == data.digests
    assert not [notice for notice in market.notices if "snapshot counts" in notice]


def test_the_resolved_scenario_loads_to_the_same_scenario(desk, tmp_path):
    loaded = load_scenario(desk)
    (tmp_path / "resolved.yaml").write_text(resolved_yaml(loaded.scenario))
    assert load_scenario(tmp_path / "resolved.yaml").scenario == loaded.scenario
    shown = {key: (value, origin) for key, value, origin in show_origin(loaded)}
    assert shown["venues.nova.fees.taker"] == ("0.04%", f"nova.yaml:{line_of(NOVA, 'fees:')}")


def test_venues_keep_their_order_with_and_without_tables(tmp_path):
    scenario = SCENARIO.replace(
        "venues:\n", "venues:\n  plain: {fees: {maker: 0, taker: 1bp}, haircuts: {}}\n"
    )
    loaded = load_scenario(write_desk(tmp_path, scenario=scenario))
    assert list(loaded.scenario.venues) == ["plain", "nova", "coinbay"]


def test_an_overlay_may_name_a_table_and_remove_what_it_gives(tmp_path):
    scenario = SCENARIO.replace("    table: nova.yaml\n", "    fees: {maker: 0, taker: 6bp}\n")
    scenario += "overlays:\n  tabled: {venues: {nova: {table: nova.yaml}}}\n"
    scenario += "  free: {use: [tabled], venues: {nova: {liquidation_penalty: {all: null, BTC: 2%}}}}\n"
    path = write_desk(tmp_path, scenario=scenario)
    assert load_scenario(path).scenario.venues["nova"].liquidation_penalty == {}
    tabled = load_scenario(path, overlays=["tabled"]).scenario.venues["nova"]
    assert (tabled.fees.taker, tabled.liquidation_penalty) == (6e-4, {"all": 0.01})
    free = load_scenario(path, overlays=["free"]).scenario.venues["nova"]
    assert free.liquidation_penalty == {"BTC": 0.02}


OPEN_INTEREST = NOVA.replace(
    "instruments:",
    "open_interest: {caps: {ETH: {base: 5%, lower: $10m, upper: $30m}}, source: page}\ninstruments:",
)


def test_an_open_interest_rule_needs_the_open_interest_of_what_takes_part(tmp_path):
    path = write_desk(tmp_path, nova=OPEN_INTEREST)
    read(path, "instruments.nova_perps.assets=[BTC]")
    with pytest.raises(
        DataError, match=r"write it as venues\.nova\.margin\.open_interest\.ETH\.open_interest"
    ):
        read(path)
    # Half way between the caps: 5 % + 95 %/2; BTC has its leverage.
    _, _, market = read(path, "venues.nova.margin.open_interest={ETH: {open_interest: $20m}}")
    assert market.scheme.initial_rate.tolist() == pytest.approx([0.1, 0.525, 0.2])


def problems(path, **kwargs):
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path, **kwargs)
    return [(problem.source, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("old", "new", "at", "words"),
    [
        ("maker: 1bp", "makr: 1bp", "makr: 1bp", "unknown key; did you mean `maker`?"),
        ("maker: 1bp", "maker: 1", "maker: 1", "has no unit"),
        ("maker: 1bp", "maker: 15bp", "maker: 15bp", "above the taker fee"),
        ("maker: 1bp", "maker: -6bp", "maker: -6bp", "a round trip would earn"),
        ("taker: 4bp", "taker: 4%", "taker: 4%", "write basis points"),
        ("as_of: 2026-11-10", "as_of: November", "as_of: Nov", "is no date"),
        ("page, unverified: [tick]", "pag, unverified: [tick]", "{venue_symbol", "did you mean `page`"),
        ("unverified: [tick]", "unverified: [tik]", "{venue_symbol", "did you mean `tick`"),
        ("  ETH/USDT:USDT:\n", "  ETHUSDT:\n", "ETHUSDT", "is not a ccxt perpetual"),
        ("  ETH/USDT:USDT:\n", "  1000PEPE/USDT:USDT:\n", "1000PEPE", "write `coins_per_unit`"),
        ("interval: 8h", "interval: 3h", "interval: 3h", "write 1h, 2h, 4h or 8h"),
        ("deduction: $5k", "deduction: $6k", "{floor", "caps and rates give $5,000.00"),
        ("floor: $1m", "floor: $2m", "{floor", "leaves a gap or an overlap"),
        ("rate: 2%", "rate: 0.2%", "    tiers:\n", "rate"),
        ("cap: $5m, ", "", "    tiers:\n", "only the last tier may be without a cap"),
        ("cap: $5m", "cap_coins: 5", "    tiers:\n", "caps are in several units"),
        ("tiers: marginal", "tiers: whole_position", "    tiers:\n", "give the last a cap"),
        ("ETH/USDT:USDT]", "BTC/USDT:USDT]", "symbols:", "has tiers in `all` already"),
        ("max_leverage: 10x", "max_leverage: 30x", "    tiers:\n", "leverage"),
        ("contract_size: 0.01", "contract_size: 0", "{venue_symbol", "out of range"),
        ("{interval:", "{cap_rule: {multiple: 1x, of: maintenance, per: 8h}, interval:", "funding:", "them"),
    ],
)  # fmt: skip
def test_each_mistake_in_a_table_is_told_with_its_line(tmp_path, old, new, at, words):
    assert old in NOVA
    text = NOVA.replace(old, new, 1)
    found = problems(write_desk(tmp_path, nova=text))
    assert [message for _, message in found if words in message], found
    source = next(source for source, message in found if words in message)
    # Flow maps span lines: an entry stands on the line of its key.
    near = line_of(text, at)
    assert source.startswith("nova.yaml:")
    assert abs(int(source.rpartition(":")[2]) - near) <= 1


def test_a_table_that_is_not_there(tmp_path):
    path = write_desk(tmp_path)
    line = line_of(SCENARIO, "table: nova.yaml")
    found = problems(path, sets=["venues.nova.table=binanc"])
    assert found[0][0] == "--set"
    assert "there is no venue table `binanc`; did you mean `binance`?" in found[0][1]
    (tmp_path / "nova.yaml").unlink()
    assert problems(path) == [(f"scenario.yaml:{line}", "there is no file nova.yaml; check the path")]


def test_tables_that_extend_each_other_in_a_circle(tmp_path):
    path = write_desk(tmp_path, nova="extends: coinbay.yaml\n", coinbay="extends: nova.yaml\n")
    assert "in a circle" in problems(path)[0][1]


def test_without_a_table_fees_must_be_stated(tmp_path):
    scenario = SCENARIO.replace("    table: nova.yaml\n", "")
    assert [
        message for _, message in problems(write_desk(tmp_path, scenario=scenario)) if "nova.fees" in message
    ]


def test_one_symbol_in_two_tables_of_one_exchange_is_refused(tmp_path):
    (tmp_path / "twin.yaml").write_text("extends: nova.yaml\n")
    scenario = SCENARIO.replace(
        "instruments:\n", "  sub: {table: twin.yaml, account: sub, haircuts: {USDT: 0}}\ninstruments:\n"
    )
    with pytest.raises(DataError, match=r"nova BTC/USDT:USDT is in nova\.yaml and twin\.yaml"):
        read_tables(load_scenario(write_desk(tmp_path, scenario=scenario)))


def test_two_tables_share_an_exchange_when_their_symbols_differ(tmp_path):
    coin = COINBAY.replace("venue: coinbay", "venue: nova")
    scenario = SCENARIO.replace("table: coinbay.yaml", "table: coinbay.yaml\n    account: coin")
    tables = {
        name: text.replace(",coinbay,main,", ",nova,coin,").replace(",coinbay,", ",nova,")
        for name, text in TABLES.items()
    }
    scenario = scenario.replace(
        "symbols: all, leverage: 10x", "symbols: [BTC/USDT:USDT, ETH/USDT:USDT], leverage: 10x"
    )
    scenario = scenario.replace("symbols: all, leverage: 5x", "symbols: [BTC/USD:BTC], leverage: 5x")
    loaded, _, market = read(write_desk(tmp_path, coinbay=coin, scenario=scenario, **tables))
    assert [i.contract.kind for i in market.instruments] == ["linear", "linear", "inverse"]
    assert loaded.scenario.venues["coinbay"].exchange == "nova"


def test_the_daily_scenario_runs_on_shipped_tables():
    """The shipped snapshot states everything, so the tables only add what they say of venues."""
    daily = Path(__file__).parents[2] / "scenarios/daily.yaml"
    names = ("binance", "okx", "hyperliquid", "bybit")
    without, _, plain = read(daily)
    loaded, data, market = read(daily, *(f"venues.{name}.table={name}" for name in names))
    assert len(market.instruments) == len(plain.instruments)
    assert [i.contract for i in market.instruments] == [i.contract for i in plain.instruments]
    assert all(loaded.scenario.venues[name].fees == without.scenario.venues[name].fees for name in names)
    assert loaded.scenario.venues["okx"].margin.tiers == "whole_position"
    assert not any(use.cells or use.tiers for use in data.from_tables.values())
