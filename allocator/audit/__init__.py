"""Is the answer right? Re-checked by plain formulas that share nothing with CVXPY or a solver."""

from allocator.audit.audit import Audit, Check, audit

__all__ = ["Audit", "Check", "audit"]
