"""A cover radius that shrinks to the task's own as the team succeeds."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from bench.config import RunConfig
from bench.curricula.gated import Gated
from bench.errors import RequestError
from bench.interfaces import Task
from bench.tasks.coop_nav import CoopNav

VERSION = 1
"""Moves also when a number of `gated` does."""

WIDEST = 0.5
"""The radius at the first stage."""


class Radius(Gated):
    """From 0.5 to the task's radius by equal factors.

    Replay stores states, so all rewards, of old transitions too, are those of the radius now.

    Raises:
        RequestError: for a task without a radius.
    """

    def __init__(self, config: RunConfig, replicas: int, device: torch.device) -> None:
        super().__init__(config, replicas, device)
        self._radius = torch.full((replicas,), WIDEST, device=device)

    def rewarding(self, task: Task, replicas: slice) -> Task:
        """Return a copy of the task whose radius is the stage's."""
        if not isinstance(task, CoopNav):
            raise RequestError("curriculum = radius: the task has no radius; choose coop-nav")
        self._last = task.radius
        eased = copy.copy(task)
        eased.radii = self._radius[replicas]
        return eased

    def ended(self, reward: Tensor) -> None:
        """Hear of the team's rewards [R, E, T]; shrink the radius where there were enough."""
        super().ended(reward)
        self._shrink()

    def _shrink(self) -> None:
        level = self.level
        between = WIDEST * torch.exp(level * math.log(self._last / WIDEST))
        self._radius.copy_(torch.where(level == 1, self._last, between))

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned; the radius follows."""
        super().load(state)
        self._shrink()
