"""Episodes that start nearer to success, as agents are put on, or near, targets of theirs."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.curricula.gated import Gated
from bench.errors import RequestError
from bench.interfaces import GoalTask, Task

VERSION = 1
"""Moves also when a number of `gated` does."""

NEAREST = 0.05
"""Share of their ways that agents have left at the first stage of `Reverse`."""


class Reverse(Gated):
    """Reverse starts (Florensa et al. 2017): all agents begin near their targets, then further.

    The share of the way that is left grows from 0.05 to 1 by equal steps.
    """

    def start(self, task: Task, state: Tensor) -> Tensor:
        """Draw the agents towards their targets."""
        level = self.level
        left = torch.where(level == 1, 1.0, NEAREST + (1 - NEAREST) * level)
        return _approach("reverse", task, state, left[:, None, None])


class Agents(Gated):
    """First one agent has a way to go, then two, and so on; the others begin on their targets.

    Shapes stay those of N agents, so one network and one replay serve all stages.
    """

    def start(self, task: Task, state: Tensor) -> Tensor:
        """Put the last of the agents on their targets."""
        going = 1 + (self.level * (task.agents - 1)).floor()
        goes = torch.arange(task.agents, device=state.device) < going[:, None, None]
        return _approach("agents", task, state, goes.to(state.dtype))


def _approach(name: str, task: Task, state: Tensor, left: Tensor) -> Tensor:
    """Draw agents towards their targets: left [R, 1, 1 or N]."""
    if not isinstance(task, GoalTask):
        raise RequestError(f"curriculum = {name}: the task has no goals; choose coop-nav or roles")
    return task.approach(state, left.expand(*state.shape[:-1], task.agents))
