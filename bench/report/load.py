"""Read the records of a grid: what there is, and by name what there is not, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench import records
from bench.config import RunConfig
from bench.errors import WorldError
from bench.grid import Grid, Run, expand, load_grid
from bench.places import Places, by_cell
from bench.resampling import Array
from bench.staleness import changed

Kind = Literal["missing", "invalid", "stale", "diverged"]
KINDS: tuple[Kind, ...] = ("missing", "invalid", "stale", "diverged")


@dataclass(frozen=True)
class Problem:
    """An expected run that enters no statistic."""

    key: str
    """The run's key in the grid."""
    kind: Kind
    """`missing`: no file; `invalid`: truncated or not a sound record; `stale`: made by another
    configuration or behaviour version; `diverged`: a sound record of a run that met a NaN."""
    reason: str

    def __str__(self) -> str:
        return f"{self.key}: {self.kind}: {self.reason}"


def gathered(problems: Iterable[Problem]) -> dict[str, int]:
    """Say what is wrong, with those of a cell that are alike in one line, and of how many runs."""
    told = by_cell((p.key, f"{p.kind}: {p.reason}") for p in problems)
    return {f"{runs}: {what}": count for runs, what, count in told}


@dataclass(frozen=True, eq=False)
class Outcome:
    """What reports need of one complete record: a hundredth of its memory."""

    config: RunConfig
    metric: str
    """The task's primary metric; `score` and `curve` are its means over greedy episodes."""
    horizon: int
    """Steps T in an episode."""
    score: float
    """Mean of the metric over the absolute evaluation's episodes, of the `assessed` policy."""
    assessed: Literal["best", "last"]
    """Which policy that is: the best evaluated one, or in a task without chance the last, since
    there the best one's mean would be the very number that it was chosen for."""
    last: float
    """The same always of the last policy, which is also the one whose teamwork is measured."""
    any_success: float | None
    """Share of those episodes with any successful step; none if the task has no such metric."""
    covered: float | None
    """Targets covered in a step of them; likewise."""
    returns: float | None
    """Mean return of those episodes under the run's own reward; none if it was not recorded."""
    episode: NDArray[np.int64]
    """[K] training episodes done at each evaluation."""
    updates: NDArray[np.int64]
    """[K] network updates done."""
    curve: Array
    """[K] mean of the metric over each evaluation's episodes."""
    training: records.Training
    """What was seen while training; without points if nothing was trained."""
    transfer: Mapping[int, float]
    """The same as `score` in teams of other sizes, by number of agents, where that was asked."""
    cost: records.Cost
    diagnostics: records.Diagnostics | None
    """None in records made before there were any, and of controllers."""
    teamwork: records.Teamwork | None
    """None in records made before it was measured, and of tasks that have none."""
    cpu_seconds: float | None
    """CPU time of the run: a fact about the host, the only one in any report."""


@dataclass(frozen=True, eq=False)
class Results:
    """The records of one grid, as far as they are there."""

    grid: Grid
    expected: dict[str, Run]
    """Every run of the grid by key, in the order of the file."""
    outcomes: dict[str, Outcome]
    """The complete, sound and current ones."""
    problems: list[Problem]
    """The others."""

    @property
    def complete(self) -> bool:
        """Whether every expected run entered."""
        return not self.problems

    def notice(self) -> str:
        """Say in one line what is left out; empty if nothing is."""
        if self.complete:
            return ""
        return (
            f"Incomplete: {len(self.outcomes)} of {len(self.expected)} runs "
            f"({counts(self.problems)})"
        )


def counts(problems: Iterable[Problem]) -> str:
    """Count problems by kind: ``2 missing, 1 diverged``."""
    number = Counter(problem.kind for problem in problems)
    return ", ".join(f"{number[kind]} {kind}" for kind in KINDS if number[kind])


def load(grid_path: Path, root: Path = Path("results")) -> Results:
    """Read every record that the grid expects.

    Args:
        grid_path: the grid file.
        root: the directory that holds ``<grid>/runs/``.

    Raises:
        RequestError: if the grid file is wrong.
        WorldError: if not a single run can be reported.
    """
    grid = load_grid(grid_path)
    expected, places = expand(grid), Places(root / grid.name)
    outcomes: dict[str, Outcome] = {}
    problems: list[Problem] = []
    for key, run in expected.items():
        found = _read(places.record(key), key, run)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            outcomes[key] = found
    if not outcomes:
        raise WorldError(
            f"no usable record of grid {grid.name} in {places.folder} ({counts(problems)}); "
            f"the first is {problems[0]}"
        )
    return Results(grid, expected, outcomes, problems)


def _read(path: Path, key: str, run: Run) -> Outcome | Problem:
    if not path.exists():
        return Problem(key, "missing", "no record")
    try:
        record = records.read(path)
    except WorldError as error:
        # Reports hold no path of this machine.
        return Problem(key, "invalid", str(error).replace(str(path), path.name))
    if reason := changed(record, run):
        return Problem(key, "stale", reason)
    if record.status == "diverged" or record.scored is None or record.final is None:
        return Problem(key, "diverged", record.reason or "no reason recorded")
    return _outcome(record, record.scored, record.final)


def _outcome(
    record: records.Record, chosen: records.Assessment, last: records.Assessment
) -> Outcome:

    def mean(metric: str) -> float | None:
        return float(np.mean(chosen.raw[metric])) if metric in chosen.raw else None

    cpu = record.provenance.get("cpu_seconds")
    return Outcome(
        config=record.config,
        metric=record.score,
        horizon=record.horizon,
        score=float(np.mean(chosen.raw[record.score])),
        assessed="last" if chosen is last else "best",
        last=float(np.mean(last.raw[record.score])),
        any_success=mean("any_success"),
        covered=mean("covered"),
        returns=mean("return"),
        episode=np.array(record.evaluation.episode),
        updates=np.array(record.evaluation.updates),
        curve=np.array(record.evaluation.mean[record.score]),
        training=record.training,
        transfer={
            agents: float(np.mean(assessment.raw[record.score]))
            for agents, assessment in sorted((record.transfer or {}).items())
        },
        cost=record.cost,
        diagnostics=record.diagnostics,
        teamwork=record.teamwork,
        cpu_seconds=float(cpu) if isinstance(cpu, int | float) and 0 <= cpu < 1e15 else None,
    )
