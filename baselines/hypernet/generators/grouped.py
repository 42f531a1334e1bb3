"""Groups of agents with a generator each: between one hypernetwork for all and one for each."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import pad

from baselines.hypernet.generators import Generator, Manifest
from bench.random import Random


class Grouped(Generator):
    """Agent i belongs to group i mod K, and W_i = reshape(h_i G_k): K C in out parameters a layer.

    One group is a dense generator, exactly.

    Args:
        manifest: what to generate.
        groups: K, at most N.
    """

    def __init__(self, manifest: Manifest, groups: int) -> None:
        self._manifest, self._groups = manifest, groups

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw the groups' generators [R, K, C, in out] as the dense one's."""
        m = self._manifest
        return {
            f"G{layer.index}": random.fold(layer.index)
            .fold("G")
            .normal(self._groups, m.width, layer.size)
            * (layer.scale.generated / math.sqrt(m.energy))
            for layer in m.layers
        }

    def __call__(self, parameters: Mapping[str, Tensor], code: Tensor) -> list[Tensor]:
        """Put the agents in groups of equal size, the last agents perhaps being nobody."""
        N, K = self._manifest.agents, self._groups
        rows = pad(code, (0, 0, 0, -N % K)).unflatten(1, (-1, K)).transpose(1, 2)
        return [
            (rows @ parameters[f"G{layer.index}"])
            .transpose(1, 2)
            .flatten(1, 2)[:, :N]
            .unflatten(2, layer.shape)
            for layer in self._manifest.layers
        ]
