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


def joined(clock: Tensor, updates: int) -> Tensor:
    """Return a factor [R, 1, 1, 1] that is 0 in the first phase and 1 from update `updates` on.

    What it multiplies starts at zero and gets no gradient before it, so that outputs are the same
    bits on both sides of the switch.
    """
    return (clock.detach() >= updates).to(clock.dtype)[..., None, None]
