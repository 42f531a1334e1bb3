"""How much work something takes: in calls, the same on every machine, and in CPU time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any


def calls(work: Callable[[], object]) -> int:
    """Count the calls, of Python's functions and of C's, that some work makes."""
    count = 0

    def seen(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def cpu_seconds(work: Callable[[], object]) -> float:
    """Measure the CPU time of some work; only its ratio to another's means anything."""
    start = time.process_time()
    work()
    return time.process_time() - start
