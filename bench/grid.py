"""A grid: named experiments, each a question and the axes that are crossed to answer it.

One YAML file in ``config/`` is one grid; ``results/<name>/`` holds what comes of it.  Nothing here
imports torch: the Snakefile plans thousands of runs through this module.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from bench import registry
from bench.config import RunConfig, behaviour, refuse_idle, resolve
from bench.errors import RequestError, nearest
from bench.methods import choose_actions, method_entry
from bench.validation import (
    Fraction,
    Name,
    Positive,
    Seed,
    Strict,
    read_yaml,
    validate,
    validate_each,
)

AXES = ("method", "reward", "sampler", "agents", "seed", "variant")
"""What identifies a cell and seed of an experiment."""
FIELDS = {
    "method": "methods",
    "reward": "rewards",
    "sampler": "samplers",
    "agents": "agents",
    "seed": "seeds",
}
"""Axes that are RunConfig values, and the keys of an experiment that list them."""


class Exclusion(Strict):
    """Cells of an experiment that are left out, and why."""

    where: Annotated[dict[str, Any], Field(min_length=1)]
    """Axis values that the cell must match, e.g. {method: iql, reward: distance}."""
    why: str
    """The reason, for the reader of the grid."""


LARGEST = 1_000_000
"""Cells of an experiment; more is a slip of the pen."""

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)]
"""A name without dots, since a dot stands between an experiment and its variant."""


class Experiment(Strict):
    """A stated question and the axes that are crossed to answer it."""

    question: str
    """What the experiment answers."""
    methods: Annotated[list[Name], Field(min_length=1)]
    """Axis: methods of config/methods.yaml."""
    rewards: Annotated[list[Name], Field(min_length=1)] | None = None
    """Axis: rewards.  Left out, the one that `hypercoop train` takes."""
    samplers: Annotated[list[Name], Field(min_length=1)] | None = None
    """Axis: replay samplers.  Left out, the one that `hypercoop train` takes."""
    agents: Annotated[list[Positive], Field(min_length=1)]
    """Axis: numbers of agents."""
    seeds: Annotated[list[Seed], Field(min_length=1)]
    """Axis: seeds."""
    variants: dict[Label, dict[str, Any]] = {}
    """Axis: named sets of RunConfig values (task options among them), one change each."""
    settings: dict[str, Any] = {}
    """RunConfig values of the whole experiment."""
    tuned: bool = False
    """Whether methods take the values that their tuning chose, where the grid says nothing."""
    exclude: list[Exclusion] = []
    """Cells left out."""

    @field_validator("methods", "rewards", "samplers", "agents", "seeds")
    @classmethod
    def _once(cls, axis: list[Any] | None) -> list[Any] | None:
        for value in axis or ():
            if axis and axis.count(value) > 1:
                raise ValueError(f"lists {value} twice")
        return axis


class Selection(Strict):
    """Cells of a grid."""

    experiment: Name
    """Their experiment, its variant after a dot."""
    method: Name | None = None
    """Which of its methods; needed where it has several."""
    reward: Name | None = None
    """Which of its rewards; needed where it has several."""
    sampler: Name | None = None
    """Which of its samplers; needed where it has several."""
    judged: bool = False
    """Whether it is held against the recipe's targets: the recipe in another world, say."""


class Recipe(Strict):
    """What the grid's main method is held against, written before there were runs of it."""

    experiment: Label
    """The experiment that has it, at several numbers of agents."""
    targets: dict[Positive, Fraction]
    """By number of agents: share of the oracle's score that the IQM of its scores has to reach."""
    beside: dict[str, Selection] = {}
    """What is drawn beside it, against the number of agents, by what that is called."""
    ablated: Positive
    """Number of agents at which ingredients are taken away and added."""
    decisive: Fraction
    """An ingredient is decisive if the interval of what it adds to the score, that with it less
    that without, lies wholly above this share of the recipe's score."""
    removed: dict[str, Selection]
    """The recipe without an ingredient, by its name."""
    base: Selection
    """What ingredients are added to."""
    added: dict[str, Selection]
    """The base with an ingredient, by its name."""


