"""Cooperative navigation: N agents, N targets in [-1, 1]^2, all targets to be covered at once.

The scenario of Xu and Yang (2020), on the dynamics of the particle environments (Lowe et al. 2017)
as mpe2's simple_spread has them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Self

import torch
from torch import Tensor

from bench import registry
from bench.config import RunConfig
from bench.random import Random
from bench.tasks.assignment import matching_size
from bench.tasks.options import CoopNavOptions
from bench.validation import validate

VERSION = 1

DT = 0.1
"""Seconds a step."""
DAMPING = 0.25
"""Share of the velocity lost a step."""
ACCELERATION = 5.0
"""Force of a full action on a mass of 1."""
AGENT_DIAMETER = 0.3
"""Distance below which two agents collide."""
MIDDLE = 0.1
"""Half the side of the square in which agents start that start in the centre."""
CONTACT_FORCE, CONTACT_MARGIN = 100.0, 1e-3
"""mpe2's soft contact."""

MOVES = torch.tensor([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
"""The 5 discrete moves, in mpe2's order: stay, left, right, down, up."""


RewardFunction = Callable[["CoopNav", Tensor, Tensor], Tensor]


class CoopNav:
    """Cooperative navigation over [R, E] episodes.

    A state [..., S] holds positions, velocities and targets, each N points of the plane: S = 6 N.
    Agent i observes [v_i, x_i, targets - x_i, other agents' x - x_i]: O = 4 + 2 N + 2 (N - 1).
    A target is covered by an agent within `radius` of it; a step succeeds when all targets are
    covered one-to-one.  Episodes last `horizon` steps.  Where success ends them, the team stays as
    it is from then on, so that the number of successful steps says how early it succeeded.

    Args:
        agents: N.
        reward: a function of :mod:`bench.tasks.rewards`.
        options: what the task leaves to choose.
        discrete: act by one-hot over 5 moves instead of a force in [-1, 1]^2.
        gamma: discount, which only potential-based shaping looks at.
    """

    score = "successful_steps"
    exchangeable = True
    """Whether agents, and targets, differ in nothing but their places."""

    def __init__(
        self,
        agents: int,
        reward: RewardFunction,
        options: CoopNavOptions,
        *,
        discrete: bool = False,
        gamma: float = 0.95,
    ) -> None:
        self.agents, self.discrete, self.gamma = agents, discrete, gamma
        self.dynamics, self.radius = options.dynamics, options.radius
        self.radii: Tensor | None = None
        """[R] what covers take for the radius, where it is not the same for all replicas."""
        self.horizon, self.targets = options.horizon, options.targets
        self.collisions, self.start, self.end = options.collisions, options.start, options.end
        self._reward = reward
        self.state_size = 6 * agents
        self.observation_size = 4 + 2 * agents + 2 * (agents - 1)
        self.entities = ((agents, 2), (agents - 1, 2))
        """The number and the width of what an observation lists: targets, and other agents."""
        self.action_size = len(MOVES) if discrete else 2

    @classmethod
    def from_config(cls, config: RunConfig, reward: RewardFunction, actions: str) -> Self:
        """Build the task of a run.

        Raises:
            RequestError: for an unknown task option or a wrong value of one.
        """
        model = registry.load(str(registry.task_entry(config.task).options))
        options = validate(model, config.task_options, f"task_options of {config.task}")
        discrete = actions == "discrete"
        return cls(config.agents, reward, options, discrete=discrete, gamma=config.gamma)

    # -- the parts of a state, each [..., N, 2], as views ------------------------------------------

    def positions(self, state: Tensor) -> Tensor:
        """Positions x of the agents: [..., N, 2]."""
        return state[..., : 2 * self.agents].unflatten(-1, (self.agents, 2))

    def velocities(self, state: Tensor) -> Tensor:
        """Velocities v of the agents: [..., N, 2]."""
        return state[..., 2 * self.agents : 4 * self.agents].unflatten(-1, (self.agents, 2))

    def target_positions(self, state: Tensor) -> Tensor:
        """Positions of the targets: [..., N, 2]."""
        return state[..., 4 * self.agents :].unflatten(-1, (self.agents, 2))

    @property
    def idle(self) -> Tensor:
        """The action [A] of doing nothing."""
        return torch.eye(self.action_size)[0] if self.discrete else torch.zeros(self.action_size)

    # -- the task ----------------------------------------------------------------------------------

    def reset(self, random: Random, episodes: int) -> Tensor:
        """Draw agents and targets uniformly, at rest: [R, E, S]."""
        N = self.agents
        drawn = random.uniform(episodes, 2, N * 2).float() * 2 - 1
        agents, targets = drawn.unbind(2)
        if self.start == "centre":
            agents = agents * MIDDLE
        if self.targets == "fixed":
            targets = self._fixed_targets(agents)
        return torch.cat([agents, torch.zeros_like(agents), targets], -1)

    def _fixed_targets(self, like: Tensor) -> Tensor:
        """Targets evenly spaced on a circle of radius 0.5: the same in every episode and seed."""
        angle = torch.arange(self.agents, device=like.device) * (2 * torch.pi / self.agents)
        circle = 0.5 * torch.stack([angle.cos(), angle.sin()], -1)
        return circle.flatten().to(like.dtype).expand_as(like)

    def step(self, state: Tensor, action: Tensor) -> Tensor:
        """Advance one step; see the class for the dynamics."""
        moved = self._moved(state, action)
        ended = self.terminated(state)
        return moved if ended is None else torch.where(ended.unsqueeze(-1), state, moved)

    def _moved(self, state: Tensor, action: Tensor) -> Tensor:
        move = action @ self._moves(action.dtype, action.device) if self.discrete else action
        x, v = self.positions(state), self.velocities(state)
        if self.dynamics == "first-order":
            x = torch.add(x, move, alpha=DT).clamp_(-1, 1)
        else:
            force = ACCELERATION * move
            if self.collisions:
                force = force + self._contact_force(x)
            # mpe2's order: the old velocity moves the agent, then the force changes it.
            x, v = torch.add(x, v, alpha=DT), torch.add((1 - DAMPING) * v, force, alpha=DT)
        targets = state[..., 4 * self.agents :]
        return torch.cat([x.flatten(-2), v.flatten(-2), targets], -1)

    def _contact_force(self, x: Tensor) -> Tensor:
        """mpe2's soft contact between every two agents: [..., N, 2] -> [..., N, 2]."""
        delta = x.unsqueeze(-2) - x.unsqueeze(-3)
        apart = torch.linalg.vector_norm(delta, dim=-1, keepdim=True)
        inside = (AGENT_DIAMETER - apart) / CONTACT_MARGIN
        # log(1 + exp(inside)) in functions whose rounding does not depend on the place in a tensor.
        depth = torch.relu(inside) + torch.log1p(torch.exp(-inside.abs()))
        push = CONTACT_FORCE * CONTACT_MARGIN * depth * delta / apart.clamp(min=1e-12)
        return push.sum(-2)

    def observe(self, state: Tensor) -> Tensor:
        """Observe: [..., E, S] -> [..., E, N, O].

        Observations are a linear map of the state with entries 0, 1 and -1, so that re-observing a
        batch is one matrix product and exact: each output is one difference.  In memory the
        episodes come last, as networks want their columns.
        """
        flat = self._observer(state.dtype, state.device) @ state.mT
        return flat.unflatten(-2, (self.agents, -1)).movedim(-1, -3)

    @functools.lru_cache(maxsize=4)  # noqa: B019 (a task lives as long as its process)
    def _moves(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        return MOVES.to(device, dtype)

    @functools.lru_cache(maxsize=4)  # noqa: B019
    def _observer(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        N = self.agents
        basis = torch.eye(self.state_size, dtype=dtype)
        x, v, targets = self.positions(basis), self.velocities(basis), self.target_positions(basis)
        rows = []
        for i in range(N):
            others = torch.cat([x[:, :i], x[:, i + 1 :]], 1)
            own = x[:, i : i + 1]
            parts = [v[:, i : i + 1], own, targets - own, others - own]
            rows.append(torch.cat(parts, 1).flatten(1))
        return torch.cat(rows, 1).T.contiguous().to(device)

    def reward(self, state: Tensor, next_state: Tensor) -> Tensor:
        """Reward every agent for a transition: [..., N]; none after the end."""
        reward, ended = self._reward(self, state, next_state), self.terminated(state)
        return reward if ended is None else reward.masked_fill(ended.unsqueeze(-1), 0.0)

    def terminated(self, state: Tensor) -> Tensor | None:
        """Return [...] bool, true from the first success on, if that ends an episode; else None.

        A success is one of the task itself, whatever radius a curriculum pays for.
        """
        if self.end == "time":
            return None
        return matching_size(self.distances(state) <= self.radius) == self.agents

    # -- goals -------------------------------------------------------------------------------------

    def achieved(self, state: Tensor, chance: Tensor) -> Tensor:
        """Return targets [..., 2 N] that are where the agents are, in an order by chance [..., N].

        Moved by less than the radius, they are still covered.
        """
        order = self._cast_by(chance).unsqueeze(-1).expand(*chance.shape, 2)
        return self.positions(state).gather(-2, order).flatten(-2)

    def _cast_by(self, chance: Tensor) -> Tensor:
        """Draw which agent each target is for: chance [..., N] -> [..., N]."""
        return chance.argsort(-1)

    def with_goal(self, state: Tensor, goal: Tensor) -> Tensor:
        """Return states [..., S] with the targets [..., 2 N]."""
        return torch.cat([state[..., : 4 * self.agents], goal], -1)

    def approach(self, state: Tensor, left: Tensor) -> Tensor:
        """Return states [..., S] of which each agent has a share `left` [..., N] of its way left.

        Its way is a straight one to a target; no two agents' is the same.
        """
        x = self.positions(state)
        in_turn = torch.arange(self.agents, device=state.device) / self.agents
        own = self._cast_by(in_turn.expand_as(x[..., 0])).argsort(-1)
        goal = self.target_positions(state).gather(-2, own.unsqueeze(-1).expand_as(x))
        share = left.unsqueeze(-1)
        nearer = torch.where(share == 1, x, goal + share * (x - goal))
        return torch.cat([nearer.flatten(-2), state[..., 2 * self.agents :]], -1)

    def reorder(self, state: Tensor, agents: Tensor, targets: Tensor) -> Tensor:
        """List agents and targets of states [..., S] in other orders, each [..., N]."""
        parts = self.positions(state), self.velocities(state), self.target_positions(state)
        orders = (order.unsqueeze(-1).expand_as(parts[0]) for order in (agents, agents, targets))
        moved = [part.gather(-2, order) for part, order in zip(parts, orders, strict=True)]
        return torch.cat([part.flatten(-2) for part in moved], -1)

    # -- what rewards and metrics are made of ------------------------------------------------------

    def distances(self, state: Tensor) -> Tensor:
        """Distance from agent i to target j: [..., E, S] -> [..., E, N, N]."""
        return self._distances(state, 4 * self.agents)

    def _distances(self, state: Tensor, other: int) -> Tensor:
        """Distance from agent i to the j-th of the points that start at number `other` of S.

        With the episodes last in memory: no axis of length 2 or N is run through innermost.
        """
        planes = state.mT.contiguous()
        xs, others = (
            planes[..., : 2 * self.agents, :],
            planes[..., other : other + 2 * self.agents, :],
        )
        along = (
            xs[..., axis::2, :].unsqueeze(-2) - others[..., axis::2, :].unsqueeze(-3)
            for axis in (0, 1)
        )
        return torch.hypot(*along).movedim(-1, -3)

    def covers(self, state: Tensor) -> Tensor:
        """Whether agent i is within the radius of target j: [..., N, N] bool."""
        distances = self.distances(state)
        if self.radii is None:
            return distances <= self.radius
        return distances <= self.radii.view(-1, *[1] * (distances.dim() - 1))

    def touching(self, state: Tensor) -> Tensor:
        """Whether agents i and j, i != j, collide: [..., N, N] of 0 and 1."""
        apart = self._distances(state, 0)
        apart = apart + 1e9 * torch.eye(self.agents, device=state.device)
        return (apart < AGENT_DIAMETER).to(state.dtype)

    def metrics(self, state: Tensor) -> Mapping[str, Tensor]:
        """Count, per step: success, targets covered one-to-one, mpe2's G and C.

        G (`least_distance`) is the sum over targets of the least distance to an agent, C
        (`collisions`) the number of ordered pairs of agents that collide; with them the return can
        be had on every published scale: mpe2's summed reward is -(N G + C) / 2 a step.
        """
        distances = self.distances(state)
        size = matching_size(distances <= self.radius)
        return {
            "successful_steps": (size == self.agents).float(),
            "covered": size,
            "least_distance": distances.amin(-2).sum(-1),
            "collisions": self.touching(state).sum((-2, -1)),
        }

    def episode_metrics(self, sums: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Add `any_success`, 1 if some step succeeded, and average `covered` over the steps."""
        return {
            **sums,
            "covered": sums["covered"] / self.horizon,
            "any_success": (sums["successful_steps"] > 0).float(),
        }
