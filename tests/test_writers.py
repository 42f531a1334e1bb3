"""Two processes that train one run at once wait for each other, or are refused without locks."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small import tiny

from bench import runner
from bench.errors import RequestError
from bench.grid import Run
from bench.places import Places
from bench.records import read
from bench.runner import Job, train_runs

ROOT = Path(__file__).parents[1]
TRAIN = """
import sys
if sys.argv.pop() == "lockless":
    import errno, fcntl
    def flock(*words):
        raise OSError(errno.ENOLCK, "No locks available")
    fcntl.flock = flock
from bench.cli import main
sys.exit(main(sys.argv[1:]))
"""


def start(folder: Path, system: str) -> subprocess.Popen[str]:
    words = (
        *("train", "--agents", "2", "--episodes", "400", "--parallel", "20", "--batch", "16"),
        *("--hidden", "[16, 16]", "--evaluations", "3", "--absolute-episodes", "8"),
        *("--checkpoint-seconds", "0", "--sampler", "uniform"),
    )
    command = [sys.executable, "-c", TRAIN, *words, "--results", str(folder), system]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def made(folder: Path) -> dict[str, object]:
    (path,) = (folder / "local" / "runs").rglob("*.json")
    return read(path).model_dump(exclude={"provenance"})


def test_two_writers_of_one_run_leave_one_sound_record(tmp_path: Path) -> None:
    two = [start(tmp_path / "shared", "locking") for _ in range(2)]
    said = [process.communicate()[1] for process in two]
    assert [process.returncode for process in two] == [0, 0], said
    assert "waiting" in "".join(said)
    start(tmp_path / "alone", "locking").communicate()
    assert made(tmp_path / "shared") == made(tmp_path / "alone")
    left = [p for p in (tmp_path / "shared").rglob("*") if p.is_file() and "tmp" in p.name]
    assert not left


def test_without_locks_nothing_is_trained(tmp_path: Path) -> None:
    process = start(tmp_path, "lockless")
    said = process.communicate()[1]
    assert process.returncode == 1
    assert "cannot lock" in said and "flock" in said and "Traceback" not in said
    assert not list(tmp_path.rglob("*.json"))


def test_two_fleets_of_the_same_runs_in_another_order_do_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = runner.locked

    @contextlib.contextmanager
    def slowly(path: Path) -> Iterator[None]:
        with locked(path):
            time.sleep(0.2)
            yield

    monkeypatch.setattr(runner, "locked", slowly)
    runs = [Run("train", tiny(method="random", sampler="uniform", seed=seed)) for seed in range(2)]
    threads = [
        threading.Thread(target=train_runs, args=(order, Job(Places(tmp_path))), daemon=True)
        for order in (runs, runs[::-1])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "each holds what the other awaits"
    assert len(list(tmp_path.rglob("seed*.json"))) == 2


def test_a_run_that_is_asked_for_twice_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    runs = [Run("train", tiny())] * 2
    with pytest.raises(RequestError, match="asked for twice"):
        train_runs(runs, Job(Places(tmp_path)))


def test_a_run_of_another_configuration_that_was_waited_for_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had no record yet when the second was asked for."""
    plain = {"method": "random", "sampler": "uniform"}
    first, second = (Run("train", tiny(**plain, absolute_episodes=n)) for n in (8, 9))
    places, locked = Places(tmp_path), runner.locked

    @contextlib.contextmanager
    def waiting(path: Path) -> Iterator[None]:
        if not places.record(first.key).exists():
            monkeypatch.setattr(runner, "locked", locked)
            train_runs([first], Job(places))  # meanwhile, by another process
        with locked(path):
            yield

    monkeypatch.setattr(runner, "locked", waiting)
    with pytest.raises(RequestError, match=r"absolute_episodes = 8 \(now 9\): give --force or"):
        train_runs([second], Job(places, overwrite="stale"))
    assert read(places.record(first.key)).config == first.config
    train_runs([second], Job(places))
    assert read(places.record(first.key)).config == second.config
