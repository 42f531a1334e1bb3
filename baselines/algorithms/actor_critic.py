"""Deterministic actor-critic for teams: independent DDPG, MADDPG, and MADDPG with one critic."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from baselines.algorithms.losses import td_target, weighted_square_gradient
from baselines.mlp import mlp, pull_back, pull_back_own
from baselines.networks import Acting, Learner, layer_gradients, parameter_counts
from baselines.sharing.independent import Independent
from bench.errors import RequestError
from bench.interfaces import Batch, SchemeFactory, Spec, Weights
from bench.random import Random

VERSION = 1


class ActorCritic:
    """Actors mu_i(o_i) of any parameter scheme, and critics that say what to learn (Lowe 2017).

    Args:
        spec: the world's sizes and the run's settings.
        make_scheme: the actors' parameter scheme.
        random: source of the initial parameters.
        critic: `local` gives agent i a critic Q_i(o_i, a_i) (independent DDPG); `per-agent` a
            critic Q_i(o, a) of all observations and actions, on its own reward (vanilla MADDPG);
            `one` is a single Q(o, a) for the team, on the mean reward (parameter-shared MADDPG).
        gradient: `own` differentiates agent i's value through its own action only, the others
            being the stored ones (Lowe et al. 2017, eq. 6); `joint` puts every agent's current
            action into the critic and differentiates through all of them at once.

    Raises:
        RequestError: for an option without meaning, or discrete actions.
    """

    trains = True

    def __init__(
        self,
        spec: Spec,
        make_scheme: SchemeFactory,
        random: Random,
        *,
        critic: Literal["local", "per-agent", "one"] = "one",
        gradient: Literal["own", "joint"] = "own",
    ) -> None:
        if critic not in ("local", "per-agent", "one"):
            raise RequestError(f"critic = {critic!r}; choose local, per-agent or one")
        if gradient not in ("own", "joint") or (gradient == "joint" and critic == "local"):
            raise RequestError(f"gradient = {gradient!r} with critic = {critic!r}; choose own")
        if spec.discrete:
            raise RequestError("deterministic actor-critics need actions: continuous")
        c, N, O, A = spec.config, spec.agents, spec.observation_size, spec.action_size  # noqa: E741
        self._agents, self._actions = N, A
        self._gamma, self._penalty = c.gamma, c.action_penalty
        self._critics, self._gradient = critic, gradient
        seen = O + A if critic == "local" else N * (O + A)
        self._actor_scheme = make_scheme([O, *c.hidden, A], N)
        self._critic_scheme = Independent([seen, *c.hidden, 1], 1 if critic == "one" else N)
        actor = self._actor_scheme.init(random.fold("actor"))
        value = self._critic_scheme.init(random.fold("critic"))
        self._actor = Learner(actor, c.actor_lr, c.grad_clip, c.tau, self._actor_scheme)
        self._acting = Acting(self._actor_scheme, self._actor.online)
        self._critic = Learner(value, c.critic_lr, c.grad_clip, c.tau)

    @torch.no_grad()
    def act(self, observation: Tensor, noise: float = 0.0, random: Random | None = None) -> Tensor:
        """Map [R, E, N, O] to actions [R, E, N, A], plus Gaussian noise while training."""
        layers = self._acting.layers()
        action = torch.tanh_(mlp(layers, observation.transpose(1, 2))).transpose(1, 2)
        if noise and random is not None:
            action = (action + noise * random.normal(*action.shape[1:])).clamp_(-1, 1)
        return action

    def layers(self) -> Weights:
        """Return the actors' layers."""
        return self._actor_scheme.weights(self._actor.online.views)

    def update(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One step of the critics on the TD error, then one of the actors on the critics."""
        # What the critics see of the stored transitions: [R, G, B, in].
        stored = self._critic_input(batch.observation.transpose(1, 2), batch.action.transpose(1, 2))
        td, critic_norm = self._learn_values(batch, stored)
        actor_norm = self._learn_actions(batch, stored)
        self._actor.hear(batch.reward.mean((1, 2)))
        self._critic.track()
        self._actor.track()
        errors = td.abs().mean(1)
        return errors, {
            "td_error": errors.mean(1),
            "critic_gradient_norm": critic_norm,
            "actor_gradient_norm": actor_norm,
        }

    def _learn_values(self, batch: Batch, stored: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            layers = self._actor_scheme.weights(self._actor.target)
            action = torch.tanh_(mlp(layers, batch.next_observation.transpose(1, 2)))
            next_input = self._critic_input(batch.next_observation.transpose(1, 2), action)
            q_t = mlp(self._critic_scheme.weights(self._critic.target), next_input).squeeze(-1)
            reward = batch.reward.transpose(1, 2)
            if self._critics == "one":
                reward = reward.mean(1, keepdim=True)
            target = td_target(reward, q_t, self._gamma, batch.terminated)
        q_tm1 = mlp(self._critic_layers(), stored)
        td = q_tm1.detach().squeeze(-1) - target
        gradient = weighted_square_gradient(td, batch.weight)
        return td, self._critic.descend(q_tm1, gradient.unsqueeze(-1))

    def _learn_actions(self, batch: Batch, stored: Tensor) -> Tensor:
        """Descend on penalty * mean of logit^2 - mean of Q, a mean over the batch per network."""
        logits = mlp(self.layers(), batch.observation.transpose(1, 2))
        return self._actor.descend(logits, self._logit_gradient(batch, stored, logits))

    @torch.no_grad()
    def _logit_gradient(self, batch: Batch, stored: Tensor, logits: Tensor) -> Tensor:
        """Differentiate the actors' loss by their outputs before the tanh: [R, N, B, A]."""
        B, A = logits.shape[2:]
        action = torch.tanh(logits)
        slope = self._value_gradient(batch, stored, action)
        gradient: Tensor = torch.ops.aten.tanh_backward(slope, action).mul_(-1 / B)
        return gradient.add_(logits, alpha=2 * self._penalty / (B * A))

    def gradients(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Differentiate the actors' loss by what is trained of them and by their layers."""
        x = batch.observation.transpose(1, 2)
        stored = self._critic_input(x, batch.action.transpose(1, 2))
        loss_gradient = functools.partial(self._logit_gradient, batch, stored)
        return layer_gradients(self._actor.online, self.layers(), x, loss_gradient)

    def _critic_layers(self) -> Weights:
        return self._critic_scheme.weights(self._critic.online.views)

    @torch.no_grad()
    def _value_gradient(self, batch: Batch, stored: Tensor, action: Tensor) -> Tensor:
        """Differentiate the sum of the critics' values by the actors' actions: [R, N, B, A]."""
        critic, (R, N, B, A) = self._critic_layers(), action.shape
        if self._critics == "local" or self._gradient == "joint":
            joint = self._critic_input(batch.observation.transpose(1, 2), action)
            slope = pull_back(critic, joint, joint.new_ones(*joint.shape[:3], 1))
            if self._critics == "local":
                return slope[..., -A:]
            return slope.sum(1)[..., -N * A :].unflatten(-1, (N, A)).transpose(1, 2)
        # Own gradient: N joint actions that differ from the stored one in one agent's part.
        rows, change = self._own_rows(critic[0][0]), action - batch.action.transpose(1, 2)
        return pull_back_own(critic, stored, rows, change, stored.new_ones(R, N, B, 1))

    def _own_rows(self, weight: Tensor) -> Tensor:
        """Pick from the first critic layer [R, G, in, H] each agent's action rows: [R, N, A, H]."""
        N = self._agents
        rows = weight[:, :, -N * self._actions :].unflatten(2, (N, -1))
        if self._critics == "one":
            return rows.squeeze(1)
        return rows.diagonal(dim1=1, dim2=2).movedim(-1, 1)

    def _critic_input(self, observation: Tensor, action: Tensor) -> Tensor:
        """Join [R, N, B, O] and [R, N, B, A] into what each critic sees: [R, G, B, in].

        In memory with the batch last, as `mlp` wants it.
        """
        parts = (observation.mT, action.mT)
        if self._critics == "local":
            return torch.cat(parts, 2).mT
        joint = torch.cat([part.flatten(1, 2) for part in parts], 1).mT.unsqueeze(1)
        return joint if self._critics == "one" else joint.expand(-1, self._agents, -1, -1)

    # -- what the harness keeps --------------------------------------------------------------------

    @property
    def policy(self) -> Mapping[str, Tensor]:
        """The actors' parameters."""
        return {"actor": self._actor.online.flat}

    def load_policy(self, policy: Mapping[str, Tensor]) -> None:
        """Restore the actors' parameters."""
        self._actor.online.flat.copy_(policy["actor"])

    def state(self) -> Mapping[str, Tensor]:
        """Return networks, targets and moments of actors and critics."""
        return {**self._actor.state("actor"), **self._critic.state("critic")}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self._actor.load("actor", state)
        self._critic.load("critic", state)

    def parameter_counts(self) -> tuple[int, int, int]:
        """Count trained, inference and peak parameters of one replica."""
        return parameter_counts(self._actor, self.layers(), self._critic)
