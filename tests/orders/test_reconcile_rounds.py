"""Rounds of partial fills against a venue that does what venues do: late, shuffled and repeated reports."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from samples import chunks
from small_desk import Hedge, only_run, read_csv, write_desk
from test_reconcile import HEAD, fill, orders_of, sent, unit

from allocator.orders.fills import Fill
from allocator.orders.reconcile import Row, reconcile_fills

MOST_ROUNDS = 300


@dataclass
class Venue:
    """A market with some orders live: fills what it likes, in parts; ends what it is told to cancel."""

    rng: np.random.Generator
    lot: Decimal
    live: dict[str, tuple[Row, int]] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def take(self, orders) -> None:
        for row in orders:
            assert row["client_order_id"] not in self.seen, "an order is sent twice"
            self.seen.add(row["client_order_id"])
            self.live[row["client_order_id"]] = (row, int(Decimal(row["contracts"]) / self.lot))

    def trade(self, at_least: int) -> None:
        """Any part of any live order, in one or two fills; one lot at least while there is something left."""
        for own, (row, left) in list(self.live.items()):
            done = int(self.rng.integers(0, left + 1))
            for part in (done // 2, done - done // 2):
                self._fill(own, row, part)
        for own, (row, left) in list(self.live.items())[:at_least]:
            self._fill(own, row, min(left, 1))

    def _fill(self, own: str, row: Row, lots: int) -> None:
        if lots:
            left = self.live[own][1] - lots
            self.live[own] = (row, left)
            self.fills.append(fill(row, lots * self.lot, f"f{len(self.fills)}"))
            if not left:
                del self.live[own]

    def cancel(self) -> None:
        """End every live order; half of the venues say so in their report."""
        for own, (row, _) in list(self.live.items()):
            self.fills.append(fill(row, Decimal(0), "", closed=True))
            del self.live[own]

    def outstanding(self, name: str) -> int:
        """Signed lots that live orders may still trade."""
        return sum(
            left if row["side"] == "buy" else -left
            for row, left in self.live.values()
            if row["venue"] == name
        )

    def done(self, name: str) -> int:
        """Signed lots traded."""
        return int(sum((f.signed for f in self.fills if f.venue == name), Decimal(0)) / self.lot)


def play(seed: int) -> int:
    """One run from its orders to its target; how many rounds it took."""
    rng = np.random.default_rng(seed)
    lot = [Decimal("0.001"), Decimal("0.5"), Decimal(1), Decimal(25)][seed % 4]
    ends = [(int(rng.integers(-40, 41)), int(rng.integers(-40, 41))) for _ in range(int(rng.integers(1, 4)))]
    units = [unit(f"v{k}", held * lot, lot) for k, (held, _) in enumerate(ends)]
    orders = [o for k, (h, t) in enumerate(ends) for o in orders_of(f"v{k}", h * lot, t * lot, 10 * k + 1)]
    venue, follow_ups = Venue(rng, lot), []
    where = sent(units, orders)
    venue.take(orders)
    for rounds in range(MOST_ROUNDS):
        # One round of fills, or two before anybody looks.
        for _ in range(int(rng.integers(1, 3))):
            venue.trade(at_least=1)
        if rng.random() < 0.7:
            venue.cancel()
        report = [venue.fills[k] for k in rng.permutation(len(venue.fills))]
        found = reconcile_fills(where, report)
        assert not found.errors
        assert reconcile_fills(where, report) == found, "the same file twice is the same word"
        twice = reconcile_fills(where, [*report, *report])
        if any(f.fill_id for f in report):
            assert twice.errors
            assert not twice.follow_up
        if where.known:
            # A file from before: what it lacks was known already.
            stale = reconcile_fills(where, [f for f in report if f.fill_id != "f0"])
            assert stale.errors
            assert not stale.follow_up
        known = {(f.venue, f.account, f.fill_id): f.contracts for f in report if f.fill_id}
        follow_ups += found.follow_up
        where = replace(sent(units, orders, follow_ups), known=known)
        venue.take(found.follow_up)
        for k, (held, target) in enumerate(ends):
            # What is done, and all that may still be done, never goes beyond the target.
            whole, most = target - held, venue.done(f"v{k}") + venue.outstanding(f"v{k}")
            assert min(0, whole) <= venue.done(f"v{k}") <= max(0, whole)
            assert min(0, whole) <= most <= max(0, whole)
        if found.status == "complete":
            assert all(venue.done(f"v{k}") == t - h for k, (h, t) in enumerate(ends))
            return rounds + 1
    raise AssertionError(f"seed {seed}: not at the target after {MOST_ROUNDS} rounds")


def test_every_run_ends_at_its_target():
    assert max(play(seed) for seed in range(40)) > 3


@pytest.mark.long
@pytest.mark.parametrize("seeds", chunks(4000, 400, 400), ids=lambda seeds: f"from {seeds[0]}")
def test_every_run_of_many_ends_at_its_target(seeds, told):
    rounds = [play(seed) for seed in seeds]
    with told():
        print(
            f"seeds from {seeds[0]}: target reached after {np.median(rounds):g} rounds, {max(rounds)} at most"
        )


def test_a_fill_after_the_follow_up_was_made_is_refused_not_ordered_again():
    """10 ordered, 4 filled, said to have ended; 6 follow and fill, and then the first order fills 3 more."""
    (first,) = orders_of("okx", Decimal(0), Decimal(10), 1)
    where = sent([unit("okx", Decimal(0), Decimal(1))], [first])
    early = fill(first, Decimal(4), "a")
    (follow,) = reconcile_fills(where, [early], all_closed=True).follow_up
    later = replace(where, follow_ups=(follow,))
    late = [early, fill(follow, Decimal(6), "b"), fill(first, Decimal(3), "c", line=7)]
    found = reconcile_fills(later, late, all_closed=True)
    assert (found.status, found.follow_up) == ("refused", ())
    assert "3 contracts beyond its target" in found.errors[0].message
    assert found.book[0]["now_contracts"] == "13"
    assert {row["naked_delta_usd"] for row in found.naked} == {"300.00"}


@pytest.fixture
def run(tmp_path, hedge: Hedge) -> Path:
    path = write_desk(tmp_path / "desk")
    assert hedge("allocate", path, "--no-report", "--out", tmp_path / "runs").code == 0
    return only_run(tmp_path / "runs")


def report_of(path: Path, rows: list[tuple[Row, str]]) -> Path:
    lines = [HEAD]
    for k, (row, contracts) in enumerate(rows):
        names = (row["venue"], row["account"], row["symbol"], row["client_order_id"])
        lines.append(",".join(("2026-11-20T01:00:00Z", *names, f"f{k}", row["side"], contracts, "100")))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_file_from_before_hands_out_no_follow_up_again(tmp_path, hedge: Hedge, run):
    """First report, follow-up, second report, and the first one once more: its follow-up was sent."""
    orders = read_csv(run / "orders.csv")
    some = [(row, row["contracts"]) for row in orders[:-1]]
    before = report_of(tmp_path / "before.csv", some)
    assert hedge("orders", "reconcile", run, before, "--closed").code == 0
    (first,) = run.parent.glob(f"{run.name}-fills-*")
    (follow,) = read_csv(first / "orders.csv")
    # Asked again while nothing has come since: the same word, the same ids.
    assert hedge("orders", "reconcile", run, before, "--closed").code == 0
    assert hedge("orders", "export", first, "--format", "ccxt").code == 0
    unit_of = {
        (u["venue"], u["symbol"]): u for u in json.loads((run / "result.json").read_text())["instruments"]
    }
    lot = unit_of[follow["venue"], follow["symbol"]]["lot_contracts"]
    after = report_of(tmp_path / "after.csv", [*some, (follow, lot)])
    assert hedge("orders", "reconcile", run, after, "--closed").code == 0
    again = hedge("orders", "reconcile", run, before, "--closed", "--json")
    assert again.code == 6
    assert again.json["follow_up"] == 0
    failed = [check for check in again.json["checks"] if check["outcome"] == "failed"]
    assert [check["name"] for check in failed] == ["duplicate_run"]
    assert hedge("orders", "export", first, "--format", "ccxt").code == 6
