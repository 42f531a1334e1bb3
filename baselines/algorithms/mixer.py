"""QMIX's mixing network: weights from the state, none negative (Rashid et al. 2018).

Shapes: M mixing units, S numbers in the state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from baselines.mlp import mlp
from baselines.networks import initial_layers
from baselines.sharing.independent import stored_layers
from bench.random import Random

UNITS = 32
"""M, as in the source."""


class Mixer:
    """Q_tot = |w2(s)| ELU(|W1(s)| q + b1(s)) + v(s).

    W1, b1 and w2 are linear in the state, v is a network of one hidden layer.  Half of the initial
    variance of W1, b1 and w2 comes from the state and half is constant, so that they are apart even
    where the state is zero; their scale makes the derivative by each agent's value 1 on average, as
    in a sum, for a state of unit variance.

    Args:
        state: S.
        agents: N.
    """

    def __init__(self, state: int, agents: int) -> None:
        self._state, self._agents = state, agents

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw `W` and `b`, which make W1, b1 and w2, and the layers of v."""
        # E|x| E|y| = 2 s^2 / pi for normal x and y of standard deviation s, over M units.
        scale, width = math.sqrt(math.pi / (2 * UNITS)), (self._agents + 2) * UNITS
        offset = initial_layers(random.fold("v"), [self._state, UNITS, 1], [1, 1])
        return {
            "W": random.fold("W").normal(1, self._state, width)
            * (scale * (0.5 / self._state) ** 0.5),
            "b": random.fold("b").normal(1, 1, width) * (scale * 0.5**0.5),
            **{f"v.{name}": value for name, value in offset.items()},
        }

    def mix(self, parameters: Mapping[str, Tensor], values: Tensor, seen: Tensor) -> Tensor:
        """Mix the agents' values into the team's.

        Args:
            parameters: as drawn.
            values: [R, N, B].
            seen: [R, B, N, O], whose N O = S numbers are the state.

        Returns:
            [R, 1, B], not decreasing in any of the values.
        """
        state = seen.flatten(2).unsqueeze(1)
        parts = mlp([(parameters["W"], parameters["b"])], state)[:, 0].mT
        weights, bias, last = parts.split([self._agents * UNITS, UNITS, UNITS], 1)
        inner = weights.abs().unflatten(1, (self._agents, UNITS)) * values.unsqueeze(2)
        hidden = inner.sum(1) + bias
        # ELU as torch has it rounds by an element's place in the tensor.
        hidden = torch.where(hidden > 0, hidden, torch.expm1(hidden.clamp(max=0)))
        offset = {name: parameters[f"v.{name}"] for name in ("W0", "b0", "W1", "b1")}
        v = mlp(stored_layers(offset), state)
        return (last.abs() * hidden).sum(1, keepdim=True) + v[..., 0]
