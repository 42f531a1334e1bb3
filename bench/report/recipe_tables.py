"""The tables of a recipe: what it sets, how far it goes, what its ingredients are worth."""

from __future__ import annotations

from dataclasses import replace

from bench import stats
from bench.config import RunConfig
from bench.grid import Grid
from bench.report import filmstrip
from bench.report.aggregate import Row, World, counted
from bench.report.formats import Table, Value, interval
from bench.report.recipe import (
    NAME,
    Comparison,
    Lines,
    comparisons,
    example,
    lines,
    sizes_of,
    transferred,
)
from bench.stats import Estimate

SETTINGS = (
    *("hidden", "actor_lr", "critic_lr", "lr_end", "noise_start", "noise_end", "action_penalty"),
    *("hindsight_share", "hindsight_next", "hindsight_jitter"),
)
"""What of a configuration defines the recipe, beside its method and sampler."""


def tables(grid: Grid, table: list[Row]) -> dict[str, Table]:
    """Return the tables of a grid by file name: none, if it has no recipe."""
    if grid.recipe is None:
        return {}
    found = lines(grid.recipe, table)
    compared = comparisons(grid.recipe, table)
    return {
        "recipe.csv": settings(found),
        "scaling.csv": scaling(found, table),
        "comparisons.csv": [_entry(comparison) for comparison in compared],
        "transfer.csv": transfer(found, table),
        "episode.csv": filmstrip.described(example(found)),
    }


def settings(found: Lines) -> Table:
    """List what the recipe sets, beside the defaults, which the source's method has."""
    own = next((row.cell.config for row in found.own.values()), None)
    return [
        {"setting": name, "recipe": shown(getattr(own, name)), "default": shown(field.default)}
        for name, field in RunConfig.model_fields.items()
        if own is not None and name in SETTINGS
    ]


def shown(value: object) -> str:
    """Write a setting: a list as ``128 x 128``, a number as short as it goes."""
    if isinstance(value, list):
        return " x ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def scaling(found: Lines, table: list[Row]) -> Table:
    """Report scores against the number of agents, and whether the recipe's reach their targets.

    What is judged beside the recipe has targets, too.  `share` is of the
    oracle's score.  `verdict` is `reached` or `missed`, by the IQM itself, where there are runs
    enough for an interval and none diverged.  `late` is by how many steps an episode all targets
    are covered for less time than by the oracle, `late_per_target` the same of a target by itself.
    """
    oracles = _oracles(table)
    entries: Table = []
    for name, rows in found.rows.items():
        for agents, row in rows.items():
            share = _share(row.score, row.reference.oracle)
            asked = name == NAME or found.recipe.beside[name].judged
            target = found.recipe.targets.get(agents) if asked else None
            verdict = None
            told = share is not None and share.lo is not None and not row.cell.count("diverged")
            if target is not None and share is not None and told:
                verdict = "reached" if share.point >= target else "missed"
            entries.append(
                {
                    "name": name,
                    **_named(row),
                    "agents": agents,
                    **counted([row.cell]),
                    **interval("iqm", row.score),
                    "oracle": row.reference.oracle,
                    "random": row.reference.random,
                    **interval("share", share),
                    "target": target,
                    "verdict": verdict,
                    **_late(row, oracles.get(row.cell.setting.world)),
                }
            )
    return entries


def transfer(found: Lines, table: list[Row]) -> Table:
    """Report policies in teams of other sizes than they were trained in, and of their own."""
    oracles = _oracles(table)
    entries: Table = []
    for row in found.transfer:
        world, config = row.cell.setting.world, row.cell.config
        for agents in sizes_of(row):
            scores = transferred(row, agents)
            score = stats.estimate([scores]) if len(scores) else None
            ideal = oracles.get(replace(world, agents=agents))
            oracle = ideal.mean if ideal else None
            entries.append(
                {
                    **_named(row),
                    "trained": config.agents,
                    "agents": agents,
                    **counted([row.cell]),
                    **interval("iqm", score),
                    "oracle": oracle,
                    **interval("share", _share(score, oracle)),
                }
            )
    return entries


def _oracles(table: list[Row]) -> dict[World, Row]:
    """Find the row of the oracle in every world that has its runs."""
    return {
        row.cell.setting.world: row
        for row in reversed(table)
        if row.cell.reference and row.cell.config.method == "oracle" and row.cell.outcomes
    }


def _late(row: Row, oracle: Row | None) -> dict[str, Value]:
    """Compare means over runs with the oracle's, in steps an episode."""
    late = late_per_target = None
    if oracle and oracle.mean is not None and row.mean is not None:
        late = oracle.mean - row.mean
    if oracle and oracle.covered is not None and row.covered is not None:
        steps = row.cell.outcomes[0].horizon
        late_per_target = steps * (oracle.covered - row.covered) / row.cell.config.agents
    return {"late": late, "late_per_target": late_per_target}


def _entry(comparison: Comparison) -> dict[str, Value]:
    row, than = comparison.row, comparison.than
    return {
        "kind": comparison.kind,
        "what": comparison.what,
        **_named(row),
        "agents": row.cell.config.agents,
        **counted([row.cell]),
        **interval("iqm", row.score),
        "than_method": than.cell.config.method,
        "than_sampler": than.cell.config.sampler,
        **{f"than_{name}": value for name, value in counted([than.cell]).items()},
        **interval("than_iqm", than.score),
        **interval("effect", comparison.effect),
        **interval("probability", comparison.probability),
        "decisive_above": comparison.decisive_above,
        "verdict": comparison.verdict,
    }


def _named(row: Row) -> dict[str, Value]:
    c = row.cell.config
    return {
        "experiment": row.cell.experiment,
        "method": c.method,
        "reward": c.reward,
        "sampler": c.sampler,
        "curriculum": c.curriculum,
        "dynamics": row.cell.setting.world.task_options.get("dynamics"),
    }


def _share(score: Estimate | None, oracle: float | None) -> Estimate | None:
    return score.scaled(0, oracle) if score is not None and oracle else None
