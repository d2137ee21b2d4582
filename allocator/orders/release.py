"""The last gate: what must hold by the clock, and beside the run, each time its orders are handed out.

The terms stand in `result.json` and repeat with the run; what comes of them does not, so it is told on
stderr, in the log and in the manifest, and asked again whenever a finished run is used. `out` is the parent
of runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from allocator.market.types import Market
from allocator.orders.checks import off
from allocator.orders.client_ids import spellings
from allocator.orders.order_list import Order, timestamp
from allocator.orders.outcome import Measured, Outcome, judge
from allocator.scenario.order_checks import Checks

WITHHELD = ".withheld"  # ends the name of a folder whose orders this gate withheld
FILLS = "-fills-"  # between run id and fingerprint in the name of a reconciliation
LEFT_FILE = "left.csv"  # of a reconciliation: every order that was sent, and what is left of it
_KEYS = ("max_age", "funding_window", "kill_switch", "sent_ids", "duplicate_run")
_CLOCK_SKEW_HOURS = 5 / 60
_WORD = re.compile(r"[0-9A-Za-z_-]+")

Terms = Mapping[str, Any]


def clock() -> datetime:
    """Now, UTC."""
    return datetime.now(UTC)


def terms(
    rules: Checks, market: Market, orders: Sequence[Order], origin: Callable[[str], str]
) -> dict[str, Any]:
    """Under what conditions the orders may be handed out, as plain data."""
    ordered = {(o.venue, o.account, o.symbol) for o in orders}
    return {
        "as_of": timestamp(market.as_of),
        **{key: getattr(rules, key) for key in _KEYS},
        "sources": {key: origin(f"orders.checks.{key}") for key in _KEYS},
        "settlements": [
            {
                "subject": instrument.key,
                "next": timestamp(settles),
                "interval_hours": float(market.funding.interval_hours[k]),
            }
            for k, (instrument, settles) in enumerate(
                zip(market.instruments, market.funding.next_times, strict=True)
            )
            if (instrument.exchange, instrument.account, instrument.symbol) in ordered and settles is not None
        ],
    }


@dataclass(frozen=True)
class Handover:
    """Orders about to be handed out: of which run, in which folder, by which ids, when.

    `orders` are exchange and client order id of each.
    """

    run_id: str
    out: Path
    orders: Sequence[tuple[str, str]]
    now: datetime


def check_release(found: Terms, handover: Handover, follow_up: bool = False) -> tuple[Outcome, ...]:
    """Every check of the last gate. A `follow_up` is no duplicate of its run, only of itself."""
    if not handover.orders:
        return ()
    return _judged(
        found,
        {
            **_clock_checks(found, handover.now),
            "kill_switch": ("kill_switch", lambda: _kill_switch(handover.out / found["kill_switch"])),
            "sent_ids": ("sent_ids", lambda: _sent(handover.out / found["sent_ids"], handover.orders)),
            "duplicate_run": ("duplicate_run", lambda: _duplicates(handover, follow_up)),
        },
    )


def check_clock(found: Terms, now: datetime) -> tuple[Outcome, ...]:
    """The checks of the last gate that ask the clock alone, which must have a zone: age, settlements."""
    return _judged(found, _clock_checks(found, now))


_Check = tuple[str, Callable[[], "list[Measured] | str"]]


def _clock_checks(found: Terms, now: datetime) -> dict[str, _Check]:
    return {
        "data_age": ("max_age", lambda: _age(found, now)),
        "funding_window": ("funding_window", lambda: _settlements(found, now)),
    }


def _judged(found: Terms, checks: Mapping[str, _Check]) -> tuple[Outcome, ...]:
    units = {"data_age": "h", "funding_window": "min"}
    outcomes: list[Outcome] = []
    for name, (key, measure) in checks.items():
        source = found["sources"][key]
        outcomes += judge(name, units.get(name, "found"), source, off(found[key], source) or measure())
    return tuple(outcomes)


def _age(found: Terms, now: datetime) -> list[Measured]:
    """Hours since as_of; an as_of in the future is worse than an old one."""
    hours = (now - datetime.fromisoformat(found["as_of"])) / timedelta(hours=1)
    if hours < -_CLOCK_SKEW_HOURS:
        return [Measured("as_of", float("inf"), found["max_age"], "as_of is in the future of this clock")]
    return [Measured("as_of", hours, found["max_age"])]


def _settlements(found: Terms, now: datetime) -> list[Measured]:
    """Minutes of the window that have begun before each instrument's next settlement."""
    measured = []
    for row in found["settlements"]:
        interval = timedelta(hours=row["interval_hours"])
        until = (datetime.fromisoformat(row["next"]) - now) % interval / timedelta(minutes=1)
        begun = max(60.0 * found["funding_window"] - until, 0.0)
        measured.append(Measured(row["subject"], begun, 0.0, f"{until:.1f} min to its next settlement"))
    return measured


def _kill_switch(path: Path) -> list[Measured]:
    """1 if the file is there, or if that cannot be known."""
    try:
        path.lstat()
    except FileNotFoundError:
        return [Measured(path.name, 0.0, 0.0)]
    except OSError as error:
        return [Measured(path.name, 1.0, 0.0, f"cannot be looked for ({error.strerror or error})")]
    return [Measured(path.name, 1.0, 0.0, "the file is there: remove it to trade")]


def _sent(path: Path, orders: Iterable[tuple[str, str]]) -> list[Measured]:
    """Ids of ours that the desk's list of sent ids holds, in whatever form the venue takes them."""
    try:
        sent = set(_WORD.findall(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        return [
            Measured(path.name, 1.0, 0.0, f"cannot be read ({error}): make it, empty, before the first run")
        ]
    twice = sorted({own for form, own in spellings(orders).items() if form in sent})
    return [
        Measured(path.name, float(len(twice)), 0.0, f"sent already: {', '.join(twice[:3])}" if twice else "")
    ]


def _duplicates(handover: Handover, follow_up: bool) -> list[Measured]:
    """Reconciliations that lie beside the run and count its orders, or those of a follow-up, as sent."""
    beside = sorted(handover.out.glob(f"{handover.run_id}{FILLS}*/"))
    if follow_up:
        own = {client_id for _, client_id in handover.orders}
        done = [path.name for path in beside if own & _counted(path / LEFT_FILE)]
    else:
        done = [path.name for path in beside]
    reason = f"its orders were sent: {done[0]} holds their fills and the follow-up" if done else ""
    return [Measured(handover.run_id, float(len(done)), 0.0, reason)]


def _counted(path: Path) -> set[str]:
    """Client order ids of a reconciliation's table of what is left; none where it was never written."""
    try:
        return set(_WORD.findall(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return set()
