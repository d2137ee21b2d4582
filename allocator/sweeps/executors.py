"""Where chunks of cells are computed: processes of this machine, or a Dask cluster, by the same code.

Both are backends of joblib. The plan, which holds the tables, reaches each worker once: through a file
on this machine, scattered on a cluster. Results come back as bytes, so that a cluster needs no common disk.
"""

from __future__ import annotations

import logging
import pickle
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from allocator.errors import DataError, Problem, ScenarioError
from allocator.runs import versions

LOKY = "loky"
_ADDRESS = re.compile(r"dask://(?P<host>[^/:\s]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})/?")
_PATIENCE = 10  # seconds to reach a scheduler, and for its first worker
Result = TypeVar("Result")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shared:
    """A value that every worker reads once: from a file, or as bytes. Equal by its key alone."""

    key: str
    file: Path | None = field(compare=False)
    content: bytes | None = field(compare=False, repr=False)

    def value(self) -> Any:  # noqa: ANN401
        """The value itself, unpickled."""
        content = self.content if self.file is None else self.file.read_bytes()
        assert content is not None
        return pickle.loads(content)


def check_executor(executor: str, workers: int | None) -> None:
    """Raise `ScenarioError` where `executor` is neither `loky` nor dask://HOST:PORT."""
    if executor == LOKY:
        return
    if not _ADDRESS.fullmatch(executor):
        raise _refused(f"{executor}: write `loky`, or the address of a Dask scheduler as dask://HOST:PORT")
    if workers is not None:
        message = "a cluster has as many workers as it was started with; leave this out with --executor"
        raise ScenarioError([Problem("--workers", message)])


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for linear algebra in this process: matrices are small, and workers fill the cores."""
    with _controller().limit(limits=1):
        yield


@cache
def _controller() -> Any:  # noqa: ANN401
    return import_module("threadpoolctl").ThreadpoolController()


def in_parallel(
    executor: str,
    workers: int | None,
    value: object,
    folder: Path,
    task: Callable[[Shared, Sequence[int]], Result],
    chunks: Iterable[Sequence[int]],
) -> Iterator[Result]:
    """Results of `task` on the shared value and each chunk, as they are finished."""
    from joblib import Parallel, delayed  # type: ignore[import-untyped]

    backend = _loky(workers, value, folder) if executor == LOKY else _dask(executor, value)
    with backend as (shared, jobs):
        pool = Parallel(n_jobs=jobs, return_as="generator_unordered")
        yield from pool(delayed(task)(shared, chunk) for chunk in chunks)


Backend = AbstractContextManager[tuple[Shared, int]]


@contextmanager
def _loky(workers: int | None, value: object, folder: Path) -> Iterator[tuple[Shared, int]]:
    """Processes of this machine, one a core by default."""
    from joblib import parallel_config

    file = folder / f"{secrets.token_hex(8)}.pickle"
    file.write_bytes(pickle.dumps(value))
    try:
        with parallel_config(backend="loky", inner_max_num_threads=1):
            yield Shared(file.stem, file, None), -1 if workers is None else workers
    finally:
        file.unlink(missing_ok=True)


@contextmanager
def _dask(executor: str, value: object) -> Iterator[tuple[Shared, int]]:
    """A cluster by its scheduler's address. Raises `ScenarioError`, and `DataError` for other versions."""
    from joblib import parallel_config

    shared = Shared(secrets.token_hex(8), None, pickle.dumps(value))
    with _client(executor) as client:
        _check_workers(executor, client)
        with parallel_config(backend="dask", client=client, scatter=[shared]):
            yield shared, -1


def _client(executor: str) -> Any:  # noqa: ANN401
    try:
        distributed = import_module("distributed")
    except ModuleNotFoundError as error:
        raise _refused(f"{executor}: Dask is missing; pip install 'hedge-allocator[cluster]'") from error
    address = executor.replace("dask://", "tcp://").rstrip("/")
    try:
        return distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise _refused(
            f"{executor}: no Dask scheduler answers there ({error}); start one with `dask scheduler` and its "
            f"workers with `dask worker {address} --nthreads 1`"
        ) from error


def _check_workers(executor: str, client: Any) -> None:  # noqa: ANN401
    """At least one worker, and all of this version: other versions may give other answers."""
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError as error:
        raise _refused(
            f"{executor}: the scheduler has no workers; start `dask worker` on a machine"
        ) from error
    try:
        found: Mapping[str, Mapping[str, str]] = client.run(versions)
    except ImportError as error:
        raise _refused(f"{executor}: its workers lack hedge-allocator ({error}); install it there") from error
    ours = versions()
    for worker, theirs in sorted(found.items()):
        for name, version in ours.items():
            if theirs.get(name) != version:
                message = f"{worker} has {name} {theirs.get(name)}, here it is {version}; install the same"
                raise DataError([Problem(executor, message)])
    log.info("%s: %d workers", executor, len(found))


def _refused(message: str) -> ScenarioError:
    return ScenarioError([Problem("--executor", message)])
