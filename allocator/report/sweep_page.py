"""The page of a sweep: what each swept key does to cost and risk, which cells failed, and what binds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from allocator.report import numbers, shell, svg, table
from allocator.report.frames import Frame, plain
from allocator.report.html import Content, Html, el, join
from allocator.report.nodes import Node
from allocator.report.numbers import tag
from allocator.report.sweep_figures import binding, cloud, curve, heat_map, label, varied
from allocator.report.table import MOST_ROWS, Table
from allocator.runs import MANIFEST, Run

_MOST_MAPS, _MOST_CURVES = 4, 8  # pairs of keys, keys
_MEASURES = ("total_usd", "volatility_hedged_usd")
_COLUMNS = ("total_usd", "volatility_hedged_usd", "funding_usd", "trading_usd", "gross_usd", "turnover_usd")
_HEADS = (">objective", ">volatility", ">funding", ">trading", ">gross", ">turnover")
_SECTIONS = (
    ("pairs", "Two keys"),
    ("keys", "One key"),
    ("cells", "Cells"),
    ("binding", "What binds"),
    ("failed", "Failed"),
    ("provenance", "Provenance"),
)


def page(run: Run) -> str:
    """HTML of a verified sweep; the same sweep gives the same bytes.

    Every number that is shown as text points to its file: a cell's to ``cells.parquet#/row/column``, one of
    many cells to ``cells.parquet#mean(column)?key=value``.
    """
    result = Node(json.loads(run.text("result.json")), "result.json#")
    manifest = Node(json.loads(run.text(MANIFEST)), f"{MANIFEST}#")
    cells = Frame(pd.read_parquet(run.folder / "cells.parquet"), "cells.parquet")
    limits = pd.read_parquet(run.folder / "limits.parquet")
    keys = varied(cells.table, [str(key) for key in result["swept"].value])
    failed = any(status != "optimal" for status in result["by_status"].value)
    state = ("some cells failed", False) if failed else ("all cells optimal", True)
    body = [
        _verdict(result, cells),
        shell.contents(_SECTIONS),
        _sensitivity(result),
        _pairs(cells.table, keys),
        _keys(cells.table, keys),
        _cells(cells, keys),
        _binding(limits),
        _failed(cells),
        shell.provenance(manifest, ("run", str(result["run_id"]))),
    ]
    name = str(result["scenario"])
    said = el("span", "", "sweep · ")
    return shell.whole(
        f"{name} · sweep", shell.header(name, state, str(result["run_id"]), said), join(body, "\n")
    )


def _verdict(result: Node, cells: Frame) -> Html:
    said: list[Content] = [tag(result["cells"], numbers.count), " cells: "]
    counts = result["by_status"]
    said.append(join([join([tag(counts[name], numbers.count), f" {name}"]) for name in counts.value], ", "))
    sentences: list[Content] = [el("strong", "", *said, ".")]
    for word, column in (("Cheapest", "total_usd"), ("Calmest", "volatility_hedged_usd")):
        if column in cells.table and cells.table[column].notna().any():
            row = int(cells.table[column].argmin())
            sentences.append(
                join(
                    [
                        f"{word}: cell {cells.table['name'].iat[row]}, objective ",
                        tag(cells.at(row, "total_usd"), numbers.dollars),
                        ", volatility ",
                        tag(cells.at(row, "volatility_hedged_usd"), numbers.dollars),
                        ".",
                    ]
                )
            )
    said_of = (
        "The objective holds each cell's own weights: where those are swept, compare cost and volatility."
    )
    return join([shell.paragraphs(*sentences), shell.note(said_of)])


def _sensitivity(result: Node) -> Html:
    """What moves the objective: a share of its variance by key, where the result holds it."""
    found = result.get("sensitivity")
    if not found:
        return Html("")
    rows = [
        (
            str(row["key"]),
            tag(row["share"], numbers.percent),
            tag(row["range_usd"], numbers.dollars),
            tag(row["slope_usd_per_unit"], numbers.plain),
            str(row["best"]),
            str(row["worst"]),
            ", ".join(row["in_step_with"].value) or "–",
        )
        for row in found
    ]
    columns = ("key", ">share", ">range", ">USD per unit", "cheapest at", "dearest at", "in step with")
    drawn = table.draw(Table("sensitivity-list", "Main effects on the objective", columns, rows))
    said = shell.note("Share: of the variance of the objective over all cells, what the key alone explains.")
    return shell.section("sensitivity", "What moves the objective", drawn, said)


def _pairs(cells: pd.DataFrame, keys: Sequence[str]) -> Html:
    if not cells["status"].eq("optimal").any():
        return shell.section("pairs", "Two keys", shell.note("No cell is optimal: there is nothing to draw."))
    pairs = list(combinations(keys, 2))
    drawn = [svg.draw(heat_map(cells, x, y, value)) for x, y in pairs[:_MOST_MAPS] for value in _MEASURES]
    said = [shell.note("Fewer than two keys vary.")] if not pairs else []
    if len(pairs) > _MOST_MAPS:
        said = [shell.note(f"The first {_MOST_MAPS} of {len(pairs)} pairs of keys.")]
    return shell.section("pairs", "Two keys", *said, shell.pictures(*drawn))


def _keys(cells: pd.DataFrame, keys: Sequence[str]) -> Html:
    if not cells["status"].eq("optimal").any():
        return Html("")
    drawn = [svg.draw(curve(cells, key, value)) for key in keys[:_MOST_CURVES] for value in _MEASURES]
    said = [shell.note(f"The first {_MOST_CURVES} of {len(keys)} keys.")] if len(keys) > _MOST_CURVES else []
    if not keys:
        said = [shell.note("No key varies.")]
    return shell.section("keys", "One key", *said, shell.pictures(*drawn))


def _cells(cells: Frame, keys: Sequence[str]) -> Html:
    found = cells.table[cells.table["status"] == "optimal"]
    if not len(found):
        return Html("")
    order = found["total_usd"].sort_values(kind="stable").index[:MOST_ROWS]
    rows = []
    for row in order:
        shown: list[Content] = [str(cells.table["name"].iat[row])]
        shown += [_swept(cells.at(row, key)) for key in keys]
        shown += [tag(cells.at(row, column), numbers.dollars) for column in _COLUMNS]
        shown.append(_binds(plain(cells.table["binding"].iat[row])))
        rows.append(shown)
    numeric = [pd.api.types.is_float_dtype(cells.table[key]) for key in keys]
    heads = [f"{'>' if right else ''}{key}" for key, right in zip(keys, numeric, strict=True)]
    drawn = table.draw(
        Table("cell-list", "Cells, the cheapest first", ("cell", *heads, *_HEADS, "binds"), rows)
    )
    more = len(found) - len(order)
    said = [shell.note(f"The {MOST_ROWS} cheapest; {more:,} more stand in cells.parquet.")] if more else []
    return shell.section("cells", "Cells", shell.pictures(svg.draw(cloud(cells.table))), drawn, *said)


def _binds(said: str | None) -> str:
    """Limits by name, each once, with the number of its subjects; the table of cells has them in full."""
    names = Counter(part.partition(" (")[0] for part in said.split("; ")) if said else {}
    return ", ".join(f"{name} ×{k}" if k > 1 else name for name, k in names.items()) or "nothing"


def _swept(node: Node) -> Content:
    """A swept value: a number with its place, or text."""
    if isinstance(node.value, float) and not isinstance(node.value, bool):
        return tag(node, numbers.plain)
    return label(node.value)


def _binding(limits: pd.DataFrame) -> Html:
    if not len(limits):
        return shell.section("binding", "What binds", shell.note("No limit binds in any cell."))
    frame = Frame(limits, "limits.parquet")
    names = limits.groupby("name")["cell"].nunique().sort_values(ascending=False).index[:MOST_ROWS]
    rows = [
        (
            str(name),
            tag(frame.of("nunique", "cell", {"name": name}), numbers.count),
            tag(frame.of("median", "shadow_price_usd", {"name": name}), numbers.price),
            tag(frame.of("max", "shadow_price_usd", {"name": name}), numbers.price),
        )
        for name in names
    ]
    columns = ("limit", ">cells", ">median price per unit", ">highest")
    drawn = table.draw(Table("binding-list", "Limits with a price", columns, rows))
    return shell.section("binding", "What binds", shell.pictures(svg.draw(binding(limits))), drawn)


def _failed(cells: Frame) -> Html:
    failed = cells.table[cells.table["status"] != "optimal"]
    if not len(failed):
        return shell.section("failed", "Failed", shell.note("None."))
    rows = [
        (str(name), str(status), str(reason))
        for name, status, reason in zip(failed["name"], failed["status"], failed["reason"], strict=True)
    ]
    drawn = table.draw(Table("failed-list", "Cells without an answer", ("cell", "status", "reason"), rows))
    return shell.section("failed", "Failed", drawn)
