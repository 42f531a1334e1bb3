"""Where faults are injected: small runs in processes of their own, forked from a warm one."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Literal

from bench import records
from bench.errors import WorldError
from bench.faults.process import Arm, train

TINY = (
    *("--agents=2", "--dynamics=first-order", "--radius=0.3", "--episodes=120", "--parallel=10"),
    *("--steps-per-update=10", "--batch=32", "--buffer=1500", "--hidden=[16, 16]"),
    *("--evaluations=7", "--evaluation-episodes=8", "--absolute-episodes=16"),
)
RUNS: Sequence[Sequence[str]] = (
    ("--method=ps-maddpg", "--sampler=prioritized", *TINY),
    ("--method=hyper-iql", "--sampler=uniform", *TINY),
    ("--method=maddpg", "--sampler=prioritized", "--reward=summed-individual", *TINY),
)
"""The runs: about a second each, some a dozen checkpoints, a ring that wraps."""

TIMEOUT = 300.0
"""Seconds after which a run counts as lost."""


@dataclass(frozen=True)
class Ending:
    """How a struck run ended after the same command was given again."""

    went_on: Literal["checkpoint", "before", "start", "done"]
    """From the newest checkpoint, from the one before, from the start; or its record was there."""
    lost: bool
    """Whether there is no record."""
    differs: bool
    """Whether the record or the policies are not those of an uninterrupted run."""
    left: tuple[str, ...]
    """Files that stayed beside the record, the policies and the lock."""


class Lab:
    """One small run, trained once without a fault to know what it should end in.

    Args:
        folder: of its files.
        flags: of `hypercoop train`.

    Raises:
        WorldError: if it cannot be trained.
    """

    def __init__(self, folder: Path, flags: Sequence[str]) -> None:
        folder.mkdir(parents=True)
        self.results, self._log = folder / "results", folder / "log"
        results = f"--results={self.results}"
        self._command = ["train", *flags, results, "--checkpoint-seconds=0"]
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["bench.faults.warm"])
        if self.wait(self.start()):
            raise WorldError(f"an uninterrupted run failed: {self._log.read_text()}")
        self.seconds = time.monotonic() - self.started
        """That the run takes, the start of its process included."""
        calls, largest = self._log.with_suffix(".calls").read_text().split()
        self.calls, self.largest = int(calls), int(largest)
        """How often it syncs or places a file, and the bytes of the largest."""
        self._record, self._policy = self._outputs()

    def start(self, arm: Arm | None = None) -> ForkServerProcess:
        """Start the run in a process of its own, with a fault prepared in it."""
        process = self._processes.Process(target=train, args=(self._command, self._log, arm))
        self.started = time.monotonic()
        process.start()
        return process

    def wait(self, process: ForkServerProcess) -> int:
        """Return a process's exit status; that of one that does not end is -9."""
        process.join(TIMEOUT)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode or 0

    def checkpoints(self) -> list[Path]:
        """Return the newest checkpoint and the one before, as far as they are there."""
        folder = self.results / "local" / "checkpoints"
        return [*folder.rglob("*.safetensors"), *folder.rglob("*.safetensors.before")]

    def finish(self) -> Ending:
        """Give the command again, and compare what it ends in."""
        done = bool(list(self.results.rglob("runs/**/seed0.json")))
        kept = self.checkpoints()
        status = self.wait(self.start())
        said = self._log.read_text(errors="replace")
        went_on: Literal["checkpoint", "before", "start", "done"] = "start"
        if done and "training again" not in said:
            went_on = "done"
        elif kept and "starting afresh" not in said:
            before = "checkpoint before" in said or kept[0].suffix != ".safetensors"
            went_on = "before" if before else "checkpoint"
        try:
            differs, lost = self._outputs() != (self._record, self._policy), status != 0
        except (WorldError, OSError, ValueError):
            differs, lost = False, True
        return Ending(went_on, lost, differs, self._left())

    def _outputs(self) -> tuple[str, bytes]:
        (record,) = self.results.rglob("runs/**/*.json")
        (policy,) = self.results.rglob("policies/**/*.safetensors")
        return records.deterministic(records.read(record)), policy.read_bytes()

    def _left(self) -> tuple[str, ...]:
        def stays(path: Path) -> bool:
            kind = path.relative_to(self.results).parts[1]
            endings = {"runs": ".json", "policies": ".safetensors", "checkpoints": ".lock"}
            return path.name == f"seed0{endings[kind]}"

        files = sorted(path for path in self.results.rglob("*") if path.is_file())
        return tuple(str(path) for path in files if not stays(path))
