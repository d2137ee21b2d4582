"""Solving again: one compiled program, updated where only numbers changed, rebuilt where its shape did."""

from __future__ import annotations

from dataclasses import dataclass

from allocator.errors import Infeasible, SolverFailed
from allocator.market.types import Market
from allocator.program.build import Program
from allocator.program.slots import StructureChanged
from allocator.program.solve import Solution, solve


@dataclass
class Resolver:
    """Solves markets that differ from the first in the numbers named by `vary`; others are built anew."""

    market: Market
    vary: frozenset[str]
    program: Program | None = None
    solves: int = 0

    def __call__(self, market: Market) -> Solution | None:
        """The optimum, or None where there is none. Raises `SolverFailed` where the solver gives up."""
        self.solves += 1
        if self.program is None:
            self.program = Program(self.market, self.vary)
        try:
            self.program.update(market)
            program = self.program
        except StructureChanged:
            program = Program(market)
        try:
            return solve(program, conflicts=False)
        except Infeasible:
            return None

    def feasible(self, market: Market) -> bool:
        """Whether some positions are permitted; a solver that gives up has found none."""
        try:
            return self(market) is not None
        except SolverFailed:
            return False
