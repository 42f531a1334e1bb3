"""A linear map for each layer: W_i = reshape(h_i G) (Ha, Dai and Le 2017)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from baselines.hypernet.generators import Generator, Manifest
from baselines.hypernet.products import batched
from bench.random import Random


class Dense(Generator):
    """G [R, C, in out] per layer: C in out parameters."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw G with Var(h G) as the scale says."""
        m = self._manifest
        return {
            f"G{layer.index}": random.fold(layer.index).fold("G").normal(m.width, layer.size)
            * (layer.scale.generated / math.sqrt(m.energy))
            for layer in m.layers
        }

    def __call__(self, parameters: Mapping[str, Tensor], code: Tensor) -> list[Tensor]:
        """Do one product for each layer."""
        return [
            batched(code, parameters[f"G{layer.index}"]).unflatten(2, (layer.fan_in, layer.fan_out))
            for layer in self._manifest.layers
        ]
