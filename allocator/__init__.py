"""Hedge allocator: perpetual-futures hedges of coin holdings over several venues, as one convex program.

    >>> from allocator import load, allocate
    >>> allocation = allocate(load("scenarios/daily.yaml"))
    >>> allocation.positions

Names are imported when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import models as _models

if getattr(_models, "__project__", None) != "hedge-allocator":
    raise ImportError(
        f"the package `models` of hedge-allocator is hidden by {_models.__file__}; "
        "rename that file or run from another folder"
    )

if TYPE_CHECKING:
    from allocator import plots
    from allocator.allocation import Allocation, allocate
    from allocator.backtests.run import Backtest, backtest
    from allocator.errors import (
        AuditFailed,
        DataError,
        HedgeError,
        Infeasible,
        Refused,
        ScenarioError,
        SolverFailed,
    )
    from allocator.explanation import Explanation, explain
    from allocator.frontiers.run import Frontier, frontier
    from allocator.orders.reconcile import Reconciliation
    from allocator.orders.stored import reconcile
    from allocator.scenario.load import LoadedScenario
    from allocator.scenario.load import load_scenario as load
    from allocator.scenario.schema import Scenario
    from allocator.sweeps.run import Sweep, sweep

__all__ = [
    "Allocation",
    "AuditFailed",
    "Backtest",
    "DataError",
    "Explanation",
    "Frontier",
    "HedgeError",
    "Infeasible",
    "LoadedScenario",
    "Reconciliation",
    "Refused",
    "Scenario",
    "ScenarioError",
    "SolverFailed",
    "Sweep",
    "allocate",
    "backtest",
    "explain",
    "frontier",
    "load",
    "plots",
    "reconcile",
    "sweep",
]

_HOMES = {
    "Allocation": "allocator.allocation",
    "allocate": "allocator.allocation",
    "load": "allocator.scenario.load:load_scenario",
    "LoadedScenario": "allocator.scenario.load",
    "Reconciliation": "allocator.orders.reconcile",
    "reconcile": "allocator.orders.stored",
    "Scenario": "allocator.scenario.schema",
    "Backtest": "allocator.backtests.run",
    "backtest": "allocator.backtests.run",
    "Explanation": "allocator.explanation",
    "explain": "allocator.explanation",
    "Frontier": "allocator.frontiers.run",
    "frontier": "allocator.frontiers.run",
    "Sweep": "allocator.sweeps.run",
    "sweep": "allocator.sweeps.run",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in __all__:
        raise AttributeError(f"module 'allocator' has no attribute {name!r}")
    if name == "plots":  # a module of functions
        return import_module("allocator.plots")
    home, _, own = _HOMES.get(name, "allocator.errors").partition(":")
    return getattr(import_module(home), own or name)
