"""Methods compared: by setting, and over all settings that they have in common."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench import stats
from bench.report.aggregate import Row, Setting, normalised_scores, rows
from bench.report.load import Results, counts
from bench.resampling import Array
from bench.stats import Estimate


@dataclass(frozen=True, eq=False)
class Standing:
    """A method over all common settings."""

    method: str
    score: Estimate | None
    """IQM of normalised scores over runs and settings.  None for a method with a diverged run in a
    common setting: what is left of it is a choice of the better ones."""
    rank: tuple[int, int] | None
    """First and last rank that it may hold among the methods with a score."""
    strata: Sequence[Array]
    """Normalised scores by setting, each [n]; none without a score."""
    runs: int
    """Runs that entered: of the settings compared, with the seeds that all methods have there."""
    expected: int
    """Runs that the grid asks for in all common settings."""
    left_out: str
    """The runs of these that did not enter, counted by kind: their own, and `unmatched`, which are
    sound, but of settings that are not compared, or of seeds that another method lacks there."""


@dataclass(frozen=True, eq=False)
class Overall:
    """The methods compared over the settings that all of them were run on."""

    compared: Sequence[Setting]
    """Those compared: all methods that have not diverged have runs of the same seeds there,
    enough for an interval if any setting has, and the scale's ends are known."""
    common: int
    """Settings that the grid asks of every method."""
    standings: list[Standing]
    """Best point estimate first; those without a score last."""
    improvements: list[tuple[str, str, Estimate]]
    """(a, b, probability that a beats b) for every pair with scores, better standing first."""


Board = list[tuple[Row, tuple[int, int] | None]]
"""The contestants of one setting with their rank ranges, best point estimate first."""


def boards(table: list[Row]) -> dict[Setting, Board]:
    """Rank the contestants of each setting: rows with rank ranges, best point estimate first.

    A row without any run comes last and has no rank; nor has one with a diverged run, since what is
    left of it is a choice of the better ones.
    """
    by_setting: dict[Setting, list[Row]] = {}
    for row in table:
        if not row.cell.reference:
            by_setting.setdefault(row.cell.setting, []).append(row)
    ranked = {}
    for setting, contestants in by_setting.items():
        sound = [row for row in contestants if row.score and not row.cell.count("diverged")]
        ranks = stats.rank_ranges([[row.cell.scores] for row in sound])
        board: Board = [*zip(sound, ranks, strict=True)]
        board += [(row, None) for row in contestants if row not in sound]
        ranked[setting] = sorted(board, key=_best_first)
    return ranked


def _best_first(entry: tuple[Row, tuple[int, int] | None]) -> tuple[bool, float]:
    row, rank = entry
    return rank is None, -row.score.point if row.score else np.inf


@functools.lru_cache(maxsize=1)
def overall(results: Results) -> Overall:
    """Compare the methods over the settings that the grid asks of all of them.

    Variants of experiments are left out: they ask what a change does, not which method is better.
    Of a method's cells in a setting the tuned one counts, else the first.  Of a setting's runs
    those enter whose seed every method has there, so that settings weigh the same for every method.
    A method that has diverged has no standing; the settings in which it did count for the others.
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
    sound = [
        name
        for name in methods
        if not any(entries[name].cell.count("diverged") for entries in common)
    ]
    usable = [entries for entries in common if _comparable(entries, sound)]
    # Settings with fewer common seeds than an interval needs would take it from all the others.
    sure = [e for e in usable if len(_common_seeds(e, sound)) >= stats.MIN_SEEDS]
    usable = sure or usable
    if not usable:
        return Overall([], len(common), [], [])
    strata = {name: [_shared(entries, name, sound) for entries in usable] for name in sound}
    ranks = dict(zip(sound, stats.rank_ranges(list(strata.values())), strict=True))
    standings = [
        _standing(
            name, ranks.get(name), strata.get(name, []), [entries[name] for entries in common]
        )
        for name in methods
    ]
    standings.sort(key=lambda s: -s.score.point if s.score else np.inf)
    improvements = [
        (a.method, b.method, stats.probability_of_improvement(a.strata, b.strata))
        for a, b in itertools.combinations(standings[: len(sound)], 2)
    ]
    compared = [next(iter(entries.values())).cell.setting for entries in usable]
    return Overall(compared, len(common), standings, improvements)


def _standing(
    method: str, rank: tuple[int, int] | None, strata: list[Array], table: list[Row]
) -> Standing:
    """Put together what is known of a method, whose rows in all common settings `table` lists."""
    cells = [row.cell for row in table]
    runs, there = sum(map(len, strata)), sum(len(cell.outcomes) for cell in cells)
    problems = counts(problem for cell in cells for problem in cell.problems)
    unmatched = f"{there - runs} unmatched" if strata and there > runs else ""
    return Standing(
        method=method,
        score=stats.estimate(strata) if strata else None,
        rank=rank,
        strata=strata,
        runs=runs,
        expected=sum(cell.expected for cell in cells),
        left_out=", ".join(filter(None, (problems, unmatched))),
    )


def _comparable(entries: dict[str, Row], methods: Sequence[str]) -> bool:
    """Whether there are scores of all these methods in a setting, of a seed in common."""
    scored = all(entries[name].normalised for name in methods)
    return scored and bool(_common_seeds(entries, methods))


def _common_seeds(entries: dict[str, Row], methods: Sequence[str]) -> set[int]:
    seeds = [{o.config.seed for o in entries[name].cell.outcomes} for name in methods]
    return set.intersection(*seeds) if seeds else set()


def _shared(entries: dict[str, Row], method: str, methods: Sequence[str]) -> Array:
    """Return a method's normalised scores of the seeds that all of these have: [n]."""
    common, row = _common_seeds(entries, methods), entries[method]
    seeds = [outcome.config.seed for outcome in row.cell.outcomes]
    return normalised_scores(row)[[seed in common for seed in seeds]]
