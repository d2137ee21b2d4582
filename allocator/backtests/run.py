"""A whole backtest: the history, every strategy over it, what came out, and as files."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from allocator.allocation import read_tables
from allocator.backtests.breakdown import breakdowns, by_kind
from allocator.backtests.calibration import Calibration, calibrations, warnings
from allocator.backtests.decide import Strategy
from allocator.backtests.engine import Span, walk_all
from allocator.backtests.gaps import far_prices, funding_gaps, price_gaps, told
from allocator.backtests.known import Records
from allocator.backtests.rails import Rails
from allocator.backtests.rivals import strategies
from allocator.backtests.select import Selection, candidates, select
from allocator.backtests.series import daily_series
from allocator.backtests.summary import Difference, Summary, differences, summarise
from allocator.backtests.tape import Tape
from allocator.backtests.walks import Walk
from allocator.errors import DataError, Problem, ScenarioError
from allocator.result import SCHEMA_VERSION, Json, number, usd
from allocator.scenario.load import LoadedScenario, load_scenario
from allocator.snapshot.read import SnapshotData

_FEW = 10  # days, for which nothing is compared
PRIMARY = "allocator"  # whose differences to all others are stated


@dataclass(frozen=True)
class Backtest:
    """Every strategy over one history. `synthetic` says that the history was drawn, not recorded."""

    scenario: LoadedScenario
    span: Span
    walks: tuple[Walk, ...]
    synthetic: bool
    selection: Selection | None = None
    margin_checked_on: str = "closes"
    notices: tuple[str, ...] = ()

    @cached_property
    def summaries(self) -> list[Summary]:
        """One per strategy."""
        return summarise(self.walks, self.scenario.scenario.horizons.decision)

    @cached_property
    def differences(self) -> list[Difference]:
        """The first strategy against every other, with 95 % intervals; none over less than ten days."""
        stated = self.scenario.scenario.backtest
        return differences(self.walks, self.walks[0].name, stated.draws, stated.seed)

    @cached_property
    def calibrations(self) -> list[Calibration]:
        """What each strategy's decisions predicted against what came of them."""
        stated = self.scenario.scenario.backtest
        hours = self.scenario.scenario.horizons.decision
        return calibrations(self.walks, hours, stated.draws, stated.seed)

    @property
    def status(self) -> str:
        """``optimal``, or ``some_failed`` where decisions of the first strategy had no answer."""
        answered = all(choice.status == "optimal" for choice in self.walks[0].choices)
        return "optimal" if answered else "some_failed"

    @property
    def result(self) -> Json:
        """What `result.json` of a backtest holds.

        `margin_checked_on` is ``closes``, ``extremes`` (of each bar) or ``extremes where recorded``.

        `status` is ``some_failed`` where decisions of the first strategy had no answer, else ``optimal``.
        `strategies` are `Summary`, `differences` `Difference` of the first against each other, `liquidations`
        the bars at which an account fell below its maintenance margin. `decisions_by_cause` counts those that
        the clock and each event called for, `unanswered` are those without an answer or without data, which
        left everything as it was, and why. `daily` holds for each strategy the
        lists `time` (end of each day), `wealth_usd`, `pnl_usd`, `net_delta_usd` (sum of absolute net deltas),
        and `margin_use`, the day's largest maintenance margin over equity at any venue (null where equity is
        gone or nothing was held). `breakdowns` holds the flows in USD of each strategy `by` coin, venue and
        month, whose `total_usd` add up to the change in wealth. `calibration` are `Calibration` of each
        strategy and model, `warnings` a sentence for each model that is off in the current regime, and for
        funding or prices that are missing and for a walk too short for its figures;
        `selection` is `Selection.result`, null without `backtest.select`. Every bar is in the Parquet tables.
        """
        return {
            "schema_version": SCHEMA_VERSION,
            "scenario": self.scenario.scenario.name,
            "status": self.status,
            "synthetic": self.synthetic,
            "start": _stamp(self.walks[0].times[0]),
            "end": _stamp(self.walks[0].times[-1]),
            "every_hours": self.span.every / pd.Timedelta("1h"),
            "margin_checked_on": self.margin_checked_on,
            "daily": daily_series(self.walks),
            "breakdowns": breakdowns(self.walks),
            "calibration": [_rounded(asdict(found)) for found in self.calibrations],
            "warnings": [*self.notices, *_short(self.summaries[0].days), *warnings(self.calibrations)],
            "selection": None if self.selection is None else self.selection.result,
            "strategies": [_rounded(asdict(summary)) for summary in self.summaries],
            "differences": [_rounded(asdict(difference)) for difference in self.differences],
            "decisions_by_cause": {w.name: dict(Counter(c.cause for c in w.choices)) for w in self.walks},
            "unanswered": [
                {"strategy": w.name, "time": _stamp(choice.time), "status": choice.status}
                | {"message": choice.message}
                for w in self.walks
                for choice in w.choices
                if choice.status != "optimal"
            ],
            "liquidations": [
                {"strategy": w.name, "time": _stamp(bar.time), "venue": bar.venue}
                | {
                    "equity_usd": usd(bar.equity_usd),
                    "maintenance_margin_usd": usd(bar.maintenance_margin_usd),
                    "gross_usd": usd(bar.gross_usd),
                }
                for w in self.walks
                for bar in w.liquidations
            ],
        }

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        from allocator.report.brief import of_backtest

        return of_backtest(self.result)

    def tables(self) -> dict[str, pd.DataFrame]:
        """`wealth`, `ledger`, `positions`, `venues`, `decisions`, `rejected`, `flows`, each by `strategy`.

        `flows` is the ledger by month, venue, coin and kind; `venues` every account with positions at every
        bar: equity_usd, maintenance_margin_usd, gross_usd.
        """
        return {
            "wealth": _joined({w.name: _wealth(w) for w in self.walks}),
            "ledger": _joined({w.name: w.ledger.frame() for w in self.walks}),
            "positions": _joined({w.name: w.positions for w in self.walks}),
            "venues": _joined({w.name: pd.DataFrame([asdict(bar) for bar in w.venues]) for w in self.walks}),
            "flows": _joined({w.name: by_kind(w) for w in self.walks}),
            "rejected": _joined({w.name: pd.DataFrame([asdict(r) for r in w.rejected]) for w in self.walks}),
            "decisions": _joined({w.name: pd.DataFrame([asdict(c) for c in w.choices]) for w in self.walks}),
        }


