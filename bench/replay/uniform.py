"""Uniform replay: every stored transition is as likely as any other (Lin 1992)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bench.config import RunConfig
from bench.random import Random
from bench.replay.storage import Replay

VERSION = 1


class Uniform:
    """Sample uniformly with replacement; every importance weight is 1."""

    def __init__(self, replay: Replay, config: RunConfig, replicas: slice) -> None:
        self._replay, self._replicas = replay, replicas
        count = replicas.stop - replicas.start
        self._ones = torch.ones(count, config.batch, device=replay.device)

    def extend(self, new: slice, alive: Tensor | None) -> None:
        """Need nothing of new transitions: the replay itself knows what it holds."""

    def evict(self, old: slice) -> None:
        """Need nothing of old transitions either."""

    def sample(self, random: Random, progress: float) -> tuple[Tensor, Tensor]:
        """Draw indices [R, B]; the weights [R, B] are 1."""
        batch = self._ones.shape[1]
        return self._replay.uniform(random, batch, self._replicas), self._ones

    def update(self, indices: Tensor, td_errors: Tensor) -> None:
        """Ignore TD errors."""

    def state(self) -> Mapping[str, Tensor]:
        """Return nothing: there is no state."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore nothing."""
