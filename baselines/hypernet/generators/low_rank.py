"""Two generated factors: W_i = U_i V_i, added to a shared base (as LoRA does, Hu et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from baselines.hypernet.generators import Generator, Layer, Manifest
from baselines.hypernet.products import batched
from bench.random import Random


class LowRank(Generator):
    """U_i [in, r] and V_i [r, out], each linear in h_i: C r (in + out) parameters a layer.

    A generator that starts from zero (rho = 0) starts with V = 0 and random U, so that agents begin
    at their base and V gets a gradient at once.

    Args:
        manifest: what to generate.
        rank: r, cut to the smaller side of a layer.
    """

    def __init__(self, manifest: Manifest, rank: int) -> None:
        self._manifest, self._rank = manifest, rank

    def _factors(self, layer: Layer) -> int:
        return min(self._rank, *layer.shape)

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw U with variance 1, and V so that U V has the scale's."""
        m, values = self._manifest, {}
        for layer in m.layers:
            source, rank = random.fold(layer.index), self._factors(layer)
            left = source.fold("U").normal(m.width, layer.fan_in * rank)
            right = source.fold("V").normal(m.width, rank * layer.fan_out)
            values[f"U{layer.index}"] = left / math.sqrt(m.energy)
            values[f"V{layer.index}"] = right * (layer.scale.generated / math.sqrt(rank * m.energy))
        return values

    def __call__(self, parameters: Mapping[str, Tensor], code: Tensor) -> list[Tensor]:
        """Generate both factors and multiply them."""
        result = []
        for layer in self._manifest.layers:
            left = batched(code, parameters[f"U{layer.index}"]).unflatten(2, (layer.fan_in, -1))
            right = batched(code, parameters[f"V{layer.index}"]).unflatten(2, (-1, layer.fan_out))
            result.append(left @ right)
        return result
