"""One side of a comparison, in a process of its own: ``python worker.py FILE WORKLOAD``.

It runs under whatever Python has what FILE imports, so it needs nothing but the standard library.
FILE defines ``run(workload, mark)``, which does the workload (a dict, given as JSON), calls `mark`
between warming up and the work that counts, and returns what it did as numbers by name.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import resource
import sys
import time
from types import ModuleType


def cpu_seconds() -> float:
    """CPU seconds of this process, its threads and its ended children since it began."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def load(path: str) -> ModuleType:
    """Import a file that need not be in any package that this Python knows."""
    spec = importlib.util.spec_from_file_location("peer", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = sys.modules["peer"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Do the work and print one line of JSON: what was done, and its CPU seconds."""
    if sys.platform == "linux":
        # Whatever thread pools the libraries start, they share one core.
        os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
    marks: list[float] = []
    with contextlib.redirect_stdout(sys.stderr):  # libraries greet
        done = load(sys.argv[1]).run(json.loads(sys.argv[2]), lambda: marks.append(cpu_seconds()))
        end = cpu_seconds()
    print(json.dumps({**done, "start_up_cpu_s": marks[0], "cpu_s": end - marks[0]}))


if __name__ == "__main__":
    del sys.path[0]  # this folder is no place to import from
    main()
