"""Our tasks as PettingZoo environments."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from pettingzoo.test import parallel_api_test, parallel_seed_test

from bench.errors import RequestError
from bench.random import Random
from bench.tasks import parallel_env
from bench.tasks.coop_nav import CoopNav
from bench.tasks.options import CoopNavOptions
from bench.tasks.rewards import summed_individual

VARIANTS: list[dict[str, Any]] = [
    {},
    {"agents": 2, "actions": "discrete", "dynamics": "first-order"},
    {"agents": 4, "reward": "mpe-dense", "collisions": True, "horizon": 7, "targets": "fixed"},
    {"agents": 1, "reward": "assignment-shaping", "radius": 0.3},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_pettingzoo_api(options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(parallel_env(**options), num_cycles=100)


@pytest.mark.parametrize("options", VARIANTS)
def test_pettingzoo_seeding(options: dict[str, Any]) -> None:
    parallel_seed_test(lambda: parallel_env(**options), num_cycles=100)


def play(env: Any, seed: int, steps: int) -> list[Any]:
    """Play random actions drawn from `seed`; return what each step returned."""
    rng = np.random.default_rng(seed)
    returned = []
    for _ in range(steps):
        actions = {agent: rng.uniform(-1, 1, 2).astype(np.float32) for agent in env.agents}
        returned.append((actions, *env.step(actions)))
    return returned


def test_an_episode_is_that_of_the_batched_task() -> None:
    env = parallel_env(agents=3, reward="summed-individual", radius=0.5, horizon=12)
    task = CoopNav(3, summed_individual, CoopNavOptions(radius=0.5, horizon=12))
    observations, infos = env.reset(seed=3)
    assert infos == {"agent_0": {}, "agent_1": {}, "agent_2": {}}
    state = torch.from_numpy(env.state())[None, None]
    assert torch.equal(state, task.reset(Random.from_seeds([3]).fold(0), 1))
    played, rewarded = play(env, 0, 12), 0.0
    for step, (actions, seen, rewards, terminated, truncated, infos) in enumerate(played):
        joint = torch.from_numpy(np.stack(list(actions.values())))[None, None]
        before, state = state, task.step(state, joint)
        expected = task.observe(state)[0, 0].numpy()
        np.testing.assert_array_equal(np.stack(list(seen.values())), expected)
        assert list(rewards.values()) == task.reward(before, state)[0, 0].tolist()
        assert not any(terminated.values())
        assert set(truncated.values()) == {step == 11}
        counted = {name: value.item() for name, value in task.metrics(state).items()}
        assert infos == dict.fromkeys(env.possible_agents, counted)
        rewarded += sum(rewards.values())
    assert rewarded > 0
    assert env.agents == []
    assert env.step({}) == ({}, {}, {}, {}, {})
    assert observations["agent_0"].dtype == np.float32


def test_spaces() -> None:
    continuous, discrete = parallel_env(agents=3), parallel_env(agents=3, actions="discrete")
    for env in (continuous, discrete):
        observations, _ = env.reset(seed=0)
        for agent in env.agents:
            space = env.observation_space(agent)
            assert isinstance(space, gymnasium.spaces.Box)
            assert space.dtype == np.float32
            assert space.shape == (14,)
            assert space.contains(observations[agent])
    assert continuous.action_space("agent_0") == gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    assert discrete.action_space("agent_0") == gymnasium.spaces.Discrete(5)


def test_seeds_give_sequences_of_different_episodes() -> None:
    env, other = parallel_env(), parallel_env()

    def starts(seed: int | None, count: int) -> list[Any]:
        env.reset(seed=seed)
        first = env.state()
        rest = []
        for _ in range(count):
            env.reset()
            rest.append(env.state())
        return [first, *rest]

    once, again = starts(1, 3), starts(1, 3)
    np.testing.assert_array_equal(once, again)
    assert len(np.unique(np.stack(once), axis=0)) == 4
    assert not np.array_equal(starts(2, 0), once[:1])
    other.reset()
    env.reset()
    assert not np.array_equal(other.state(), env.state()), "without a seed: from entropy"


def test_actions_beyond_the_box_are_clipped() -> None:
    ends = []
    for size in (1.0, 50.0):
        env = parallel_env(agents=1)
        env.reset(seed=0)
        env.step({"agent_0": np.array([size, -size])})
        ends.append(env.state())
    np.testing.assert_array_equal(*ends)


def test_stepping_before_reset_and_forgetting_an_agent_are_errors() -> None:
    env = parallel_env(agents=2)
    with pytest.raises(RuntimeError, match="reset"):
        env.state()
    env.reset(seed=0)
    with pytest.raises(KeyError):
        env.step({"agent_0": np.zeros(2)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "coop-nev"}, "did you mean 'coop-nav'"),
        ({"agents": 0}, "agents = 0"),
        ({"agents": "three"}, "agents = 'three'"),
        ({"reward": "goal"}, "group-goal"),
        ({"actions": "continous"}, "did you mean 'continuous'"),
        ({"render_mode": "human"}, "rgb_array"),
        ({"radiuss": 0.2}, "did you mean 'radius'"),
        ({"horizon": -1}, "horizon = -1"),
        ({"dynamics": "newton"}, "dynamics = 'newton'"),
    ],
)
def test_bad_requests_are_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as refusal:
        parallel_env(**options)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_rendering() -> None:
    assert parallel_env().render() is None
    env = parallel_env(agents=2, render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert first.shape[2] == 3
    play(env, 0, 5)
    later = env.render()
    assert later.shape == first.shape
    assert not np.array_equal(later, first)
