"""A fleet: a team that learns, and all that it learns with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench import registry
from bench.config import RunConfig
from bench.errors import RequestError
from bench.experience import Curriculum, Listening, Relabelling, Sampler, Transitions
from bench.interfaces import Algorithm, Batch, Exchangeable, GoalTask, Scored
from bench.methods import method_entry
from bench.random import Random
from bench.records import Cost
from bench.replay.mixed import Mixed
from bench.replay.permutation import permute
from bench.replay.storage import Replay
from bench.team import Team, build_algorithm, reward_parts, slices
from bench.tensors import found_under, put_under


class Fleet(Team):
    """A team that learns: with its replay, its samplers and its curriculum.

    Raises:
        RequestError: as for a team; or if the task has no goals, radius or order that they ask for.
    """

    def __init__(self, configs: Sequence[RunConfig], device: torch.device) -> None:
        super().__init__(configs, device)
        config, R, E = self.config, len(configs), self.config.parallel
        self._trained = self._tasks
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
        samplers: list[tuple[slice, Sampler]] = []
        for name, part in slices([c.sampler for c in configs]):
            build = registry.load(registry.look_up(registry.SAMPLERS, "sampler", name))
            samplers.append((part, build(self.replay, config, part)))
            if isinstance(samplers[-1][1], Relabelling) and not isinstance(self.task, GoalTask):
                raise RequestError(f"sampler '{name}': task '{config.task}' has no goals to change")
        self.sampler: Sampler = samplers[0][1] if len(samplers) == 1 else Mixed(samplers)
        self._relabelling = [
            (part, sampler) for part, sampler in samplers if isinstance(sampler, Relabelling)
        ]
        self._listening = [
            (part, sampler) for part, sampler in samplers if isinstance(sampler, Listening)
        ]
        exchangeable = isinstance(self.task, Exchangeable) and self.task.exchangeable
        if config.augmentation != "none" and not exchangeable:
            raise RequestError(
                f"augmentation = {config.augmentation}: task '{config.task}' has agents that differ"
            )
        self.curriculum: Curriculum | None = None
        if config.curriculum != "none":
            path = registry.look_up(registry.CURRICULA, "curriculum", config.curriculum)
            self.curriculum = registry.load(path)(config, R, device)
            assert self.curriculum is not None
            self._trained = [(p, self.curriculum.rewarding(t, p)) for p, t in self._tasks]

    def start(self, random: Random) -> Tensor:
        """Draw what E training episodes start from: [R, E, S]."""
        state = self.task.reset(random, self.config.parallel)
        return state if self.curriculum is None else self.curriculum.start(self.task, state)

    def relabel(self, random: Random, indices: Tensor) -> Transitions | tuple[()]:
        """Return the transitions at indices [R, B] changed, as asked; () where nothing changes."""
        if not self._relabelling and self.config.augmentation == "none":
            return ()
        drawn = self.replay.transitions(indices)
        # What the task can do was asked when the fleet was built; to ask again takes long.
        for part, sampler in self._relabelling:
            state, action, following = drawn
            own = state[part], action[part], following[part]
            changed = sampler.relabel(
                cast(GoalTask, self.task), random.part(part), indices[part], own
            )
            for whole, new in zip(drawn, changed, strict=True):
                whole[part] = new
        if self.config.augmentation == "permutation":
            return permute(cast(Exchangeable, self.task), random.fold("permutation"), drawn)
        return drawn

    def ended(self, reward: Tensor) -> None:
        """Tell who listens of the team's rewards [R, E, T] in the episodes that have ended."""
        if isinstance(self.algorithm, Scored):
            self.algorithm.scored(reward.sum(2).mean(1))
        for part, sampler in self._listening:
            sampler.ended(self.replay.running_slots, reward[part])
        if self.curriculum is not None:
            self.curriculum.ended(reward)

    def training_reward(self, state: Tensor, next_state: Tensor) -> Tensor:
        """Reward them as training does, at the curriculum's stage: [R, ..., N]."""
        return reward_parts(self._trained, state, next_state)

    def cost(self) -> Cost:
        """Count parameters, and the FLOPs of one update."""
        trained, inference, peak = self.algorithm.parameter_counts()
        return Cost(
            trained_parameters=trained,
            inference_parameters=inference,
            peak_parameters=peak,
            flops_per_update=(
                self._flops(lambda dummy, batch: dummy.update(batch))
                if self.algorithm.trains
                else 0
            ),
        )

    def flops_per_action(self) -> int:
        """Count the FLOPs of one greedy action of the whole team, weights that are generated anew.

        Controllers, which have no products, count as 0.
        """
        if not self.algorithm.trains:
            return 0
        return self._flops(lambda dummy, batch: dummy.act(batch.observation[:, :1]))

    def _flops(self, work: Callable[[Algorithm, Batch], object]) -> int:
        """Count the work of one replica without numbers, on torch's `meta` device.

        There every product is a plain one, so the count is the mathematics', whatever way a device
        takes.  Methods that look at their numbers are run on zeros on the CPU instead, where those
        narrow products that are done as sums are not counted.
        """
        try:
            return self._count_flops(torch.device("meta"), work)
        except RuntimeError:
            return self._count_flops(torch.device("cpu"), work)

    def _count_flops(self, device: torch.device, work: Callable[[Algorithm, Batch], object]) -> int:
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
            work(dummy, batch)
        return counter.get_total_flops()

    @property
    def nbytes(self) -> int:
        """The bytes of everything that training depends on, the replay when it is full."""
        if not self.algorithm.trains:
            return 0
        parts = (*self.algorithm.state().values(), *self.sampler.state().values())
        return self.replay.nbytes + sum(tensor.nbytes for tensor in parts)

    def state(self) -> dict[str, Tensor]:
        """Return every tensor that training depends on.  Only between episodes."""
        parts: Mapping[str, Mapping[str, Tensor]] = {
            "algorithm": self.algorithm.state(),
            "replay": self.replay.state(),
            "sampler": self.sampler.state(),
            "curriculum": {} if self.curriculum is None else self.curriculum.state(),
        }
        return {k: v for part, own in parts.items() for k, v in put_under(f"{part}/", own).items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""

        def part(name: str) -> dict[str, Tensor]:
            found = found_under(f"{name}/", state)
            return {k: v.to(self.device) for k, v in found.items()}

        self.algorithm.load(part("algorithm"))
        self.replay.load(part("replay"))
        self.sampler.load(part("sampler"))
        if self.curriculum is not None:
            self.curriculum.load(part("curriculum"))
