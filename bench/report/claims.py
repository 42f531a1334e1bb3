"""The claims ledger: what the records say about the source paper's claims.

What would support or refute a claim is written in ``config/claims.yaml``, which names the rules of
this module; verdicts are computed from it and the records, and typed nowhere.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from bench import stats
from bench.grid import Label, Run
from bench.report import claims_file
from bench.report.aggregate import Cell, Row, by_configuration, counted, known_by
from bench.report.curves import letter
from bench.report.formats import Table, Value
from bench.resampling import Array
from bench.stats import Estimate
from bench.validation import Fraction, Name, Positive, Strict, read_yaml, validate

Verdict = Literal["supported", "refuted", "open"]


class Thresholds(Strict):
    """Where the rules draw their lines."""

    learned: Fraction
    """Share of the oracle's score that is learning."""
    nothing: Fraction
    """Share of the oracle's score below which nothing was learned."""
    lazy: Fraction
    """Share of episodes in which a lazy agent can be replaced by one that does nothing."""
    replans: Fraction
    """Switches of target an agent and episode, and share of episodes with a redirected agent."""


class Claim(Strict):
    """One claim and its test."""

    claim: str
    """What the source says, as a sentence."""
    test: Literal["learns", "fails", "nothing", "lazy", "replans", "fewer", "sooner"]
    """A rule of this module; the head of config/claims.yaml says what each asks."""
    experiments: Annotated[list[Label], Field(min_length=1)]
    """Where it is asked."""
    curves: Annotated[list[Literal["A", "B", "C", "D"]], Field(min_length=1)]
    """Of which rewards and samplers."""
    agents: Annotated[list[Positive], Field(min_length=1)]
    """Of which numbers of agents."""
    method: Name = "ps-maddpg"
    """Of which method."""
    than: Name | None = None
    """The method that it is compared with, all else being equal, by `fewer` and `sooner`."""
    quantity: Literal["trained_parameters", "flops_per_update"] | None = None
    """What `fewer` counts."""

    @model_validator(mode="after")
    def _complete(self) -> Claim:
        if (self.than is not None) != (self.test in ("fewer", "sooner")):
            raise ValueError("`than` belongs to the tests fewer and sooner, which need it")
        if (self.quantity is not None) != (self.test == "fewer"):
            raise ValueError("`quantity` belongs to the test fewer, which needs it")
        return self


class Rules(Strict):
    """config/claims.yaml."""

    thresholds: Thresholds
    amendments: list[str] = []
    """What was changed after runs had been seen, and why: a sentence each."""
    claims: dict[Label, Claim]


def load_rules() -> Rules:
    """Read the claims and their tests, a file once.

    Raises:
        RequestError: if the file is missing or wrong.
    """
    return _read(claims_file())


@functools.cache
def _read(path: Path) -> Rules:
    return validate(Rules, read_yaml(path), str(path))


@dataclass(frozen=True)
class Case:
    """What a rule judges: a row, the one it is compared with, and where the lines are."""

    claim: Claim
    row: Row
    than: Row | None
    lines: Thresholds


Finding = tuple[Verdict, str]
"""A verdict and the ground for it, in numbers and words."""


def ledger(table: list[Row]) -> Table:
    """Judge every claim wherever these rows can speak to it: one entry each, in the file's order.

    `records` is the folder of the runs that it rests on, below ``runs/``; `ground` says in numbers
    why.
    """
    rules = load_rules()
    found: Mapping[tuple[str, str, str | None, int], Row] = {
        (row.cell.experiment, row.cell.config.method, letter(row), row.cell.config.agents): row
        for row in table
    }
    known = by_configuration(table)
    entries: Table = []
    for name, claim in rules.claims.items():
        for experiment in claim.experiments:
            for curve in claim.curves:
                for agents in claim.agents:
                    row = found.get((experiment, claim.method, curve, agents))
                    if row is None:
                        continue
                    c = row.cell.config
                    than = known.get(known_by(c, method=claim.than)) if claim.than else None
                    verdict, ground = _judge(Case(claim, row, than, rules.thresholds))
                    entries.append(
                        {
                            "id": name,
                            "claim": claim.claim,
                            "experiment": experiment,
                            "curve": curve,
                            "agents": agents,
                            "verdict": verdict,
                            "ground": ground,
                            **counted([row.cell]),
                            "records": Run(experiment, c).key.rpartition("/")[0],
                        }
                    )
    return entries


def glance(entries: Table) -> Table:
    """Put the verdicts of a ledger side by side: a column `N = n` per number of agents.

    A line per claim, experiment and curve; the verdict has the count of its runs where some of
    those asked for are not there, its ground where none is, and is empty where nothing is asked.
    """
    agents = sorted({int(str(entry["agents"])) for entry in entries})
    lines: dict[tuple[Value, ...], dict[str, Value]] = {}
    for entry in entries:
        what = {name: entry[name] for name in ("claim", "experiment", "curve")}
        line = lines.setdefault(
            tuple(what.values()), {**what, **dict.fromkeys((f"N = {N}" for N in agents), "")}
        )
        verdict, runs, expected = (entry[name] for name in ("verdict", "runs", "expected"))
        some = "" if runs == expected else f" ({runs}/{expected})"
        line[f"N = {entry['agents']}"] = f"{verdict}{some}" if runs else entry["ground"]
    return list(lines.values())


def _judge(case: Case) -> Finding:
    if case.row.score is None:
        return "open", case.row.cell.why_empty
    if diverged := case.row.cell.count("diverged"):
        return "open", f"{diverged} of {case.row.cell.expected} runs diverged"
    return RULES[case.claim.test](case)


# -- the rules: each takes a case with a score -----------------------------------------------------


