"""The device that a fleet trains on, and how much of one there is room for."""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING

from bench import registry
from bench.config import RunConfig
from bench.errors import RequestError

if TYPE_CHECKING:
    import torch


def find_device(name: str) -> torch.device:
    """Return a torch device that works.

    Raises:
        RequestError: naming the reason.
    """
    import torch

    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise RequestError(f"--device {name}: {reason}; cpu always works") from error
    return device


def settle_cpu() -> None:
    """Use one thread, and reuse freed memory: what training on a CPU is fastest with.

    Products this small gain nothing from more threads, and with more round differently.
    """
    import torch

    torch.set_num_threads(1)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let glibc reuse freed buffers instead of handing them back to the kernel.

    An update frees and allocates the same few hundred kilobytes dozens of times; fetching them anew
    as zeroed pages each time costs a quarter of the training time.  No number depends on it.
    """
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(mmap_threshold, 32 << 20)
        libc.mallopt(trim_threshold, 1 << 30)


def replicas_that_fit(config: RunConfig, replicas: int, device: torch.device) -> int:
    """Estimate how many replicas a device holds: as many as half of its free memory can store.

    The other half is for what an update needs in passing.

    Args:
        config: of any of the replicas, whose shapes are the same.
        replicas: how many there are; no more are returned.
        device: where they are to live.
    """
    import torch

    from bench.fleet import Fleet

    # PettingZoo's environments have numbers, and live on the host.
    if device.type != "cuda" or registry.family(config.task) == "pettingzoo":
        return replicas
    # Without numbers, so without memory.
    held = max(Fleet([config], torch.device("meta")).nbytes, 1)
    free, _ = torch.cuda.mem_get_info(device)
    size = int(max(free // 2 // held, 1))
    text = f"{held / 2**20:.0f} MiB a replica, {free / 2**20:,.0f} MiB free"
    print(f"{device}: {text}: up to {size} replicas at once", file=sys.stderr)
    return min(size, replicas)
