"""Independent Q-learning: every agent a double DQN of its own (Tan 1993; van Hasselt 2016)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from baselines.algorithms.losses import double_q, td_target, weighted_square_gradient
from baselines.mlp import mlp
from baselines.networks import Acting, Learner, layer_gradients, parameter_counts
from bench.errors import RequestError
from bench.interfaces import Batch, SchemeFactory, Spec, Weights
from bench.random import Random

VERSION = 1


class IQL:
    """Agent i learns Q_i(o_i, .) over its own moves from its own reward; the others are world.

    Whether the agents share weights is the scheme's business, and is said in the method's name.

    Args:
        spec: the world's sizes and the run's settings.
        make_scheme: the parameter scheme of the Q networks.
        random: source of the initial parameters.

    Raises:
        RequestError: if the actions are continuous.
    """

    trains = True

    def __init__(self, spec: Spec, make_scheme: SchemeFactory, random: Random) -> None:
        if not spec.discrete:
            raise RequestError("Q-learning needs actions: discrete")
        c = spec.config
        self._moves, self._gamma = spec.action_size, c.gamma
        sizes = [spec.observation_size, *c.hidden, spec.action_size]
        self._scheme = make_scheme(sizes, spec.agents)
        values = self._scheme.init(random.fold("q"))
        self._q = Learner(values, c.actor_lr, c.grad_clip, c.tau, self._scheme)
        self._acting = Acting(self._scheme, self._q.online)

    def _values(self, parameters: Mapping[str, Tensor], observation: Tensor) -> Tensor:
        """Evaluate every move: [R, B, N, O] -> [R, N, B, A]."""
        return mlp(self._scheme.weights(parameters), observation.transpose(1, 2))

    @torch.no_grad()
    def act(self, observation: Tensor, noise: float = 0.0, random: Random | None = None) -> Tensor:
        """Map [R, E, N, O] to one-hot moves [R, E, N, A], epsilon-greedy with epsilon = noise."""
        values = mlp(self._acting.layers(), observation.transpose(1, 2))
        move = values.argmax(-1).transpose(1, 2)
        if noise and random is not None:
            shape = move.shape[1:]
            anything = (random.fold("move").uniform(*shape) * self._moves).long()
            explore = random.fold("explore").uniform(*shape) < noise
            move = torch.where(explore, anything, move)
        return one_hot(move, self._moves).to(observation.dtype)

    def layers(self) -> Weights:
        """Return the Q networks' layers."""
        return self._scheme.weights(self._q.online.views)

    def update(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One step on every agent's TD error; the priority is the mean of their sizes."""
        values = self._values(self._q.online.views, batch.observation)
        td, gradient = self._loss_gradient(batch, values)
        norm = self._q.descend(values, gradient)
        self._q.hear(batch.reward.mean((1, 2)))
        self._q.track()
        errors = td.abs().mean(1)
        return errors, {"td_error": errors.mean(1), "critic_gradient_norm": norm}

    @torch.no_grad()
    def _loss_gradient(self, batch: Batch, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return TD errors [R, N, B], and the loss's gradient by the values [R, N, B, A]."""
        online_t = mlp(self._acting.layers(), batch.next_observation.transpose(1, 2))
        target_t = self._values(self._q.target, batch.next_observation)
        reward = batch.reward.transpose(1, 2)
        target = td_target(reward, double_q(online_t, target_t), self._gamma, batch.terminated)
        action = batch.action.transpose(1, 2)
        td = (values * action).sum(-1) - target
        return td, weighted_square_gradient(td, batch.weight).unsqueeze(-1) * action

    def gradients(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Differentiate the Q networks' loss by what is trained of them and by their layers."""
        x = batch.observation.transpose(1, 2)

        def loss_gradient(values: Tensor) -> Tensor:
            return self._loss_gradient(batch, values)[1]

        return layer_gradients(self._q.online, self.layers(), x, loss_gradient)

    # -- what the harness keeps --------------------------------------------------------------------

    @property
    def policy(self) -> Mapping[str, Tensor]:
        """The Q networks' parameters."""
        return {"q": self._q.online.flat}

    def load_policy(self, policy: Mapping[str, Tensor]) -> None:
        """Restore the Q networks' parameters."""
        self._q.online.flat.copy_(policy["q"])

    def state(self) -> Mapping[str, Tensor]:
        """Return networks, targets and moments."""
        return self._q.state("q")

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self._q.load("q", state)

    def parameter_counts(self) -> tuple[int, int, int]:
        """Count trained, inference and peak parameters of one replica."""
        return parameter_counts(self._q, self.layers())
