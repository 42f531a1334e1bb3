"""Greedy evaluation, apart from training: fresh episodes from random streams of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bench.interfaces import Algorithm, Task
from bench.random import Random


@torch.no_grad()
def evaluate(
    task: Task,
    algorithm: Algorithm,
    random: Random,
    episodes: int,
    reward: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Mapping[str, Tensor]:
    """Play `episodes` greedy episodes with every replica.

    Args:
        task: what is played.
        algorithm: who plays.
        random: source of the episodes.
        episodes: how many, per replica.
        reward: in place of the task's, where replicas are rewarded differently.

    Returns:
        By metric, one value per replica and episode [R, episodes] on the CPU: what the task counts,
        and `return`, the undiscounted sum of the agents' mean reward, where the task counts none.
    """
    state = task.reset(random.fold("reset"), episodes)
    reward = reward or task.reward
    sums: dict[str, Tensor] = {}
    for step in range(task.horizon):
        action = algorithm.act(task.observe(state), random=random.fold("act").fold(step))
        next_state = task.step(state, action)
        counted = {"return": reward(state, next_state).mean(-1), **task.metrics(next_state)}
        for name, value in counted.items():
            sums[name] = sums[name] + value if name in sums else value
        state = next_state
    return {name: value.cpu() for name, value in task.episode_metrics(sums).items()}
