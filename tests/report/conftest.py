import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "commands"))
sys.path.insert(0, str(Path(__file__).parents[1] / "venues"))
sys.path.insert(0, str(Path(__file__).parent))

import pytest
from small_desk import Hedge, in_process


@pytest.fixture
def hedge(capsys: pytest.CaptureFixture[str]) -> Hedge:
    """`hedge` as a function in this process: exit code, stdout, stderr."""
    return in_process(capsys)
