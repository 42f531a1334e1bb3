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
        order = _order(distance).unsqueeze(-2).expand_as(listed)
        parts.append(listed.gather(-3, order).flatten(-3, -2))
    return torch.cat(parts, -2).mT


def _order(distance: Tensor) -> Tensor:
    """Sort a few distances along the last axis but one; equal ones stay as they are: [..., K, B].

    Neighbours are put in order, even ones and odd ones in turn (Haberman 1972): K passes along the
    long rows take a third of the time of sorting K numbers B times.
    """
    count = distance.shape[-2]
    number = torch.arange(count, device=distance.device).unsqueeze(-1)
    # Non-negative floats order as the integers of the same bits do.
    keys = distance.detach().float().view(torch.int32).long() * (1 << 16) + number
    for turn in range(count):
        first, second = keys[..., turn % 2 : -1 : 2, :], keys[..., turn % 2 + 1 :: 2, :]
        nearer = torch.minimum(first, second)
        torch.maximum(first, second, out=second)
        first.copy_(nearer)
    return keys.bitwise_and_((1 << 16) - 1)
