"""Training: the loop, in the order of the algorithm's box.

What is stated of determinism holds on one CPU type: a run's record is a pure function of its
configuration and the behaviour versions, whether it was interrupted or not.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from bench.capture import Captured
from bench.checkpoint import Checkpoint
from bench.compilation import Compiled
from bench.config import RunConfig
from bench.errors import RequestError
from bench.evaluate import evaluate
from bench.fleet import Fleet
from bench.history import History, keep_best
from bench.interfaces import Batch
from bench.outcome import Outcome, outcomes
from bench.provenance import Stopwatch, host, origin
from bench.random import Random
from bench.tensors import found_under, put_under

VERSION = 2
"""Behaviour version of everything shared: this loop, replay storage, random numbers, networks.

2: products by oneDNN with the batch last in memory; the same mathematics, rounded otherwise.
"""


class Listener(Protocol):
    """Somebody who is told how training goes."""

    def evaluated(self, history: History) -> None:
        """Hear of a new evaluation, the last point of the history."""
        ...

    def advanced(self, episodes: int) -> None:
        """Hear of more training episodes."""
        ...


def train(
    configs: Sequence[RunConfig],
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    listeners: Sequence[Listener] = (),
    compiled: bool = False,
) -> list[Outcome]:
    """Train a fleet to the end, from its checkpoint if it has one.

    Raises:
        RequestError: if the configurations cannot be built, or their updates not compiled.
        WorldError: if a checkpoint cannot be written.
    """
    fleet = Fleet(configs, device)
    trainer = Trainer(fleet, checkpoint, listeners, compiled)
    while not trainer.done:
        trainer.evaluate_if_due()
        trainer.episodes()
        trainer.save_if_due()
    trainer.evaluate_if_due()
    return trainer.outcomes()


class Trainer:
    """A fleet in training: E parallel episodes at a time, between evaluations.

    Args:
        fleet: what learns.
        checkpoint: where progress is kept, or None.
        listeners: who is told.
        compiled: whether updates are compiled, where the device has no graphs of its own.

    Raises:
        RequestError: if no update falls between two evaluations, or a transfer cannot be made.
        WorldError: if the checkpoint cannot be read.
    """

    def __init__(
        self,
        fleet: Fleet,
        checkpoint: Checkpoint | None,
        listeners: Sequence[Listener],
        compiled: bool = False,
    ) -> None:
        self._fleet, self._checkpoint, self._listeners = fleet, checkpoint, listeners
        config = fleet.config
        self._groups = config.episodes // config.parallel if fleet.algorithm.trains else 0
        last = config.evaluations - 1
        self._due = {round(point * self._groups / last) for point in range(last + 1)}
        steps = self._groups // last * config.parallel * fleet.task.horizon
        if fleet.algorithm.trains and steps < config.steps_per_update:
            raise RequestError(
                f"steps_per_update = {config.steps_per_update}: no update falls between two "
                f"evaluations, which may be only {steps} steps apart"
            )
        self._group = self._updates = 0
        self._history = History(len(fleet.configs), fleet.task.score)
        self._best: dict[str, Tensor] = {}
        self._watch, self._hosts = Stopwatch(), [host(fleet.device, compiled)]
        self._made_by = origin(fleet.configs)
        self._learned: list[tuple[Mapping[str, Tensor], Tensor]] = []
        self._sums: dict[str, Tensor] = {}
        self._summed = 0
        for agents in fleet.config.transfer_agents:
            fleet.resized(agents)  # what cannot be done at the end is refused at the start
        self._learn_from: Captured | Compiled = (
            Compiled(self._update, fleet.algorithm, fleet.sampler)
            if compiled
            else Captured(self._update, fleet.device)
        )
        if fleet.algorithm.trains:
            slots, R = fleet.replay.slots, len(fleet.configs)
            self._rewarded = torch.zeros(R, slots, device=fleet.device)
            self._failed = torch.full((R,), -1, device=fleet.device)
        if checkpoint is not None and (kept := checkpoint.read()) is not None:
            self._load(*kept)

    @property
    def done(self) -> bool:
        """Whether all episodes are played, or no replica is left."""
        return self._group >= self._groups or not self._history.alive

    def episodes(self) -> None:
        """Play E parallel episodes with exploration, learning as updates fall due."""
        fleet, config = self._fleet, self._fleet.config
        task, replay, sampler = fleet.task, fleet.replay, fleet.sampler
        random = fleet.random.fold("episodes").fold(self._group)
        noise = self._noise()
        state = fleet.start(random.fold("reset"))
        replay.begin(state)
        sampler.evict(replay.running)
        due = (self._group + 1) * task.horizon * config.parallel // config.steps_per_update
        batches = iter(self._batches(due - self._updates))
        for step, exploration in enumerate(random.folds(0, task.horizon)):
            terminated = task.terminated(state)
            alive = None if terminated is None else ~terminated
            action = fleet.algorithm.act(task.observe(state), noise, exploration)
            state = task.step(state, action)
            sampler.extend(replay.add(action, state, alive), alive)
            steps = (self._group * task.horizon + step + 1) * config.parallel
            while self._updates < steps // config.steps_per_update:
                self._learn(next(batches))
        self._group += 1
        self._take_stock()

    def _noise(self) -> float:
        """Exploration falls linearly over the first `noise_fraction` of training."""
        config = self._fleet.config
        done = min(self._group / (self._groups * config.noise_fraction), 1.0)
        return config.noise_start + done * (config.noise_end - config.noise_start)

    def _batches(self, count: int) -> list[Random]:
        """Return the sources of the next updates' batches."""
        return self._fleet.random.fold("sample").folds(self._updates, count)

    def _learn(self, random: Random) -> None:
        """One update: sample a batch, and learn from it."""
        fleet, config = self._fleet, self._fleet.config
        lived = fleet.replay.lived()
        if isinstance(lived, Tensor) and not lived.all():
            raise RequestError(
                f"parallel = {config.parallel}, buffer = {config.buffer}: all episodes that are "
                "stored had ended when they began, so there is nothing to learn from; choose more"
            )
        progress = self._updates * config.steps_per_update / (config.episodes * fleet.task.horizon)
        indices, weight = fleet.sampler.sample(random, progress)
        relabelled = fleet.relabel(random.fold("relabel"), indices)
        transitions = relabelled or fleet.replay.transitions(indices)
        self._learned.append(self._learn_from(indices, weight, *transitions))
        self._updates += 1

    def _update(
        self, indices: Tensor, weight: Tensor, state: Tensor, action: Tensor, next_state: Tensor
    ) -> tuple[Mapping[str, Tensor], Tensor]:
        """Learn from a batch: recompute what agents saw and got, learn, and tell the sampler.

        Never looks at a number, so that an accelerator need not wait for the host.

        Args:
            indices: [R, B] of the transitions in the replay.
            weight: [R, B].
            state: [R, B, S].
            action: [R, B, N, A].
            next_state: [R, B, S].

        Returns:
            The metrics of the update, each [R], and the rewards [R, B, N].
        """
        fleet = self._fleet
        reward = fleet.training_reward(state, next_state)
        batch = Batch(
            observation=fleet.task.observe(state),
            action=action,
            reward=reward,
            next_observation=fleet.task.observe(next_state),
            terminated=fleet.task.terminated(next_state),
            weight=weight,
        )
        td_errors, metrics = fleet.algorithm.update(batch)
        fleet.sampler.update(indices, td_errors)
        return metrics, reward

    @torch.no_grad()
    def _take_stock(self) -> None:
        """After E episodes: count what happened in them, and find replicas that diverged."""
        fleet, config = self._fleet, self._fleet.config
        task, replay = fleet.task, fleet.replay
        states = replay.running_states()
        reward = fleet.training_reward(states[:, :, :-1], states[:, :, 1:]).mean(-1)
        fleet.ended(reward)
        self._rewarded[:, replay.running_slots] = (reward > 0).float().sum(2)
        counted = task.metrics(states[:, :, 1:])
        totals = task.episode_metrics({name: value.sum(2) for name, value in counted.items()})
        seen = {f"episode/{name}": value.mean(1) for name, value in totals.items()}
        seen.setdefault("episode/return", reward.sum(2).mean(1))
        for name, value in {**seen, **self._sum_learned()}.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        parts = [*fleet.algorithm.policy.values(), *self._sums.values()]
        finite = torch.stack([part.isfinite().view(len(part), -1).all(1) for part in parts])
        newly = ~finite.all(0) & (self._failed < 0)
        self._failed.masked_fill_(newly, self._group)
        for listener in self._listeners:
            listener.advanced(self._group * config.parallel)

    def _sum_learned(self) -> dict[str, Tensor]:
        """Sum the metrics of the updates since the last call, each [R]."""
        if not self._learned:
            return {}
        metrics, rewards = zip(*self._learned, strict=True)
        # One after the other: a reduction's order, so its rounding, depends on the fleet's size.
        sums = {
            name: functools.reduce(torch.add, (m[name] for m in metrics)) for name in metrics[0]
        }
        rewarded = (torch.stack(rewards).mean(-1) > 0).sum((0, 2))
        self._summed += len(self._learned)
        self._learned = []
        return {**sums, "rewarded_share_batch": rewarded / self._fleet.config.batch}

    def evaluate_if_due(self) -> None:
        """Evaluate greedily where the curve has a point, and keep the best policy."""
        fleet, history, config = self._fleet, self._history, self._fleet.config
        if self._group not in self._due:
            return
        episode = self._group * config.parallel
        if history.episode and history.episode[-1] == episode:
            return
        random = fleet.random.fold("evaluation").fold(len(history.episode))
        episodes = config.evaluation_episodes
        raw = evaluate(fleet.task, fleet.algorithm, random, episodes, fleet.reward)
        self._note_failures(raw)
        env_steps = episode * fleet.task.horizon
        better = history.evaluated(episode, env_steps, self._updates, raw)
        self._best = keep_best(self._best, fleet.algorithm.policy, better)
        if self._summed:
            self._log_training(episode)
        for listener in self._listeners:
            listener.evaluated(history)

    def _note_failures(self, raw: Mapping[str, Tensor]) -> None:
        """Tell the history which replicas have diverged since the last time, and when.

        Args:
            raw: the evaluation now, each [R, episodes]: finite parameters can act by a NaN.
        """
        if self._fleet.algorithm.trains:
            finite = torch.stack([values.isfinite().all(1) for values in raw.values()]).all(0)
            newly = ~finite.to(self._failed.device) & (self._failed < 0)
            self._failed.masked_fill_(newly, self._group)
            for replica, group in enumerate(self._failed.tolist()):
                if group >= 0:
                    self._history.fail(replica, group * self._fleet.config.parallel)

    def _log_training(self, episode: int) -> None:
        groups = (
            episode - ([0, *self._history.training_episode][-1])
        ) / self._fleet.config.parallel
        values = {
            name.removeprefix("episode/"): (
                total / (groups if name.startswith("episode/") else self._summed)
            ).tolist()
            for name, total in self._sums.items()
        }
        share = self._rewarded.sum(1) / self._fleet.replay.lived()
        self._history.trained(episode, {**values, "rewarded_share_buffer": share.tolist()})
        self._sums, self._summed = {}, 0

    def outcomes(self) -> list[Outcome]:
        """Assess what was learned: one outcome per replica."""
        made = self._watch, self._made_by, self._hosts
        return outcomes(self._fleet, self._history, self._best, *made)

    # -- surviving ---------------------------------------------------------------------------------

    def save_if_due(self) -> None:
        """Write a checkpoint where enough time has passed that it is cheap."""
        if self._checkpoint is None or not self._checkpoint.due() or self.done:
            return
        tensors = {
            **self._fleet.state(),
            **put_under("best/", self._best),
            **put_under("sums/", self._sums),
            "rewarded": self._rewarded,
            "failed": self._failed,
        }
        header = {
            "group": self._group,
            "updates": self._updates,
            "summed": self._summed,
            "history": self._history.dump(),
            "clock": self._watch.read(),
            "hosts": self._hosts,
        }
        self._checkpoint.write(tensors, header)

    def _load(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        def part(name: str) -> dict[str, Tensor]:
            found = found_under(f"{name}/", tensors)
            return {k: v.to(self._fleet.device) for k, v in found.items()}

        self._fleet.load(tensors)
        self._best, self._sums = part("best"), part("sums")
        self._rewarded.copy_(tensors["rewarded"])
        self._failed.copy_(tensors["failed"])
        self._group, self._updates = header["group"], header["updates"]
        self._summed = header["summed"]
        self._history = History(**header["history"])
        self._watch = Stopwatch(header["clock"])
        self._hosts = [*header["hosts"], *self._hosts]
