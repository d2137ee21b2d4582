"""What one key alone cannot show: references between keys, and values that contradict each other.

The checks read the merged tree, not the validated model, so that they find everything at once even when some
other key is wrong. A value that cannot be read is left to validation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from allocator import units
from allocator.errors import Problem
from allocator.scenario.keys import Shape, dotted, scenario_shape, suggest
from allocator.scenario.messages import node_at, source_at
from allocator.scenario.source import KeyPath, Node, Origin

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_NAMED = ("venues", "instruments", "limits", "stresses")
_FARTHEST = 99.0
_NOT_MAKER = ("ioc", "fok")


@dataclass(frozen=True)
class _Tree:
    """The merged scenario with the origin that stands for its whole."""

    root: Node
    main: Origin

    def entries(self, *path: str | int) -> Mapping[str, Node]:
        found = node_at(self.root, path)
        return {} if found is None else found.entries()

    def text(self, *path: str | int) -> str | None:
        """The text at ``path``, the schema's default included; None when absent or no text."""
        found = node_at(self.root, path)
        value = _default(path) if found is None else found.value
        return value if isinstance(value, str) else None

    def texts(self, *path: str | int) -> list[tuple[KeyPath, str]]:
        found = node_at(self.root, path)
        items = found.value if found is not None and isinstance(found.value, list) else []
        return [((*path, at), item.value) for at, item in enumerate(items) if isinstance(item.value, str)]

    def length(self, *path: str | int) -> int:
        """Number of items of the list at ``path``; 0 when there is none."""
        found = node_at(self.root, path)
        return len(found.value) if found is not None and isinstance(found.value, list) else 0

    def number(self, parse: Callable[[object], float], *path: str | int) -> float | None:
        """The quantity at ``path`` in the program's unit; None when absent or unreadable."""
        found = node_at(self.root, path)
        if found is None:
            value = _default(path)
            return float(value) if isinstance(value, int | float) else None
        try:
            return parse(found.value)
        except ValueError:
            return None

    def problem(self, path: KeyPath, message: str) -> Problem:
        return Problem(str(source_at(self.root, path, self.main)), f"{dotted(path)}: {message}")


def _default(path: KeyPath) -> object:
    shape: Shape | None = scenario_shape()
    for part in path[:-1]:
        shape = None if shape is None else shape.child(part)
    key = None if shape is None else shape.fields.get(str(path[-1]))
    return None if key is None or key.required else key.default


def check(root: Node, main: Origin) -> list[Problem]:
    """Every contradiction in the merged scenario."""
    tree = _Tree(root, main)
    checks = (
        _version,
        _names,
        _horizons,
        _accounts,
        _selections,
        _limits,
        _stresses,
        _haircuts,
        _withdrawals,
        _objective,
        _orders,
        _explain,
    )
    return [problem for each in checks for problem in each(tree)]


def check_name(path: KeyPath, origin: Origin) -> Problem | None:
    """A name must fit into a dotted key and a comma list; None when it does."""
    if _NAME.fullmatch(str(path[-1])):
        return None
    return Problem(str(origin), f"{dotted(path)}: a name has letters, digits, `_` and `-` only; rename it")


def _version(tree: _Tree) -> Iterator[Problem]:
    found = node_at(tree.root, ("schema_version",))
    # Python's True and 1.0 equal 1; a file's do not.
    if found is not None and found.value == 1 and type(found.value) is not int:
        yield tree.problem(("schema_version",), "must be a whole number; write `1`")


def _names(tree: _Tree) -> Iterator[Problem]:
    for key in _NAMED:
        for name, item in tree.entries(key).items():
            problem = check_name((key, name), item.origin)
            if problem is not None:
                yield problem


def _unknown(tree: _Tree, path: KeyPath, name: str, known: str) -> Iterator[Problem]:
    names = tree.entries(known)
    if name not in names:
        yield tree.problem(path, f"`{name}` is not among `{known}`; {suggest(name, names)}")


