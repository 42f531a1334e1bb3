"""No sharing: every agent has its own network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from baselines.networks import initial_layers
from bench.interfaces import Weights
from bench.random import Random

VERSION = 2


def stored_layers(parameters: Mapping[str, Tensor]) -> Weights:
    """Read layers that are stored as `W0`, `b0`, `W1`, ..."""
    depth = sum(name.startswith("W") for name in parameters)
    return [(parameters[f"W{layer}"], parameters[f"b{layer}"]) for layer in range(depth)]


class Independent:
    """One set of weights per agent: every layer has G = N."""

    def __init__(self, sizes: Sequence[int], agents: int) -> None:
        self._sizes, self._agents = sizes, agents

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw every agent's network on its own."""
        return initial_layers(random, self._sizes, [self._agents] * (len(self._sizes) - 1))

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        """Return the stored layers."""
        return stored_layers(parameters)
