"""Pictures of a backtest: wealth, margin, funding, rivals and calibration, from its result and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from allocator.report.charts import (
    TONES,
    Curve,
    Curves,
    Interval,
    Intervals,
    Moment,
    Tone,
    thinned,
    thinning,
)
from allocator.report.figures import Bars, Series
from allocator.report.frames import Frame
from allocator.report.nodes import Node
from allocator.report.numbers import dollars, percent, ratio

_INSIDE = 1.96  # standard deviations that hold 95 % of a Gaussian law
_STILL = "no_hedge"


@dataclass(frozen=True)
class Walked:
    """A backtest: its result, and the tables of wealth, cash flows, venues and decisions, by strategy."""

    result: Node
    tables: Mapping[str, pd.DataFrame]

    @classmethod
    def of(cls, result: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> Walked:
        """From a result and its tables as they stand."""
        return cls(Node(dict(result), "result.json#"), tables)

    @property
    def names(self) -> list[str]:
        """Strategies in their order, the one that is compared first."""
        return [str(row["strategy"]) for row in self.result["strategies"]]

    def tone(self, strategy: str) -> Tone:
        """The colour of a strategy in all pictures; the first one's is its own."""
        first, *others = [name for name in self.names if name != _STILL] + [_STILL]
        return TONES[0] if strategy == first else TONES[1 + others.index(strategy) % (len(TONES) - 1)]

    def table(self, name: str, strategy: str) -> pd.DataFrame:
        """The rows of one strategy; empty where it has none."""
        found = self.tables[name]
        return found[found["strategy"] == strategy]

    def frame(self, name: str) -> Frame:
        """A whole table, whose numbers carry their place."""
        return Frame(self.tables[name], f"{name}.parquet")

    def venues(self, strategy: str) -> list[str]:
        """Venues on which a strategy ever held a position."""
        rows = self.table("venues", strategy)
        return list(dict.fromkeys(rows["venue"])) if len(rows) else []

    def liquidations(self, strategy: str | None = None, venue: str | None = None) -> list[Mapping[str, Any]]:
        """Liquidations, of one strategy and at one venue where these are given."""
        return [
            row
            for row in self.result["liquidations"].value
            if strategy in (None, row["strategy"]) and venue in (None, row["venue"])
        ]


def seconds(times: pd.Series) -> np.ndarray:
    """Times as seconds since 1970 UTC."""
    return pd.DatetimeIndex(times).tz_convert("UTC").as_unit("ns").asi8 / 1e9


def _moments(rows: Sequence[Mapping[str, Any]], named: bool = True) -> list[Moment]:
    found = [(pd.Timestamp(row["time"]).timestamp(), str(row["strategy"])) for row in rows]
    return [Moment(time, f"{name} liquidated" if named else "liquidated") for time, name in found]


def wealth(walked: Walked, unhedged: bool = False) -> Curves:
    """Gain since the start of each strategy; without the one that does not hedge unless asked for."""
    names = [name for name in walked.names if unhedged or name != _STILL]
    curves, longest = [], 0
    for name in names:
        rows = walked.table("wealth", name)
        level = rows["wealth_usd"].to_numpy(float)
        gain = level - level[-1] + _pnl(walked, name) if len(level) else level
        longest = max(longest, len(rows))
        curves.append(thinned(name, seconds(rows["time"]), gain, tone=walked.tone(name)))
    without = "" if unhedged or _STILL not in walked.names else " No hedge is left out: it dwarfs them."
    return Curves(
        title="Gain since the start" + (", with no hedge" if unhedged else ""),
        note=f"Wealth less what it was before the first order.{without}{thinning(longest)}",
        x_title="time, UTC",
        y_title="",
        curves=curves,
        kind="time",
        moments=_moments([row for row in walked.liquidations() if row["strategy"] in names]),
        zero=True,
    )


def _pnl(walked: Walked, name: str) -> float:
    return float(next(row["pnl_usd"] for row in walked.result["strategies"].value if row["strategy"] == name))


