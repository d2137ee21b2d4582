"""A small desk on disk: two coins, five perps (one inverse), three venues; tests spoil one thing in it."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from allocator import runs
from allocator.cli import main

ROOT = Path(__file__).parents[2]
AS_OF = "2026-11-20T00:00Z"
SYMBOLS = (
    ("okx", "BTC/USDT:USDT"),
    ("okx", "ETH/USDT:USDT"),
    ("binance", "BTC/USD:BTC"),
    ("hyperliquid", "BTC/USDC:USDC"),
    ("hyperliquid", "ETH/USDC:USDC"),
)
MARKS = (100030.5, 4001.2, 99990.0, 100010.0, 4000.0)

SCENARIO = """\
schema_version: 1
name: small
horizons: {decision: 24h, holding: 14d}
snapshot: {folder: tables}
book: {size: $5m}
venues:
  okx:
    fees: {maker: 2bp, taker: 5bp}
    haircuts: {USDT: 0}
    withdrawals: {USDT: {cost: 1bp, delay: 30m}}
  binance:
    fees: {maker: 2bp, taker: 5bp}
    haircuts: {BTC: 5%}
  hyperliquid:
    fees: {maker: 1.5bp, taker: 4.5bp}
    haircuts: {USDC: 0}
instruments:
  okx_perps: {venue: okx, symbols: all, leverage: 10x}
  coin_margined: {venue: binance, symbols: [BTC/USD:BTC], leverage: 5x}
  dex: {venue: hyperliquid, symbols: [BTC/USDC:USDC, ETH/USDC:USDC], leverage: 5x}
forecasts:
  assets: {method: given, daily_volatility: {BTC: 2.5%, ETH: 3.5%}, correlation: 0.8}
  basis: {method: given, level: 6bp, half_life: 2h}
  currencies: {daily_volatility: {USDT: 5bp, USDC: 4bp}}
  funding: {half_life: 3d, long_run: 1bp/8h, reversion: 7d}
objective:
  mode: utility
  risk_aversion_per_usd: 1.0e-5
  maker_share: 30%
  impact: {model: none}
limits:
  gross: {kind: gross, max: $9m}
stresses:
  crash: {move: -30%}
orders: {collar: 10bp}
overlays:
  calm: {objective: {risk_aversion_per_usd: 1.0e-6}}
"""


def _rows(pattern: str, values: Sequence[Sequence[object]]) -> str:
    return "".join(pattern.format(*row) + "\n" for row in values)


def _perps(pattern: str) -> str:
    return _rows(pattern, [(AS_OF, *key, mark) for key, mark in zip(SYMBOLS, MARKS, strict=True)])


def _settlements(hours: int) -> list[str]:
    """The last sixteen, the newest at as_of."""
    last = datetime(2026, 11, 20)
    return [f"{last - k * timedelta(hours=hours):%Y-%m-%dT%H:%MZ}" for k in reversed(range(16))]


_HEAD = "time,venue,symbol"
TABLES: Mapping[str, str] = {
    "instruments": f"""\
{_HEAD},venue_symbol,kind,asset,index_currency,settlement_currency,contract_size,lot_contracts,tick,\
min_contracts,min_notional_usd,coins_per_unit,funding_interval_hours,funding_cap,half_spread,adv_usd
{AS_OF},okx,BTC/USDT:USDT,BTC-USDT-SWAP,linear,BTC,USDT,USDT,0.01,0.01,0.1,0.01,0,1,8,0.00375,0.000002,9e9
{AS_OF},okx,ETH/USDT:USDT,ETH-USDT-SWAP,linear,ETH,USDT,USDT,0.1,0.01,0.01,0.01,0,1,8,0.00375,0.00001,5e9
{AS_OF},binance,BTC/USD:BTC,BTCUSD_PERP,inverse,BTC,USD,BTC,100,1,0.1,1,0,1,8,0.003,0.000002,2e9
{AS_OF},hyperliquid,BTC/USDC:USDC,BTC,linear,BTC,USDC,USDC,1,0.00001,1,0.00001,10,1,1,0.04,0.00001,3e9
{AS_OF},hyperliquid,ETH/USDC:USDC,ETH,linear,ETH,USDC,USDC,1,0.0001,0.1,0.0001,10,1,1,0.04,0.00002,2e9
""",
    "prices": f"""\
{_HEAD},price
{AS_OF},index,BTC/USD,100000
{AS_OF},index,ETH/USD,4000
{AS_OF},index,USDT/USD,0.9998
{AS_OF},index,USDC/USD,1
{_perps("{0},{1},{2},{3}")}""",
    "funding": f"{_HEAD},settlement_time,rate,interval_hours\n"
    + "".join(
        f"{time},{venue},{symbol},{time},{rate},{hours}\n"
        for venue, symbol, rate, hours in (
            ("okx", "BTC/USDT:USDT", "0.0001", 8),
            ("okx", "ETH/USDT:USDT", "0.00008", 8),
            ("binance", "BTC/USD:BTC", "0.0001", 8),
            ("hyperliquid", "BTC/USDC:USDC", "0.0000125", 1),
            ("hyperliquid", "ETH/USDC:USDC", "0.0000125", 1),
        )
        for time in _settlements(hours)
    ),
    "books": f"{_HEAD},side,level,price,size_contracts\n"
    + "".join(
        f"{AS_OF},{venue},{symbol},{side},{level},{price:.10g},{size}\n"
        for (venue, symbol), mark, tick, size in zip(
            SYMBOLS, MARKS, (0.1, 0.01, 0.1, 1, 0.1), (5000, 20000, 9000, 60, 900), strict=True
        )
        for side, sign in (("bid", -1), ("ask", 1))
        for level, price in ((1, mark + sign * tick), (2, mark + sign * 30 * tick))
    ),
    "margin_tiers": f"{_HEAD},tier,floor_usd,cap_usd,maintenance_margin_rate,deduction_usd,max_leverage\n"
    + _perps("{0},{1},{2},1,0,1000000,0.004,0,100")
    + _perps("{0},{1},{2},2,1000000,50000000,0.01,6000,50"),
    "holdings": f"""\
