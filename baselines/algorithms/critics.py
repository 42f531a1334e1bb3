"""The critics of deterministic actor-critics: what they see, learn, and tell the actors.

Shapes: C critics apart from their twins: N, or 1 for the team; K of them with their twins.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from baselines.algorithms.losses import bound_returns, td_target, weighted_square_gradient
from baselines.algorithms.options import ActorCriticOptions
from baselines.mlp import mlp, pull_back, pull_back_own
from baselines.networks import Learner
from baselines.sharing.independent import Independent
from bench.interfaces import Batch, Spec, Weights
from bench.random import Random

SEVERAL = ("local", "per-agent")
"""Those of which every agent has one."""


class Critics:
    """Q_i(o_i, a_i), Q_i(o, a), or one Q(o, a), each on its own or with a twin.

    Args:
        spec: the world's sizes and the run's settings.
        random: source of the initial parameters.
        options: which they are, and how actors are to be led.
    """

    def __init__(self, spec: Spec, random: Random, options: ActorCriticOptions) -> None:
        c, N, O, A = spec.config, spec.agents, spec.observation_size, spec.action_size  # noqa: E741
        self._agents, self._actions, self._gamma = N, A, c.gamma
        self._local, self._one = options.critic == "local", options.critic not in SEVERAL
        self._joint, self._twins = options.gradient == "joint", 2 if options.twin else 1
        self._count = 1 if self._one else N
        self._range = options.reward_range
        seen = O + A if self._local else N * (O + A)
        self._scheme = Independent([seen, *c.hidden, 1], self._twins * self._count)
        values, fall = self._draw(spec, random, options), (c.lr_end, spec.updates)
        self.learner = Learner(values, c.critic_lr, c.grad_clip, c.tau, fall=fall)

    def _draw(self, spec: Spec, random: Random, options: ActorCriticOptions) -> dict[str, Tensor]:
        """Draw the parameters of all critics."""
        return self._scheme.init(random)

    def _values(self, parameters: Mapping[str, Tensor], seen: Tensor) -> Tensor:
        """Evaluate what critics see: [R, C, B, in] -> [R, K, B, 1]."""
        return mlp(self._scheme.weights(parameters), self._twice(seen))

    def _estimates(self, seen: Tensor) -> Tensor:
        """Evaluate it by the critics that learn: [R, C, B, in] -> [R, K, B, 1]."""
        return self._values(self.learner.online.views, seen)

    def layers(self) -> Weights:
        """Return the layers of all critics, the first C being those that lead the actors."""
        return self._scheme.weights(self.learner.online.views)

    def see(self, observation: Tensor, action: Tensor) -> Tensor:
        """Join [R, N, B, O] and [R, N, B, A] into what each critic sees: [R, C, B, in].

        In memory with the batch last, as `mlp` wants it.
        """
        parts = (observation.mT, action.mT)
        if self._local:
            return torch.cat(parts, 2).mT
        joint = torch.cat([part.flatten(1, 2) for part in parts], 1).mT.unsqueeze(1)
        return joint if self._one else joint.expand(-1, self._agents, -1, -1)

    def learn(self, batch: Batch, stored: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
        """Take a step on the TD errors; return them, [R, K, B], and the gradient's norm [R].

        Args:
            batch: transitions.
            stored: [R, C, B, in], what critics see of them.
            future: [R, C, B, in], what critics see of what follows under the target policy.
        """
        with torch.no_grad():
            q_t = self._values(self.learner.target, future).squeeze(-1)
            reward = batch.reward.transpose(1, 2)
            if self._one:
                reward = reward.mean(1, keepdim=True)
            if self._twins == 2:
                q_t = q_t.unflatten(1, (2, -1)).amin(1)
            target = self._twice(td_target(reward, q_t, self._gamma, batch.terminated))
            if self._range is not None:
                bound_returns(target, self._range, self._gamma)
        q_tm1 = self._estimates(stored)
        td = q_tm1.detach().squeeze(-1) - target
        gradient = weighted_square_gradient(td, batch.weight)
        return td, self.learner.descend(q_tm1, gradient.unsqueeze(-1))

    def _twice(self, x: Tensor) -> Tensor:
        """Repeat what is per critic for the twins: [R, C, ...] -> [R, K, ...]."""
        return x if self._twins == 1 else torch.cat([x, x], 1)

    @torch.no_grad()
    def slope(self, batch: Batch, stored: Tensor, action: Tensor) -> Tensor:
        """Differentiate the sum of the critics' values by the actors' actions: [R, N, B, A]."""
        critic = [(W[:, : self._count], b[:, : self._count]) for W, b in self.layers()]
        R, N, B, A = action.shape
        if self._local or self._joint:
            joint = self.see(batch.observation.transpose(1, 2), action)
            slope = pull_back(critic, joint, joint.new_ones(*joint.shape[:3], 1))
            if self._local:
                return slope[..., -A:]
            return slope.sum(1)[..., -N * A :].unflatten(-1, (N, A)).transpose(1, 2)
        # Own gradient: N joint actions that differ from the stored one in one agent's part.
        done = stored[:, 0, :, -N * A :].unflatten(-1, (N, A)).transpose(1, 2)
        rows, change = self._own_rows(critic[0][0]), action - done
        return pull_back_own(critic, stored, rows, change, stored.new_ones(R, N, B, 1))

    def _own_rows(self, weight: Tensor) -> Tensor:
        """Pick from the first critic layer [R, C, in, H] each agent's action rows: [R, N, A, H]."""
        N = self._agents
        rows = weight[:, :, -N * self._actions :].unflatten(2, (N, -1))
        if self._one:
            return rows.squeeze(1)
        return rows.diagonal(dim1=1, dim2=2).movedim(-1, 1)
