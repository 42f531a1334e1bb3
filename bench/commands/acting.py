"""Acting by a saved policy."""

from __future__ import annotations

import argparse
import json

from bench.arguments import read_task_options
from bench.errors import RequestError


def evaluate(options: argparse.Namespace) -> None:
    """Evaluate a saved policy on new episodes."""
    _check_acting(options)
    from bench.device import settle_cpu
    from bench.evaluate import evaluate
    from bench.policies import load_policy
    from bench.random import Random

    settle_cpu()
    task_options = read_task_options(options)
    config, task, algorithm = load_policy(
        options.policy, options.which, task_options, options.agents
    )
    random = Random.from_seeds([options.seed]).fold("re-evaluation")
    raw = evaluate(task, algorithm, random, options.episodes)
    means = {name: float(values.mean()) for name, values in sorted(raw.items())}
    if options.json:
        print(json.dumps({"method": config.method, "episodes": options.episodes, "mean": means}))
        return
    print(f"{config.method}, {options.episodes} greedy episodes of {task.horizon} steps, means:")
    for name, value in means.items():
        print(f"  {name:18} {value:10.4f}")


def watch(options: argparse.Namespace) -> None:
    """Draw trajectories of a saved policy."""
    _check_acting(options)
    from bench.device import settle_cpu
    from bench.policies import find_policy, load_policy
    from bench.random import Random
    from bench.watch import watch

    settle_cpu()
    task_options = read_task_options(options)
    _, task, algorithm = load_policy(options.policy, options.which, task_options, options.agents)
    random = Random.from_seeds([options.seed]).fold("watch")
    out = options.out or find_policy(options.policy).with_suffix("")
    for written in watch(task, algorithm.act, random, out, options.episodes):
        print(written)


def _check_acting(options: argparse.Namespace) -> None:
    if options.agents is not None and options.agents < 1:
        raise RequestError(f"--agents {options.agents}: must be at least 1")
    if not 0 <= options.seed < 2**31:
        raise RequestError(f"--seed {options.seed}: must be from 0 to {2**31 - 1}")
    if options.episodes < 1:
        raise RequestError(f"--episodes {options.episodes}: must be at least 1")
