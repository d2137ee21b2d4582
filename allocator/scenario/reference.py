"""JSON Schema for editors and the reference page, both generated from the schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from pydantic import BaseModel

from allocator.scenario.emit import flow_text
from allocator.scenario.keys import Shape, scenario_shape
from allocator.scenario.schema import DEFAULT_LIMITS, Scenario
from allocator.scenario.source import Plain
from allocator.scenario.sweep import Sweep, sweep_shape

Json: TypeAlias = dict[str, Plain]
_PARTIAL = "Partial"

_INTRO = """\
# Scenario files

<!-- Generated from the schema; do not edit. -->

One YAML 1.2 file states everything a run depends on besides the tables. `hedge schema > scenario.json` gives
an editor the keys: put `# yaml-language-server: $schema=scenario.json` on the first line.

**Values.** A quantity is text with its unit: durations `24h`, `90m`, `3d`, `1w`; shares and rates `5bp`,
`30%`; amounts `$250`, `$100k`, `-$1.2m`, `3bn USD`; multiples `10x`; yearly rates `3%/y`, `1bp/d`; funding
rates `1bp/8h` (positive: longs pay shorts). 0 may stand without unit for shares, amounts and rates. A plain
number has no dimension. `yes` and `no` are text; write `true` or `false`. Times carry their zone:
`2026-09-01T00:00:00Z`.

**Layers**, later ones win: the default limits, the file named by `extends` (relative to the file that names
it), the file itself, its overlays in the order given with `--overlay`, then each `--set dotted.key=value`.

- A venue that names a `table` starts from it (below the default limits): fees, margin rules and liquidation
  penalty. The table also fills cells that the snapshot's `instruments` leave out, and `margin_tiers`.
- Maps merge; lists and values replace.
- In a map whose keys are names of your choice (`<name>` below), a layer may add a whole entry, or remove one
  with `null`. `--set` adds one as `--set 'stresses.crash={move: -30%}'`. Every other key must be one of those
  below.
- A limit that is given another `kind` is a new limit: all fields it had before go away.
- `overlays` are named partial scenarios. `use: [other, ...]` applies others first; each is applied once. An
  overlay of an extending file replaces the base's overlay of the same name.
- Names of venues, instruments, limits, stresses and overlays have letters, digits, `_` and `-`.

`hedge show --origin` prints each value with the file and line that set it.
"""

_SWEEP = """
## `sweep`

Which values keys take, cell by cell, for `hedge sweep`. Keys are dotted, as for `--set`; `overlay` takes
names of overlays, lists of them, or `null` for none. `grid` is every combination, `zip` goes in step,
`random` draws, `list` states cells one by one (`name` names one); blocks combine, every row of each with
every row of the others. An axis is a list of values, or `{from: $8m, to: $12m, steps: 5}`, evenly spaced,
both ends included (`spacing: log`: evenly in ratio).

```yaml
sweep:
  grid:
    limits.gross.max: {from: $8m, to: $12m, steps: 5}
    overlay: [null, cautious]
  list:
    - {name: as today}
    - {name: worse crash, stresses.crash.move: -50%}
```

