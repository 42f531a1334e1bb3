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
    width = None
    for n, (weight, bias) in enumerate(layers):
        inputs, outputs = (*weight.shape[2:], None, None)[:2]
        for name, part, rows in (("W", weight, width or inputs), ("b", bias, 1)):
            fits = part.dim() == 4 and len(part) == replicas and part.shape[1] in (1, agents)
            if not fits or part.shape[2:] != (rows, outputs):
                right = f"[{replicas}, 1 or {agents}, {rows or 'in'}, {outputs or 'out'}]"
                return f"layer {n}: {name} is {list(part.shape)}: must be {right}"
        width = outputs
    return "" if layers else "there are no layers"
