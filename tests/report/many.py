"""Many records: what reading and reporting them takes.  `python tests/report/many.py 5000`."""

from __future__ import annotations

import itertools
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import synthetic

from bench.methods import load_methods
from bench.report import figures, leaderboard, paper, tables
from bench.report.load import Results, load

REPORTS = (tables, leaderboard, figures, paper)


def write(folder: Path, records: int, seeds: int = 10) -> Path:
    """Write about so many records, each of full length, of many methods; return the grid's path."""
    methods = [
        name
        for name, entry in load_methods().items()
        if entry.scheme and {"uniform", "prioritized"} <= set(entry.samplers)
    ]
    cells = max(
        records // seeds // 16, 1
    )  # by two rewards, two samplers and four numbers of agents
    seeds = max(records // 16 // min(cells, len(methods)), 1)
    every = {name: dict(experiment) for name, experiment in synthetic.GRID["experiments"].items()}
    every["references"]["agents"] = every["figure4"]["agents"] = [1, 2, 3, 4]
    every["figure4"] |= {"methods": methods[:cells], "seeds": list(range(seeds))}
    del every["sensitivity"]
    grid = synthetic.write_grid(folder, defaults={"episodes": 30_000}, experiments=every)
    synthetic.write_records(grid, folder)
    return grid


def timed(work: Callable[[], object]) -> float:
    """Return the CPU seconds of some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main(count: int) -> None:
    """Print what it takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grid = write(folder, count)
        found: list[Results] = []
        seconds = {"load": timed(lambda: found.append(load(grid, folder)))}
        for module in REPORTS:
            seconds[module.__name__] = timed(lambda m=module: m.build(found[0], folder / "small"))
    for step, total in zip(seconds, itertools.accumulate(seconds.values()), strict=True):
        print(f"{step:26} {seconds[step]:7.1f} CPU s, in all {total:7.1f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{len(found[0].outcomes)} records, at most {peak} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]))
