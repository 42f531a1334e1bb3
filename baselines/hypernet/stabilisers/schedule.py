"""What depends on how many updates there were.

The count is kept among the parameters: so a checkpoint and a saved policy hold it, a target network
averages it as all else, and a network's weights stay a function of its parameters alone.

Shapes: R replicas.
"""

from __future__ import annotations

from torch import Tensor

CLOCK = "clock"
"""Name of the count of updates, [R, 1]."""


def warm_up(clock: Tensor, updates: int) -> Tensor:
    """Return a factor [R, 1, 1, 1] that rises linearly from 0 to 1."""
    return (clock.detach() / updates).clamp(max=1.0)[..., None, None]


def joined(residual: Tensor, clock: Tensor, updates: int) -> Tensor:
    """Return a residual [R, N, in, out], which has a gradient from update `updates` on only.

    It starts at zero, so that outputs are the same bits on both sides of the switch.  Its value is
    never gated: a target network's clock crosses the switch when the residual, averaged by then,
    has long left zero, and values would jump.
    """
    gate = (clock.detach() >= updates).to(residual.dtype)[..., None, None]
    return gate * residual + (1 - gate) * residual.detach()
