"""Notebooks run from a fresh checkout, and are kept without outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LEAST = {"own_limit_and_estimator": 2}  # pictures; three elsewhere


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == [
        "backtest_and_calibration",
        "daily_allocation",
        "frontier_and_risk_aversion",
        "own_limit_and_estimator",
        "stress_and_what_if",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_tells_and_checks(path):
    """Prose between the cells, and at least three statements about the numbers that may fail."""
    book = nbformat.read(path, as_version=4)
    code = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
    assert sum(cell.cell_type == "markdown" for cell in book.cells) >= 5
    assert sum(line.strip().startswith("assert ") for line in code.splitlines()) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_valid_and_has_no_outputs(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert book.metadata.kernelspec.name == "python3"
    for cell in book.cells:
        assert cell.cell_type == "markdown" or (not cell.outputs and cell.execution_count is None)


@pytest.mark.long
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs(path, monkeypatch):
    from nbclient import NotebookClient

    # A backend set for scripts would keep plots out of the notebook.
    monkeypatch.delenv("MPLBACKEND", raising=False)

    book = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    drawn = {"image/png", "application/vnd.plotly.v1+json"}
    assert sum(bool(drawn & output.get("data", {}).keys()) for output in outputs) >= LEAST.get(path.stem, 3)
    assert not [output for output in outputs if output.get("name") == "stderr"]
