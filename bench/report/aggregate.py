"""From runs to what tables, figures and the leaderboard show: cells, scores, ranks, standings.

A **cell** is the runs that differ in nothing but the seed.  A **setting** is what methods can be
compared on: one world (task, options, number of agents), reward, sampler and number of episodes.
"""

from __future__ import annotations

import functools
import itertools
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bench import registry, stats
from bench.config import RunConfig
from bench.methods import load_methods
from bench.records import Cost
from bench.report.load import Outcome, Problem, Results, counts
from bench.stats import Array, Estimate
from bench.validation import validate

REFERENCES = "references"
"""Name of the experiment whose methods `random` and `oracle` are the ends of the scale."""


@dataclass(frozen=True)
class World:
    """Task, its options with the defaults filled in, as sorted JSON, and the number of agents."""

    task: str
    options: str
    agents: int


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
    mean: float | None
    std: float | None
    """Sample standard deviation over runs; none below two."""
    any_success: float | None
    """Mean share of episodes with any successful step."""
    cost: Cost | None
    cpu_seconds: float | None
    """Median over runs."""


@dataclass(frozen=True, eq=False)
class Standing:
    """A method over all common settings."""

    method: str
    score: Estimate
    """IQM of normalised scores over runs and settings."""
    rank: tuple[int, int]
    """First and last rank that it may hold among the methods."""
    strata: Sequence[Array]
    """Normalised scores by setting, each [n]."""
    runs: int
    expected: int
    left_out: str
    """The runs of common settings that did not enter, counted by kind."""


@dataclass(frozen=True, eq=False)
class Overall:
    """The methods compared over the settings that all of them were run on."""

    settings: int
    """Settings compared: every method has a run there, and the scale's ends are known."""
    common: int
    """Settings that the grid asks of every method."""
    standings: list[Standing]
    """Best point estimate first."""
    improvements: list[tuple[str, str, Estimate]]
    """(a, b, probability that a beats b) for every pair, better standing first."""


Board = list[tuple[Row, tuple[int, int] | None]]
"""The contestants of one setting with their rank ranges, best point estimate first."""


def world(config: RunConfig) -> World:
    """Return the world of a run."""
    family = registry.family(config.task)
    options = config.task_options
    if family in registry.TASK_OPTIONS:
        model = registry.load(registry.TASK_OPTIONS[family])
        options = validate(model, options, "task_options").model_dump()
    return World(config.task, json.dumps(options, sort_keys=True), config.agents)


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
        return Row(cell, reference, None, None, None, None, None, None, None)
    score = stats.estimate([cell.scores])
    success = [o.any_success for o in cell.outcomes if o.any_success is not None]
    seconds = [o.cpu_seconds for o in cell.outcomes if o.cpu_seconds is not None]
    return Row(
        cell=cell,
        reference=reference,
        score=score,
        normalised=_normalised(score, reference),
        mean=float(cell.scores.mean()),
        std=float(cell.scores.std(ddof=1)) if len(cell.scores) > 1 else None,
        any_success=statistics.fmean(success) if success else None,
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


def boards(table: list[Row]) -> dict[Setting, Board]:
    """Rank the contestants of each setting: rows with rank ranges, best point estimate first.

    A row without any run comes last and has no rank.
    """
    by_setting: dict[Setting, list[Row]] = {}
    for row in table:
        if not row.cell.reference:
            by_setting.setdefault(row.cell.setting, []).append(row)
    ranked = {}
    for setting, contestants in by_setting.items():
        scored = [row for row in contestants if row.score is not None]
        ranks = stats.rank_ranges([[row.cell.scores] for row in scored])
        order = sorted(zip(scored, ranks, strict=True), key=lambda pair: _best_first(pair[0].score))
        rest = [(row, None) for row in contestants if row.score is None]
        ranked[setting] = [*order, *rest]
    return ranked


def _best_first(score: Estimate | None) -> float:
    return 0.0 if score is None else -score.point


@functools.lru_cache(maxsize=1)
def overall(results: Results) -> Overall:
    """Compare the methods over the settings that the grid asks of all of them.

    Variants of experiments are left out: they ask what a change does, not which method is better.
    Of a method's cells in a setting the tuned one counts, else the first.
    """
    tuned = {name for name, experiment in results.grid.experiments.items() if experiment.tuned}
    contestants = [
        row for row in rows(results) if not row.cell.reference and "." not in row.cell.experiment
    ]
    contestants.sort(key=lambda row: row.cell.experiment not in tuned)
    table: dict[Setting, dict[str, Row]] = {}
    methods: dict[str, None] = {}
    for row in contestants:
        table.setdefault(row.cell.setting, {}).setdefault(row.cell.config.method, row)
        methods[row.cell.config.method] = None
    common = [entries for entries in table.values() if entries.keys() == methods.keys()]
    usable = [
        entries for entries in common if all(row.normalised is not None for row in entries.values())
    ]
    if not usable:
        return Overall(0, len(common), [], [])
    strata = {
        method: [normalised_scores(entries[method]) for entries in usable] for method in methods
    }
    ranks = stats.rank_ranges(list(strata.values()))
    standings = [
        Standing(
            method=method,
            score=stats.estimate(strata[method]),
            rank=rank,
            strata=strata[method],
            runs=sum(map(len, strata[method])),
            expected=sum(entries[method].cell.expected for entries in common),
            left_out=str(counted(entries[method].cell for entries in common)["left_out"]),
        )
        for method, rank in zip(methods, ranks, strict=True)
    ]
    standings.sort(key=lambda standing: -standing.score.point)
    improvements = [
        (a.method, b.method, stats.probability_of_improvement(a.strata, b.strata))
        for a, b in itertools.combinations(standings, 2)
    ]
    return Overall(len(usable), len(common), standings, improvements)


def normalised_scores(row: Row) -> Array:
    """Return the runs' scores with random = 0 and oracle = 1, both of which must be known: [n]."""
    random, oracle = row.reference.random, row.reference.oracle
    assert random is not None
    assert oracle is not None
    return (row.cell.scores - random) / (oracle - random)
