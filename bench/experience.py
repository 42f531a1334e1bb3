"""The interfaces of what decides which experience is learned from: samplers and curricula.

The shape legend is that of :mod:`bench.interfaces`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from bench.interfaces import GoalTask, Task
from bench.random import Random


class Sampler(Protocol):
    """Chooses which stored transitions to learn from.

    Built as ``Sampler(replay, config, replicas)``, `replicas` being the slice that it serves; all
    that it is given and returns has R of that slice.
    """

    def extend(self, new: slice, alive: Tensor | None) -> None:
        """Hear of E new transitions; alive [R, E] is false for those of ended episodes."""
        ...

    def evict(self, old: slice) -> None:
        """Hear that some transitions are gone."""
        ...

    def sample(self, random: Random, progress: float) -> tuple[Tensor, Tensor]:
        """Draw indices [R, B] and importance weights [R, B]; progress of training in [0, 1]."""
        ...

    def update(self, indices: Tensor, td_errors: Tensor) -> None:
        """Hear of the unweighted TD errors [R, B] of sampled transitions.

        Part of an update, which may be recorded and repeated: without a look at a number, and what
        changes is kept in tensors, changed in place.
        """
        ...

    def state(self) -> Mapping[str, Tensor]:
        """Return every tensor that sampling depends on."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        ...


@runtime_checkable
class Listening(Protocol):
    """What a sampler may have besides: an ear for how episodes went."""

    def ended(self, slots: slice, reward: Tensor) -> None:
        """Hear of the team's rewards [R, E, T] in the E slots that have just been filled."""
        ...


class Curriculum(Protocol):
    """Easier training at first, for each replica until it succeeds.

    Built as ``Curriculum(config, replicas, device)``; at its last stage training is the task's own,
    to the bit.
    """

    def start(self, task: Task, state: Tensor) -> Tensor:
        """Return what training episodes start from in place of the states [R, E, S] drawn."""
        ...

    def rewarding(self, task: Task, replicas: slice) -> Task:
        """Return the task whose rewards some replicas train on; it follows the stage."""
        ...

    def ended(self, reward: Tensor) -> None:
        """Hear of the team's rewards [R, E, T] in E training episodes."""
        ...

    def state(self) -> Mapping[str, Tensor]:
        """Return every tensor that it depends on."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        ...


Transitions = tuple[Tensor, Tensor, Tensor]
"""States [R, B, S], actions [R, B, N, A] and next states [R, B, S]."""


@runtime_checkable
class Relabelling(Protocol):
    """What a sampler may have besides: a say in what the transitions that it drew are about."""

    def relabel(
        self, task: GoalTask, random: Random, indices: Tensor, drawn: Transitions
    ) -> Transitions:
        """Return other transitions in place of those drawn at indices [R, B]."""
        ...
