"""What every algorithm keeps: its learners, the first of which is the network that acts."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor

from baselines.mlp import mlp
from baselines.networks import Acting, Learner, layer_gradients, parameter_counts
from bench.interfaces import Batch, ParameterScheme, Weights


class Learned(ABC):
    """An algorithm that is made of learners.

    Args:
        scheme: the parameter scheme of the acting network.
        acting: name and learner of the acting network.
        others: the other learners by name.
    """

    trains = True

    def __init__(
        self, scheme: ParameterScheme, acting: tuple[str, Learner], **others: Learner
    ) -> None:
        self.scheme, (self._name, self._learner) = scheme, acting
        self._others = others
        self._acting = Acting(scheme, self._learner.online)

    def _outputs(self, observation: Tensor) -> Tensor:
        """Apply the acting network without gradient: [R, E, N, O] -> [R, N, E, out]."""
        return mlp(self._acting.layers(), self.fed(observation.transpose(1, 2)))

    def fed(self, observation: Tensor) -> Tensor:
        """Return what the layers are applied to, here the observation: [R, N, B, O]."""
        return observation

    def _learners(self) -> Mapping[str, Learner]:
        return {self._name: self._learner, **self._others}

    def scored(self, score: Tensor) -> None:
        """Hear of the acting network's score [R], for what remembers it."""
        self._learner.scored(score)

    def _track(self) -> None:
        """After a step: move all targets."""
        for learner in self._learners().values():
            learner.track()

    def layers(self) -> Weights:
        """Return the acting network's layers."""
        return self.scheme.weights(self._learner.online.views)

    def gradients(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Differentiate the acting network's loss; see :class:`bench.interfaces.Graded`."""
        # On the way draws move on, and a mixing network learns: put back afterwards.
        kept = {name: tensor.clone() for name, tensor in self.state().items()}
        loss_gradient = functools.partial(self._loss_gradient, batch)
        x = self.fed(batch.observation.transpose(1, 2))
        found = layer_gradients(self._learner.online, self.layers(), x, loss_gradient)
        self.load(kept)
        return found

    @abstractmethod
    def _loss_gradient(self, batch: Batch, outputs: Tensor) -> Tensor:
        """Differentiate the loss by the acting network's outputs: [R, N, B, out]."""

    @property
    def policy(self) -> Mapping[str, Tensor]:
        """The acting network's parameters."""
        return {self._name: self._learner.online.flat}

    def load_policy(self, policy: Mapping[str, Tensor]) -> None:
        """Restore the acting network's parameters."""
        self._learner.online.flat.copy_(policy[self._name])

    def state(self) -> Mapping[str, Tensor]:
        """Return networks, targets and moments of every learner."""
        parts = [learner.state(name) for name, learner in self._learners().items()]
        return {key: tensor for part in parts for key, tensor in part.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for name, learner in self._learners().items():
            learner.load(name, state)

    def parameter_counts(self) -> tuple[int, int, int]:
        """Count trained, inference and peak parameters of one replica."""
        return parameter_counts(self._learner, self.layers(), *self._others.values())
