"""The page of formulas has a section for every module, and names only what there is."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "models"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
SHARED = {"__init__", "arrays"}  # shapes and checks, no formula
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in SHARED)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_section(module):
    assert f"\n## {module}\n" in PAGE


def test_every_section_is_of_a_module_or_of_the_program():
    assert set(re.findall(r"^## (.+)$", PAGE, flags=re.M)) == {*MODULES, "The program"}


def test_every_name_in_code_letters_is_there():
    known = set(MODULES)
    for module in MODULES:
        found = import_module(f"models.{module}")
        known |= set(dir(found))
        known |= {
            field for item in vars(found).values() for field in getattr(item, "__dataclass_fields__", {})
        }
    named = set(re.findall(r"`([a-z_]+)`", PAGE))
    assert named - known <= {"fit", "covariance_"}  # scikit-learn's


def test_formulas_are_closed():
    assert PAGE.count("$$") % 2 == 0
    for line in PAGE.replace("$$", "").split("\n\n"):
        assert line.count("$") % 2 == 0, line
