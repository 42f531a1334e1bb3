"""Cooperative navigation of agents that differ: in mass, in strength, and in where they may go.

Nothing of an agent's role is in its observation, so identical observations need different
behaviour; what tells the agents apart is who they are, or the `features` of their roles.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.tasks.coop_nav import ACCELERATION, CoopNav, RewardFunction
from bench.tasks.options import RolesOptions

VERSION = 1
"""Moves also when coop-nav's does, on which this task is built; its golden cases see to it."""

MASSES = (0.5, 1.0, 2.0)
ACCELERATIONS = (3.0, 5.0)
"""Force of a full action, mpe2's `accel`; on a mass of 1 it is an acceleration."""
COLOURS = 3
FAR = 1e3
"""Added to the distance of a target of another colour: beyond any radius and any way."""


@dataclass(frozen=True)
class Cast:
    """The roles of a team."""

    mass: Tensor
    """[N]"""
    acceleration: Tensor
    """[N]"""
    colour: Tensor
    """[N] int64: only targets of this colour are covered by the agent."""
    target_colour: Tensor
    """[N] int64, of the targets: as many of each colour as there are agents of it."""

    @property
    def gain(self) -> Tensor:
        """[N, 1] how much faster an agent accelerates than coop-nav's, of mass 1."""
        return (self.acceleration / self.mass / ACCELERATION).unsqueeze(-1)

    @property
    def features(self) -> Tensor:
        """[N, F] mass and acceleration in units of coop-nav's agent, and the colour one-hot."""
        body = torch.stack([self.mass, self.acceleration / ACCELERATION], -1)
        return torch.cat([body, torch.nn.functional.one_hot(self.colour, COLOURS)], -1)


def cast(agents: int, split: str) -> Cast:
    """Assign roles to N agents: the same ones in every episode and seed.

    Of the 18 roles (mass, acceleration, colour) a third is held out: those whose places in the
    three lists sum to a multiple of 3.  Every mass with every acceleration is so among the seen
    ones, in another colour.  Target j has colour j mod 3 in both splits; agent i has that of target
    i among the seen roles, and that of a later one among the held-out ones, so that no agent keeps
    its colour (from two agents on): who it is says wrongly where it must go.
    """
    held_out = split == "held-out"
    shift = (2 if agents % COLOURS == 1 else 1) if held_out else 0
    target_colour = [target % COLOURS for target in range(agents)]
    colour = [target_colour[(agent + shift) % agents] for agent in range(agents)]
    mass, acceleration = [], []
    for agent, own in enumerate(colour):
        pool = [
            (MASSES[m], ACCELERATIONS[a])
            for a, m in itertools.product(range(len(ACCELERATIONS)), range(len(MASSES)))
            if ((m + a + own) % 3 == 0) == held_out
        ]
        # Agents of one colour take its bodies in turn; colours start apart, so neighbours differ.
        body = pool[(colour[:agent].count(own) - own) % len(pool)]
        mass.append(body[0])
        acceleration.append(body[1])
    return Cast(
        torch.tensor(mass),
        torch.tensor(acceleration),
        torch.tensor(colour),
        torch.tensor(target_colour),
    )


class Roles(CoopNav):
    """Coop-nav with a mass, an acceleration and a colour per agent, and a colour per target.

    An action u in [-1, 1]^2 of agent i is the force a_i u on the mass m_i, as in mpe2.  A target
    is covered only by agents of its colour; a step succeeds when all targets are covered one-to-one
    so.  States and observations are coop-nav's.

    Args:
        agents: N.
        reward: a function of :mod:`bench.tasks.rewards`.
        options: what the task leaves to choose.
        discrete: act by one-hot over 5 moves instead of a force.
        gamma: discount, which only potential-based shaping looks at.
    """

    exchangeable = False

    def __init__(
        self,
        agents: int,
        reward: RewardFunction,
        options: RolesOptions,
        *,
        discrete: bool = False,
        gamma: float = 0.95,
    ) -> None:
        super().__init__(agents, reward, options, discrete=discrete, gamma=gamma)
        self.cast = cast(agents, options.split)
        self.features = self.cast.features
        """[N, F]: what a method may condition an agent's weights on."""
        foreign = self.cast.colour.unsqueeze(-1) != self.cast.target_colour
        self._penalty = FAR * foreign

    def step(self, state: Tensor, action: Tensor) -> Tensor:
        """Advance one step: coop-nav's, by each agent's own gain."""
        return super().step(state, self.cast.gain.to(action) * action)

    def _contact_force(self, x: Tensor) -> Tensor:
        """Divide the contact force by the mass that it moves: [..., N, 2] -> [..., N, 2]."""
        return super()._contact_force(x) / self.cast.mass.unsqueeze(-1).to(x)

    def distances(self, state: Tensor) -> Tensor:
        """Distance from agent i to target j, or further than any if their colours differ.

        Covers, matchings, assignments and the rewards made of them follow the colours by this.
        """
        return super().distances(state) + self._penalty.to(state)

    def _cast_by(self, chance: Tensor) -> Tensor:
        """Draw which agent each target is for, of those of its colour."""
        agents = (chance + self.cast.colour.to(chance.device)).argsort(-1)
        targets = self.cast.target_colour.to(chance.device).argsort(stable=True)
        return torch.empty_like(agents).index_copy_(-1, targets, agents)
