"""Greedy evaluation, apart from training: fresh episodes from random streams of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from bench.interfaces import Algorithm, Task
from bench.random import Random


def play(
    task: Task, act: Callable[..., Tensor], random: Random, state: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Play episodes to the horizon T, step by step.

    Args:
        task: what is played.
        act: called ``act(observation [R, E, N, O], random=...) -> [R, E, N, A]``.
        random: source of what `act` draws, step by step.
        state: [R, E, S], where the episodes begin.

    Yields:
        T times the state, the action and the next state.
    """
    for step in range(task.horizon):
        action = act(task.observe(state), random=random.fold(step))
        next_state = task.step(state, action)
        yield state, action, next_state
        state = next_state


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
    for before, _, next_state in play(task, algorithm.act, random.fold("act"), state):
        counted = {"return": reward(before, next_state).mean(-1), **task.metrics(next_state)}
        for name, value in counted.items():
            sums[name] = sums[name] + value if name in sums else value
    return {name: value.cpu() for name, value in task.episode_metrics(sums).items()}
