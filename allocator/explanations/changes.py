"""What changed between two runs: inputs, positions and objective, attributed term by term."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from allocator.explanations.attribution import Attribution, attribute
from allocator.explanations.finished import Finished, read_finished, rebuilt
from allocator.market.types import Market
from allocator.report.brief import card
from allocator.result import Json, number
from allocator.scenario.keys import dotted
from allocator.scenario.source import KeyPath, Plain

_NOT_COMPARED = {"snapshot.folder"}  # where tables lie says nothing of what they hold
_MOST = 8  # lines of one kind on a terminal


@dataclass(frozen=True)
class KeyChange:
    """A scenario key that differs; None where a run has none."""

    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class InputChange:
    """A number of the market that differs: `kind` is exposure, price, funding or collateral."""

    kind: str
    subject: str
    unit: str
    before: float
    after: float


@dataclass(frozen=True)
class PositionChange:
    """A position whose optimum differs, in USD; None where a run has no such instrument."""

    venue: str
    account: str
    symbol: str
    before_usd: float | None
    after_usd: float | None

    @property
    def change_usd(self) -> float:
        """After less before."""
        return (self.after_usd or 0.0) - (self.before_usd or 0.0)


@dataclass(frozen=True)
class Comparison:
    """Run B against run A. `objective` is None where a run has none; `notes` say what could not be told."""

    run_a: str
    run_b: str
    as_of: tuple[str | None, str | None]
    status: tuple[str, str]
    scenario: tuple[KeyChange, ...]
    tables: tuple[str, ...]
    inputs: tuple[InputChange, ...]
    positions: tuple[PositionChange, ...]
    objective: Attribution | None
    notes: tuple[str, ...]

    def to_json(self) -> Json:
        """Plain data."""
        inputs = [{**asdict(c), "before": number(c.before), "after": number(c.after)} for c in self.inputs]
        return {
            "run_a": self.run_a,
            "run_b": self.run_b,
            "as_of": list(self.as_of),
            "status": list(self.status),
            "scenario": [asdict(change) for change in self.scenario],
            "tables": list(self.tables),
            "inputs": inputs,
            "positions": [{**asdict(c), "change_usd": round(c.change_usd, 6)} for c in self.positions],
            "objective": None if self.objective is None else self.objective.to_json(),
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        head, *more = self.lines()
        return card(head, more)

    def lines(self) -> list[str]:
        """The same for a person, the largest first."""
        a, b = self.as_of
        said = [f"Run {self.run_a} ({a}, {self.status[0]}) to run {self.run_b} ({b}, {self.status[1]})"]
        said += _section("Scenario", [f"{c.key}: {c.before} → {c.after}" for c in self.scenario])
        said += _section("Tables that differ", [", ".join(self.tables)] if self.tables else [])
        said += _section(
            "Market",
            [f"{c.kind} {c.subject}: {c.before:,.6g} → {c.after:,.6g} {c.unit}" for c in self.inputs],
        )
        moved = [
            f"{c.venue} {c.account} {c.symbol}: {_dollars(c.before_usd)} → {_dollars(c.after_usd)}"
            for c in self.positions
        ]
        said += _section("Positions", moved)
        if self.objective is not None:
            said += _objective_lines(self.objective)
        return [*said, *(f"Note: {note}" for note in self.notes)]

    def __str__(self) -> str:
        """The page of `hedge explain A B`."""
        return "\n".join(self.lines()) + "\n"


def compare(run_a: Path, run_b: Path, snapshots: Sequence[Path] = ()) -> Comparison:
    """Compare two run folders; `snapshots` are folders in which their tables may lie.

    Markets are built again from the runs' own tables, where these are found and still what they were;
    otherwise the objective is compared from `result.json` alone, and a note says so. Raises `DataError` where
    a folder is no finished run or was changed.
    """
    one, two = read_finished(run_a), read_finished(run_b)
    markets = (rebuilt(one, snapshots), rebuilt(two, snapshots))
    notes = [f"run {r.run_id}: {m}" for r, m in zip((one, two), markets, strict=True) if isinstance(m, str)]
    attribution = attribute(one, two, markets) if one.optimal and two.optimal else None
    if attribution is not None and attribution.why_coarse and attribution.why_coarse not in notes:
        notes.append(f"inputs count as one step: {attribution.why_coarse}")
    tables_a, tables_b = one.manifest["tables"], two.manifest["tables"]
    return Comparison(
        run_a=one.run_id,
        run_b=two.run_id,
        as_of=(one.result["as_of"], two.result["as_of"]),
        status=(one.result["status"], two.result["status"]),
        scenario=tuple(_keys(one.scenario, two.scenario)),
        tables=tuple(n for n in sorted({*tables_a, *tables_b}) if tables_a.get(n) != tables_b.get(n)),
        inputs=_inputs(*markets),
        positions=_positions(one, two),
        objective=attribution,
        notes=tuple(notes),
    )


def _keys(one: Mapping[str, Plain], two: Mapping[str, Plain]) -> Iterator[KeyChange]:
    before, after = (dict(_leaves(dict(tree), ())) for tree in (one, two))
    for key in sorted({*before, *after} - _NOT_COMPARED):
        if before.get(key) != after.get(key):
            yield KeyChange(key, before.get(key), after.get(key))


def _leaves(value: Plain, path: KeyPath) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    else:
        yield dotted(path), str(value)


def _inputs(one: Market | str, two: Market | str) -> tuple[InputChange, ...]:
    """Numbers of both markets that differ, in the order of kinds, the largest relative change first."""
    if isinstance(one, str) or isinstance(two, str):
        return ()
    found = []
    before, after = _numbers(one), _numbers(two)
    for (kind, subject, unit), value in after.items():
        old = before.get((kind, subject, unit), 0.0)
        if old != value:
            found.append(InputChange(kind, subject, unit, old, value))
    found += [InputChange(*key, value, 0.0) for key, value in before.items() if key not in after and value]
    kinds = list(dict.fromkeys(c.kind for c in found))

    def relative(c: InputChange) -> float:
        return abs(c.after - c.before) / max(abs(c.after), abs(c.before))

    return tuple(sorted(found, key=lambda c: (kinds.index(c.kind), -relative(c))))


def _numbers(market: Market) -> dict[tuple[str, str, str], float]:
    found: dict[tuple[str, str, str], float] = {}
    for asset, exposure in zip(market.assets, market.exposure, strict=True):
        found["exposure", asset, "USD"] = float(exposure)
    for i, instrument in enumerate(market.instruments):
        per_day = float(market.funding.cost[i]) * 24.0 / market.decision_hours
        found["price", instrument.key, "quote"] = float(market.prices.mark[i])
        found["funding", instrument.key, "bp per day"] = per_day * 1e4
    for pocket, balance in zip(market.pockets, market.collateral.balance, strict=True):
        found["collateral", pocket.key, "USD"] = float(balance)
    return found


def _positions(one: Finished, two: Finished) -> tuple[PositionChange, ...]:
    """Optima that differ by a cent or more, the largest change first."""
    before, after = (
        {
            (r["venue"], r["account"], r["symbol"]): float(r["target_usd"])
            for r in run.result.get("positions", [])
        }
        for run in (one, two)
    )
    found = [PositionChange(*key, before.get(key), after.get(key)) for key in {**before, **after}]
    return tuple(
        sorted((c for c in found if abs(c.change_usd) >= 0.01), key=lambda c: (-abs(c.change_usd), c.symbol))
    )


def _section(title: str, rows: list[str]) -> list[str]:
    more = [f"  and {len(rows) - _MOST} more"] if len(rows) > _MOST else []
    return [f"{title}:", *(f"  {row}" for row in rows[:_MOST]), *more] if rows else []


def _dollars(value: float | None) -> str:
    if value is None:
        return "–"
    return f"−${-value:,.2f}" if value <= -0.005 else f"${abs(value):,.2f}"


def _objective_lines(found: Attribution) -> list[str]:
    rows = []
    for step in found.steps:
        by_term = sorted(step.effects.items(), key=lambda e: -abs(e[1]))
        parts = ", ".join(f"{term} {_dollars(usd)}" for term, usd in by_term[:3] if abs(usd) >= 0.01)
        if parts:
            rows.append(f"{step.name}: {_dollars(step.total)} ({parts})")
    before, after = (_dollars(sum(terms.values())) for terms in (found.before, found.after))
    return [f"Objective: {before} → {after}, {_dollars(found.change)}", *(f"  {row}" for row in rows)]
