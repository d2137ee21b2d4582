"""Reading: files and inline rows to typed tables, digests of contents, files that do not belong."""

import random
from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_snapshot import AS_OF, TABLES_CSV, write_snapshot

from allocator.errors import DataError
from allocator.snapshot.columns import TABLES, reference_markdown
from allocator.snapshot.read import read_snapshot


def problems_of(folder, inline=None, required=()):
    with pytest.raises(DataError) as caught:
        read_snapshot(folder, inline or {}, required)
    return caught.value.problems


def test_types_and_lines(tmp_path):
    data = read_snapshot(write_snapshot(tmp_path), {}, TABLES)
    instruments, prices = data.tables["instruments"], data.tables["prices"]
    assert instruments["tick"].tolist() == [
        Decimal("0.1"),
        Decimal("0.1"),
        Decimal("0.0000001"),
        Decimal("1"),
    ]
    assert instruments["coins_per_unit"].tolist() == [1, 1, 1000, 1]
    assert str(prices["time"].dtype) == "datetime64[us, UTC]"
    assert prices.index.tolist() == list(range(2, 10))
    assert data.tables["holdings"]["expected_time"].isna().tolist() == [True, False]
    assert data.newest == datetime(2026, 11, 20, tzinfo=UTC)
    assert data.sources["prices"] == "prices.csv"
    assert data.notes == ()


def test_offsets_become_utc_and_numbers_are_exact(tmp_path):
    text = "time,venue,symbol,price\n2026-11-20T09:00:00+09:00,index,BTC/USD,0.1\n"
    write_snapshot(tmp_path, {"prices": text})
    data = read_snapshot(tmp_path, {}, [])
    assert data.newest == datetime(2026, 11, 20, tzinfo=UTC)
    assert data.tables["prices"]["price"].tolist() == [0.1]


def test_jitter_of_settlement_times_is_rounded_and_noted(tmp_path):
    funding = TABLES_CSV["funding"].replace("2026-11-19T16:00:00Z,0.0001", "2026-11-19T15:59:59.993Z,0.0001")
    write_snapshot(tmp_path / "jitter", {**TABLES_CSV, "funding": funding})
    data = read_snapshot(tmp_path / "jitter", {}, TABLES)
    clean = read_snapshot(write_snapshot(tmp_path / "clean"), {}, TABLES)
    assert data.tables["funding"]["settlement_time"].dt.second.eq(0).all()
    assert [note.source for note in data.notes] == ["funding.csv"]
    assert data.digests == clean.digests


def test_header_only_accounts_are_fine(tmp_path):
    empty = {
        name: TABLES_CSV[name].splitlines()[0] + "\n"
        for name in ("positions", "holdings", "collateral", "books")
    }
    data = read_snapshot(write_snapshot(tmp_path, {**TABLES_CSV, **empty}), {}, TABLES)
    assert len(data.tables["positions"]) == 0


def test_missing_table_names_its_columns(tmp_path):
    write_snapshot(tmp_path / "snap", {"prices": TABLES_CSV["prices"]})
    problems = problems_of(tmp_path / "snap", required=["prices", "collateral"])
    assert [problem.source for problem in problems] == ["snap/"]
    assert "withdrawable_coins" in problems[0].message


def test_missing_column_says_what_it_means(tmp_path):
    text = TABLES_CSV["prices"].replace(",price\n", ",cost\n", 1)
    problems = problems_of(write_snapshot(tmp_path, {"prices": text}))
    assert {problem.source for problem in problems} == {"prices.csv:1"}
    assert any("column `price` is missing" in problem.message for problem in problems)
    assert any("unknown column `cost`" in problem.message for problem in problems)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("price.csv", "time\n", "did you mean `prices`"),
        ("Prices.csv", "time\n", "did you mean `prices`"),
        ("notes.csv", "time\n", "tables are instruments"),
        ("books.csv", "", "is empty"),
        ("books.csv", "time;venue;symbol\n", "comma"),
        ("books.csv", "time,time\n", "twice"),
        ("books.csv", 'time\n"unfinished\n', "not a csv file"),
        ("books.parquet", "no parquet", "not a parquet file"),
    ],
)
def test_files_that_do_not_belong(tmp_path, name, text, words):
    write_snapshot(tmp_path, {"prices": TABLES_CSV["prices"]})
    (tmp_path / name).write_text(text)
    assert any(name in problem.source and words in problem.message for problem in problems_of(tmp_path))


def test_two_files_of_one_table(tmp_path):
    data = read_snapshot(write_snapshot(tmp_path), {}, [])
    data.tables["prices"].to_parquet(tmp_path / "prices.parquet")
    (problem,) = problems_of(tmp_path)
    assert "keep one of the two files" in problem.message


def test_other_files_are_ignored(tmp_path):
    alone = read_snapshot(write_snapshot(tmp_path), {}, TABLES)
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / "raw").mkdir()
    beside = read_snapshot(tmp_path, {}, TABLES)
    assert beside.tables.keys() == alone.tables.keys() == set(TABLES)
    assert all(beside.tables[name].equals(table) for name, table in alone.tables.items())


def test_not_utf8_and_no_folder(tmp_path):
    (tmp_path / "prices.csv").write_bytes(b"time,venue\n\xff\xfe\n")
    assert "UTF-8" in problems_of(tmp_path)[0].message
    (alone,) = problems_of(tmp_path / "nowhere")
    assert "is not a folder" in alone.message