def _horizons(tree: _Tree) -> Iterator[Problem]:
    decision = tree.number(units.parse_hours, "horizons", "decision")
    holding = tree.number(units.parse_hours, "horizons", "holding")
    if decision is not None and holding is not None and 0 < holding < decision:
        message = f"{holding:g}h is shorter than the decision horizon; write at least {decision:g}h"
        yield tree.problem(("horizons", "holding"), message)


def _accounts(tree: _Tree) -> Iterator[Problem]:
    seen: dict[tuple[str, str | None], str] = {}
    for name in tree.entries("venues"):
        account = (
            tree.text("venues", name, "exchange") or name,
            tree.text("venues", name, "account") or "main",
        )
        first = seen.setdefault(account, name)
        if first != name:
            message = f"is account `{account[1]}` of exchange `{account[0]}`, as is `venues.{first}`"
            yield tree.problem(("venues", name), f"{message}; give one of them another `account`")


def _selections(tree: _Tree) -> Iterator[Problem]:
    named: dict[tuple[str, str], KeyPath] = {}
    whole: dict[str, list[tuple[str, set[str] | None]]] = {}
    for name in tree.entries("instruments"):
        path: KeyPath = ("instruments", name)
        venue = tree.text(*path, "venue")
        if venue is None:
            continue
        yield from _unknown(tree, (*path, "venue"), venue, "venues")
        for where, symbol in tree.texts(*path, "symbols"):
            first = named.setdefault((venue, symbol), where)
            if first != where:
                message = f"`{symbol}` of venue `{venue}` is already named by {dotted(first)}; remove one"
                yield tree.problem(where, message)
        if tree.text(*path, "symbols") == "all":
            assets = {asset for _, asset in tree.texts(*path, "assets")}
            yield from _overlap(tree, path, assets or None, whole.setdefault(venue, []))


def _overlap(
    tree: _Tree, path: KeyPath, assets: set[str] | None, others: list[tuple[str, set[str] | None]]
) -> Iterator[Problem]:
    """Two selections of `all` on one venue must not both cover an asset: neither would win."""
    for other, theirs in others:
        if assets is None or theirs is None or assets & theirs:
            message = f"selects `all` where `instruments.{other}` does too; tell them apart by `assets`"
            yield tree.problem((*path, "symbols"), message)
            break
    others.append((str(path[-1]), assets))


def _limits(tree: _Tree) -> Iterator[Problem]:
    for name in tree.entries("limits"):
        path: KeyPath = ("limits", name)
        for key in ("venues", "stresses"):
            for where, entry in tree.texts(*path, key):
                yield from _unknown(tree, where, entry, key)
        kind = tree.text(*path, "kind")
        if kind in ("net_delta", "hedge_ratio"):
            parse = units.parse_usd if kind == "net_delta" else units.parse_fraction
            least, most = tree.number(parse, *path, "min"), tree.number(parse, *path, "max")
            if least is not None and most is not None and least > most:
                yield tree.problem((*path, "min"), "is above `max`; swap them")
        depth = kind == "participation" and tree.text(*path, "of") == "depth"
        if depth and tree.text("objective", "impact", "model") != "book":
            message = "depth is read only with `objective.impact.model: book`; write that, or `of: adv`"
            yield tree.problem((*path, "of"), message)
        if kind == "venue_share" and tree.text(*path, "of") == "gross" and not _side_is_hard(tree):
            message = (
                "a share of gross is convex only with signs fixed; add a hard limit of kind `hedge_side`"
            )
            yield tree.problem((*path, "of"), f"{message}, or write `of: book`")


def _side_is_hard(tree: _Tree) -> bool:
    return any(
        tree.text("limits", name, "kind") == "hedge_side"
        and ((soft := node_at(tree.root, ("limits", name, "soft"))) is None or soft.value is None)
        for name in tree.entries("limits")
    )


def _stresses(tree: _Tree) -> Iterator[Problem]:
    for name in tree.entries("stresses"):
        path: KeyPath = ("stresses", name)
        for venue in tree.entries(*path, "basis"):
            yield from _unknown(tree, (*path, "basis", venue), venue, "venues")
        moves: list[KeyPath] = [(*path, "move")]
        for key in ("moves", "currencies"):
            moves += [(*path, key, entry) for entry in tree.entries(*path, key)]
        for where in moves:
            move = tree.number(units.parse_fraction, *where)
            if move is not None and move <= -1:
                yield tree.problem(where, "a price cannot fall by 100% or more; write more, such as -99%")
            if move is not None and move > _FARTHEST:
                yield tree.problem(where, "a price more than a hundredfold is no stress; write at most 9900%")


