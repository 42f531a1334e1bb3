"""The configuration of one run.

A run is fully described by a :class:`RunConfig`.  Its values come, later ones winning, from the
defaults below, the method's ``settings`` in ``config/methods.yaml``, those ``tuned`` for it if the
experiment asks for them, the grid's ``defaults``, the experiment's ``settings``, the axes of the
grid, and the variant; a run without a grid has its values from the command line instead.  Nothing
here imports torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from bench import registry, versions
from bench.errors import RequestError, nearest
from bench.methods import check_options, load_methods, method_entry
from bench.validation import Fraction, Name, Noise, Positive, Rate, Seed, Strict, validate

FREE = ("seed", "reward", "sampler")
"""In what the replicas of a fleet may differ: none of it changes the shape of a tensor."""


class RunConfig(Strict):
    """Everything that decides the numbers of one run; equal configurations give equal records."""

    method: Name = "ps-maddpg"
    """Named method of config/methods.yaml, or the import path MODULE:NAME of a method entry."""
    task: Name = "coop-nav"
    """Task: coop-nav, roles, specialisation, synchronisation, climbing, penalty, or
    pettingzoo:MODULE for any PettingZoo parallel environment."""
    task_options: dict[str, Any] = {}
    """Options of the task (coop-nav: dynamics, radius, horizon, targets, collisions, start, end;
    roles: also split; the repeated games: horizon; penalty: penalty; else the environment's own
    keyword arguments)."""
    agents: Positive = 3
    """Number of agents N (and of targets, or moves)."""
    reward: Name = "group-goal"
    """Reward, a function of the state; a task without the default one takes its own first."""
    sampler: Name = "prioritized"
    """Replay sampler: uniform, prioritized, hindsight, hindsight-prioritized or self-imitation."""
    seed: Seed = 0
    """Seed of the run; every random number is a pure function of it."""

    curriculum: Name = "none"
    """What makes training easier at first (none, radius, reverse or agents), each stage being left
    once it succeeds; evaluation is always of the task itself."""
    curriculum_stages: Positive = 40
    """Stages of a curriculum before the task itself."""
    curriculum_gate: Fraction = 0.2
    """Share of a group of episodes' steps that must be rewarded for the next stage to begin."""
    augmentation: Literal["none", "permutation"] = "none"
    """`permutation` lists agents and targets of every sampled transition in a random order."""

    episodes: Positive = 30_000
    """Training episodes; a multiple of `parallel`."""
    parallel: Positive = 100
    """Parallel training episodes E."""
    steps_per_update: Positive = 100
    """Environment steps (all parallel episodes counted) per network update."""
    batch: Positive = 1024
    """Transitions B per update."""
    buffer: Positive = 1_000_000
    """Replay capacity in transitions; there is room for the running episodes, whatever it is."""

    hidden: Annotated[list[Positive], Field(min_length=1)] = [64, 64]
    """Widths of the hidden layers of every target network."""
    actor_lr: Rate = 3e-3
    """Adam learning rate of the actor (of the Q network for value-based methods)."""
    critic_lr: Rate = 3e-3
    """Adam learning rate of the critic."""
    lr_end: Fraction = 1.0
    """Share of the learning rates that is left at the end of training; they fall linearly."""
    gamma: Fraction = 0.95
    """Discount per step."""
    tau: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Polyak rate of the target networks per update."""
    grad_clip: Rate = 0.5
    """Largest gradient norm per replica of a network, and per agent where agents share nothing."""
    action_penalty: Noise = 1e-3
    """Weight of the squared pre-tanh action in the actor's loss."""

    noise_start: Noise = 0.5
    """Exploration at the start: standard deviation of the Gaussian action noise (epsilon for
    value-based methods)."""
    noise_end: Noise = 0.1
    """Exploration after `noise_fraction` of training."""
    noise_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of training over which exploration falls linearly."""

    per_alpha: Fraction = 0.6
    """Prioritized replay: exponent of the priority."""
    per_beta: Fraction = 0.4
    """Prioritized replay: exponent of the importance weight at the start, rising to 1."""

    hindsight_share: Fraction = 0.5
    """Hindsight: share of the transitions that get another goal."""
    hindsight_next: Fraction = 0.2
    """Hindsight: share of those whose goal is what the transition reached itself; for the others
    it is what any later state of the episode reached."""
    hindsight_jitter: Noise = 0.05
    """Hindsight: largest error of each number of a goal; keep it below radius / sqrt(2)."""
    imitation_share: Fraction = 0.25
    """Self-imitation: share of the transitions drawn from episodes that were rewarded."""

    evaluations: Annotated[int, Field(ge=2)] = 31
    """Evaluation points, the first before training and the last after it, evenly spaced."""
    evaluation_episodes: Positive = 32
    """Greedy episodes per evaluation point."""
    absolute_episodes: Positive = 320
    """Greedy episodes of the final and of the best policy."""
    transfer_agents: list[Positive] = []
    """Other numbers of agents: after training the best policy acts in teams of these sizes, too, as
    it is."""

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        if self.episodes % self.parallel:
            raise ValueError(
                f"episodes ({self.episodes}) must be a multiple of parallel ({self.parallel})"
            )
        if self.evaluations > self.episodes // self.parallel + 1:
            raise ValueError(
                f"evaluations ({self.evaluations}) must be at most "
                f"episodes / parallel + 1 = {self.episodes // self.parallel + 1}"
            )
        if len({self.agents, *self.transfer_agents}) != 1 + len(self.transfer_agents):
            raise ValueError(
                f"transfer_agents ({self.transfer_agents}) must be other numbers than agents "
                f"({self.agents}), each once"
            )
        family = registry.family(self.task)
        if family != self.task and family != "pettingzoo":
            raise ValueError(f"task '{self.task}': a path follows pettingzoo: alone; drop it")
        rewards = registry.task_entry(family).rewards
        registry.look_up(rewards, f"reward of {family}", self.reward, outside=True)
        registry.look_up(registry.SAMPLERS, "sampler", self.sampler)
        if self.curriculum != "none":
            registry.look_up(registry.CURRICULA, "curriculum", self.curriculum)
        return self

    @property
    def shape(self) -> RunConfig:
        """What runs must have in common to be replicas of one fleet."""
        return self.model_copy(update={name: RunConfig.model_fields[name].default for name in FREE})

    @property
    def digest(self) -> str:
        """Hash of the configuration, its seed included: 16 hex digits of a SHA-256."""
        values = self.model_dump(mode="json")
        for name, neutral in ADDED_LATER.items():
            if values[name] == neutral:
                del values[name]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


ADDED_LATER: Mapping[str, Any] = {
    "curriculum": "none",
    "curriculum_stages": 40,
    "curriculum_gate": 0.2,
    "augmentation": "none",
    "lr_end": 1.0,
    "hindsight_share": 0.5,
    "hindsight_next": 0.2,
    "hindsight_jitter": 0.05,
    "imitation_share": 0.25,
    "transfer_agents": [],
}
"""Fields added after the first records were made, with the value, also their default, that means
what was done before: at that value they are not hashed, so that old records stay good."""


ASKED = ("method", "task", "task_options", "agents", "reward", "sampler", "seed")
"""What a run is asked for, and no method may set."""


def resolve(*layers: Mapping[str, Any], tuned: bool = False, where: str = "request") -> RunConfig:
    """Merge layers of RunConfig values, later ones winning, over the method's own settings.

    With ``tuned``, what its tuning chose lies between the two.

    Raises:
        RequestError: for an unknown key, a bad value, or a sampler that the method cannot use.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        added = layer.get("task_options", {})
        if not isinstance(added, Mapping):
            raise RequestError(f"{where}: task_options = {added!r}: must map names to values")
        options = {**merged.get("task_options", {}), **added}
        merged |= layer
        if options:
            merged["task_options"] = options
    name = str(merged.get("method", RunConfig.model_fields["method"].default))
    try:
        entry = method_entry(name)
    except RequestError as error:
        raise RequestError(f"{where}: {error}") from error
    # A method that cannot use the default sampler gets its own first one, unless one is asked for.
    sampler = str(RunConfig.model_fields["sampler"].default)
    fallback = {"sampler": sampler if sampler in entry.samplers else entry.samplers[0]}
    # So does a task.
    task = str(merged.get("task", RunConfig.model_fields["task"].default))
    if registry.family(task) in registry.TASKS:
        fallback["reward"] = next(iter(registry.task_entry(task).rewards))
    own = entry.settings | entry.tuned if tuned else entry.settings
    known = list(RunConfig.model_fields)
    if unknown := next((key for key in own if key not in known), None):
        reason = f"unknown key '{unknown}'; {nearest(unknown, known)}"
        raise RequestError(f"{where}: method '{name}': settings: {reason}")
    if taken := next((key for key in own if key in ASKED), None):
        raise RequestError(f"{where}: method '{name}': settings: {taken} is for the run to choose")
    config = validate(RunConfig, {**fallback, **own, **merged}, where)
    world, moves = registry.task_entry(config.task), None
    if world.options:
        told = f"{where}: task_options of {config.task}"
        options = validate(registry.load(world.options), config.task_options, told)
        config = config.model_copy(update={"task_options": _dump(options)})
        moves = options.moves(config.agents)
        farthest, radius = math.sqrt(2) * config.hindsight_jitter, getattr(options, "radius", None)
        if config.sampler in registry.RELABELLING and radius is not None and farthest >= radius:
            raise RequestError(
                f"{where}: hindsight_jitter = {config.hindsight_jitter:g}: goals that are so far "
                f"off are not reached; choose less than radius / sqrt(2) = {radius / 2**0.5:.3g}"
            )
    try:
        check_options(entry, config, moves)
    except RequestError as error:
        raise RequestError(f"{where}: method '{name}': {error}") from error
    if entry.wants_features and world.options and not world.features:
        raise RequestError(
            f"{where}: method '{name}' is conditioned on features of the agents' roles, which task "
            f"'{config.task}' does not give; choose task {' or '.join(registry.with_features())}"
        )
    if config.curriculum != "none" and config.task_options.get("end") == "success":
        raise RequestError(
            f"{where}: curriculum = {config.curriculum}: its gate is a share of steps that are "
            "rewarded, and with end = success there is but one; choose end = time"
        )
    if not world.goals and config.sampler in registry.RELABELLING:
        raise RequestError(
            f"{where}: sampler '{config.sampler}': task '{config.task}' has no goals to change; "
            f"choose {' or '.join(registry.samplers_of(config.task))}"
        )
    if config.transfer_agents and not entry.any_size:
        others = [other for other, listed in load_methods().items() if listed.any_size]
        raise RequestError(
            f"{where}: transfer_agents = {config.transfer_agents}: method '{name}' acts in teams "
            f"of the size that it was trained in only; choose {' or '.join(others)}"
        )
    if config.sampler not in entry.samplers:
        raise RequestError(
            f"{where}: method '{name}' does not support sampler '{config.sampler}'; "
            f"choose {' or '.join(entry.samplers)}"
        )
    return config


