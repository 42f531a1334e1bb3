"""Counter-based random numbers: every draw is a pure function of (seed, purpose, step).

A stateful generator ties a run's numbers to the order of its draws and to how many replicas share
the process, and has to be saved to resume.  Here a key per replica is folded with the purpose and
the step, as in JAX, so a replica draws the same numbers alone or in a fleet, resumed or not, on any
device; nothing needs saving.  The bits are SplitMix64 (Steele, Lea and Flood 2014) in 64-bit
integer arithmetic that wraps.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
# Any constant that is no small multiple of the golden one: without it the folds of seed 0 would be
# the root keys of the other seeds.
_ROOT = _signed(0x6A09E667F3BCC908)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser; `>>` is arithmetic, so the sign bits are masked off."""
    x = (x ^ ((x >> 30) & ((1 << 34) - 1))) * _MIX_1
    x = (x ^ ((x >> 27) & ((1 << 37) - 1))) * _MIX_2
    return x ^ ((x >> 31) & ((1 << 33) - 1))


class Random:
    """A source of random numbers with a key per replica.

    One source gives one draw: fold it before the next.

    Args:
        keys: [R] int64.
    """

    def __init__(self, keys: Tensor) -> None:
        self.keys = keys

    @classmethod
    def from_seeds(cls, seeds: Sequence[int], device: torch.device | str = "cpu") -> Random:
        """Return the root source of one replica per seed."""
        numbers = torch.tensor(list(seeds), dtype=torch.int64, device=device)
        return cls(_mix(numbers * _GOLDEN + _ROOT))

    def fold(self, data: int | str) -> Random:
        """Derive an independent source named by a purpose or a step."""
        number = zlib.crc32(data.encode()) + (1 << 32) if isinstance(data, str) else data
        return Random(_mix(self.keys + _signed((number + 1) * _GOLDEN % (1 << 64))))

    def _bits(self, shape: tuple[int, ...]) -> Tensor:
        count = torch.Size(shape).numel()
        steps = torch.arange(1, count + 1, dtype=torch.int64, device=self.keys.device) * _GOLDEN
        return _mix(self.keys[:, None] + steps).view(-1, *shape)

    def uniform(self, *shape: int) -> Tensor:
        """Draw [R, *shape] float64 in [0, 1), with 53 random bits each."""
        return ((self._bits(shape) >> 11) & ((1 << 53) - 1)).double() * 2.0**-53

    def normal(self, *shape: int) -> Tensor:
        """Draw [R, *shape] float32 standard normals, by the inverse distribution function."""
        # 23 bits and a half: exact in float32 and never 0 or 1.
        bits = ((self._bits(shape) >> 41) & ((1 << 23) - 1)).float()
        return torch.special.ndtri((bits + 0.5) * 2.0**-23)
