"""A compiled program as an affine map from its parameters to solver data, and back from solver to solution.

CVXPY canonicalises once; its parametric form says how every entry of the solver's matrices depends on the
parameters (Agrawal, Amos, Barratt, Boyd, Diamond, Kolter, *Differentiable Convex Optimization Layers*, 2019,
section 4: disciplined parametrised programming). Here that map is applied to many cells at once. Where each
variable and each dual stands in the solver's vectors is read off by sending the places' own numbers through
CVXPY's inverse reductions, so nothing of its canonicaliser is written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from allocator.market.types import Decision, Index, Market, Matrix
from allocator.program.build import Program
from allocator.program.coefficients import COST
from allocator.program.solve import Multipliers, Solution, Values, read
from models.arrays import Vector


@dataclass(frozen=True)
class ConeProgram:
    """minimise ½x'Px + q'x + d over Ax + s = b, s in the cones; `columns` of many cells stand side by side.

    `p` (nnz of P, K), `a` (nnz of A, K) hold the matrices' entries in the order of their CSC patterns, which
    are the same for all cells; `q` (n, K), `d` (K,), `b` (m, K).
    """

    p: Matrix
    q: Matrix
    d: Vector
    a: Matrix
    b: Matrix

    def cells(self) -> Iterator[Cell]:
        """One cell after the other."""
        for k in range(self.q.shape[1]):
            yield Cell(*(np.ascontiguousarray(part[:, k]) for part in (self.p, self.q, self.a, self.b)))


@dataclass(frozen=True)
class Cell:
    """The numbers of one cell: entries of P, vector q, entries of A, vector b."""

    p: Vector
    q: Vector
    a: Vector
    b: Vector


@dataclass(frozen=True)
class Pattern:
    """CSC pattern of a matrix whose entries change."""

    indices: Index
    indptr: Index
    shape: tuple[int, int]

    def matrix(self, entries: Vector) -> sp.csc_matrix:
        """The matrix with these entries, explicit zeros kept."""
        return sp.csc_matrix((entries, self.indices, self.indptr), shape=self.shape)


@dataclass(frozen=True)
class Cones:
    """Rows of A in their order: equalities, then inequalities, then second-order cones of these sizes."""

    zero: int
    nonnegative: int
    second_order: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Where a variable or dual stands in the solver's vector, with which sign, and its shape."""

    index: Index
    sign: Vector
    shape: tuple[int, ...]

    def of(self, vector: Vector) -> Vector:
        """Its value."""
        return np.asarray(self.sign * vector[self.index]).reshape(self.shape, order="F")

    def of_all(self, vectors: Matrix) -> Matrix:
        """Its values (K, size), flat, in the vectors (K, m) of many cells."""
        return np.asarray(self.sign * vectors[:, self.index])

    @classmethod
    def joined(cls, places: Sequence[Place]) -> Place:
        """One after the other, each flat."""
        flat = [place.flat() for place in places]
        index = np.concatenate([np.zeros(0, dtype=np.int64), *(index for index, _ in flat)])
        return cls(index, np.concatenate([np.zeros(0), *(sign for _, sign in flat)]), index.shape)

    def flat(self) -> tuple[Index, Vector]:
        """Index and sign in the order in which NumPy ravels what `of` gives."""
        index, sign = (np.reshape(numbers, self.shape, order="F") for numbers in (self.index, self.sign))
        return np.ravel(index).astype(np.int64), np.ravel(sign).astype(float)


