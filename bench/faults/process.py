"""What happens inside a process that is to be struck."""

from __future__ import annotations

import math
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

Arm = Callable[[], object]
"""Prepares a fault in the process, before the command runs."""


class Calls:
    """Counts the calls that sync or place a file, and may end the process at one of them."""

    NAMES = ("fsync", "replace", "link")

    def __init__(self, strike: int = -1, at: Callable[..., NoReturn] | None = None) -> None:
        self.count = self.largest = 0
        self._strike, self._at = strike, at
        for name in self.NAMES:
            setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.count += 1
            if name != "fsync":
                self.largest = max(self.largest, os.path.getsize(arguments[0]))
            if self._at is not None and self.count - 1 == self._strike:
                self._at(name, real, arguments)
            return real(*arguments)

        return call


def train(command: list[str], log: Path, arm: Arm | None) -> None:
    """Run a command of the command line as a process of its own does, and exit as it does.

    Without a fault, a file beside the log counts the calls that write.
    """
    from bench import checkpoint, cli

    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(handle, stream)
    checkpoint.SHARE = math.inf  # after every group of episodes, whatever it costs
    if arm is None:
        calls = Calls()
        status = cli.main(command)
        log.with_suffix(".calls").write_text(f"{calls.count} {calls.largest}")
    else:
        arm()
        status = cli.main(command)
    raise SystemExit(status)


def when(seconds: float, action: Callable[[], object]) -> None:
    """Do something after so many seconds, between two instructions of Python."""
    signal.signal(signal.SIGALRM, lambda *_: action())
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))


def raise_memory_error() -> NoReturn:
    """Fail as an allocation does."""
    raise MemoryError("injected")


def fill_disk(limit: int) -> None:
    """Let no file grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def die_at_call(number: int, after: bool, share: float | None, zeros: bool) -> None:
    """End the process at one of the calls that sync or place a file.

    Args:
        number: of the call.
        after: let it happen first.
        share: how much of the file that is being placed stays; None for all.
        zeros: put zeros in place of the rest.
    """

    def strike(name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> NoReturn:
        if after:
            real(*arguments)
        if share is not None and name != "fsync":
            _cut(Path(arguments[1 if after else 0]), share, zeros)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError  # not reached

    Calls(number, strike)


def _cut(path: Path, share: float, zeros: bool) -> None:
    size = path.stat().st_size
    os.truncate(path, int(share * size))
    if zeros:
        os.truncate(path, size)
