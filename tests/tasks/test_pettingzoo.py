"""PettingZoo environments as tasks: mpe2's simple_spread, and small ones made to be awkward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from pettingzoo import ParallelEnv

from bench.config import RunConfig
from bench.errors import RequestError, WorldError
from bench.random import Random
from bench.tasks import make_task
from bench.tasks.coop_nav import CoopNav
from bench.tasks.options import CoopNavOptions
from bench.tasks.pettingzoo import PettingZooTask, environment_reward
from bench.tasks.rewards import mpe_dense

SPREAD = "pettingzoo:mpe2.simple_spread_v3"
CONTINUOUS = {"N": 3, "max_cycles": 25, "continuous_actions": True}


def spread(actions: str = "continuous", agents: int = 3, **options: Any) -> PettingZooTask:
    given = {**CONTINUOUS, "continuous_actions": actions == "continuous", **options}
    config = RunConfig(task=SPREAD, reward="environment", agents=agents, task_options=given)
    task = make_task(config, actions)
    assert isinstance(task, PettingZooTask)
    return task


class Toy(ParallelEnv):  # type: ignore[misc]
    """Two unlike agents that see a counter; `b` dies at step `dies`, both end at step `ends`.

    Observations: a sees [t, seed], b sees [t, action of a, action of b].
    """

    metadata = {"name": "toy"}

    def __init__(
        self,
        dies: int = 99,
        ends: int = 99,
        limit: int = 6,
        broken: bool = False,
        space: Callable[[str], Any] | None = None,
        sees: Any = None,
    ) -> None:
        self.dies, self.ends, self.limit, self.broken = dies, ends, limit, broken
        self.possible_agents = ["a", "b"]
        low, high = np.array([0.0, -4.0]), np.array([2.0, 4.0])
        box = gymnasium.spaces.Box(low.astype(np.float32), high.astype(np.float32))
        self.acts = {name: space(name) if space else box for name in self.possible_agents}
        self.sees = {
            name: sees or gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
            for name, size in (("a", 2), ("b", 3))
        }

    def observation_space(self, agent: str) -> Any:
        return self.sees[agent]

    def action_space(self, agent: str) -> Any:
        return self.acts[agent]

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents, self.t = ["a", "b"], 0
        self.seed = float((seed or 0) % 1009)
        self.given: list[dict[str, Any]] = []
        return self._see({}), {"a": {}, "b": {}}

    def _see(self, actions: dict[str, Any]) -> dict[str, Any]:
        first = {name: np.ravel(action)[0] for name, action in actions.items()}
        broken = np.nan if self.broken else first.get("a", 0)
        return {"a": [self.t, self.seed], "b": [self.t, broken, first.get("b", 0)]}

    def step(self, actions: dict[str, Any]) -> Any:
        assert set(actions) == set(self.agents), "only the living act"
        self.given.append(actions)
        self.t += 1
        live = list(self.agents)
        terminated = dict.fromkeys(live, self.t >= self.ends)
        if "b" in terminated:
            terminated["b"] |= self.t >= self.dies
        truncated = dict.fromkeys(live, self.t >= self.limit)
        self.agents = [name for name in live if not (terminated[name] or truncated[name])]
        seen = {name: value for name, value in self._see(actions).items() if name in live}
        rewards = {name: {"a": 1.0, "b": 10.0}[name] for name in live}
        return seen, rewards, terminated, truncated, {name: {} for name in live}


def toy(discrete: bool = False, **options: Any) -> PettingZooTask:
    return PettingZooTask("toy", Toy, options, environment_reward, discrete=discrete)


def source(*seeds: int) -> Random:
    return Random.from_seeds(seeds or (0,)).fold("test")


def test_simple_spread_is_coop_nav_with_collisions_and_the_dense_reward() -> None:
    """Each step of the one, from the observations, is the step of the other."""
    theirs = spread()
    ours = CoopNav(3, mpe_dense, CoopNavOptions(collisions=True, horizon=25))
    assert (theirs.horizon, theirs.action_size, theirs.agents) == (25, 5, 3)
    random = source(4, 5)

    def translate(state: torch.Tensor) -> torch.Tensor:
        seen = theirs.observe(state)
        x = seen[..., 2:4]
        targets = seen[..., 0, 4:10].unflatten(-1, (3, 2)) + x[..., :1, :]
        return torch.cat([x.flatten(-2), seen[..., :2].flatten(-2), targets.flatten(-2)], -1)

    state = theirs.reset(random, 10)
    assert state.shape == (2, 10, theirs.state_size)
    close = {"atol": 2e-5, "rtol": 0.0}  # contact multiplies the rounding of float32 by 10
    met = 0.0
    for step in range(25):
        torch.testing.assert_close(
            theirs.observe(state)[..., : ours.observation_size],
            ours.observe(translate(state)),
            **close,
        )
        action = random.fold(step).uniform(10, 3, 5).float() * 2 - 1
        half = action / 2  # [-1, 1] is [0, 1] there: a difference of two is halved
        force = torch.stack([half[..., 2] - half[..., 1], half[..., 4] - half[..., 3]], -1)
        expected = ours.step(translate(state), force)
        before, state = state, theirs.step(state, action)
        torch.testing.assert_close(translate(state), expected, **close)
        rewards = theirs.reward(before, state)
        torch.testing.assert_close(rewards, ours.reward(expected, expected), **close)
        torch.testing.assert_close(theirs.metrics(state)["return"], rewards.sum(-1))
        assert not theirs.terminated(state).any()
        met += float(ours.touching(expected).sum())
    assert met > 0


def test_discrete_simple_spread() -> None:
    task = spread("discrete")
    assert task.discrete
    assert task.action_size == 5
    state = task.reset(source(), 1)
    right = torch.nn.functional.one_hot(torch.full((1, 1, 3), 2), 5).float()
    after = task.step(task.step(state, right), right)
    moved = task.observe(after)[..., 2:4] - task.observe(state)[..., 2:4]
    assert (moved[..., 0] > 0.04).all()


def test_termination_on_success_ends_an_episode() -> None:
    """A real environment that ends early: driven there, it stays, without reward."""
    task = spread(N=1, agents=1, terminate_on_success=True)
    state = task.reset(source(1), 4)
    ended = torch.zeros(1, 4, dtype=torch.bool)
    for _ in range(25):
        seen = task.observe(state)
        pull = (seen[..., 4:6] * 3 - 1.5 * seen[..., :2]).clamp(-1, 1)
        still = torch.full_like(pull[..., 0], -1)
        action = torch.stack([still, -pull[..., 0], pull[..., 0], -pull[..., 1], pull[..., 1]], -1)
        before, state = state, task.step(state, action)
        assert (task.rewards(state)[ended] == 0).all()
        assert (task.observe(state)[ended] == task.observe(before)[ended]).all()
        assert (task.terminated(state) | ~ended).all()
        ended = task.terminated(state)
    assert ended.any()


def test_resets_are_a_function_of_the_random_source_alone() -> None:
    task, other = spread(), spread()
    first = task.reset(source(1, 2), 3)
    task.step(first, torch.ones(2, 3, 3, 5))
    task.reset(source(9), 7)
    assert torch.equal(task.reset(source(1, 2), 3), first)
    assert torch.equal(other.reset(source(2), 3)[0], first[1]), "a replica alone"
    assert len(first.flatten(0, 1).unique(dim=0)) == 6
    assert not torch.equal(task.reset(source(1, 2).fold(0), 3), first)


def test_only_the_current_state_can_be_stepped() -> None:
    task = toy()
    action = torch.zeros(1, 2, 2, 2)
    with pytest.raises(RuntimeError, match="can only be stepped from the state it is in"):
        task.step(torch.zeros(1, 2, task.state_size), action)
    start = task.reset(source(), 2)
    after = task.step(start.clone(), action)  # equal is enough
    with pytest.raises(RuntimeError, match="can only be stepped from the state it is in"):
        task.step(start, action)
    task.step(after, action)


def test_boxes_are_mapped_affinely_and_observations_padded() -> None:
    task = toy()
    assert (task.observation_size, task.action_size, task.state_size) == (3, 2, 9)
    state = task.reset(source(), 1)
    assert task.observe(state)[0, 0, :, 0].tolist() == [0, 0]
    action = torch.tensor([[[[-1.0, 1.0], [0.5, -7.0]]]])
    state = task.step(state, action)
    given = task._envs[0].given[0]
    np.testing.assert_allclose(given["a"], [0.0, 4.0])
    np.testing.assert_allclose(given["b"], [1.5, -4.0])  # clipped to the box
    assert given["a"].dtype == np.float32
    assert task.observe(state)[0, 0, 0, 2] == 0, "a sees two numbers"
    assert task.observe(state)[0, 0, 1].tolist() == [1.0, 0.0, 1.5]
    assert task.rewards(state).tolist() == [[[1.0, 10.0]]]


def test_discrete_moves_of_unlike_agents() -> None:
    task = toy(
        discrete=True,
        space=lambda name: gymnasium.spaces.Discrete({"a": 3, "b": 4}[name], start=5),
    )
    assert task.action_size == 4
    state = task.reset(source(), 1)
    task.step(state, torch.eye(4)[[2, 3]][None, None])
    assert task._envs[0].given[0] == {"a": 7, "b": 8}


def test_an_agent_that_dies_early_sees_and_earns_nothing_more() -> None:
    options = {"max_cycles": 6}
    task = PettingZooTask("t", lambda max_cycles: Toy(2, 4), options, environment_reward)
    state = task.reset(source(), 1)
    rewards, done, seen = [], [], []
    for _ in range(task.horizon):
        state = task.step(state, torch.ones(1, 1, 2, 2))
        rewards.append(task.rewards(state)[0, 0].tolist())
        done.append(task.terminated(state).item())
        seen.append(task.observe(state)[0, 0, :, 0].tolist())
    assert rewards == [[1, 10], [1, 10], [1, 0], [1, 0], [0, 0], [0, 0]]
    assert done == [False, False, False, True, True, True]
    assert seen == [[1, 1], [2, 2], [3, 0], [4, 0], [4, 0], [4, 0]]


def test_the_time_limit_is_no_termination() -> None:
    task = toy(dies=2)
    state = task.reset(source(), 1)
    for _ in range(task.horizon):
        state = task.step(state, torch.ones(1, 1, 2, 2))
    assert not task.terminated(state).any()
    assert task.rewards(state).tolist() == [[[1.0, 0.0]]]


def test_the_horizon() -> None:
    assert spread(max_cycles=17).horizon == 17
    assert PettingZooTask("t", Toy, {}, environment_reward).horizon == 6, "seen, where not said"
    options = {"max_cycles": 4}
    named = PettingZooTask("t", lambda max_cycles: Toy(), options, environment_reward)
    assert named.horizon == 4
    with pytest.raises(RequestError, match="cannot tell how many steps"):
        toy(ends=3)


def test_an_episode_cut_before_the_horizon_is_an_error() -> None:
    options = {"max_steps": 9}
    task = PettingZooTask("toy", lambda max_steps: Toy(limit=2), options, environment_reward)
    state = task.step(task.reset(source(), 1), torch.zeros(1, 1, 2, 2))
    with pytest.raises(WorldError, match="after 2 steps, before its limit of 9"):
        task.step(state, torch.zeros(1, 1, 2, 2))


def test_a_diverged_replicas_actions_do_not_reach_the_environments() -> None:
    task = spread(max_cycles=3)
    state = task.reset(source(), 2)
    action = torch.zeros(1, 2, task.agents, task.action_size)
    action[0, 0] = torch.nan
    assert task.step(state, action).isfinite().all()


def test_a_number_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(WorldError, match="toy returned a number that is not finite"):
        toy(broken=True).reset(source(), 1)


def config(**values: Any) -> RunConfig:
    given = {"task": SPREAD, "reward": "environment", "task_options": CONTINUOUS, **values}
    return RunConfig(**given)


@pytest.mark.parametrize(
    ("values", "actions", "message"),
    [
        ({"agents": 2}, "continuous", "has 3 agents"),
        ({}, "discrete", "choose a continuous method (iddpg, maddpg,"),
        ({"task_options": {"max_cycles": 25}}, "continuous", "choose a discrete method (iql,"),
        ({"task_options": {"max_cycles": 25}}, "continuous", "continuous_actions: true"),
        ({"task_options": {"max_cycles": 25}}, "continuous", "or say `actions: discrete` in"),
        ({"task_options": {"speed": 3}}, "continuous", "unexpected keyword argument 'speed'"),
        ({"task": "pettingzoo:mpe2.simple_spred_v3"}, "continuous", "cannot import"),
        ({"task": "pettingzoo:json"}, "continuous", "cannot import 'json:parallel_env'"),
        ({"task": "pettingzoo"}, "continuous", "write pettingzoo:MODULE"),
        ({"task": "pettingzoo:"}, "continuous", "write pettingzoo:MODULE"),
    ],
)
def test_bad_requests_are_refused_in_one_line(
    values: dict[str, Any], actions: str, message: str
) -> None:
    with pytest.raises(RequestError) as refusal:
        make_task(config(**values), actions)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sees": gymnasium.spaces.Discrete(3)}, "only Box is supported"),
        (
            {"space": lambda name: gymnasium.spaces.MultiDiscrete([2, 2])},
            "only Box and Discrete are supported",
        ),
        (
            {"space": lambda name: gymnasium.spaces.Box(-np.inf, np.inf, (2,))},
            "is not bounded",
        ),
    ],
)
def test_unsuitable_spaces_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        toy(**options)
