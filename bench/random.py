"""Counter-based random numbers: every draw is a pure function of (seed, purpose, step).

A stateful generator ties a run's numbers to the order of its draws and to how many replicas share
the process, and has to be saved to resume.  Here a key per replica is folded with the purpose and
the step, as in JAX, so a replica draws the same numbers alone or in a fleet, resumed or not, on any
device; nothing needs saving.  The bits are SplitMix64 (Steele, Lea and Flood 2014) in 64-bit
integer arithmetic that wraps.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Keys = npt.NDArray[np.uint64]


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# Any constant that is no small multiple of the golden one: without it the folds of seed 0 would be
# the root keys of the other seeds.
_ROOT = np.uint64(0x6A09E667F3BCC908)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def _mix(x: Keys) -> Keys:
    """SplitMix64's finaliser, on unsigned integers that wrap."""
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


def _signed(number: int) -> int:
    """Return the int64 of the same 64 bits."""
    return number - ((number >> 63) << 64)


def _mix_signed_(x: Tensor) -> Tensor:
    """The same in place on int64, whose `>>` is arithmetic, so the sign bits are masked off."""
    x.bitwise_xor_((x >> 30).bitwise_and_((1 << 34) - 1)).mul_(_signed(int(_MIX_1)))
    x.bitwise_xor_((x >> 27).bitwise_and_((1 << 37) - 1)).mul_(_signed(int(_MIX_2)))
    return x.bitwise_xor_((x >> 31).bitwise_and_((1 << 33) - 1))


def _unit(bits: Tensor) -> Tensor:
    """Turn 64 random bits each into float64 in [0, 1)."""
    return (bits >> 11).bitwise_and_((1 << 53) - 1).double().mul_(2.0**-53)


def _step(data: int | str) -> int:
    """Return what a fold adds to the keys: an unsigned number of 64 bits."""
    number = zlib.crc32(data.encode()) + (1 << 32) if isinstance(data, str) else data
    return (number + 1) * int(_GOLDEN) % (1 << 64)


@functools.lru_cache(maxsize=64)
def _counters(count: int, device: torch.device) -> Tensor:
    """[count] int64: 1, 2, ... times SplitMix64's increment."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    return torch.from_numpy(steps.view(np.int64)).to(device)


class Random:
    """A source of random numbers with a key per replica.

    One source gives one draw: fold it before the next.

    Args:
        keys: [R] uint64, on the host, where folding a few numbers is cheapest.
        device: where draws are made.
    """

    def __init__(self, keys: Keys, device: torch.device) -> None:
        self.keys, self.device = keys, device

    @classmethod
    def from_seeds(cls, seeds: Sequence[int], device: torch.device | str = "cpu") -> Random:
        """Return the root source of one replica per seed."""
        numbers = np.array(seeds, dtype=np.uint64)
        return cls(_mix(numbers * _GOLDEN + _ROOT), torch.device(device))

    def fold(self, data: int | str) -> Random:
        """Derive an independent source named by a purpose or a step."""
        return Random(_mix(self.keys + np.uint64(_step(data))), self.device)

    def folds(self, first: int, count: int) -> list[Random]:
        """Derive the sources of steps first, ..., first + count - 1, whose draws are made together.

        Their numbers are those of `fold`, at the cost of one draw for all of them.
        """
        steps = np.arange(first + 1, first + count + 1, dtype=np.uint64) * _GOLDEN
        keys = _mix(self.keys + steps[:, None])
        together = _Together(Random(keys.ravel(), self.device), count)
        return [_OneOf(together, step, keys[step]) for step in range(count)]

    def part(self, replicas: slice) -> Random:
        """Return the source of some of the replicas."""
        return Random(self.keys[replicas], self.device)

    def _bits(self, shape: tuple[int, ...]) -> Tensor:
        keys = torch.from_numpy(self.keys.view(np.int64))
        if self.device.type == "cuda":
            keys = keys.pin_memory()  # otherwise the copy would wait for the device
        keys = keys.to(self.device, non_blocking=True)
        if self.device.type == "meta":  # where there are no numbers, and each operation takes long
            return keys.new_empty((len(keys), *shape))
        counters = _counters(torch.Size(shape).numel(), self.device)
        return _mix_signed_(keys[:, None] + counters).view(-1, *shape)

    def uniform(self, *shape: int) -> Tensor:
        """Draw [R, *shape] float64 in [0, 1), with 53 random bits each."""
        return _unit(self._bits(shape))

    def normal(self, *shape: int) -> Tensor:
        """Draw [R, *shape] float32 standard normals, by the inverse distribution function."""
        # 23 bits and a half: exact in float32 and never 0 or 1.
        bits = (self._bits(shape) >> 41).bitwise_and_((1 << 23) - 1)
        return torch.special.ndtri(bits.float().add_(0.5).mul_(2.0**-23))


class Stream:
    """Draws that follow each other on the device, with nothing from the host: for updates.

    An update may be captured and replayed, so it cannot be given a source of its own each time.

    Args:
        random: where the stream begins.
    """

    def __init__(self, random: Random) -> None:
        self.keys = torch.from_numpy(random.keys.view(np.int64).copy()).to(random.device)
        """[R] int64, the state: the first draw is `random`'s, the next its `fold("next")`'s."""

    def uniform(self, *shape: int) -> Tensor:
        """Draw [R, *shape] float64 in [0, 1), and go on."""
        counters = torch.arange(1, torch.Size(shape).numel() + 1, device=self.keys.device)
        keys = self.keys[:, None] + counters.mul_(_signed(int(_GOLDEN)))
        _mix_signed_(self.keys.add_(_signed(_step("next"))))
        return _unit(_mix_signed_(keys).view(-1, *shape))


class _Together:
    """The sources of several steps as one of T R replicas, with what it has drawn."""

    def __init__(self, whole: Random, count: int) -> None:
        self.whole, self._count = whole, count
        self._folds: dict[int | str, _Together] = {}
        self._drawn: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def fold(self, data: int | str) -> _Together:
        if data not in self._folds:
            self._folds[data] = _Together(self.whole.fold(data), self._count)
        return self._folds[data]

    def draw(self, kind: str, shape: tuple[int, ...]) -> Tensor:
        """Draw [T, R, *shape], once."""
        if (kind, shape) not in self._drawn:
            drawn: Tensor = getattr(self.whole, kind)(*shape)
            self._drawn[kind, shape] = drawn.unflatten(0, (self._count, -1))
        return self._drawn[kind, shape]


class _OneOf(Random):
    """The source of one step of several that draw together, of all replicas or some."""

    def __init__(
        self, together: _Together, step: int, keys: Keys, replicas: slice = slice(None)
    ) -> None:
        super().__init__(keys, together.whole.device)
        self._together, self._step, self._replicas = together, step, replicas

    def fold(self, data: int | str) -> Random:
        keys = super().fold(data).keys
        return _OneOf(self._together.fold(data), self._step, keys, self._replicas)

    def part(self, replicas: slice) -> Random:
        if self._replicas != slice(None):
            return super().part(replicas)
        return _OneOf(self._together, self._step, self.keys[replicas], replicas)

    def uniform(self, *shape: int) -> Tensor:
        return self._together.draw("uniform", shape)[self._step, self._replicas]

    def normal(self, *shape: int) -> Tensor:
        return self._together.draw("normal", shape)[self._step, self._replicas]
