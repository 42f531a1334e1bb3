"""What a run asks of a machine, known before anything is built: for a cluster's queue, not exact.

Upper estimates from the configuration alone; nothing here imports torch.  A queue kills what takes
more than it asked for, so each retry asks for more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from bench.config import RunConfig
from bench.methods import method_entry

LIBRARIES_MB = 500
"""Python with torch and all that a run imports, with some to spare."""
START_MINUTES = 15
"""Start-up on a slow file system, evaluations, and updates of methods wider than their setting."""
FLOPS = 20e9
"""Floating-point operations a second of a slow core on small products."""


def memory_mb(configs: Sequence[RunConfig]) -> int:
    """Estimate the peak memory of a fleet of runs, its replay full: in MiB."""
    return LIBRARIES_MB + math.ceil(sum(map(_bytes, configs)) / 2**20)


def minutes(configs: Sequence[RunConfig]) -> int:
    """Estimate the wall time of a fleet of runs on one core: in minutes."""
    return START_MINUTES + math.ceil(sum(map(_seconds, configs)) / 60)


def _bytes(config: RunConfig) -> int:
    # A state has 6 or more numbers an agent, an action 2; priorities are two trees of float64.
    replay = config.buffer * (4 * 10 * config.agents + 4 * 8)
    # Activations of acting, target and evaluated networks, forwards and backwards.
    activations = 4 * 40 * config.batch * config.agents * sum(config.hidden)
    # The last episodes once more for every agent, and some copies: 30 steps of such states.
    episodes = 4 * 4 * config.absolute_episodes * (config.agents + 2) * 31 * 10 * config.agents
    scheme = method_entry(config.method).scheme
    if scheme is None:
        return episodes  # a scripted controller stores and learns nothing
    # A hypernetwork holds some 64 numbers for each that it generates; Adam and targets three more.
    each = 1 if scheme.startswith("baselines.sharing.") else 64
    weights = 4 * 4 * each * config.agents * _products(config)
    return replay + activations + weights + episodes


def _seconds(config: RunConfig) -> float:
    # A horizon of 30 steps; every step is taken and observed, every product made by 3 networks,
    # forwards and, at twice the cost, backwards.
    steps = 30 * config.episodes
    update = 2 * 3 * 3 * config.batch * config.agents * _products(config)
    return (steps / config.steps_per_update) * update / FLOPS + steps * config.agents / 20_000


def _products(config: RunConfig) -> int:
    """Multiply-adds of one row through a critic that sees the observations of all agents."""
    widths = [8 * config.agents**2, *config.hidden, 8]
    return sum(a * b for a, b in pairwise(widths))
