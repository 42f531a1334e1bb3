"""Steps that draw the hypernetwork to zero, and so the agents to their shared base."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def shrink(parameters: Iterable[Tensor], lr: float | Tensor, decay: float, l1: float) -> None:
    """Take the step of both penalties after the optimiser's own, in place.

    Weight decay is decoupled from the gradient's moments (Loshchilov and Hutter 2019).  The L1
    penalty is a proximal step, soft thresholding, which reaches zero and stays (Parikh and Boyd
    2014).

    Args:
        parameters: each [R, ...].
        lr: the optimiser's learning rate; a tensor is not looked at.
        decay: p <- (1 - lr decay) p, and no further than 0.
        l1: p <- sign(p) max(|p| - lr l1, 0).
    """
    for parameter in parameters:
        rate = parameter.new_zeros((), dtype=torch.float64) + lr
        if decay:
            parameter.mul_((1 - rate * decay).clamp(min=0))
        if l1:
            parameter.copy_(parameter.sign() * (parameter.abs() - rate * l1).clamp(min=0))
