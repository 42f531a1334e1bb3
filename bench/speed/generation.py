"""Generating weights for all agents at once, against one agent at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from bench.config import RunConfig
from bench.errors import RequestError
from bench.interfaces import Generating, Weights
from bench.methods import method_entry
from bench.random import Random
from bench.speed.timing import Row, interleave, rounded, spread
from bench.tasks import make_task
from bench.team import make_spec, scheme_factory

AGENTS = 64
QUICK = ("hyper-maddpg", "hyper-maddpg-full")
"""Heads alone, which is the default of the method table; and all layers."""
FULL = (*QUICK, "hyper-maddpg-chunked", "hyper-maddpg-low-rank", "hyper-maddpg-sparse")


def generators(
    config: RunConfig, method: str, agents: int = AGENTS
) -> tuple[Callable[[], Weights], Callable[[], list[Weights]]]:
    """Return what generates the acting network of every agent: at once, and agent by agent.

    Both do so from the same parameters, as in acting: without gradients.

    Raises:
        RequestError: if the method's scheme generates nothing.
    """
    entry = method_entry(method)
    config = config.model_copy(update={"agents": agents})
    task = make_task(config, entry.actions)
    make = scheme_factory(entry, make_spec(config, task, 1, torch.device("cpu")))
    sizes = [task.observation_size, *config.hidden, task.action_size]
    every = make(sizes, agents)
    parameters = every.init(Random.from_seeds([0]))
    if not isinstance(every, Generating):
        raise RequestError(f"method '{method}' generates no weights")
    alone = [every.alone(parameters, agent) for agent in range(agents)]

    def one_by_one() -> list[Weights]:
        return [single.weights(own) for single, own in alone]

    return partial(every.weights, parameters), one_by_one


def measure_generation(config: RunConfig, methods: Sequence[str], rounds: int) -> list[Row]:
    """Time both ways for hypernetworks of the method table; the ratio is of medians, in this run.

    What is a few products of large matrices at once is limited by them; heads, which are small, by
    the count of operations, which all agents together have as many of as one.
    """
    functions: dict[tuple[str, str], Callable[[], object]] = {}
    for method in methods:
        functions[method, "at_once"], functions[method, "one_by_one"] = generators(config, method)
    with torch.no_grad():
        samples = interleave(functions, rounds)
    rows = []
    for method in methods:
        row: Row = {"section": "generation", "method": method, "agents": AGENTS}
        for way in ("at_once", "one_by_one"):
            row |= spread(samples[method, way], f"{way}_cpu_us", 1e6)
        ratio = row["one_by_one_cpu_us_median"] / row["at_once_cpu_us_median"]
        rows.append({**row, "one_by_one_to_at_once_ratio": rounded(ratio)})
    return rows
