"""The choice among the settings that methods were tried with, on seeds that no report uses."""

from __future__ import annotations

import json
import math

from bench.config import RunConfig
from bench.report.aggregate import Row, counted
from bench.report.formats import Table, Value

EXPERIMENTS = (
    *("tuning", "tuning-recipe", "tuning-large"),
    *("tuning-integrator", "tuning-priorities"),
)
"""Every method that is to be compared, the recipe beyond the source's methods, and, once that had
been fixed, the largest teams and the team with inertia, without priorities and with them."""


def chosen(table: list[Row], experiment: str = EXPERIMENTS[0]) -> dict[str, dict[str, Value]]:
    """Return what each method's tuning chose, where it is complete: the values that were tried.

    Chosen is the setting with the highest mean score, the first of equals in the order of the grid.
    A method with a run missing or failed has no choice.
    """
    return {
        method: _values(_best(tried), tried)
        for method, tried in _by_method(table, experiment).items()
        if _complete(tried)
    }


def tuning(table: list[Row]) -> Table:
    """Report every setting of every method that was tuned, and whether it is the one chosen."""
    return [
        {
            "experiment": experiment,
            "method": method,
            "agents": row.cell.config.agents,
            "setting": row.cell.experiment.partition(".")[2],
            "values": json.dumps(_values(row, tried)),
            **counted([row.cell]),
            "mean": row.mean,
            "chosen": "yes" if _complete(tried) and row is _best(tried) else "",
        }
        for experiment in EXPERIMENTS
        for method, tried in _by_method(table, experiment).items()
        for row in tried
    ]


def _by_method(table: list[Row], experiment: str) -> dict[str, list[Row]]:
    methods: dict[str, list[Row]] = {}
    for row in table:
        if row.cell.experiment.partition(".")[0] == experiment:
            methods.setdefault(row.cell.config.method, []).append(row)
    return methods


def _values(row: Row, tried: list[Row]) -> dict[str, Value]:
    """Return what of a row's configuration differs among the settings tried."""
    own, *others = (r.cell.config.model_dump(exclude={"seed"}) for r in [row, *tried])
    return {
        name: own[name]
        for name in RunConfig.model_fields
        if name in own and any(other[name] != own[name] for other in others)
    }


def _complete(tried: list[Row]) -> bool:
    return all(len(row.cell.outcomes) == row.cell.expected for row in tried)


def _best(tried: list[Row]) -> Row:
    return max(tried, key=lambda row: -math.inf if row.mean is None else row.mean)
