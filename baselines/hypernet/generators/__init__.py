"""How weights come from a code, for all agents at once.

Shapes: R replicas, N agents, C code width; a layer is [in, out].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from baselines.hypernet.initialisation import Scale
from bench.random import Random


@dataclass(frozen=True)
class Layer:
    """One line of the shape manifest: a matrix to be generated."""

    index: int
    """Its place in the target network."""
    fan_in: int
    fan_out: int
    scale: Scale

    @property
    def shape(self) -> tuple[int, int]:
        """[in, out]."""
        return self.fan_in, self.fan_out

    @property
    def size(self) -> int:
        """Numbers in it."""
        return self.fan_in * self.fan_out


@dataclass(frozen=True)
class Manifest:
    """What a generator has to generate, and from what."""

    layers: Sequence[Layer]
    agents: int
    """N."""
    width: int
    """C."""
    energy: float
    """E|h|^2 at the start."""


class Generator(Protocol):
    """Maps codes to weights; every parameter is a factor of what it generates, so that zero is
    no difference between agents."""

    estimated: Sequence[str] = ()
    """Names of parameters whose gradient is an estimate, not the derivative."""

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw the generator, by name, each [R, ...]."""
        ...

    def __call__(self, parameters: Mapping[str, Tensor], code: Tensor) -> list[Tensor]:
        """Map h [R, N, C] to one [R, N, in, out] for each layer of the manifest."""
        ...
