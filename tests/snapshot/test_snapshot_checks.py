"""Bad tables seen in the wild: each is refused with its file, its line, and what to write instead."""

# One bad table per line reads best:
# ruff: noqa: E501

import pytest
from small_snapshot import AS_OF, TABLES_CSV, write_snapshot

from allocator.errors import DataError, Problem
from allocator.snapshot.columns import TABLES
from allocator.snapshot.read import read_snapshot


def problems_of(folder, tables=None) -> tuple[Problem, ...]:
    with pytest.raises(DataError) as caught:
        read_snapshot(write_snapshot(folder, tables), {}, TABLES)
    return caught.value.problems


# id, table, text replaced, its replacement, source expected, words expected in the message
BAD = [
    # cells
    ("nan is not zero", "funding", "0.00012,8", ",8", "funding.csv:4", ["`rate` is empty", "a gap is not 0"]),
    ("nan spelled out", "funding", "0.00012,8", "NaN,8", "funding.csv:4", ["`rate`", "NaN", "a gap is not 0"]),
    ("infinite", "prices", "100010", "inf", "prices.csv:9", ["`price`", "not finite"]),
    ("percent text", "funding", "0.00012,8", "0.012%,8", "funding.csv:4", ["cannot read '0.012%'", "plain number"]),
    ("thousands", "prices", "100010", '"100,010"', "prices.csv:9", ["cannot read '100,010'"]),
    ("naive time", "holdings", f"{AS_OF},treasury", "2026-11-20T00:00:00,treasury", "holdings.csv:2", ["no time zone", "2026-11-20T00:00:00Z"]),
    ("not a time", "holdings", f"{AS_OF},treasury", "yesterday,treasury", "holdings.csv:2", ["ISO-8601"]),
    ("fractional whole number", "books", "bid,2", "bid,2.5", "books.csv:3", ["`level`", "whole number"]),
    ("unknown kind", "holdings", "spot", "spott", "holdings.csv:2", ["did you mean `spot`"]),
    ("unknown column", "positions", "entry_price", "entry_prise", "positions.csv:1", ["unknown column `entry_prise`", "did you mean `entry_price`"]),
    ("ragged row", "prices", "100010", "100010,1", "prices.csv:9", ["5 cells under 4 columns"]),
    # instruments
    ("contract size zero", "instruments", "USDT,USDT,0.01,", "USDT,USDT,0,", "instruments.csv:2", ["`contract_size` is 0"]),
    ("interval not a venue's", "instruments", "0,1,8,0.00375", "0,1,6,0.00375", "instruments.csv:2", ["1, 2, 4 or 8"]),
    ("cap in percent", "instruments", "0.00375", "0.375", "instruments.csv:2", ["`funding_cap`", "0.003 for 0.3 %"]),
    ("half spread in bp", "instruments", "0.000002,9e9", "0.2,9e9", "instruments.csv:2", ["`half_spread`", "0.0001 for 1 bp"]),
    ("inverse settled in quote", "instruments", "inverse,BTC,USD,BTC", "inverse,BTC,USD,USD", "instruments.csv:3", ["settles in its own coin"]),
    ("linear settled in coin", "instruments", "inverse,BTC,USD,BTC", "linear,BTC,USD,BTC", "instruments.csv:3", ["write kind inverse"]),
    ("symbol against columns", "instruments", "linear,BTC,USDC,USDC", "linear,ETH,USDC,USDC", "instruments.csv:5", ["base `BTC`", "asset `ETH`"]),
    ("thousand coins", "instruments", "5,1000,4", "5,1,4", "instruments.csv:4", ["base `1000PEPE`", "write PEPE"]),
    ("not a ccxt symbol", "instruments", "BTC/USD:BTC,BTCUSD_PERP", "BTCUSD,BTCUSD_PERP", "instruments.csv:3", ["BASE/QUOTE:SETTLE"]),
    # prices
    ("zero price", "prices", "100010", "0", "prices.csv:9", ["write a price > 0"]),
    ("reference not in usd", "prices", "PEPE/USD,", "PEPE/USDT,", "prices.csv:3", ["not in USD", "COIN/USD"]),
    ("mark of one coin", "prices", "0.01001", "0.00001001", "prices.csv:8", ["0.001", "coins_per_unit 1 "]),
    ("mark of another coin", "prices", "100030.5", "3400", "prices.csv:6", ["times its index price"]),
    ("inverse mark far off", "prices", "99990", "0.00001", "prices.csv:7", ["BTC/USD:BTC", "times its index price"]),
    ("duplicate price", "prices", f"{AS_OF},hyperliquid", f"{AS_OF},okx,BTC/USDT:USDT,1e5\n{AS_OF},hyperliquid", "prices.csv:9", ["a second row"]),
    # funding
    ("beyond the cap", "funding", "0.00012,8", "0.012,8", "funding.csv:4", ["beyond its funding_cap 0.00375"]),
    ("not on the hour", "funding", "2026-11-19T16:00:00Z,0.0001", "2026-11-19T16:30:00Z,0.0001", "funding.csv:3", ["not on the hour"]),
    ("gap as an interval", "funding", "0.00012,8", "0.00012,16", "funding.csv:4", ["interval_hours is 16"]),
    ("far indication", "funding", "2026-11-20T08:00:00Z,0.0001", "2026-11-20T16:00:00Z,0.0001", "funding.csv:5", ["only the running interval"]),
    ("settled twice", "funding", "2026-11-19T16:00:00Z,okx,BTC/USDT:USDT,2026-11-19T16:00:00Z", "2026-11-19T16:00:00Z,okx,BTC/USDT:USDT,2026-11-19T08:00:00Z", "funding.csv:3", ["settles twice"]),
    ("unknown symbol", "funding", "okx,BTC/USDT:USDT,2026-11-19T08", "okx,BTC/USDT:USD,2026-11-19T08", "funding.csv:2", ["no row in instruments", "did you mean `okx BTC/USDT:USDT`"]),
    # books
    ("crossed book", "books", "100030.4", "100030.7", "books.csv:2", ["is crossed"]),
    ("locked book", "books", "100030.4", "100030.6", "books.csv:2", ["is locked"]),
    ("zero size", "books", "100030.3,300", "100030.3,0", "books.csv:3", ["size_contracts is 0"]),
    ("level missing", "books", "ask,2", "ask,3", "books.csv:4", ["ask levels are 1, 3"]),
    ("levels out of order", "books", "100030.9", "100030.5", "books.csv:5", ["ask prices rise"]),
    ("one side", "books", f"{AS_OF},okx,BTC/USDT:USDT,ask,1,100030.6,90\n{AS_OF},okx,BTC/USDT:USDT,ask,2,100030.9,400\n", "", "books.csv:2", ["has no ask"]),
    # margin tiers
    ("tiers not from 0", "margin_tiers", "1,0,300000", "1,100,300000", "margin_tiers.csv:2", ["okx BTC/USDT:USDT"]),
    ("gap between tiers", "margin_tiers", "2,300000,800000", "2,400000,800000", "margin_tiers.csv:", ["okx BTC/USDT:USDT"]),
    ("rates fall", "margin_tiers", "0.0065,1500", "0.0045,1500", "margin_tiers.csv:4", ["rate"]),
    ("wrong deduction", "margin_tiers", "0.0065,1500", "0.0065,1600", "margin_tiers.csv:4", ["1,500"]),
    ("leverage 0", "margin_tiers", "1500,75", "1500,0", "margin_tiers.csv:4", ["leverage"]),
    ("tier missing", "margin_tiers", "USDT,2,300000", "USDT,4,300000", "margin_tiers.csv:2", ["tiers are 1, 3, 4"]),
    # accounts
    ("confidence in percent", "holdings", "5,0.5,", "5,50,", "holdings.csv:3", ["fraction from 0 to 1"]),
    ("doubtful spot", "holdings", "BTC,40,1,", "BTC,40,0.9,", "holdings.csv:2", ["spot with confidence 0.9"]),
    ("anticipated without date", "holdings", "2026-11-21T00:00:00Z", "", "holdings.csv:3", ["without expected_time"]),
    ("anticipated in the past", "holdings", "2026-11-21T00:00:00Z", "2026-11-19T00:00:00Z", "holdings.csv:3", ["before its own time"]),
    ("spot with date", "holdings", "BTC,40,1,", "BTC,40,1,2026-11-21T00:00:00Z", "holdings.csv:2", ["leave it empty"]),
    ("coins for contracts", "positions", "-1250.5", "-12.505", "positions.csv:2", ["not a multiple of its lot", "contracts, not coins"]),
    ("negative resting order", "positions", "98000,0,10", "98000,0,-10", "positions.csv:2", ["open_sell_contracts is -10"]),
    ("no entry price", "positions", "-2.5,99000", "-2.5,0", "positions.csv:3", ["entry_price is 0"]),
    ("more withdrawable than held", "collateral", "900000,400000", "900000,950000", "collateral.csv:2", ["more than the balance"]),
    ("loan withdrawable", "collateral", "BTC,-2,0", "BTC,-2,1", "collateral.csv:3", ["more than the balance of -2"]),
    ("currency without price", "collateral", "main,USDC", "main,USDE", "collateral.csv:4", ["no reference price", "USDE/USD"]),
    ("account under water", "collateral", "BTC,-2,0", "BTC,-20,0", "collateral.csv:2", ["cannot owe more than it holds"]),
    ("two spellings of a venue", "collateral", "hyperliquid", "Hyperliquid", "collateral.csv:4", ["`hyperliquid` elsewhere", "one spelling"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "old", "new", "source", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_bad_table_is_refused_with_line_and_remedy(tmp_path, table, old, new, source, words):
    assert old in TABLES_CSV[table], "the test replaces text that is not there"
    spoiled = {**TABLES_CSV, table: TABLES_CSV[table].replace(old, new, 1)}
    problems = problems_of(tmp_path, spoiled)
    matching = [
        p for p in problems if p.source.startswith(source) and all(word in p.message for word in words)
    ]
    assert matching, "\n".join(map(str, problems))


def test_the_small_snapshot_itself_is_sound(tmp_path):
    assert set(read_snapshot(write_snapshot(tmp_path), {}, TABLES).tables) == set(TABLES)


def test_all_problems_come_at_once(tmp_path):
    spoiled = {
        **TABLES_CSV,
        "prices": TABLES_CSV["prices"].replace("100010", "-1"),
        "books": TABLES_CSV["books"].replace("100030.4", "100030.7"),
        "holdings": TABLES_CSV["holdings"].replace("5,0.5,", "5,2,"),
    }
    sources = {problem.source for problem in problems_of(tmp_path, spoiled)}
    assert {"prices.csv:9", "books.csv:2", "holdings.csv:3"} <= sources


def series(hours, interval, rate="0.0001", venue="okx BTC/USDT:USDT"):
    """Settlements at whole hours after 2026-11-01."""
    name = venue.replace(" ", ",")
    stamps = [f"2026-11-{1 + hour // 24:02d}T{hour % 24:02d}:00:00Z" for hour in hours]
    steps = interval if isinstance(interval, list) else [interval] * len(stamps)
    return "time,venue,symbol,settlement_time,rate,interval_hours\n" + "".join(
        f"{stamp},{name},{stamp},{rate},{step}\n" for stamp, step in zip(stamps, steps, strict=True)
    )


@pytest.mark.parametrize("start", [0, 4])
def test_settlement_clocks_of_venues_pass(tmp_path, start):
    hours = range(start, start + 80, 8)
    data = read_snapshot(write_snapshot(tmp_path, {**TABLES_CSV, "funding": series(hours, 8)}), {}, TABLES)
    settled = data.tables["funding"]["settlement_time"]
    assert [(t.day - 1) * 24 + t.hour for t in settled] == list(hours)


def test_local_time_stamped_as_utc_is_refused(tmp_path):
    funding = series(range(3, 83, 8), 8)
    (problem,) = problems_of(tmp_path, {**TABLES_CSV, "funding": funding})
    assert problem.source == "funding.csv:2"
    assert "03/11/19" in problem.message
    assert "write UTC, not local time" in problem.message


def test_a_clock_that_shifts_within_a_series_is_refused(tmp_path):
    funding = series([0, 8, 16, 28, 36, 44], 8)
    (problem,) = problems_of(tmp_path, {**TABLES_CSV, "funding": funding})
    assert problem.source == "funding.csv:5"
    assert "one series has one clock" in problem.message


def test_interval_changes_and_gaps_are_legitimate(tmp_path):
    # 8 h, then a missing day, then 4 h, then hourly, then back: every interval is that of its own settlement.
    hours = [0, 8, 40, 44, 48, 49, 50, 56, 64]
    intervals = [8, 8, 8, 4, 4, 1, 1, 4, 8]
    funding = series(hours, intervals)
    data = read_snapshot(write_snapshot(tmp_path, {**TABLES_CSV, "funding": funding}), {}, TABLES)
    assert data.tables["funding"]["interval_hours"].tolist() == intervals


@pytest.mark.parametrize("hours", [[1, 2, 3, 5, 6], [0, 1, 2, 4, 5]])
def test_hours_since_the_last_print_are_not_an_interval(tmp_path, hours):
    funding = series(hours, [1, 1, 1, 2, 1], venue="hyperliquid BTC/USDC:USDC")
    (problem,) = problems_of(tmp_path, {**TABLES_CSV, "funding": funding})
    assert problem.source == "funding.csv:5"
    assert "write 1, a gap is not an interval" in problem.message


def test_hourly_payments_labelled_as_eight_hourly_are_refused(tmp_path):
    funding = series(range(0, 40), 8, "0.0001", venue="hyperliquid BTC/USDC:USDC")
    (problem,) = problems_of(tmp_path, {**TABLES_CSV, "funding": funding})
    assert problem.source == "funding.csv:3"
    assert "settles 1 h after the settlement before, but interval_hours is 8" in problem.message


@pytest.mark.parametrize("rate", ["0.01", "0.003"])
def test_percent_stored_as_fractions_is_refused(tmp_path, rate):
    instruments = TABLES_CSV["instruments"].replace(
        "0.00375", "0.02"
    )  # within the cap, so only the shape tells
    funding = series(range(0, 160, 8), 8, rate)
    (problem,) = problems_of(tmp_path, {**TABLES_CSV, "instruments": instruments, "funding": funding})
    assert problem.source == "funding.csv:2"
    assert "look like percent" in problem.message


def test_a_single_hot_coin_is_not_taken_for_percent(tmp_path):
    # Two calm perpetuals beside a hot one on the same venue: 30 bp per 8 h is real for single coins.
    funding = series(range(0, 160, 8), 8, "0.003")
    instruments = TABLES_CSV["instruments"]
    for quote in ("USDC", "USDG"):
        instruments += f"{AS_OF},okx,BTC/{quote}:{quote},BTC-{quote}-SWAP,linear,BTC,{quote},{quote},0.01,0.01,0.1,0.01,0,1,8,0.00375,0.000002,9e9\n"
        funding += series(range(0, 160, 8), 8, "0.0001", f"okx BTC/{quote}:{quote}").split("\n", 1)[1]
    tables = {**TABLES_CSV, "instruments": instruments, "funding": funding}
    data = read_snapshot(write_snapshot(tmp_path, tables), {}, TABLES)
    assert data.tables["funding"].groupby("symbol")["rate"].agg(["count", "max"]).values.tolist() == [
        [20, 0.0001],
        [20, 0.0001],
        [20, 0.003],
    ]


def history(mark_moves, index_moves):
    rows = ["time,venue,symbol,price"]
    for hour in range(20):
        stamp = f"2026-11-19T{hour:02d}:00:00Z"
        index = 100_000 * (1 + 0.002 * hour * index_moves)
        rows += [f"{stamp},index,BTC/USD,{index}", f"{stamp},index,USDT/USD,1"]
        rows.append(f"{stamp},okx,BTC/USDT:USDT,{100_010 * (1 + 0.002 * hour * mark_moves)}")
    return {**TABLES_CSV, "prices": "\n".join([*rows, f"{AS_OF},index,USDC/USD,1"]) + "\n"}


def test_a_stuck_feed_is_refused_only_while_the_index_moves(tmp_path):
    tables = history(mark_moves=False, index_moves=True)
    (problem,) = problems_of(tmp_path / "stuck", tables)
    assert problem.source == "prices.csv:61"
    assert "has not changed for 20 rows" in problem.message
    for name, moves in (("calm", False), ("moving", True)):
        data = read_snapshot(write_snapshot(tmp_path / name, history(moves, moves)), {}, TABLES)
        prices = data.tables["prices"]
        assert len(prices) == 61
        assert prices.loc[prices["symbol"] == "BTC/USDT:USDT", "price"].nunique() == (20 if moves else 1)


def test_one_wild_hour_in_the_past_is_a_fact(tmp_path):
    tables = history(mark_moves=True, index_moves=True)
    lines = tables["prices"].splitlines()
    row = next(number for number, line in enumerate(lines) if "T05:" in line and "okx" in line)
    lines[row] = lines[row].rsplit(",", 1)[0] + ",80000"
    wild = {**tables, "prices": "\n".join(lines) + "\n"}
    data = read_snapshot(write_snapshot(tmp_path, wild), {}, TABLES)
    assert data.tables["prices"]["price"].eq(80_000).sum() == 1
