"""What training made of the agents, cell by cell, where the records say it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import numpy as np

from bench import stats
from bench.records import Diagnostics
from bench.report.aggregate import Row, counted, identity
from bench.report.formats import Table, Value, interval


def diversity(table: list[Row]) -> Table:
    """Report the system neural diversity of every cell that has it: its IQM over runs.

    `gradient` is the median norm of the loss's gradient by what is trained of the acting network:
    of a hypernetwork, and not by what it generates.  A cell without any run has an entry too, which
    says so.
    """
    entries: Table = []
    for row in table:
        found = _diagnostics(row)
        if _lost(row, table):
            entries.append({**identity(row), **_counted(row)})
        elif found:
            estimate = stats.estimate([np.array([each.diversity for each in found])])
            entries.append(
                {
                    **identity(row),
                    **_counted(row),
                    "distance": found[0].distance,
                    "gradient": _median(d.gradient for d in found if d.gradient is not None),
                    **interval("diversity", estimate),
                }
            )
    return entries


def layers(table: list[Row]) -> Table:
    """Report every layer of the acting networks: medians over runs and sets of weights, and ends.

    `sets` is the number of sets of weights in a layer: 1 if all agents share it.  `gradient` and
    `dead` (units) are medians too, `alike` (rows, dead blocks among them) is a mean over runs; they
    are missing where the records were made before they were measured.  A cell without any run has
    an entry too, which says so.
    """
    entries: Table = []
    for row in table:
        found = _diagnostics(row)
        if _lost(row, table):
            entries.append({**identity(row), **_counted(row)})
        for number in range(min((len(each.layers) for each in found), default=0)):
            same = [each.layers[number] for each in found]
            norms = [norm for layer in same for norm in layer.norm]
            largest = [value for layer in same for value in layer.largest]
            entries.append(
                {
                    **identity(row),
                    **_counted(row),
                    "layer": number + 1,
                    "shape": "x".join(map(str, same[0].shape)),
                    "sets": len(same[0].norm),
                    "norm": statistics.median(norms),
                    "largest": statistics.median(largest),
                    "largest_min": min(largest),
                    "largest_max": max(largest),
                    "gradient": _median(g for layer in same for g in layer.gradient),
                    "dead": _median(share for layer in same for share in layer.dead),
                    "alike": _mean(layer.alike for layer in same if layer.alike is not None),
                }
            )
    return entries


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.fmean(found) if found else None


def _diagnostics(row: Row) -> list[Diagnostics]:
    return [o.diagnostics for o in row.cell.outcomes if o.diagnostics is not None]


def _lost(row: Row, table: list[Row]) -> bool:
    """Whether no run of a cell entered, in a table that others are in."""
    gone = not row.cell.outcomes and not row.cell.reference
    return gone and any(_diagnostics(other) for other in table)


def _counted(row: Row) -> dict[str, Value]:
    return {**counted([row.cell]), "runs": len(_diagnostics(row))}
