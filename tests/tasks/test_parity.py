"""coop-nav against mpe2's simple_spread: same states and actions, same everything to 1e-6."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mpe2 import simple_spread_v3
from torch import Tensor

from bench.tasks.coop_nav import CoopNav
from bench.tasks.options import CoopNavOptions
from bench.tasks.rewards import mpe_dense

STEPS = 1_000
TOLERANCE = {"atol": 1e-6, "rtol": 0.0}
EPISODE = 25
"""Steps after which a free run with collisions is synchronised: contact is stiff enough to make
rounding errors grow exponentially."""


def make(agents: int, collisions: bool) -> CoopNav:
    return CoopNav(agents, mpe_dense, CoopNavOptions(collisions=collisions))


class Spread:
    """mpe2's simple_spread, whose state can be read in float64."""

    def __init__(self, agents: int, collisions: bool, continuous: bool = True) -> None:
        options: dict[str, Any] = {"continuous_actions": continuous, "local_ratio": 0.5}
        self.env = simple_spread_v3.parallel_env(N=agents, max_cycles=10**6, **options)
        self.env.reset(seed=agents)
        self.world, self.scenario = self.env.unwrapped.world, self.env.unwrapped.scenario
        for agent in self.world.agents:
            agent.collide = collisions

    def state(self) -> Tensor:
        """Return the state as coop-nav has it: [1, 1, S] float64."""
        parts = [agent.state.p_pos for agent in self.world.agents]
        parts += [agent.state.p_vel for agent in self.world.agents]
        parts += [landmark.state.p_pos for landmark in self.world.landmarks]
        return torch.from_numpy(np.concatenate(parts))[None, None]

    def observe(self) -> Tensor:
        """Return the observations without the trailing communication: [1, 1, N, O] float64."""
        silent = 2 * (len(self.world.agents) - 1)
        seen = [self.scenario.observation(agent, self.world) for agent in self.world.agents]
        return torch.from_numpy(np.stack(seen)[:, :-silent])[None, None]

    def step(self, moves: list[Any]) -> Tensor:
        """Step and return the rewards [1, 1, N]."""
        rewards = self.env.step(dict(zip(self.env.possible_agents, moves, strict=True)))[1]
        values = [float(rewards[name]) for name in self.env.possible_agents]
        return torch.tensor(values, dtype=torch.float64)[None, None]

    def push(self, action: Tensor) -> Tensor:
        """Step by forces [1, 1, N, 2] in [-1, 1]: mpe2 has a component each way."""
        x, y = action[0, 0].unbind(-1)
        still = torch.zeros_like(x)
        each_way = [still, (-x).clamp(0), x.clamp(0), (-y).clamp(0), y.clamp(0)]
        return self.step(list(torch.stack(each_way, -1).numpy()))


def random_action(state: Tensor, agents: int, rng: np.random.Generator) -> Tensor:
    """Draw forces, with a pull to the middle that keeps the agents meeting."""
    x = state[..., : 2 * agents].unflatten(-1, (agents, 2))
    return (torch.from_numpy(rng.uniform(-1, 1, x.shape)) - 0.5 * x).clamp(-1, 1)


@pytest.mark.parametrize("collisions", [False, True])
@pytest.mark.parametrize("agents", [2, 3, 4])
def test_states_observations_and_rewards_agree(agents: int, collisions: bool) -> None:
    task, spread = make(agents, collisions), Spread(agents, collisions)
    # With contact switched off, mpe2 halves the team reward all the same.
    scale = 1.0 if collisions else 0.5
    rng = np.random.default_rng(agents)
    free, met = spread.state(), 0.0
    for step in range(STEPS):
        if collisions and step % EPISODE == 0:
            free = spread.state()
        before = spread.state()
        action = random_action(before, agents, rng)
        synchronised, free = task.step(before, action), task.step(free, action)
        rewards, after = spread.push(action), spread.state()
        torch.testing.assert_close(synchronised, after, **TOLERANCE)
        torch.testing.assert_close(free, after, **TOLERANCE)
        torch.testing.assert_close(task.observe(synchronised), spread.observe(), **TOLERANCE)
        ours = task.reward(before, synchronised) * scale
        torch.testing.assert_close(ours, rewards, **TOLERANCE)
        met += float(task.touching(after).sum())
    assert met > 100, "the agents must meet for contact to be tested"


@pytest.mark.parametrize("agents", [2, 3, 4])
def test_float32_agrees_step_by_step(agents: int) -> None:
    task, spread = make(agents, False), Spread(agents, False)
    rng = np.random.default_rng(agents)
    for _ in range(200):
        before = spread.state()
        action = random_action(before, agents, rng)
        spread.push(action)
        after = task.step(before.float(), action.float())
        torch.testing.assert_close(after.double(), spread.state(), **TOLERANCE)


def test_discrete_moves_agree() -> None:
    options = CoopNavOptions(collisions=True)
    task, spread = CoopNav(3, mpe_dense, options, discrete=True), Spread(3, True, continuous=False)
    rng = np.random.default_rng(0)
    for _ in range(100):
        before, moves = spread.state(), rng.integers(0, 5, 3)
        spread.step(moves.tolist())
        one_hot = torch.eye(5, dtype=torch.float64)[torch.from_numpy(moves)][None, None]
        torch.testing.assert_close(task.step(before, one_hot), spread.state(), **TOLERANCE)


def test_mpe2_scale_of_the_metrics() -> None:
    """The summed reward of mpe2 is -(N G + C) / 2 a step, from the logged G and C."""
    task, spread = make(3, True), Spread(3, True)
    rng = np.random.default_rng(1)
    for _ in range(100):
        rewards = spread.push(random_action(spread.state(), 3, rng))
        counted = task.metrics(spread.state())
        scale = -(3 * counted["least_distance"] + counted["collisions"]) / 2
        torch.testing.assert_close(scale, rewards.sum(-1), **TOLERANCE)
