"""Augmentation: a team's experience is as good with its agents and targets in another order."""

from __future__ import annotations

from torch import Tensor

from bench.experience import Transitions
from bench.interfaces import Exchangeable
from bench.random import Random

VERSION = 2
"""2: a transition that is drawn twice has the larger of two TD errors as its priority."""


def permute(task: Exchangeable, random: Random, drawn: Transitions) -> Transitions:
    """List the agents, with their actions, and the targets of each transition in random order."""
    state, action, following = drawn
    shape = action.shape[1:3]
    agents = random.fold("agents").uniform(*shape).argsort(-1)
    targets = random.fold("targets").uniform(*shape).argsort(-1)
    moved: Tensor = action.gather(2, agents.unsqueeze(-1).expand_as(action))
    return task.reorder(state, agents, targets), moved, task.reorder(following, agents, targets)
