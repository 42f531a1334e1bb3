"""Full sharing: one network for all agents, with or without the agent's ID."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from baselines.networks import initial_layers
from baselines.sharing.independent import stored_layers
from bench.interfaces import Weights
from bench.random import Random

VERSION = 1


class Shared:
    """One set of weights for all agents: every layer has G = 1.

    With `agent_id` the network also sees which agent it serves, as a one-hot input.  Such an input
    picks one row of the first weight matrix, which is a bias of the first layer per agent: that is
    how it is stored and applied, without the multiplications by zero.

    Args:
        sizes: [in, H, ..., out], the ID not counted.
        agents: N.
        agent_id: whether the network sees the agent's ID.
    """

    def __init__(self, sizes: Sequence[int], agents: int, *, agent_id: bool = True) -> None:
        self._sizes, self._agents, self._agent_id = sizes, agents, agent_id

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw the network; the rows of the ID have the scale of the other input rows."""
        if not self._agent_id:
            return initial_layers(random, self._sizes, [1] * (len(self._sizes) - 1))
        widened = [self._sizes[0] + self._agents, *self._sizes[1:]]
        values = initial_layers(random, widened, [1] * (len(widened) - 1))
        values["W0"], rows = values["W0"].split([self._sizes[0], self._agents], 2)
        return {**values, "id": rows.transpose(1, 2)}

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        """Return the layers; the ID's rows [R, N, 1, H] join the first bias."""
        layers = stored_layers(parameters)
        if not self._agent_id:
            return layers
        (first, bias), *others = layers
        return [(first, torch.add(bias, parameters["id"])), *others]
