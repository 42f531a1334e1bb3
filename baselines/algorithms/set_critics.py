"""One critic for a team that does not tell the agents apart, whatever order they come in."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from baselines.algorithms.critics import Critics
from baselines.algorithms.options import ActorCriticOptions
from baselines.symmetry.attention import AttentionCritic
from baselines.symmetry.deep_set import DeepSet
from baselines.symmetry.exchangeable import ExchangeableCritic
from bench.interfaces import Batch, Spec
from bench.random import Random


class Twins:
    """One network for the value of a set, or two side by side, which share nothing."""

    def __init__(self, network: DeepSet | AttentionCritic | ExchangeableCritic, count: int) -> None:
        self._network, self._count = network, count

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw each: [R, G, ...] where one network has [R, 1, ...]."""
        drawn = [self._network.init(random.fold(number)) for number in range(self._count)]
        return {name: torch.cat([part[name] for part in drawn], 1) for name in drawn[0]}

    def values(self, parameters: Mapping[str, Tensor], x: Tensor, count: int) -> Tensor:
        """Evaluate x [R, N, B, O + A] by the first `count`: [R, count, B, 1]."""
        if self._count == 1:
            return self._network.value(parameters, x)
        own = ({k: v[:, n : n + 1] for k, v in parameters.items()} for n in range(count))
        return torch.cat([self._network.value(part, x) for part in own], 1)


class SetCritics(Critics):
    """Q({(o_i, a_i)}): a deep set, attention among agents, or layers on agents by targets."""

    def _draw(self, spec: Spec, random: Random, options: ActorCriticOptions) -> dict[str, Tensor]:
        self._set = Twins(self._network(spec, options.critic), self._twins)
        return self._set.init(random)

    def _network(self, spec: Spec, name: str) -> DeepSet | AttentionCritic | ExchangeableCritic:
        size, hidden = spec.observation_size + spec.action_size, spec.config.hidden
        if name == "exchangeable":
            entities = spec.entities or ()
            own = spec.observation_size - sum(count * width for count, width in entities)
            return ExchangeableCritic(own, entities, spec.action_size, hidden)
        return DeepSet(size, hidden) if name == "deep-set" else AttentionCritic(size, hidden)

    def see(self, observation: Tensor, action: Tensor) -> Tensor:
        """Join [R, N, B, O] and [R, N, B, A] agent by agent: [R, N, B, O + A]."""
        parts = [part.mT.transpose(1, 2) for part in (observation, action)]
        return torch.cat(parts, 1).transpose(1, 2).mT

    def _values(self, parameters: Mapping[str, Tensor], seen: Tensor) -> Tensor:
        return self._set.values(parameters, seen, self._twins)

    @torch.no_grad()
    def slope(self, batch: Batch, stored: Tensor, action: Tensor) -> Tensor:
        """Differentiate the value by the actors' actions, all of which are in it: [R, N, B, A]."""
        frozen = {name: value.detach() for name, value in self.learner.online.views.items()}
        joint = self.see(batch.observation.transpose(1, 2), action)
        with torch.enable_grad():
            total = self._set.values(frozen, joint.requires_grad_(), 1).sum()
        return torch.autograd.grad(total, joint)[0][..., -action.shape[-1] :]
