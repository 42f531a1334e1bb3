"""Our tasks as PettingZoo environments: one episode of one replica, stepped by dictionaries."""

from __future__ import annotations

import functools
import secrets
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from pettingzoo import ParallelEnv
from torch import Tensor

from bench import registry
from bench.config import RunConfig
from bench.errors import RequestError, nearest
from bench.random import Random
from bench.tasks import make_task
from bench.validation import validate

if TYPE_CHECKING:
    from bench.interfaces import Task

    Box = np.ndarray[Any, np.dtype[np.float32]]
    Observations = dict[str, Box]
    Infos = dict[str, dict[str, float]]

ACTIONS = ("continuous", "discrete")
RENDER_MODES = (None, "rgb_array")


def parallel_env(
    *,
    task: str = "coop-nav",
    agents: int = 3,
    reward: str | None = None,
    actions: str = "continuous",
    render_mode: str | None = None,
    **task_options: Any,
) -> TaskEnv:
    """Return a task as a PettingZoo ParallelEnv.

    Args:
        task: name of the task, as `hypercoop tasks` lists them.
        agents: number of agents N (and of targets, or moves).
        reward: name of the reward; the task's first (coop-nav's is group-goal) if none is named.
        actions: "continuous", Box(-1, 1), or "discrete", Discrete.
        render_mode: None, or "rgb_array" for `render` to return pictures.
        **task_options: options of the task.  Of coop-nav: dynamics "mpe" | "first-order", radius
            0.1 (the square's side is 2), horizon 30 (steps), targets "redrawn" | "fixed",
            collisions False.  :mod:`bench.tasks.options` has them all.

    Raises:
        RequestError: for an unknown task, reward or option, or a wrong value.
    """
    if actions not in ACTIONS:
        raise RequestError(f"unknown actions '{actions}'; {nearest(str(actions), [*ACTIONS])}")
    if render_mode not in RENDER_MODES:
        raise RequestError(f"unknown render_mode '{render_mode}'; known: None, rgb_array")
    values = {"task": task, "agents": agents, "task_options": task_options}
    values["reward"] = reward or next(iter(registry.task_entry(task).rewards))
    return TaskEnv(make_task(validate(RunConfig, values, "parallel_env"), actions), render_mode)


class TaskEnv(ParallelEnv):  # type: ignore[misc]  # pettingzoo's generics are untyped here
    """A batched task with one replica and one episode, as PettingZoo's parallel API has it.

    Agents are "agent_0" to "agent_{N-1}".  Observations are Box [O] float32; actions are Box
    [A] in [-1, 1] (clipped to it) or Discrete.  All agents are truncated at the horizon, and
    terminated where the task ends an episode.  The infos of a step are the task's metrics of the
    state reached, equal for all agents.

    Args:
        task: the task.
        render_mode: None or "rgb_array".
    """

    metadata = {"name": "hypercoop", "render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, task: Task, render_mode: str | None) -> None:
        self.task, self.render_mode = task, render_mode
        self.possible_agents = [f"agent_{i}" for i in range(task.agents)]
        self.agents: list[str] = []
        self._random: Random | None = None
        self._episode = 0
        self._elapsed = 0
        self._state: Tensor | None = None

    # A space is made once per agent: seeding its sampler must last.
    @functools.cache  # noqa: B019 (an environment lives as long as its process)
    def observation_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        """Return Box(-inf, inf, [O]) float32."""
        shape = (self.task.observation_size,)
        return gymnasium.spaces.Box(-np.inf, np.inf, shape, np.float32)

    @functools.cache  # noqa: B019
    def action_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        """Return Box(-1, 1, [A]) float32, or Discrete(A)."""
        if self.task.discrete:
            return gymnasium.spaces.Discrete(self.task.action_size)
        return gymnasium.spaces.Box(-1.0, 1.0, (self.task.action_size,), np.float32)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, Infos]:
        """Start an episode.

        Args:
            seed: begins a new sequence of episodes; without one, the sequence goes on (from the
                operating system's entropy at first).
            options: unused.
        """
        if seed is not None or self._random is None:
            self._random = Random.from_seeds([secrets.randbits(62) if seed is None else seed])
            self._episode = 0
        self._state = self.task.reset(self._random.fold(self._episode), 1)
        self._episode += 1
        self._elapsed = 0
        self.agents = list(self.possible_agents)
        return self._observe(self._state), {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """Advance one step by the action of every agent; nothing happens once all are done.

        Raises:
            KeyError: if the action of an agent is missing.
        """
        if not self.agents:
            return {}, {}, {}, {}, {}
        state = self._current()
        action = self._joint_action(actions)
        self._state = self.task.step(state, action)
        self._elapsed += 1
        rewards = self.task.reward(state, self._state)[0, 0].tolist()
        done = self.task.terminated(self._state)
        terminated = done is not None and bool(done[0, 0])
        truncated = self._elapsed >= self.task.horizon
        metrics = {name: float(value) for name, value in self.task.metrics(self._state).items()}
        names = list(self.possible_agents)
        if terminated or truncated:
            self.agents = []
        return (
            self._observe(self._state),
            dict(zip(names, rewards, strict=True)),
            dict.fromkeys(names, terminated),
            dict.fromkeys(names, truncated),
            {name: dict(metrics) for name in names},
        )

    def _joint_action(self, actions: dict[str, Any]) -> Tensor:
        """Stack the agents' actions: [1, 1, N, A]."""
        chosen = np.stack([np.asarray(actions[agent]) for agent in self.possible_agents])
        if self.task.discrete:
            moves = torch.as_tensor(chosen, dtype=torch.int64)
            return torch.nn.functional.one_hot(moves, self.task.action_size).float()[None, None]
        return torch.as_tensor(chosen, dtype=torch.float32).clamp(-1, 1)[None, None]

    def _observe(self, state: Tensor) -> Observations:
        observation = self.task.observe(state)[0, 0].numpy()
        return dict(zip(self.possible_agents, observation, strict=True))

    def _current(self) -> Tensor:
        if self._state is None:
            raise RuntimeError("call reset() first")
        return self._state

    def state(self) -> Box:
        """Return the task's raw state: [S] float32."""
        current: Box = self._current()[0, 0].numpy()
        return current

    def render(self) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
        """Draw the agents and the targets with their cover radius: [height, width, 3] uint8.

        Raises:
            RequestError: if the task has no positions to draw.
        """
        if self.render_mode is None:
            return None
        from bench.scene import picture

        return picture(self.task, self._current()[:, 0])
