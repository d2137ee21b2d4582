"""The page of a frontier: the curve, the scenario's own point on it, and what plain hedges give away."""

from __future__ import annotations

import json
from collections.abc import Iterator

from allocator.report import numbers, shell, svg, table
from allocator.report.charts import Curves
from allocator.report.frontier_figures import form_of, of_data
from allocator.report.html import Content, Html, el, join
from allocator.report.nodes import Node
from allocator.report.numbers import Form, tag
from allocator.report.table import Table
from allocator.runs import MANIFEST, Run

FILE = "frontier.json"
_OWN = "scenario"
_SECTIONS = (
    ("curve", "Curve"),
    ("beside", "Beside it"),
    ("points", "Points"),
    ("provenance", "Provenance"),
)


def page(run: Run) -> str:
    """HTML of a verified frontier; every number points to its place in ``frontier.json``."""
    data = Node(json.loads(run.text(FILE)), f"{FILE}#")
    manifest = Node(json.loads(run.text(MANIFEST)), f"{MANIFEST}#")
    whole = str(data["status"]) == "optimal"
    state = ("every point proven", True) if whole else ("some points are missing", False)
    body = [
        shell.paragraphs(*_verdict(data)),
        shell.contents(_SECTIONS),
        _curve(data),
        _references(data),
        _points(data),
        shell.provenance(manifest, ("run", str(data["run_id"])), ("as of", str(data["as_of"]))),
    ]
    name = str(data["scenario"])
    header = shell.header(name, state, str(data["run_id"]), f"frontier as of {data['as_of']} · ")
    return shell.whole(f"{name} · frontier", header, join(body, "\n"))


def _forms(data: Node) -> tuple[Form, Form]:
    return form_of(str(data["x"]["unit"])), form_of(str(data["y"]["unit"]))


def _verdict(data: Node) -> Iterator[Content]:
    """The reach of the curve, and where the scenario's own optimum lies."""
    points, (across, up) = list(data["points"]), _forms(data)
    first, last = points[0], points[-1]
    yield el(
        "strong", "", f"{len(points)} points: {data['x']['label']} from ", tag(first["x"], across), " to ",
        tag(last["x"], across), f", {data['y']['label']} from ", tag(first["y"], up), " to ",
        tag(last["y"], up), ".",
    )  # fmt: skip
    for row in data["references"]:
        if str(row["name"]) == _OWN:
            yield join(["The scenario's own optimum: ", tag(row["x"], across), ", ", tag(row["y"], up), "."])
    worst = [row for row in data["references"] if row.get("excess") is not None and str(row["name"]) != _OWN]
    for row in sorted(worst, key=lambda row: row["excess"].value)[:1]:
        minimised = up if data["minimised"].value == data["y"]["name"].value else across
        yield join(
            [
                f"The nearest plain plan is {row['label']}: ",
                tag(row["excess"], minimised),
                f" more {data['minimised']} than the least at its {data['bounded']}",
                "." if row["permitted"].value else ", and it breaches limits.",
            ]
        )


def _curve(data: Node) -> Html:
    picture: Curves = of_data(data)
    said = shell.note(
        "Each point has the least of one quantity that the other allows, and passed the audit. Plans beside "
        "the curve may breach limits that all points keep; then they may even lie below it."
    )
    return shell.section("curve", "Curve", shell.pictures(svg.draw(picture)), said)


def _references(data: Node) -> Html:
    across, up = _forms(data)
    rows = []
    for row in data["references"]:
        broken = [str(breach["limit"]) for breach in row.value["breaches"]]
        kept = row["permitted"].value
        rows.append(
            (
                str(row["label"]),
                tag(row["x"], across),
                tag(row["y"], up),
                tag(row["excess"], up if data["minimised"].value == data["y"]["name"].value else across),
                "every limit kept" if kept else f"breaches {', '.join(dict.fromkeys(broken))}",
            )
        )
    columns = (
        "plan",
        f">{data['x']['name']}",
        f">{data['y']['name']}",
        f">more {data['minimised']}",
        "limits",
    )
    return shell.section(
        "beside", "Beside the curve", table.draw(Table("reference-list", "Plans beside it", columns, rows))
    )


def _points(data: Node) -> Html:
    across, up = _forms(data)
    rows = []
    for row in data["points"]:
        asked = row.value.get("set")
        rows.append(
            (
                tag(row["point"], numbers.count),
                tag(row["x"], across),
                tag(row["y"], up),
                tag(row["audit"]["duality_gap_usd"], numbers.plain),
                el("code", "", " ".join(f"--set {each}" for each in asked)) if asked else "–",
            )
        )
    columns = (
        ">#",
        f">{data['x']['name']}",
        f">{data['y']['name']}",
        ">gap to the best, USD",
        "to allocate it",
    )
    drawn = table.draw(Table("point-list", "Points along the curve", columns, rows))
    spacing = data.get("spacing")
    said = shell.note("One point: there is nothing to trade off.")
    if spacing is not None:
        said = shell.note(
            "Neighbours are ", tag(spacing["least"], numbers.ratio), " to ",
            tag(spacing["most"], numbers.ratio), " of their mean distance apart along the curve.",
        )  # fmt: skip
    return shell.section("points", "Points", drawn, said)
