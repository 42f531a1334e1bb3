"""Our side of a comparison of stepping: E episodes at once under random actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bench.config import resolve
from bench.device import settle_cpu
from bench.random import Random
from bench.tasks import make_task


def run(workload: dict[str, Any], mark: Callable[[], None]) -> dict[str, float]:
    """Play `warm_env_steps`, then `env_steps`, in groups of E whole episodes; count the latter."""
    settle_cpu()
    task = make_task(resolve(workload["config"], where="peers"), "continuous")
    random = Random.from_seeds([0])
    E, whole = workload["parallel"], workload["whole"]
    drawn = random.fold("action").uniform(task.horizon, E, task.agents, task.action_size)
    actions = (drawn.float() * 2 - 1).unbind(1)

    @torch.no_grad()
    def play(env_steps: int) -> int:
        steps = 0
        while steps < env_steps:
            state = task.reset(random.fold(steps), E)
            for action in actions:
                after = task.step(state, action)
                if whole:
                    task.observe(after)
                    task.reward(state, after)
                state = after
            steps += E * task.horizon
        return steps

    play(workload["warm_env_steps"])
    mark()
    return {"env_steps": play(workload["env_steps"])}
