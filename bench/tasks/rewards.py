"""The rewards of cooperative navigation, each a function of the states of a transition.

Every reward has the signature ``reward(task, state, next_state) -> [..., N]`` and looks at the
state that was reached; only the shaping looks at both.  All but `mpe_dense` with collisions are
team rewards: the same number for every agent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from bench.tasks.assignment import all_matched, least_total, matching_size

if TYPE_CHECKING:
    from bench.tasks.coop_nav import CoopNav

VERSION = 1


def _team(task: CoopNav, reward: Tensor) -> Tensor:
    return reward.unsqueeze(-1).expand(*reward.shape, task.agents)


def group_goal(task: CoopNav, state: Tensor, next_state: Tensor) -> Tensor:
    """1 iff all targets are covered one-to-one (Xu and Yang 2020), else 0."""
    return _team(task, all_matched(task.covers(next_state)).to(state.dtype))


def summed_individual(task: CoopNav, state: Tensor, next_state: Tensor) -> Tensor:
    """Count the agents that uniquely cover a target: the size of the largest matching, 0 to N."""
    return _team(task, matching_size(task.covers(next_state)).to(state.dtype))


def distance(task: CoopNav, state: Tensor, next_state: Tensor) -> Tensor:
    """Minus the sum over agents of the distances to *all* targets.

    Its optimum gathers every agent at the targets' geometric median, which covers nothing: the flaw
    that Xu and Yang (2020) point out.
    """
    return _team(task, -task.distances(next_state).sum((-2, -1)))


def mpe_dense(task: CoopNav, state: Tensor, next_state: Tensor) -> Tensor:
    """The reward of mpe2's simple_spread, to the number.

    Without collisions: minus the sum over targets of the least distance (Lowe et al. 2017).  With
    them: half of that, and half of minus the agent's own collisions, its `local_ratio` of 0.5.
    """
    spread = -task.distances(next_state).amin(-2).sum(-1)
    if not task.collisions:
        return _team(task, spread)
    return 0.5 * spread.unsqueeze(-1) - 0.5 * task.touching(next_state).sum(-1)


def assignment_shaping(task: CoopNav, state: Tensor, next_state: Tensor) -> Tensor:
    """The group goal plus potential-based shaping: gamma Phi(s') - Phi(s).

    Phi is minus the least total distance of an assignment over N, and 0 where an episode has ended.
    Such shaping leaves the optimal policies of the group goal unchanged (Ng, Harada and Russell
    1999).
    """

    def potential(at: Tensor) -> Tensor:
        apart, ended = least_total(task.distances(at)) / task.agents, task.terminated(at)
        return -(apart if ended is None else apart.masked_fill(ended, 0.0))

    shaping = task.gamma * potential(next_state) - potential(state)
    return group_goal(task, state, next_state) + _team(task, shaping)
