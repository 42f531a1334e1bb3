"""Samplers side by side: each serves its slice of a fleet's replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bench.experience import Sampler
from bench.random import Random
from bench.tensors import found_under, put_under


class Mixed:
    """One sampler made of several.

    Args:
        parts: consecutive slices that cover the replicas, and who serves each.
    """

    def __init__(self, parts: Sequence[tuple[slice, Sampler]]) -> None:
        self._parts = parts

    def extend(self, new: slice, alive: Tensor | None) -> None:
        """Tell every sampler of its replicas' new transitions."""
        for replicas, sampler in self._parts:
            sampler.extend(new, None if alive is None else alive[replicas])

    def evict(self, old: slice) -> None:
        """Tell every sampler of old transitions."""
        for _, sampler in self._parts:
            sampler.evict(old)

    def sample(self, random: Random, progress: float) -> tuple[Tensor, Tensor]:
        """Draw indices and weights [R, B], each replica's by its own sampler."""
        drawn = [sampler.sample(random.part(part), progress) for part, sampler in self._parts]
        indices, weights = zip(*drawn, strict=True)
        return torch.cat(indices), torch.cat(weights)

    def update(self, indices: Tensor, td_errors: Tensor) -> None:
        """Tell every sampler of its replicas' TD errors."""
        for part, sampler in self._parts:
            sampler.update(indices[part], td_errors[part])

    def state(self) -> Mapping[str, Tensor]:
        """Return the parts' states, each under its number."""
        every: dict[str, Tensor] = {}
        for number, (_, sampler) in enumerate(self._parts):
            every |= put_under(f"{number}.", sampler.state())
        return every

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for number, (_, sampler) in enumerate(self._parts):
            sampler.load(found_under(f"{number}.", state))
