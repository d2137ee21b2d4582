"""Reading a venue table: a name of the package or a file of one's own, with what it extends."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import ValidationError

from allocator.errors import Problem, ScenarioError
from allocator.scenario.keys import Shape, model_shape, suggest
from allocator.scenario.merge import Notes, merge
from allocator.scenario.messages import problems_of
from allocator.scenario.source import Node, Origin, name_beside, plain, read_file
from allocator.venues.check import check_table
from allocator.venues.schema import VenueFile
from allocator.venues.table import VenueTable

_PACKAGE = Path(__file__).parent
_SUFFIXES = (".yaml", ".yml")


def package_tables() -> tuple[str, ...]:
    """Names of the venue tables that come with the package."""
    return tuple(sorted(path.stem for path in _PACKAGE.glob("*.yaml")))


@cache
def table_shape() -> Shape:
    """What may stand where in a venue table."""
    return model_shape(VenueFile)


def load_table(reference: str, folder: Path, beside: str, named_at: str) -> VenueTable:
    """The table `reference` names: of the package (`binance`), or a file (`desk/nova.yaml`) in `folder`.

    `beside` is what lines of the file that names it are called by, `named_at` the line itself. A table may
    ``extends:`` another, as scenarios do. Raises ScenarioError with every problem, each with its file:line.
    """
    tree, label = _chain(reference, folder, beside, named_at, ())
    try:
        file = VenueFile.model_validate(plain(tree), strict=True)
    except ValidationError as error:
        raise ScenarioError(problems_of(error, tree, Origin(label, 1), table_shape())) from error
    table = VenueTable(label, file, tree)
    problems = check_table(table)
    if problems:
        raise ScenarioError(problems)
    return table


def _chain(
    reference: str, folder: Path, beside: str, named_at: str, seen: tuple[Path, ...]
) -> tuple[Node, str]:
    """The merged tree of a file and all it extends, and the name of its lines."""
    path, label = _locate(reference, folder, beside, named_at)
    if path.resolve() in seen:
        raise ScenarioError([Problem(named_at, f"venue tables extend each other in a circle at {label}")])
    tree = read_file(path, label, named_at)
    own = Node(
        {key: item for key, item in tree.entries().items() if key != "extends"}, tree.origin, tree.touched
    )
    base = tree.entries().get("extends")
    if base is None:
        return own, label
    if not isinstance(base.value, str) or not base.value:
        raise ScenarioError([Problem(str(base.origin), "extends: write the name or file of one venue table")])
    below, _ = _chain(base.value, path.parent, label, str(base.origin), (*seen, path.resolve()))
    notes = Notes()
    merged = merge(below, own, notes, table_shape())
    if notes.problems:
        raise ScenarioError(notes.problems)
    return merged, label


def _locate(reference: str, folder: Path, beside: str, named_at: str) -> tuple[Path, str]:
    if reference.endswith(_SUFFIXES):
        return folder / reference, name_beside(beside, reference)
    if reference not in package_tables():
        message = f"there is no venue table `{reference}`; {suggest(reference, package_tables())}"
        raise ScenarioError([Problem(named_at, f"{message}; a file of your own ends in .yaml")])
    return _PACKAGE / f"{reference}.yaml", f"venues/{reference}.yaml"