Section = Literal["beyond", "tuning", "speed", "methods", "hypernet", "specialisation"]
"""A part of the paper about results that are not its grid's: what `results/<section>` holds."""


TAKEN = ("local", "methods", "speed")
"""Folders of results that are no grid's: of single runs, counted costs and measured times."""


class Grid(Strict):
    """One grid file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)]
    """Name of the grid; its results lie in results/<name>."""
    title: str
    """One line for reports."""
    defaults: dict[str, Any] = {}
    """RunConfig values of every run."""
    experiments: Annotated[dict[Label, Experiment], Field(min_length=1)]
    """The experiments by name."""
    recipe: Recipe | None = None
    """What is reported of a recipe and its ingredients; most grids have none."""
    sections: list[Section] = []
    """What else its paper reports, where that is there."""

    _file: Path | None = PrivateAttr(None)

    def chosen(self, experiment: str) -> dict[str, Any]:
        """Return what an experiment, or a variant of it, sets beside the grid's defaults.

        Task options apart, which are the world's; ``tuned`` is among it where that is asked for.
        """
        name, _, variant = experiment.partition(".")
        asked = self.experiments[name]
        own = {**asked.settings, **asked.variants.get(variant, {})}
        own.pop("task_options", None)
        return {**own, "tuned": True} if asked.tuned else own

    @property
    def where(self) -> str:
        """What to call it where something is wrong: its file, if it was read from one."""
        return str(self._file or f"grid {self.name}")

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if name in TAKEN:
            raise ValueError(f"results/{name} is the harness's own; choose another name")
        return name

    @model_validator(mode="after")
    def _selected(self) -> Grid:
        recipe = self.recipe
        if recipe is None:
            return self
        parts = (recipe.beside, recipe.removed, recipe.added)
        chosen = [selection for part in parts for selection in part.values()]
        for selection in (Selection(experiment=recipe.experiment), recipe.base, *chosen):
            name, _, variant = selection.experiment.partition(".")
            if name not in self.experiments:
                raise ValueError(
                    f"recipe: unknown experiment '{name}'; {nearest(name, list(self.experiments))}"
                )
            experiment = self.experiments[name]
            asked = {
                "variant": (variant, list(experiment.variants) or [""]),
                "method": (selection.method, experiment.methods),
                "reward": (selection.reward, experiment.rewards or []),
                "sampler": (selection.sampler, experiment.samplers or []),
            }
            for axis, (value, there) in asked.items():
                if value not in there and (value is not None or len(there) > 1):
                    raise ValueError(
                        f"recipe: experiment '{name}': {axis} '{value or ''}'; "
                        f"choose {' or '.join(there) or 'none: it lists none'}"
                    )
        return self


@dataclass(frozen=True)
class Run:
    """One cell and seed of a grid: its experiment (with variant) and its configuration."""

    experiment: str
    config: RunConfig

    @property
    def key(self) -> str:
        """Where the run's files lie below runs/, policies/ and checkpoints/, without an ending."""
        c = self.config
        return (
            f"{self.experiment}/{c.method.replace(':', '.')}"
            f"/{c.reward.replace(':', '.')}-{c.sampler}/n{c.agents}/seed{c.seed}"
        )

    @property
    def fingerprint(self) -> list[Any]:
        """What makes a record stale when it changes: configuration and behaviour versions."""
        return [self.config.digest, behaviour(self.config)]


def load_grid(path: Path) -> Grid:
    """Read a grid file.

    Raises:
        RequestError: one line naming the first wrong key.
    """
    grid = validate(Grid, read_yaml(path), str(path))
    grid._file = path
    return grid


def expand(grid: Grid) -> dict[str, Run]:
    """Expand a grid into its runs by key, in the order of the file.

    Raises:
        RequestError: for an impossible cell, a wrong value, or two cells with one key.
    """
    runs: dict[str, Run] = {}
    for name, experiment in grid.experiments.items():
        for run in _cells(grid, name, experiment):
            if run.key in runs:
                raise RequestError(f"{grid.where}: two runs share the key {run.key}")
            runs[run.key] = run
    if not runs:
        raise RequestError(f"{grid.where}: its exclusions leave no cell")
    return runs


