"""The climbing and the penalty game: two agents with three moves each, and one step.

Claus and Boutilier (1998).  Both agents are paid the same.  The best joint move is one from which a
single agent's slip costs so much that learners who average over what the other does are driven away
from it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bench.errors import RequestError
from bench.tasks.games import NO_MOVE, Game, RewardFunction
from bench.tasks.options import ClimbingOptions, PenaltyOptions

VERSION = 1

Table = tuple[tuple[float, ...], ...]


@functools.cache
def _tensor(table: Table, device: torch.device) -> Tensor:
    return torch.tensor(table, device=device)


class OneShot(Game):
    """A table of payoffs, read once: after the first move nothing follows.

    Every agent observes the number 1, since there is nothing to see: O = 1.

    Args:
        agents: 2.
        reward: a function of :mod:`bench.tasks.games`.
        options: the game's task options.
        table: what both are paid, by the move of the first agent and that of the second.

    Raises:
        RequestError: for another number of agents.
    """

    horizon, observation_size = 1, 1

    def __init__(
        self,
        agents: int,
        reward: RewardFunction,
        options: ClimbingOptions,
        table: Sequence[Sequence[float]],
    ) -> None:
        if agents != 2:
            raise RequestError(f"agents = {agents}: the game is played by 2")
        super().__init__(agents, reward, options)
        self.table: Table = tuple(tuple(map(float, row)) for row in table)
        self._best = max(max(row) for row in self.table)

    def observe(self, state: Tensor) -> Tensor:
        """Observe: [..., E, S] -> [..., E, N, O]."""
        return torch.ones_like(state).unsqueeze(-1)

    def terminated(self, state: Tensor) -> Tensor:
        """Return [..., E] bool: whether the move has been made."""
        return state[..., 0] != NO_MOVE

    def payoffs(self, state: Tensor) -> Tensor:
        """See `Game`."""
        first, second = state.long().unbind(-1)
        return _tensor(self.table, state.device)[first, second].unsqueeze(-1).expand_as(state)

    def metrics(self, state: Tensor) -> Mapping[str, Tensor]:
        """Count the payoff, and whether it is the best there is."""
        payoff = self.payoffs(state)[..., 0]
        return {"mean_reward": payoff, "optimal_steps": (payoff == self._best).to(state.dtype)}

    def episode_metrics(self, sums: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the sums over the one step, and `any_success`, 1 for the best payoff."""
        return {**sums, "any_success": sums["optimal_steps"]}


class Climbing(OneShot):
    """11 is the best, beside -30; the safest pays 5, and one agent at a time climbs from 5 to 7."""

    def __init__(self, agents: int, reward: RewardFunction, options: ClimbingOptions) -> None:
        table = ((11, -30, 0), (-30, 7, 0), (0, 6, 5))
        super().__init__(agents, reward, options, table)


class Penalty(OneShot):
    """Two best joint moves pay 10, and the agents are punished for choosing one each."""

    def __init__(self, agents: int, reward: RewardFunction, options: PenaltyOptions) -> None:
        table = ((10, 0, options.penalty), (0, 2, 0), (options.penalty, 0, 10))
        super().__init__(agents, reward, options, table)
