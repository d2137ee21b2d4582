"""Who may import whom: the layers that let the audit be trusted and the command start at once."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"cvxpy", "numpy", "pandas", "scipy", "pyarrow", "rich", "pydantic"}
SOLVERS = {"cvxpy", "clarabel", "highspy", "scs", "osqp", "piqp"}

# Data flow one way: no part imports one that comes after it. Parts not named here are shared formulas.
ORDER = (
    "errors", "units", "identity", "scenario", "snapshot", "venues", "market", "<shared>", "audit", "program",
    "audited", "orders", "order_stage", "result", "result_tables", "report", "explanations", "allocation",
    "explanation", "sweeps", "frontiers", "backtests", "plots", "commands", "cli",
)  # fmt: skip
# What comes after the program does not know it, but for `allocation` which solves; tables need no scenario.
STRANGERS = [("orders", "program"), ("result", "program"), ("snapshot", "scenario")]
# Imports inside functions are kept for what a run may not need; elsewhere they would hide a cycle.
MAY_IMPORT_ALL_LATE = {"allocation", "backtests", "cli", "commands", "explanation", "frontiers", "sweeps"}
MAY_IMPORT_LATE = {
    ("scenario", "venues"),
    ("snapshot", "venues"),
    ("market", "venues"),
    ("models", "scipy"),
    ("explanations", "allocation"),
    ("orders", "openpyxl"),
    ("models", "sklearn"),
    ("program", "piqp"),
    ("report", "plotly"),
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def part_of(path: Path) -> str:
    """`allocator/audit/bound.py` and `allocator/evaluate.py` as `audit` and `evaluate`."""
    return path.relative_to(ROOT / "allocator").parts[0].removesuffix(".py")


@cache
def imported(path: Path, late: bool = True) -> frozenset[str]:
    """Dotted names of every import of a file that runs; `late` includes those inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if not late and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return frozenset(found)


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


def parts(names: Iterable[str]) -> set[str]:
    """What of `allocator`, or which other package, each imported name belongs to."""
    return {name.split(".")[1] if name.startswith("allocator.") else name.split(".")[0] for name in names}


def own_parts(path: Path, late: bool = True) -> set[str]:
    """Other parts of `allocator` that a file imports."""
    return parts(name for name in imported(path, late) if name.startswith("allocator.")) - {part_of(path)}


@pytest.mark.parametrize("path", modules("models"), ids=lambda p: p.name)
def test_models_know_neither_the_allocator_nor_a_solver_nor_files(path):
    assert not tops(path) & ({"allocator", "pydantic", "pathlib", "io"} | SOLVERS)


def rank(part: str) -> int:
    return ORDER.index(part if part in ORDER else "<shared>")


@pytest.mark.parametrize("path", modules("allocator"), ids=lambda p: str(p.relative_to(ROOT)))
def test_data_flow_one_way(path):
    own = part_of(path)
    # Modules of the market may use the shared formulas, which in turn know its types.
    highest = rank("<shared>") if own == "market" else rank(own)
    assert not {part for part in own_parts(path, late=False) if rank(part) > highest}


@pytest.mark.parametrize(("part", "stranger"), STRANGERS)
def test_strangers_do_not_meet(part, stranger):
    assert not [
        path for path in modules("allocator") if part_of(path) == part and stranger in own_parts(path)
    ]


def test_only_the_program_imports_a_modeller_or_solver():
    users = {part_of(path) for path in modules("allocator") if tops(path) & SOLVERS}
    assert users == {"program"}


def test_a_scenario_needs_no_numbers():
    for path in (ROOT / "allocator/scenario").glob("*.py"):
        assert not tops(path) & {"numpy", "pandas", "scipy", "pyarrow", "models"}, path


def test_imports_inside_functions_are_where_they_are_declared():
    for package in ("allocator", "models"):
        for path in modules(package):
            own = part_of(path) if package == "allocator" else package
            late = parts(imported(path) - imported(path, late=False))
            if own not in MAY_IMPORT_ALL_LATE:
                assert {(own, part) for part in late} <= MAY_IMPORT_LATE, path


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in memory after a statement in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_audit_runs_without_the_solver():
    names = "allocator.audit, allocator.evaluate, allocator.market.build, allocator.orders.order_list"
    assert not loaded_by(f"import {names}") & SOLVERS


def test_importing_the_package_or_the_command_is_free():
    assert not loaded_by("import allocator, allocator.cli, allocator.errors") & HEAVY


def committed_texts() -> Iterator[Path]:
    folders = ("allocator", "models", "tests", "scenarios", "notebooks", ".ci")
    kinds = {".py", ".md", ".yaml", ".toml", ".ipynb", ".csv", ""}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            hidden = any(part.endswith("_cache") or part == "__pycache__" for part in path.parts)
            if path.is_file() and not hidden and path.suffix in kinds:
                yield path
    yield from (path for path in sorted(ROOT.glob("*")) if path.suffix in {".md", ".toml"})


def test_no_text_names_a_path_of_somebody_s_machine():
    local = [f"/{folder}/" for folder in ("work", "home", "root", "Users")]
    texts = list(committed_texts())
    assert len(texts) > 50
    for path in texts:
        text = path.read_text(encoding="utf-8", errors="replace")
        assert not [name for name in local if name in text], path
