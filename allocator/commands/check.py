"""`hedge check`: read everything, solve nothing, and say what a run would start from."""

from __future__ import annotations

import argparse

from allocator.commands import loaded as load_arguments
from allocator.figures import dollars
from allocator.market.types import Market
from allocator.stdout import say


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 when a run could start; problems raise."""
    from allocator.allocation import read_tables
    from allocator.market.build import build_market

    scenario = load_arguments(arguments)
    tables = read_tables(scenario)
    market = build_market(scenario, tables)
    notes = [str(note) for note in tables.notes] + list(market.notices)
    if arguments.json:
        from allocator.orders.order_list import timestamp
        from allocator.result import SCHEMA_VERSION, to_text
        from allocator.result_tables import holdings

        said = {
            "schema_version": SCHEMA_VERSION,
            "status": "ok",
            "scenario": scenario.scenario.name,
            "as_of": timestamp(market.as_of),
            **_counts(market),
            "holdings": holdings(market),
            "notices": notes,
        }
        say(to_text(said))
        return 0
    lines = [f"{scenario.scenario.name} at {market.as_of:%Y-%m-%dT%H:%M:%SZ} is in order:"]
    lines += [f"  {count:>6,} {what.replace('_', ' ')}" for what, count in _counts(market).items()]
    lines += _bound(market)
    say("\n".join([*lines, *(f"Note: {note}" for note in notes)]) + "\n")
    return 0


def _bound(market: Market) -> list[str]:
    """What cannot move yet, or is not there yet, with its time."""
    says = {"staked": "staked", "locked": "locked", "anticipated": "expected", "in_transit": "in transit"}
    lines = []
    for held in market.holdings:
        if held.kind not in says:
            continue
        until = "" if held.until is None else f" until {held.until:%Y-%m-%dT%H:%M:%SZ}"
        if held.kind == "anticipated":
            until = f"{until.replace('until', 'at')}, confidence {held.confidence:.0%}"
        if held.venue is not None:
            counts = "collateral there by the orders" if held.arrives else "no collateral yet"
            until = f" to {held.venue}{until}, {counts}"
        lines.append(f"  {held.name}: {dollars(held.usd)} of {held.asset} {says[held.kind]}{until}")
    return lines


def _counts(market: Market) -> dict[str, int]:
    return {
        "instruments": len(market.instruments),
        "venues": len(market.accounts),
        "assets": len(market.assets),
        "pockets_of_collateral": len(market.pockets),
        "transfer_routes": len(market.transfers.routes),
        "limits": len(market.limits),
        "stresses": len(market.stresses.names) - 1,
    }
