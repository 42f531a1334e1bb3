"""Independent Q-learning: every agent a double DQN of its own (Tan 1993; van Hasselt 2016)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from baselines.algorithms.actions import epsilon_greedy
from baselines.algorithms.learned import Learned
from baselines.algorithms.losses import double_q, td_target, weighted_square_gradient
from baselines.mlp import mlp
from baselines.networks import Learner
from bench.errors import RequestError
from bench.interfaces import Batch, SchemeFactory, Spec
from bench.random import Random

VERSION = 1


class IQL(Learned):
    """Agent i learns Q_i(o_i, .) over its own moves from its own reward; the others are world.

    Whether the agents share weights is the scheme's business, and is said in the method's name.

    Args:
        spec: the world's sizes and the run's settings.
        make_scheme: the parameter scheme of the Q networks.
        random: source of the initial parameters.

    Raises:
        RequestError: if the actions are continuous.
    """

    def __init__(self, spec: Spec, make_scheme: SchemeFactory, random: Random) -> None:
        if not spec.discrete:
            raise RequestError("Q-learning needs actions: discrete; say so in the method's entry")
        c = spec.config
        self._gamma = c.gamma
        scheme = make_scheme([spec.observation_size, *c.hidden, spec.action_size], spec.agents)
        values = scheme.init(random.fold("q"))
        fall = c.lr_end, spec.updates
        self._q = Learner(values, c.actor_lr, c.grad_clip, c.tau, scheme, fall)
        super().__init__(scheme, ("q", self._q))

    @torch.no_grad()
    def act(self, observation: Tensor, noise: float = 0.0, random: Random | None = None) -> Tensor:
        """Map [R, E, N, O] to one-hot moves [R, E, N, A], epsilon-greedy with epsilon = noise."""
        return epsilon_greedy(self._outputs(observation), noise, random)

    def update(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One step on the TD errors; the priority is the mean of their sizes."""
        values = mlp(self.layers(), batch.observation.transpose(1, 2))
        td, gradient = self._errors(batch, values.detach())
        norm = self._q.descend(values, gradient)
        self._track()
        errors = td.abs().mean(1)
        return errors, {"td_error": errors.mean(1), "critic_gradient_norm": norm}

    def _errors(self, batch: Batch, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return TD errors [R, G, B], and the loss's gradient by the values [R, N, B, A]."""
        action = batch.action.transpose(1, 2)
        with torch.no_grad():
            next_observation = batch.next_observation.transpose(1, 2)
            # Made anew: those kept for acting a captured update would take for constant.
            online_t = mlp(self.layers(), next_observation)
            target_t = mlp(self.scheme.weights(self._q.target), next_observation)
            q_t = double_q(online_t, target_t)
        td, slope = self._judge(batch, (values * action).sum(-1), q_t)
        return td, slope.unsqueeze(-1) * action

    def _loss_gradient(self, batch: Batch, outputs: Tensor) -> Tensor:
        """Differentiate the Q networks' loss by their values: [R, N, B, A]."""
        return self._errors(batch, outputs)[1]

    def _judge(self, batch: Batch, q_tm1: Tensor, q_t: Tensor) -> tuple[Tensor, Tensor]:
        """Return TD errors, and the gradient of the loss by the agents' values.

        Args:
            batch: transitions.
            q_tm1: [R, N, B], each agent's value of its move.
            q_t: [R, N, B], its target network's value of the greedy move that follows.

        Returns:
            [R, G, B], here G = N; and [R, N, B].
        """
        target = td_target(batch.reward.transpose(1, 2), q_t, self._gamma, batch.terminated)
        td = q_tm1 - target
        return td, weighted_square_gradient(td, batch.weight)
