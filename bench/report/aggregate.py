"""From runs to what tables and figures show: cells, and their scores.

A **cell** is the runs that differ in nothing but the seed.  A **setting** is what methods can be
compared on: one world (task, options, number of agents), reward, sampler and number of episodes.
"""

from __future__ import annotations

import functools
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench import registry, stats
from bench.config import RunConfig
from bench.methods import load_methods
from bench.records import Cost
from bench.report.load import Outcome, Problem, Results, counts
from bench.resampling import Array
from bench.stats import Estimate
from bench.validation import validate

REFERENCES = "references"
"""Name of the experiment whose methods `random` and `oracle` are the ends of the scale."""


@dataclass(frozen=True)
class World:
    """Task, its options with the defaults filled in, as sorted JSON, and the number of agents."""

    task: str
    options: str
    agents: int

    @property
    def task_options(self) -> dict[str, Any]:
        """The options by name."""
        return dict(json.loads(self.options))


@dataclass(frozen=True)
class Setting:
    """What methods are compared on."""

    world: World
    reward: str
    sampler: str
    episodes: int


@dataclass(frozen=True, eq=False)
class Cell:
    """The runs of one experiment that differ only in the seed."""

    experiment: str
    """Name of the experiment, with its variant after a dot."""
    config: RunConfig
    """Configuration of the first run."""
    settings: Mapping[str, Any]
    """What its experiment sets beside the grid's defaults: see :meth:`bench.grid.Grid.chosen`."""
    expected: int
    """Number of runs that the grid asks for."""
    outcomes: tuple[Outcome, ...]
    """The runs that enter statistics, in the order of their seeds in the grid."""
    problems: tuple[Problem, ...]
    """The others."""

    @functools.cached_property
    def setting(self) -> Setting:
        """The setting that the runs share."""
        c = self.config
        return Setting(world(c), c.reward, c.sampler, c.episodes)

    @property
    def reference(self) -> bool:
        """Whether this is an end of the scale, or another controller, and not a contestant."""
        if self.experiment.partition(".")[0] == REFERENCES:
            return True
        if self.outcomes:
            return not any(o.cost.trained_parameters for o in self.outcomes)
        entry = load_methods().get(self.config.method)
        return entry is not None and entry.scheme is None

    @property
    def untried(self) -> bool:
        """Whether no run has been made yet; one that failed has."""
        return not self.outcomes and self.count("missing") == len(self.problems)

    @property
    def why_empty(self) -> str:
        """Say why no run enters: `no runs` yet, or ``no usable runs (2 missing, 4 diverged)``."""
        why = nothing([self])
        return why if self.untried else f"{why} ({counts(self.problems)})"

    @property
    def scores(self) -> Array:
        """Scores of the runs: [n]."""
        return np.array([outcome.score for outcome in self.outcomes])

    @property
    def curves(self) -> Array:
        """Learning curves of the runs: [n, K]."""
        return np.array([outcome.curve for outcome in self.outcomes])

    def count(self, kind: str) -> int:
        """Count the runs left out for a reason of this kind."""
        return sum(problem.kind == kind for problem in self.problems)

    def label(self) -> str:
        """Say how many of the expected runs there are: ``8/10 (1 missing, 1 diverged)``."""
        why = f" ({counts(self.problems)})" if self.problems else ""
        return f"{len(self.outcomes)}/{self.expected}{why}"


def nothing(cells: Iterable[Cell]) -> str:
    """Say what cells none of whose runs enter have: none yet, or none that can be used."""
    return "no runs" if all(cell.untried for cell in cells) else "no usable runs"


def counted(cells: Iterable[Cell]) -> dict[str, str | int]:
    """Count the runs behind a number, those asked for, and those left out by kind, for a table."""
    every = list(cells)
    return {
        "runs": sum(len(cell.outcomes) for cell in every),
        "expected": sum(cell.expected for cell in every),
        "left_out": counts(problem for cell in every for problem in cell.problems),
    }


def identity(row: Row) -> dict[str, str | int]:
    """Return the columns that name a cell, for a table."""
    c = row.cell.config
    return {
        "experiment": row.cell.experiment,
        "method": c.method,
        "reward": c.reward,
        "sampler": c.sampler,
        "agents": c.agents,
    }


@dataclass(frozen=True)
class Reference:
    """The ends of a world's scale, in the unit of the score; none where there is no record."""

    random: float | None
    oracle: float | None


