"""Deterministic actor-critic for teams: independent DDPG, MADDPG, and MADDPG with one critic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from baselines.algorithms.actions import Actions, Forces, Moves
from baselines.algorithms.critics import Critics
from baselines.algorithms.learned import Learned
from baselines.algorithms.options import ActorCriticOptions
from baselines.mlp import mlp
from baselines.networks import Learner
from bench.config import validate
from bench.interfaces import Batch, SchemeFactory, Spec
from bench.random import Random

VERSION = 1


class ActorCritic(Learned):
    """Actors mu_i(o_i) of any parameter scheme, and critics that say what to learn (Lowe 2017).

    Continuous actions are tanh of the actors' outputs, discrete ones the greatest output, learned
    by Gumbel-softmax.

    Args:
        spec: the world's sizes and the run's settings.
        make_scheme: the actors' parameter scheme.
        random: source of the initial parameters.
        options: see `ActorCriticOptions`.

    Raises:
        RequestError: for an option without meaning.
    """

    def __init__(
        self, spec: Spec, make_scheme: SchemeFactory, random: Random, **options: Any
    ) -> None:
        chosen = validate(ActorCriticOptions, options, "algorithm_options")
        c, N = spec.config, spec.agents
        self._penalty = c.action_penalty
        self._critics = Critics(spec, random.fold("critic"), chosen)
        scheme = make_scheme([spec.observation_size, *c.hidden, spec.action_size], N)
        actor = scheme.init(random.fold("actor"))
        self._actor = Learner(actor, c.actor_lr, c.grad_clip, c.tau, scheme)
        self._actions: Actions = Moves(random.fold("draws")) if spec.discrete else Forces()
        super().__init__(scheme, ("actor", self._actor), critic=self._critics.learner)

    @torch.no_grad()
    def act(self, observation: Tensor, noise: float = 0.0, random: Random | None = None) -> Tensor:
        """Map [R, E, N, O] to actions [R, E, N, A]: noise is Gaussian, or epsilon for moves."""
        return self._actions.act(self._outputs(observation), noise, random)

    def update(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One step of the critics on the TD error, then one of the actors on the critics."""
        action = batch.action.transpose(1, 2)
        stored = self._critics.see(batch.observation.transpose(1, 2), action)
        td, critic_norm = self._critics.learn(batch, stored, self._future(batch))
        actor_norm = self._learn_actions(batch, stored)
        self._track(batch.reward)
        errors = td.abs().mean(1)
        return errors, {
            "td_error": errors.mean(1),
            "critic_gradient_norm": critic_norm,
            "actor_gradient_norm": actor_norm,
        }

    @torch.no_grad()
    def _future(self, batch: Batch) -> Tensor:
        """Return what critics see of the next step under the target actors: [R, C, B, in]."""
        seen = batch.next_observation.transpose(1, 2)
        layers = self.scheme.weights(self._actor.target)
        return self._critics.see(seen, self._actions.best(mlp(layers, seen)))

    def _learn_actions(self, batch: Batch, stored: Tensor) -> Tensor:
        """Descend on penalty * mean of output^2 - mean of Q, a mean over the batch per network."""
        outputs = mlp(self.layers(), batch.observation.transpose(1, 2))
        return self._actor.descend(outputs, self._output_gradient(batch, stored, outputs))

    @torch.no_grad()
    def _output_gradient(self, batch: Batch, stored: Tensor, outputs: Tensor) -> Tensor:
        B, A = outputs.shape[2:]
        action, needed = self._actions.draw(outputs)
        slope = self._critics.slope(batch, stored, action)
        gradient = self._actions.pull_back(slope, needed).mul_(-1 / B)
        return gradient.add_(outputs, alpha=2 * self._penalty / (B * A))

    def _loss_gradient(self, batch: Batch, outputs: Tensor) -> Tensor:
        """Differentiate the actors' loss by their outputs: [R, N, B, A]."""
        action = batch.action.transpose(1, 2)
        stored = self._critics.see(batch.observation.transpose(1, 2), action)
        return self._output_gradient(batch, stored, outputs)

    def state(self) -> Mapping[str, Tensor]:
        """Return networks, targets and moments of actors and critics, and what draws depend on."""
        return {**super().state(), **self._actions.state()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        super().load(state)
        for name, tensor in self._actions.state().items():
            tensor.copy_(state[name])
