"""Solving again: one compiled program, updated where only numbers changed, rebuilt where its shape did."""

from __future__ import annotations

from dataclasses import dataclass

from allocator.audit import audit
from allocator.errors import Infeasible, SolverFailed
from allocator.market.types import Market
from allocator.program.build import Program
from allocator.program.slots import StructureChanged
from allocator.program.solve import Solution, solve
from allocator.program.verdicts import Judge


@dataclass
class Resolver:
    """Solves markets that differ from the first in the numbers named by `vary`; others are built anew.

    A verdict that the solver reaches with proof is taken; all else is solved by the plain path.
    `fast=False` takes the plain path always: the reference.
    """

    market: Market
    vary: frozenset[str]
    fast: bool = True
    program: Program | None = None
    judge: Judge | None = None
    solves: int = 0

    def __call__(self, market: Market, confirmed: bool = False) -> Solution | None:
        """The optimum, or None where there is none. Raises `SolverFailed` where the solver gives up.

        The plain path's word of an infeasible market is taken, with `confirmed` only if it finds a conflict.
        """
        self.solves += 1
        if self.program is None:
            self.program = Program(self.market, self.vary)
        program = self.program
        try:
            if self.fast:
                self.judge = self.judge or Judge(program)
                verdict = self.judge(market)
                if verdict.solution is not None or verdict.infeasible:
                    return verdict.solution
            program.update(market)
        except StructureChanged:
            program = Program(market)
        try:
            return solve(program, conflicts=confirmed)
        except Infeasible:
            return None

    def sharpened(self, solution: Solution) -> Solution:
        """The market's optimum as far as the solver's arithmetic goes; `solution` where that is sharper.

        Ordinary tolerances leave sums of marginals up to some millionths open. Of the two, the audit prefers
        the one whose own multipliers prove it nearer to the optimum.
        """
        market = self.market
        if self.program is None:
            self.program = Program(market, self.vary)
        self.judge = self.judge or Judge(self.program)
        self.solves += 1
        found = self.judge.sharpest(market)
        if found is None:
            return solution
        ours, theirs = (audit(market, s.decision, s.multipliers.limits) for s in (found, solution))
        return found if ours.passed and ours.duality_gap_usd <= theirs.duality_gap_usd else solution

    def feasible(self, market: Market) -> bool:
        """Whether some positions are permitted; a solver that gives up has found none."""
        try:
            return self(market) is not None
        except SolverFailed:
            return False
