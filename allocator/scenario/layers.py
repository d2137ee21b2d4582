"""The layers of a scenario, one upon the other: defaults, venue tables, files, overlays, sets, a variant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from allocator.scenario.checks import check_name
from allocator.scenario.merge import (
    LAYER_KEYS,
    Notes,
    apply_set,
    check_overlays,
    default_layer,
    merge,
    overlay_body,
    overlay_order,
    put,
)
from allocator.scenario.source import Node
from allocator.scenario.sweep import NOTHING, Variant

if TYPE_CHECKING:
    from allocator.venues.table import VenueTable


@dataclass(frozen=True)
class Files:
    """The chain of files, the lowest base first, with the folder behind each file's name."""

    trees: list[Node]
    folders: Mapping[str, Path]
    main: str


@dataclass(frozen=True)
class Asked:
    """What is laid upon the file. `variant` comes last: its overlays, then its values by path."""

    path: Path
    overlays: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    snapshot: Path | None = None
    variant: Variant = NOTHING


@dataclass(frozen=True)
class Merged:
    """A merged scenario, the tables of the venues that name one, and what merging found."""

    tree: Node
    tables: Mapping[str, VenueTable]
    notes: Notes

    def with_values(self, variant: Variant) -> Merged:
        """The values of a variant laid upon it, none of which changes what tables give."""
        notes = Notes(list(self.notes.problems), dict(self.notes.removed))
        tree = self.tree
        for path, value in variant.values:
            tree = put(tree, path, value, notes)
        return replace(self, tree=tree, notes=notes)


def changes_tables(variant: Variant) -> bool:
    """Whether a variant may change what venue tables give: which table, or whose open interest."""
    return any(
        path[0] == "venues"
        and (len(path) < 3 or path[2] == "table" or path[2:4] in (("margin",), ("margin", "open_interest")))
        for path, _ in variant.values
    )


def merged(files: Files, asked: Asked) -> Merged:
    """The merged scenario, its venue tables below every other layer."""
    notes = Notes()
    tree = _merged(files, asked, notes, default_layer())
    entries = tree.entries().get("venues")
    if entries is None or not any("table" in entry.entries() for entry in entries.entries().values()):
        return Merged(tree, {}, notes)
    from allocator.venues.layer import named_tables, under  # only where a table is named: models take time

    tables = named_tables(tree, files.folders)
    # Merged again from the bottom: only now is known which tables lie there, for any layer may name one, and
    # any layer may change or remove what they give.
    notes = Notes()
    tree = _merged(files, asked, notes, under(default_layer(), tree, tables))
    return Merged(tree, tables, notes)


def _merged(files: Files, wanted: Asked, notes: Notes, lowest: Node) -> Node:
    tree = lowest
    overlays: dict[str, Node] = {}
    for layer in files.trees:
        _collect_overlays(layer, overlays, notes)
        body = {key: item for key, item in layer.entries().items() if key not in LAYER_KEYS}
        tree = merge(tree, Node(body, layer.origin, layer.touched), notes)
    check_overlays(overlays, notes)
    asked = Notes()
    names = [(name, "--overlay") for name in wanted.overlays]
    names += [(name, str(origin)) for name, origin in wanted.variant.overlays]
    for _, overlay in overlay_order(names, overlays, asked):
        tree = merge(tree, overlay_body(overlay), notes)
    # Circles and unknown names inside the files are known already; what remains is what was asked for here.
    sources = {source for _, source in names}
    notes.problems += [problem for problem in asked.problems if problem.source in sources]
    for text in wanted.sets:
        tree = apply_set(tree, text, notes)
    for path, value in wanted.variant.values:
        tree = put(tree, path, value, notes)
    return tree


def _collect_overlays(layer: Node, overlays: dict[str, Node], notes: Notes) -> None:
    """An overlay of an extending file replaces the base's of the same name; ``null`` removes it."""
    found = layer.entries().get("overlays")
    if found is None:
        return
    if not isinstance(found.value, dict):
        notes.add(found.origin, "overlays: write a map of names")
        return
    for name, overlay in found.value.items():
        problem = check_name(("overlays", name), overlay.origin)
        if problem is not None:
            notes.problems.append(problem)
        if overlay.value is None and name in overlays:
            del overlays[name]
        else:
            overlays[name] = overlay
