"""Our side of a comparison of training: some groups of episodes of a run, as `train` plays them.

Nothing is evaluated, and nothing written: peers do neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.config import resolve
from bench.device import settle_cpu
from bench.speed.workload import make_fleet
from bench.train import Trainer


def run(workload: dict[str, Any], mark: Callable[[], None]) -> dict[str, float]:
    """Train for `warm_env_steps`, then for `env_steps`; count the latter."""
    settle_cpu()
    config = resolve(workload["config"], where="peers")
    fleet = make_fleet(config)
    training = Trainer(fleet, None, (), compiled=workload["compiled"])
    group = config.parallel * fleet.task.horizon
    for _ in range(workload["warm_env_steps"] // group):
        training.episodes()
    mark()
    updates, groups = training._updates, workload["env_steps"] // group
    for _ in range(groups):
        training.episodes()
    return {"env_steps": groups * group, "updates": training._updates - updates}
