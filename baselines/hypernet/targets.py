"""What is generated, and what it is added to.

Layer l of agent i is W_i = g + alpha dW_i and b_i = b + alpha db_i, with dW and db generated, g the
base (stored, shared by all agents, and absent at rho = 1) and b the stored bias of a layer whose
weights are stored.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """Which layers of a network are generated."""

    weights: tuple[int, ...]
    """Layers whose W and b are generated."""
    offsets: tuple[int, ...]
    """Layers whose stored b is offset by what is generated."""


def make_target(name: str, depth: int) -> Target:
    """Return a target by its name, for a network of `depth` layers.

    - `all`: the whole network.
    - `head`: the last layer, on a stored shared trunk (the hybrid).
    - `bias`: an offset of the last bias of a stored shared network, so that what two agents do
      differently does not depend on what they see.
    """
    last = depth - 1
    if name == "all":
        return Target(weights=tuple(range(depth)), offsets=())
    return Target((last,), ()) if name == "head" else Target((), (last,))
