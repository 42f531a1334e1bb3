"""A value of a set of agents (Zaheer et al. 2017): the mean of their embeddings, then a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from baselines.mlp import mlp
from baselines.networks import RELU_GAIN, initial_layers
from baselines.sharing.independent import stored_layers
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
        groups = [1] * len(self._phi)
        phi = initial_layers(random.fold("phi"), self._phi, groups, RELU_GAIN)
        rho = initial_layers(random.fold("rho"), self._rho, groups)
        return {
            **{f"phi.{name}": value for name, value in phi.items()},
            **{f"rho.{name}": value for name, value in rho.items()},
        }

    def value(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Evaluate x [R, N, B, O + A] of all agents: [R, 1, B, 1]."""
        # As `mlp` has them in memory: [R, H, N, B].
        embedding = torch.relu(mlp(_part(parameters, "phi."), x).mT.transpose(1, 2))
        return mlp(_part(parameters, "rho."), embedding.mean(2).mT.unsqueeze(1))


def _part(parameters: Mapping[str, Tensor], prefix: str) -> Sequence[tuple[Tensor, Tensor]]:
    """Return the layers whose names begin with `prefix`."""
    own = {k.removeprefix(prefix): v for k, v in parameters.items() if k.startswith(prefix)}
    return stored_layers(own)
