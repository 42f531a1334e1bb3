"""A hypernetwork that generates the agents' weights from who they are.

Conditioning e_i -> code h_i -> generator -> what is generated -> the target's layers, stabilised.
Generation is done for all agents at once and is differentiated like any other layer.

Shapes: R replicas, N agents; a layer is [in, out].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from baselines.hypernet.branches import Branch, Generated
from baselines.hypernet.code import Code
from baselines.hypernet.conditioning import make_conditioning
from baselines.hypernet.generators import Layer, Manifest
from baselines.hypernet.generators.table import make_generator
from baselines.hypernet.initialisation import INITIALISATIONS
from baselines.hypernet.options import HypernetOptions
from baselines.hypernet.replay import WeightReplay
from baselines.hypernet.stabilisers.bound import BOUNDS
from baselines.hypernet.stabilisers.clipping import clip_gradient
from baselines.hypernet.stabilisers.schedule import CLOCK, joined, warm_up
from baselines.hypernet.stabilisers.shrinkage import shrink
from baselines.hypernet.targets import make_target
from baselines.networks import LAST_GAIN, RELU_GAIN, initial_layers
from bench.interfaces import Weights
from bench.random import Random
from bench.validation import validate

VERSION = 1
OPTION_VERSIONS = {"residual_after": 2, "replay": 2}
"""residual_after, 2: the target network's residual is averaged in, not switched on.  replay, 2: the
score is what the policy earned, not the mean reward of what was sampled."""


class Hypernet:
    """The composition of a conditioning, a generator, a target and stabilisers.

    Args:
        sizes: [in, H, ..., out] of the target network.
        agents: N.
        features: [N, F] what the task says of the agents' roles, if it does.
        options: see :class:`baselines.hypernet.options.HypernetOptions`.

    Raises:
        RequestError: if an option has no such value, or does not go with another one or with N.
    """

    def __init__(
        self, sizes: Sequence[int], agents: int, features: Tensor | None = None, **options: Any
    ) -> None:
        self._options = o = validate(HypernetOptions, options, "scheme_options")
        o.check_world(agents, sizes[-1])
        self._sizes, self._agents, depth = sizes, agents, len(sizes) - 1
        self._features = features
        self._target = make_target(o.target, depth)
        modules = {"hyper": range(depth)}
        if o.branches == "modules":
            modules = {"trunk": range(depth - 1), "head": range(depth - 1, depth)}
        self._branches = {
            name: self._branch(name, module, features) for name, module in modules.items()
        }
        self.manifest = {n.index: n for b in self._branches.values() for n in b.manifest.layers}
        """The layers whose matrices are generated, by their place in the network."""
        self.exempt = {CLOCK, *(name for b in self._branches.values() for name in b.estimated)}
        """Names of parameters that have no exact gradient, or none at first."""
        if (o.residual_after or 0) > 1:
            self.exempt |= {f"{name}{n}" for n in self.manifest for name in "Xx"}

    def _branch(self, name: str, module: range, features: Tensor | None) -> Branch:
        o, target = self._options, self._target
        conditioning = make_conditioning(o.conditioning, self._agents, o.embedding, features)
        code = Code(conditioning.width, conditioning.energy, o.hidden, o.pace == "weights")
        layers = [self._layer(n, code) for n in module if n in target.weights + target.offsets]
        matrices = [layer for layer in layers if layer.index in target.weights]
        manifest = Manifest(matrices, self._agents, code.width, code.energy)
        make = make_generator(o)
        frozen = o.frozen == name
        return Branch(f"{name}.", conditioning, code, make, manifest, layers, o.has_base, frozen)

    def _layer(self, index: int, code: Code) -> Layer:
        fan_in, fan_out = self._sizes[index : index + 2]
        gain = LAST_GAIN if index == len(self._sizes) - 2 else RELU_GAIN
        start = INITIALISATIONS[self._options.initialisation]
        scale = start(fan_in, gain, self._options.rho, code.width, code.energy)
        return Layer(index, fan_in, fan_out, scale)

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw the stored layers and the branches; residuals and the clock start at zero."""
        o, depth = self._options, len(self._sizes) - 1
        values: dict[str, Tensor] = {}
        if len(self.manifest) < depth:
            # Of a plain network's draw, the layers that are not generated.
            plain = initial_layers(random.fold("trunk"), self._sizes, [1] * depth)
            for n in range(depth):
                if n not in self.manifest:
                    values[f"W{n}"], values[f"b{n}"] = plain[f"W{n}"], plain[f"b{n}"]
        for name, branch in self._branches.items():
            values |= branch.init(random if len(self._branches) == 1 else random.fold(name))

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(len(random.keys), *shape, device=random.device)

        if o.residual_after:
            for n, layer in self.manifest.items():
                values[f"X{n}"] = zeros(self._agents, *layer.shape)
                values[f"x{n}"] = zeros(self._agents, 1, layer.fan_out)
        if o.warmup or o.residual_after:
            values[CLOCK] = zeros(1)
        return values

    def weights(self, parameters: Mapping[str, Tensor], e: Tensor | None = None) -> Weights:
        """Return the layers: stored ones have G = 1, generated ones G = N.

        Args:
            parameters: by name, each [R, ...].
            e: [R, N, E] what is generated from, instead of what is known of the agents.
        """
        generated: dict[int, Generated] = {}
        for branch in self._branches.values():
            generated |= branch(parameters, e)
        layers = []
        for n in range(len(self._sizes) - 1):
            if n in self.manifest:
                layers.append(self._generated(n, generated[n], parameters))
                continue
            weight, bias = parameters[f"W{n}"], parameters[f"b{n}"]
            if n in generated:
                bias = bias + self._faded(generated[n].bias, parameters)
            layers.append((weight, bias))
        return layers

    def _generated(
        self, n: int, new: Generated, parameters: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Make a layer of what is generated for it: on its base, with its residual, stabilised."""
        o, shape = self._options, (self._agents, *self.manifest[n].shape)
        assert new.matrix is not None
        if new.matrix.shape[1:] != shape:
            found = tuple(new.matrix.shape[1:])
            raise ValueError(f"layer {n}: the manifest asks for {shape}, generated was {found}")
        weight, bias = (self._faded(part, parameters) for part in (new.matrix, new.bias))
        if new.base is not None:
            weight = weight + new.base
        if o.gradient == "blocked":
            weight, bias = weight.detach(), bias.detach()
        if o.residual_after:
            own, own_bias = (
                joined(parameters[f"{name}{n}"], parameters[CLOCK], o.residual_after)
                for name in "Xx"
            )
            weight, bias = weight + own, bias + own_bias
        if o.bound:
            weight = BOUNDS[o.bound](weight, o.largest)
        if o.clip:
            weight, bias = clip_gradient(weight, o.clip), clip_gradient(bias, o.clip)
        return weight, bias

    def _faded(self, part: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Multiply what is generated by alpha(t)."""
        o = self._options
        if o.alpha != 1:
            part = part * o.alpha
        return part * warm_up(parameters[CLOCK], o.warmup) if o.warmup else part

    def embedding(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return e [R, N, E] of the one branch."""
        return self._branches["hyper"].embedding(parameters)

    def alone(
        self, parameters: Mapping[str, Tensor], agent: int
    ) -> tuple[Hypernet, dict[str, Tensor]]:
        """Return the hypernetwork of an agent by itself, and its part of the parameters.

        Agent i's part of what there are K of, one for each agent or group, is number i mod K.
        """
        options = self._options.model_dump(exclude_unset=True)
        if self._options.generator == "grouped":
            options["groups"] = 1
        features = None if self._features is None else self._features[agent : agent + 1]
        single = type(self)(self._sizes, 1, features, **options)
        own = {}
        for name, like in single.init(Random.from_seeds([0], "meta")).items():
            value = parameters[name]
            several = value.shape[1:] != like.shape[1:]
            own[name] = value[:, agent % value.shape[1]].unsqueeze(1) if several else value
        return single, own

    def memory(self, parameters: Mapping[str, Tensor]) -> WeightReplay | None:
        """Return the replay of weights, if there is to be one."""
        o = self._options
        if not o.replay:
            return None
        by_score = o.replay_by == "score"
        return WeightReplay(self, parameters, o.replay, o.replay_every, o.replay_loss, by_score)

    @torch.no_grad()
    def settle(self, parameters: Mapping[str, Tensor], lr: float | Tensor) -> None:
        """After a step: shrink what makes the agents different, and count the update."""
        o = self._options
        if o.decay or o.l1:
            for name, branch in self._branches.items():
                if name != o.frozen:
                    shrink(branch.differences(parameters), lr, o.decay, o.l1)
        if CLOCK in parameters:
            parameters[CLOCK].add_(1)
