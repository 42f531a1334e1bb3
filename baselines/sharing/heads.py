"""A shared trunk with a head per agent (Xu and Yang 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from baselines.networks import initial_layers
from baselines.sharing.independent import stored_layers
from bench.interfaces import Weights
from bench.random import Random

VERSION = 1


class Heads:
    """All layers but the last are shared (G = 1); the last is each agent's own (G = N)."""

    def __init__(self, sizes: Sequence[int], agents: int) -> None:
        self._sizes, self._agents = sizes, agents

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw the trunk once and a head per agent."""
        groups = [1] * (len(self._sizes) - 2) + [self._agents]
        return initial_layers(random, self._sizes, groups)

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        """Return the stored layers."""
        return stored_layers(parameters)
