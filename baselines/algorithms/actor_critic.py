"""Deterministic actor-critic for teams: independent DDPG, MADDPG, and MADDPG with one critic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from baselines.algorithms.actions import Actions, Forces, Moves
from baselines.algorithms.critics import Critics
from baselines.algorithms.learned import Learned
from baselines.algorithms.options import ActorCriticOptions
from baselines.algorithms.set_critics import SetCritics
from baselines.mlp import mlp
from baselines.networks import Learner
from baselines.symmetry.nearest import nearest_first
from baselines.symmetry.views import Seeing, make_view
from bench.errors import RequestError
from bench.interfaces import Batch, SchemeFactory, Spec
from bench.random import Random
from bench.validation import validate

VERSION = 1
"""Stands also for critics, actions, and what the symmetry of a team is built from."""
OPTION_VERSIONS = {"twin": 2, "critic=attention": 2}
"""twin, 2: the gradients of twins that are sets are clipped apart, as others' are."""


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
        self._sorted = chosen.actors_see == "nearest-first", chosen.critics_see == "nearest-first"
        view = make_view(chosen.actors_see, spec)
        if spec.entities is None and (any(self._sorted) or view or chosen.critic == "exchangeable"):
            raise RequestError(f"task '{spec.config.task}' does not say what its observations list")
        self._entities = spec.entities or ()
        critics = SetCritics if chosen.of_sets else Critics
        self._critics = critics(spec, random.fold("critic"), chosen)
        self._seeing: Seeing | None = None
        width = view.width if view else spec.observation_size
        scheme = make_scheme([width, *c.hidden, spec.action_size], N)
        if view is not None:
            scheme = self._seeing = Seeing(scheme, view)
        actor = scheme.init(random.fold("actor"))
        fall = c.lr_end, spec.updates
        self._actor = Learner(actor, c.actor_lr, c.grad_clip, c.tau, scheme, fall)
        self._actions: Actions = Moves(random.fold("draws")) if spec.discrete else Forces()
        super().__init__(scheme, ("actor", self._actor), critic=self._critics.learner)

    @torch.no_grad()
    def act(self, observation: Tensor, noise: float = 0.0, random: Random | None = None) -> Tensor:
        """Map [R, E, N, O] to actions [R, E, N, A]: noise is Gaussian, or epsilon for moves."""
        return self._actions.act(self._outputs(observation), noise, random)

    def update(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One step of the critics on the TD error, then one of the actors on the critics."""
        by_actors, by_critics = self._views(batch)
        action = batch.action.transpose(1, 2)
        stored = self._critics.see(by_critics.observation.transpose(1, 2), action)
        future = self._future(by_actors.next_observation, by_critics.next_observation)
        td, critic_norm = self._critics.learn(batch, stored, future)
        actor_norm = self._learn_actions(by_actors.observation, by_critics, stored)
        self._track()
        errors = td.abs().mean(1)
        return errors, {
            "td_error": errors.mean(1),
            "critic_gradient_norm": critic_norm,
            "actor_gradient_norm": actor_norm,
        }

    def _views(self, batch: Batch) -> tuple[Batch, Batch]:
        """Return the batch with the observations that actors, and that critics are fed."""
        if not any(self._sorted):
            return batch, batch
        first, then = (
            nearest_first(observation.transpose(1, 2), self._entities).transpose(1, 2)
            for observation in (batch.observation, batch.next_observation)
        )
        listed = replace(batch, observation=first, next_observation=then)
        actors, critics = (listed if wanted else batch for wanted in self._sorted)
        return actors, critics

    def fed(self, observation: Tensor) -> Tensor:
        """Return what the actors' layers are applied to: [R, N, B, O] -> [R, N, B, in]."""
        seen = nearest_first(observation, self._entities) if self._sorted[0] else observation
        return self._fed(self._actor.online.views, seen)

    def _fed(self, parameters: Mapping[str, Tensor], seen: Tensor) -> Tensor:
        """Return what the actors' network is fed: [R, N, B, O] -> [R, N, B, in]."""
        return seen if self._seeing is None else self._seeing.see(parameters, seen)

    @torch.no_grad()
    def _future(self, by_actors: Tensor, by_critics: Tensor) -> Tensor:
        """Return what critics see of the next step under the target actors: [R, C, B, in]."""
        layers = self.scheme.weights(self._actor.target)
        outputs = mlp(layers, self._fed(self._actor.target, by_actors.transpose(1, 2)))
        return self._critics.see(by_critics.transpose(1, 2), self._actions.best(outputs))

    def _learn_actions(self, by_actors: Tensor, batch: Batch, stored: Tensor) -> Tensor:
        """Descend on penalty * mean of output^2 - mean of Q, a mean over the batch per network.

        Args:
            by_actors: [R, B, N, O], what they see.
            batch: transitions, as the critics see them.
            stored: what critics make of that.
        """
        fed = self._fed(self._actor.online.views, by_actors.transpose(1, 2))
        outputs = mlp(self.layers(), fed)
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
        _, by_critics = self._views(batch)
        action = batch.action.transpose(1, 2)
        stored = self._critics.see(by_critics.observation.transpose(1, 2), action)
        return self._output_gradient(by_critics, stored, outputs)

    def parameter_counts(self) -> tuple[int, int, int]:
        """Count trained, inference and peak parameters of one replica, a view's among them."""
        trained, acting, peak = super().parameter_counts()
        seen = 0 if self._seeing is None else self._seeing.size(self._actor.online.views)
        return trained, acting + seen, peak

    def state(self) -> Mapping[str, Tensor]:
        """Return networks, targets and moments of actors and critics, and what draws depend on."""
        return {**super().state(), **self._actions.state()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        super().load(state)
        for name, tensor in self._actions.state().items():
            tensor.copy_(state[name])
