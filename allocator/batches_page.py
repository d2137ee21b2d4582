"""The order of trading on a terminal page: what goes first, and the worst state on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from allocator.figures import dollars
from allocator.plain_tables import plain_table

Json = Mapping[str, Any]
_MOST_BATCHES = 12
_MOST_FAILURES = 6
_CENT = 0.01


def batches_table(sequence: Json, orders: Sequence[Mapping[str, str]]) -> Table:
    """Which orders go first, and the state with least margin while each batch fills."""
    columns = ("batch", "orders", "tightest", "in stress", ">margin left", ">volatility")
    table = plain_table("\nBatches, each sent once the one before is filled", *columns)
    numbers: dict[str, list[str]] = {}
    for order in orders:
        numbers.setdefault(f"batch {order['batch']}", []).append(order["seq"])
    waiting = {f"batch {number}" for number in sequence["waits_for_transfers"]}
    states: dict[str, list[Json]] = {}
    for state in sequence["states"]:
        states.setdefault(state["state"].partition(",")[0], []).append(state)
    least = sorted(states, key=lambda name: min(map(_slack, states[name])))[:_MOST_BATCHES]
    for name, passed in states.items():
        if name not in least:
            continue
        worst, sent = min(passed, key=_slack), numbers.get(name, [])
        listed = f"{sent[0]}–{sent[-1]}" if len(sent) > 1 else "".join(sent)
        table.add_row(
            "now" if name == "before" else name.removeprefix("batch "),
            "transfers" if name == "batch 0" else f"{listed} after arrival" if name in waiting else listed,
            worst["venue"] or "–",
            _stress(worst),
            dollars(worst["slack_usd"]),
            dollars(passed[-1]["volatility_usd"]),
        )
    if len(states) > len(least):
        rest = len(states) - len(least)
        table.caption, table.caption_justify = f"and {rest} more, with more margin left", "left"
    return table


def worst_between(sequence: Json) -> Text:
    """The tightest state on the way in words, or what is wrong with it."""
    worst, failures, text = sequence["worst"], sequence["failures"], Text()
    if sequence["passed"] and worst is not None:
        left = f"{dollars(worst['slack_usd'])} of margin left ({_stress(worst)})"
        text.append(f"Worst on the way, {_where(worst)}: {worst['venue']} has {left}.\n")
    if sequence["passed"]:
        text.append("No batch, filled or half filled, breaches a margin limit or unhedges the book.")
    for state in failures[:_MOST_FAILURES]:
        lacks, bare = max(-_slack(state), 0.0), state["unhedged_usd"]
        told = [f"{state['venue']} lacks {dollars(lacks)} ({_stress(state)})"] if lacks >= _CENT else []
        told += [f"volatility is {dollars(bare)} above before and after"] if bare > 0 else []
        text.append(f"Not safe, {_where(state)}: {'; '.join(told)}.\n", style="bold red")
    if len(failures) > _MOST_FAILURES:
        text.append(f"and {len(failures) - _MOST_FAILURES} more, in result.json\n")
    text.rstrip()
    return text


def _slack(state: Json) -> float:
    return float("inf") if state["slack_usd"] is None else float(state["slack_usd"])


def _where(state: Json) -> str:
    return "as it is now" if state["state"] == "before" else str(state["state"])


def _stress(state: Json) -> str:
    """The stress of a maintenance limit's row; `initial margin` and `no limit` have none."""
    if state["limit"] is None:
        return "no limit"
    return str(state["limit"]).partition(" (")[2].removesuffix(")") or "initial margin"
