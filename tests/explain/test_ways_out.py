"""Conflicts are minimal and ways out are verified, least and never hard: on random infeasible markets."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from markets import build
from samples import chunks
from small_markets import KINDS, infeasible_spec, verdict
from specs import Balance, limit, single_asset

from allocator.allocation import optimum
from allocator.errors import Infeasible, SolverFailed
from allocator.explanations.figures import figures
from allocator.explanations.way_out import NO_WISHES, Wishes, ways_out
from allocator.program.build import Program
from allocator.program.conflict import Elastic, background, with_free_sides
from allocator.program.solve import SOLVER, attempt, solve


def refused(market):
    with pytest.raises(Infeasible) as caught:
        solve(Program(market))
    return caught.value.conflict


def status(market, members):
    """Whether these limits, each a name and subject, can hold together with what always holds."""
    program = Program(with_free_sides(market))
    x, book = program.variables.positions, market.book_usd
    wanted = {(m.name, m.subject) for m in members}
    pairs = []  # value and bound
    for row in program.limits:
        chosen = [k for k, subject in enumerate(row.rows.subjects) if (row.rows.name, subject) in wanted]
        if chosen and row.breach is None:
            both = (row.rows.value, row.rows.bound)
            pairs.append([cp.reshape(part, (-1,), "C")[chosen] for part in both])
            wanted -= {(row.rows.name, row.rows.subjects[k]) for k in chosen}
    keys = [i.key for i in market.instruments]
    for _, subject in wanted:  # bounds on single positions
        key, _, side = subject.rpartition(" ")
        i = keys.index(key)
        lower, upper = market.lower[i] / book, market.upper[i] / book
        pairs.append([-x[i], -lower] if side == "lower" else [x[i], upper])
    rows = background(program)
    found = verdict(cp.Problem(cp.Minimize(0.0), [*rows, *(value <= bound for value, bound in pairs)]))
    if found != cp.INFEASIBLE_INACCURATE:
        return found
    # Where the solver is not sure, the least common breach says: a breach of any size proves it.
    breach = cp.Variable()
    least = cp.Problem(cp.Minimize(breach), [*rows, *(v <= bound + breach for v, bound in pairs)])
    assert verdict(least) == cp.OPTIMAL
    return cp.INFEASIBLE if least.value > 1e-6 else found


def moved(market, known, changes, back=0.0):
    """The market with the changes made, or made short by `back` of each, at least 1e-5 of the book."""
    for change in changes:
        figure = known[change.name]
        amount = change.to - change.value
        least = 1e-5 * figure.size if back else 0.0
        less = min(max(back * abs(amount), least), abs(amount))
        market = figure.move(market, change.to - np.sign(amount) * less)
    return market


def check_one(seed):
    spec, kind = infeasible_spec(seed)
    market = build(spec)
    conflict = refused(market)
    assert status(market, conflict) == cp.INFEASIBLE
    for member in conflict:
        rest = [m for m in conflict if m is not member]
        assert status(market, rest) in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE), member
        assert member.shortfall_usd > 0
    ways = ways_out(market, conflict, spec.stresses)
    known = {f.name: f for f in figures(market, spec.stresses)}
    for way in ways:
        better = moved(market, known, way.changes)
        _, confirmed = optimum(better, None)
        assert confirmed.passed, way.text
        with pytest.raises((Infeasible, SolverFailed)):
            solve(Program(moved(market, known, way.changes, back=0.01)), conflicts=False)
    return kind, len(conflict), len(ways)


def check(seeds, told):
    found = [check_one(seed) for seed in seeds]
    tightened = Counter(kind for kind, _, _ in found)
    members, ways = np.array([n for _, n, _ in found]), np.array([n for _, _, n in found])
    with told():
        print(f"{len(found)} infeasible markets")
        print(f"  members of the conflict: median {np.median(members):g}, most {members.max()}")
        print(f"  ways out: median {np.median(ways):g}, none in {np.sum(ways == 0)}")
        print("  tightened:", ", ".join(f"{k} {n}" for k, n in sorted(tightened.items())))
    assert np.mean(ways > 0) >= 0.9


def test_conflicts_are_minimal_and_ways_out_hold(told):
    check(range(0, len(KINDS), 2), told)


def test_what_the_solver_left_too_early_is_asked_again():
    """A way out of this market ends on a vertex where the first answer misses the optimum by a cent."""
    spec, _ = infeasible_spec(1087)
    market = build(spec)
    conflict = refused(market)
    known = {f.name: f for f in figures(market, spec.stresses)}
    for way in ways_out(market, conflict, spec.stresses):
        _, confirmed = optimum(moved(market, known, way.changes), None)
        assert confirmed.passed, way.text


@pytest.mark.long
@pytest.mark.parametrize("seeds", chunks(300, 48, 12, first=1000))
def test_conflicts_are_minimal_and_ways_out_hold_at_length(told, seeds):
    check(seeds, told)


def two_venues(**limits):
    spec = single_asset(1e7, 2, 1e-5, basis_sd=4e-4)
    return replace(
        spec, balances=(Balance("venue0", "USDT", 1e6), Balance("venue1", "USDT", 1e6)), limits=limits
    )


FLAT = limit("net_delta", min=-1e5, max=1e5)


def test_shortfalls_and_ways_in_closed_form():
    """$9.9m of shorts are needed and $5m allowed: $4.9m of either limit, figures as the user writes them."""
    market = build(two_venues(flat=FLAT, small=limit("gross", max=5e6)))
    conflict = refused(market)
    assert {m.name: m.shortfall_usd for m in conflict} == pytest.approx(
        {"limits.flat.max": 4.9e6, "limits.small.max": 4.9e6}, rel=1e-6
    )
    ways = {way.changes[0].name: way for way in ways_out(market, conflict, {})}
    assert ways.keys() == {"limits.flat.max", "limits.small.max"}
    assert ways["limits.small.max"].text == "raise limits.small.max from $5,000,000 to $9,900,000"
    assert ways["limits.flat.max"].changes[0].to == pytest.approx(5e6, rel=1e-3)


def test_margin_is_met_by_collateral_or_by_using_more_of_it():
    """θE = $400k allows $2m at 5x of the $9.9m needed: $1.98m of margin of the $2m there."""
    market = build(two_venues(flat=FLAT, margin=limit("initial_margin", use=0.2)))
    ways = {way.changes[0].name: way.changes for way in ways_out(market, refused(market), {})}
    (use,) = ways["limits.margin.use"]
    assert use.to == pytest.approx(0.99, rel=2e-3)
    assert use.to >= 0.99
    (deposit,) = ways["collateral.venue0.USDT"]
    assert deposit.to == pytest.approx(9.9e6 / 5 / 0.2 - 1e6, rel=2e-3)


def test_what_is_hard_is_never_proposed_and_weights_choose():
    market = build(two_venues(flat=FLAT, small=limit("gross", max=5e6)))
    conflict = refused(market)
    hard = ways_out(market, conflict, {}, Wishes({}, ["limits.flat"]))
    assert [way.changes[0].name for way in hard] == ["limits.small.max"]
    assert ways_out(market, conflict, {}, Wishes({}, ["limits"])) == []
    for dear, first in (("limits.flat", "limits.small.max"), ("limits.small", "limits.flat.max")):
        ways = ways_out(market, conflict, {}, Wishes({dear: 3.0}, []))
        assert ways[0].changes[0].name == first
        assert ways[1].cost_usd == pytest.approx(3 * ways[0].cost_usd, rel=2e-3)


def test_a_soft_limit_is_no_way_out():
    soft = limit("gross", max=1e6, soft=0.01)
    market = build(two_venues(flat=FLAT, still=limit("turnover", max=5e6), gross=soft))
    names = {c.name for way in ways_out(market, refused(market), {}, NO_WISHES) for c in way.changes}
    assert names == {"limits.flat.max", "limits.still.max"}


def test_the_runaways_of_an_unbounded_program_are_named():
    spec = single_asset(0.0, 2, 1e-9, basis="one")
    paid = replace(spec.perps[0], funding=-1e-4)
    with pytest.raises(SolverFailed, match=r"falls without end: venue0 BTC/USDT:USDT long, .*venue1.* short"):
        solve(Program(build(replace(spec, perps=(paid, spec.perps[1])))))


def test_an_unconfirmed_verdict_is_no_conflict():
    """Limits that hold are never named, whatever a solver said of them."""
    market = build(two_venues(flat=FLAT))
    elastic = Elastic(market, SOLVER, attempt)
    assert elastic.together(np.ones(len(elastic.rows), dtype=bool))[0]
