"""The flaw of the distance reward: who maximises it, and who covers the targets."""

from __future__ import annotations

from bench.report.aggregate import Row, counted
from bench.report.formats import Table

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