def _tone(k: int) -> Tone:
    return TONES[k % len(TONES)]


def margin(walked: Walked, strategy: str, venue: str) -> Curves:
    """Equity and maintenance margin of a venue through time, with liquidations marked."""
    rows = walked.table("venues", strategy)
    rows = rows[rows["venue"] == venue]
    times = seconds(rows["time"])
    return Curves(
        title=f"{venue}, {strategy}",
        note=f"While it holds positions.{thinning(len(rows))}",
        x_title="time, UTC",
        y_title="",
        curves=[
            thinned("equity", times, rows["equity_usd"].to_numpy(float)),
            thinned("maintenance margin", times, rows["maintenance_margin_usd"].to_numpy(float), tone="warn"),
        ],
        kind="time",
        moments=_moments(walked.liquidations(strategy, venue), named=False),
        zero=True,
    )


def margin_use(walked: Walked) -> Curves:
    """Maintenance margin over equity of the worst venue, by strategy; liquidated above 1."""
    curves, longest = [], 0
    for name in walked.names:
        rows = walked.table("venues", name)
        if not len(rows):
            continue
        equity = rows["equity_usd"].where(rows["equity_usd"] > 0)
        use = (rows["maintenance_margin_usd"] / equity).groupby(rows["time"]).max()
        longest = max(longest, len(use))
        curves.append(
            thinned(name, seconds(use.index.to_series()), use.to_numpy(float), tone=walked.tone(name))
        )
    return Curves(
        title="Margin used at the worst venue",
        note=f"Maintenance margin over equity; a venue liquidates above 100 %.{thinning(longest)}",
        x_title="time, UTC",
        y_title="",
        curves=curves,
        kind="time",
        form=percent,
        moments=_moments(walked.liquidations()),
        zero=True,
    )


def funding(walked: Walked, strategy: str) -> Curves:
    """Funding received by venue, summed up through time."""
    rows = walked.table("ledger", strategy)
    rows = rows[rows["kind"] == "funding"]
    curves, longest = [], 0
    for k, venue in enumerate(dict.fromkeys(rows["venue"])):
        paid = rows[rows["venue"] == venue].groupby("time")["usd"].sum().sort_index().cumsum()
        longest = max(longest, len(paid))
        curves.append(thinned(venue, seconds(paid.index.to_series()), paid.to_numpy(float), tone=_tone(k)))
    return Curves(
        title=f"Funding received by venue, {strategy}",
        note=f"Summed up since the start; below zero it was paid.{thinning(longest)}",
        x_title="time, UTC",
        y_title="",
        curves=curves,
        kind="time",
        zero=True,
    )


def carry(walked: Walked) -> Bars:
    """Net carry of each strategy over the whole span: funding less every cost."""
    rows = list(walked.result["strategies"])
    return Bars(
        title="Net carry",
        note="Funding less every cost over the whole span; above zero earned.",
        categories=walked.names,
        series=[
            Series("net carry", [row["net_carry_usd"] for row in rows], "main"),
            Series("of it funding", [row["funding_usd"] for row in rows], "before"),
        ],
    )


def calmer(walked: Walked) -> Intervals:
    """Volatility of the first strategy over that of each other, with its interval."""
    return Intervals(
        title="Volatility against rivals",
        note=f"{walked.names[0]} over each; below 1 it is calmer. Bars: 95 % intervals.",
        rows=[
            Interval(
                str(row["against"]),
                row["volatility_ratio"],
                row["volatility_interval"][0],
                row["volatility_interval"][1],
            )
            for row in walked.result["differences"]
        ],
        reference=1.0,
        form=ratio,
    )


