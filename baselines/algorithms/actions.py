"""How a network's outputs become actions: by tanh, by the greatest, or by Gumbel-softmax.

Shapes: outputs are [R, N, B, A]; what is done in the world is [R, E, N, A].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from bench.random import Random, Stream

TEMPERATURE = 1.0
"""Of the Gumbel-softmax: what the source of MADDPG takes."""


def one_hot(number: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Write numbers below `count` as 0 and 1: [...] -> [..., count].

    torch's own looks whether they are below it, for which a captured update would have to wait.
    """
    return (number.unsqueeze(-1) == torch.arange(count, device=number.device)).to(dtype)


def greatest(outputs: Tensor) -> Tensor:
    """Choose the move of the greatest output, one-hot: [..., A] -> [..., A]."""
    return one_hot(outputs.argmax(-1), outputs.shape[-1], outputs.dtype)


def epsilon_greedy(outputs: Tensor, noise: float, random: Random | None) -> Tensor:
    """Choose each agent's move, any with probability `noise`: [R, N, E, A] -> [R, E, N, A]."""
    moves = outputs.shape[-1]
    move = outputs.argmax(-1).transpose(1, 2)
    if noise and random is not None:
        shape = move.shape[1:]
        anything = (random.fold("move").uniform(*shape) * moves).long()
        explore = random.fold("explore").uniform(*shape) < noise
        move = torch.where(explore, anything, move)
    return one_hot(move, moves, outputs.dtype)


class Actions(Protocol):
    """What an actor's outputs mean."""

    def act(self, outputs: Tensor, noise: float, random: Random | None) -> Tensor:
        """Act in the world, greedily if noise is 0: [R, N, E, A] -> [R, E, N, A]."""
        ...

    def best(self, outputs: Tensor) -> Tensor:
        """Return the greedy actions, possibly in the outputs' place."""
        ...

    def draw(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return actions to learn from, and what their derivative needs."""
        ...

    def pull_back(self, slope: Tensor, needed: Tensor) -> Tensor:
        """Turn a gradient by the drawn actions into one by the outputs."""
        ...

    def state(self) -> Mapping[str, Tensor]:
        """Return every tensor that the next draw depends on; it is loaded by writing into them."""
        ...


class Forces:
    """Points tanh(z) of [-1, 1]^A, with Gaussian noise while exploring."""

    def act(self, outputs: Tensor, noise: float, random: Random | None) -> Tensor:
        """See `Actions`."""
        action = torch.tanh_(outputs).transpose(1, 2)
        if noise and random is not None:
            action = (action + noise * random.normal(*action.shape[1:])).clamp_(-1, 1)
        return action

    def best(self, outputs: Tensor) -> Tensor:
        """See `Actions`."""
        return torch.tanh_(outputs)

    def draw(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Actions`."""
        action = torch.tanh(outputs)
        return action, action

    def pull_back(self, slope: Tensor, needed: Tensor) -> Tensor:
        """See `Actions`."""
        return torch.ops.aten.tanh_backward(slope, needed)

    def state(self) -> Mapping[str, Tensor]:
        """Return nothing: draws are certain."""
        return {}


class Moves:
    """One of A moves, learned through the straight-through Gumbel-softmax (Jang et al. 2017).

    A draw is the greatest of z + g, g standard Gumbel, so a sample of softmax(z); its derivative is
    that of softmax((z + g) / temperature).  Exploration is `epsilon_greedy`, as Q-learning's, so
    that the two kinds of method differ in what they learn only.

    Args:
        random: source of the draws.
    """

    def __init__(self, random: Random) -> None:
        self._stream = Stream(random)

    def act(self, outputs: Tensor, noise: float, random: Random | None) -> Tensor:
        """See `Actions`."""
        return epsilon_greedy(outputs, noise, random)

    def best(self, outputs: Tensor) -> Tensor:
        """See `Actions`."""
        return greatest(outputs)

    def draw(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Actions`."""
        gumbel = self._stream.uniform(*outputs.shape[1:]).log_().neg_().log_().neg_()
        soft = torch.softmax((outputs + gumbel.to(outputs.dtype)) / TEMPERATURE, -1)
        return greatest(soft), soft

    def pull_back(self, slope: Tensor, needed: Tensor) -> Tensor:
        """See `Actions`."""
        mean = (slope * needed).sum(-1, keepdim=True)
        return (slope - mean).mul_(needed).div_(TEMPERATURE)

    def state(self) -> Mapping[str, Tensor]:
        """Return the keys of the next draw."""
        return {"draws": self._stream.keys}
