"""Hindsight (Andrychowicz et al. 2017) for a team: what it did reach was a goal, too.

With some probability a transition's goal is replaced by one that a later state of its episode
meets, the very next or any; replay stores raw states, so observations and rewards of the whole team
follow exactly.  Each number of the new goal is jittered, as agents seldom stand on their targets.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.config import RunConfig
from bench.experience import Transitions
from bench.interfaces import GoalTask
from bench.random import Random
from bench.replay.prioritized import Prioritized
from bench.replay.storage import Replay
from bench.replay.uniform import Uniform

VERSION = 1


class _Relabelled:
    """What hindsight adds to a sampler: everything but the goals is as without."""

    def __init__(self, replay: Replay, config: RunConfig, replicas: slice) -> None:
        self._stored, self._own = replay, replicas
        self._share, self._next = config.hindsight_share, config.hindsight_next
        self._jitter = config.hindsight_jitter

    def relabel(
        self, task: GoalTask, random: Random, indices: Tensor, drawn: Transitions
    ) -> Transitions:
        """Give a share of the transitions goals that the team reached."""
        batch, agents = drawn[1].shape[1:3]
        any_later = random.fold("next").uniform(batch) >= self._next
        chance = random.fold("later").uniform(batch) * any_later
        reached = self._stored.later(indices, chance, self._own)
        goal = task.achieved(reached, random.fold("order").uniform(batch, agents))
        error = random.fold("jitter").uniform(batch, goal.shape[-1]).to(goal.dtype) * 2 - 1
        goal = torch.add(goal, error, alpha=self._jitter)
        chosen = random.fold("whether").uniform(batch, 1) < self._share
        state, action, following = drawn
        about = task.with_goal(state, goal)
        if (ended := task.terminated(about)) is not None:
            chosen = chosen & ~ended.unsqueeze(-1)  # nothing begins where the goal is met already
        return (
            torch.where(chosen, about, state),
            action,
            torch.where(chosen, task.with_goal(following, goal), following),
        )


class Hindsight(_Relabelled, Uniform):
    """Uniform replay with hindsight."""

    def __init__(self, replay: Replay, config: RunConfig, replicas: slice) -> None:
        Uniform.__init__(self, replay, config, replicas)
        _Relabelled.__init__(self, replay, config, replicas)


class HindsightPrioritized(_Relabelled, Prioritized):
    """Prioritized replay with hindsight: a priority is the TD error under the goal last seen."""

    def __init__(self, replay: Replay, config: RunConfig, replicas: slice) -> None:
        Prioritized.__init__(self, replay, config, replicas)
        _Relabelled.__init__(self, replay, config, replicas)
        self._tell_apart(replay)