class Parametric:
    """The parametric form of a compiled program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        data, chain, inverse = program.problem.get_problem_data(cp.CLARABEL, enforce_dpp=True, solver_opts={})
        form = data[cp.settings.PARAM_PROB]
        dims = form.cone_dims
        if dims.exp or dims.psd or dims.p3d or dims.pnd:
            raise AssertionError(f"cones that no backend here takes: {dims}")
        if form.lower_bounds is not None or form.upper_bounds is not None:
            raise AssertionError("bounds as variable attributes have no duals; write them as rows")
        self.cones = Cones(dims.zero, dims.nonneg, tuple(int(size) for size in dims.soc))
        self._columns: dict[str, tuple[int, int]] = {}
        for name, parameter in program.slots.parameters.items():
            if parameter.id not in form.param_id_to_col:
                continue  # handed out, but what it multiplies does not reach the solver
            self._columns[name] = (form.param_id_to_col[parameter.id], parameter.size)
        self._width = form.total_param_size + 1
        form.reduced_A.cache()
        form.reduced_P.cache()
        self._rows = sp.csr_array(form.reduced_A.reduced_mat)
        self._quadratic = sp.csr_array(form.reduced_P.reduced_mat)
        self._linear = sp.csr_array(form.q)
        self.quadratic, self._upper = _upper_triangle(*form.reduced_P.problem_data_index)
        self.rows, self._constant = _without_last_column(*form.reduced_A.problem_data_index)
        self._places = _places(program, chain, inverse, form.x.size, self.rows.shape[0])
        self._wanted: _Wanted | None = None

    def data(self, cells: Sequence[Mapping[str, Vector]]) -> ConeProgram:
        """Solver data of many cells, each given by all numbers of the program by name."""
        parameters = np.zeros((self._width, len(cells)))
        parameters[-1] = 1.0
        for name, (start, size) in self._columns.items():
            for k, values in enumerate(cells):
                parameters[start : start + size, k] = np.ravel(values[name], order="F")
        if not np.isfinite(parameters).all():
            raise ValueError("a coefficient of a cell is not finite")
        entries = self._rows @ parameters
        b = np.zeros((self.rows.shape[0], len(cells)))
        b[self._constant] = entries[len(self.rows.indices) :]
        q = self._linear @ parameters
        p = (self._quadratic @ parameters)[self._upper]
        # CVXPY states rows as Ax + b in the cone, solvers as Ax + s = b.
        return ConeProgram(p, q[:-1], q[-1], -entries[: len(self.rows.indices)], b)

    def read(self, market: Market, point: Point) -> Solution:
        """An optimum of one cell as `solve` would state it."""
        return read(
            self.program,
            market,
            Values(
                value=lambda variable: self._places[variable.id].of(point.x),
                dual=lambda row: self._places[row.id].of(point.z),
                objective=point.objective,
                solver=point.solver,
                iterations=point.iterations,
            ),
        )

    def read_all(self, markets: Sequence[Market], points: Sequence[Point]) -> Solutions:
        """The optima of many cells, each as `read` would state it."""
        if self._wanted is None:
            self._wanted = _wanted(self.program, self._places)
        book = np.array([market.book_usd for market in markets])
        x, z = np.array([point.x for point in points]), np.array([point.z for point in points])
        wanted, n = self._wanted, len(markets[0].instruments)
        return Solutions(
            positions=wanted.positions.of_all(x) * book[:, None],
            transfers=np.maximum(wanted.transfers.of_all(x), 0.0) * book[:, None],
            prices={name: np.maximum(place.of_all(z), 0.0) * COST for name, place in wanted.limits.items()},
            lower=_spread(wanted.lower, z, self.program.shape.boxed_below, n),
            upper=_spread(wanted.upper, z, self.program.shape.boxed_above, n),
            breaches={name: place.of_all(x) * book[:, None] for name, place in wanted.breaches.items()},
            objective_usd=np.array([point.objective for point in points]) * book * COST,
            points=tuple(points),
        )


@dataclass(frozen=True)
class Solutions:
    """Optima of K cells in USD: `positions` (K, n), `transfers` (K, R), `prices` (K, rows) by limit.

    `lower`, `upper` (K, n) are prices of the position boxes, `breaches` (K, rows) and `objective_usd` (K,).
    """

    positions: Matrix
    transfers: Matrix
    prices: Mapping[str, Matrix]
    lower: Matrix
    upper: Matrix
    breaches: Mapping[str, Matrix]
    objective_usd: Vector
    points: tuple[Point, ...]

    def cell(self, k: int) -> Solution:
        """The solution of one cell."""
        return Solution(
            decision=Decision(self.positions[k], self.transfers[k]),
            multipliers=Multipliers(
                limits={name: price[k] for name, price in self.prices.items()},
                lower=self.lower[k],
                upper=self.upper[k],
            ),
            breaches={name: usd[k] for name, usd in self.breaches.items()},
            objective_usd=float(self.objective_usd[k]),
            solver=self.points[k].solver,
            iterations=self.points[k].iterations,
        )


@dataclass(frozen=True)
class _Wanted:
    """Where what a solution states stands in the solver's vectors."""

    positions: Place
    transfers: Place
    limits: Mapping[str, Place]
    lower: Place | None
    upper: Place | None
    breaches: Mapping[str, Place]


