"""Tasks: batched simulators as pure functions of state, and bridges to and from PettingZoo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench import registry

if TYPE_CHECKING:
    from pettingzoo import ParallelEnv

    from bench.config import RunConfig
    from bench.interfaces import Task


def make_task(config: RunConfig, actions: str) -> Task:
    """Build the task of a run for a method that acts in `actions` (continuous or discrete).

    Raises:
        RequestError: for an unknown task, reward or task option, an option of a wrong value, or a
            task or reward that does not keep its shapes.
    """
    entry = registry.task_entry(config.task)
    reward = registry.look_up(entry.rewards, "reward", config.reward, outside=True)
    make = registry.load(entry.path)
    built: Task = make.from_config(config, registry.load(reward), actions)
    # PettingZoo's environments are no functions: a step would move them.
    if registry.family(config.task) != "pettingzoo":
        from bench.tasks.probe import check_task

        check_task(built, f"task '{config.task}' with reward '{config.reward}'")
    return built


def parallel_env(**options: Any) -> ParallelEnv[str, Any, Any]:
    """Return a task as a PettingZoo ParallelEnv: see :func:`bench.tasks.bridge.parallel_env`."""
    from bench.tasks.bridge import parallel_env as bridge

    return bridge(**options)