def refuse_idle(config: RunConfig, settings: Iterable[str], where: str) -> None:
    """Refuse settings that were asked for and that nothing in the run reads.

    Raises:
        RequestError: naming the first, and what reads it.
    """
    for name in settings:
        readers = registry.READ_BY.get(name, registry.SAMPLERS)
        if config.sampler not in readers:
            raise RequestError(
                f"{where}: {name} is for sampler {' or '.join(readers)} and changes nothing with "
                f"'{config.sampler}'"
            )
        if name.startswith("curriculum_") and config.curriculum == "none":
            raise RequestError(f"{where}: {name} changes nothing without a curriculum")


def _dump(options: BaseModel) -> dict[str, Any]:
    """Return a task's options as plain values, without those added later that change nothing."""
    fields = type(options).model_fields
    neutral = {
        name
        for name in getattr(options, "added_later", ())
        if getattr(options, name) == fields[name].default
    }
    return options.model_dump(mode="json", exclude=neutral)


def behaviour(config: RunConfig) -> dict[str, str]:
    """Name every part that decides the numbers of this run, with its behaviour version.

    The options that the method table gives to an algorithm or a scheme follow its version.
    """
    entry, world = method_entry(config.method), registry.task_entry(config.task)
    parts: dict[str, tuple[str, Mapping[str, Any]]] = {
        "loop": (registry.LOOP, {}),
        "task": (world.path, {}),
        "reward": (registry.look_up(world.rewards, "reward", config.reward, outside=True), {}),
        "sampler": (registry.look_up(registry.SAMPLERS, "sampler", config.sampler), {}),
        "algorithm": (entry.algorithm, {**entry.algorithm_options, "actions": entry.actions}),
    }
    if entry.scheme:
        parts["scheme"] = (entry.scheme, entry.scheme_options)
    if config.curriculum != "none":
        path = registry.look_up(registry.CURRICULA, "curriculum", config.curriculum)
        parts["curriculum"] = (path, {})
    if config.augmentation != "none":
        parts["augmentation"] = (registry.AUGMENTATION, {})
    return {
        part: f"{path}@{versions.version(path, options)}"
        + (f" {json.dumps(options, sort_keys=True)}" if options else "")
        for part, (path, options) in parts.items()
    }


def outside_digest(configs: Sequence[RunConfig]) -> str:
    """Hash the sources from outside that decide the numbers of runs: 16 hex digits, or ''."""
    paths = {part.partition("@")[0] for c in configs for part in behaviour(c).values()}
    paths |= {environment for c in configs if (environment := c.task.partition(":")[2])}
    return versions.outside(paths)
