"""What a fleet has seen so far: curves, the best policies, and which replicas still run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from bench.records import Curve, Training, rounded

Series = dict[str, list[list[float]]]
"""By name, per point, one value per replica: [K][R]."""


@dataclass
class History:
    """Curves of R replicas; plain lists, so that they travel in a checkpoint's header.

    Args:
        replicas: R.
        score: name of the task's primary metric.
    """

    replicas: int
    score: str
    episode: list[int] = field(default_factory=list)
    env_steps: list[int] = field(default_factory=list)
    updates: list[int] = field(default_factory=list)
    mean: Series = field(default_factory=dict)
    std: Series = field(default_factory=dict)
    training_episode: list[int] = field(default_factory=list)
    training: Series = field(default_factory=dict)
    best_score: list[float] = field(default_factory=list)
    best_episode: list[int] = field(default_factory=list)
    failed: list[str | None] = field(default_factory=list)
    """Per replica, why and when it diverged; None while it has not."""
    failed_at: list[int | None] = field(default_factory=list)
    """Per replica, the training episodes done when it diverged."""

    def __post_init__(self) -> None:
        if not self.failed:
            self.best_score = [float("-inf")] * self.replicas
            self.best_episode = [0] * self.replicas
            self.failed = [None] * self.replicas
            self.failed_at = [None] * self.replicas

    @property
    def alive(self) -> bool:
        """Whether any replica still runs."""
        return any(reason is None for reason in self.failed)

    def evaluated(
        self, episode: int, env_steps: int, updates: int, raw: Mapping[str, Tensor]
    ) -> list[bool]:
        """Note one evaluation [R, episodes]; say per replica whether its score is the best yet."""
        self.episode.append(episode)
        self.env_steps.append(env_steps)
        self.updates.append(updates)
        for name, values in raw.items():
            values = values.double()
            self.mean.setdefault(name, []).append(values.mean(1).tolist())
            self.std.setdefault(name, []).append(values.std(1, correction=0).tolist())
        better = []
        for replica, value in enumerate(self.mean[self.score][-1]):
            better.append(self.failed[replica] is None and value >= self.best_score[replica])
            if better[-1]:
                self.best_score[replica] = value
                self.best_episode[replica] = episode
        return better

    def trained(self, episode: int, values: Mapping[str, Sequence[float]]) -> None:
        """Note what was seen while training since the last point."""
        self.training_episode.append(episode)
        for name, per_replica in values.items():
            self.training.setdefault(name, []).append(list(per_replica))

    def fail(self, replica: int, episode: int) -> None:
        """Mark a replica that was no longer finite after so many training episodes."""
        if self.failed[replica] is None:
            self.failed[replica] = f"a NaN or infinity before episode {episode}"
            self.failed_at[replica] = episode

    def curve(self, replica: int) -> Curve:
        """Return one replica's evaluation curve, up to where it diverged."""
        end = self._points(self.episode, replica)
        return Curve(
            episode=self.episode[:end],
            env_steps=self.env_steps[:end],
            updates=self.updates[:end],
            mean=_column(self.mean, replica, end),
            std=_column(self.std, replica, end),
        )

    def training_curve(self, replica: int) -> Training:
        """Return what one replica saw while training, up to where it diverged."""
        end = self._points(self.training_episode, replica)
        return Training(
            episode=self.training_episode[:end], mean=_column(self.training, replica, end)
        )

    def _points(self, episodes: list[int], replica: int) -> int:
        limit = self.failed_at[replica]
        return len(episodes) if limit is None else sum(episode < limit for episode in episodes)

    def dump(self) -> dict[str, Any]:
        """Return plain values: `History(**values)` is the same history."""
        return asdict(self)


def _column(series: Series, replica: int, end: int) -> dict[str, list[float]]:
    return {
        name: rounded([values[replica] for values in points[:end]])
        for name, points in series.items()
    }


def keep_best(
    best: Mapping[str, Tensor], policy: Mapping[str, Tensor], better: list[bool]
) -> dict[str, Tensor]:
    """Replace the best policies, each tensor [R, ...], of the replicas that got better."""
    if not best:
        return {name: tensor.clone() for name, tensor in policy.items()}
    chosen = torch.tensor(better)
    return {
        name: torch.where(
            chosen.to(tensor.device).view(-1, *[1] * (tensor.dim() - 1)), tensor, best[name]
        )
        for name, tensor in policy.items()
    }
