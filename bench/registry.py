"""The tables of what there is, by import path.

Adding a task, a reward or a sampler is one new file and one line here; adding a method is one entry
in ``config/methods.yaml``.  Nothing here imports torch, so that planning a grid of thousands of
runs stays fast: modules are imported only when a run is trained.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import RequestError, nearest
from bench.versions import remedy


@dataclass(frozen=True)
class TaskEntry:
    """What is known of a task family without importing it.

    Args:
        path: of the task.
        rewards: paths by name; the first is the reward of a run that asks for none.
        options: path of the model of its options, which are checked when a grid is read; those of a
            task without one are checked when it is built.
        discrete: whether it is played by discrete moves alone.
        features: whether it has features of its agents' roles, for methods conditioned on them.
        goals: whether it has goals that hindsight can change.
        chance: whether its episodes differ, by their starts say.  Where they do not, the best of a
            run's policies cannot be assessed afresh: its score would be what it was chosen for.
    """

    path: str
    rewards: Mapping[str, str]
    options: str | None = None
    discrete: bool = False
    features: bool = False
    goals: bool = False
    chance: bool = True


_NAVIGATION = {
    "group-goal": "bench.tasks.rewards:group_goal",
    "summed-individual": "bench.tasks.rewards:summed_individual",
    "mpe-dense": "bench.tasks.rewards:mpe_dense",
    "assignment-shaping": "bench.tasks.rewards:assignment_shaping",
}
_GAME = {"individual": "bench.tasks.games:individual", "team": "bench.tasks.games:team"}
_MATRIX = {"team": "bench.tasks.games:team"}

TASKS: Mapping[str, TaskEntry] = {
    "coop-nav": TaskEntry(
        "bench.tasks.coop_nav:CoopNav",
        {**_NAVIGATION, "distance": "bench.tasks.rewards:distance"},
        "bench.tasks.options:CoopNavOptions",
        goals=True,
    ),
    "roles": TaskEntry(
        "bench.tasks.roles:Roles",
        _NAVIGATION,
        "bench.tasks.options:RolesOptions",
        features=True,
        goals=True,
    ),
    "specialisation": TaskEntry(
        "bench.tasks.games:Specialisation",
        _GAME,
        "bench.tasks.options:GameOptions",
        discrete=True,
        chance=False,
    ),
    "synchronisation": TaskEntry(
        "bench.tasks.games:Synchronisation",
        _GAME,
        "bench.tasks.options:GameOptions",
        discrete=True,
        chance=False,
    ),
    "climbing": TaskEntry(
        "bench.tasks.one_shot:Climbing",
        _MATRIX,
        "bench.tasks.options:ClimbingOptions",
        discrete=True,
        chance=False,
    ),
    "penalty": TaskEntry(
        "bench.tasks.one_shot:Penalty",
        _MATRIX,
        "bench.tasks.options:PenaltyOptions",
        discrete=True,
        chance=False,
    ),
    "pettingzoo": TaskEntry(
        "bench.tasks.pettingzoo:PettingZooTask",
        {"environment": "bench.tasks.pettingzoo:environment_reward"},
    ),
}
"""Task families by name."""


def family(task: str) -> str:
    """Name the task family: the part of ``pettingzoo:mpe2.simple_spread_v3`` before the colon."""
    return task.partition(":")[0]


def task_entry(task: str) -> TaskEntry:
    """Look up the family of a task.

    Raises:
        RequestError: if there is none of that name, with the nearest known ones.
    """
    if family(task) not in TASKS:
        raise RequestError(f"unknown task '{family(task)}'; {nearest(family(task), list(TASKS))}")
    return TASKS[family(task)]


def with_features() -> list[str]:
    """List the tasks that have features of their agents' roles."""
    return [name for name, entry in TASKS.items() if entry.features]


def reward_range(reward: str, agents: int) -> tuple[float, float] | None:
    """Return between what values a reward of N agents lies; None where that is not known."""
    ranges = {
        "group-goal": (0.0, 1.0),
        "summed-individual": (0.0, float(agents)),
        "distance": (-math.inf, 0.0),
        "mpe-dense": (-math.inf, 0.0),
        "assignment-shaping": (-math.inf, math.inf),
    }
    return ranges.get(reward)


