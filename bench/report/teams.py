"""Lazy agents and re-planning, cell by cell, where the records measure teamwork.

What each quantity is says :mod:`bench.teamwork`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench import stats
from bench.records import Teamwork
from bench.report.aggregate import Row, identity
from bench.report.claims import all_replaceable, lazy_agents, load_rules
from bench.report.formats import Table, Value, interval
from bench.report.load import Outcome
from bench.report.mechanism import contrasts, curves, head, with_lost
from bench.resampling import Array, iqm


def measured(row: Row) -> list[Teamwork]:
    """Return what the records of a cell's runs say of teamwork."""
    return [o.teamwork for o in row.cell.outcomes if o.teamwork is not None]


def teamwork(table: list[Row]) -> Table:
    """Report every cell whose records measure teamwork: IQM over `runs` with interval.

    `idle`, `replaceable`, `lost` and `redirected` are averaged over the agents of a team; `lazy`
    counts agents, and `all_replaceable` the runs in which it counts none since all are, so that
    nobody does what a lazy agent leaves to others.  `switches` are an agent's in an episode, and
    `moment` is the mean step, from 1, at which they happen, over the runs that have any; `_frozen`
    where team-mates do nothing.
    `curve` is the letter of a row of :func:`bench.report.mechanism.contrasts`.  A cell without any
    run has an entry too, which says so.
    """
    line, letters = load_rules().thresholds.lazy, curves(table)
    entries: dict[Row, dict[str, Value]] = {}
    for row in table:
        teams = measured(row)
        if not teams:
            continue
        together = np.array([team.switches for team in teams])
        frozen = np.array([team.switches_frozen for team in teams])
        quantities = {
            "idle": np.array([team.idle for team in teams]).mean(axis=1),
            "lazy": np.array([float(lazy_agents(team.replaceable, line)) for team in teams]),
            "replaceable": np.array([team.replaceable for team in teams]).mean(axis=1),
            "lost": np.array([team.lost for team in teams]).mean(axis=1),
            "switches": together.sum(axis=1),
            "switches_frozen": frozen.sum(axis=1),
            "moment": _moments(together),
            "moment_frozen": _moments(frozen),
            "redirected": np.array([team.redirected for team in teams]).mean(axis=1),
        }
        entries[row] = head(row, letters, len(teams))
        entries[row]["all_replaceable"] = sum(
            all_replaceable(team.replaceable, line) for team in teams
        )
        for name, values in quantities.items():
            entries[row] |= interval(name, stats.estimate([values]) if len(values) else None)
    return with_lost(table, entries, letters)


def _moments(switches: Array) -> Array:
    """Return the mean step of the switches [n, T] of the runs that have any: [m]."""
    some = switches[switches.sum(axis=1) > 0]
    steps = np.arange(1, switches.shape[1] + 1)
    return np.asarray(some @ steps / some.sum(axis=1))


def learned_teams(row: Row) -> list[Teamwork]:
    """Return the teams, as the records measure them, of runs whose last policy has learned.

    That is, has reached `learned` of the oracle's score.
    """
    oracle = row.reference.oracle
    if oracle is None:
        return []
    line = load_rules().thresholds.learned * oracle
    return [o.teamwork for o in row.cell.outcomes if o.last >= line and o.teamwork is not None]


def switches(table: list[Row]) -> Table:
    """Report when agents of curve B switch, over the runs of :func:`learned_teams`.

    A row a step, from 1, of every cell with such runs: switches an agent, IQM over `runs`.
    """
    entries: Table = []
    for panel in contrasts(table).values():
        row = panel["B"]
        teams = learned_teams(row)
        if not teams:
            continue
        together = iqm(np.array([team.switches for team in teams]))
        frozen = iqm(np.array([team.switches_frozen for team in teams]))
        for step, (own, alone) in enumerate(zip(together, frozen, strict=True), start=1):
            entries.append(
                {
                    **identity(row),
                    "runs": len(teams),
                    "expected": row.cell.expected,
                    "step": step,
                    "switches": float(own),
                    "switches_frozen": float(alone),
                }
            )
    return entries


@dataclass(frozen=True, eq=False)
class Example:
    """The run whose example episode is shown."""

    row: Row
    outcome: Outcome
    teamwork: Teamwork


def example(table: list[Row]) -> Example | None:
    """Choose the run to show by rule; none if nothing was learned.

    Of the cells of curve B in :func:`bench.report.mechanism.contrasts` whose IQM reaches `learned`
    of the oracle's score, the one with the highest normalised IQM; of its runs the median one.  The
    record says which of the run's episodes it keeps: the one with the median number of switches.
    """
    line = load_rules().thresholds.learned
    found = {
        row: row.normalised.point
        for row in (panel["B"] for panel in contrasts(table).values())
        if row.normalised is not None and row.score is not None and measured(row)
        if row.reference.oracle is not None and row.score.point >= line * row.reference.oracle
    }
    return median_run(max(found, key=found.__getitem__)) if found else None


def median_run(row: Row) -> Example:
    """Choose the run whose last policy, which teamwork is measured of, has the median score.

    Of two the lower; some run must measure teamwork.
    """
    runs = sorted((o for o in row.cell.outcomes if o.teamwork), key=lambda o: o.last)
    chosen = runs[(len(runs) - 1) // 2]
    assert chosen.teamwork is not None
    return Example(row, chosen, chosen.teamwork)
