"""The reference workload, and runs of it whose replay is full without having been played."""

from __future__ import annotations

from typing import Any

import torch

from bench.config import RunConfig, resolve
from bench.fleet import Fleet
from bench.train import Trainer

REFERENCE: dict[str, Any] = {
    "method": "ps-maddpg",
    "task": "coop-nav",
    "agents": 3,
    "sampler": "prioritized",
    "episodes": 30_000,
    "parallel": 100,
    "steps_per_update": 100,
    "batch": 1024,
    "hidden": [64, 64],
    "buffer": 1_000_000,
    "evaluations": 31,
    "evaluation_episodes": 32,
    "absolute_episodes": 320,
}
"""One run: 30,000 episodes of 30 steps, 9,000 updates."""

CPU = torch.device("cpu")
CHUNK = 8192
"""Transitions whose priorities are set at once."""


def reference(**values: Any) -> RunConfig:
    """Return the reference workload's configuration, with some values changed."""
    return resolve(REFERENCE, values, where="speed")


def make_fleet(config: RunConfig, replicas: int = 1, device: torch.device = CPU) -> Fleet:
    """Build a fleet of neighbouring seeds."""
    seeds = range(config.seed, config.seed + replicas)
    configs = [config.model_copy(update={"seed": seed}) for seed in seeds]
    return Fleet(configs, device)


def stocked(
    config: RunConfig, replicas: int = 1, device: torch.device = CPU, compiled: bool = False
) -> Trainer:
    """Return a run at its start, but with a full ring of random transitions and priorities."""
    fleet = make_fleet(config, replicas, device)
    fill(fleet)
    return Trainer(fleet, None, (), compiled)


def fill(fleet: Fleet) -> None:
    """Fill the ring: each episode stands still at a random state, under one random action."""
    replay, task, source = fleet.replay, fleet.task, fleet.random.fold("speed")
    drawn = source.fold("actions").uniform(replay.slots, 1, task.agents, task.action_size)
    replay.load(
        {
            "position": torch.tensor([replay.slots - replay.episodes, task.horizon, replay.slots]),
            "states": task.reset(source.fold("states"), replay.slots).unsqueeze(2),
            "actions": drawn.float() * 2 - 1,
        }
    )
    for first in range(0, replay.capacity, CHUNK):
        last = min(first + CHUNK, replay.capacity)
        indices = torch.arange(first, last, device=fleet.device)
        errors = source.fold("errors").fold(first).uniform(len(indices)).float()
        fleet.sampler.update(indices.expand(len(errors), -1), errors)
