"""The mathematics of the algorithms as pure functions, apart from networks and devices.

Time indices: `q_tm1` is the value of what was done, `r_t` and `q_t` are what followed.
"""

from __future__ import annotations

import torch
from torch import Tensor


def td_target(r_t: Tensor, q_t: Tensor, gamma: float, terminated: Tensor | None) -> Tensor:
    """r + gamma Q'(s'), with no future after a termination (a time limit is none).

    Args:
        r_t: [R, G, B].
        q_t: [R, G, B].
        gamma: discount.
        terminated: [R, B] bool or None.
    """
    if terminated is not None:
        q_t = q_t * (~terminated).unsqueeze(1)
    return torch.add(r_t, q_t, alpha=gamma)


def double_q(online_t: Tensor, target_t: Tensor) -> Tensor:
    """The target network's value of the online network's greedy move (van Hasselt et al. 2016).

    Args:
        online_t: [..., A] values.
        target_t: [..., A] values.

    Returns:
        [...].
    """
    return target_t.gather(-1, online_t.argmax(-1, keepdim=True)).squeeze(-1)


def weighted_square(td: Tensor, weight: Tensor) -> Tensor:
    """Sum over replicas and networks of the batch means of w delta^2.

    Args:
        td: [R, G, B] TD errors.
        weight: [R, B] importance weights.

    Returns:
        A scalar: the gradient of a replica's network is that of its own mean.
    """
    return (td.square() * weight.unsqueeze(1)).mean(-1).sum()
