"""The flaw of the distance reward: who maximises it, who covers the targets, what else teaches."""

from __future__ import annotations

from bench.registry import task_entry
from bench.report.aggregate import Row, by_configuration, counted, known_by
from bench.report.formats import Table, interval

REWARD = "distance"


def pursued(table: list[Row]) -> list[Row]:
    """Return the rows of the distance reward that have a run whose return is recorded."""
    return [
        row
        for row in table
        if row.cell.config.reward == REWARD
        and any(outcome.returns is not None for outcome in row.cell.outcomes)
    ]


def mean_distance(row: Row) -> float:
    """Turn the mean return over runs into the mean distance of an agent to a target.

    The reward of a step is minus the sum of N^2 such distances.
    """
    agents, horizon = row.cell.config.agents, row.cell.outcomes[0].horizon
    return -_mean_return(row) / (horizon * agents**2)


def _mean_return(row: Row) -> float:
    returns = [o.returns for o in row.cell.outcomes if o.returns is not None]
    return sum(returns) / len(returns)


def distance(table: list[Row]) -> Table:
    """Report what each method gets of the distance reward, and what it achieves: means over runs.

    `return` is over an episode, `mean_distance` the same as a distance, `successful_steps` and
    `any_success` are the task's own measures.
    """
    return [
        {
            "experiment": row.cell.experiment,
            "method": row.cell.config.method,
            "agents": row.cell.config.agents,
            **counted([row.cell]),
            "return": _mean_return(row),
            "mean_distance": mean_distance(row),
            "successful_steps": row.mean,
            "any_success": row.any_success,
        }
        for row in pursued(table)
    ]


def rewards(table: list[Row]) -> Table:
    """Report what learners of the distance reward score by each of the task's rewards.

    All else is the same.  Rewards of which the grid has no such cell are left out.
    """
    known = by_configuration(table)
    learners = [row.cell.config for row in pursued(table) if not row.cell.reference]
    alike = [
        known[name]
        for config in learners
        for reward in task_entry(config.task).rewards
        if (name := known_by(config, reward=reward)) in known
    ]
    return [
        {
            "experiment": row.cell.experiment,
            "method": row.cell.config.method,
            "sampler": row.cell.config.sampler,
            "reward": row.cell.config.reward,
            "agents": row.cell.config.agents,
            **counted([row.cell]),
            **interval("iqm", row.score),
            **interval("normalised", row.normalised),
            "any_success": row.any_success,
        }
        for row in alike
    ]
