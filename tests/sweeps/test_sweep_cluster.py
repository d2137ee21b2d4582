"""Sweeps on a Dask cluster: the same tables; what is said of one that cannot be used."""

from __future__ import annotations

import socket
import time
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
from small_desk import Hedge, write_desk

import allocator
from allocator.errors import DataError, ScenarioError
from allocator.sweeps import executors
from allocator.sweeps.executors import check_executor

BLOCK = """\
sweep:
  grid:
    limits.gross.max: {from: $2m, to: $9m, steps: 12}
    objective.risk_aversion_per_usd: [1.0e-6, 3.0e-6, 1.0e-5]
"""
needs_dask = pytest.mark.skipif(
    find_spec("distributed") is None, reason="dask[distributed] (the extra `cluster`) is not installed"
)


@pytest.fixture
def desk(tmp_path):
    path = write_desk(tmp_path / "desk")
    path.write_text(path.read_text() + BLOCK)
    return path


@pytest.mark.parametrize(
    "executor", ["dask", "dask://", "dask://host", "tcp://host:8786", "dask://a b:8786", "threads"]
)
def test_an_address_that_is_none_is_refused(executor):
    with pytest.raises(ScenarioError, match="dask://HOST:PORT"):
        check_executor(executor, None)


def test_a_cluster_has_its_own_number_of_workers(desk, hedge: Hedge):
    done = hedge("sweep", desk, "--executor", "dask://127.0.0.1:8786", "--workers", "2")
    assert done.code == 2
    assert "--workers: a cluster has as many workers as it was started with" in done.err


def test_a_missing_extra_is_named(desk, tmp_path, hedge: Hedge, monkeypatch):
    def without(name):
        if name == "distributed":
            raise ModuleNotFoundError(name)
        return import_module(name)

    monkeypatch.setattr(executors, "import_module", without)
    done = hedge("sweep", desk, "--out", tmp_path / "runs", "--executor", "dask://127.0.0.1:8786")
    assert done.code == 2
    assert "pip install 'hedge-allocator[cluster]'" in done.err


@needs_dask
@pytest.mark.long
def test_a_scheduler_that_is_not_there_is_said_with_what_to_start(desk, tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "_PATIENCE", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"dask://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ScenarioError, match=r"no Dask scheduler answers there.*dask worker tcp://127"):
        allocator.sweep(desk, out=tmp_path / "runs", executor=address)


@pytest.fixture(scope="module")
def cluster():
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None) as found:
        yield found


@needs_dask
@pytest.mark.long
def test_a_cluster_of_two_gives_the_same_tables(desk, tmp_path, cluster, told):
    address = cluster.scheduler_address.replace("tcp://", "dask://")
    seconds = {}
    for name, options in {"loky": {"workers": 2}, "dask": {"executor": address}}.items():
        start = time.perf_counter()
        done = allocator.sweep(desk, out=tmp_path / name, **options)
        seconds[name] = time.perf_counter() - start
        assert done.exit_code == 0
        if name == "loky":
            whole = done
    with told():
        print(
            f"36 cells, two workers, with start: loky {seconds['loky']:.1f} s, Dask {seconds['dask']:.1f} s"
        )
    assert done.run.folder.name == whole.run.folder.name
    assert done.cells["name"].equals(whole.cells["name"])
    assert done.cells["total_usd"].to_numpy() == pytest.approx(whole.cells["total_usd"].to_numpy(), rel=1e-7)
    assert done.positions[["cell", "venue", "symbol"]].equals(whole.positions[["cell", "venue", "symbol"]])
    gap = np.abs(done.positions["target_usd"].to_numpy() - whole.positions["target_usd"].to_numpy()).max()
    assert gap <= 1e-7 * 5e6


class Workers:
    """A client whose workers have these versions."""

    def __init__(self, *found):
        self.found = found

    def wait_for_workers(self, count, timeout):
        if len(self.found) < count:
            raise TimeoutError

    def run(self, _):
        if self.found[0] is None:
            raise ModuleNotFoundError("No module named 'allocator'")
        return {f"tcp://10.0.0.{k}:4000": found for k, found in enumerate(self.found)}


def test_workers_that_would_answer_otherwise_are_refused():
    same = executors.versions()
    executors._check_workers("dask://a:1", Workers(same, same))
    with pytest.raises(
        DataError, match=r"10\.0\.0\.1:4000 has clarabel 0\.1, here it is .*; install the same"
    ):
        executors._check_workers("dask://a:1", Workers(same, {**same, "clarabel": "0.1"}))
    with pytest.raises(ScenarioError, match="has no workers"):
        executors._check_workers("dask://a:1", Workers())
    with pytest.raises(ScenarioError, match="lack hedge-allocator"):
        executors._check_workers("dask://a:1", Workers(None))