"""


def json_schema() -> Json:
    """The JSON Schema (draft 2020-12) of a scenario file. A file that extends another may leave keys out."""
    full = Scenario.model_json_schema()
    definitions = full.pop("$defs")
    root: Json = {"$ref": "#/$defs/Scenario"}
    # `snapshot: DIR` is short for its folder.
    folder = {"type": "string", "description": "The snapshot folder."}
    full["properties"]["snapshot"] = {"anyOf": [full["properties"]["snapshot"], folder]}
    definitions["Scenario"] = full
    # A venue table gives the fees, so that only a venue without one must state them.
    venue = _map(definitions["Venue"])
    required = venue["required"]
    needed: list[Plain] = [key for key in required if key != "fees"] if isinstance(required, list) else []
    either: list[Plain] = [{"required": ["fees"]}, {"required": ["table"]}]
    definitions["Venue"] = {**venue, "required": needed, "anyOf": either}
    _use_defaults(definitions)
    partial = {_PARTIAL + name: _loosen(item) for name, item in definitions.items()}
    overlay = _with_keys(partial[f"{_PARTIAL}Scenario"], {"use": _names("Overlays applied before this one.")})
    partial["Overlay"] = overlay
    layers = _layer_keys()
    definitions["Scenario"] = _with_keys(_removable(definitions["Scenario"]), layers)
    partial[f"{_PARTIAL}Scenario"] = _with_keys(partial[f"{_PARTIAL}Scenario"], layers)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Hedge allocation scenario",
        "type": "object",
        "if": {"required": ["extends"]},
        "then": {"$ref": f"#/$defs/{_PARTIAL}Scenario"},
        "else": root,
        "$defs": {**definitions, **partial, **_sweep_definitions()},
    }


def _sweep_definitions() -> Json:
    sweep = Sweep.model_json_schema()
    return {**sweep.pop("$defs"), "Sweep": sweep}


def _names(description: str) -> Json:
    return {"type": "array", "items": {"type": "string"}, "description": description}


def _layer_keys() -> Json:
    overlays: Json = {
        "type": "object",
        "description": "Named partial scenarios, applied with --overlay.",
        "additionalProperties": {"anyOf": [{"$ref": "#/$defs/Overlay"}, {"type": "null"}]},
    }
    return {
        "extends": {"type": "string", "description": "The scenario file this one starts from."},
        "overlays": overlays,
        "sweep": {"$ref": "#/$defs/Sweep"},
    }


def _with_keys(schema: Plain, keys: Json) -> Json:
    found = _map(schema)
    return {**found, "properties": {**_map(found["properties"]), **keys}}


def _map(value: Plain) -> Json:
    if not isinstance(value, dict):
        raise TypeError("the generated schema is not a map here")
    return value


def _removable(scenario: Json) -> Json:
    """Limits have defaults below every file: none is needed, and one may be removed with null."""
    properties = _map(scenario["properties"])
    limits = _map(properties["limits"])
    entry: Json = {"anyOf": [limits["additionalProperties"], {"type": "null"}]}
    required = scenario["required"]
    needed: list[Plain] = [key for key in required if key != "limits"] if isinstance(required, list) else []
    return {
        **scenario,
        "required": needed,
        "properties": {**properties, "limits": {**limits, "additionalProperties": entry}},
    }


def _loosen(schema: Plain) -> Plain:
    """The same, with nothing required, entries of maps removable, and references to loosened definitions."""
    if isinstance(schema, list):
        return [_loosen(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    loose: Json = {}
    for key, value in schema.items():
        if key in ("required", "discriminator", "minProperties"):
            continue
        if key == "$ref" and isinstance(value, str):
            loose[key] = value.replace("#/$defs/", f"#/$defs/{_PARTIAL}")
        elif key == "additionalProperties" and isinstance(value, dict):
            loose[key] = {"anyOf": [_loosen(value), {"type": "null"}]}
        else:
            # Without its kind, a limit may match several of the alternatives.
            loose["anyOf" if key == "oneOf" else key] = _loosen(value)
    return loose


def _use_defaults(definitions: Mapping[str, Json]) -> None:
    """Write defaults as a file would hold them: with their unit."""
    for name, shape in _models(scenario_shape(), "Scenario"):
        for key, item in shape.fields.items():
            properties = _map(definitions[name]["properties"])
            if not item.required and "default" in _map(properties[key]):
                properties[key] = {
                    **_map(properties[key]),
                    "default": _default_value(item.shape, item.default),
                }


def _models(shape: Shape, name: str) -> Iterator[tuple[str, Shape]]:
    if shape.fields:
        yield shape.name or name, shape
    children = [key.shape for key in shape.fields.values()] + list(shape.kinds.values())
    for child in [*children, *([shape.entries] if shape.entries else [])]:
        yield from _models(child, name)


def _default_value(shape: Shape, default: object) -> Plain:
    if isinstance(default, BaseModel):
        return dict(default.model_dump(mode="json"))
    if isinstance(default, float) and shape.to_text is not None:
        return shape.to_text(default)
    if default is None or isinstance(default, str | int | float | bool):
        return default
    if isinstance(default, list):
        return list(default)
    return dict(default) if isinstance(default, dict) else None


def reference_markdown() -> str:
    """Every key with its type, bounds, default and meaning, as the page ``scenarios/README.md``."""
    shape = scenario_shape()
    parts = [_INTRO, "\n## Top level\n\n", *_table(_top_rows(shape))]
    for name, key in shape.fields.items():
        target = key.shape.entries or key.shape
        if not target.fields and not target.kinds:
            continue
        parts.append(f"\n## `{name}`\n\n")
        if target.kinds:
            parts += _kinds(name, target)
        else:
            parts += [f"{_one_line(target.doc)}\n\n", *_table(_rows(name, key.shape))]
    return "".join([*parts, _SWEEP, *_table(_rows("sweep", sweep_shape().fields["sweep"].shape))])


def _kinds(name: str, shape: Shape) -> list[str]:
    defaults = "".join(f"- `{key}: {flow_text(value)}`\n" for key, value in DEFAULT_LIMITS.items())
    parts = [
        "The key `kind` says what is limited. Every kind also takes `soft` (share or rate, more than 0%):\n"
        "the price of a breach in USD per USD and decision horizon; without it the limit is hard.\n\n"
        f"Every scenario starts from these; remove one with `null`:\n\n{defaults}"
    ]
    for kind, one in shape.kinds.items():
        parts.append(f"\n### `kind: {kind}`\n\n{_one_line(one.doc)}\n")
        rows = [row for row in _rows(f"{name}.<name>", one) if not row[0].endswith((".kind", ".soft"))]
        parts += ["\n", *_table(rows)] if rows else []
    return parts


def _top_rows(shape: Shape) -> Iterator[tuple[str, str, str, str]]:
    for name, key in shape.fields.items():
        text = key.description or _one_line((key.shape.entries or key.shape).doc)
        yield name, _type(key.shape), _default_text(key.shape, key.required, key.default), text
    yield "extends", "text", "none", "Path of the scenario file this one starts from."
    yield (
        "overlays",
        "map of names",
        "`{}`",
        "Partial scenarios by name, each with an optional `use: [names]`.",
    )
    yield "sweep", "map", "none", "Values by dotted key, cell by cell, for `hedge sweep`."


def _rows(path: str, shape: Shape) -> Iterator[tuple[str, str, str, str]]:
    """Rows of every key below ``path``."""
    if shape.entries is not None:
        if not shape.entries.fields and not shape.entries.kinds:
            yield f"{path}.<name>", _type(shape.entries), "", ""
        yield from _rows(f"{path}.<name>", shape.entries)
    for name, key in shape.fields.items():
        below = f"{path}.{name}"
        default = _default_text(key.shape, key.required, key.default)
        yield below, _type(key.shape), default, key.description or key.shape.doc
        yield from _rows(below, key.shape)


def _type(shape: Shape) -> str:
    bounds = f", {', '.join(shape.bounds)}" if shape.bounds else ""
    pattern = f"{shape.label}{bounds}"
    return f"{pattern}, or null" if shape.nullable else pattern


def _default_text(shape: Shape, required: bool, default: object) -> str:
    if shape.entries is not None and shape.entries.kinds:
        return "see below"
    if required:
        return "required"
    if shape.fields:
        return "see below"
    return "none" if default is None else f"`{flow_text(_default_value(shape, default))}`"


def _table(rows: Iterator[tuple[str, str, str, str]] | list[tuple[str, str, str, str]]) -> list[str]:
    lines = ["| Key | Type | Default | Meaning |\n", "|---|---|---|---|\n"]
    for path, kind, default, text in rows:
        cells = (f"`{path}`", kind, default, _one_line(text))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return lines


def _one_line(text: str) -> str:
    return " ".join(text.split())