def _haircuts(tree: _Tree) -> Iterator[Problem]:
    """`tiered` needs tiers, and tiers are in order: caps rise, haircuts do not fall."""
    for name in tree.entries("venues"):
        path: KeyPath = ("venues", name)
        for currency in tree.entries(*path, "haircuts"):
            tiered = tree.text(*path, "haircuts", currency) == "tiered"
            if tiered and currency not in tree.entries(*path, "haircut_tiers"):
                where = dotted((*path, "haircut_tiers", currency))
                yield tree.problem(
                    (*path, "haircuts", currency), f"there are no tiers; write a share such as 5%, or {where}"
                )
        for currency in tree.entries(*path, "haircut_tiers"):
            yield from _haircut_tiers(tree, (*path, "haircut_tiers", currency))


def _haircut_tiers(tree: _Tree, path: KeyPath) -> Iterator[Problem]:
    rows = [(*path, at) for at in range(tree.length(*path))]
    keys = (("cap", units.parse_usd, True), ("haircut", units.parse_fraction, False))
    for before, row in pairwise(rows):
        for key, parse, strictly in keys:
            low, high = tree.number(parse, *before, key), tree.number(parse, *row, key)
            if low is not None and high is not None and (high < low or (strictly and high == low)):
                message = "is not above the tier before" if strictly else "is below the tier before"
                yield tree.problem((*row, key), f"{message}; write tiers from the smallest balance up")


def _withdrawals(tree: _Tree) -> Iterator[Problem]:
    for name in tree.entries("venues"):
        accepted = tree.entries("venues", name, "haircuts")
        for currency in tree.entries("venues", name, "withdrawals"):
            if currency not in accepted:
                message = (
                    f"`{currency}` has no haircut here, so none can be held; {suggest(currency, accepted)}"
                )
                yield tree.problem(("venues", name, "withdrawals", currency), message)


def _objective(tree: _Tree) -> Iterator[Problem]:
    needed = {"min_variance": "cost_budget", "min_cost": "volatility_limit"}
    mode = tree.text("objective", "mode")
    key = needed.get(mode or "")
    if key is None:
        return
    found = node_at(tree.root, ("objective", key))
    if found is None or found.value is None:
        message = f"`{mode}` needs `objective.{key}`; write an amount such as $250k"
        yield tree.problem(("objective", "mode"), message)


def _orders(tree: _Tree) -> Iterator[Problem]:
    found = node_at(tree.root, ("orders", "post_only"))
    if found is None or found.value is not True:
        return
    path: KeyPath = ("orders", "post_only")
    if tree.text("orders", "type") == "market":
        yield tree.problem(path, "a market order never rests; write `type: limit` or `post_only: false`")
    elif (force := tree.text("orders", "time_in_force")) in _NOT_MAKER:
        yield tree.problem(path, f"an {force} order never rests; write `time_in_force: gtc` or no post_only")


def _explain(tree: _Tree) -> Iterator[Problem]:
    """Names of what may change must be in the scenario: a slip would propose what is meant to be hard."""
    named: list[tuple[KeyPath, str]] = [
        (("explain", "weights", n), n) for n in tree.entries("explain", "weights")
    ]
    for where, name in [*named, *tree.texts("explain", "hard")]:
        part, *rest = name.split(".")
        known = "venues" if part == "collateral" else part
        if part not in ("limits", "stresses", "instruments", "objective", "collateral"):
            message = f"`{name}`: begin with `limits`, `stresses`, `instruments`, `objective` or `collateral`"
            yield tree.problem(where, message)
        elif rest and rest[0] not in (names := tree.entries(known)):
            yield tree.problem(where, f"`{rest[0]}` is not among `{known}`; {suggest(rest[0], names)}")
