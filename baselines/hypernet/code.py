"""The code of an agent, from which its weights are generated.

Shapes: R replicas, N agents, E width of e, C width of the code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from baselines.networks import RELU_GAIN
from bench.random import Random


def rms_norm(x: Tensor) -> Tensor:
    """Scale the last axis to a mean square of 1 (Zhang and Sennrich 2019)."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


class Code:
    """h_i = RMSnorm(ReLU(A e_i)); or e_i itself.

    Args:
        inputs: E.
        energy: E|e|^2.
        hidden: C; 0 for e_i itself.
        paced: whether h is divided by E|h|_1 at the start, for a normal A e_i: a step that moves
            every number of a generator by the same then moves what it generates by about as much.
    """

    def __init__(self, inputs: int, energy: float, hidden: int, paced: bool = False) -> None:
        self._inputs, self._hidden = inputs, hidden
        self.width = hidden or inputs
        """C."""
        # A ReLU's output has the mean 1 / sqrt(pi) of its root mean square.
        self._factor = math.sqrt(math.pi) / hidden if paced else 1.0
        self.energy = hidden * self._factor**2 if hidden else energy
        """E|h|^2 at the start: the norm makes it the width."""

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw A: [R, E, C]."""
        if not self._hidden:
            return {}
        draw = random.fold("code").normal(self._inputs, self._hidden)
        return {"A": draw * (RELU_GAIN / math.sqrt(self._inputs))}

    def __call__(self, parameters: Mapping[str, Tensor], e: Tensor) -> Tensor:
        """Map e [R, N, E] to h [R, N, C]."""
        if not self._hidden:
            return e
        h = rms_norm(torch.relu(e @ parameters["A"]))
        return h if self._factor == 1 else h * self._factor
