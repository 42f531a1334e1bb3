"""What the curricula share: stages, and the gate between them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bench.config import RunConfig
from bench.interfaces import Task


class Gated:
    """Every replica is at a stage of its own; success leads on to the next, nothing leads back.

    A stage is left when, over the E episodes played last, the share of their steps that were
    rewarded reaches the gate.  After `curriculum_stages` of them there is only the task itself.

    Args:
        config: with the number of stages, and the gate.
        replicas: R.
        device: where everything lives.
    """

    def __init__(self, config: RunConfig, replicas: int, device: torch.device) -> None:
        self._stages, self._gate = config.curriculum_stages, config.curriculum_gate
        self._stage = torch.zeros(replicas, dtype=torch.int64, device=device)

    @property
    def level(self) -> Tensor:
        """[R] how much of the way to the task is done: 0 at first, 1 in the end."""
        return self._stage / self._stages

    def start(self, task: Task, state: Tensor) -> Tensor:
        """Start where the task does."""
        return state

    def rewarding(self, task: Task, replicas: slice) -> Task:
        """Reward as the task does."""
        return task

    def ended(self, reward: Tensor) -> None:
        """Hear of the team's rewards [R, E, T], and go on where there were enough."""
        share = (reward > 0).float().flatten(1).mean(1)
        self._stage.add_(share >= self._gate).clamp_(max=self._stages)

    def state(self) -> Mapping[str, Tensor]:
        """Return the stages."""
        return {"stage": self._stage}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self._stage.copy_(state["stage"])
