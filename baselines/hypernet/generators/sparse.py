"""Attention over blocks of rows: an agent has the rows generated that it attends to, no others."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from baselines.hypernet.generators import Generator, Layer, Manifest
from bench.random import Random

KEY = 8
"""Width of keys and queries."""


class Sparse(Generator):
    """A matrix is M blocks of rows; agent i generates its k best, and the others are 0.

    Scores are queries times keys.  The best blocks count fully, whatever their score, and the
    scores learn as if a block were weighted by its softmax (straight-through, Bengio et al. 2013).
    The query sees h_i but sends it no gradient: that one is an estimate, and the code's is exact.

    With k = M it is a dense generator; what is multiplied, 2 N C out rows, falls with k.  The layer
    that comes of it is dense: its zeros are multiplied like the rest.

    Args:
        manifest: what to generate.
        block: rows in a block, at most.
        live: k / M.
    """

    def __init__(self, manifest: Manifest, block: int, live: float) -> None:
        self._manifest, self._block, self._live = manifest, block, live
        self.estimated = [f"{name}{n.index}" for n in manifest.layers for name in ("keys", "query")]

    def _blocks(self, layer: Layer) -> tuple[int, int]:
        """Return M, and k."""
        fitting = range(1, min(self._block, layer.fan_in) + 1)
        rows = max(size for size in fitting if layer.fan_in % size == 0)
        blocks = layer.fan_in // rows
        return blocks, max(1, round(self._live * blocks))

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw each block's generator [R, M, C, rows out], its key, and the queries' map."""
        m, values = self._manifest, {}
        for layer in m.layers:
            source, (blocks, live) = random.fold(layer.index), self._blocks(layer)
            draw = source.fold("G").normal(blocks, m.width, layer.size // blocks)
            queries = source.fold("query").normal(m.width, KEY)
            # The rows that live bring the variance of those that do not.
            spread = layer.scale.generated * math.sqrt(blocks / (live * m.energy))
            values[f"G{layer.index}"] = draw * spread
            values[f"keys{layer.index}"] = source.fold("keys").normal(blocks, KEY)
            values[f"query{layer.index}"] = queries / math.sqrt(m.energy)
        return values

    def __call__(self, parameters: Mapping[str, Tensor], code: Tensor) -> list[Tensor]:
        """Pick the live blocks' generators, and form nothing of the others."""
        return [self._generate(parameters, code, layer) for layer in self._manifest.layers]

    def _generate(self, parameters: Mapping[str, Tensor], code: Tensor, layer: Layer) -> Tensor:
        (R, N, _), (blocks, live) = code.shape, self._blocks(layer)
        generator = parameters[f"G{layer.index}"]
        query = code.detach() @ parameters[f"query{layer.index}"]
        scores = query @ parameters[f"keys{layer.index}"].mT / math.sqrt(KEY)
        best = scores.detach().topk(live, 2).indices
        weight = scores.softmax(2).gather(2, best)
        offset = blocks * torch.arange(R, device=code.device).view(R, 1, 1)
        picked = generator.flatten(0, 1).index_select(0, (best + offset).flatten())
        # One row times a matrix for each live block of each agent: [R, N, k, rows out].
        each = code.unsqueeze(2).expand(R, N, live, -1).reshape(R * N * live, 1, -1)
        rows = torch.bmm(each, picked).view(R, N, live, -1)
        rows = rows * (1 + (weight - weight.detach())).unsqueeze(3)
        whole = rows.new_zeros(R, N, blocks, rows.shape[3])
        index = best.unsqueeze(3).expand_as(rows)
        return whole.scatter(2, index, rows).view(R, N, *layer.shape)
