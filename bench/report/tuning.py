"""The choice among the settings that methods were tried with, on seeds that no report uses."""

from __future__ import annotations

import math

from bench.report.aggregate import Row, counted
from bench.report.formats import Table, Value

EXPERIMENT = "tuning"
TUNED = ("actor_lr", "critic_lr", "noise_end", "steps_per_update")
"""What is tuned; the same for every method."""


def chosen(table: list[Row]) -> dict[str, dict[str, Value]]:
    """Return what each method's tuning chose, where it is complete.

    Chosen is the setting with the highest mean score, the first of equals in the order of the grid.
    A method with a run missing or failed has no choice.
    """
    return {
        method: {name: getattr(_best(tried).cell.config, name) for name in TUNED}
        for method, tried in _by_method(table).items()
        if all(len(row.cell.outcomes) == row.cell.expected for row in tried)
    }


def tuning(table: list[Row]) -> Table:
    """Report every setting of every method that was tuned, and whether it is the one chosen."""
    found = chosen(table)
    return [
        {
            "method": method,
            "setting": row.cell.experiment.partition(".")[2],
            **{name: getattr(row.cell.config, name) for name in TUNED},
            **counted([row.cell]),
            "mean": row.mean,
            "chosen": "yes" if method in found and row is _best(tried) else "",
        }
        for method, tried in _by_method(table).items()
        for row in tried
    ]


def _by_method(table: list[Row]) -> dict[str, list[Row]]:
    methods: dict[str, list[Row]] = {}
    for row in table:
        if row.cell.experiment.partition(".")[0] == EXPERIMENT:
            methods.setdefault(row.cell.config.method, []).append(row)
    return methods


def _best(tried: list[Row]) -> Row:
    return max(tried, key=lambda row: -math.inf if row.mean is None else row.mean)
