"""One step of a task, watched: what comes from outside may be of any shape, and says so at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bench.errors import RequestError, is_out_of_memory
from bench.interfaces import Task
from bench.random import Random

EPISODES = 2
"""More than one, so that an axis left out does not pass for one that broadcasts."""

KINDS: Mapping[str, type] = {
    "agents": int,
    "horizon": int,
    "state_size": int,
    "observation_size": int,
    "action_size": int,
    "discrete": bool,
    "score": str,
}


def check_task(task: Task, name: str) -> None:
    """Take a step in two episodes of one replica, and hold every answer against its shape.

    Raises:
        RequestError: naming what the task or its reward gave, and what would be right.
    """
    for attribute, kind in KINDS.items():
        if not isinstance(found := getattr(task, attribute, None), kind):
            raise RequestError(f"{name}: {attribute} = {found!r}: must be of type {kind.__name__}")
    try:
        _take_a_step(task, name)
    except RequestError:
        raise
    except Exception as error:  # code from outside may fail in any way
        if is_out_of_memory(error):
            raise
        raise RequestError(f"{name}: {type(error).__name__}: {error}") from error


def _take_a_step(task: Task, name: str) -> None:
    N, S, E = task.agents, task.state_size, EPISODES
    random = Random.from_seeds([0])

    def check(what: str, found: object, shape: Sequence[int], dtype: torch.dtype) -> None:
        right = f"{str(dtype).removeprefix('torch.')} {list(shape)}"
        if not isinstance(found, Tensor):
            raise RequestError(f"{name}: {what} is a {type(found).__name__}: must be {right}")
        if found.shape != torch.Size(shape) or found.dtype != dtype:
            was = f"{str(found.dtype).removeprefix('torch.')} {list(found.shape)}"
            raise RequestError(f"{name}: {what} is {was}: must be {right}")

    state = task.reset(random.fold("reset"), E)
    check("the state of reset", state, (1, E, S), torch.float32)
    observation = task.observe(state)
    check("the observation", observation, (1, E, N, task.observation_size), torch.float32)
    action = torch.zeros(1, E, N, task.action_size)
    if task.discrete:
        action[..., 0] = 1.0
    following = task.step(state, action)
    check("the state of step", following, (1, E, S), torch.float32)
    reward = task.reward(state, following)
    check("the reward", reward, (1, E, N), torch.float32)
    episodes = [torch.stack([each, each], 2) for each in (state, following)]  # [R, E, T, S]
    check("the reward of two steps at once", task.reward(*episodes), (1, E, 2, N), torch.float32)
    if (terminated := task.terminated(following)) is not None:
        check("what terminated returns", terminated, (1, E), torch.bool)
    counted = {"return": reward.mean(-1), **task.metrics(following)}
    for metric, value in counted.items():
        check(f"metric '{metric}'", value, (1, E), torch.float32)
    for metric, value in task.metrics(episodes[1]).items():
        check(f"metric '{metric}' of two steps at once", value, (1, E, 2), torch.float32)
    reported = task.episode_metrics(counted)
    if task.score not in reported:
        raise RequestError(
            f"{name}: score = '{task.score}' is none of its episode metrics {sorted(reported)}"
        )