def untuned(grid: Grid) -> dict[str, list[str]]:
    """List the methods, by experiment, that are to have tuned values and have none yet."""
    asked = {name: e.methods for name, e in grid.experiments.items() if e.tuned}
    found = {n: [m for m in methods if not method_entry(m).tuned] for n, methods in asked.items()}
    return {name: methods for name, methods in found.items() if methods}


def fleets(runs: Mapping[str, Run], size: int) -> list[list[str]]:
    """Group the keys of runs of one shape into fleets of at most `size`, in a stable order.

    Within a fleet runs of one reward and sampler are neighbours.
    """
    shapes: dict[str, list[str]] = {}
    for key, run in runs.items():
        shapes.setdefault(run.config.shape.digest, []).append(key)

    def order(key: str) -> tuple[str, str]:
        return runs[key].config.reward, runs[key].config.sampler

    return [
        keys[first : first + size]
        for keys in (sorted(keys, key=order) for keys in shapes.values())
        for first in range(0, len(keys), size)
    ]


def _cells(grid: Grid, name: str, experiment: Experiment) -> Iterator[Run]:
    where = f"{grid.where}, experiment {name}"
    e = experiment
    listed = [getattr(e, field) or [None] for field in FIELDS.values()]
    size = math.prod(len(axis) for axis in [*listed, e.variants or [""]])
    if size > LARGEST:
        raise RequestError(f"{where}: {size:,} cells, more than {LARGEST:,}")
    used: set[int] = set()
    begun: dict[str, str] = {}  # the first run of each variant
    for exclusion in experiment.exclude:
        for axis in exclusion.where.keys() - set(AXES):
            raise RequestError(
                f"{where}: exclude names an unknown axis '{axis}'; {nearest(axis, list(AXES))}"
            )
    layers = {"defaults": grid.defaults, f"{name}.settings": experiment.settings}
    layers |= {f"{name}.variants.{v}": changes for v, changes in experiment.variants.items()}
    for name_of, layer in layers.items():
        for axis in layer.keys() & FIELDS.keys():
            raise RequestError(
                f"{grid.where}: {name_of} sets {axis}, which is an axis: list it as the "
                f"experiment's `{FIELDS[axis]}`"
            )
        validate_each(RunConfig, layer, f"{grid.where}: {name_of}")
    variants = list(experiment.variants.items()) or [("", {})]
    for (variant, changes), *values in itertools.product(variants, *listed):
        axis_values = {a: v for a, v in zip(FIELDS, values, strict=True) if v is not None}
        cell = {**axis_values, "variant": variant}
        matches = {
            number
            for number, exclusion in enumerate(experiment.exclude)
            if all(cell.get(axis) == value for axis, value in exclusion.where.items())
        }
        used |= matches
        if matches:
            continue
        merged = (grid.defaults, experiment.settings, axis_values, changes)
        told = f"{where}, variant {variant}" if variant else where
        config = resolve(*merged, tuned=experiment.tuned, where=told)
        _refuse_actions(config, told)
        refuse_idle(config, changes, told)
        if variant not in begun:
            begun[variant] = config.digest
            same = next(other for other, digest in begun.items() if digest == config.digest)
            if same != variant:
                raise RequestError(f"{told}: these are the runs of variant {same} again")
        yield Run(f"{name}.{variant}" if variant else name, config)
    for number, exclusion in enumerate(experiment.exclude):
        if number not in used:
            raise RequestError(f"{where}: no cell matches the exclusion {exclusion.where}")


def _refuse_actions(config: RunConfig, where: str) -> None:
    """Refuse a method whose actions the task has not, before anything is built."""
    discrete = registry.task_entry(config.task).discrete
    if discrete and method_entry(config.method).actions != "discrete":
        raise RequestError(
            f"{where}: task '{config.task}' is played by discrete moves and method "
            f"'{config.method}' acts by continuous ones; {choose_actions('discrete')}"
        )
