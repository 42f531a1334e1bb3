"""Replay of weights: a hypernetwork is held to what it generated when it did well.

Shapes: R replicas, K slots, N agents, E width of e, P numbers generated for an agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from bench.interfaces import Weights


class Regenerates(Protocol):
    """A scheme that tells what is known of the agents, and generates for what was once known."""

    def embedding(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return e: [R, N, E]."""
        ...

    def weights(self, parameters: Mapping[str, Tensor], e: Tensor | None = None) -> Weights:
        """Return the layers, of the agents as they are or of those given by e."""
        ...


class WeightReplay:
    """A bounded store of (e, generated weights, score, version), and the loss it gives rise to.

    The loss is that of von Oswald et al. (2020, eq. 2): the squared distance between what is
    generated now, from stored e, and what was generated then, a mean over agents and entries.  It
    forgets nothing in particular with all entries alike; weighted by the softmax of standardised
    scores it distils what did best (as advantages weigh actions in Peng et al. 2019).

    The score is the mean return of the newest training episodes, exploration included: what the
    policy earned whose update makes the entry, but for the few updates since they began.  There is
    no entry before the first have ended.  A full store gives up the entry of the lowest score, be
    it the new one.

    Args:
        scheme: generates.
        values: its parameters.
        slots: K.
        every: steps between two entries.
        strength: factor of the loss.
        by_score: whether scores weigh the loss.
    """

    def __init__(
        self,
        scheme: Regenerates,
        values: Mapping[str, Tensor],
        slots: int,
        every: int,
        strength: float,
        by_score: bool,
    ) -> None:
        self._scheme, self._every = scheme, every
        self._strength, self._by_score = strength, by_score
        with torch.no_grad():
            e, layers = scheme.embedding(values), scheme.weights(values)
        self._shapes = [part.shape[2:] for layer in layers for part in layer]
        weights = _flat(layers)

        def empty(like: Tensor) -> Tensor:
            return torch.zeros_like(like).unsqueeze(1).repeat(1, slots, *[1] * (like.dim() - 1))

        self.e = empty(e)
        """[R, K, N, E]"""
        self.weights = empty(weights)
        """[R, K, N, P]"""
        self.score = empty(weights[:, 0, 0]).fill_(-torch.inf)
        """[R, K]; of empty slots, -inf."""
        self.version = empty(weights[:, 0, 0]).long() - 1
        """[R, K] steps done when the entry was made; of empty slots, -1."""
        self._steps = torch.zeros_like(self.version[:, 0])
        self._latest = torch.full_like(self.score[:, 0], -torch.inf)

    def scored(self, score: Tensor) -> None:
        """Hear of the score [R] of the policy as it is now."""
        self._latest.copy_(score)

    @torch.no_grad()
    def hear(self, parameters: Mapping[str, Tensor]) -> None:
        """Hear of a step, and perhaps make an entry.

        Whether one is due is not looked at on the host: the update may be replayed as a graph.
        """
        self._steps += 1
        worst, at = self.score.min(1)
        made = (self._steps % self._every == 0) & (self._latest > -torch.inf)
        made &= self._latest >= worst
        new = {
            "e": self._scheme.embedding(parameters),
            "weights": _flat(self._scheme.weights(parameters)),
            "score": self._latest,
            "version": self._steps,
        }
        replica = torch.arange(len(at), device=at.device)
        for name, value in new.items():
            store = getattr(self, name)
            here = made.view(-1, *[1] * (value.dim() - 1))
            store[replica, at] = torch.where(here, value, store[replica, at])

    def shares(self) -> Tensor:
        """Return the entries' weights in the loss: [R, K], of sum 1 once there is an entry."""
        filled = self.version >= 0
        count = filled.sum(1, keepdim=True).clamp(min=1)
        if not self._by_score:
            return filled / count
        score = torch.where(filled, self.score, 0)
        score = torch.where(filled, score - score.sum(1, keepdim=True) / count, 0)
        spread = (score.square().sum(1, keepdim=True) / count).sqrt().clamp(min=1e-8)
        return torch.where(filled, score / spread, -torch.inf).softmax(1).nan_to_num(0)

    def loss(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return what is to be added to the loss, a sum over replicas."""
        distances = []
        for slot in range(self.e.shape[1]):
            now = _flat(self._scheme.weights(parameters, self.e[:, slot]))
            distances.append((now - self.weights[:, slot]).square().sum(2).mean(1))
        return self._strength * (self.shares() * torch.stack(distances, 1)).sum()

    def recover(self, slot: Tensor) -> Weights:
        """Return the layers of the entries [R], one for each replica, as they were to the bit."""
        row = self.weights[torch.arange(len(slot), device=slot.device), slot]
        parts = row.split([shape.numel() for shape in self._shapes], 2)
        whole = [part.unflatten(2, shape) for part, shape in zip(parts, self._shapes, strict=True)]
        return list(zip(whole[::2], whole[1::2], strict=True))

    def state(self) -> dict[str, Tensor]:
        """Return the store."""
        return {
            "e": self.e,
            "weights": self.weights,
            "score": self.score,
            "version": self.version,
            "steps": self._steps,
            "latest": self._latest,
        }


def _flat(layers: Weights) -> Tensor:
    """Join all that is generated for an agent: [R, N, P]."""
    return torch.cat([part.flatten(2) for layer in layers for part in layer], 2)
