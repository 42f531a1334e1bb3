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
    """

    def __init__(self, inputs: int, energy: float, hidden: int) -> None:
        self._inputs, self._hidden = inputs, hidden
        self.width = hidden or inputs
        """C."""
        self.energy = float(hidden) if hidden else energy
        """E|h|^2 at the start: the norm makes it the width."""

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw A: [R, E, C]."""
        if not self._hidden:
            return {}
        draw = random.fold("code").normal(self._inputs, self._hidden)
        return {"A": draw * (RELU_GAIN / math.sqrt(self._inputs))}

    def __call__(self, parameters: Mapping[str, Tensor], e: Tensor) -> Tensor:
        """Map e [R, N, E] to h [R, N, C]."""
        return rms_norm(torch.relu(e @ parameters["A"])) if self._hidden else e
