"""The mathematics of the algorithms as pure functions, apart from networks and devices.

Time indices: `q_tm1` is the value of what was done, `r_t` and `q_t` are what followed.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def bound_returns(target: Tensor, reward_range: Sequence[float], gamma: float) -> Tensor:
    """Keep target values, in place, to the discounted returns that rewards in a range can add to.

    Args:
        target: [R, G, B].
        reward_range: the least and the largest reward.
        gamma: discount, below 1.
    """
    least, largest = (reward / (1 - gamma) for reward in reward_range)
    return target.clamp_(least, largest)


def double_q(online_t: Tensor, target_t: Tensor) -> Tensor:
    """The target network's value of the online network's greedy move (van Hasselt et al. 2016).

    Args:
        online_t: [..., A] values.
        target_t: [..., A] values.

    Returns:
        [...].
    """
    return target_t.gather(-1, online_t.argmax(-1, keepdim=True)).squeeze(-1)


def weighted_square_gradient(td: Tensor, weight: Tensor) -> Tensor:
    """Differentiate the batch mean of w delta^2 by the values: 2 w delta / B.

    Args:
        td: [R, G, B] TD errors of values whose targets are constant.
        weight: [R, B] importance weights.

    Returns:
        [R, G, B]: of the sum over replicas and networks, so each is that of its own mean.
    """
    return td * (weight * (2 / weight.shape[1])).unsqueeze(1)
