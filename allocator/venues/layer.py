"""The lowest layer of a scenario: what venue tables say of the venues that name them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from allocator.errors import Problem, ScenarioError
from allocator.scenario.messages import node_at
from allocator.scenario.source import Node
from allocator.venues.load import load_table
from allocator.venues.table import VenueTable

_PROVENANCE = ("source", "unverified")


def named_tables(tree: Node, folders: Mapping[str, Path]) -> dict[str, VenueTable]:
    """The table of each venue of a merged scenario that names one; `folders` by the name of a file.

    A table set on the command line is looked for in the working folder. Raises ScenarioError.
    """
    tables: dict[str, VenueTable] = {}
    problems: list[Problem] = []
    venues = node_at(tree, ("venues",))
    for name, entry in ({} if venues is None else venues.entries()).items():
        named = entry.entries().get("table")
        if named is None or not isinstance(named.value, str):
            continue
        file = named.origin.file
        try:
            tables[name] = load_table(named.value, folders.get(file, Path()), file, str(named.origin))
        except ScenarioError as error:
            problems += error.problems
    if problems:
        raise ScenarioError(list(dict.fromkeys(problems)))
    return tables


def under(defaults: Node, tree: Node, tables: Mapping[str, VenueTable]) -> Node:
    """`defaults` with what the tables say of the venues of `tree`, all venues in the order of `tree`."""
    venues = tree.entries()["venues"]
    entries = {}
    for name, entry in venues.entries().items():
        table = tables.get(name)
        cells = {} if table is None else _cells(table, entry)
        entries[name] = Node(cells, entry.origin, entry.touched)
    layer = Node(entries, venues.origin, venues.touched)
    return Node({**defaults.entries(), "venues": layer}, defaults.origin, defaults.touched)


def _cells(table: VenueTable, entry: Node) -> dict[str, Node]:
    """A table's share of `venues.<name>`."""
    top = table.tree.entries()
    cells = {"exchange": top["venue"]}
    if "fees" in top:
        fees = top["fees"]
        stated = {key: item for key, item in fees.entries().items() if key not in _PROVENANCE}
        cells["fees"] = Node(stated, fees.origin, fees.touched)
    if "liquidation_penalty" in top:
        cells["liquidation_penalty"] = top["liquidation_penalty"].entries()["by_asset"]
    if "collateral" in top:
        cells["haircut_tiers"] = top["collateral"].entries()["tiers"]
    if "margin" in top:
        cells["margin"] = top["margin"].entries()["rules"]
    return cells | _open_interest(table, entry, cells.get("margin"))


def _open_interest(table: VenueTable, entry: Node, margin: Node | None) -> dict[str, Node]:
    """Caps of the assets whose open interest the scenario states: without it a rule would be incomplete.

    Where it is missing, taking part is refused once it is known which instruments do.
    """
    caps = node_at(table.tree, ("open_interest", "caps"))
    stated = node_at(entry, ("margin", "open_interest"))
    if caps is None or stated is None:
        return {}
    known = {asset: cap for asset, cap in caps.entries().items() if asset in stated.entries()}
    rules = {} if margin is None else margin.entries()
    place = caps if margin is None else margin
    rules = {**rules, "open_interest": Node(known, caps.origin, caps.touched)}
    return {"margin": Node(rules, place.origin, place.touched)}
