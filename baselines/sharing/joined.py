"""Full sharing that sees who it serves: the network's input is [o, e] (Gupta et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from baselines.hypernet.conditioning import make_conditioning
from baselines.hypernet.options import Conditioning
from baselines.networks import initial_layers
from baselines.sharing.independent import stored_layers
from bench.interfaces import Weights
from bench.random import Random

VERSION = 1


class Joined:
    """One set of weights for all agents, with a conditioning e_i beside the observation.

    The rows of the first matrix that e_i meets make a bias per agent, linear in e_i: the least that
    a hypernetwork could generate, and the ablation of one.

    Args:
        sizes: [in, H, ..., out], e not counted.
        agents: N.
        features: [N, F] what the task says of the agents' roles, if it does.
        conditioning: what is known of an agent.
        embedding: width of a learned one.

    Raises:
        RequestError: if the task has no features, and they are asked for.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        agents: int,
        features: Tensor | None = None,
        *,
        conditioning: Conditioning = "learned",
        embedding: int = 8,
    ) -> None:
        self._sizes = sizes
        self._conditioning = make_conditioning(conditioning, agents, embedding, features)

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw the widened network and what is learned of e."""
        width = self._conditioning.width
        widened = [self._sizes[0] + width, *self._sizes[1:]]
        values = initial_layers(random, widened, [1] * (len(widened) - 1))
        values["W0"], rows = values["W0"].split([self._sizes[0], width], 2)
        return {**values, "rows": rows.squeeze(1), **self._conditioning.init(random)}

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        """Return the layers; e's rows [R, E, H] give the first bias its part per agent."""
        (first, bias), *others = stored_layers(parameters)
        e = self._conditioning.embed(parameters, first)
        return [(first, bias + (e @ parameters["rows"]).unsqueeze(2)), *others]
