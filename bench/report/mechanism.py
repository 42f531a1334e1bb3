"""The mechanism: when a run first succeeds, when it has learned, and what replay does between.

The source's argument for prioritized replay is that rewarded transitions, rare in the buffer, are
less rare in the batches.  Times are as fine as the records: a training success is known to lie in
an interval between two evaluations, and is dated by the interval's end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench import stats
from bench.report.aggregate import Row, Setting, counted, identity
from bench.report.claims import load_rules
from bench.report.curves import METHOD, panels
from bench.report.formats import Table, Value, interval
from bench.report.load import Outcome
from bench.resampling import Array, iqm

SUCCESS, BUFFER, BATCH = "any_success", "rewarded_share_buffer", "rewarded_share_batch"
"""What is read of a record's training."""


@dataclass(frozen=True, eq=False)
class Courses:
    """The course of n runs of a cell, over K - 1 training intervals."""

    outcomes: list[Outcome]
    """[n] the runs that record it."""
    episode: Array
    """[K-1] training episodes done at the end of each interval."""
    buffer: Array
    """[n, K-1] mean share of rewarded transitions in the buffer, over the interval."""
    batch: Array
    """[n, K-1] the same in the batches."""
    first_success: Array
    """[n] end of the first interval with a successful training episode; infinite if none is."""
    reached: Array
    """[n] first evaluation that reaches `learned` of the oracle's score, infinite if none does;
    NaN without an oracle."""

    @property
    def between(self) -> Array:
        """[n] episodes from the first success to learning; NaN where either is lacking."""
        both = np.isfinite(self.first_success) & np.isfinite(self.reached)
        taken = np.full(len(both), np.nan)
        taken[both] = self.reached[both] - self.first_success[both]
        return taken

    @property
    def enrichment(self) -> Array:
        """[n, K-1] share in the batches over share in the buffer; NaN where nothing is rewarded."""
        return np.divide(self.batch, self.buffer, where=self.buffer > 0, out=_nan(self.buffer))

    def before_learning(self, shares: Array) -> Array:
        """Average shares [n, K-1] over the intervals that end before the run has learned: [n].

        Over all if it never does, and over the first if it has by then.
        """
        until = np.where(np.isnan(self.reached), np.inf, self.reached)
        counted = self.episode < until[:, None]
        counted[:, 0] = True
        return np.asarray((shares * counted).sum(axis=1) / counted.sum(axis=1))


def _nan(like: Array) -> Array:
    return np.full(like.shape, np.nan)


def courses(row: Row) -> Courses | None:
    """Return the courses of a cell's runs; none if no record has them."""
    outcomes = [o for o in row.cell.outcomes if {SUCCESS, BUFFER, BATCH} <= o.training.mean.keys()]
    if not outcomes:
        return None

    def series(name: str) -> Array:
        return np.array([o.training.mean[name] for o in outcomes])

    episode = np.array(outcomes[0].training.episode, dtype=np.float64)
    ends = series(BUFFER)
    # The share is recorded at the end of each interval, that of the batches as a mean over it.
    buffer = ends.copy()
    buffer[:, 1:] = (ends[:, 1:] + ends[:, :-1]) / 2
    oracle = row.reference.oracle
    reached = np.full(len(outcomes), np.nan)
    if oracle is not None:
        there = np.array([o.curve for o in outcomes]) >= load_rules().thresholds.learned * oracle
        reached = _first(there, outcomes[0].episode.astype(np.float64))
    return Courses(
        outcomes=outcomes,
        episode=episode,
        buffer=buffer,
        batch=series(BATCH),
        first_success=_first(series(SUCCESS) > 0, episode),
        reached=reached,
    )


def _first(so: np.ndarray[tuple[int, int], np.dtype[np.bool_]], at: Array) -> Array:
    """Return for each of n rows [n, K] where it is first so, of places [K]; infinite if never."""
    return np.where(so.any(axis=1), at[so.argmax(axis=1)], np.inf)


