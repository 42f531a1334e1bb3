"""What every method's networks are made of: flat parameters and one function to apply them.

Shapes: R replicas, G 1 or N, N agents, B rows of a batch, P parameters.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bench.interfaces import Weights
from bench.random import Random

RELU_GAIN = math.sqrt(2.0)
"""Gain that keeps the second moment through a ReLU (He et al. 2015)."""
LAST_GAIN = 0.1
"""Gain of the last layer: values and actions start near 0."""
NARROW = 16
"""Outputs below which a product is done transposed: BLAS is several times faster that way round."""
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants."""


class Parameters:
    """The trained numbers of one network: flat rows per replica, and named views into them.

    One flat tensor makes the optimiser, the target average, clipping and checkpoints one operation
    each, whatever the scheme.  Where every parameter has a part per agent, [R, N, ...], these are N
    networks that share nothing, and each has a row of its own.

    Args:
        values: by name, each [R, ...].
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self._shapes = {name: value.shape for name, value in values.items()}
        sizes = {shape[1] for shape in self._shapes.values()}
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

    def gradient(self, loss: Tensor) -> Tensor:
        """Differentiate a scalar loss, a sum over replicas: [R, G, P / G]."""
        return self._join(torch.autograd.grad(loss, list(self.views.values())))


class Learner:
    """A network with its optimiser and its Polyak-averaged target.

    The optimiser is Adam (Kingma and Ba 2015) on the flat row: six operations, a tenth of the time
    that the library's takes for one small tensor, and tested to follow it.

    Args:
        values: initial parameters by name, each [R, ...].
        lr: learning rate.
        clip: largest gradient norm per replica, and per agent where the agents share nothing.
        tau: Polyak rate: target <- (1 - tau) target + tau online.
    """

    def __init__(self, values: Mapping[str, Tensor], lr: float, clip: float, tau: float) -> None:
        self.online = Parameters(values)
        self.target_flat, self.target = self.online.target()
        self._lr, self._clip, self._tau = lr, clip, tau
        self._mean = torch.zeros_like(self.online.flat)
        self._square = torch.zeros_like(self.online.flat)
        self._steps = 0

    def descend(self, loss: Tensor) -> Tensor:
        """Take one clipped Adam step on a scalar loss summed over replicas.

        Returns:
            [R] the gradient norms before clipping.
        """
        gradient = self.online.gradient(loss)
        norm = torch.linalg.vector_norm(gradient, dim=2, keepdim=True)
        gradient.mul_((self._clip / (norm + 1e-6)).clamp_(max=1.0))
        self._steps += 1
        self._mean.lerp_(gradient, 1 - BETA_1)
        self._square.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
        scale = math.sqrt(1 - BETA_2**self._steps)
        root = self._square.sqrt().add_(EPSILON * scale)
        step = self._lr * scale / (1 - BETA_1**self._steps)
        self.online.flat.addcdiv_(self._mean, root, value=-step)
        return torch.linalg.vector_norm(norm, dim=(1, 2))

    def track(self) -> None:
        """Move the target towards the online network."""
        self.target_flat.lerp_(self.online.flat, self._tau)

    def state(self, name: str) -> dict[str, Tensor]:
        """Return parameters, target and moments, each under ``name.``."""
        return {
            f"{name}.online": self.online.flat,
            f"{name}.target": self.target_flat,
            f"{name}.mean": self._mean,
            f"{name}.square": self._square,
            f"{name}.steps": torch.tensor(self._steps),
        }

    def load(self, name: str, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for key, tensor in self.state(name).items():
            tensor.copy_(state[key])
        self._steps = int(state[f"{name}.steps"])


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


def affine(x: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    """Apply one layer to K groups of rows, x W + b.

    Where the agents share W (K = R) they are merged into the rows, one product per replica; where
    each has its own (K = R N), one batched product.

    Args:
        x: [K, M, in].
        matrix: [K, in, out].
        bias: [K', 1, out], K' a multiple of K: finer groups of the same rows.

    Returns:
        [K', M K / K', out].
    """
    out = matrix.shape[2]
    if out >= NARROW and len(bias) == len(matrix):
        return torch.baddbmm(bias, x, matrix)
    if out == 1:
        # Onto one column BLAS rounds differently alone than in a fleet; this does not.
        y = (x * matrix.mT).sum(-1, keepdim=True)
    elif out < NARROW:
        y = torch.bmm(matrix.mT, x.mT).mT
    else:
        y = torch.bmm(x, matrix)
    return y.reshape(len(bias), -1, out) + bias


def mlp(layers: Weights, x: Tensor) -> Tensor:
    """Apply a ReLU network, the last layer without: [R, N, B, in] -> [R, N, B, out]."""
    parts = list(itertools.chain.from_iterable(layers))
    if not torch.is_grad_enabled():
        return _forward(x, parts)[0]
    output: Tensor = _MLP.apply(x, *parts)  # type: ignore[no-untyped-call]
    return output


def _forward(x: Tensor, parts: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Return the output, and each layer's matrix [K, in, out] and input [K, M, in]."""
    lead = x.shape[:3]
    matrices: list[Tensor] = []
    inputs: list[Tensor] = []
    for weight, bias in zip(parts[::2], parts[1::2], strict=True):
        if inputs:
            x = torch.relu_(x)
        matrix = weight.flatten(0, 1)
        if x.dim() == 4 or len(x) != len(matrix):
            x = x.reshape(len(matrix), -1, matrix.shape[1])
        matrices.append(matrix)
        inputs.append(x)
        x = affine(x, matrix, bias.flatten(0, 1))
    return x.reshape(*lead, -1), matrices, inputs


class _MLP(torch.autograd.Function):
    """The whole network as one node of the graph.

    At these sizes the bookkeeping of a node per operation costs as much as the products; the
    backward pass below is the textbook's, does no product that nobody asked for, and is checked
    against finite differences.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parts: Tensor) -> Tensor:
        y, matrices, inputs = _forward(x, parts)
        ctx.lead, ctx.shapes = x.shape[:3], [part.shape for part in parts]
        ctx.save_for_backward(*matrices, *inputs)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        depth = len(ctx.saved_tensors) // 2
        needed, shapes = ctx.needs_input_grad, ctx.shapes
        gradients: list[Tensor | None] = [None] * (2 * depth + 1)
        g = gradient
        for layer in reversed(range(depth)):
            matrix, x = ctx.saved_tensors[layer], ctx.saved_tensors[depth + layer]
            at = 2 * layer + 1
            out = matrix.shape[2]
            if needed[at + 1]:
                groups = g.reshape(shapes[at].numel() // out, -1, out)
                gradients[at + 1] = groups.sum(1).view(shapes[at])
            if g.dim() == 4 or len(g) != len(matrix):
                g = g.reshape(len(matrix), -1, out)
            if needed[at]:
                product = torch.bmm(g.mT, x).mT if out < NARROW else torch.bmm(x.mT, g)
                gradients[at] = product.view(shapes[at - 1])
            if layer or needed[0]:
                g = torch.bmm(g, matrix.mT)
            if layer:
                torch.ops.aten.threshold_backward.grad_input(g, x, 0, grad_input=g)
        if needed[0]:
            gradients[0] = g.view(*ctx.lead, -1)
        return tuple(gradients)


def parameter_counts(actor: Learner, layers: Weights, *others: Learner) -> tuple[int, int, int]:
    """Count the trained, inference and peak parameters of one replica.

    Inference counts the layers that act for the whole team; peak counts everything trained, its
    target, and the layers that are generated and not stored.
    """
    trained = sum(learner.online.flat[0].numel() for learner in (actor, *others))
    sizes = [(part[0].numel(), part.is_leaf) for layer in layers for part in layer]
    generated = sum(size for size, stored in sizes if not stored)
    return trained, sum(size for size, _ in sizes), 2 * trained + generated
