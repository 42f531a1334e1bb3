"""One small generator applied to learned chunk embeddings (von Oswald et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from baselines.hypernet.code import rms_norm
from baselines.hypernet.generators import Generator, Manifest
from baselines.networks import RELU_GAIN
from bench.random import Random

EMBEDDING, HIDDEN = 8, 32
"""Widths of a chunk's embedding and of the small generator's hidden layer."""


class Chunked(Generator):
    """All weights in a row, cut into K chunks of S: chunk k is O RMSnorm(ReLU(H h + C c_k)).

    Its size hardly depends on what it generates: (C + S) D + (D + K) E_c parameters, with D and
    E_c the two widths above.  Of the last chunk what is too much is cut off.

    Args:
        manifest: what to generate.
        chunk: S.
    """

    def __init__(self, manifest: Manifest, chunk: int) -> None:
        self._manifest, self._chunk = manifest, chunk
        self._sizes = [layer.size for layer in manifest.layers]
        self._chunks = -(-sum(self._sizes) // chunk)

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw the chunks and a generator of numbers of variance 1, or 0 where it starts at 0."""
        m, source = self._manifest, random.fold("chunked")
        start = max(layer.scale.start for layer in m.layers) / math.sqrt(HIDDEN)
        return {
            "chunks": source.fold("chunks").normal(self._chunks, EMBEDDING),
            "C": source.fold("C").normal(EMBEDDING, HIDDEN) * (RELU_GAIN / math.sqrt(EMBEDDING)),
            "H": source.fold("H").normal(m.width, HIDDEN) * (RELU_GAIN / math.sqrt(m.energy)),
            "O": source.fold("O").normal(HIDDEN, self._chunk) * start,
        }

    def __call__(self, parameters: Mapping[str, Tensor], code: Tensor) -> list[Tensor]:
        """Generate every chunk of every agent with one product."""
        own = (code @ parameters["H"]).unsqueeze(2)
        chunks = (parameters["chunks"] @ parameters["C"]).unsqueeze(1)
        hidden = rms_norm(torch.relu(own + chunks))
        rows = (hidden.flatten(1, 2) @ parameters["O"]).unflatten(1, hidden.shape[1:3])
        parts = rows.flatten(2)[:, :, : sum(self._sizes)].split(self._sizes, 2)
        return [
            part.unflatten(2, layer.shape) * layer.scale.unit
            for part, layer in zip(parts, self._manifest.layers, strict=True)
        ]
