"""Specialisation and synchronisation: repeated matrix games of N agents over N moves.

After Tessera et al. (2024, HyperMARL, "temporal" games).  All agents observe the same, the joint
move of the step before, so what they must do differently cannot come from what they see.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from bench import registry
from bench.config import RunConfig
from bench.errors import RequestError
from bench.methods import choose_actions
from bench.random import Random
from bench.tasks.options import GameOptions
from bench.validation import validate

VERSION = 1

NO_MOVE = -1.0
"""What a state holds before the first step."""

RewardFunction = Callable[["Game", Tensor, Tensor], Tensor]


class Game(ABC):
    """Agents move at once, by discrete moves, and are paid for it; over [R, E] episodes.

    A state [..., S] holds the agents' last moves, 0 to A - 1, or :data:`NO_MOVE`: S = N.  Episodes
    start all alike.

    Args:
        agents: N.
        reward: a function of this module.
        options: the game's task options; `moves` says what A is.
    """

    score = "mean_reward"
    discrete = True
    horizon: int
    observation_size: int

    def __init__(self, agents: int, reward: RewardFunction, options: Any) -> None:
        self.agents = self.state_size = agents
        self.action_size, self._reward = options.moves(agents), reward

    @classmethod
    def from_config(cls, config: RunConfig, reward: RewardFunction, actions: str) -> Self:
        """Build the task of a run.

        Raises:
            RequestError: for continuous actions, a wrong number of agents, or a wrong task option.
        """
        if actions != "discrete":
            raise RequestError(
                f"{config.task} is played by discrete moves, and the actions asked for are "
                f"{actions}: {choose_actions('discrete')}"
            )
        model = registry.load(str(registry.task_entry(config.task).options))
        options = validate(model, config.task_options, f"task_options of {config.task}")
        return cls(config.agents, reward, options)

    def reset(self, random: Random, episodes: int) -> Tensor:
        """Start episodes, in which nobody has moved yet: [R, E, S]."""
        shape = len(random.keys), episodes, self.agents
        return torch.full(shape, NO_MOVE, device=random.device)

    def step(self, state: Tensor, action: Tensor) -> Tensor:
        """Replace the last moves by those of the one-hot joint action: [R, E, S]."""
        return action.argmax(-1).to(state.dtype)

    def reward(self, state: Tensor, next_state: Tensor) -> Tensor:
        """Reward every agent for a transition: [..., N]."""
        return self._reward(self, state, next_state)

    @abstractmethod
    def payoffs(self, state: Tensor) -> Tensor:
        """Pay every agent for the joint move that a state holds: [..., N]."""


class MatrixGame(Game):
    """What the two repeated games share; they differ in what a move pays.

    Every agent observes all last moves one-hot, zeros before the first step: O = N N.  It acts by
    one of N moves.  Episodes last `horizon` steps and never terminate early.

    Args:
        agents: N, at least 2.
        reward: a function of this module.
        options: what the game leaves to choose.

    Raises:
        RequestError: for fewer agents.
    """

    def __init__(self, agents: int, reward: RewardFunction, options: GameOptions) -> None:
        if agents < 2:
            raise RequestError(f"agents = {agents}: a matrix game needs at least 2")
        super().__init__(agents, reward, options)
        self.horizon, self.observation_size = options.horizon, agents * agents

    def observe(self, state: Tensor) -> Tensor:
        """Observe: [..., E, S] -> [..., E, N, O], the same for every agent.

        In memory the episodes come last, as networks want their columns.
        """
        moves = torch.arange(self.agents, device=state.device).unsqueeze(-1)
        one_hot = (state.mT.unsqueeze(-2) == moves).to(state.dtype).flatten(-3, -2)
        return one_hot.unsqueeze(-3).expand(*state.shape[:-2], self.agents, -1, -1).movedim(-1, -3)

    def terminated(self, state: Tensor) -> None:
        """Return None: nothing ends an episode, and the horizon is a time limit."""

    def metrics(self, state: Tensor) -> Mapping[str, Tensor]:
        """Count, per step: the mean payoff, the distinct moves, and whether everyone got 1.

        `mean_reward` is the paper's scale, whatever reward is trained on: at best 1, at worst 1/N.
        """
        payoffs = self.payoffs(state)
        # A move is counted with the first agent that makes it.
        repeated = self._same(state).tril(-1).any(-1)
        return {
            "mean_reward": payoffs.mean(-1),
            "distinct_moves": (~repeated).sum(-1).to(state.dtype),
            "optimal_steps": (payoffs == 1).all(-1).to(state.dtype),
        }

    def episode_metrics(self, sums: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Average over the steps; count `optimal_steps`; `any_success` is 1 if there are some."""
        return {
            **sums,
            "mean_reward": sums["mean_reward"] / self.horizon,
            "distinct_moves": sums["distinct_moves"] / self.horizon,
            "any_success": (sums["optimal_steps"] > 0).float(),
        }

    # -- what rewards and metrics are made of ------------------------------------------------------

    @abstractmethod
    def pay(self, count: Tensor) -> Tensor:
        """What a move pays to each of the `count` agents that make it, 1 to N."""

    def payoffs(self, state: Tensor) -> Tensor:
        """See `Game`."""
        return self.pay(self._same(state).sum(-1))

    def _same(self, state: Tensor) -> Tensor:
        """Whether agents i and j made the same move: [..., N, N] bool."""
        return state.unsqueeze(-1) == state.unsqueeze(-2)

    # -- what sharing costs ------------------------------------------------------------------------

    def symmetric_reward(self, policy: Tensor) -> Tensor:
        """Expect the mean payoff of agents that all draw from one distribution [..., N moves].

        Exactly: an agent's move a is also that of K others, K ~ Binomial(N - 1, p_a).
        """
        others = torch.arange(self.agents, dtype=torch.float64)
        rest = self.agents - 1 - others
        # In logarithms, since binomial coefficients of large teams are beyond any float.
        ways = math.lgamma(self.agents) - torch.lgamma(others + 1) - torch.lgamma(rest + 1)
        p = policy.double().unsqueeze(-1)
        chance = (ways + torch.xlogy(others, p) + torch.xlogy(rest, 1 - p)).exp()
        return (p * chance * self.pay(others + 1)).sum((-2, -1))

    def sharing_bound(self, *, stochastic: bool) -> float:
        """Return the best mean reward of a team that shares one policy which sees no agent's ID.

        All agents observe the same, so in every step all draw from one distribution.  If it is a
        single move, that is N equal moves.  Otherwise the best is either that or the uniform: in
        specialisation the sum over moves of 1 - (1 - p)^N is concave, in synchronisation unanimity
        is the game's own optimum.
        """
        moves = torch.eye(1, self.agents)
        if stochastic:
            moves = torch.cat([moves, torch.full_like(moves, 1 / self.agents)])
        return float(self.symmetric_reward(moves).max())


class Specialisation(MatrixGame):
    """Agents are paid for making moves that no other makes: r_i = 1 / count(a_i)."""

    def pay(self, count: Tensor) -> Tensor:
        """Share 1 among those who make the same move."""
        return 1 / count


class Synchronisation(MatrixGame):
    """Agents are paid for making the same move: r_i = 1 / (N - count(a_i) + 1)."""

    def pay(self, count: Tensor) -> Tensor:
        """Divide 1 by one more than the agents who make another move."""
        return 1 / (self.agents - count + 1)


def individual(task: Game, state: Tensor, next_state: Tensor) -> Tensor:
    """Every agent its own payoff, as in the source: [..., N]."""
    return task.payoffs(next_state)


def team(task: Game, state: Tensor, next_state: Tensor) -> Tensor:
    """Every agent the mean payoff: [..., N]."""
    payoffs = task.payoffs(next_state)
    return payoffs.mean(-1, keepdim=True).expand_as(payoffs)
