"""A hypernetwork for each module of the target network.

A module is some of its layers.  A branch is all that generates them: a conditioning, a code network
and a generator.  Branches share nothing, so what is done to one changes its module alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from baselines.hypernet.code import Code
from baselines.hypernet.conditioning import Conditioning
from baselines.hypernet.generators import Generator, Layer, Manifest
from baselines.hypernet.products import batched
from bench.random import Random
from bench.tensors import found_under, put_under


@dataclass(frozen=True)
class Generated:
    """What a branch says of one layer."""

    matrix: Tensor | None
    """dW [R, N, in, out]; none where only the bias is generated."""
    base: Tensor | None
    """g [R, 1, in, out], which dW is added to, if there is one."""
    bias: Tensor
    """db [R, N, 1, out]."""


class Branch:
    """One hypernetwork.  The biases of its layers are linear in the code, db_i = B h_i.

    Args:
        name: what its parameters' names begin with.
        conditioning: tells the agents apart.
        code: the code network.
        make: makes the generator.
        manifest: what that generates.
        biases: the layers whose biases are generated.
        has_base: whether generated matrices are added to a shared base.
        frozen: whether it stays as it was drawn.
    """

    def __init__(
        self,
        name: str,
        conditioning: Conditioning,
        code: Code,
        make: Callable[[Manifest], Generator],
        manifest: Manifest,
        biases: Sequence[Layer],
        has_base: bool,
        frozen: bool,
    ) -> None:
        self._name, self._conditioning, self._code = name, conditioning, code
        self.manifest, self._biases = manifest, biases
        self._generator = make(manifest)
        self._has_base, self._frozen = has_base, frozen

    @property
    def estimated(self) -> list[str]:
        """Names of parameters whose gradient is an estimate."""
        return [f"{self._name}{name}" for name in self._generator.estimated]

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw the branch."""
        m, source = self.manifest, random.fold("generator")
        values = {
            **self._conditioning.init(random),
            **self._code.init(random),
            **self._generator.init(source),
        }
        for layer in m.layers if self._has_base else ():
            draw = source.fold(layer.index).fold("g").normal(1, layer.size)
            values[f"g{layer.index}"] = draw * layer.scale.base
        for layer in self._biases:
            draw = source.fold(layer.index).fold("B").normal(m.width, layer.fan_out)
            values[f"B{layer.index}"] = draw * (layer.scale.bias / math.sqrt(m.energy))
        return put_under(self._name, values)

    def embedding(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return e: [R, N, E]."""
        like = next(iter(parameters.values()))
        return self._conditioning.embed(self._own(parameters), like)

    def __call__(
        self, parameters: Mapping[str, Tensor], e: Tensor | None = None
    ) -> dict[int, Generated]:
        """Generate, by layer, from the parameters of the whole network.

        Args:
            parameters: by name, each [R, ...].
            e: [R, N, E] instead of the conditioning's own.
        """
        own = self._own(parameters)
        if self._frozen:
            own = {name: value.detach() for name, value in own.items()}
        if e is None:
            e = self._conditioning.embed(own, next(iter(parameters.values())))
        h = self._code(own, e)
        indices = [layer.index for layer in self.manifest.layers]
        matrices = dict(zip(indices, self._generator(own, h), strict=True))
        result = {}
        for layer in self._biases:
            n = layer.index
            base = own[f"g{n}"].unflatten(2, layer.shape) if f"g{n}" in own else None
            bias = batched(h, own[f"B{n}"]).unsqueeze(2)
            result[n] = Generated(matrices.get(n), base, bias)
        return result

    def differences(self, parameters: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the parameters that, were they zero, would leave the agents no difference."""
        own = self._own(parameters).items()
        return [value for name, value in own if name != "e" and not name.startswith("g")]

    def _own(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return found_under(self._name, parameters)