SAMPLERS: Mapping[str, str] = {
    "uniform": "bench.replay.uniform:Uniform",
    "prioritized": "bench.replay.prioritized:Prioritized",
    "hindsight": "bench.replay.hindsight:Hindsight",
    "hindsight-prioritized": "bench.replay.hindsight:HindsightPrioritized",
    "self-imitation": "bench.replay.imitation:SelfImitation",
}

RELABELLING = ("hindsight", "hindsight-prioritized")
"""Samplers that change the goal of what they have drawn."""
PRIORITIZING = ("prioritized", "hindsight-prioritized")
"""Samplers that draw by TD errors."""
READ_BY: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("per_alpha", "per_beta"), PRIORITIZING),
    **dict.fromkeys(("hindsight_share", "hindsight_next", "hindsight_jitter"), RELABELLING),
    "imitation_share": ("self-imitation",),
}
"""The samplers that read a setting, of those that no other part of a run reads."""


def samplers_of(task: str) -> list[str]:
    """List the samplers that a task can be learned with."""
    goals = task_entry(task).goals
    return [name for name in SAMPLERS if goals or name not in RELABELLING]


CURRICULA: Mapping[str, str] = {
    "radius": "bench.curricula.radius:Radius",
    "reverse": "bench.curricula.starts:Reverse",
    "agents": "bench.curricula.starts:Agents",
}

AUGMENTATION = "bench.replay.permutation:permute"

LOOP = "bench.train:train"


def look_up(table: Mapping[str, str], kind: str, name: str, *, outside: bool = False) -> str:
    """Return the import path of ``name``; from ``outside`` it may be a path itself, with a colon.

    Raises:
        RequestError: if the name is unknown, with the nearest known ones.
    """
    if name in table:
        return table[name]
    if outside and ":" in name:
        return name
    raise RequestError(f"unknown {kind} '{name}'; {nearest(name, list(table))}")


def load(path: str) -> Any:
    """Import ``package.module:Name``.

    Raises:
        RequestError: if the module or the name in it does not exist.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a module from outside may fail in any way
        raise RequestError(f"cannot import '{path}': {error}{remedy(path, error)}") from error


def options_model(path: str) -> Any:
    """Return the model of the options of ``package.module:Name``, without importing that module.

    It is ``NameOptions`` in the module ``package.options``, which must not need torch: so options
    are checked when a grid is read.  It may have methods ``check_world(agents, moves)`` and
    ``check_run(config)``, which refuse what it cannot serve.  None if there is no such thing.
    """
    module, _, name = path.partition(":")
    package = module.rpartition(".")[0]
    try:
        if not package or not importlib.util.find_spec(f"{package}.options"):
            return None
    except ModuleNotFoundError:
        return None
    except Exception as error:  # a package from outside may fail in any way
        raise RequestError(f"cannot import '{package}': {error}") from error
    return getattr(importlib.import_module(f"{package}.options"), f"{name}Options", None)


def signature(path: str) -> list[inspect.Parameter]:
    """List the arguments of the callable at ``path``."""
    return list(inspect.signature(load(path)).parameters.values())


def keyword_options(path: str) -> list[str]:
    """List the keyword-only arguments of the callable at ``path``: what a table may set."""
    return [p.name for p in signature(path) if p.kind is inspect.Parameter.KEYWORD_ONLY]


def check_options(path: str, options: Mapping[str, Any], where: str) -> None:
    """Refuse an option that the callable at ``path`` does not take.

    One that takes any (``**options``) checks them itself.

    Raises:
        RequestError: naming the option, where it stands, and what would be right.
    """
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature(path)):
        return
    known = keyword_options(path)
    for name in options:
        if name not in known:
            right = nearest(name, known) if known else "it has none (options are keyword-only)"
            raise RequestError(f"{where} of {path}: unknown option '{name}'; {right}")
