"""The README does what it says: its commands, its Python, its scenario, its page and its tables."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import allocator
from allocator import HedgeError, allocate, load
from allocator.cli import main
from allocator.snapshot.columns import TABLES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SET_UP = [
    "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/hedge allocate scenarios/daily.yaml",
    "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest",
]


REFRESH = "the README shows another page; write it again with `python tests/test_readme.py`"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^## |\Z)", README, flags=re.MULTILINE | re.DOTALL)
    assert found, f"README has no section {title!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Cells of the Markdown tables of a text, without their headers."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    tables = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    headers = [k - 1 for k, cells in enumerate(tables) if set("".join(cells)) <= set("-:")]
    return [row for k, row in enumerate(tables) if k not in headers and k - 1 not in headers]


def commands() -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("hedge ")]


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs") / "daily"


@pytest.fixture(scope="module")
def result(out) -> Mapping[str, Any]:
    assert main(["allocate", str(ROOT / "scenarios/daily.yaml"), "--out", str(out)]) == 0
    (run,) = (path for path in out.iterdir() if path.is_dir())
    return json.loads((run / "result.json").read_text(encoding="utf-8"))


def test_two_commands_set_up_everything():
    assert [block.strip() for block in blocks("sh") if "pip install" in block] == SET_UP
    # The line that CI finds them by finds no other.
    assert re.findall(r"^python3 -m venv .*$", README, flags=re.MULTILINE) == SET_UP


@pytest.mark.parametrize("command", commands())
def test_a_command_runs(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    words = shlex.split(command, comments=True)[1:]
    promised = re.search(r"# exit (\d+)", command)
    if words[0] == "allocate":
        words += ["--out", str(tmp_path)]
    assert main(words) == (int(promised[1]) if promised else 0)
    assert capsys.readouterr().out


def test_development_commands_name_installed_tools():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tools = {re.split(r"[<>=]", need)[0] for need in project["optional-dependencies"]["test"]}
    tools |= {"python", "pip", *project["scripts"]}
    assert set(re.findall(r"\.venv/bin/([\w-]+)", README)) <= tools


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_run(code, tmp_path, monkeypatch, capsys):
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert ("total_usd" if "sweep(" in code else "hyperliquid") in capsys.readouterr().out


def test_the_scenario_is_complete(tmp_path):
    (text,) = blocks("yaml")
    assert len(text.splitlines()) <= 25
    (tmp_path / "daily").symlink_to(ROOT / "scenarios/daily")
    (tmp_path / "small.yaml").write_text(text, encoding="utf-8")
    assert allocate(load(tmp_path / "small.yaml")).audit.passed


def words_and_numbers(line: str) -> tuple[str, list[float]]:
    """A line with its numbers taken out, and the numbers."""
    bare = re.sub(r"\.yaml:\d+", ".yaml:", line.replace("−", "-"))
    numbers = [float(text.replace(",", "")) for text in re.findall(r"\d[\d,]*\.?\d*", bare)]
    return " ".join(re.sub(r"\d[\d,]*\.?\d*", "0", bare).split()), numbers


def shortened(page: str) -> str:
    """The page of the daily run as the README shows it: long tables cut, the run's folder left out."""
    lines = [line.rstrip() for line in page.splitlines()]
    end = next(k for k, line in enumerate(lines) if line.startswith(("Note: ", "Run ")))
    shown: list[str] = []
    for part in "\n".join(lines[:end]).strip().split("\n\n"):
        rows, keep = part.splitlines(), {"Orders": (4, 2), "What limits cost": (4, 0)}
        first, last = keep.get(part.splitlines()[0], (len(rows), 0))
        cut = [*rows[:first], "...", *rows[len(rows) - last :]] if len(rows) > first + last else rows
        shown += ["", *cut]
    return "\n".join(shown[1:]) + "\n"


def daily_page(out: Path) -> str:
    os.environ["COLUMNS"] = "80"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["allocate", str(ROOT / "scenarios/daily.yaml"), "--out", str(out)]) == 0
    return shortened(printed.getvalue())


def test_the_page_is_what_a_run_prints(result, out, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown, printed = blocks("text")[0].splitlines(), daily_page(out).splitlines()
    for mine, theirs in zip(shown, printed, strict=True):
        words, numbers = words_and_numbers(mine)
        assert words_and_numbers(theirs) == (words, pytest.approx(numbers, rel=0.02, abs=2.0)), REFRESH


def fields_of(part: object) -> set[str]:
    first = part[0] if isinstance(part, list) else part
    assert isinstance(first, dict)
    return set(first)


def test_the_result_reference_has_every_field_and_no_other(result):
    table = [row for row in rows(section("result.json")) if len(row) == 3]
    named = {row[0].strip("`"): set(re.findall(r"`([\w]+)`", row[1])) for row in table}
    scalars = named.pop("(top)") | {key for key, fields in named.items() if not fields}
    assert scalars == {k for k, v in result.items() if not isinstance(v, dict | list)} | {"notices"}
    nested = {key: fields for key, fields in named.items() if fields}
    assert set(nested) | scalars == set(result)
    for key, fields in nested.items():
        assert fields == fields_of(result[key]), key
    assert fields_of(result["audit"]["rounded"]) - {"gap_usd", "method"} <= named["audit"]


def errors() -> Iterator[type[HedgeError]]:
    for name in allocator.__all__:
        kind = getattr(allocator, name)
        if isinstance(kind, type) and issubclass(kind, HedgeError) and kind is not HedgeError:
            yield kind


def test_exit_codes_are_those_of_the_errors():
    table = {(row[0], error) for row in rows(section("Exit codes and errors")) for error in row[2].split("`")}
    reserved = {"Refused"}
    for kind in errors():
        assert kind.__name__ in reserved or (str(kind.exit_code), kind.__name__) in table
    states = {row[0]: row[1] for row in rows(section("Exit codes and errors"))}
    assert all(kind.status in states.get(str(kind.exit_code), kind.status) for kind in errors())


def test_the_tables_are_those_that_are_read():
    assert {row[0].strip("`") for row in rows(section("The snapshot folder"))} == set(TABLES)


def test_the_run_folder_has_the_files_named(result, out):
    cells = "".join(row[0] for row in rows(section("The run folder")) if len(row) == 2)
    there = {path.name for path in (out / result["run_id"]).iterdir()}
    assert there == set(re.findall(r"`([\w.]+\.\w+)`", cells))


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        (ROOT / "README.md").write_text(README.replace(blocks("text")[0], daily_page(Path(folder))), "utf-8")
