"""How often a full cover is met: as predicted by chance, by random actions, and in training."""

from __future__ import annotations

import json

from bench import registry
from bench.report.aggregate import Row, World
from bench.report.formats import Table, Value
from bench.report.values import discovery_rate


def discovery(table: list[Row]) -> Table:
    """Report each world of cooperative navigation: rates of successful steps.

    Worlds where success ends an episode are left out: what follows it is not found by chance.
    `predicted` is :func:`bench.report.values.discovery_rate`, empty where agents or targets are
    not drawn uniformly.  `random` is the reference of that name, `training` the first training
    interval of the runs with the group goal, of the first experiment in that world: where a team
    learns at once, as by hindsight, not by chance only.  Each is given as successful steps, steps
    looked at, and their quotient.
    """
    worlds: dict[World, list[Row]] = {}
    for row in table:
        world = row.cell.setting.world
        if registry.family(world.task) == "coop-nav" and json.loads(world.options)["end"] == "time":
            worlds.setdefault(world, []).append(row)
    entries: Table = []
    for world, found in worlds.items():
        options = json.loads(world.options)
        uniform = options["targets"] == "redrawn" and options["start"] == "uniform"
        entries.append(
            {
                "dynamics": options["dynamics"],
                "radius": options["radius"],
                "targets": options["targets"],
                "start": options["start"],
                "collisions": options["collisions"],
                "agents": world.agents,
                "predicted": discovery_rate(world.agents, options["radius"]) if uniform else None,
                **_rate("random", *_random(found)),
                **_rate("training", *_training(found)),
            }
        )
    return entries


def _random(found: list[Row]) -> tuple[float, int]:
    outcomes = [
        outcome
        for row in found
        if row.cell.reference and row.cell.config.method == "random"
        for outcome in row.cell.outcomes
    ]
    episodes = [outcome.config.absolute_episodes for outcome in outcomes]
    successes = sum(o.score * count for o, count in zip(outcomes, episodes, strict=True))
    return successes, sum(o.horizon * count for o, count in zip(outcomes, episodes, strict=True))


def _training(found: list[Row]) -> tuple[float, int]:
    learners = [
        row
        for row in found
        if row.cell.config.reward == "group-goal"
        and any(outcome.metric in outcome.training.mean for outcome in row.cell.outcomes)
    ]
    first = [row for row in learners if row.cell.experiment == learners[0].cell.experiment]
    successes, steps = 0.0, 0
    for outcome in (outcome for row in first for outcome in row.cell.outcomes):
        episodes = outcome.training.episode[0]
        successes += outcome.training.mean[outcome.metric][0] * episodes
        steps += outcome.horizon * episodes
    return successes, steps


def _rate(name: str, successes: float, steps: int) -> dict[str, Value]:
    return {
        f"{name}_successes": round(successes) if steps else None,
        f"{name}_steps": steps or None,
        f"{name}_rate": successes / steps if steps else None,
    }
