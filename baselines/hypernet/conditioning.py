"""What is known of an agent: e_i.

What an agent has seen, whom it stands next to or what it was told are conditionings too; they would
take their place here, with `embed` told of them.

Shapes: R replicas, N agents, E width of e.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from baselines.hypernet.initialisation import orthogonal
from bench.errors import RequestError
from bench.random import Random


class Conditioning(Protocol):
    """Tells the agents apart."""

    width: int
    """E."""
    energy: float
    """E|e|^2 at the start, a mean over agents."""

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw what is learned of it, by name."""
        ...

    def embed(self, parameters: Mapping[str, Tensor], like: Tensor) -> Tensor:
        """Return e [R, N, E], with the replicas, type and device of `like` [R, ...]."""
        ...


class Learned:
    """An embedding of the agent's ID, learned with the rest.

    Args:
        agents: N.
        width: E.
        orthogonal: start from orthogonal rows, as different as they can be (Tessera et al. 2024);
            else from normal ones.  Either way E|e|^2 = E.
    """

    def __init__(self, agents: int, width: int, orthogonal: bool) -> None:
        self._agents, self.width, self._orthogonal = agents, width, orthogonal
        self.energy = float(width)

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw an embedding per agent."""
        source = random.fold("embedding")
        if self._orthogonal:
            scale = math.sqrt(max(self._agents, self.width))
            return {"e": orthogonal(source, self._agents, self.width) * scale}
        return {"e": source.normal(self._agents, self.width)}

    def embed(self, parameters: Mapping[str, Tensor], like: Tensor) -> Tensor:
        """Return the learned rows."""
        return parameters["e"]


class Given:
    """Constant rows: the agents' one-hot IDs, or features of their roles.

    Args:
        rows: [N, E], on any device.
    """

    def __init__(self, rows: Tensor) -> None:
        self._rows, self.width = rows, rows.shape[1]
        self.energy = float(rows.square().sum(1).mean())

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw nothing."""
        return {}

    def embed(self, parameters: Mapping[str, Tensor], like: Tensor) -> Tensor:
        """Return the rows for every replica."""
        self._rows = self._rows.to(like)  # a copy the first time, if they are to lie elsewhere
        return self._rows.expand(len(like), -1, -1)


def make_conditioning(
    name: str, agents: int, width: int, features: Tensor | None = None
) -> Conditioning:
    """Return a conditioning by its name.

    Args:
        name: learned, orthogonal, one-hot or features.
        agents: N.
        width: E of a learned embedding.
        features: [N, F] what the task says of the agents' roles, if it does; on the CPU.

    Raises:
        RequestError: if the task gives no features, or none that fit.
    """
    if name == "features":
        if features is None or features.shape[0] != agents or not bool(features.any()):
            raise RequestError(
                "conditioning: features needs a task that gives features of its agents' roles; "
                "choose conditioning: learned"
            )
        return Given(features)
    if name == "one-hot":
        return Given(torch.eye(agents))
    return Learned(agents, width, orthogonal=name == "orthogonal")
