"""Attention (Vaswani et al. 2017) within a set: of the agents, or of what an agent sees.

Shapes: K members of a set, M sets, F features of a member.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from baselines.networks import LAST_GAIN
from baselines.symmetry.parts import apply, draw, mean
from bench.random import Random


def draw_attention(random: Random, width: int) -> dict[str, Tensor]:
    """Draw the queries, keys and values of one head of `width`, side by side."""
    return draw(random, "attention", [width, 3 * width])


def attend(parameters: Mapping[str, Tensor], x: Tensor, sets: int) -> Tensor:
    """Add to each member what it attends to in its set: [R, M K, B, F] -> [R, M K, B, F]."""
    R, _, B, F = x.shape
    found = apply(parameters, "attention", x).unflatten(1, (sets, -1))
    # Whatever R and M are: products of other strides, though of equal numbers, round differently.
    query, key, value = (
        part.transpose(2, 3).contiguous().view(R * sets * B, -1, F) for part in found.split(F, -1)
    )
    weight = torch.softmax(torch.bmm(query, key.mT) / math.sqrt(F), -1)
    heard = torch.relu(torch.bmm(weight, value)).view(R, sets, B, -1, F)
    return x + heard.transpose(2, 3).flatten(1, 2)


class AttentionCritic:
    """Q = rho(mean over agents of what they are after attending to each other).

    Args:
        size: of x_i = (o_i, a_i).
        hidden: widths of the embedding's layers, the last being attention's.
    """

    def __init__(self, size: int, hidden: Sequence[int]) -> None:
        self._phi, self._rho = [size, *hidden], [hidden[-1], hidden[-1], 1]

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw the embedding, the attention and rho."""
        rho = draw(random, "rho", self._rho, LAST_GAIN)
        return {**draw(random, "phi", self._phi), **draw_attention(random, self._phi[-1]), **rho}

    def value(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Evaluate x [R, N, B, O + A] of all agents: [R, 1, B, 1]."""
        embedded = torch.relu(apply(parameters, "phi", x))
        return apply(parameters, "rho", mean(attend(parameters, embedded, 1)))


class AttentionView:
    """What an agent is fed: itself, and the mean of what it sees after that has attended to itself.

    Args:
        own: numbers of an observation that are the agent's own.
        entities: number and width of each kind of what follows.
        features: F.
    """

    def __init__(self, own: int, entities: Sequence[tuple[int, int]], features: int) -> None:
        self._own, self._entities, self._features = own, entities, features
        self.width = own + features

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw an embedding per kind, and the attention."""
        values = draw_attention(random, self._features)
        for kind, (_, width) in enumerate(self._entities):
            values |= draw(random, f"kind{kind}", [self._own + width, self._features])
        return values

    def __call__(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Read observations: [R, N, B, O] -> [R, N, B, own + F]."""
        (R, N, B), rows = x.shape[:3], x.mT
        own, *kinds = rows.split([self._own, *(count * w for count, w in self._entities)], 2)
        tokens = []
        for number, (kind, (count, width)) in enumerate(zip(kinds, self._entities, strict=True)):
            if count:
                listed = kind.unflatten(2, (count, width))
                beside = own.unsqueeze(2).expand(R, N, count, self._own, B)
                pairs = torch.cat([beside, listed], 3).flatten(1, 2).mT
                seen = torch.relu(apply(parameters, f"kind{number}", pairs))
                tokens.append(seen.unflatten(1, (N, count)))
        together = torch.cat(tokens, 2)
        attended = attend(parameters, together.flatten(1, 2), N).unflatten(1, (N, -1)).mean(2)
        return torch.cat([own, attended.mT], 2).mT
