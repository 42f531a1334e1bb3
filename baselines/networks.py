"""What every method's networks are made of: flat parameters and one function to apply them.

Shapes: R replicas, G 1 or N, N agents, B rows of a batch, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bench.interfaces import Weights
from bench.random import Random

RELU_GAIN = math.sqrt(2.0)
"""Gain that keeps the second moment through a ReLU (He et al. 2015)."""
LAST_GAIN = 0.1
"""Gain of the last layer: values and actions start near 0."""


class Parameters:
    """The trained numbers of one network: a flat row per replica, and named views into it.

    One flat tensor makes the optimiser, the target average, clipping and checkpoints one operation
    each, whatever the scheme.

    Args:
        values: by name, each [R, ...].
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self._shapes = {name: value.shape for name, value in values.items()}
        self.flat = torch.cat([value.flatten(1) for value in values.values()], 1)
        self.views = self._split(self.flat, requires_grad=True)

    def _split(self, flat: Tensor, requires_grad: bool) -> dict[str, Tensor]:
        views, start = {}, 0
        for name, shape in self._shapes.items():
            size = shape[1:].numel()
            view = flat.detach()[:, start : start + size].view(shape)
            views[name] = view.requires_grad_(requires_grad)
            start += size
        return views

    def target(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a copy for a target network: its flat tensor and its untrained views."""
        flat = self.flat.clone()
        return flat, self._split(flat, requires_grad=False)

    def gradient(self, loss: Tensor) -> Tensor:
        """Differentiate a scalar loss, a sum over replicas: [R, P]."""
        gradients = torch.autograd.grad(loss, list(self.views.values()))
        return torch.cat([gradient.flatten(1) for gradient in gradients], 1)


class Learner:
    """A network with its Adam optimiser and its Polyak-averaged target.

    Args:
        values: initial parameters by name, each [R, ...].
        lr: learning rate.
        clip: largest gradient norm per replica.
        tau: Polyak rate: target <- (1 - tau) target + tau online.
    """

    def __init__(self, values: Mapping[str, Tensor], lr: float, clip: float, tau: float) -> None:
        self.online = Parameters(values)
        self.target_flat, self.target = self.online.target()
        self._clip, self._tau = clip, tau
        self._adam = torch.optim.Adam([self.online.flat], lr=lr, fused=True)
        self.online.flat.grad = torch.zeros_like(self.online.flat)
        self._adam.step()  # on zero gradients: makes the moments exist and moves nothing

    def descend(self, loss: Tensor) -> Tensor:
        """Take one clipped Adam step on a scalar loss summed over replicas.

        Returns:
            [R] the gradient norms before clipping.
        """
        gradient = self.online.gradient(loss)
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        self.online.flat.grad = gradient.mul_((self._clip / (norm + 1e-6)).clamp(max=1.0))
        self._adam.step()
        return norm.squeeze(1)

    def track(self) -> None:
        """Move the target towards the online network."""
        self.target_flat.lerp_(self.online.flat, self._tau)

    def state(self, name: str) -> dict[str, Tensor]:
        """Return parameters, target and moments, each under ``name.``."""
        moments = self._adam.state[self.online.flat]
        return {
            f"{name}.online": self.online.flat,
            f"{name}.target": self.target_flat,
            **{f"{name}.adam.{key}": value for key, value in moments.items()},
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


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply one layer, x W + b.

    Where the agents share W (G = 1) they are merged into the batch, one product; where each has
    its own (G = N), one batched product.

    Args:
        x: [R, N, B, in], or those rows in any grouping [R * G, (N / G) * B, in].
        weight: [R, G, in, out].
        bias: [R, G', 1, out], its G' 1 or N whatever G is.

    Returns:
        [R * max(G, G'), rows, out]: never a view, so that what follows may work in place.
    """
    R, G, fan_in, fan_out = weight.shape
    rows = x.reshape(R * G, -1, fan_in)
    if bias.shape[1] == G:
        flat = bias.reshape(R * G, 1, fan_out)
        return torch.baddbmm(flat, rows, weight.reshape(R * G, fan_in, fan_out))
    groups = bias.shape[1]
    y = torch.bmm(rows, weight.reshape(R * G, fan_in, fan_out))
    return y.view(R * groups, -1, fan_out) + bias.reshape(R * groups, 1, fan_out)


def mlp(layers: Weights, x: Tensor) -> Tensor:
    """Apply a ReLU network, the last layer without: [R, N, B, in] -> [R, N, B, out]."""
    lead = x.shape[:3]
    for weight, bias in layers[:-1]:
        x = torch.relu_(affine(x, weight, bias))
    return affine(x, *layers[-1]).view(*lead, -1)


def parameter_counts(actor: Learner, layers: Weights, *others: Learner) -> tuple[int, int, int]:
    """Count the trained, inference and peak parameters of one replica.

    Inference counts the layers that act for the whole team; peak counts everything trained, its
    target, and the layers that are generated and not stored.
    """
    trained = sum(learner.online.flat.shape[1] for learner in (actor, *others))
    sizes = [(part[0].numel(), part.is_leaf) for layer in layers for part in layer]
    generated = sum(size for size, stored in sizes if not stored)
    return trained, sum(size for size, _ in sizes), 2 * trained + generated