def test_unreadable_cells_are_counted(tmp_path):
    text = TABLES_CSV["prices"].replace("100010", "x").replace("99990", "x")
    (problem,) = problems_of(write_snapshot(tmp_path, {"prices": text}))
    assert problem.source == "prices.csv:7"
    assert problem.message.endswith("(and 1 more rows)")


def balance(venue, currency, coins, withdrawable_coins):
    cells = {"time": AS_OF, "venue": venue, "account": "main", "currency": currency}
    return cells | {"coins": coins, "withdrawable_coins": withdrawable_coins}


INLINE = [
    balance("okx", "USDT", 900_000, 400_000),
    balance("okx", "BTC", -2.0, 0),
    balance("hyperliquid", "USDC", 5e5, "100000"),
]


def test_inline_rows_replace_the_file_and_have_its_digest(tmp_path):
    from_file = read_snapshot(write_snapshot(tmp_path), {}, TABLES)
    data = read_snapshot(tmp_path, {"collateral": INLINE}, TABLES)
    assert data.sources["collateral"] == "inline"
    assert data.digests == from_file.digests
    alone = read_snapshot(None, {"collateral": INLINE}, ["collateral"])
    assert alone.digests["collateral"] == from_file.digests["collateral"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"coins": True}, "not a number"),
        ({"time": datetime(2026, 11, 20)}, "no time zone"),
        ({"venue": 3}, "not text"),
        ({"coins": float("nan")}, "a gap is not 0"),
        ({"withdrawable": 1}, "did you mean `withdrawable_coins`"),
    ],
)
def test_bad_inline_rows_are_named(change, words):
    rows = [INLINE[0], {**INLINE[1], **change}]
    problems = problems_of(None, {"collateral": rows})
    assert all(problem.source.startswith("snapshot.tables.collateral") for problem in problems)
    assert any(words in problem.message for problem in problems), problems


def test_unknown_inline_table():
    assert "did you mean `holdings`" in problems_of(None, {"holding": [], "collateral": INLINE})[0].message


@pytest.mark.parametrize("table", ["instruments", "prices", "funding", "holdings", "margin_tiers"])
def test_parquet_and_csv_of_equal_content_have_one_digest(tmp_path, table):
    data = read_snapshot(write_snapshot(tmp_path), {}, TABLES)
    frame = data.tables[table].reset_index(drop=True)
    decimals = [column.name for column in TABLES[table].columns if column.type == "decimal"]
    (tmp_path / f"{table}.csv").unlink()
    frame.astype(dict.fromkeys(decimals, float)).to_parquet(tmp_path / f"{table}.parquet")
    as_floats = read_snapshot(tmp_path, {}, TABLES)
    frame.astype(dict.fromkeys(decimals, str)).to_parquet(tmp_path / f"{table}.parquet")
    as_text = read_snapshot(tmp_path, {}, TABLES)
    assert data.digests == as_floats.digests == as_text.digests
    assert as_floats.sources[table] == f"{table}.parquet"


def test_parquet_faults_name_the_row(tmp_path):
    write_snapshot(tmp_path, {"instruments": TABLES_CSV["instruments"]})
    times = pd.to_datetime([AS_OF, AS_OF])
    good = {"time": times, "venue": "index", "symbol": ["BTC/USD", "ETH/USD"], "price": [1e5, 3e3]}
    for change, words in (
        ({"price": [1e5, -1.0]}, "price > 0"),
        ({"price": [1e5, float("nan")]}, "a gap is not 0"),
    ):
        pd.DataFrame({**good, **change}).to_parquet(tmp_path / "prices.parquet")
        (problem,) = problems_of(tmp_path)
        assert problem.source == "prices.parquet:2"
        assert words in problem.message
    pd.DataFrame({**good, "time": times.tz_localize(None)}).to_parquet(tmp_path / "prices.parquet")
    assert "no time zone" in problems_of(tmp_path)[0].message


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), spare=st.sampled_from(["", "\n", "\n\n"]))
def test_digest_ignores_row_order_but_no_value(tmp_path_factory, seed, spare):
    folder = tmp_path_factory.mktemp("snapshot")
    original = read_snapshot(write_snapshot(folder), {}, TABLES).digests
    shuffled = {}
    generator = random.Random(seed)
    for name, text in TABLES_CSV.items():
        head, *rows = text.splitlines()
        generator.shuffle(rows)
        shuffled[name] = "\n".join([head, *rows]) + "\n" + spare
    assert read_snapshot(write_snapshot(folder, shuffled), {}, TABLES).digests == original
    changed = {**TABLES_CSV, "prices": TABLES_CSV["prices"].replace("100010", "100010.000001")}
    assert read_snapshot(write_snapshot(folder, changed), {}, TABLES).digests["prices"] != original["prices"]


def test_column_order_and_notation_do_not_matter(tmp_path):
    original = read_snapshot(write_snapshot(tmp_path), {}, TABLES).digests
    frame = pd.read_csv(tmp_path / "prices.csv", dtype=str)
    frame["time"] = "2026-11-20T01:00+01:00"
    frame["price"] = [f"{float(price):.6e}" for price in frame["price"]]
    frame[["price", "symbol", "time", "venue"]].to_csv(tmp_path / "prices.csv", index=False)
    assert read_snapshot(tmp_path, {}, TABLES).digests == original


def test_reference_page_lists_every_column():
    page = reference_markdown()
    for table in TABLES.values():
        assert f"## {table.name}" in page
        for column in table.columns:
            assert f"| `{column.name}` |" in page
