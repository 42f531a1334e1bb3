"""Listing what an agent sees nearest first: the order then says something, and no two differ by it.

An observation is [own, entities of the first kind, of the second, ...]; the first two numbers of an
entity are where it is, relative to the agent.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def nearest_first(observation: Tensor, entities: Sequence[tuple[int, int]]) -> Tensor:
    """Sort the entities of each kind by their distance.

    Args:
        observation: [..., O].
        entities: the number and the width of each kind's, in the order of the observation.

    Returns:
        [..., O], in memory with the second axis but one last, as networks want their columns.
    """
    rows = observation.mT
    sizes = [count * width for count, width in entities]
    own, *kinds = rows.split([rows.shape[-2] - sum(sizes), *sizes], -2)
    parts = [own]
    for kind, (count, width) in zip(kinds, entities, strict=True):
        listed = kind.unflatten(-2, (count, width))
        distance = listed[..., 0, :].square() + listed[..., 1, :].square()
        order = distance.argsort(-2).unsqueeze(-2).expand_as(listed)
        parts.append(listed.gather(-3, order).flatten(-3, -2))
    return torch.cat(parts, -2).mT
