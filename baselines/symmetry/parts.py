"""Small networks by name within one dict of parameters, the same for all that they are applied to.

Shapes: M things (agents, or what they see) to which a network is applied, each with B rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from baselines.mlp import mlp
from baselines.networks import RELU_GAIN, initial_layers
from baselines.sharing.independent import stored_layers
from bench.interfaces import Weights
from bench.random import Random
from bench.tensors import found_under, put_under


def draw(
    random: Random, name: str, sizes: Sequence[int], last_gain: float = RELU_GAIN
) -> dict[str, Tensor]:
    """Draw a network [in, ..., out] under ``name.``."""
    layers = initial_layers(random.fold(name), sizes, [1] * (len(sizes) - 1), last_gain)
    return put_under(f"{name}.", layers)


def layers_of(parameters: Mapping[str, Tensor], name: str) -> Weights:
    """Return a network's layers."""
    return stored_layers(found_under(f"{name}.", parameters))


def apply(parameters: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Apply a network to all M things: [R, M, B, in] -> [R, M, B, out]."""
    return mlp(layers_of(parameters, name), x)


def mean(x: Tensor) -> Tensor:
    """Average over all M things: [R, M, B, F] -> [R, 1, B, F], in memory as `mlp` has it."""
    return x.mT.transpose(1, 2).mean(2).mT.unsqueeze(1)
