"""An optimum that the audit confirms."""

from __future__ import annotations

from allocator.audit import Audit, audit
from allocator.errors import AuditFailed
from allocator.program.build import Program
from allocator.program.solve import Solution, answers


def audited(program: Program, conflicts: bool = True) -> tuple[Solution, Audit]:
    """The optimum of a program's market, along the first way of the solver that survives the audit.

    Raises `Infeasible` (with its conflict, where `conflicts` are asked for), `SolverFailed`, or `AuditFailed`
    with what the audit says of the first answer.
    """
    market, first = program.market, None
    for solution in answers(program, conflicts):
        judged = audit(market, solution.decision, solution.multipliers.limits)
        if judged.passed:
            return solution, judged
        first = first or judged
    assert first is not None
    raise AuditFailed(
        f"the solution breaches {first.permitted.worst_limit or 'nothing'} by "
        f"${first.permitted.max_violation_usd:,.2f} and may miss the optimum by "
        f"${first.duality_gap_usd:,.4f}"
    )
