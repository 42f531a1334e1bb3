"""Where and with what a run was made: the part of a record that may differ between equal runs."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bench.config import RunConfig, outside_digest

PACKAGES = ("torch", "numpy", "scipy", "safetensors", "pettingzoo", "mpe2")
NOT_TRAINING = {
    *("report", "speed", "faults", "costs", "conformance", "commands"),
    *("cli.py", "arguments.py", "demand.py", "doctor.py", "verify.py"),
    *("stats.py", "resampling.py", "watch.py", "scene.py"),
}
"""Parts of bench/ that training does not import."""


THEN = " then "
"""Between the hosts of a run that has moved."""
COMPILED = ", compiled"
"""After the name of a device whose updates were compiled."""
RSS_PER_MB = 1 << 20 if sys.platform == "darwin" else 1 << 10
"""getrusage counts bytes on macOS and kilobytes on Linux."""


class Stopwatch:
    """Wall and CPU seconds of a run, those before an interruption included."""

    def __init__(self, before: Mapping[str, float] | None = None) -> None:
        self._before = dict(before or {"wall_seconds": 0.0, "cpu_seconds": 0.0})
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def read(self) -> dict[str, float]:
        """Return the seconds so far."""
        return {
            "wall_seconds": self._before["wall_seconds"] + time.monotonic() - self._wall,
            "cpu_seconds": self._before["cpu_seconds"] + time.process_time() - self._cpu,
        }


@functools.cache
def code_digest() -> str:
    """Hash the sources that training uses: 16 hex digits of a SHA-256."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for package in ("bench", "baselines"):
        for path in sorted((root / package).rglob("*.py")):
            if not NOT_TRAINING & set(path.relative_to(root / package).parts):
                digest.update(path.relative_to(root).as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def commit(root: Path) -> tuple[str | None, bool | None]:
    """Return a checkout's commit and whether anything but its results has uncommitted changes.

    None outside of a checkout.  A run that replaces a committed record does not taint the next.
    """

    def git(*words: str) -> str:
        # Without locks: a status that is killed would leave one in the checkout.
        command = ["git", "--no-optional-locks", "-C", str(root), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changes = git("status", "--porcelain", "-uno", "--", ".", ":(exclude)results")
        return git("rev-parse", "HEAD"), bool(changes)
    except (OSError, subprocess.CalledProcessError):
        return None, None


def origin(configs: Sequence[RunConfig]) -> dict[str, Any]:
    """Name the code that runs are made by: to be asked before, as it may change meanwhile."""
    made_at, dirty = commit(Path(__file__).resolve().parents[1])
    return {
        "commit": made_at,
        "dirty": dirty,
        "code_digest": code_digest(),
        "outside_digest": outside_digest(configs),
    }


@functools.cache
def _cpuinfo(field: str) -> str:
    """Return what Linux says of the first core, the processor's name where it says nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(field))
    return next(found, platform.processor() or platform.machine())


def cpu_model() -> str:
    """Name the model of the CPU."""
    return _cpuinfo("model name")


def cpu_is_intel() -> bool:
    """Whether MKL takes the CPU for one of its maker's, and uses its widest instructions."""
    return "GenuineIntel" in _cpuinfo("vendor_id")


@functools.cache
def cpu() -> str:
    """Name the CPU's model and the instructions that torch uses of it: numbers depend on both."""
    return f"{cpu_model()}, {torch.backends.cpu.get_cpu_capability()}"


def host(device: torch.device, compiled: bool = False) -> dict[str, str]:
    """Name what the numbers of a run depend on, here: the CPU, the device, and a compiler."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    how = COMPILED if compiled else ""
    return {"cpu": cpu(), "device": f"{device.type} {name}".strip() + how}


def provenance(
    device: torch.device,
    replicas: int,
    watch: Stopwatch,
    made_by: Mapping[str, Any],
    hosts: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """Return host facts: `made_by`, versions, device, seconds per replica, and peaks of memory.

    The peaks are the process's, of all replicas and of what it trained before.

    A run that was interrupted may have been on several `hosts`; each is named once, in turn.
    """
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return {
        **made_by,
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{what: THEN.join(dict.fromkeys(each[what] for each in hosts)) for what in hosts[0]},
        "threads": torch.get_num_threads(),
        "replicas": replicas,
        **{name: round(value / replicas, 2) for name, value in watch.read().items()},
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // RSS_PER_MB,
        "peak_device_memory_mb": peak // 2**20,
    }
