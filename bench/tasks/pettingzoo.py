"""Any PettingZoo parallel environment as a task, by import path: ``pettingzoo:MODULE``.

``MODULE.parallel_env(**task_options)`` must give agents with fixed-size Box observations and Box or
Discrete actions.  Such environments are stateful and one at a time, so this is slower than a
batched task; and a state can be stepped only while it is the one that the environments are in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from bench import registry
from bench.config import RunConfig
from bench.errors import RequestError, WorldError
from bench.methods import choose_actions
from bench.random import Random

VERSION = 2
"""2: the return in training is the sum over agents, as it is in evaluations."""

LIMITS = ("max_cycles", "max_steps", "max_episode_steps", "horizon")
"""Names under which environments keep their limit of steps."""
PROBES, PROBE_STEPS = 10, 10_000
"""Where none is found: episodes played to see the limit, and their greatest length."""

RewardFunction = Callable[["PettingZooTask", Tensor, Tensor], Tensor]
Array = np.ndarray[Any, Any]


def environment_reward(task: PettingZooTask, state: Tensor, next_state: Tensor) -> Tensor:
    """Return the environment's own reward of every agent: [R, E, N]."""
    return task.rewards(next_state)


class PettingZooTask:
    """A PettingZoo parallel environment over [R, E] episodes.

    A state [R, E, S] holds all agents' observations (flattened, and padded with zeros to the
    largest), their rewards of the last step, and whether the episode has terminated: S = N O + N +
    1.  An agent that is done before the others observes zeros and gets no reward; after
    termination the state stays, without reward, to the horizon.

    Actions in [-1, 1]^A go affinely to a Box's bounds; Discrete(n) takes one-hot vectors.  Where
    agents differ in size, A is the largest: components that an agent lacks are ignored, and a move
    that it lacks is its first.

    The horizon is the environment's limit of steps: the task option or the attribute that has a
    name of :data:`LIMITS`, or else the length of an episode of random actions that is truncated.
    An environment that truncates all agents before that is an error, since what was cut off could
    not be told from an end.

    Args:
        name: what to call the environment in messages.
        make: its `parallel_env`.
        options: keyword arguments of `make`.
        reward: a function of this module.
        discrete: whether the method acts by one-hot moves.

    Raises:
        RequestError: if the environment cannot be made with these options, or if its spaces do not
            suit the method.
    """

    score = "return"

    def __init__(
        self,
        name: str,
        make: Callable[..., Any],
        options: Mapping[str, Any],
        reward: RewardFunction,
        *,
        discrete: bool = False,
    ) -> None:
        self._name, self._make, self._options = name, make, dict(options)
        self._reward = reward
        self.discrete = discrete
        try:
            env = make(**self._options)
            self._names: list[Any] = list(env.possible_agents)
            observations = [env.observation_space(agent) for agent in self._names]
            self._actions = [env.action_space(agent) for agent in self._names]
        # Whatever a foreign constructor raises for its arguments, the user gave them.
        except Exception as error:
            raise RequestError(
                f"cannot make {name}.parallel_env with options {self._options}: {error}"
            ) from error
        self._check_spaces(observations)
        self.agents = len(self._names)
        self.observation_size = max(int(np.prod(space.shape)) for space in observations)
        self.action_size = max(
            int(space.n) if discrete else int(np.prod(space.shape)) for space in self._actions
        )
        self.state_size = self.agents * (self.observation_size + 1) + 1
        self.horizon = self._limit(env)
        # Made as needed and used again: one set serves training and evaluation in turn.
        self._envs = [env]
        self._state: Tensor | None = None
        self._elapsed = 0

    @classmethod
    def from_config(cls, config: RunConfig, reward: RewardFunction, actions: str) -> PettingZooTask:
        """Build the task of a run.

        Raises:
            RequestError: if there is no such environment, or it does not suit the run.
        """
        name = config.task.partition(":")[2]
        if not name:
            raise RequestError(
                "task 'pettingzoo' names no environment: write pettingzoo:MODULE, "
                "as in pettingzoo:mpe2.simple_spread_v3"
            )
        make = registry.load(f"{name}:parallel_env")
        discrete = actions == "discrete"
        task = cls(name, make, config.task_options, reward, discrete=discrete)
        if task.agents != config.agents:
            raise RequestError(
                f"{name} has {task.agents} agents with options {config.task_options}, but the "
                f"run has agents = {config.agents}: set agents: {task.agents}, or change the "
                "environment's own option"
            )
        return task

    def _check_spaces(self, observations: list[Any]) -> None:
        if not observations:
            raise RequestError(f"{self._name} has no agents")
        for agent, space in zip(self._names, observations, strict=True):
            if not isinstance(space, Box):
                raise RequestError(f"{self._name}: {agent} observes {space}; only Box is supported")
        wanted = Discrete if self.discrete else Box
        for agent, space in zip(self._names, self._actions, strict=True):
            if isinstance(space, Box | Discrete) and not isinstance(space, wanted):
                kinds = ("continuous", "discrete")
                given, acts = kinds[not self.discrete], kinds[self.discrete]
                raise RequestError(
                    f"{self._name}: {agent} acts in {space}, but the method's actions are {acts}: "
                    f"{choose_actions(given)}, or choose the environment's own "
                    f"option for {acts} actions (in mpe2: continuous_actions: "
                    f"{str(not self.discrete).lower()})"
                )
            if not isinstance(space, wanted):
                raise RequestError(
                    f"{self._name}: {agent} acts in {space}; only Box and Discrete are supported"
                )
            if isinstance(space, Box) and not space.is_bounded():
                raise RequestError(f"{self._name}: {agent} acts in {space}, which is not bounded")

    def _limit(self, env: Any) -> int:
        """Find the environment's limit of steps."""
        for name in LIMITS:
            for value in (self._options.get(name), getattr(env.unwrapped, name, None)):
                if isinstance(value, int) and value > 0:
                    return value
        for seed, space in enumerate(self._actions):
            space.seed(seed)
        for seed in range(PROBES):
            env.reset(seed=seed)
            truncated: Mapping[Any, bool] = {}
            steps = 0
            while env.agents and steps < PROBE_STEPS:
                moves = {agent: env.action_space(agent).sample() for agent in env.agents}
                truncated = env.step(moves)[3]
                steps += 1
            if not env.agents and truncated and all(truncated.values()):
                return steps
        raise RequestError(
            f"cannot tell how many steps an episode of {self._name} may last: it has no "
            f"{' or '.join(LIMITS)}, and {PROBES} episodes of random actions were never truncated"
        )

    # -- the parts of a state ----------------------------------------------------------------------

    def observe(self, state: Tensor) -> Tensor:
        """Observe: [..., S] -> [..., N, O]."""
        seen = state[..., : self.agents * self.observation_size]
        return seen.unflatten(-1, (self.agents, self.observation_size))

    def rewards(self, state: Tensor) -> Tensor:
        """Return the environment's rewards of the step into a state: [..., N]."""
        return state[..., self.agents * self.observation_size : -1]

    def reward(self, state: Tensor, next_state: Tensor) -> Tensor:
        """Reward every agent for a transition: [..., N]."""
        return self._reward(self, state, next_state)

    def terminated(self, state: Tensor) -> Tensor:
        """Return [...] bool, true once all agents are done other than by a time limit."""
        return state[..., -1] > 0.5

    def metrics(self, state: Tensor) -> Mapping[str, Tensor]:
        """Count, per step, the `return`: the sum of the agents' rewards, PettingZoo's scale."""
        return {"return": self.rewards(state).sum(-1)}

    def episode_metrics(self, sums: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Report the sums as they are."""
        return sums

    # -- the environments --------------------------------------------------------------------------

    def reset(self, random: Random, episodes: int) -> Tensor:
        """Start new episodes in every environment, seeded from `random`: [R, E, S]."""
        seeds = (random.uniform(episodes) * 2**31).long()
        count = seeds.numel()
        self._envs += [self._make(**self._options) for _ in range(count - len(self._envs))]
        rows = np.zeros((count, self.state_size), np.float32)
        for env, row, seed in zip(self._envs, rows, seeds.flatten().tolist(), strict=False):
            observations, _ = env.reset(seed=seed)
            self._write(row, observations, {})
        self._elapsed = 0
        return self._keep(rows, seeds.shape, seeds.device)

    def step(self, state: Tensor, action: Tensor) -> Tensor:
        """Advance every environment by its joint action [R, E, N, A].

        Raises:
            RuntimeError: if `state` is not the one that the environments are in.
            WorldError: if an environment cuts an episode before the horizon, or returns a number
                that is not finite.
        """
        current = self._state
        if current is None or not torch.equal(state, current):
            raise RuntimeError(
                f"{self._name} can only be stepped from the state it is in: the one that the last "
                "reset or step returned"
            )
        self._elapsed += 1
        rows = current.reshape(-1, self.state_size).cpu().numpy().copy()
        # A diverged replica's actions are not numbers; its environments must go on all the same.
        finite = action.detach().nan_to_num()
        joint = finite.reshape(-1, self.agents, self.action_size).cpu().numpy()
        for env, row, vectors in zip(self._envs, rows, joint, strict=False):
            self._advance(env, row, vectors)
        return self._keep(rows, current.shape[:2], current.device)

    def _advance(self, env: Any, row: Array, vectors: Array) -> None:
        """Step one environment by [N, A] and write what came of it into `row` [S]."""
        row[self.agents * self.observation_size : -1] = 0
        if not env.agents:
            return
        moves = {
            name: self._decode(space, vector)
            for name, space, vector in zip(self._names, self._actions, vectors, strict=True)
            if name in env.agents
        }
        observations, rewards, terminations, truncations, _ = env.step(moves)
        self._write(row, observations, rewards)
        if env.agents:
            return
        cut = any(truncations[name] and not terminations[name] for name in truncations)
        if cut and self._elapsed < self.horizon:
            raise WorldError(
                f"{self._name} truncated an episode after {self._elapsed} steps, before its limit "
                f"of {self.horizon}: give the true one as an option ({', '.join(LIMITS)})"
            )
        row[-1] = not cut

    def _write(
        self, row: Array, observations: Mapping[Any, Any], rewards: Mapping[Any, Any]
    ) -> None:
        """Write observations and rewards into `row` [S]; agents without any get zeros."""
        row[:-1] = 0
        for agent, name in enumerate(self._names):
            if name in observations:
                seen = np.asarray(observations[name], np.float32).ravel()
                start = agent * self.observation_size
                row[start : start + seen.size] = seen
            row[self.agents * self.observation_size + agent] = rewards.get(name, 0.0)

    @staticmethod
    def _decode(space: Any, vector: Array) -> Any:
        """Turn a vector [A] into an action of `space`."""
        if isinstance(space, Discrete):
            return int(space.start) + int(vector[: int(space.n)].argmax())
        share = (vector[: int(np.prod(space.shape))].clip(-1, 1) + 1) / 2
        scaled = space.low + share.reshape(space.shape) * (space.high - space.low)
        return scaled.clip(space.low, space.high).astype(space.dtype)

    def _keep(self, rows: Array, shape: torch.Size, device: torch.device) -> Tensor:
        if not np.isfinite(rows).all():
            raise WorldError(
                f"{self._name} returned a number that is not finite at step {self._elapsed}"
            )
        self._state = torch.from_numpy(rows).view(*shape, self.state_size).to(device)
        return self._state
