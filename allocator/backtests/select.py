"""Settings chosen while walking: at each date the best candidate on the past alone, judged on what follows.

Every candidate walks the whole span; at a date only its P&L up to then is looked at. The desk that follows
the choices walks too, so that changing settings costs what it costs. What is reported is out of sample: from
the first choice on, beside the settings as they stand and the candidate that hindsight would have taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import pandas as pd

from allocator.backtests.decide import allocator
from allocator.backtests.engine import Span, walk_settings
from allocator.backtests.known import Records
from allocator.backtests.series import daily_pnl, first_fill
from allocator.backtests.walks import Walk
from allocator.errors import DataError, Problem, ScenarioError
from allocator.result import Json, number, usd
from allocator.scenario.load import LoadedScenario, with_values
from allocator.scenario.merge import key_path
from allocator.scenario.messages import node_at
from allocator.scenario.source import from_plain

SELECTED = "selected"
_FIXED = ("schema_version", "name", "description", "as_of", "snapshot", "backtest")
_MOST = 200  # candidates: each walks the whole span


@dataclass(frozen=True)
class Pick:
    """What was chosen at a time, by the scores then known, in USD a day by candidate."""

    time: pd.Timestamp
    chosen: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Selection:
    """The walks of all candidates, of the desk that followed the picks, and of the settings as stated."""

    picks: tuple[Pick, ...]
    candidates: tuple[Walk, ...]
    followed: Walk
    stated: Walk
    risk_aversion: float

    @property
    def result(self) -> Json:
        """`picks`, and `out_of_sample` of the days after the first of them: P&L, volatility and score a day.

        The score is mean P&L less λ/2 times its variance, λ that of the scenario as stated, in USD a day.
        """
        start = self.picks[0].time
        rows = {walk.name: self._after(walk, start) for walk in self.candidates}
        best = max(rows, key=lambda name: rows[name]["score_usd"] or 0.0)
        return {
            "picks": [
                {"time": _stamp(pick.time), "chosen": pick.chosen}
                | {"scores_usd": {name: usd(score) for name, score in pick.scores.items()}}
                for pick in self.picks
            ],
            "out_of_sample": {
                "start": _stamp(start),
                "selected": self._after(self.followed, start),
                "as_stated": self._after(self.stated, start),
                "best_in_hindsight": best,
                "candidates": rows,
            },
        }

    def _after(self, walk: Walk, start: pd.Timestamp) -> Json:
        pnl = daily_pnl(walk, first_fill([*self.candidates, self.followed, self.stated]))
        # A day that began before the choice owes it little.
        later = pnl[pd.DatetimeIndex(pnl.index) >= start + pd.Timedelta("24h")]
        return {
            "days": len(later),
            "pnl_usd": number(float(later.mean())),
            "volatility_usd": number(float(later.std(ddof=1))),
            "score_usd": number(score(later, self.risk_aversion)),
        }


def score(pnl: pd.Series, risk_aversion: float) -> float:
    """Mean of daily P&L less λ/2 times its variance, in USD a day; NaN for fewer than two days."""
    return float(pnl.mean() - 0.5 * risk_aversion * pnl.var(ddof=1))


def candidates(loaded: LoadedScenario) -> dict[str, LoadedScenario]:
    """Every combination of `backtest.select.grid` as a scenario, by name. Raises `ScenarioError`."""
    wanted = loaded.scenario.backtest.select
    if wanted is None:
        return {}
    source, grid = loaded.origin("backtest.select.grid"), node_at(loaded.tree, ("backtest", "select", "grid"))
    assert grid is not None
    fixed = [key for key in wanted.grid if _is_fixed(key_path(key) or (key,))]
    if fixed:
        message = f"backtest.select.grid: {', '.join(fixed)} cannot change in a walk; leave it out"
        raise ScenarioError([Problem(source, message)])
    found, problems = {}, list[Problem]()
    combinations = list(product(*wanted.grid.values()))
    if len(combinations) > _MOST:
        message = (
            f"{len(combinations)} candidates; write fewer values: each walks the whole span, {_MOST} at most"
        )
        raise ScenarioError([Problem(source, f"backtest.select.grid: {message}")])
    for values in combinations:
        chosen = dict(zip(wanted.grid, values, strict=True))
        name = ", ".join(f"{key}={value}" for key, value in chosen.items())
        nodes = {key_path(key) or (key,): from_plain(value, grid.origin) for key, value in chosen.items()}
        try:
            found[name] = with_values(loaded, nodes)
        except ScenarioError as error:
            problems += [
                Problem(source, f"backtest.select.grid, {name}: {problem.message}")
                for problem in error.problems
            ]
    if problems:
        raise ScenarioError(list(dict.fromkeys(problems)))
    return found


def _is_fixed(path: tuple[str, ...]) -> bool:
    """What a walk takes from elsewhere: its time, its tables, the venues' tables, and how it walks."""
    return path[0] in _FIXED or (path[0] == "venues" and path[2:3] in ((), ("table",), ("exchange",)))


def select(loaded: LoadedScenario, records: Records, span: Span) -> Selection:
    """Walk every candidate, pick at each date, walk the picks. Raises `DataError` for too short a span."""
    wanted = loaded.scenario.backtest.select
    assert wanted is not None
    scenarios = candidates(loaded)
    start = max(span.start, records.tape.times[0])
    end = min(span.end, records.tape.times[-1])
    first = start + pd.Timedelta(hours=wanted.least)
    dates = list(pd.date_range(first, end, freq=pd.Timedelta(hours=wanted.every), inclusive="left"))
    if not dates:
        days = (end - start) / pd.Timedelta("24h")
        message = (
            f"backtest.select.least of {wanted.least:g} h leaves nothing of the {days:g} days of the walk to "
            f"judge by; write for example {max(int(days // 3), 1)}d"
        )
        raise DataError([Problem(loaded.origin("backtest.select"), message)])
    for scenario in scenarios.values():
        records.widen(scenario)
    fixed = {name: (lambda _, own=scenario: own) for name, scenario in scenarios.items()}
    *walks, stated = walk_settings(records, span, allocator, {**fixed, "as_stated": lambda _: loaded})
    aversion = loaded.scenario.objective.risk_aversion_per_usd
    first_day = first_fill([*walks, stated])
    pnl = {walk.name: daily_pnl(walk, first_day) for walk in walks}
    picks = tuple(_pick(date, pnl, aversion) for date in dates)

    def settings(now: pd.Timestamp) -> LoadedScenario:
        made = [pick for pick in picks if pick.time <= now]
        return scenarios[made[-1].chosen] if made else loaded

    followed = walk_settings(records, span, allocator, {SELECTED: settings})[0]
    return Selection(picks, tuple(walks), followed, stated, aversion)


def _pick(date: pd.Timestamp, pnl: Mapping[str, pd.Series], aversion: float) -> Pick:
    scores = {name: score(days[pd.DatetimeIndex(days.index) <= date], aversion) for name, days in pnl.items()}
    # The first candidate wins a tie, and where nothing is known yet.
    best = max(scores, key=lambda name: scores[name] if scores[name] == scores[name] else float("-inf"))
    return Pick(date, best, scores)


def _stamp(time: pd.Timestamp) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
