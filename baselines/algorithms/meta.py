"""The team as one agent, which sees all observations and chooses the joint action.

Nothing has to be coordinated, and the joint action grows with the team: as a vector linearly, as a
number of discrete moves exponentially.

Shapes: J joint moves, A^N.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from baselines.algorithms.actions import one_hot
from baselines.algorithms.actor_critic import ActorCritic
from baselines.algorithms.iql import IQL
from baselines.algorithms.options import MetaDQNOptions
from bench.errors import RequestError
from bench.interfaces import Batch, SchemeFactory, Spec
from bench.random import Random

VERSION = 1


def together(x: Tensor) -> Tensor:
    """Join what the agents have into what the one agent has: [R, B, N, F] -> [R, B, 1, N F]."""
    return x.flatten(2).unsqueeze(2)


def fed_together(observation: Tensor) -> Tensor:
    """Join what the agents see, agents first: [R, N, B, O] -> [R, 1, B, N O]."""
    return together(observation.transpose(1, 2)).transpose(1, 2)


def as_one(spec: Spec, actions: int) -> Spec:
    """Return the world as the one agent has it, whose actions are of this size."""
    seen = spec.agents * spec.observation_size
    world = replace(spec, agents=1, observation_size=seen, action_size=actions)
    return replace(world, entities=None)


def of_one(batch: Batch, action: Tensor) -> Batch:
    """Return transitions as the one agent has them: its reward is the team's mean."""
    return replace(
        batch,
        observation=together(batch.observation),
        action=action,
        reward=batch.reward.mean(2, keepdim=True),
        next_observation=together(batch.next_observation),
    )


class MetaDDPG(ActorCritic):
    """DDPG from the joint observation to the joint action (Lillicrap et al. 2016).

    Args:
        spec: the world's sizes and the run's settings.
        make_scheme: the actor's parameter scheme, asked for one agent's network.
        random: source of the initial parameters.

    Raises:
        RequestError: if the actions are discrete.
    """

    centralised: Literal[True] = True

    def __init__(self, spec: Spec, make_scheme: SchemeFactory, random: Random) -> None:
        if spec.discrete:
            raise RequestError(
                "a joint action vector needs actions: continuous; say so in the method's entry"
            )
        self._team = spec.agents
        one = as_one(spec, spec.agents * spec.action_size)
        super().__init__(one, make_scheme, random, critic="local")

    def act(self, observation: Tensor, noise: float = 0.0, random: Random | None = None) -> Tensor:
        """Map [R, E, N, O] to actions [R, E, N, A], plus Gaussian noise while training."""
        joint = super().act(together(observation), noise, random)
        return joint.view(*joint.shape[:2], self._team, -1)

    def update(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One step of DDPG."""
        return super().update(of_one(batch, together(batch.action)))

    def fed(self, observation: Tensor) -> Tensor:
        """Return what the one agent sees: [R, N, B, O] -> [R, 1, B, N O]."""
        return fed_together(observation)

    def gradients(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Differentiate the one actor's loss."""
        return super().gradients(of_one(batch, together(batch.action)))


class MetaDQN(IQL):
    """A double DQN over the joint moves (Mnih et al. 2015; van Hasselt et al. 2016).

    Args:
        spec: the world's sizes and the run's settings.
        make_scheme: the Q network's parameter scheme, asked for one agent's network.
        random: source of the initial parameters.

    Raises:
        RequestError: if the actions are continuous, or there are too many joint moves.
    """

    centralised: Literal[True] = True

    def __init__(self, spec: Spec, make_scheme: SchemeFactory, random: Random) -> None:
        moves, agents = spec.action_size, spec.agents
        if spec.discrete:
            MetaDQNOptions().check_world(agents, moves)
        # The joint move is a number whose digits are the agents' moves.
        self._moves = moves
        self._places = torch.tensor([moves**i for i in range(agents)], device=spec.device)
        super().__init__(as_one(spec, moves**agents), make_scheme, random)

    def act(self, observation: Tensor, noise: float = 0.0, random: Random | None = None) -> Tensor:
        """Map [R, E, N, O] to one-hot moves [R, E, N, A], any joint one with chance `noise`."""
        joint = super().act(together(observation), noise, random)
        digits = joint.argmax(-1) // self._places % self._moves
        return one_hot(digits, self._moves, joint.dtype)

    def update(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One step of double Q-learning."""
        return super().update(self._of_one(batch))

    def fed(self, observation: Tensor) -> Tensor:
        """Return what the one agent sees: [R, N, B, O] -> [R, 1, B, N O]."""
        return fed_together(observation)

    def gradients(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Differentiate the one Q network's loss."""
        return super().gradients(self._of_one(batch))

    def _of_one(self, batch: Batch) -> Batch:
        number = (batch.action.argmax(-1) * self._places).sum(-1, keepdim=True)
        joint = one_hot(number, self._moves ** len(self._places), batch.action.dtype)
        return of_one(batch, joint)
