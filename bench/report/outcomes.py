"""What became of each curve of Figure 4, by criteria that were set beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench import stats
from bench.report.aggregate import Row
from bench.report.claims import Thresholds, areas, load_rules
from bench.stats import Estimate

Outcome = Literal[
    "learned", "partial", "nothing", "open", "few seeds", "no runs", "no usable runs", "no oracle"
]


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve of Figure 4 at one number of agents, judged by its final score."""

    letter: str
    row: Row
    above_random: bool | None
    """Whether the whole interval lies above the random reference; none without either."""
    outcome: Outcome
    """By the interval: `learned`; `nothing`, where it is not above random; `partial`, above random
    and below `learned`; else, or if a run diverged, `open`.  `few seeds` without an interval."""


def learned(row: Row) -> int | None:
    """Count the runs that score at least `learned` of the oracle; none without runs or oracle."""
    oracle = row.reference.oracle
    if row.score is None or oracle is None:
        return None
    return int((row.cell.scores >= load_rules().thresholds.learned * oracle).sum())


def share_learned(row: Row) -> Estimate | None:
    """Share of the runs that :func:`learned`, with its exact interval; no diverged one did."""
    count = learned(row)
    return None if count is None else stats.share(count, _ended(row))


def _ended(row: Row) -> int:
    return len(row.cell.outcomes) + row.cell.count("diverged")


def exact_p(row: Row, than: Row) -> float | None:
    """Fisher's exact p of the runs that learned in two cells being draws of one share."""
    ours, theirs = learned(row), learned(than)
    if ours is None or theirs is None:
        return None
    return stats.exact_p(ours, _ended(row), theirs, _ended(than))


def least_p(row: Row, than: Row) -> float | None:
    """Return the least that `exact_p` could be, whatever the runs of the first cell had done."""
    theirs, runs = learned(than), _ended(row)
    if theirs is None or learned(row) is None:
        return None
    return min(stats.exact_p(could, runs, theirs, _ended(than)) for could in (0, runs))


def sooner(row: Row, than: Row) -> Estimate | None:
    """Probability that a run of the one has the larger area under its learning curve.

    None without runs on both sides, and where some diverged.
    """
    if not (row.cell.outcomes and than.cell.outcomes):
        return None
    if row.cell.count("diverged") or than.cell.count("diverged"):
        return None
    return stats.probability_of_improvement([areas(row.cell)], [areas(than.cell)])


def judge(letter: str, row: Row) -> Curve:
    """Judge a curve by the thresholds of config/claims.yaml."""
    lines = load_rules().thresholds
    score, random = row.score, row.reference.random
    above = None
    if score is not None and score.lo is not None and random is not None:
        above = score.side(random) == "above"
    return Curve(letter, row, above, _outcome(row, above, lines))


def _outcome(row: Row, above_random: bool | None, lines: Thresholds) -> Outcome:
    score, oracle = row.score, row.reference.oracle
    if score is None:
        return "no runs" if row.cell.untried else "no usable runs"
    if oracle is None:
        return "no oracle"
    if score.lo is None or score.hi is None:
        return "few seeds"
    if row.cell.count("diverged"):
        return "open"
    if score.lo >= lines.learned * oracle:
        return "learned"
    if score.hi < lines.nothing * oracle and not above_random:
        return "nothing"
    return "partial" if above_random and score.hi < lines.learned * oracle else "open"
