"""`hedge check`: read everything, solve nothing, and say what a run would start from."""

from __future__ import annotations

import argparse

from allocator.commands import loaded as load_arguments
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

        said = {
            "schema_version": SCHEMA_VERSION,
            "status": "ok",
            "scenario": scenario.scenario.name,
            "as_of": timestamp(market.as_of),
            **_counts(market),
            "notices": notes,
        }
        say(to_text(said))
        return 0
    lines = [f"{scenario.scenario.name} at {market.as_of:%Y-%m-%dT%H:%M:%SZ} is in order:"]
    lines += [f"  {count:>6,} {what.replace('_', ' ')}" for what, count in _counts(market).items()]
    say("\n".join([*lines, *(f"Note: {note}" for note in notes)]) + "\n")
    return 0


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