def _wanted(program: Program, places: Mapping[int, Place]) -> _Wanted:
    """In the order of `allocator.program.solve.read`."""
    duals: dict[str, list[Place]] = {}
    breaches: dict[str, list[Place]] = {}
    for row in program.limits:
        duals.setdefault(row.rows.name, []).append(places[row.constraint.id])
        if row.breach is not None:
            breaches.setdefault(row.rows.name, []).append(places[row.breach.id])
    for name, rows in program.pieces.items():
        duals[name] = [places[row.id] for row in rows]
    routes = program.market.transfers.routes
    return _Wanted(
        positions=places[program.variables.positions.id],
        transfers=places[program.variables.transfers.id] if routes else Place.joined([]),
        limits={name: Place.joined(parts) for name, parts in duals.items()},
        lower=None if program.lower is None else places[program.lower.id],
        upper=None if program.upper is None else places[program.upper.id],
        breaches={name: Place.joined(parts) for name, parts in breaches.items()},
    )


def _spread(place: Place | None, z: Matrix, where: Index, n: int) -> Matrix:
    """Prices (K, n) of one side of the boxes."""
    result = np.zeros((len(z), n))
    if place is not None:
        result[:, where] = np.maximum(place.of_all(z), 0.0) * COST
    return result


@dataclass(frozen=True)
class Point:
    """What a solver found: x (n,), duals z (m,) of the rows of A, the objective with its constant."""

    x: Vector
    z: Vector
    objective: float
    solver: str
    iterations: int


def _upper_triangle(indices: Index, indptr: Index, shape: tuple[int, int]) -> tuple[Pattern, Index]:
    """The pattern of the upper triangle, and which entries of the whole are in it."""
    columns = np.repeat(np.arange(shape[1]), np.diff(indptr))
    kept = np.flatnonzero(np.asarray(indices) <= columns)
    counts = np.bincount(columns[kept], minlength=shape[1])
    return Pattern(np.asarray(indices)[kept], np.append(0, np.cumsum(counts)), shape), kept


def _without_last_column(indices: Index, indptr: Index, shape: tuple[int, int]) -> tuple[Pattern, Index]:
    """The pattern of all columns but the last, and the rows of the last one's entries."""
    end = int(indptr[-2])
    pattern = Pattern(np.asarray(indices[:end]), np.asarray(indptr[:-1]), (shape[0], shape[1] - 1))
    return pattern, np.asarray(indices[end:])


def _places(program: Program, chain: Any, inverse: Any, n: int, m: int) -> dict[int, Place]:  # noqa: ANN401
    """Of every variable and constraint by id; raises if some value is more than one entry of a vector."""

    def through(x: Vector, z: Vector) -> dict[int, Vector]:
        raw = SimpleNamespace(status="Solved", x=x, z=z, obj_val=0.0, solve_time=0.0, iterations=0)
        found = chain.invert(raw, inverse)
        given = {**found.primal_vars, **found.dual_vars}
        return {key: np.asarray(value, dtype=float) for key, value in given.items() if _is_real(value)}

    numbered = through(np.arange(1.0, n + 1), np.arange(1.0, m + 1))
    places = {}
    for key, value in numbered.items():
        flat = np.ravel(value, order="F")
        places[key] = Place(np.abs(flat).astype(np.int64) - 1, np.sign(flat), value.shape)
    rng = np.random.default_rng(0)
    x, z = rng.uniform(1, 2, n), rng.uniform(1, 2, m)
    wanted = {v.id for v in program.problem.variables()}
    for key, value in through(x, z).items():
        of = x if key in wanted else z
        if not np.array_equal(places[key].of(of), value):
            raise AssertionError("CVXPY's inverse reductions do more than pick entries")
    return places


def _is_real(value: object) -> bool:
    """Whether this is one array of numbers; duals of cones come in parts, which nobody reads."""
    return value is not None and not isinstance(value, list | tuple)
