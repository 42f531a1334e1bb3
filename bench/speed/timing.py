"""Timing on shared machines: CPU time, many rounds, everything interleaved, medians and minima."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)

Row = dict[str, Any]
"""A measurement: plain values, a `section`, units in the names."""

PATIENCE, FEWEST = 10.0, 3
"""CPU seconds after which one thing gets no more rounds, once it has had that many."""


def interleave(
    functions: Mapping[K, Callable[[], object]], rounds: int, block: float = 5e-3
) -> dict[K, list[float]]:
    """Time functions in turns, so that a busy spell of the machine meets them all.

    Args:
        functions: what to time, by name.
        rounds: samples of each.
        block: least CPU seconds of a sample; short functions are repeated within it.

    Returns:
        By name, the CPU seconds per call of each round; slow functions get fewer rounds.
    """
    repeats = {name: _repeats(function, block) for name, function in functions.items()}
    samples: dict[K, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            if not enough(samples[name], repeats[name]):
                samples[name].append(_per_call(function, repeats[name]))
    return samples


def enough(samples: Sequence[float], calls: int) -> bool:
    """Whether something slow has been sampled often enough, `calls` calls a sample."""
    return len(samples) >= FEWEST and sum(samples) * calls > PATIENCE


def _repeats(function: Callable[[], object], block: float) -> int:
    """Warm a function up, and find how often it fits a block."""
    function()
    first = _per_call(function, 1)
    again = _per_call(function, max(1, min(round(block / 10 / max(first, 1e-7)), 1000)))
    return max(1, round(block / max(again, 1e-7)))


def _per_call(function: Callable[[], object], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        function()
    return (time.process_time() - start) / repeats


def spread(samples: Sequence[float], name: str, scale: float = 1.0) -> dict[str, float]:
    """Return the median and the least of samples, as `<name>_median` and `<name>_min`."""
    return {
        f"{name}_median": rounded(statistics.median(samples) * scale),
        f"{name}_min": rounded(min(samples) * scale),
    }


def rounded(value: float) -> float:
    """Keep the four digits that a timing has."""
    return float(f"{value:.4g}")