def richer(walked: Walked) -> Intervals:
    """P&L a day of the first strategy less that of each other, with its interval."""
    return Intervals(
        title="P&L a day against rivals",
        note=f"{walked.names[0]} less each; above 0 it earns more. Bars: 95 % intervals.",
        rows=[
            Interval(str(row["against"]), row["pnl_usd"], row["pnl_interval"][0], row["pnl_interval"][1])
            for row in walked.result["differences"]
            if str(row["against"]) != _STILL
        ],
        reference=0.0,
        form=dollars,
    )


def calibration(walked: Walked) -> Intervals:
    """Realised over predicted volatility by strategy, with an interval where the result holds one."""
    rows = [_calibrated(str(row["strategy"]), row) for row in calibrated(walked, "volatility")]
    if not rows:
        rows = [Interval(str(row["strategy"]), row["calibration"]) for row in walked.result["strategies"]]
    return Intervals(
        title="Realised over predicted volatility",
        note="1 is a prediction that holds; above 1 the risk was larger than predicted.",
        rows=rows,
        reference=1.0,
        form=ratio,
    )


def calibrated(walked: Walked, of: str) -> list[Node]:
    """What the result says of one kind of prediction, by strategy; empty where it does not."""
    found = walked.result.get("calibration")
    return [] if found is None else [row for row in found if str(row["of"]) == of]


def _calibrated(name: str, row: Node) -> Interval:
    interval = row.get("ratio_interval")
    ends = (None, None) if interval is None else (interval[0], interval[1])
    return Interval(name, row["ratio"], *ends)


def models(walked: Walked, strategy: str) -> Intervals:
    """Realised over predicted of each model of one strategy: volatility, funding, cost, margin use."""
    found = walked.result.get("calibration")
    rows = [row for row in found or () if str(row["strategy"]) == strategy and row["ratio"].value is not None]
    return Intervals(
        title=f"Realised over predicted, {strategy}",
        note="By model; 1 is a prediction that holds. Bars: 95 % intervals where there are any.",
        rows=[_calibrated(str(row["of"]).replace("_", " "), row) for row in rows],
        reference=1.0,
        form=ratio,
    )


@dataclass(frozen=True)
class Outcomes:
    """P&L (n,) from each decision to the next with the sd that the decision predicted, USD."""

    times: np.ndarray
    pnl: np.ndarray
    predicted: np.ndarray

    @property
    def inside(self) -> int:
        """How many lie within 1.96 predicted sd."""
        return int((np.abs(self.pnl) <= _INSIDE * self.predicted).sum())


def outcomes(walked: Walked, strategy: str) -> Outcomes:
    """What came of each decision; of those that are followed by the next after the usual time."""
    made = walked.table("decisions", strategy)
    level = walked.table("wealth", strategy).set_index("time")["wealth_usd"]
    made = made[made["time"].isin(level.index)]
    times = seconds(made["time"])
    value = level.reindex(made["time"]).to_numpy(float)
    gaps = np.diff(times)
    usual = float(walked.result["every_hours"].value) * 3600.0
    kept = np.flatnonzero(np.isclose(gaps, usual))
    predicted = made["volatility_usd"].to_numpy(float)
    return Outcomes(times[kept + 1], np.diff(value)[kept], predicted[kept])


def predicted(walked: Walked, strategy: str) -> Curves:
    """P&L from each decision to the next on the band that the decision predicted."""
    found = outcomes(walked, strategy)
    band = thinned("±1.96 predicted sd", found.times, np.zeros(len(found.times)), tone="second")
    high = thinned("", found.times, _INSIDE * found.predicted)
    reach = high.high or high.y
    low = [-value for value in reach]
    band = Curve(band.name, band.x, band.y, "second", low, reach)
    share = f"{found.inside} of {len(found.pnl)} lie inside" if len(found.pnl) else "none can be compared"
    return Curves(
        title=f"P&L against its prediction, {strategy}",
        note=f"From one decision to the next; {share}, 95 % would.",
        x_title="time, UTC",
        y_title="",
        curves=[band, Curve("P&L", found.times.tolist(), found.pnl.tolist(), "main", shape="dots")],
        kind="time",
        zero=True,
    )
