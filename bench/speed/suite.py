"""What the benchmark measures, in order: one process, one thread, CPU time."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.config import RunConfig
from bench.device import find_device, settle_cpu
from bench.provenance import cpu_model
from bench.speed.compiled import measure_compiled
from bench.speed.components import (
    measure_environment,
    measure_evaluation,
    measure_memory,
    measure_replay,
    measure_start_up,
)
from bench.speed.dynamic import FULL as FULL_CASES
from bench.speed.dynamic import QUICK as QUICK_CASES
from bench.speed.dynamic import Case, measure_dynamic
from bench.speed.fleets import measure_fleets
from bench.speed.generation import FULL as FULL_GENERATION
from bench.speed.generation import QUICK as QUICK_GENERATION
from bench.speed.generation import measure_generation
from bench.speed.peers import find_peers, measure_against
from bench.speed.report import write
from bench.speed.timing import Row, rounded
from bench.speed.update import measure_growth, measure_update
from bench.speed.workload import reference


@dataclass(frozen=True)
class Plan:
    """How much to measure: values of N, of each axis of growth, rounds, products, generation."""

    agents: list[int]
    growth: dict[str, list[int]]
    fleets: dict[str, list[int]]
    """Values of R by kind of device."""
    rounds: int
    start_ups: int
    dynamic: list[Case]
    generation: Sequence[str]
    """Methods whose weights are generated for all agents at once, and one by one."""


BUFFERS = [10_000, 100_000, 1_000_000]
QUICK = Plan(
    agents=[3, 8],
    growth={
        "agents": [2, 4, 8],
        "width": [32, 64, 128],
        "replicas": [1, 2, 4],
        "buffer_transitions": BUFFERS,
    },
    fleets={"cpu": [1, 4], "accelerator": [1, 32, 120]},
    rounds=10,
    start_ups=3,
    dynamic=QUICK_CASES,
    generation=QUICK_GENERATION,
)
FULL = Plan(
    agents=[2, 3, 4, 8, 16, 32],
    growth={
        "agents": [2, 3, 4, 8, 16, 32],
        "width": [16, 32, 64, 128, 256],
        "replicas": [1, 2, 4, 8, 16],
        "buffer_transitions": BUFFERS,
    },
    fleets={"cpu": [1, 2, 4, 8], "accelerator": [1, 8, 32, 120]},
    rounds=30,
    start_ups=5,
    dynamic=FULL_CASES,
    generation=FULL_GENERATION,
)


def run(
    quick: bool, out_dir: Path, against: Sequence[str] = (), device: str = "cpu"
) -> list[dict[str, Any]]:
    """Measure everything and write it below `out_dir`.

    Args:
        quick: few points and rounds: under three minutes on two cores.
        out_dir: gets speed.json, growth.csv, against.csv if there are peers, and speed and roofline
            as .svg and .png.
        against: peers to be compared with, as NAME or NAME=PYTHON; see `bench.speed.peers`.
        device: where fleets are timed; all else is on the CPU.

    Returns:
        Rows of plain values, each of a `section`, with units in the names.

    Raises:
        RequestError: if a peer is unknown or not installed, or there is no such device.
        WorldError: if the disk refuses, or a peer fails.
    """
    started = time.perf_counter()
    peers, where = find_peers(against), find_device(device)
    threads = torch.get_num_threads()
    settle_cpu()
    try:
        rows = _measure(QUICK if quick else FULL, where)
    finally:
        torch.set_num_threads(threads)
    rows += measure_against(peers, 1 if quick else 3)
    rows[0] |= {"quick": quick, "wall_s": rounded(time.perf_counter() - started)}
    write(rows, out_dir)
    return rows


def _measure(plan: Plan, device: torch.device) -> list[Row]:
    config = reference()
    facts = host()
    start_up = measure_start_up(plan.start_ups)
    update, full = measure_update(config, plan.rounds)
    evaluation = measure_evaluation(full, plan.rounds)
    memory, horizon = measure_memory(full), full._fleet.task.horizon
    del full
    smaller = config.model_copy(update={"buffer": min(config.buffer, 100_000)})
    return [
        facts,
        *measure_environment(config, plan.agents, [1, 32, 1024], plan.rounds),
        *measure_replay(config, plan.rounds),
        *update,
        *evaluation,
        *start_up,
        *memory,
        _whole(config, horizon, update, evaluation, start_up),
        *measure_compiled(smaller, plan.rounds),
        *measure_growth(plan.growth, smaller, plan.rounds),
        *measure_fleets(
            smaller,
            plan.fleets["cpu" if device.type == "cpu" else "accelerator"],
            device,
            plan.rounds,
        ),
        *measure_generation(config, plan.generation, plan.rounds),
        *measure_dynamic(plan.dynamic, plan.rounds),
    ]


def host() -> Row:
    """Say on what the numbers were taken."""
    return {
        "section": "host",
        "cpu": cpu_model(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }


def _whole(
    config: RunConfig, horizon: int, update: list[Row], evaluation: list[Row], start_up: list[Row]
) -> Row:
    """Extrapolate to the whole reference run, and set it against what was asked of it."""
    parts = {row["part"]: row for row in update}
    played_s = {row["episodes"]: row["cpu_ms_per_call_median"] * 1e-3 for row in evaluation}
    updates = config.episodes * horizon // config.steps_per_update
    network, rest = parts["network update"], parts["everything else"]
    training_s = parts["all parts, no clock inside"]["cpu_us_per_update_median"] * 1e-6 * updates
    evaluation_s = (
        config.evaluations * played_s[config.evaluation_episodes]
        + 2 * played_s[config.absolute_episodes]
    )
    start_s = next(row["cpu_s_median"] for row in start_up if row["what"] == "start-up")
    return {
        "section": "reference run",
        "updates": updates,
        "training_cpu_s": rounded(training_s),
        "evaluation_cpu_s": rounded(evaluation_s),
        "start_up_cpu_s": rounded(start_s),
        "total_cpu_s": rounded(training_s + evaluation_s + start_s),
        "network_floor_cpu_s": rounded(network["floor_us_per_update_median"] * 1e-6 * updates),
        "network_ratio_to_floor": network["ratio_to_floor"],
        "everything_else_share": rest["share_of_total"],
    }
