"""The kinds of fault: each strikes a run and says whether it did so before the run had ended."""

from __future__ import annotations

import functools
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from bench.faults.lab import Lab
from bench.faults.process import Arm, die_at_call, fill_disk, raise_memory_error, when

Kind = Callable[[Lab, random.Random], bool]


def _signalled(lab: Lab, draw: random.Random, number: signal.Signals) -> bool:
    process = lab.start()
    process.join(draw.uniform(0, lab.seconds))
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, number)
    return _struck(lab, process)


def _armed(lab: Lab, arm: Arm) -> bool:
    return _struck(lab, lab.start(arm))


def _struck(lab: Lab, process: ForkServerProcess) -> bool:
    """Wait for the end; a run that was not struck tells how long one takes on a busy machine."""
    if lab.wait(process):
        return True
    lab.seconds = time.monotonic() - lab.started
    return False


def killed(lab: Lab, draw: random.Random) -> bool:
    """SIGKILL at a random instant; the kernel's way of ending what takes too much memory, too."""
    return _signalled(lab, draw, signal.SIGKILL)


def terminated(lab: Lab, draw: random.Random) -> bool:
    """SIGTERM at a random instant, as a batch system sends it."""
    return _signalled(lab, draw, signal.SIGTERM)


def killed_while_writing(lab: Lab, draw: random.Random) -> bool:
    """SIGKILL just before or after one of the calls that sync or place a file."""
    call, after = draw.randrange(lab.calls), draw.random() < 0.5
    return _armed(lab, functools.partial(die_at_call, call, after, None, False))


def power_lost(lab: Lab, draw: random.Random) -> bool:
    """The end between write and rename or right after it, the file's last part lost or zero."""
    call, after = draw.randrange(lab.calls), draw.random() < 0.5
    zeros = draw.random() < 0.5
    return _armed(lab, functools.partial(die_at_call, call, after, draw.random(), zeros))


def out_of_memory(lab: Lab, draw: random.Random) -> bool:
    """A MemoryError at a random instant."""
    return _armed(lab, functools.partial(when, draw.uniform(0, lab.seconds), raise_memory_error))


def disk_full(lab: Lab, draw: random.Random) -> bool:
    """From a random instant on no file can grow beyond a random size."""
    fill = functools.partial(fill_disk, draw.randrange(4096, lab.largest))
    return _armed(lab, functools.partial(when, draw.uniform(0, lab.seconds), fill))


def checkpoint_damaged(lab: Lab, draw: random.Random) -> bool:
    """SIGKILL at a random instant, and then a flipped bit in the newest checkpoint, or in both."""
    if not killed(lab, draw):
        return False
    kept = lab.checkpoints()
    for path in kept if draw.random() < 0.3 else kept[:1]:
        _flip(path, draw)
    return bool(kept)


def second_writer(lab: Lab, draw: random.Random) -> bool:
    """The same command twice at once, as after a resubmission; in half the cases one is killed."""
    first = lab.start()
    first.join(draw.uniform(0, lab.seconds / 2))
    second = lab.start()
    if draw.random() < 0.5:
        first.join(draw.uniform(0, lab.seconds / 2))
        first.kill()
    both = first.is_alive()
    lab.wait(first)
    return lab.wait(second) == 0 and both


def _flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


KINDS: Mapping[str, Kind] = {
    kind.__name__.replace("_", " "): kind
    for kind in (
        killed,
        terminated,
        killed_while_writing,
        power_lost,
        out_of_memory,
        disk_full,
        checkpoint_damaged,
        second_writer,
    )
}
"""By the name that the table shows."""
