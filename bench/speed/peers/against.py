"""The comparison: both sides in turns, each in a process of its own, on one core and one thread."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.compilation import has_compiler
from bench.config import RunConfig
from bench.errors import RequestError, WorldError, nearest
from bench.speed.peers.table import PEERS, Peer
from bench.speed.timing import Row, rounded
from bench.speed.workload import reference

FOLDER = Path(__file__).parent
RULES: dict[str, Any] = {"reward": "mpe-dense", "task_options": {"collisions": True}}
"""The rules of simple_spread, which is what every peer plays."""
PARALLEL = 1024
"""Environments that are stepped at once."""
WARM_UP = 10
"""The share of a measurement that comes before it, to warm up, is one in so many."""
ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
}


@dataclass(frozen=True)
class Side:
    """Somebody who does the work: a file, run by a Python."""

    name: str
    what: str
    file: str
    python: str
    options: Mapping[str, Any]

    def run(self, workload: Mapping[str, Any]) -> dict[str, float]:
        """Do the work in a fresh process; return what was done and its CPU seconds.

        Raises:
            WorldError: if it failed, or did other work than it was given.
        """
        told = json.dumps({**workload, **self.options})
        done = subprocess.run(
            [self.python, str(FOLDER / "worker.py"), str(FOLDER / self.file), told],
            capture_output=True,
            text=True,
            env={**os.environ, **ONE_THREAD},
        )
        if done.returncode:
            raise WorldError(f"{self.name} failed: {(done.stderr.splitlines() or ['?'])[-1]}")
        result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])  # libraries greet
        for count in ("env_steps", "updates"):
            if result.get(count) != workload.get(count):
                raise WorldError(
                    f"{self.name} did {result.get(count)} {count}, not {workload.get(count)}"
                )
        return result


def find_peers(given: Iterable[str]) -> list[tuple[Peer, Side]]:
    """Look up peers given as NAME or NAME=PYTHON, and see that each can be imported there.

    Raises:
        RequestError: for an unknown name, no such Python, or a peer that is not installed in it.
    """
    found = []
    for text in given:
        name, _, python = text.partition("=")
        if name not in PEERS:
            raise RequestError(f"--against {name}: no such peer; {nearest(name, list(PEERS))}")
        peer = PEERS[name]
        side = Side(name, peer.what, peer.file, python or sys.executable, peer.options)
        if missing := _missing(side, peer.needs):
            raise RequestError(
                f"--against {text}: {side.python} has no {missing}; install {name} {peer.install}"
                + ("" if python else f"; then give --against {name}=peers/bin/python")
            )
        found.append((peer, side))
    return found


def _missing(side: Side, needs: Sequence[str]) -> str:
    """Name the modules that a Python lacks.

    Raises:
        RequestError: if it is no Python.
    """
    probe = (
        "import importlib.util as u, sys; print(*(n for n in sys.argv[1:] if not u.find_spec(n)))"
    )
    try:
        command = [side.python, "-c", probe, *needs]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RequestError(f"--against {side.name}={side.python}: no Python to run") from error
    return " and no ".join(told.stdout.split())


def measure_against(peers: Iterable[tuple[Peer, Side]], rounds: int) -> list[Row]:
    """Compare us with each peer on what the table gives it."""
    rows = []
    for peer, side in peers:
        config = reference(**RULES, **peer.changes)
        rows += compare(peer.kind, side, config, peer.env_steps, rounds)
    return rows


def compare(kind: str, peer: Side, config: RunConfig, env_steps: int, rounds: int) -> list[Row]:
    """Let us and a peer do the same work in turns.

    Args:
        kind: training or stepping.
        peer: the other side.
        config: the run; when stepping, its task.
        env_steps: a whole number of groups of episodes, after one in `WARM_UP` to warm up.
        rounds: measurements of each side; medians are kept.

    Returns:
        A row for each side, ours first.  Warming up is part of `start_up_cpu_s`, not of `cpu_s`.
        The full workload, `config` to its end without evaluations, is an extrapolation.
    """
    horizon = config.task_options["horizon"]
    parallel = config.parallel if kind == "training" else PARALLEL
    group = parallel * horizon
    workload: dict[str, Any] = {
        "config": config.model_dump(mode="json"),
        "parallel": parallel,
        "env_steps": env_steps,
        "warm_env_steps": max(env_steps // group // WARM_UP, 1) * group,
    }
    full_env_steps = 0
    if kind == "training":
        workload["updates"] = env_steps // config.steps_per_update
        full_env_steps = config.episodes * horizon
    sides = [*_ours(kind, config), peer]
    turns = [[side.run(workload) for side in sides] for _ in range(rounds)]
    rows = [
        _row(side, workload, results, full_env_steps)
        for side, results in zip(sides, zip(*turns, strict=True), strict=True)
    ]
    for row in rows:
        row["ratio_to_ours"] = rounded(row["cpu_s"] / rows[0]["cpu_s"])
    return rows


def _ours(kind: str, config: RunConfig) -> list[Side]:
    """Our side, and what of it is stepping alone."""
    if kind == "training":
        what = f"{config.parallel} environments, {config.sampler} replay"
        return [
            Side(name, what, "ours_training.py", sys.executable, {"compiled": compiled})
            for name, compiled in (("ours", False), ("ours, compiled", True))
            if has_compiler() or not compiled
        ]
    return [
        Side("ours", what, "ours_stepping.py", sys.executable, {"whole": whole})
        for what, whole in (("step, observe, reward", True), ("step", False))
    ]


def _row(
    side: Side,
    workload: Mapping[str, Any],
    results: Sequence[Mapping[str, float]],
    full_env_steps: int,
) -> Row:
    """Take the medians of a side's measurements."""
    row: Row = {"section": "against", "peer": side.name, "what": side.what}
    row |= {name: workload[name] for name in ("env_steps", "updates") if name in workload}
    for name in ("start_up_cpu_s", "compile_cpu_s", "cpu_s"):
        if name in results[0]:
            row[name] = rounded(statistics.median(result[name] for result in results))
    env_steps = workload["env_steps"]
    if full_env_steps:
        rest = full_env_steps - workload["warm_env_steps"]  # the start-up has done that much
        whole = row["start_up_cpu_s"] + row["cpu_s"] * rest / env_steps
        row["cpu_s_full_workload"] = rounded(whole)
    else:
        row["joint_steps_per_cpu_s"] = rounded(env_steps / row["cpu_s"])
    return row
