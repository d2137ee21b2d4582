"""Sweeps that are killed, started twice, or long: the same tables, in bounded memory."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from samples import FULL
from small_desk import ROOT, Hedge, finish, only_run, spawn, write_desk

import allocator
from allocator.locking import only_one
from allocator.sweeps import run as sweeping
from allocator.sweeps import store
from allocator.sweeps.plan import make_plan

KILLS = 10 if FULL else 3


def write(folder, cells, key="limits.gross.max: {from: $2m, to: $9m"):
    path = write_desk(folder / "desk")
    path.write_text(path.read_text() + f"sweep: {{grid: {{{key}, steps: {cells}}}}}}}\n")
    return path


def same(one, other):
    """The same tables: positions to 1e-7 of the book."""
    assert one.run.folder.name == other.run.folder.name
    assert one.cells[["cell", "name", "id", "status"]].equals(other.cells[["cell", "name", "id", "status"]])
    assert one.cells["total_usd"].to_numpy() == pytest.approx(other.cells["total_usd"].to_numpy(), rel=1e-6)
    columns = ["cell", "venue", "symbol"]
    assert one.positions[columns].equals(other.positions[columns])
    gap = np.abs(one.positions["target_usd"].to_numpy() - other.positions["target_usd"].to_numpy())
    assert gap.max() <= 1e-7 * 5e6


# Kills itself at a random moment after one of its first parts, whatever the speed of the machine.
SUICIDE = """
import os, random, signal, sys, threading, time
from allocator.sweeps import run, store
path, out, seed = sys.argv[1:]
run.CHUNK = 4
clock = random.Random(int(seed))
keep, parts, last = store.keep, [], clock.randint(1, 8)
def kept(folder, part):
    parts.append(part.first)
    if len(parts) == last:
        threading.Timer(clock.uniform(0, 0.03), os.kill, (os.getpid(), signal.SIGKILL)).start()
    keep(folder, part)
store.keep = kept
from pathlib import Path
from allocator.sweeps.plan import make_plan
run.run_plan(make_plan(path), Path(out), 1, lambda _: None)
"""


@pytest.mark.long
def test_killed_ten_times_it_ends_with_the_undisturbed_table(tmp_path, told):
    path = write(tmp_path, 40 * KILLS)
    out, plan = tmp_path / "killed", make_plan(path)
    folder, done, killed = out / f".sweep-{plan.sweep_id}", [], 0
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for seed in range(KILLS):
        command = [sys.executable, "-c", SUICIDE, str(path), str(out), str(seed)]
        code = subprocess.run(command, env=environment, cwd=tmp_path, check=False).returncode
        killed += code == -signal.SIGKILL
        if not folder.is_dir():
            break
        done.append(len(store.finished(folder)))
    with told():
        print(f"{killed} kills; cells kept after each: {done}")
    assert killed == KILLS
    assert done == sorted(done)
    assert done[0] > 0
    after = allocator.sweep(path, out=out, workers=1)
    assert [p.name for p in out.iterdir()] == [plan.sweep_id]
    same(after, allocator.sweep(path, out=tmp_path / "whole", workers=1))


def test_the_second_of_two_waits_and_finds_the_first_one_s(tmp_path, monkeypatch, caplog):
    path = write(tmp_path, 6)
    plan, computed, begun, let = make_plan(path), [], threading.Event(), threading.Event()
    part = sweeping.Worker.part

    def slow(self, indices):
        begun.set()
        assert let.wait(60)
        computed.append(list(indices))
        return part(self, indices)

    monkeypatch.setattr(sweeping.Worker, "part", slow)
    found = []

    def run():
        found.append(sweeping.run_plan(plan, tmp_path / "runs", 1, lambda _: None))

    threads = [threading.Thread(target=run) for _ in range(2)]
    threads[0].start()
    assert begun.wait(60)
    threads[1].start()
    deadline = time.monotonic() + 30
    while "another process computes this run; waiting" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    let.set()
    for thread in threads:
        thread.join(60)
    assert computed == [list(range(6))]
    assert [one.run.folder for one in found] == [only_run(tmp_path / "runs")] * 2
    assert [p.name for p in (tmp_path / "runs").iterdir()] == [plan.sweep_id]


@pytest.mark.long
def test_two_processes_at_once_give_one_table(tmp_path, hedge: Hedge):
    path = write(tmp_path, 12)
    both = [spawn("sweep", path, "--out", "runs", "--workers", "1", cwd=tmp_path) for _ in range(2)]
    outcomes = [finish(process) for process in both]
    assert [outcome.code for outcome in outcomes] == [0, 0]
    assert outcomes[0].out == outcomes[1].out
    assert [p.name for p in (tmp_path / "runs").iterdir()] == [only_run(tmp_path / "runs").name]


def test_a_lock_ends_with_its_process(tmp_path):
    file = tmp_path / "lock"
    code = (
        "import os, sys, pathlib\nfrom allocator.locking import only_one\n"
        "with only_one(pathlib.Path(sys.argv[1])):\n    os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, str(file)], env=environment, check=False)
    assert file.exists()
    start = time.monotonic()
    with only_one(file):
        assert time.monotonic() - start < 0.4
    assert not file.exists()


def test_only_one_at_a_time_is_inside(tmp_path):
    inside, most = 0, []

    def work(seed):
        nonlocal inside
        pause = random.Random(seed)
        for _ in range(3):
            with only_one(tmp_path / "lock"):
                inside += 1
                most.append(inside)
                time.sleep(pause.uniform(0, 0.003))
                inside -= 1

    import allocator.locking as locking

    before, locking._PAUSE = locking._PAUSE, 0.001
    try:
        threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        locking._PAUSE = before
    assert len(most) == 18
    assert max(most) == 1


def test_a_part_that_cannot_be_read_is_computed_again(tmp_path):
    path = write(tmp_path, 6)
    plan, out = make_plan(path), tmp_path / "runs"
    folder = out / f".sweep-{plan.sweep_id}"
    folder.mkdir(parents=True)
    store.keep(folder, sweeping.Worker(plan).part([0, 1, 2]))
    store.keep(folder, sweeping.Worker(plan).part([3]))
    assert store.finished(folder) == {0, 1, 2, 3}
    broken = store.parts(folder)[0] / "positions.parquet"
    broken.write_bytes(broken.read_bytes()[:-40])
    assert store.finished(folder) == {3}
    same(
        sweeping.run_plan(plan, out, 1, lambda _: None), allocator.sweep(path, out=tmp_path / "b", workers=1)
    )


@pytest.mark.long
def test_memory_stays_bounded(tmp_path, told):
    cells = 4000 if FULL else 400
    plan, peaks = make_plan(write(tmp_path, cells)), {}
    folder = tmp_path / "parts"
    folder.mkdir()
    worker, start = sweeping.Worker(plan), time.perf_counter()
    for first in range(0, cells, 20):
        store.keep(folder, worker.part(range(first, first + 20)))
        if (first + 20) % 100 == 0:
            peaks[first + 20] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = time.perf_counter() - start
    growth = (peaks[cells] - peaks[200]) / (cells - 200) * 100
    with told():
        print(f"{cells} cells in {seconds:.1f} s; peak {peaks[100]:.0f} MB after 100, {peaks[cells]:.0f} MB")
        print(f"at the end: {growth:.2f} MB per 100 cells after the first 200")
    # Over 10,000 cells less than 200 MB.
    assert growth < 2.0
