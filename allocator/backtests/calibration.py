"""What was predicted at each decision against what came of it until the next: was a model right, is it now?

Ratios are realised over predicted, with intervals of the stationary block bootstrap (Politis and Romano, *The
Stationary Bootstrap*, 1994), blocks of five decisions on average: neighbours are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from allocator.backtests.series import margin_uses
from allocator.backtests.walks import Choice, Walk
from models.arrays import Vector

BLOCK, LEAST = 5, 10  # mean decisions in a block; fewer decisions than this have no interval
RECENT = 10  # decisions that make up the current regime; the past before it must be three times as long
_COSTS = ("fee", "slippage", "impact")
_MOST_OF = 0.75  # of a walk's decisions: what fewer say is said of the lucky ones
_WORTH = 0.1  # of one: a ratio nearer than this is right enough
_NOTHING = 1e-9  # of the largest prediction: a sum this small has no ratio


@dataclass(frozen=True)
class Calibration:
    """One model of one strategy: realised over predicted.

    Of ``volatility`` it is √ of the mean of (P&L over predicted sd)², of ``funding``, ``cost`` and
    ``margin_use`` the sum realised over the sum predicted, of `decisions` decisions. `recent_ratio` is that
    of the last ten; `off` says that it lies outside `usual_interval`, where 95 % of windows as long drawn
    from the decisions before it lie: the model is off in the current regime. None where there is too little
    to say: fewer than ten decisions, forty for the regime, or nothing predicted.
    """

    strategy: str
    of: str
    decisions: int
    predicted: float
    realised: float
    ratio: float | None
    ratio_interval: tuple[float, float] | None
    recent_ratio: float | None
    usual_interval: tuple[float, float] | None
    off: bool | None


def calibrations(
    walks: Sequence[Walk], decision_hours: float, draws: int = 1000, seed: int = 0
) -> list[Calibration]:
    """Every model of every walk that decided at least twice."""
    found = []
    for walk in walks:
        table = outcomes(walk, decision_hours)
        if table.empty:
            continue
        for of in ("volatility", "funding", "cost", "margin_use"):
            pairs = table[[f"predicted_{of}", f"realised_{of}"]].dropna().to_numpy(dtype=float)
            if len(pairs):
                ratio = _rms_ratio if of == "volatility" else _sum_ratio
                found.append(calibrated(walk.name, of, pairs, ratio, draws, seed))
    return found


def volatility_ratio(walk: Walk, decision_hours: float) -> tuple[float | None, int]:
    """Realised over predicted volatility of one walk, and of how many decisions.

    None where fewer than three quarters of its decisions went as they were ordered, or none predicted any.
    """
    table = outcomes(walk, decision_hours)
    if table.empty:
        return None, 0
    pairs = table[["predicted_volatility", "realised_volatility"]].dropna().to_numpy(dtype=float)
    found = _rms_ratio(pairs)
    stated = np.isfinite(found) and len(pairs) >= _MOST_OF * len(table)
    return (found if stated else None), len(pairs)


def outcomes(walk: Walk, decision_hours: float) -> pd.DataFrame:
    """A row for each decision with a next one, or an end, after it: predictions scaled to the time between.

    A decision is in force from the fill of its orders on, and from its own time where there is none; one
    without an answer leaves the one before in force. Of one whose orders a venue refused, nothing was
    predicted: NaN.
    USD: `volatility` the sd of P&L and the P&L, `funding` and `cost` > 0 paid. `margin_use` is the largest
    maintenance margin over equity of any account, at the decision and on average until the next.
    """
    answered = [choice for choice in walk.choices if choice.status == "optimal"]
    times = _in_force(walk, answered)
    if not len(times):
        return pd.DataFrame()
    ends = pd.DatetimeIndex([*times[1:], walk.times[-1]])
    hours: Vector = (ends - times).total_seconds().to_numpy(dtype=float) / 3600.0
    bars = pd.DatetimeIndex(walk.times)
    wealth = np.array(walk.wealth)
    pnl = wealth[bars.searchsorted(ends)] - wealth[bars.searchsorted(times)]
    ledger, uses = walk.ledger.frame(), margin_uses(walk)
    paid = {
        name: -_between(ledger[ledger["kind"].isin(kinds)], times, ends)
        for name, kinds in (("funding", ("funding",)), ("cost", _COSTS))
    }
    choices = pd.DataFrame(
        [(c.volatility_usd, c.funding_usd, c.cost_usd, c.margin_use) for c in answered],
        columns=["volatility", "funding", "cost", "margin_use"],
    )
    choices.loc[times.isin([order.time for order in walk.rejected])] = np.nan
    place = times.searchsorted(pd.DatetimeIndex(uses.index), side="left") - 1
    later = uses[place >= 0].groupby(place[place >= 0]).mean().reindex(range(len(times)))
    found = pd.DataFrame(
        {
            "time": times,
            "predicted_volatility": choices["volatility"] * np.sqrt(hours / decision_hours),
            "realised_volatility": pnl,
            "predicted_funding": choices["funding"] * hours / decision_hours,
            "realised_funding": paid["funding"],
            # What is paid at the decision's own bar is of this decision.
            "predicted_cost": choices["cost"],
            "realised_cost": paid["cost"],
            "predicted_margin_use": choices["margin_use"].replace(np.inf, np.nan),
            "realised_margin_use": later.replace(np.inf, np.nan).to_numpy(),
        }
    )
    return found[hours > 0]


def _in_force(walk: Walk, choices: Sequence[Choice]) -> pd.DatetimeIndex:
    """When each of these decisions took hold."""
    filled: dict[pd.Timestamp, pd.Timestamp] = {}
    for each in walk.fills:
        filled.setdefault(each.decided, each.time)
    return pd.DatetimeIndex([filled.get(choice.time, choice.time) for choice in choices])


def _between(flows: pd.DataFrame, starts: pd.DatetimeIndex, ends: pd.DatetimeIndex) -> Vector:
    """USD of flows after each start up to its end, fills at the start's own bar included.

    Funding and margin calls of that bar come before the decision; a fee at it is the decision's own.
    """
    own = flows["kind"].isin(_COSTS).to_numpy()
    moments = pd.DatetimeIndex(pd.to_datetime(flows["time"], utc=True))
    place = np.where(
        own, starts.searchsorted(moments, side="right"), starts.searchsorted(moments, side="left")
    )
    kept = place > 0
    usd = flows["usd"].to_numpy(dtype=float)
    return np.bincount(place[kept] - 1, weights=usd[kept], minlength=len(starts)).astype(float)


def calibrated(
    strategy: str, of: str, pairs: Vector, ratio: Callable[[Vector], float], draws: int, seed: int
) -> Calibration:
    """The ratio of pairs (D, 2) predicted and realised in order of time, its interval, and the regime."""
    whole = ratio(pairs)
    known = len(pairs) >= LEAST and np.isfinite(whole)
    recent, usual = None, None
    if len(pairs) >= 4 * RECENT and known:
        recent = ratio(pairs[-RECENT:])
        # Windows as long as the recent one, of what came before.
        usual = _interval(pairs[:-RECENT], lambda drawn: ratio(drawn[:RECENT]), draws, seed)
    sure = recent is not None and usual is not None and np.isfinite(recent)
    return Calibration(
        strategy,
        of,
        len(pairs),
        float(pairs[:, 0].mean()),
        float(np.sqrt(np.mean(pairs[:, 1] ** 2)) if ratio is _rms_ratio else pairs[:, 1].mean()),
        whole if np.isfinite(whole) else None,
        _interval(pairs, ratio, draws, seed) if known else None,
        recent if sure else None,
        usual,
        None if not sure or usual is None or recent is None else _outside(recent, *usual),
    )


def _outside(value: float, low: float, high: float) -> bool:
    rounding = 1e-9 * max(abs(low), abs(high))
    return not low - rounding <= value <= high + rounding


def _interval(
    pairs: Vector, ratio: Callable[[Vector], float], draws: int, seed: int
) -> tuple[float, float] | None:
    from arch.bootstrap import StationaryBootstrap

    drawn = StationaryBootstrap(BLOCK, pairs, seed=seed).apply(lambda rows: np.array([ratio(rows)]), draws)
    seen = drawn[np.isfinite(drawn)]
    if len(seen) < draws / 2:
        return None
    low, high = np.percentile(seen, [2.5, 97.5])
    return float(low), float(high)


def _rms_ratio(pairs: Vector) -> float:
    there = pairs[:, 0] > 0
    return float(np.sqrt(np.mean((pairs[there, 1] / pairs[there, 0]) ** 2))) if there.any() else float("nan")


def _sum_ratio(pairs: Vector) -> float:
    predicted, realised = pairs.sum(axis=0)
    largest = float(np.abs(pairs[:, 0]).max(initial=0.0))
    return float(realised / predicted) if abs(predicted) > _NOTHING * largest else float("nan")


def warnings(found: Sequence[Calibration]) -> list[str]:
    """A sentence for each model of the first strategy that was off over the whole walk, or is now.

    Off by less than a tenth is not worth a warning, nor is a regime in which a model is nearer the truth.
    """
    said = []
    for c in found:
        if c.strategy != found[0].strategy or c.ratio is None:
            continue
        what = f"{c.strategy}: realised over predicted {c.of.replace('_', ' ')} was"
        if c.ratio_interval is not None and _far(*c.ratio_interval):
            low, high = c.ratio_interval
            said.append(f"{what} {c.ratio:.2f} over the whole walk, 95 % interval {low:.2f} to {high:.2f}")
        recent, usual = c.recent_ratio, c.usual_interval
        if not c.off or recent is None or usual is None or not _far(recent, recent):
            continue
        if abs(recent - 1.0) > abs(c.ratio - 1.0):
            said.append(
                f"{what} {recent:.2f} over the last {RECENT} decisions, outside {usual[0]:.2f} to "
                f"{usual[1]:.2f}, where 95 % of windows as long lay before: the model is off in the current "
                "regime"
            )
    return said


def _far(low: float, high: float) -> bool:
    """Whether all of an interval is farther than a tenth from one."""
    return low > 1.0 + _WORTH or high < 1.0 - _WORTH
