"""What the actors' network is fed in place of the observation, if that has to be learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from baselines.symmetry.attention import AttentionView
from baselines.symmetry.exchangeable import ExchangeableView
from bench.interfaces import ParameterScheme, Spec, Weights
from bench.random import Random
from bench.tensors import found_under, put_under


class View(Protocol):
    """A learned function of an observation that all agents share."""

    width: int
    """How many numbers it returns."""

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw its parameters by name, each [R, ...]."""
        ...

    def __call__(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Read observations: [R, N, B, O] -> [R, N, B, width]."""
        ...


def make_view(name: str, spec: Spec) -> View | None:
    """Return the view of that name, or None where nothing of it is learned."""
    entities = spec.entities or ()
    own = spec.observation_size - sum(count * width for count, width in entities)
    if name == "attention":
        return AttentionView(own, entities, _narrow(spec))
    return ExchangeableView(own, entities, _narrow(spec)) if name == "exchangeable" else None


def _narrow(spec: Spec) -> int:
    """Features of one thing seen: there are many, so half of the first hidden layer each."""
    return max(spec.config.hidden[0] // 2, 1)


class Seeing:
    """A parameter scheme whose network is fed by a view: both are learned as one.

    Args:
        scheme: of the network, whose input is as wide as the view.
        view: shared by all agents, whatever the scheme.
    """

    def __init__(self, scheme: ParameterScheme, view: View) -> None:
        self._scheme, self._view = scheme, view

    def __getattr__(self, name: str) -> Any:
        """Have what the scheme has besides: its say in training, its memory."""
        return getattr(self._scheme, name)

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw both."""
        view = self._view.init(random.fold("view"))
        return {**self._scheme.init(random), **put_under("view.", view)}

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        """Return the network's layers."""
        own = {k: v for k, v in parameters.items() if not k.startswith("view.")}
        return self._scheme.weights(own)

    def size(self, parameters: Mapping[str, Tensor]) -> int:
        """Count the view's parameters of one replica."""
        return sum(value[0].numel() for value in found_under("view.", parameters).values())

    def see(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Return what the network is fed: [R, N, B, O] -> [R, N, B, width]."""
        return self._view(found_under("view.", parameters), x)
