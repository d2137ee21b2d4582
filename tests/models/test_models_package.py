"""The package stays light and independent of the allocator."""

import subprocess
import sys
from pathlib import Path

import models

HEAVY = {"allocator", "cvxpy", "scipy", "pydantic", "pandas"}


def test_the_package_names_its_project():
    assert models.__project__ == "hedge-allocator"


def test_importing_every_formula_loads_nothing_heavy():
    folder = Path(models.__file__).parent
    modules = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    code = "import sys;" + ";".join(f"import models.{name}" for name in modules) + ";print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder.parent, capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & HEAVY