@dataclass(frozen=True, eq=False)
class Row:
    """A cell and its statistics; none where no run entered."""

    cell: Cell
    reference: Reference
    score: Estimate | None
    """IQM of the runs' scores."""
    normalised: Estimate | None
    """The same with random = 0 and oracle = 1."""
    last: Estimate | None
    """IQM of what the runs' last policies score, which nobody chose by their scores."""
    mean: float | None
    std: float | None
    """Sample standard deviation over runs; none below two."""
    any_success: float | None
    """Mean share of episodes with any successful step."""
    covered: float | None
    """Mean number of targets covered in a step."""
    cost: Cost | None
    cpu_seconds: float | None
    """Median over runs."""


def world(config: RunConfig) -> World:
    """Return the world of a run."""
    options = _task_options(config.task, config.task_options)
    return World(config.task, json.dumps(options, sort_keys=True), config.agents)


def unusual(config: RunConfig) -> dict[str, Any]:
    """Return the task options of a run that differ from the task's defaults, by name."""
    usual = _task_options(config.task, {})
    return {
        name: value
        for name, value in sorted(_task_options(config.task, config.task_options).items())
        if name not in usual or usual[name] != value
    }


def _task_options(task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in a task's defaults, where they are known."""
    path = registry.task_entry(task).options
    if path is None:
        return dict(options)
    return validate(registry.load(path), options, "task_options").model_dump()


def known_by(config: RunConfig, **changes: str | int) -> str:
    """Name a configuration, changed, whatever its seed."""
    return config.model_copy(update={"seed": 0, **changes}).digest


def by_configuration(table: Sequence[Row]) -> dict[str, Row]:
    """Find a row by :func:`known_by`: of several cells of one configuration that with most runs."""
    best: dict[str, Row] = {}
    for row in table:
        name = known_by(row.cell.config)
        if name not in best or len(row.cell.outcomes) > len(best[name].cell.outcomes):
            best[name] = row
    return best


def cells(results: Results) -> list[Cell]:
    """Group the expected runs of a grid into cells, in the order of the file."""
    problems = {problem.key: problem for problem in results.problems}
    groups: dict[str, list[str]] = {}
    for key in results.expected:
        groups.setdefault(key.rpartition("/")[0], []).append(key)
    return [
        Cell(
            experiment=results.expected[keys[0]].experiment,
            config=results.expected[keys[0]].config,
            settings=results.grid.chosen(results.expected[keys[0]].experiment),
            expected=len(keys),
            outcomes=tuple(results.outcomes[key] for key in keys if key in results.outcomes),
            problems=tuple(problems[key] for key in keys if key in problems),
        )
        for keys in groups.values()
    ]


@functools.lru_cache(maxsize=1)
def rows(results: Results) -> list[Row]:
    """Compute the statistics of every cell of a grid, in the order of the file."""
    every = cells(results)
    ends: dict[World, dict[str, float]] = {}
    for cell in every:
        if cell.reference and cell.outcomes:
            known = ends.setdefault(cell.setting.world, {})
            known.setdefault(cell.config.method, float(cell.scores.mean()))
    return [_row(cell, ends.get(cell.setting.world, {})) for cell in every]


def _row(cell: Cell, ends: dict[str, float]) -> Row:
    reference = Reference(ends.get("random"), ends.get("oracle"))
    if not cell.outcomes:
        return Row(cell, reference, None, None, None, None, None, None, None, None, None)
    score = stats.estimate([cell.scores])
    success = [o.any_success for o in cell.outcomes if o.any_success is not None]
    covered = [o.covered for o in cell.outcomes if o.covered is not None]
    seconds = [o.cpu_seconds for o in cell.outcomes if o.cpu_seconds is not None]
    return Row(
        cell=cell,
        reference=reference,
        score=score,
        normalised=_normalised(score, reference),
        last=stats.estimate([np.array([o.last for o in cell.outcomes])]),
        mean=float(cell.scores.mean()),
        std=float(cell.scores.std(ddof=1)) if len(cell.scores) > 1 else None,
        any_success=statistics.fmean(success) if success else None,
        covered=statistics.fmean(covered) if covered else None,
        cost=cell.outcomes[0].cost,
        cpu_seconds=statistics.median(seconds) if seconds else None,
    )


def _normalised(score: Estimate, reference: Reference) -> Estimate | None:
    if not scale_known(reference):
        return None
    assert reference.random is not None
    assert reference.oracle is not None
    return score.scaled(reference.random, reference.oracle)


def scale_known(reference: Reference) -> bool:
    """Whether both ends are known and apart, the oracle above."""
    random, oracle = reference.random, reference.oracle
    return random is not None and oracle is not None and oracle > random


def normalised_scores(row: Row) -> Array:
    """Return the runs' scores with random = 0 and oracle = 1, both of which must be known: [n]."""
    random, oracle = row.reference.random, row.reference.oracle
    assert random is not None
    assert oracle is not None
    return (row.cell.scores - random) / (oracle - random)
