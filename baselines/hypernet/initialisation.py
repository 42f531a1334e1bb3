"""At what scale a hypernetwork starts.

Shapes: R replicas, C code width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.random import Random


@dataclass(frozen=True)
class Scale:
    """Initial standard deviations of one layer's numbers."""

    plain: float
    """What a stored layer's weights have."""
    generated: float
    """What the generator gives the weights; at 0 a generator starts from zero, and still learns."""
    base: float
    """What the base has that the generated weights are added to."""
    bias: float
    """What the generator gives the bias."""

    @property
    def unit(self) -> float:
        """The scale of what is generated from numbers of variance 1, even where it starts at 0."""
        return self.generated or self.plain

    @property
    def start(self) -> float:
        """1, or 0 for a generator that starts from zero."""
        return float(self.generated > 0)


def balanced(fan_in: int, gain: float, rho: float, width: int, energy: float) -> Scale:
    """Start at the variance gain^2 / in of a plain layer.

    A share rho of it comes from the generator, Var(G) = rho gain^2 / (in E|h|^2), and the rest
    from the base, N(0, (1 - rho) gain^2 / in) (after Chang et al. 2020).
    """
    plain = gain / math.sqrt(fan_in)
    return Scale(plain, plain * math.sqrt(rho), plain * math.sqrt(1 - rho), 0.0)


def hyperfan_in(fan_in: int, gain: float, rho: float, width: int, energy: float) -> Scale:
    """Let weights and biases bring half of the output's variance each (Chang et al. 2020, tab. 1).

    For inputs of unit variance: Var(W) = gain^2 / (2 in), Var(b) = gain^2 / 2, without a base.
    """
    plain = gain / math.sqrt(fan_in)
    return Scale(plain, plain * math.sqrt(0.5), 0.0, gain * math.sqrt(0.5))


def naive(fan_in: int, gain: float, rho: float, width: int, energy: float) -> Scale:
    """Start the generator as the library starts any linear layer, uniform in +-1 / sqrt(C).

    So Var(W) = (E|h|^2 + 1) / (3 C), whatever the generated layer's fan-in: the mistake that the
    others avoid.  The base is the generator's bias.
    """
    generated = math.sqrt(energy / (3 * width))
    return Scale(gain / math.sqrt(fan_in), generated, math.sqrt(1 / (3 * width)), generated)


INITIALISATIONS: Mapping[str, Callable[[int, float, float, int, float], Scale]] = {
    "balanced": balanced,
    "hyperfan-in": hyperfan_in,
    "naive": naive,
}
"""By name: from fan-in, gain, rho, C and E|h|^2."""


def orthogonal(random: Random, rows: int, columns: int) -> Tensor:
    """Draw [R, rows, columns] with orthonormal rows or columns, whichever there are fewer of."""
    draw = random.normal(max(rows, columns), min(rows, columns))
    q, r = torch.linalg.qr(draw)
    # The signs that make the factorisation unique, and the draw uniform (Mezzadri 2007).
    q = q * torch.where(r.diagonal(dim1=1, dim2=2) < 0, -1.0, 1.0).unsqueeze(1)
    return q if rows >= columns else q.mT.contiguous()
