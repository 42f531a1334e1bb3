"""Gradients of generated weights, clipped for each agent and layer apart.

Clipping the hypernetwork's own gradient cannot tell agents apart: one agent's outlier would scale
down what all the others have to say (per-sample clipping, Abadi et al. 2016, with agents for
samples).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def clip_gradient(weight: Tensor, largest: float) -> Tensor:
    """Return the weight; its gradient, backwards, has norm `largest` at most for each agent.

    Args:
        weight: [R, N, in, out].
        largest: norm over [in, out].
    """
    clipped: Tensor = _Clip.apply(weight, largest)  # type: ignore[no-untyped-call]
    return clipped


class _Clip(torch.autograd.Function):
    """The identity, with a clipped gradient."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, largest: float) -> Tensor:
        ctx.largest = largest
        return weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        norm = torch.linalg.vector_norm(gradient, dim=(2, 3), keepdim=True)
        return gradient * (ctx.largest / norm.clamp(min=ctx.largest)), None
