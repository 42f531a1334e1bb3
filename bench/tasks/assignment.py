"""One-to-one assignment of agents to targets, batched.

Up to :data:`ENUMERATED` agents every permutation is a column of a 0/1 matrix, so matching all of a
batch is one matrix product; beyond that, scipy's solvers, and on an accelerator augmenting paths.
The solvers work on numbers, so to whoever records operations, to compile them, each is one of its
own.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import Tensor
from torch.library import custom_op

ENUMERATED = 6
FEW = 5
"""Agents up to which enumerating is the faster way to match, too, on a CPU."""


@functools.cache
def _permutations(agents: int, device: torch.device) -> Tensor:
    """[N!, N]: the target of each agent."""
    return torch.tensor(list(itertools.permutations(range(agents))), device=device)


@functools.cache
def _indicator(agents: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[N!, N * N]: 1 where the permutation uses the (agent, target) pair."""
    one_hot = torch.nn.functional.one_hot(_permutations(agents, device), agents)
    return one_hot.flatten(1).to(dtype)


def matching_size(covers: Tensor) -> Tensor:
    """Count the targets that can be covered one-to-one: the maximum bipartite matching.

    Args:
        covers: [..., E, N, N] bool, agent i covers target j.

    Returns:
        [..., E] float32, 0 to N.
    """
    agents, on_cpu = covers.shape[-1], covers.device.type == "cpu"
    if agents <= (FEW if on_cpu else ENUMERATED):
        pairs = covers.flatten(-2).mT.float()
        return (_indicator(agents, pairs.dtype, pairs.device) @ pairs).amax(-2)
    flat = covers.reshape(-1, agents, agents)
    found: Tensor = _matched(flat) if on_cpu else _augment(flat)  # which never waits for the device
    return found.view(covers.shape[:-2])


def all_matched(covers: Tensor) -> Tensor:
    """Say whether all targets can be covered one-to-one: [..., E, N, N] bool -> [..., E] bool."""
    agents = covers.shape[-1]
    if agents <= FEW or covers.device.type != "cpu":
        return matching_size(covers) == agents
    found: Tensor = _all_matched(covers)
    return found


@custom_op("hypercoop::all_matched", mutates_args=())
def _all_matched(covers: Tensor) -> Tensor:
    # Only where every agent covers a target and every target has an agent is there a question.
    open_ = covers.any(-1).all(-1) & covers.any(-2).all(-1)
    matched = torch.zeros_like(open_)
    matched[open_] = _matched(covers[open_]) == covers.shape[-1]
    return matched


@custom_op("hypercoop::matched", mutates_args=())
def _matched(covers: Tensor) -> Tensor:
    """Match a batch [K, N, N] by Hopcroft and Karp's algorithm: as one graph, of K parts."""
    count, agents, _ = covers.shape
    block, _, target = covers.numpy().nonzero()
    starts = np.append(0, covers.sum(2).flatten().cumsum(0).numpy())
    links = np.ones(len(target), bool), block * agents + target, starts
    graph = csr_array(links, shape=(count * agents, count * agents))
    partner = torch.from_numpy(maximum_bipartite_matching(graph, perm_type="column"))
    return (partner >= 0).view(count, agents).sum(1).float()


def _augment(covers: Tensor) -> Tensor:
    """Kuhn's algorithm (1955) on a batch [K, N, N]: each agent in turn seeks an augmenting path."""
    count, agents, _ = covers.shape
    rows = torch.arange(count, device=covers.device)
    owner = torch.full((count, agents), -1, device=covers.device)
    for agent in range(agents):
        # Breadth-first from the agent: `via` is the agent that reached each target.
        frontier = torch.zeros(count, agents, dtype=torch.bool, device=covers.device)
        frontier[:, agent] = True
        via = torch.full((count, agents), -1, device=covers.device)
        for _ in range(agent + 1):
            reach = frontier[:, :, None] & covers & (via < 0)[:, None, :]
            found = reach.any(1)
            via = torch.where(found, reach.int().argmax(1), via)
            # The next frontier: owners of the targets just found.
            frontier = torch.zeros_like(frontier).scatter_reduce(
                1, owner.clamp(min=0), found & (owner >= 0), "amax"
            )
        free = (via >= 0) & (owner < 0)
        target = torch.where(free.any(1), free.int().argmax(1), -1)
        # Walk back along the path, handing each target to the agent that reached it.
        for _ in range(agent + 1):
            live = target >= 0
            at = target.clamp(min=0)
            taker = via[rows, at]
            held = (owner == taker[:, None]) & live[:, None]
            previous = torch.where(held.any(1), held.int().argmax(1), -1)
            owner[rows, at] = torch.where(live, taker, owner[rows, at])
            target = torch.where(live, previous, -1)
    return (owner >= 0).sum(1).float()


def least_total(distance: Tensor) -> Tensor:
    """Return the least total distance of a one-to-one assignment: [..., E, N, N] -> [..., E].

    NaN where a distance is not finite, as a diverged replica's are.
    """
    agents = distance.shape[-1]
    if agents <= ENUMERATED:
        pairs = distance.flatten(-2).mT
        return (_indicator(agents, pairs.dtype, pairs.device) @ pairs).amin(-2)
    totals: Tensor = _least_total(distance)
    return totals


@custom_op("hypercoop::least_total", mutates_args=())
def _least_total(distance: Tensor) -> Tensor:
    totals = [
        float(d[linear_sum_assignment(d)].sum()) if np.isfinite(d).all() else math.nan
        for d in distance.reshape(-1, *distance.shape[-2:]).cpu().numpy()
    ]
    made = torch.tensor(totals, dtype=distance.dtype, device=distance.device)
    return made.view(distance.shape[:-2])


# What they return, without its numbers.
_all_matched.register_fake(lambda covers: covers.new_empty(covers.shape[:-2]))
_matched.register_fake(lambda covers: covers.new_empty(len(covers), dtype=torch.float32))
_least_total.register_fake(lambda distance: distance.new_empty(distance.shape[:-2]))


def bottleneck(distance: Tensor) -> Tensor:
    """Return the assignment whose longest distance is least, ties by least total distance.

    Beyond ENUMERATED agents nearly so: of eight or twelve at random places, in one case of twenty
    to forty it is another, whose longest distance is at most some hundredths longer.

    Args:
        distance: [..., N, N] from agent i to target j.

    Returns:
        [..., N] the target of each agent.
    """
    agents = distance.shape[-1]
    if agents <= ENUMERATED:
        permutations = _permutations(agents, distance.device)
        used = distance[..., torch.arange(agents, device=distance.device), permutations]
        cost = used.amax(-1) + 1e-4 * used.mean(-1)
        return permutations[cost.argmin(-1)]
    flat = distance.reshape(-1, agents, agents).double().cpu().numpy()
    # A high power makes the total behave as the maximum.
    scale = flat.max(axis=(1, 2), keepdims=True)
    powers = (flat / scale) ** 16
    targets = [linear_sum_assignment(power)[1].tolist() for power in powers]
    return torch.tensor(targets, device=distance.device).view(distance.shape[:-1])
