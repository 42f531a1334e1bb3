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

from bench.config import resolve
from bench.errors import RequestError
from bench.methods import load_methods
from bench.report import figures, leaderboard, paper, tables
from bench.report.load import Results, load

AGENTS = (1, 2, 3, 4)
REPORTS = (tables, leaderboard, figures, paper)


def write_grid(folder: Path, records: int, seeds: int = 10) -> Path:
    """Write a grid of about so many runs of full length, of many methods; return its path."""
    methods = [name for name, entry in load_methods().items() if entry.scheme and _fits(name)]
    cells = max(
        records // seeds // 16, 1
    )  # by two rewards, two samplers and four numbers of agents
    seeds = max(records // 16 // min(cells, len(methods)), 1)
    every = {name: dict(experiment) for name, experiment in synthetic.GRID["experiments"].items()}
    every["references"]["agents"] = every["figure4"]["agents"] = list(AGENTS)
    every["figure4"] |= {"methods": methods[:cells], "seeds": list(range(seeds))}
    del every["sensitivity"]
    return synthetic.write_grid(folder, defaults={"episodes": 30_000}, experiments=every)


def _fits(method: str) -> bool:
    """Whether a method can be run in every cell of the grid."""
    try:
        for agents, sampler in itertools.product(AGENTS, ("uniform", "prioritized")):
            resolve({"method": method, "agents": agents, "sampler": sampler})
    except RequestError:
        return False
    return True


def write(folder: Path, records: int) -> Path:
    """Write such a grid and a sound record for each of its runs; return the grid's path."""
    grid = write_grid(folder, records)
    synthetic.write_records(grid, folder)
    return grid


def timed(work: Callable[[], object]) -> float:
    """Return the CPU seconds of some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main(count: int) -> None:
    """Print what it takes, step by step."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grid = write(folder, count)
        found: list[Results] = []
        work: dict[str, Callable[[], object]] = {
            "load": lambda: found.append(load(grid, folder)),
            **{m.__name__: lambda m=m: m.build(found[0], folder / "small") for m in REPORTS},
        }
        total = 0.0
        for step, each in work.items():
            total += (seconds := timed(each))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            print(
                f"{step:26} {seconds:7.1f} CPU s, in all {total:7.1f}, at most {peak} MiB",
                flush=True,
            )
    print(f"{len(found[0].outcomes)} records")


if __name__ == "__main__":
    main(int(sys.argv[1]))
