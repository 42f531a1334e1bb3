"""A fleet: replicas of one run under different seeds, and all that they learn with."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench import registry
from bench.config import MethodEntry, RunConfig, method_entry
from bench.errors import RequestError
from bench.interfaces import Algorithm, Batch, Sampler, SchemeFactory, Spec, Task
from bench.random import Random
from bench.records import Cost
from bench.replay.storage import Replay
from bench.tasks import make_task


def build_algorithm(entry: MethodEntry, spec: Spec, random: Random) -> Algorithm:
    """Make the algorithm of a method with its parameter scheme.

    Raises:
        RequestError: if the entry names something that does not exist or cannot be combined.
    """
    registry.check_options(entry.algorithm, entry.algorithm_options, "algorithm_options")
    make_scheme = scheme_factory(entry, spec) if entry.scheme else None
    build = registry.load(entry.algorithm)
    algorithm: Algorithm = build(spec, make_scheme, random, **entry.algorithm_options)
    return algorithm


def scheme_factory(entry: MethodEntry, spec: Spec) -> SchemeFactory:
    """Return what makes the parameter scheme of a method that has one.

    Raises:
        RequestError: if there is no such scheme, or it has no such option.
    """
    assert entry.scheme is not None
    registry.check_options(entry.scheme, entry.scheme_options, "scheme_options")
    scheme, options = registry.load(entry.scheme), dict(entry.scheme_options)
    if "features" in inspect.signature(scheme).parameters:
        options["features"] = spec.features
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
    )


class Fleet:
    """R runs that differ in nothing but their seed.

    Args:
        configs: one per replica.
        device: where everything lives.

    Raises:
        RequestError: if the configurations differ in more than the seed, or cannot be built.
    """

    def __init__(self, configs: Sequence[RunConfig], device: torch.device) -> None:
        self.configs, self.device = configs, device
        self.config = config = configs[0]
        if any(other.model_copy(update={"seed": config.seed}) != config for other in configs):
            raise RequestError("the replicas of a fleet may differ in nothing but the seed")
        entry = method_entry(config.method)
        R, E = len(configs), config.parallel
        self.random = Random.from_seeds([c.seed for c in configs], device)
        self.task: Task = make_task(config, entry.actions)
        self.spec = make_spec(config, self.task, R, device)
        self.algorithm = build_algorithm(entry, self.spec, self.random.fold("initialise"))
        if not self.algorithm.trains:
            return
        probe = self.task.reset(self.random.fold("probe"), E)
        self.replay = Replay(
            R,
            config.buffer,
            E,
            self.task.horizon,
            self.task.state_size,
            (self.task.agents, self.task.action_size),
            device,
            terminates=self.task.terminated(probe) is not None,
        )
        sampler = registry.load(registry.look_up(registry.SAMPLERS, "sampler", config.sampler))
        self.sampler: Sampler = sampler(self.replay, config, R)

    def cost(self) -> Cost:
        """Count parameters, and the FLOPs of one update."""
        trained, inference, peak = self.algorithm.parameter_counts()
        return Cost(
            trained_parameters=trained,
            inference_parameters=inference,
            peak_parameters=peak,
            flops_per_update=self._flops_per_update() if self.algorithm.trains else 0,
        )

    def _flops_per_update(self) -> int:
        """Count by an update of one replica without numbers, on torch's `meta` device.

        There every product is a plain one, so the count is the mathematics', whatever way a device
        takes.  Methods that look at their numbers are run on zeros on the CPU instead.
        """
        for name in ("meta", "cpu"):
            try:
                return self._count_flops(torch.device(name))
            except (NotImplementedError, RuntimeError):
                if name == "cpu":
                    raise
        raise AssertionError

    def _count_flops(self, device: torch.device) -> int:
        spec = replace(self.spec, replicas=1, device=device)
        B, N = self.config.batch, spec.agents
        observation = torch.zeros(1, B, N, spec.observation_size, device=device)
        batch = Batch(
            observation=observation,
            action=torch.zeros(1, B, N, spec.action_size, device=device),
            reward=torch.zeros(1, B, N, device=device),
            next_observation=observation,
            terminated=None,
            weight=torch.ones(1, B, device=device),
        )
        dummy = build_algorithm(
            method_entry(self.config.method), spec, Random.from_seeds([0], device)
        )
        with FlopCounterMode(display=False) as counter:
            dummy.update(batch)
        return counter.get_total_flops()

    def state(self) -> dict[str, Tensor]:
        """Return every tensor that training depends on.  Only between episodes."""
        parts: Mapping[str, Mapping[str, Tensor]] = {
            "algorithm": self.algorithm.state(),
            "replay": self.replay.state(),
            "sampler": self.sampler.state(),
        }
        return {f"{part}/{k}": v for part, tensors in parts.items() for k, v in tensors.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""

        def part(name: str) -> dict[str, Tensor]:
            prefix = f"{name}/"
            chosen = {k: v for k, v in state.items() if k.startswith(prefix)}
            return {k.removeprefix(prefix): v.to(self.device) for k, v in chosen.items()}

        self.algorithm.load(part("algorithm"))
        self.replay.load(part("replay"))
        self.sampler.load(part("sampler"))