time,name,kind,asset,coins,confidence,expected_time
{AS_OF},treasury,spot,BTC,30,1,
{AS_OF},staked,staked,ETH,300,1,
{AS_OF},block,anticipated,BTC,5,0.5,2026-11-21T00:00Z
""",
    "positions": f"""\
time,venue,account,symbol,contracts,entry_price,open_buy_contracts,open_sell_contracts
{AS_OF},okx,main,BTC/USDT:USDT,-1250.5,98000,0,10
{AS_OF},hyperliquid,main,BTC/USDC:USDC,-2.5,99000,0,0
{AS_OF},hyperliquid,main,ETH/USDC:USDC,10,3990,0,0
""",
    "collateral": f"""\
time,venue,account,currency,coins,withdrawable_coins
{AS_OF},okx,main,USDT,900000,400000
{AS_OF},binance,main,BTC,4,0
{AS_OF},hyperliquid,main,USDC,500000,0
""",
}


def swap(text: str, *pairs: tuple[str, str]) -> str:
    """Replace each old by its new; an old that is not there is a mistake of the test."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def write_desk(
    folder: Path, scenario: str = SCENARIO, tables: Mapping[str, str | None] | None = None
) -> Path:
    """The scenario file and its tables; a table given as None is left out."""
    (folder / "tables").mkdir(parents=True)
    for name, text in {**TABLES, **(tables or {})}.items():
        if text is not None:
            (folder / "tables" / f"{name}.csv").write_text(text)
    path = folder / "small.yaml"
    path.write_text(scenario)
    return path


@dataclass(frozen=True)
class Outcome:
    """What a command returned and said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output as JSON."""
        found: dict[str, Any] = json.loads(self.out, parse_constant=_no_constant)
        return found

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Standard output as a JSON list."""
        found: list[dict[str, Any]] = json.loads(self.out, parse_constant=_no_constant)
        return found


def _no_constant(name: str) -> float:
    raise AssertionError(f"{name} in JSON")


Hedge = Callable[..., Outcome]


def in_process(capsys: pytest.CaptureFixture[str]) -> Hedge:
    """`hedge` as a function in this process."""

    def hedge(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return hedge


def spawn(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """`hedge` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "allocator.cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def finish(process: subprocess.Popen[str]) -> Outcome:
    """Wait for a process."""
    out, err = process.communicate(timeout=120)
    return Outcome(process.returncode, out, err)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a csv file."""
    return list(csv.DictReader(io.StringIO(path.read_text())))


def only_run(out: Path) -> Path:
    """The one run folder; reports lie beside it."""
    (folder,) = (path for path in out.iterdir() if path.is_dir())
    return folder


def interrupt_writing(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let a run's writing be interrupted once so many of its files are there."""
    written, right = [], runs._write_durably

    def interrupted(path: Path, text: str) -> None:
        right(path, text)
        written.append(path)
        if len(written) == after:
            raise KeyboardInterrupt

    monkeypatch.setattr(runs, "_write_durably", interrupted)
