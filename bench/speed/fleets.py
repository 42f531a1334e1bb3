"""One training step of fleets, on any device, against the bytes that it must move.

On an accelerator small networks are bound by memory, not by arithmetic: the floor of an update is
what its operations read and write, over the bandwidth of a copy measured in the same process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.config import RunConfig
from bench.fleet import Fleet
from bench.speed.timing import Row, rounded
from bench.speed.workload import stocked
from bench.train import Trainer

COPIED = 1 << 28
"""Bytes of the buffer whose copy measures the bandwidth: larger than any cache."""
WARM_UP = 5
"""Steps before the clock: those before a capture, and the capture."""
PATIENCE = 10.0
"""Seconds of steps that a fleet gets at most."""


class Traffic(TorchDispatchMode):
    """Adds up the bytes that operations read and write; views move none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Note the operands and results of an operation and let it pass."""
        result = func(*args, **(kwargs or {}))
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        written = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        owned = {x.untyped_storage()._cdata for x in read}
        aliases = any(x.untyped_storage()._cdata in owned for x in written)
        if not aliases or func._schema.is_mutable:
            self.bytes += sum(map(_touched, (*read, *written)))
        return result


def _touched(tensor: Tensor) -> int:
    """Bytes of a tensor, an expanded axis counted once."""
    lengths = zip(tensor.shape, tensor.stride(), strict=True)
    count = 1
    for length, stride in lengths:
        count *= length if stride else 1
    return count * tensor.element_size()


def traffic(config: RunConfig, replicas: int) -> int:
    """Count the bytes that one update of a fleet moves, without doing it: on the meta device.

    What is picked from the replay is counted as the rows picked, not as the ring; priorities, which
    would count as a ring, are not set.
    """
    plain = config.model_copy(update={"sampler": "uniform"})
    configs = [plain.model_copy(update={"seed": seed}) for seed in range(replicas)]
    run = Trainer(Fleet(configs, torch.device("meta")), None, ())
    fleet, shape = run._fleet, (replicas, config.batch)
    indices = torch.zeros(shape, dtype=torch.int64, device="meta")
    picked = fleet.replay.transitions(indices)
    with Traffic() as counted:
        run._update(indices, torch.ones(shape, device="meta"), *picked)
    return counted.bytes + 2 * sum(map(_touched, picked))


def bandwidth(device: torch.device) -> float:
    """Measure the bytes per second of a copy, read and written."""
    source = torch.ones(COPIED // 4, device=device)
    target = torch.empty_like(source)
    seconds = [_wall(lambda: target.copy_(source), device) for _ in range(8)]
    return 2 * COPIED / min(seconds[2:])


def measure_fleets(
    config: RunConfig, replicas: list[int], device: torch.device, rounds: int
) -> list[Row]:
    """Time one step, 100 environment steps and their update, of fleets of R replicas.

    Args:
        config: one replica.
        replicas: values of R.
        device: where.
        rounds: samples of each.
    """
    rate = bandwidth(device)
    rows = []
    for count in replicas:
        run = stocked(config, count, device)
        steps = run._fleet.task.horizon
        for _ in range(-(-WARM_UP // steps)):
            run.episodes()
        seconds: list[float] = []
        while len(seconds) < rounds and sum(seconds) * steps < PATIENCE:
            seconds.append(_wall(run.episodes, device) / steps)
        wall_us = statistics.median(seconds) * 1e6
        moved = traffic(config, count)
        rows.append(
            {
                "section": "fleets",
                "device": str(device),
                "replicas": count,
                "wall_us_per_step": rounded(wall_us),
                "wall_us_per_step_and_replica": rounded(wall_us / count),
                "update_mib_moved": rounded(moved / 2**20),
                "copy_gb_per_s": rounded(rate / 1e9),
                "update_floor_us": rounded(moved / rate * 1e6),
                "mib_held_per_replica": rounded(run._fleet.nbytes / count / 2**20),
            }
        )
        del run
    return rows


def _wall(function: Callable[[], object], device: torch.device) -> float:
    """Wall seconds of a call, until the device has done it."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    start = time.perf_counter()
    function()
    wait()
    return time.perf_counter() - start
