"""What the records say about the source paper's claims, by rules that were set beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.report.aggregate import Row

LEARNED = 0.5
"""A curve has learned if its interval lies at or above this share of the oracle's score."""
FLOOR = 0.05
"""A curve has learned nothing if its interval lies below this share of the oracle's score."""

Verdict = Literal["supported", "refuted", "inconclusive"]
Outcome = Literal["learned", "partial", "nothing", "open", "few seeds", "no runs", "no oracle"]


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve of Figure 4 at one number of agents, judged by its final score."""

    letter: str
    row: Row
    meets: bool | None
    """Whether the IQM itself is at least LEARNED of the oracle; none without either."""
    above_random: bool | None
    """Whether the whole interval lies above the random reference; none without either."""
    outcome: Outcome
    """By the interval: `learned`; `nothing`; `partial`, above random and below `learned`; else
    `open`.  `few seeds` without an interval."""


def judge(letter: str, row: Row) -> Curve:
    """Judge a curve by the rules of this module."""
    score, oracle, random = row.score, row.reference.oracle, row.reference.random
    meets = None if score is None or oracle is None else score.point >= LEARNED * oracle
    above = None
    if score is not None and score.lo is not None and random is not None:
        above = score.lo > random
    return Curve(letter, row, meets, above, _outcome(row, above))


def _outcome(row: Row, above_random: bool | None) -> Outcome:
    score, oracle = row.score, row.reference.oracle
    if score is None:
        return "no runs"
    if oracle is None:
        return "no oracle"
    if score.lo is None or score.hi is None:
        return "few seeds"
    if score.lo >= LEARNED * oracle:
        return "learned"
    if score.hi < FLOOR * oracle:
        return "nothing"
    return "partial" if above_random and score.hi < LEARNED * oracle else "open"


def claims(curves: dict[int, list[Curve]], table: list[Row]) -> list[dict[str, str]]:
    """Give each claim that the grid can speak to its verdict and the ground for it, in words."""
    outcomes = {N: {curve.letter: curve.outcome for curve in of} for N, of in curves.items()}
    found = []
    for N, of in outcomes.items():
        if "B" in of:
            claim = f"Group goal with prioritized replay (B) learns at N = {N}"
            found.append(_claim(claim, _learns(of["B"]), f"B: {of['B']}"))
    for N, of in outcomes.items():
        if "A" in of:
            claim = f"Group goal with uniform replay (A) learns nothing at N = {N}"
            found.append(_claim(claim, _learns_nothing(of["A"]), f"A: {of['A']}"))
    if {"C", "D"} <= outcomes.get(4, {}).keys():
        verdict = _fails([outcomes[4]["C"], outcomes[4]["D"]])
        ground = f"C: {outcomes[4]['C']}, D: {outcomes[4]['D']}"
        found.append(_claim("Summed individual rewards (C, D) fail at N = 4", verdict, ground))
    return found + _sharing(table)


def _claim(claim: str, verdict: Verdict, ground: str) -> dict[str, str]:
    return {"claim": claim, "verdict": verdict, "ground": ground}


def _learns(outcome: Outcome) -> Verdict:
    if outcome == "learned":
        return "supported"
    return "refuted" if outcome in ("partial", "nothing") else "inconclusive"


def _learns_nothing(outcome: Outcome) -> Verdict:
    if outcome == "nothing":
        return "supported"
    return "refuted" if outcome in ("learned", "partial") else "inconclusive"


def _fails(outcomes: list[Outcome]) -> Verdict:
    if "learned" in outcomes:
        return "refuted"
    failed = all(outcome in ("partial", "nothing") for outcome in outcomes)
    return "supported" if failed else "inconclusive"


def _sharing(table: list[Row]) -> list[dict[str, str]]:
    """Parameter sharing against vanilla MADDPG: a matter of counting."""
    counted = {
        (row.cell.config.method, row.cell.config.agents): row.cost.trained_parameters
        for row in table
        if row.cost is not None
    }
    pairs = {
        N: (shared, counted["maddpg", N])
        for (method, N), shared in counted.items()
        if method == "ps-maddpg" and ("maddpg", N) in counted
    }
    if not pairs:
        return []
    fewer = all(shared < vanilla for shared, vanilla in pairs.values())
    ground = "; ".join(f"N = {N}: {a:,} against {b:,}" for N, (a, b) in sorted(pairs.items()))
    verdict: Verdict = "supported" if fewer else "refuted"
    return [_claim("Parameter sharing trains fewer parameters than MADDPG", verdict, ground)]