def _above(found: Estimate | None, line: float) -> bool | None:
    """Whether an interval lies at or above a line (True) or below it (False); None if neither."""
    if found is None or found.lo is None or found.hi is None:
        return None
    if found.lo >= line:
        return True
    return False if found.hi < line else None


def _said(name: str, found: Estimate | None, digits: int = 2) -> str:
    if found is None:
        return f"{name}: none"
    if found.lo is None or found.hi is None:
        return f"{name} {found.point:.{digits}f}, too few seeds for an interval"
    return f"{name} {found.point:.{digits}f} [{found.lo:.{digits}f}, {found.hi:.{digits}f}]"


def _when(above: bool | None, *, supports: bool) -> Verdict:
    if above is None:
        return "open"
    return "supported" if above == supports else "refuted"


def _score(case: Case, share: float) -> tuple[bool | None, str]:
    """Hold the final score against a share of the oracle's."""
    oracle = case.row.reference.oracle
    if oracle is None:
        return None, "no oracle"
    ground = f"{_said('score', case.row.score)} against {share:g} of the oracle's {oracle:.2f}"
    return _above(case.row.score, share * oracle), ground


def _learns(case: Case) -> Finding:
    above, ground = _score(case, case.lines.learned)
    return _when(above, supports=True), ground


def _fails(case: Case) -> Finding:
    above, ground = _score(case, case.lines.learned)
    return _when(above, supports=False), ground


def _nothing(case: Case) -> Finding:
    above, ground = _score(case, case.lines.nothing)
    random, score = case.row.reference.random, case.row.score
    if above is False and random is not None and score and score.side(random) == "above":
        return "open", f"{ground}, but above random actions' {random:.3g}"
    return _when(above, supports=False), ground


def _lazy(case: Case) -> Finding:
    learned, ground = _score(case, case.lines.learned)
    if learned is not False:
        return _when(learned, supports=False), ground
    teams = [o.teamwork for o in case.row.cell.outcomes if o.teamwork is not None]
    counted = [float(lazy_agents(team.replaceable, case.lines.lazy)) for team in teams]
    number = _estimate(counted)
    said = f"{ground}; {_said('lazy agents', number)} of {case.row.cell.config.agents}"
    everyone = sum(all_replaceable(team.replaceable, case.lines.lazy) for team in teams)
    said += f"; in {everyone} of {len(teams)} runs all agents are replaceable"
    enough = _above(number, 1.0)
    if enough is False and everyone:
        return "open", said
    return _when(enough, supports=True), said


def lazy_agents(replaceable: list[float], line: float) -> int:
    """Count the agents that can be replaced in a share `line` of episodes, if not all can: [N]."""
    if all_replaceable(replaceable, line):
        return 0
    return sum(share >= line for share in replaceable)


def all_replaceable(replaceable: list[float], line: float) -> bool:
    """Whether every agent can be replaced in a share `line` of episodes: [N]."""
    return min(replaceable) >= line


def _replans(case: Case) -> Finding:
    oracle = case.row.reference.oracle
    if oracle is None:
        return "open", "no oracle"
    learned = [o for o in case.row.cell.outcomes if o.last >= case.lines.learned * oracle]
    teams = [outcome.teamwork for outcome in learned if outcome.teamwork is not None]
    ground = f"{len(learned)} of {len(case.row.cell.outcomes)} runs learned"
    if len(teams) < stats.MIN_SEEDS:
        return "open", ground
    switches = _estimate([sum(team.switches) for team in teams])
    redirected = _estimate([float(np.mean(team.redirected)) for team in teams])
    for_others = _estimate([sum(team.switches) - sum(team.switches_frozen) for team in teams])
    sides = {_above(switches, case.lines.replans), _above(redirected, case.lines.replans)}
    said = f"{ground}; {_said('switches', switches)}, {_said('redirected', redirected)}"
    said += f", {_said('switches more than beside frozen team-mates', for_others)}"
    if False in sides:
        return "refuted", said
    more = for_others is not None and for_others.side() == "above"
    return ("supported" if more and None not in sides else "open"), said


def _fewer(case: Case) -> Finding:
    quantity = case.claim.quantity
    assert quantity is not None
    if case.row.cost is None or case.than is None or case.than.cost is None:
        return "open", f"no runs of {case.claim.than}"
    own, other = getattr(case.row.cost, quantity), getattr(case.than.cost, quantity)
    return _when(own < other, supports=True), f"{own:,} against {other:,}"


def _sooner(case: Case) -> Finding:
    if case.than is None or not case.than.cell.outcomes:
        return "open", f"no runs of {case.claim.than}"
    if diverged := case.than.cell.count("diverged"):
        lost = f"{diverged} of {case.than.cell.expected} runs of {case.claim.than} diverged"
        return "open", lost
    both = (case.row, case.than)
    if not any(_learns(dataclasses.replace(case, row=row))[0] == "supported" for row in both):
        return "open", "neither has learned"
    own, other = (areas(row.cell) for row in both)
    chance = stats.probability_of_improvement([own], [other])
    # Strictly: two methods that are alike tie, at exactly one half.
    above = {"above": True, "below": False}.get(chance.side(0.5) or "about")
    runs = f"({len(own)} runs against {len(other)})"
    return _when(above, supports=True), f"{_said('probability', chance)} {runs}"


def areas(cell: Cell) -> Array:
    """Mean of each run's learning curve over its evenly spaced points: [n]."""
    return cell.curves.mean(1)


def _estimate(values: list[float]) -> Estimate | None:
    return stats.estimate([np.array(values)]) if values else None


RULES: Mapping[str, Callable[[Case], Finding]] = {
    "learns": _learns,
    "fails": _fails,
    "nothing": _nothing,
    "lazy": _lazy,
    "replans": _replans,
    "fewer": _fewer,
    "sooner": _sooner,
}
