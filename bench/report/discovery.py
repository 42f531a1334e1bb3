"""How often a full cover is met: as predicted by chance, by random actions, and in training."""

from __future__ import annotations

import math

from bench import registry
from bench.report.aggregate import Row, World
from bench.report.formats import Table, Value


def cover_probability(radius: float, side: float = 2.0) -> float:
    """Probability that two points drawn uniformly from a square lie within ``radius``.

    The integral of the overlap of the square with itself shifted, over the shifts of a disc:
    pi s^2 - 8/3 s^3 + 1/2 s^4 with s = radius / side <= 1 (the distribution of the distance of two
    random points in a square; Philip 2007, "The probability distribution of the distance between
    two random points in a box").

    Raises:
        ValueError: if the radius exceeds the side, where the formula ends.
    """
    s = radius / side
    if not 0 <= s <= 1:
        raise ValueError(f"radius {radius} must lie in [0, {side}]")
    return math.pi * s**2 - 8 / 3 * s**3 + s**4 / 2


def discovery_rate(agents: int, radius: float) -> float:
    """Probability that N agents and N targets, all placed uniformly, are a full unique cover.

    N! q^N: each of the N! assignments has probability q^N exactly, and two of them hold together
    so rarely that the sum over them, an upper bound, is close.
    """
    return math.factorial(agents) * cover_probability(radius) ** agents


def discovery(table: list[Row]) -> Table:
    """Report each world of cooperative navigation: rates of successful steps.

    Worlds where success ends an episode are left out: what follows it is not found by chance.
    `predicted` is :func:`discovery_rate`, empty where agents or targets are
    not drawn uniformly.  `random` is the reference of that name, `training` the first training
    interval of the runs with the group goal, of the first experiment in that world: where a team
    learns at once, as by hindsight, not by chance only.  Each is given as successful steps, steps
    looked at, and their quotient.
    """
    worlds: dict[World, list[Row]] = {}
    for row in table:
        world = row.cell.setting.world
        if registry.family(world.task) == "coop-nav" and world.task_options["end"] == "time":
            worlds.setdefault(world, []).append(row)
    entries: Table = []
    for world, found in worlds.items():
        options = world.task_options
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
