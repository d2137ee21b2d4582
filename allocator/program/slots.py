"""Where numbers enter the program: a named coefficient is a constant, or a parameter if it may change.

Only what is declared to vary becomes a parameter, because a parametric form of everything would need tens
of gigabytes at thousands of instruments.
"""

from __future__ import annotations

from collections.abc import Mapping

import cvxpy as cp
import numpy as np

from models.arrays import Vector


class StructureChanged(Exception):
    """An update changes something that was compiled as constant: build the program anew."""


class Slots:
    """Hands out each named coefficient as constant or parameter, and later updates the parameters."""

    def __init__(
        self,
        values: Mapping[str, Vector],
        vary: frozenset[str],
        shifts: Mapping[str, cp.Expression] | None = None,
    ) -> None:
        self._values = {name: np.asarray(value, dtype=float) for name, value in values.items()}
        self._vary = vary
        self._parameters: dict[str, cp.Parameter] = {}
        self._constants: set[str] = set()
        self._shifts = shifts or {}

    def __call__(self, name: str) -> cp.Expression:
        """The coefficient of this name; a parameter when its name, or a prefix of it, may vary.

        What is decided beside the positions, such as a deposit, is added to it where it has a shift.
        """
        number = self._number(name)
        return number + self._shifts[name] if name in self._shifts else number

    def _number(self, name: str) -> cp.Expression:
        if name in self._parameters:
            return self._parameters[name]
        value = self._values[name]
        if not any(name == v or name.startswith(f"{v}.") for v in self._vary):
            self._constants.add(name)
            return cp.Constant(value)
        parameter = cp.Parameter(value.shape, name=name, value=value)
        self._parameters[name] = parameter
        return parameter

    @property
    def parameters(self) -> Mapping[str, cp.Parameter]:
        """The parameters of the compiled program by name."""
        return self._parameters

    @property
    def constants(self) -> frozenset[str]:
        """Names of the numbers that are compiled in."""
        return frozenset(self._constants)

    @property
    def values(self) -> Mapping[str, Vector]:
        """The numbers last put in, constants included."""
        return self._values

    def check(self, values: Mapping[str, Vector]) -> None:
        """Raise `StructureChanged` if these numbers would change a constant or the shape of a parameter."""
        if values.keys() != self._values.keys():
            raise StructureChanged(f"coefficients {sorted(values.keys() ^ self._values.keys())}")
        for name, value in values.items():
            if name in self._parameters and np.shape(value) != self._values[name].shape:
                raise StructureChanged(f"{name} has another shape")
            # A number that the program never asked for, such as a bound that is a box, may be anything.
            if name in self._constants and not np.array_equal(value, self._values[name]):
                raise StructureChanged(f"{name} is compiled as a constant; declare it as varying")

    def update(self, values: Mapping[str, Vector]) -> None:
        """Set every parameter; raise `StructureChanged` if a constant would have to change."""
        self.check(values)
        for name, parameter in self._parameters.items():
            parameter.value = np.asarray(values[name], dtype=float)
        self._values = dict(values)
