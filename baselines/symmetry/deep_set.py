"""A value of a set of agents (Zaheer et al. 2017): the mean of their embeddings, then a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from baselines.mlp import mlp
from baselines.networks import LAST_GAIN
from baselines.symmetry.parts import draw, layers_of
from bench.random import Random


class DeepSet:
    """Q = rho(mean over agents i of phi(x_i)), x_i = (o_i, a_i).

    phi has the hidden layers, each with its ReLU; rho one more and the value.  No parameter depends
    on the number of agents, and none is an agent's own.

    Args:
        size: of x_i.
        hidden: widths of phi's layers.
    """

    def __init__(self, size: int, hidden: Sequence[int]) -> None:
        self._phi, self._rho = [size, *hidden], [hidden[-1], hidden[-1], 1]

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw phi and rho."""
        return {**draw(random, "phi", self._phi), **draw(random, "rho", self._rho, LAST_GAIN)}

    def value(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Evaluate x [R, N, B, O + A] of all agents: [R, 1, B, 1]."""
        phi, rho = (layers_of(parameters, name) for name in ("phi", "rho"))
        return mlp([*phi, *rho], x, pooled=len(phi))
