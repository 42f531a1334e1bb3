"""A hypernetwork that generates the agents' weights from who they are.

Conditioning e_i -> h_i = RMSnorm(ReLU(A e_i)); per generated layer W_i = reshape(G h_i + g) and
b_i = B h_i.  Generation is one product for all agents and is differentiated like any other layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from baselines.networks import LAST_GAIN, RELU_GAIN, initial_layers
from bench.errors import RequestError
from bench.interfaces import Weights
from bench.random import Random

VERSION = 1


class Hypernet:
    """Generate all layers, or the head on a shared trunk (the hybrid), from the agent's ID.

    The generated layer starts with the variance gain^2 / in of a plain one: a share rho of it
    comes from the generator, Var(G) = rho gain^2 / (in E|h|^2), and the rest from the base
    g ~ N(0, (1 - rho) gain^2 / in), which all agents share (after Chang et al. 2020).

    Args:
        sizes: [in, H, ..., out] of the target network.
        agents: N.
        generate: `head` generates the last layer on a stored shared trunk; `all` every layer.
        conditioning: `learned` embeddings of the agents' IDs, or `one-hot` IDs.
        embedding: width of a learned embedding.
        hidden: width of h; 0 feeds e_i straight to the generator, so that with one-hot IDs every
            agent has weights of its own, linearly.
        rho: share of the initial variance that comes from the generator; at 1 there is no base g.

    Raises:
        RequestError: if an option has no such value.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        agents: int,
        *,
        generate: Literal["head", "all"] = "head",
        conditioning: Literal["learned", "one-hot"] = "learned",
        embedding: int = 8,
        hidden: int = 64,
        rho: float = 0.5,
    ) -> None:
        for option, value, known in (
            ("generate", generate, ("head", "all")),
            ("conditioning", conditioning, ("learned", "one-hot")),
        ):
            if value not in known:
                raise RequestError(f"hypernet: {option} = {value!r}; choose {' or '.join(known)}")
        if not 0 <= rho <= 1:
            raise RequestError(f"hypernet: rho = {rho}; it must lie in [0, 1]")
        depth = len(sizes) - 1
        self._sizes, self._agents, self._rho = sizes, agents, rho
        self._stored = depth - 1 if generate == "head" else 0
        self._learned, self._hidden = conditioning == "learned", hidden
        self._embedding = embedding if self._learned else agents
        self._code = hidden or self._embedding
        # E|h|^2: the norm makes it the width; a one-hot ID has length 1.
        self._energy = self._code if hidden or self._learned else 1

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw the stored layers, the embeddings, the conditioning and the generators."""
        depth = len(self._sizes) - 1
        values: dict[str, Tensor] = {}
        if self._stored:
            # Of a plain network's draw, the trunk: its last layer is what gets generated.
            plain = initial_layers(random.fold("trunk"), self._sizes, [1] * depth)
            for layer in range(self._stored):
                values[f"W{layer}"], values[f"b{layer}"] = plain[f"W{layer}"], plain[f"b{layer}"]
        if self._learned:
            values["e"] = random.fold("embedding").normal(self._agents, self._embedding)
        if self._hidden:
            draw = random.fold("code").normal(self._embedding, self._hidden)
            values["A"] = draw * (RELU_GAIN / math.sqrt(self._embedding))
        for layer in range(self._stored, depth):
            fan_in, fan_out = self._sizes[layer], self._sizes[layer + 1]
            scale = (LAST_GAIN if layer == depth - 1 else RELU_GAIN) / math.sqrt(fan_in)
            source = random.fold("generator").fold(layer)
            generator = source.fold("G").normal(self._code, fan_in * fan_out)
            values[f"G{layer}"] = generator * (scale * math.sqrt(self._rho / self._energy))
            if self._rho < 1:
                base = source.fold("g").normal(1, fan_in * fan_out)
                values[f"g{layer}"] = base * (scale * math.sqrt(1 - self._rho))
            values[f"B{layer}"] = torch.zeros_like(generator[..., :fan_out])
        return values

    def code(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return what the agents' weights are generated from: h [R, N, H]."""
        any_value = next(iter(parameters.values()))
        e = parameters["e"] if self._learned else torch.eye(self._agents).to(any_value)
        if not self._hidden:
            return e if self._learned else e.expand(any_value.shape[0], -1, -1)
        h = torch.relu(e @ parameters["A"])
        return h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6)

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        """Return the stored layers (G = 1), then the generated ones (G = N)."""
        layers = [(parameters[f"W{n}"], parameters[f"b{n}"]) for n in range(self._stored)]
        h = self.code(parameters)
        for layer in range(self._stored, len(self._sizes) - 1):
            shape = (-1, self._agents, self._sizes[layer], self._sizes[layer + 1])
            flat = h @ parameters[f"G{layer}"]
            if self._rho < 1:
                flat = flat + parameters[f"g{layer}"]
            layers.append((flat.reshape(shape), (h @ parameters[f"B{layer}"]).unsqueeze(2)))
        return layers
