"""What every method's networks are made of: flat parameters, their optimiser and their target.

Shapes: R replicas, G 1 or N, N agents, B rows of a batch, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from baselines.mlp import mlp
from bench.interfaces import Memory, ParameterScheme, Settle, Weights
from bench.random import Random
from bench.tensors import put_under

RELU_GAIN = math.sqrt(2.0)
"""Gain that keeps the second moment through a ReLU (He et al. 2015)."""
LAST_GAIN = 0.1
"""Gain of the last layer: values and actions start near 0."""
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants."""


class Parameters:
    """The trained numbers of one network: flat rows per replica, and named views into them.

    One flat tensor makes the optimiser, the target average, clipping and checkpoints one operation
    each, whatever the scheme.  Where every parameter is a layer's with a part per agent,
    [R, N, in, out], these are N networks that share nothing, and each has a row of its own.

    Args:
        values: by name, each [R, ...].
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self._shapes = {name: value.shape for name, value in values.items()}
        sizes = {shape[1] if len(shape) == 4 else 1 for shape in self._shapes.values()}
        self._groups = sizes.pop() if len(sizes) == 1 else 1
        self.flat = self._join(values.values())
        """[R, G, P / G]: G networks that share nothing."""
        self.views = self._split(self.flat, requires_grad=True)

    def _join(self, parts: Iterable[Tensor]) -> Tensor:
        return torch.cat([part.reshape(len(part), self._groups, -1) for part in parts], 2)

    def _split(self, flat: Tensor, requires_grad: bool) -> dict[str, Tensor]:
        views, start = {}, 0
        for name, shape in self._shapes.items():
            size = shape[1:].numel() // self._groups
            view = flat.detach()[:, :, start : start + size].view(shape)
            views[name] = view.requires_grad_(requires_grad)
            start += size
        return views

    def target(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a copy for a target network: its flat tensor and its untrained views."""
        flat = self.flat.clone()
        return flat, self._split(flat, requires_grad=False)

    def gradient(self, output: Tensor, gradient: Tensor | None = None) -> Tensor:
        """Differentiate a scalar, a sum over replicas, by the parameters: [R, G, P / G].

        Args:
            output: the scalar; or something that it depends on, with
            gradient: the scalar's gradient with respect to that.
        """
        views = list(self.views.values())
        # What the output does not depend on, such as a count of updates, gets zeros.
        found = torch.autograd.grad(
            output, views, gradient, allow_unused=True, materialize_grads=True
        )
        return self._join(found)


