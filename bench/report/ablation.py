"""An ablation: what each change of a default method does to its score, its stability and its cost.

A grid is one if it has an experiment `default` of one method.  Every other experiment is a kind of
change, and its methods are changes of that kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel

from bench import registry, stats
from bench.methods import MethodEntry, method_entry
from bench.report.aggregate import Row
from bench.report.formats import Table, interval
from bench.report.load import Outcome
from bench.resampling import Array
from bench.stats import Estimate

DEFAULT = "default"
"""Name of the experiment whose method the others are changes of."""
EARLY = 0.2
"""Share of training that counts as early."""


@dataclass(frozen=True, eq=False)
class Change:
    """A row of an ablation; the first one is the default itself."""

    row: Row
    kind: str
    """The experiment."""
    what: str
    """In what its entry in the method table differs from the default's."""
    drops: Array
    """[n] `early_drop` of every run."""
    drop: Estimate | None
    """Their IQM; none without a run."""


def changes(table: list[Row]) -> list[Change]:
    """Find the ablation of a grid, the default first; empty if it has none."""
    contestants = [row for row in table if not row.cell.reference]
    defaults = [row for row in contestants if row.cell.experiment == DEFAULT]
    if len(defaults) != 1:
        return []
    origin = method_entry(defaults[0].cell.config.method)
    found = []
    for row in sorted(contestants, key=lambda row: row is not defaults[0]):
        drops = np.array([early_drop(outcome) for outcome in row.cell.outcomes])
        found.append(
            Change(
                row=row,
                kind=row.cell.experiment,
                what=difference(method_entry(row.cell.config.method), origin),
                drops=drops,
                drop=stats.estimate([drops]) if len(drops) else None,
            )
        )
    return found


def early_drop(outcome: Outcome) -> float:
    """Measure early stability: the largest fall of the evaluation curve early in training.

    It is the largest c_j - c_k over evaluations j before k that both lie in the first `EARLY` of
    the run's training episodes, where c is the mean score of an evaluation's greedy episodes; 0 if
    the curve never falls there.  In the unit of the score, and with the noise of so few episodes.
    """
    early = outcome.curve[outcome.episode <= EARLY * outcome.episode[-1]]
    return float((np.maximum.accumulate(early) - early).max())


def difference(entry: MethodEntry, origin: MethodEntry) -> str:
    """Say in what a method differs from another: its scheme, or else its scheme's options.

    An empty text for the same.
    """
    if entry.scheme != origin.scheme:
        return f"scheme: {(entry.scheme or '-').rpartition(':')[2]}"
    model = registry.options_model(entry.scheme) if entry.scheme else None
    old, new = (_options(each, model) for each in (origin, entry))
    changed = [name for name in {**old, **new} if new.get(name) != old.get(name)]
    return ", ".join(f"{name}: {new.get(name)}" for name in changed)


def _options(entry: MethodEntry, model: type[BaseModel] | None) -> dict[str, Any]:
    """Return the options of a scheme, with the defaults of a scheme that says them."""
    return model(**entry.scheme_options).model_dump() if model else entry.scheme_options


def ablation(table: list[Row]) -> Table:
    """Report every change: final score, early stability, parameters, operations and time.

    `iqm_change` and `early_drop_change` are the differences from the default, none for itself.
    """
    if not (found := changes(table)):
        return []
    default = found[0]
    return [
        {
            "kind": change.kind,
            "method": change.row.cell.config.method,
            "what": change.what,
            "runs": len(change.row.cell.outcomes),
            "expected": change.row.cell.expected,
            **interval("iqm", change.row.score),
            **interval("early_drop", change.drop),
            **interval("iqm_change", iqm),
            **interval("early_drop_change", drop),
            "trained_parameters": cost.trained_parameters if cost else None,
            "inference_parameters": cost.inference_parameters if cost else None,
            "flops_per_update": cost.flops_per_update if cost else None,
            "cpu_seconds": change.row.cpu_seconds,
        }
        for change in found
        for cost in [change.row.cost]
        for iqm, drop in [_apart(change, default)]
    ]


def _apart(change: Change, default: Change) -> tuple[Estimate | None, Estimate | None]:
    """Return by how much scores, and early drops, exceed the default's; none without runs."""
    if change is default or not (len(change.drops) and len(default.drops)):
        return None, None
    scores = stats.difference([change.row.cell.scores], [default.row.cell.scores])
    return scores, stats.difference([change.drops], [default.drops])
