"""VMAS's own simple_spread: E environments at once under random actions (Bettini et al. 2022).

python3 -m venv peers; peers/bin/pip install torch==2.13.0 vmas==1.5.2
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import vmas


def run(workload: dict[str, Any], mark: Callable[[], None]) -> dict[str, float]:
    """Play `warm_env_steps`, then `env_steps`, in groups of E whole episodes; count the latter."""
    torch.set_num_threads(1)
    E, N = workload["parallel"], workload["config"]["agents"]
    horizon = workload["config"]["task_options"]["horizon"]
    env = vmas.make_env("simple_spread", num_envs=E, n_agents=N, continuous_actions=True, seed=0)
    actions = (torch.rand(horizon, N, E, 2) * 2 - 1).unbind(0)

    def play(env_steps: int) -> int:
        steps = 0
        while steps < env_steps:
            env.reset()
            for action in actions:
                env.step(list(action))
            steps += E * horizon
        return steps

    play(workload["warm_env_steps"])
    mark()
    return {"env_steps": play(workload["env_steps"])}
