"""Value decomposition: the team's value as a function of each agent's, learned from one reward.

It grows with every agent's value, so the moves that are best for each are best for the team, and
are found without looking at joint moves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from baselines.algorithms.iql import IQL
from baselines.algorithms.losses import td_target, weighted_square_gradient
from baselines.algorithms.mixer import Mixer
from baselines.networks import Learner
from bench.interfaces import Batch, SchemeFactory, Spec
from bench.random import Random

VERSION = 1


class VDN(IQL):
    """Q_tot = sum of Q_i(o_i, a_i), double Q-learning on the team's mean reward (Sunehag 2018)."""

    def _judge(self, batch: Batch, q_tm1: Tensor, q_t: Tensor) -> tuple[Tensor, Tensor]:
        td = q_tm1.sum(1, keepdim=True) - self._target(batch, q_t.sum(1, keepdim=True))
        return td, weighted_square_gradient(td, batch.weight).expand_as(q_tm1)

    def _target(self, batch: Batch, total_t: Tensor) -> Tensor:
        """Return the team's target: [R, 1, B]."""
        reward = batch.reward.mean(2).unsqueeze(1)
        return td_target(reward, total_t, self._gamma, batch.terminated)


class QMIX(VDN):
    """Q_tot = f_s(Q_1, ..., Q_N), monotone in each, f given by the state s (Rashid 2018).

    The state is what all agents observe, joined.  The mixing network learns at the critic's rate.
    """

    def __init__(self, spec: Spec, make_scheme: SchemeFactory, random: Random) -> None:
        super().__init__(spec, make_scheme, random)
        c = spec.config
        self._mixer = Mixer(spec.agents * spec.observation_size, spec.agents)
        values = self._mixer.init(random.fold("mixer"))
        fall = c.lr_end, spec.updates
        self._mixing = Learner(values, c.critic_lr, c.grad_clip, c.tau, fall=fall)
        self._others["mixer"] = self._mixing

    def _judge(self, batch: Batch, q_tm1: Tensor, q_t: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            total_t = self._mixer.mix(self._mixing.target, q_t, batch.next_observation)
            target = self._target(batch, total_t)
        q_tm1.requires_grad_()
        total = self._mixer.mix(self._mixing.online.views, q_tm1, batch.observation)
        td = total.detach() - target
        gradient = weighted_square_gradient(td, batch.weight)
        (slope,) = torch.autograd.grad(total, q_tm1, gradient, retain_graph=True)
        self._mixing.descend(total, gradient)
        return td, slope
