"""Self-imitation (Oh et al. 2018) as a sampler: what once succeeded is replayed more often."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bench.config import RunConfig
from bench.random import Random
from bench.replay.storage import Replay
from bench.replay.uniform import Uniform

VERSION = 1
"""Moves also when uniform replay's does."""


class SelfImitation(Uniform):
    """A share of each batch comes from the stored episodes in which the team was rewarded.

    Of those every episode is as likely, and every step of it.  While there is none, and for the
    rest of the batch, this is uniform replay; the weights stay 1.
    """

    def __init__(self, replay: Replay, config: RunConfig, replicas: slice) -> None:
        super().__init__(replay, config, replicas)
        self._share = config.imitation_share
        count = replicas.stop - replicas.start
        self._succeeded = torch.zeros(count, replay.slots, dtype=torch.bool, device=replay.device)

    def evict(self, old: slice) -> None:
        """Forget the successes of episodes that are gone."""
        horizon = self._replay.horizon
        self._succeeded[:, old.start // horizon : old.stop // horizon] = False

    def ended(self, slots: slice, reward: Tensor) -> None:
        """Hear of the team's rewards [R, E, T] in the E slots that have just been filled."""
        self._succeeded[:, slots] = (reward > 0).any(2)

    def sample(self, random: Random, progress: float) -> tuple[Tensor, Tensor]:
        """Draw indices [R, B]; the weights [R, B] are 1."""
        indices, weights = super().sample(random, progress)
        batch = indices.shape[1]
        ends = self._succeeded.cumsum(1)
        drawn = (random.fold("episode").uniform(batch) * ends[:, -1:]).long()
        slot = torch.searchsorted(ends, drawn, right=True).clamp_(max=ends.shape[1] - 1)
        length = self._replay.length(slot, self._replicas)
        step = (random.fold("step").uniform(batch) * length).long()
        chosen = random.fold("whether").uniform(batch) < self._share
        successes = slot * self._replay.horizon + step
        return torch.where(chosen & (ends[:, -1:] > 0), successes, indices), weights

    def state(self) -> Mapping[str, Tensor]:
        """Return which episodes succeeded."""
        return {"succeeded": self._succeeded}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self._succeeded.copy_(state["succeeded"])
