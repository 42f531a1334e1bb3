"""A team: who acts, and in which world, for runs of one shape side by side.

Its replicas may differ in what changes no shape: the seed, the reward and the sampler.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import torch
from torch import Tensor

from bench import registry, versions
from bench.config import FREE, RunConfig
from bench.errors import RequestError, is_out_of_memory
from bench.interfaces import Algorithm, Layered, SchemeFactory, Spec, Task
from bench.layers import misfit
from bench.methods import MethodEntry, method_entry
from bench.random import Random
from bench.tasks import make_task

TOLD: Mapping[str, Callable[[Spec], object]] = {
    "features": lambda spec: spec.features,
    "batch": lambda spec: spec.config.batch,
}
"""What a scheme is told of the world if it has an argument of that name."""


def build_algorithm(entry: MethodEntry, spec: Spec, random: Random) -> Algorithm:
    """Make the algorithm of a method with its parameter scheme.

    Raises:
        RequestError: if the entry names something that does not exist or cannot be combined, or
            its scheme makes layers of wrong shapes, or comes from outside and fails.
    """
    registry.check_options(entry.algorithm, entry.algorithm_options, "algorithm_options")
    make_scheme = scheme_factory(entry, spec) if entry.scheme else _no_scheme
    build = registry.load(entry.algorithm)
    try:
        algorithm: Algorithm = build(spec, make_scheme, random, **entry.algorithm_options)
    except RequestError:
        raise
    except Exception as error:  # code from outside may fail in any way
        named = [path for path in (entry.algorithm, entry.scheme) if path]
        if is_out_of_memory(error) or not versions.outside(named):
            raise
        raise RequestError(
            f"{' with '.join(named)}: {type(error).__name__}: {error}; "
            "`hypercoop check-method` says what is asked of it"
        ) from error
    if isinstance(algorithm, Layered):
        with torch.no_grad():
            layers = algorithm.layers()
        wrong = misfit(layers, spec.replicas, spec.agents)
        if not wrong and any(part.dtype != torch.float32 for layer in layers for part in layer):
            wrong = "its layers must be float32"
        if wrong:
            raise RequestError(f"scheme {entry.scheme}: {wrong}")
    return algorithm


def _no_scheme(sizes: Sequence[int], agents: int) -> NoReturn:
    """Stand for the scheme of an entry without one, which controllers never ask for."""
    raise RequestError(
        "its algorithm asks for a parameter scheme: give scheme: MODULE:NAME, e.g. "
        "baselines.sharing.independent:Independent"
    )


def scheme_factory(entry: MethodEntry, spec: Spec) -> SchemeFactory:
    """Return what makes the parameter scheme of a method that has one.

    Raises:
        RequestError: if there is no such scheme, or it has no such option.
    """
    assert entry.scheme is not None
    registry.check_options(entry.scheme, entry.scheme_options, "scheme_options")
    scheme = registry.load(entry.scheme)
    wanted = TOLD.keys() & inspect.signature(scheme).parameters
    options = {**entry.scheme_options, **{name: TOLD[name](spec) for name in wanted}}
    return functools.partial(scheme, **options)


def make_spec(config: RunConfig, task: Task, replicas: int, device: torch.device) -> Spec:
    """Tell a method what it needs to know of the world."""
    return Spec(
        config=config,
        replicas=replicas,
        agents=task.agents,
        observation_size=task.observation_size,
        action_size=task.action_size,
        discrete=task.discrete,
        device=device,
        features=getattr(task, "features", None),
        updates=config.episodes * task.horizon // config.steps_per_update,
        entities=getattr(task, "entities", None),
    )


def slices(values: Sequence[str]) -> list[tuple[str, slice]]:
    """Return consecutive equal values as slices."""
    slices, start = [], 0
    for value, same in itertools.groupby(values):
        count = len(list(same))
        slices.append((value, slice(start, start + count)))
        start += count
    return slices


def reward_parts(tasks: Sequence[tuple[slice, Task]], state: Tensor, next_state: Tensor) -> Tensor:
    """Reward each part of the replicas by its own task."""
    if len(tasks) == 1:
        return tasks[0][1].reward(state, next_state)
    return torch.cat([task.reward(state[p], next_state[p]) for p, task in tasks])


class Team:
    """Who acts, and in which world: runs that differ in nothing but seed, reward and sampler.

    Args:
        configs: one per replica.
        device: where everything lives.

    Raises:
        RequestError: if the configurations differ in more than that, or cannot be built.
    """

    def __init__(self, configs: Sequence[RunConfig], device: torch.device) -> None:
        self.configs, self.device = configs, device
        self.config = config = configs[0]
        if any(other.shape != config.shape for other in configs):
            raise RequestError(f"the replicas of a fleet may differ in {', '.join(FREE)} only")
        entry = method_entry(config.method)
        self.random = Random.from_seeds([c.seed for c in configs], device)
        rewards = slices([c.reward for c in configs])
        self._tasks = [(part, make_task(configs[part.start], entry.actions)) for _, part in rewards]
        self.task: Task = self._tasks[0][1]
        """The task, its reward being that of the first replica."""
        self.spec = make_spec(config, self.task, len(configs), device)
        try:
            self.algorithm = build_algorithm(entry, self.spec, self.random.fold("initialise"))
        except RequestError as error:
            raise RequestError(f"method '{config.method}': {error}") from error

    def resized(self, agents: int) -> Team:
        """Return a team of another size that acts by the weights that this one has now.

        Raises:
            RequestError: if the weights are for one number of agents, or the task has no other.
        """
        configs = [config.model_copy(update={"agents": agents}) for config in self.configs]
        team = Team(configs, self.device)
        shapes = {name: tensor.shape for name, tensor in team.algorithm.policy.items()}
        if shapes != {name: tensor.shape for name, tensor in self.algorithm.policy.items()}:
            raise RequestError(
                f"agents = {agents}: method '{self.config.method}' has weights for "
                f"{self.config.agents} agents only; choose one whose agents share all weights and "
                "see by attention or a table, such as attention-maddpg"
            )
        team.algorithm.load_policy(self.algorithm.policy)
        return team

    def reward(self, state: Tensor, next_state: Tensor) -> Tensor:
        """Reward every replica's transitions as its own run does: [R, ..., N]."""
        return reward_parts(self._tasks, state, next_state)
