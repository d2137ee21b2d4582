import sys
from pathlib import Path

# The desk on two made-up venues, one of them inverse, is that of the venue tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "venues"))
sys.path.insert(0, str(Path(__file__).parent))
