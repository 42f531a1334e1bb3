"""A generated core between two learned bases: W_i = P S_i Q (a Tucker form; Tucker 1966)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from baselines.hypernet.generators import Generator, Layer, Manifest
from baselines.hypernet.initialisation import orthogonal
from baselines.hypernet.products import batched
from bench.random import Random


class Core(Generator):
    """S_i [p, q] linear in h_i, P [in, p] and Q [q, out] shared: C p q + in p + q out parameters.

    With p = in and q = out it generates what a dense generator can.

    Args:
        manifest: what to generate.
        rank: p and q, each cut to its side of a layer.
    """

    def __init__(self, manifest: Manifest, rank: int) -> None:
        self._manifest, self._rank = manifest, rank

    def _core(self, layer: Layer) -> tuple[int, int]:
        return min(self._rank, layer.fan_in), min(self._rank, layer.fan_out)

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw orthonormal bases, and cores so that P S Q has the scale's variance."""
        m, values = self._manifest, {}
        for layer in m.layers:
            source, (p, q) = random.fold(layer.index), self._core(layer)
            # Rows of P have length^2 p / in on average, columns of Q q / out.
            spread = layer.scale.generated * math.sqrt(layer.size / (p * q * m.energy))
            values[f"P{layer.index}"] = orthogonal(source.fold("P"), layer.fan_in, p)
            values[f"S{layer.index}"] = source.fold("S").normal(m.width, p * q) * spread
            values[f"Q{layer.index}"] = orthogonal(source.fold("Q"), q, layer.fan_out)
        return values

    def __call__(self, parameters: Mapping[str, Tensor], code: Tensor) -> list[Tensor]:
        """Generate the cores and multiply them by the bases."""
        result = []
        for layer in self._manifest.layers:
            n = layer.index
            core = batched(code, parameters[f"S{n}"]).unflatten(2, self._core(layer))
            result.append(
                parameters[f"P{n}"].unsqueeze(1) @ core @ parameters[f"Q{n}"].unsqueeze(1)
            )
        return result
