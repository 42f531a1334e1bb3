"""Full sharing, made as large as a hypernetwork: is it the generation, or only the size?

Every row of a comparison with a hypernetwork needs a network without one that trains as many
numbers, and one that multiplies as much.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from baselines.hypernet.scheme import Hypernet
from baselines.mlp import mlp
from baselines.sharing.shared import Shared
from bench.interfaces import Weights
from bench.random import Random

VERSION = 1
OPTION_VERSIONS = {"match=flops": 2}
"""2: of the run's own batch, the target network's generation counted."""

WIDEST = 1 << 16


class Widened:
    """A shared network whose hidden layers are widened, all by the same factor.

    Args:
        sizes: [in, H, ..., out] before widening.
        agents: N.
        features: [N, F] what the task says of the agents' roles, for the hypernetwork.
        batch: B, that FLOPs are counted for: generation costs the same for a batch of any size.
        match: `parameters` trained, or `flops` of an update, generation included.
        agent_id: whether the network sees the agent's ID.
        of: the options of the hypernetwork to be matched.

    Raises:
        RequestError: for an option that no hypernetwork has.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        agents: int,
        features: Tensor | None = None,
        batch: int = 1024,
        *,
        match: Literal["parameters", "flops"] = "parameters",
        agent_id: bool = True,
        of: Mapping[str, Any] = {},
    ) -> None:
        hypernet = Hypernet(sizes, agents, features, **of)
        random = Random.from_seeds([0], "meta")

        def widened(width: int) -> list[int]:
            hidden = [max(1, round(size * width / sizes[1])) for size in sizes[1:-1]]
            return [sizes[0], *hidden, sizes[-1]]

        def cost(width: int) -> int:
            layers = list(itertools.pairwise(widened(width)))
            if match == "flops":
                products = sum(4 * fan_in * fan_out for fan_in, fan_out in layers)
                # Nobody asks for the gradient of the observations.
                return 2 * agents * batch * (products - layers[0][0] * layers[0][1])
            own = agents * width if agent_id else 0
            return own + sum((fan_in + 1) * fan_out for fan_in, fan_out in layers)

        if match == "flops":
            goal = flops(hypernet, torch.empty(1, agents, batch, sizes[0], device="meta"))
        else:
            goal = sum(value.numel() for value in hypernet.init(random).values())
        above = bisect.bisect_left(range(WIDEST), goal, lo=1, key=cost)
        width = min((above - 1, above), key=lambda w: abs(cost(w) - goal)) or 1
        self._shared = Shared(widened(width), agents, agent_id=agent_id)

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw the widened network."""
        return self._shared.init(random)

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        """Return its layers."""
        return self._shared.weights(parameters)


def flops(scheme: Hypernet | Shared | Widened, x: Tensor) -> int:
    """Count what an update of a network multiplies, for x [1, N, B, in] without numbers.

    That is a pass through its target, and a gradient step.
    """
    values = scheme.init(Random.from_seeds([0], x.device))
    with FlopCounterMode(display=False) as counter:
        with torch.no_grad():
            mlp(scheme.weights(values), x)
        parameters = {name: value.requires_grad_() for name, value in values.items()}
        loss = mlp(scheme.weights(parameters), x).sum()
        torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return counter.get_total_flops()
