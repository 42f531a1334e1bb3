"""What a run asks of a machine, known before anything is built: for a cluster's queue, not exact.

Upper estimates from the configuration alone; nothing here imports torch.  A queue kills what takes
more than it asked for, so each retry asks for more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from bench import registry
from bench.config import RunConfig
from bench.methods import method_entry

LIBRARIES_MB = 500
"""Python with torch and all that a run imports, with some to spare."""
COMPILER_MB = 700
"""Torch's compiler in the process, and a C++ compiler beside it."""
START_MINUTES = 15
"""Start-up on a slow file system, evaluations, and updates of methods wider than their setting."""
WIDENED = 8
"""Times the work, at the rate of small products, of a network as large as a hypernetwork."""
FLOPS = 20e9
"""Floating-point operations a second of a slow core on small products."""


def memory_mb(configs: Sequence[RunConfig], compiled: bool = False) -> int:
    """Estimate the peak memory of a fleet of runs, its replay full: in MiB."""
    programs = LIBRARIES_MB + COMPILER_MB * compiled
    return programs + math.ceil(sum(map(_bytes, configs)) / 2**20)


def minutes(configs: Sequence[RunConfig]) -> int:
    """Estimate the wall time of a fleet of runs on one core: in minutes."""
    return START_MINUTES + math.ceil(sum(map(_seconds, configs)) / 60)


def _bytes(config: RunConfig) -> int:
    # A state has 6 or more numbers an agent; priorities take 32 bytes at most.
    numbers = (8 + _action_size(config)) * config.agents
    replay = config.buffer * (4 * numbers + 4 * 8)
    # Activations of acting, target and evaluated networks, forwards and backwards.
    activations = 4 * 40 * config.batch * config.agents * sum(config.hidden)
    # The last episodes once more for every agent, and some copies.
    states = (_horizon(config) + 1) * numbers
    episodes = 4 * 4 * config.absolute_episodes * (config.agents + 2) * states
    scheme = method_entry(config.method).scheme
    if scheme is None:
        return episodes  # a scripted controller stores and learns nothing
    # A hypernetwork holds some 64 numbers for each that it generates; Adam and targets three more.
    each = 1 if scheme.startswith("baselines.sharing.") else 64
    weights = 4 * 4 * each * config.agents * _products(config)
    return replay + activations + weights + episodes


def _seconds(config: RunConfig) -> float:
    # Every step is taken and observed, every product made by 3 networks, forwards and, at twice the
    # cost, backwards.
    steps = _horizon(config) * config.episodes
    update = 2 * 3 * 3 * config.batch * config.agents * _products(config)
    if method_entry(config.method).scheme == "baselines.sharing.widened:Widened":
        update *= WIDENED
    return (steps / config.steps_per_update) * update / FLOPS + steps * config.agents / 20_000


def _horizon(config: RunConfig) -> int:
    """Steps of an episode; the default of PettingZoo's environments may be any."""
    options, path = config.task_options, registry.task_entry(config.task).options
    usual = getattr(registry.load(path).model_construct(), "horizon", 30) if path else 30
    told = options.get("horizon") or options.get("max_cycles")
    return told if isinstance(told, int) else usual  # what is no number is refused by the task


def _action_size(config: RunConfig) -> int:
    """Numbers A of an agent's action: as many as it has moves, where it acts by moves."""
    path = registry.task_entry(config.task).options
    if method_entry(config.method).actions != "discrete" or path is None:
        return 2
    moves: int = registry.load(path).model_construct().moves(config.agents)
    return moves


def _products(config: RunConfig) -> int:
    """Multiply-adds of one row through a critic that sees the observations of all agents."""
    widths = [8 * config.agents**2, *config.hidden, 8]
    return sum(a * b for a, b in pairwise(widths))
