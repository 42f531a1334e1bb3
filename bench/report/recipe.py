"""A recipe: how far it goes with the number of agents, and what each of its ingredients is worth.

A grid that has a recipe says so: see :class:`bench.grid.Recipe`, which has the rules, written
before there were runs.  An **effect** is the IQM of the scores with something less that without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench import stats
from bench.grid import Recipe, Selection
from bench.methods import method_entry
from bench.report.aggregate import Row, by_configuration, known_by
from bench.report.teams import Example, measured, median_run
from bench.resampling import Array
from bench.stats import Estimate

Kind = Literal["base", "removed", "added", "replay", "scheme"]
PRIORITIZED = {"prioritized": "uniform", "hindsight-prioritized": "hindsight"}
"""Samplers with priorities, and what each is without them."""
NAME = "recipe"
"""What the recipe is called beside others."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Scores against the number of agents; the recipe's first."""

    recipe: Recipe
    rows: Mapping[str, Mapping[int, Row]]
    """By name, by number of agents N in ascending order."""
    transfer: list[Row]
    """Rows whose policies were also tried in teams of other sizes."""

    @property
    def own(self) -> Mapping[int, Row]:
        """The recipe's rows by number of agents."""
        return self.rows[NAME]


@dataclass(frozen=True, eq=False)
class Comparison:
    """A row beside another that differs from it in one thing."""

    kind: Kind
    what: str
    """The thing: an ingredient, priorities, or the scheme."""
    row: Row
    than: Row
    effect: Estimate | None
    """What the thing adds to the score; none without a run on both sides."""
    probability: Estimate | None
    """Probability that a run with the thing beats one without."""
    decisive_above: float | None
    """The share of the recipe's score that an effect has to exceed; none if that is unknown."""
    verdict: str | None
    """`decisive`, `helps`, `harms` or `open`; none without an interval.  See :func:`judge`."""


def select(table: list[Row], selection: Selection) -> dict[int, Row]:
    """Find the rows of a selection by number of agents, in ascending order."""
    found = {
        row.cell.config.agents: row
        for row in table
        if row.cell.experiment == selection.experiment
        and selection.method in (None, row.cell.config.method)
        and selection.reward in (None, row.cell.config.reward)
        and selection.sampler in (None, row.cell.config.sampler)
    }
    return dict(sorted(found.items()))


def lines(recipe: Recipe, table: list[Row]) -> Lines:
    """Find what is drawn against the number of agents."""
    chosen = {NAME: Selection(experiment=recipe.experiment), **recipe.beside}
    return Lines(
        recipe=recipe,
        rows={name: select(table, selection) for name, selection in chosen.items()},
        transfer=[row for row in table if row.cell.config.transfer_agents],
    )


def example(found: Lines) -> Example | None:
    """Choose the run of the recipe whose example episode is shown; none if there is no such run.

    Of the largest number of agents that has runs which measure teamwork, the one with the median
    score (the lower of two).
    """
    rows = [row for row in found.own.values() if measured(row)]
    return median_run(rows[-1]) if rows else None


def comparisons(recipe: Recipe, table: list[Row]) -> list[Comparison]:
    """Compare whatever differs in one thing.

    First ingredients, those removed and those added each in the order of their effects; then at
    every number of agents each sampler with priorities with the one without, in every row that has
    a twin; then, likewise, parameter schemes with the recipe's.
    """
    own = select(table, Selection(experiment=recipe.experiment))
    at, base = own.get(recipe.ablated), select(table, recipe.base).get(recipe.ablated)
    parts: list[tuple[Kind, str, Row, Row]] = []
    for name, selection in recipe.removed.items():
        row = select(table, selection).get(recipe.ablated)
        parts += [("removed", name, row, at)] if row and at else []
    parts += [("base", "nothing", base, base)] if base else []
    for name, selection in recipe.added.items():
        row = select(table, selection).get(recipe.ablated)
        parts += [("added", name, row, base)] if row and base else []
    twins = by_configuration(table)
    for row in table:
        plain = PRIORITIZED.get(row.cell.config.sampler)
        twin = twins.get(known_by(row.cell.config, sampler=plain)) if plain else None
        parts += [("replay", "priorities", row, twin)] if twin else []
    for method in dict.fromkeys(row.cell.config.method for row in own.values()):
        for row in table:
            twin = twins.get(known_by(row.cell.config, method=method))
            what = _other_scheme(row.cell.config.method, method)
            parts += [("scheme", what, row, twin)] if twin and what else []
    found = [_compare(recipe, own, *part) for part in parts]
    order = list(dict.fromkeys(comparison.kind for comparison in found))
    return sorted(found, key=lambda c: (order.index(c.kind), *_by_effect(c)))


def _by_effect(comparison: Comparison) -> tuple[float, float]:
    """Order ingredients by effect, those without one last; leave the others as they are."""
    if comparison.kind not in ("removed", "added"):
        return 0, 0
    effect = comparison.effect
    return (1, 0) if effect is None else (0, -effect.point)


def _other_scheme(method: str, than: str) -> str:
    """Name the parameter scheme of a method that differs from another in nothing else, or ''."""
    own, other = method_entry(method), method_entry(than)
    alike = (own.algorithm, own.algorithm_options) == (other.algorithm, other.algorithm_options)
    same = (own.scheme, own.scheme_options) == (other.scheme, other.scheme_options)
    return (own.scheme or "").rpartition(":")[2] if alike and not same else ""


def _compare(
    recipe: Recipe, own: Mapping[int, Row], kind: Kind, what: str, row: Row, than: Row
) -> Comparison:
    """Compare two rows; what is removed is in the one that it is compared with.

    Where runs have diverged there is no verdict on those that have not.
    """
    having, lacking = (than, row) if kind == "removed" else (row, than)
    effect = probability = verdict = None
    whole = own[row.cell.config.agents].score if row.cell.config.agents in own else None
    line = recipe.decisive * whole.point if whole else None
    if kind != "base" and row.cell.outcomes and than.cell.outcomes:
        scores = [having.cell.scores], [lacking.cell.scores]
        effect = stats.difference(*scores)
        probability = stats.probability_of_improvement(*scores)
        if not any(side.cell.count("diverged") for side in (row, than)):
            verdict = judge(effect, line)
    return Comparison(kind, what, row, than, effect, probability, line, verdict)


def judge(effect: Estimate, line: float | None) -> str | None:
    """Say what the interval of an effect allows to say.

    Args:
        effect: in the unit of the score.
        line: what a decisive one exceeds, if it is known.

    Returns:
        `decisive` if the interval lies above the line and above zero, `helps` if it lies above
        zero, `harms` if it lies below, `open` otherwise; None without an interval.
    """
    if effect.side() == "above":
        return "decisive" if line is not None and effect.side(line) == "above" else "helps"
    return {"below": "harms", "about": "open", None: None}[effect.side()]


def sizes_of(row: Row) -> list[int]:
    """List the sizes of teams that a row's policies acted in, their own among them."""
    return sorted({row.cell.config.agents, *row.cell.config.transfer_agents})


def transferred(row: Row, agents: int) -> Array:
    """Return the scores [n] of a row's policies in teams of a size of :func:`sizes_of`."""
    if agents == row.cell.config.agents:
        return row.cell.scores
    return np.array([outcome.transfer[agents] for outcome in row.cell.outcomes])