def _wealth(walked: Walk) -> pd.DataFrame:
    frame = pd.DataFrame({"time": walked.times, "wealth_usd": walked.wealth})
    deltas = walked.delta.reset_index(drop=True).add_prefix("net_delta_usd.")
    return pd.concat([frame, deltas], axis=1)


def _short(days: int) -> list[str]:
    """What to say of a walk too short for its figures."""
    if days >= _FEW:
        return []
    return [f"{days} whole days are few: volatilities, effectiveness and ratios may be far off"]


def _joined(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables of all strategies with the name of each; the columns stay where there is no row."""
    named = [frame.assign(strategy=name) for name, frame in frames.items() if len(frame.columns)]
    rows = [frame for frame in named if len(frame)]
    if not named:
        return pd.DataFrame({"strategy": []})
    return pd.concat(rows, ignore_index=True) if rows else named[0]


def _stamp(time: pd.Timestamp) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _rounded(values: Mapping[str, Any]) -> Json:
    """Plain numbers; what is not finite is null."""
    return {
        key: number(value)
        if isinstance(value, float)
        else [number(float(v)) for v in value]
        if isinstance(value, tuple)
        else value
        for key, value in values.items()
    }


def history(loaded: LoadedScenario) -> tuple[SnapshotData, bool]:
    """The snapshot to walk over, and whether its past is synthetic. Raises `DataError`."""
    tables = read_tables(loaded)
    wanted = loaded.scenario.backtest.simulate
    if wanted is None:
        return tables, False
    from allocator.backtests.simulate import simulated
    from allocator.market.build import build_market

    return simulated(tables, build_market(loaded, tables), wanted.days, wanted.seed), True


def span_of(loaded: LoadedScenario, tape: Tape) -> Span:
    """The bars to walk.

    Raises `DataError` where the history is too short for a single decision and a day, or ends before the
    walk, `ScenarioError` where decisions come faster than their orders fill.
    """
    stated, times = loaded.scenario.backtest, tape.times
    start = times[0] + pd.Timedelta(hours=stated.warm_up)
    if stated.start is not None:
        start = pd.Timestamp(stated.start).tz_convert("UTC")
    end = times[-1] if stated.end is None else pd.Timestamp(stated.end).tz_convert("UTC")
    if end > times[-1]:
        message = (
            f"the prices end at {_stamp(times[-1])}: mend backtest.end, or leave it out to walk to there"
        )
        raise DataError([Problem(loaded.origin("backtest.end"), message)])
    every = pd.Timedelta(hours=stated.every or loaded.scenario.horizons.decision)
    execution = loaded.scenario.horizons.execution
    if every < pd.Timedelta(hours=execution):
        key = "horizons.decision" if stated.every is None else "backtest.every"
        message = (
            f"{key} of {every / pd.Timedelta('1h'):g} h is less than horizons.execution of {execution:g} h: "
            "each decision would take the place of orders that have not filled; write at least "
            f"{execution:g}h"
        )
        raise ScenarioError([Problem(loaded.origin(key), message)])
    if end <= start and stated.end is not None:
        message = f"backtest.end, {_stamp(end)}, does not lie after the first decision at {_stamp(start)}"
        raise ScenarioError([Problem(loaded.origin("backtest.end"), message)])
    first, last = int(times.searchsorted(start, "left")), int(times.searchsorted(end, "right"))
    if last - first < 2 or first == 0:
        message = (
            f"from {_stamp(start)} to {_stamp(end)} there are {max(last - first, 0)} prices with a past; "
            f"the table goes from {_stamp(times[0])} to {_stamp(times[-1])}: "
            "mend backtest.start, backtest.end or backtest.warm_up"
        )
        raise DataError([Problem(loaded.origin("backtest"), message)])
    for name in ("instruments", "margin_tiers"):
        known = tape.snapshot.tables[name]["time"].min()
        if known > times[first]:
            message = (
                f"{name} are known from {_stamp(known)} on, after the first decision at "
                f"{_stamp(times[first])}: date their rows when they began to hold, start later, or walk a "
                "synthetic history with backtest.simulate"
            )
            raise DataError([Problem(tape.snapshot.sources.get(name, name), message)])
    return Span(start, end, every)


def backtest(
    scenario: LoadedScenario | Path | str,
    rivals: Mapping[str, Strategy] | None = None,
    progress: Callable[[str, int], Callable[[int], None]] | None = None,
) -> Backtest:
    """Walk a scenario's strategies, and any `rivals` of your own by name, over its history.

    A rival is any function from a `Moment` (market, tape, row) to a `Decision`. `progress` is called with a
    name and a number of bars and returns what to call with each number of bars that were walked. Raises
    `DataError` where the history is too short or lacks funding or prices, `ScenarioError` where its
    `backtest` section contradicts itself.
    """
    loaded = scenario if isinstance(scenario, LoadedScenario) else load_scenario(scenario)
    snapshot, synthetic = history(loaded)
    tape = Tape.of(snapshot)
    span = span_of(loaded, tape)
    notices = _missing(loaded, tape, span)
    candidates(loaded)  # what is wrong with one is said before anything is walked
    venues = list(loaded.scenario.venues)
    known = strategies(venues)
    chosen: dict[str, Strategy] = {}
    for name in loaded.scenario.backtest.strategies:
        key = f"one_to_one.{venues[0]}" if name == "one_to_one" else name
        chosen[key] = known[key]
    chosen |= rivals or {}
    bars = int(tape.times.searchsorted(span.end, "right") - tape.times.searchsorted(span.start, "left"))
    heard = {name: progress(name, bars) for name in chosen} if progress else None
    walks = walk_all(loaded, tape, span, chosen, heard)
    chosen_while_walking = None
    if loaded.scenario.backtest.select is not None:
        chosen_while_walking = select(loaded, Records(loaded, tape), span)
    checked = Rails(tape).checked_on
    return Backtest(loaded, span, tuple(walks), synthetic, chosen_while_walking, checked, notices)


def _missing(loaded: LoadedScenario, tape: Tape, span: Span) -> tuple[str, ...]:
    """What to tell of prices and settlements that are missing or far off. Raises `DataError` on both."""
    scenario, snapshot, notices, problems = loaded.scenario, tape.snapshot, list[str](), list[Problem]()
    stated, walked = scenario.backtest, (span.start, min(span.end, tape.times[-1]))
    funding, prices = (find(scenario, snapshot, *walked) for find in (funding_gaps, price_gaps))
    for name, gaps, stands, wanted, instead in (
        ("funding", funding, stated.missing_funding, "nothing", "nothing is paid there"),
        ("prices", prices, stated.missing_prices, "hold", "what is held stands at its last price"),
    ):
        if gaps and stands == wanted:
            notices.append(f"{told(name, gaps)}: {instead}")
        elif gaps:
            way_out = f"write backtest.missing_{name}: {wanted}, and {instead}"
            message = f"{told(name, gaps)}; add them, leave out what has none, or {way_out}"
            problems.append(Problem(snapshot.sources.get(name, name), message))
    if problems:
        raise DataError(problems)
    return (*notices, *far_prices(scenario, snapshot, *walked))


def parquet(frame: pd.DataFrame) -> bytes:
    """A table as the bytes of a Parquet file."""
    file = io.BytesIO()
    frame.to_parquet(file, index=False)
    return file.getvalue()