def layer_gradients(
    parameters: Parameters, layers: Weights, x: Tensor, loss_gradient: Callable[[Tensor], Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Differentiate a loss by a network's parameters, and by the layers that are made of them.

    Args:
        parameters: what the layers are made of.
        layers: the network.
        x: [R, N, B, in]; it may depend on the parameters, too.
        loss_gradient: the loss's gradient by the network's output, as a function of that.

    Returns:
        [R, G, P / G], and each layer's [R, G, in, out].
    """
    output = mlp(layers, x)
    gradient = loss_gradient(output.detach())
    # On their own, as they may have been made without a graph, or by one that clips.
    weights = [weight.detach().requires_grad_() for weight, _ in layers]
    biases = (bias.detach() for _, bias in layers)
    alone = mlp(list(zip(weights, biases, strict=True)), x.detach())
    by_layer = torch.autograd.grad(alone, weights, gradient)
    return parameters.gradient(output, gradient), list(by_layer)


class Acting:
    """A network's layers for acting, generated once for as long as its parameters are the same.

    Args:
        scheme: makes the layers.
        parameters: what from.
    """

    def __init__(self, scheme: ParameterScheme, parameters: Parameters) -> None:
        self._scheme, self._parameters = scheme, parameters
        self._made = -1
        self._layers: Weights = ()

    @torch.no_grad()
    def layers(self) -> Weights:
        """Return the layers, without gradient."""
        if self._parameters.flat.is_cuda:  # where updates may be replayed, unseen by the count
            return self._scheme.weights(self._parameters.views)
        # torch counts the changes of a tensor in place: steps, loading, all of them.
        if self._made != self._parameters.flat._version:
            self._layers = self._scheme.weights(self._parameters.views)
            self._made = self._parameters.flat._version
        return self._layers


class Learner:
    """A network with its optimiser and its Polyak-averaged target.

    The optimiser is Adam (Kingma and Ba 2015) on the flat row: six operations, a tenth of the time
    that the library's takes for one small tensor, and tested to follow it.

    Args:
        values: initial parameters by name, each [R, ...].
        lr: learning rate.
        clip: largest gradient norm per replica, and per agent where the agents share nothing.
        tau: Polyak rate: target <- (1 - tau) target + tau online.
        scheme: whose parameters these are, if it may have a say in their training.
        fall: to what share the learning rate falls, linearly, and over how many steps.
    """

    def __init__(
        self,
        values: Mapping[str, Tensor],
        lr: float,
        clip: float,
        tau: float,
        scheme: ParameterScheme | None = None,
        fall: tuple[float, int] = (1.0, 1),
    ) -> None:
        self.online = Parameters(values)
        self._settle: Settle | None = getattr(scheme, "settle", None)
        remember = getattr(scheme, "memory", None)
        self._memory: Memory | None = remember(values) if remember else None
        self.target_flat, self.target = self.online.target()
        self._lr, self._clip, self._tau, self._fall = lr, clip, tau, fall
        self._mean = torch.zeros_like(self.online.flat)
        self._square = torch.zeros_like(self.online.flat)
        # A tensor, so that a captured update counts on.
        self._steps = torch.zeros((), dtype=torch.float64, device=self._mean.device)

    def descend(self, output: Tensor, gradient: Tensor | None = None) -> Tensor:
        """Take one clipped Adam step on a loss, a sum over replicas.

        Args:
            output: the loss; or what it depends on, such as the network's output, with
            gradient: the loss's gradient with respect to that.

        Returns:
            [R] the norms of the parameters' gradients before clipping.
        """
        gradient = self.online.gradient(output, gradient)
        if self._memory is not None:
            gradient += self.online.gradient(self._memory.loss(self.online.views))
        norm = torch.linalg.vector_norm(gradient, dim=2, keepdim=True)
        gradient.mul_((self._clip / (norm + 1e-6)).clamp_(max=1.0))
        self._steps += 1
        self._mean.lerp_(gradient, 1 - BETA_1)
        self._square.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
        scale = (1 - BETA_2**self._steps) ** 0.5
        root = self._square.sqrt().add_(EPSILON * scale)
        lr: float | Tensor = self._lr
        left, steps = self._fall
        if left < 1:
            lr = lr * (1 - (1 - left) * self._steps / steps)
        step = lr * scale / (1 - BETA_1**self._steps)
        self.online.flat.addcdiv_(self._mean * -step, root)
        if self._settle is not None:
            self._settle(self.online.views, lr)
        return torch.linalg.vector_norm(norm, dim=(1, 2))

    def scored(self, score: Tensor) -> None:
        """Hear of a score [R] of the policy that the network is, for what remembers it."""
        if self._memory is not None:
            self._memory.scored(score)

    def track(self) -> None:
        """Move the target towards the online network, which what remembers it hears of."""
        self.target_flat.lerp_(self.online.flat, self._tau)
        if self._memory is not None:
            self._memory.hear(self.online.views)

    def state(self, name: str) -> dict[str, Tensor]:
        """Return parameters, target and moments, each under ``name.``."""
        memory = self._memory.state() if self._memory is not None else {}
        return {
            **put_under(f"{name}.memory.", memory),
            f"{name}.online": self.online.flat,
            f"{name}.target": self.target_flat,
            f"{name}.mean": self._mean,
            f"{name}.square": self._square,
            f"{name}.steps": self._steps,
        }

    def load(self, name: str, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for key, tensor in self.state(name).items():
            tensor.copy_(state[key])


def initial_layers(
    random: Random, sizes: Sequence[int], groups: Sequence[int], last_gain: float = LAST_GAIN
) -> dict[str, Tensor]:
    """Draw plain layers: `W0` [R, G, in, out] with variance gain^2 / in, `b0` zero, and so on.

    Args:
        random: source.
        sizes: [in, H, ..., out].
        groups: G of each layer.
        last_gain: gain of the last layer.
    """
    values = {}
    for layer, (fan_in, fan_out, group) in enumerate(zip(sizes, sizes[1:], groups, strict=False)):
        gain = last_gain if layer == len(sizes) - 2 else RELU_GAIN
        draw = random.fold(layer).normal(group, fan_in, fan_out)
        values[f"W{layer}"] = draw * (gain / math.sqrt(fan_in))
        values[f"b{layer}"] = torch.zeros_like(draw[:, :, :1])
    return values


def parameter_counts(actor: Learner, layers: Weights, *others: Learner) -> tuple[int, int, int]:
    """Count the trained, inference and peak parameters of one replica.

    Inference counts the layers that act for the whole team; peak counts everything trained, its
    target, and the layers that are generated and not stored.
    """
    trained = sum(learner.online.flat[0].numel() for learner in (actor, *others))
    sizes = [(part[0].numel(), part.is_leaf) for layer in layers for part in layer]
    generated = sum(size for size, stored in sizes if not stored)
    return trained, sum(size for size, _ in sizes), 2 * trained + generated
