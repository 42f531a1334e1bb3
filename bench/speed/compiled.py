"""The reference workload with compiled updates, in turns with the same operation by operation."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.compilation import has_compiler
from bench.config import RunConfig
from bench.speed.timing import Row, rounded, spread
from bench.speed.update import US, Floors, record_products
from bench.speed.workload import stocked
from bench.train import Trainer


class Timed:
    """What a run learns from, with the CPU seconds of its calls.

    Args:
        run: whose updates are timed from now on.
    """

    def __init__(self, run: Trainer) -> None:
        self.seconds = 0.0
        self._learn_from: Callable[..., Any] = run._learn_from
        run._learn_from = self  # type: ignore[assignment]

    def __call__(self, *tensors: Any) -> Any:
        """Do what it does."""
        start = time.process_time()
        outputs = self._learn_from(*tensors)
        self.seconds += time.process_time() - start
        return outputs


def measure_compiled(config: RunConfig, rounds: int) -> list[Row]:
    """Time groups of E episodes and the updates in them, without and with a compiler.

    An update is here what is compiled: from the states of a batch to the networks' next parameters
    and the priorities, observations and rewards recomputed.  `ready_cpu_s` is recording, compiling
    and the first update, less where the compiler finds what it made before.

    Returns:
        Two rows; none, saying why, where there is no compiler.
    """
    if not has_compiler():
        print("speed: no C++ compiler, so no compiled updates", file=sys.stderr)
        return []
    plain, made = stocked(config), stocked(config, compiled=True)
    start = _with_children()
    made._learn(*made._batches(1))
    ready = _with_children() - start
    plain._learn(*plain._batches(1))
    floors = Floors(record_products(plain, "_learn", *plain._batches(1)), 1)
    runs = {"operation by operation": plain, "compiled": made}
    clocks = {how: Timed(run) for how, run in runs.items()}
    loop: dict[str, list[float]] = {how: [] for how in runs}
    update: dict[str, list[float]] = {how: [] for how in runs}
    floor = []
    for number in range(rounds + 1):
        for how, run in runs.items():
            before, clocks[how].seconds = run._updates, 0.0
            start = time.process_time()
            run.episodes()
            seconds = time.process_time() - start
            if number:  # the first is to warm up
                count = run._updates - before
                loop[how].append(seconds / count)
                update[how].append(clocks[how].seconds / count)
        floor.append(sum(floors.sample().values()))
    rows = []
    for how in runs:
        row: Row = {"section": "compiled", "how": how, **spread(loop[how], "cpu_us_per_update", US)}
        row |= spread(update[how], "update_cpu_us", US) | spread(floor, "update_floor_us", US)
        row["ratio_to_floor"] = rounded(row["update_cpu_us_median"] / row["update_floor_us_median"])
        row["everything_else_share"] = rounded(1 - sum(update[how]) / sum(loop[how]))
        row["ready_cpu_s"] = rounded(ready if how == "compiled" else 0.0)
        rows.append(row)
    return rows


def _with_children() -> float:
    """CPU seconds of this process and of those that it waited for, such as a compiler."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
