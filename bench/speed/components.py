"""The pieces around the update: stepping, sampling, evaluating, starting, and what they hold."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from bench.config import RunConfig
from bench.evaluate import evaluate
from bench.interfaces import Task
from bench.provenance import RSS_PER_MB
from bench.speed.timing import Row, interleave, rounded, spread
from bench.speed.workload import fill, make_fleet
from bench.train import Trainer

START_UP = """
import json, resource, time
marks = [time.process_time()]
import torch
marks.append(time.process_time())
torch.set_num_threads(1)
from bench.speed.workload import make_fleet, reference
config = reference()
marks.append(time.process_time())
make_fleet(config)
marks.append(time.process_time())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"marks": marks, "peak": peak}))
"""
"""A fresh process: the interpreter, torch, the harness, and an empty fleet of the reference."""


def measure_environment(
    config: RunConfig, agents: list[int], parallel: list[int], rounds: int
) -> list[Row]:
    """Count joint environment steps a second, stepping alone and with what a learner needs."""
    functions: dict[tuple[int, int, str], Callable[[], object]] = {}
    for N in agents:
        fleet = make_fleet(config.model_copy(update={"agents": N, "buffer": 1}))
        task, random = fleet.task, fleet.random
        for E in parallel:
            state = task.reset(random.fold("state"), E)
            action = random.fold("action").uniform(E, N, task.action_size).float() * 2 - 1
            functions[N, E, "step"] = partial(task.step, state, action)
            functions[N, E, "step + observe + reward"] = partial(_turn, task, state, action)
    with torch.no_grad():
        samples = interleave(functions, rounds)
    rows = []
    for (N, E, what), seconds in samples.items():
        row: Row = {"section": "environment", "agents": N, "parallel_episodes": E, "what": what}
        row |= spread(seconds, "cpu_us_per_vector_step", 1e6)
        row["joint_steps_per_cpu_s"] = rounded(E / row["cpu_us_per_vector_step_median"] * 1e6)
        rows.append(row)
    return rows


def _turn(task: Task, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    after = task.step(state, action)
    return task.observe(after), task.reward(state, after)


def measure_replay(config: RunConfig, rounds: int) -> list[Row]:
    """Time drawing a batch from a full ring, and hearing of its TD errors."""
    functions: dict[tuple[str, str], Callable[[], object]] = {}
    stored = {}
    for name in ("uniform", "prioritized"):
        fleet = make_fleet(config.model_copy(update={"sampler": name}))
        fill(fleet)
        stored[name] = fleet.replay.capacity
        random = fleet.random.fold("draw")
        indices, _ = fleet.sampler.sample(random, 0.5)
        errors = random.uniform(config.batch).float()
        functions[name, "sample"] = partial(fleet.sampler.sample, random, 0.5)
        functions[name, "update"] = partial(fleet.sampler.update, indices, errors)
    return [
        {
            "section": "replay",
            "sampler": name,
            "what": what,
            "stored_transitions": stored[name],
            "batch_transitions": config.batch,
            **spread(seconds, "cpu_us_per_call", 1e6),
        }
        for (name, what), seconds in interleave(functions, rounds).items()
    ]


def measure_evaluation(run: Trainer, rounds: int) -> list[Row]:
    """Time greedy evaluation: a point of the curve, and the last assessment."""
    fleet = run._fleet
    counts = (fleet.config.evaluation_episodes, fleet.config.absolute_episodes)
    functions = {
        episodes: partial(evaluate, fleet.task, fleet.algorithm, fleet.random, episodes)
        for episodes in counts
    }
    return [
        {"section": "evaluation", "episodes": episodes, **spread(seconds, "cpu_ms_per_call", 1e3)}
        for episodes, seconds in interleave(functions, rounds).items()
    ]


def measure_start_up(rounds: int) -> list[Row]:
    """Time what a fresh process does before its first step, in processes of its own."""
    names = ("interpreter", "import torch", "import the harness", "build the fleet")
    samples: dict[str, list[float]] = {name: [] for name in (*names, "start-up")}
    peaks = []
    for _ in range(rounds):
        done = subprocess.run(
            [sys.executable, "-c", START_UP], capture_output=True, text=True, check=True
        )
        told = json.loads(done.stdout)
        marks = [0.0, *told["marks"]]
        for name, before, after in zip(names, marks, marks[1:], strict=False):
            samples[name].append(after - before)
        samples["start-up"].append(marks[-1])
        peaks.append(told["peak"] / RSS_PER_MB)
    rows = [
        {"section": "start-up", "what": what, **spread(seconds, "cpu_s")}
        for what, seconds in samples.items()
    ]
    peak = {"section": "memory", "what": "peak of a process that has started up"}
    return [*rows, {**peak, "mib": rounded(max(peaks))}]


def measure_memory(run: Trainer) -> list[Row]:
    """Count the bytes of what a run holds, by its owner: replay, sampler, algorithm."""
    held: dict[str, int] = {}
    for name, tensor in run._fleet.state().items():
        owner = name.partition("/")[0]
        held[owner] = held.get(owner, 0) + tensor.nbytes
    return [
        {"section": "memory", "what": f"{owner} of one replica", "mib": rounded(count / 2**20)}
        for owner, count in held.items()
    ]
