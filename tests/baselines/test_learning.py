"""Each algorithm learns a task that it must be able to learn, and fails where it is known to fail.

The games are those of Claus and Boutilier (1998).  Values that are summed, mixed or learned apart
are those of moves averaged over what the other agent tries; joint ones are those of joint moves.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.config import resolve
from bench.train import train

GAME: dict[str, Any] = {
    "agents": 2,
    "sampler": "uniform",
    "episodes": 10_000,
    "parallel": 50,
    "steps_per_update": 50,
    "batch": 64,
    "hidden": [16, 16],
    "buffer": 10_000,
    "evaluations": 2,
    "evaluation_episodes": 1,
    "absolute_episodes": 1,
    "noise_start": 1.0,
    "noise_fraction": 0.8,
}
APART = ["iql", "vdn", "qmix", "maddpg-gumbel", "ps-maddpg-gumbel"]
SEEDS = range(3)


def payoffs(method: str, task: str, **options: Any) -> list[float]:
    """What the final greedy policies of a fleet are paid."""
    chosen = {"method": method, "task": task, "task_options": options}
    runs = train([resolve(GAME, chosen, {"seed": seed}) for seed in SEEDS], torch.device("cpu"))
    finals = [outcome.record.final for outcome in runs]
    return [final.raw["mean_reward"][0] for final in finals if final is not None]


@pytest.mark.parametrize("method", APART)
def test_two_agents_agree_on_one_of_two_best_moves_where_nothing_is_lost(method: str) -> None:
    assert payoffs(method, "penalty", penalty=0.0) == [10.0] * len(SEEDS)


def test_values_of_joint_moves_find_the_best_one_whatever_surrounds_it() -> None:
    assert payoffs("meta-dqn", "climbing") == [11.0] * len(SEEDS)
    assert payoffs("meta-dqn", "penalty") == [10.0] * len(SEEDS)


@pytest.mark.parametrize("method", APART)
def test_values_of_moves_apart_miss_it(method: str) -> None:
    assert set(payoffs(method, "climbing")) <= {5.0, 6.0, 7.0}
    assert payoffs(method, "penalty") == [2.0] * len(SEEDS)


NAVIGATION: dict[str, Any] = {
    "agents": 1,
    "reward": "mpe-dense",
    "sampler": "uniform",
    "task_options": {"dynamics": "first-order"},
    "episodes": 300,
    "parallel": 10,
    "steps_per_update": 10,
    "batch": 64,
    "hidden": [32, 32],
    "buffer": 9_000,
    "gamma": 0.5,
    "tau": 0.02,
    "evaluations": 2,
    "evaluation_episodes": 1,
    "absolute_episodes": 64,
}
ORACLE, RANDOM = -4.9, -30.6
"""Returns of the controllers, of 640 episodes each."""


@pytest.mark.parametrize(
    "method", ["ps-maddpg-twin", "meta-ddpg", "iql", "qmix", "ps-maddpg-gumbel"]
)
def test_one_agent_learns_to_go_to_its_target(method: str) -> None:
    """To 70% of the way from random to the oracle; the others are these where N = 1."""
    outcome = train([resolve(NAVIGATION, {"method": method})], torch.device("cpu"))[0]
    final = outcome.record.final
    assert final is not None
    reached = sum(final.raw["return"]) / len(final.raw["return"])
    assert (reached - RANDOM) / (ORACLE - RANDOM) > 0.7