def cells(table: list[Row]) -> Table:
    """Summarise the courses of every cell.

    `curve` is the letter of a row of :func:`contrasts`.  `first_success` and `reached_at` are
    medians over all runs, a run in which it never happens counting as infinite: empty if the median
    is.  `between` is the median over the `reached` runs.  Shares and `enrichment` are of the time
    before a run has learned, over the `succeeded` runs.  A cell without any run has an entry too,
    which says so.  Left out are cells that :func:`_followed` leaves out.
    """
    letters = curves(table)
    entries: dict[Row, dict[str, Value]] = {}
    table = _followed(table)
    for row in table:
        found = courses(row)
        if found is None:
            continue
        succeeded = np.isfinite(found.first_success)
        buffer, batch = (found.before_learning(s)[succeeded] for s in (found.buffer, found.batch))
        rewarded = buffer > 0
        enrichment = batch[rewarded] / buffer[rewarded]
        entries[row] = {
            **head(row, letters, len(found.outcomes)),
            "succeeded": int(succeeded.sum()),
            "reached": int(np.isfinite(found.reached).sum()),
            "first_success": _median(found.first_success),
            "reached_at": _median(found.reached),
            "between": _median(found.between[np.isfinite(found.between)]),
            "buffer_share": float(iqm(buffer)) if len(buffer) else None,
            "batch_share": float(iqm(batch)) if len(batch) else None,
            **interval("enrichment", stats.estimate([enrichment]) if len(enrichment) else None),
        }
    return with_lost(table, entries, letters)


def _followed(table: list[Row]) -> list[Row]:
    """Leave out cells whose runs cannot be followed.

    Without an oracle nothing says when a run has learned.  Under a curriculum that moves the radius
    the buffer's rewarded transitions are counted by the radius when their episodes ended, those of
    batches by the one when they were drawn.
    """
    return [
        row
        for row in table
        if row.reference.oracle is not None and row.cell.config.curriculum != "radius"
    ]


def head(row: Row, letters: dict[Row, str], runs: int) -> dict[str, Value]:
    """Return the columns that name a cell and count the runs behind its numbers."""
    named = {**identity(row), "curve": letters.get(row)}
    return {**named, **counted([row.cell]), "runs": runs}


def with_lost(
    table: list[Row], entries: dict[Row, dict[str, Value]], letters: dict[Row, str]
) -> Table:
    """Return the entries in the order of the table, and one for each cell without any run.

    That has a head and nothing else.  Without any entry there is no table.
    """
    lost = {
        row: head(row, letters, 0)
        for row in table
        if entries and not row.cell.outcomes and not row.cell.reference
    }
    every = {**entries, **lost}
    return [every[row] for row in table if row in every]


def _median(values: Array) -> float | None:
    """Return the median; none of nothing, or if it is not finite."""
    found = float(np.median(values)) if len(values) else np.inf
    return found if np.isfinite(found) else None


def runs(table: list[Row]) -> Table:
    """Report the course of every run of :func:`cells`; empty where something never happens."""
    entries: Table = []
    for row in _followed(table):
        found = courses(row)
        if found is None:
            continue
        columns = {
            "first_success": found.first_success,
            "reached_at": found.reached,
            "between": found.between,
            "buffer_share": found.before_learning(found.buffer),
            "batch_share": found.before_learning(found.batch),
        }
        for place, outcome in enumerate(found.outcomes):
            own: dict[str, Value] = {
                name: float(values[place]) if np.isfinite(values[place]) else None
                for name, values in columns.items()
            }
            entries.append({**identity(row), "seed": outcome.config.seed, **own})
    return entries


def contrasts(table: list[Row]) -> dict[tuple[str, int], dict[str, Row]]:
    """Return the curves of the source's method by experiment and number of agents, then letter.

    Only where the group goal was learned from with both samplers (A and B), and of experiments in
    the same setting only the first.
    """
    found: dict[tuple[str, int], dict[str, Row]] = {}
    seen: set[Setting] = set()
    for experiment in dict.fromkeys(row.cell.experiment for row in table):
        for agents, panel in panels(table, experiment).get(METHOD, {}).items():
            if {"A", "B"} <= panel.keys() and panel["B"].cell.setting not in seen:
                seen.add(panel["B"].cell.setting)
                found[experiment, agents] = panel
    return found


def curves(table: list[Row]) -> dict[Row, str]:
    """Return the letter of every row of :func:`contrasts`."""
    return {row: letter for panel in contrasts(table).values() for letter, row in panel.items()}
