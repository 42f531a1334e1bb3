"""What the layers of a network must be, whoever made them."""

from __future__ import annotations

from bench.interfaces import Weights


def misfit(layers: Weights, replicas: int, agents: int) -> str:
    """Say which tensor of a network's layers has a wrong shape, and what would be right.

    Args:
        layers: W [R, G, in, out] and b [R, G, 1, out], each with G = 1 or N.
        replicas: R.
        agents: N.

    Returns:
        What is wrong, or nothing.
    """
    width = layers[0][0].shape[-2]
    for n, (weight, bias) in enumerate(layers):
        for name, part, rows in (("W", weight, width), ("b", bias, 1)):
            fits = part.dim() == 4 and len(part) == replicas and part.shape[1] in (1, agents)
            if not fits or part.shape[2:] != (rows, weight.shape[-1]):
                right = f"[{replicas}, 1 or {agents}, {rows}, {weight.shape[-1]}]"
                return f"layer {n}: {name} is {list(part.shape)}: must be {right}"
        width = weight.shape[-1]
    return ""
