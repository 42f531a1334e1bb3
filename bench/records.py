"""The run record: one JSON file a run, written atomically, validated on reading, never edited.

Everything but ``provenance`` is a pure function of the configuration and the behaviour versions:
the same run gives the same bytes.  Nothing downstream of training reads anything but records.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from bench.config import RunConfig, Strict, validate
from bench.errors import RequestError, WorldError

SCHEMA: Literal[1] = 1


class Curve(Strict):
    """Evaluation curve: K points, each summarising the greedy episodes of one evaluation."""

    episode: list[int]
    """[K] training episodes done."""
    env_steps: list[int]
    """[K] joint environment steps done."""
    updates: list[int]
    """[K] network updates done."""
    mean: dict[str, list[float]]
    """[K] mean over the evaluation episodes, by metric."""
    std: dict[str, list[float]]
    """[K] population standard deviation over the evaluation episodes, by metric."""


class Training(Strict):
    """What was seen while training, averaged over the interval that ends at each point."""

    episode: list[int]
    """[K-1] training episodes done."""
    mean: dict[str, list[float]]
    """[K-1] by name: episode metrics under exploration, `rewarded_share_buffer`,
    `rewarded_share_batch` (share of transitions with a positive reward) and the algorithm's own."""


class Assessment(Strict):
    """Greedy episodes of one policy, raw."""

    episode: int
    """Training episodes that the policy had seen."""
    raw: dict[str, list[float]]
    """One value per greedy episode, by metric; sums over the steps unless said otherwise."""


class Cost(Strict):
    """What the method costs, counted and not timed."""

    trained_parameters: int
    """Numbers that the optimisers train (a hypernetwork, not what it generates)."""
    inference_parameters: int
    """Numbers needed to act for the whole team (generated weights, not their generator)."""
    peak_parameters: int
    """Most parameter numbers held at once in training: trained, targets and generated weights."""
    flops_per_update: int
    """Floating-point operations of one update's matrix products, forward and backward."""


class Layer(Strict):
    """One layer of the acting network: a number per set of weights, so one if all agents share."""

    shape: tuple[int, int]
    """Inputs and outputs."""
    norm: list[float]
    """[G] Frobenius norm of W."""
    largest: list[float]
    """[G] largest singular value of W."""
    bias: list[float]
    """[G] norm of b, which may be an agent's own where W is not."""
    gradient: list[float] = []
    """[G] Frobenius norm of the loss's gradient by W, generated or stored."""
    alike: float | None = None
    """Share of the rows of W that are the same for all agents: 1 if they share the layer; of a
    layer that is generated in blocks of rows, the dead blocks, which no agent has generated."""
    dead: list[float] = []
    """Share of the units, per agent or one for all, that are 0 after the ReLU on every observation;
    none for outputs."""


class Diagnostics(Strict):
    """What training has made of the agents; measured on the last policy.

    Gradients, rows alike and dead units are missing in records made before they were measured, and
    gradients where the algorithm does not show them.
    """

    observations: int
    """Number of observations that all agents were asked about."""
    distance: Literal["euclidean", "disagreement"]
    """Of two actions: Euclidean, or 1 if the moves differ."""
    diversity: float
    """Mean distance of two agents' actions on the same observation."""
    gradient: float | None = None
    """Norm of the loss's gradient by all that is trained of the acting network: of a hypernetwork,
    not of what it generates."""
    layers: list[Layer]
    """Of the acting network; empty if the algorithm does not show it."""


class Episode(Strict):
    """One episode, as drawn in a filmstrip."""

    targets: list[list[float]]
    """[N][2]"""
    positions: list[list[list[float]]]
    """[T + 1][N][2] of the agents."""
    switches: list[tuple[int, int]]
    """Each a step and the agent that turned to another target in it."""


class Teamwork(Strict):
    """Who does the work and how targets are chosen: see :mod:`bench.teamwork`."""

    episodes: int
    """Number of greedy episodes."""
    idle: list[float]
    """[N] share of steps in which the agent neither moves nor covers a target."""
    replaceable: list[float]
    """[N] share of episodes in which no target is lost if the agent does nothing."""
    lost: list[float]
    """[N] covered targets a step that are lost if the agent does nothing."""
    switches: list[float]
    """[T] switches of target an agent, by step."""
    switches_frozen: list[float]
    """[T] the same of agents whose team-mates do nothing."""
    redirected: list[float]
    """[N] share of episodes that the agent ends with another target than without team-mates."""
    example: Episode
    """The episode with the median number of switches."""


class Record(Strict):
    """One run."""

    schema_version: Literal[1] = SCHEMA
    config: RunConfig
    """The fully resolved configuration."""
    config_hash: str
    """``config.digest``."""
    behaviour: dict[str, str]
    """Behaviour version of every part: see :func:`bench.config.behaviour`."""
    status: Literal["complete", "diverged"]
    """`diverged` if a NaN or infinity stopped the run; it never enters an average."""
    reason: str | None = None
    """Why it diverged, and when."""
    score: str
    """Name of the task's primary metric (coop-nav: successful_steps)."""
    horizon: int
    """Steps T in an episode."""
    evaluation: Curve
    training: Training
    final: Assessment | None
    """The last policy; none if the run diverged."""
    absolute: Assessment | None
    """The policy with the best evaluation (the later one of equals); none if the run diverged."""
    cost: Cost
    diagnostics: Diagnostics | None = None
    """None for controllers, diverged runs, and records made before there was such a block."""
    teamwork: Teamwork | None = None
    """None for tasks other than cooperative navigation, diverged runs, and earlier records."""
    provenance: dict[str, Any]
    """Host facts, the only part that may differ between two equal runs."""

    @model_validator(mode="after")
    def _sound(self) -> Record:
        if self.config_hash != self.config.digest:
            raise ValueError("config_hash does not match config")
        points = len(self.evaluation.episode)
        for series in (self.evaluation.mean, self.evaluation.std):
            if any(len(values) != points for values in series.values()):
                raise ValueError("evaluation series differ in length")
            if not all(math.isfinite(value) for values in series.values() for value in values):
                raise ValueError("evaluation series hold a NaN or infinity")
        if self.score not in self.evaluation.mean:
            raise ValueError(f"evaluation lacks the score '{self.score}'")
        if any(len(values) != len(self.training.episode) for values in self.training.mean.values()):
            raise ValueError("training series differ in length")
        if self.status == "complete":
            if self.final is None or self.absolute is None:
                raise ValueError("a complete run must have final and absolute evaluations")
            for assessment in (self.final, self.absolute):
                if self.score not in assessment.raw:
                    raise ValueError(f"an assessment lacks the score '{self.score}'")
                for name, values in assessment.raw.items():
                    if not values or not all(map(math.isfinite, values)):
                        raise ValueError(f"non-finite or missing raw values of {name}")
        return self


def rounded(values: list[float]) -> list[float]:
    """Round to 7 significant digits: more than float32 holds, and short in JSON."""
    return [float(f"{value:.7g}") for value in values]


def to_json(record: Record) -> str:
    """Serialise deterministically: sorted keys, one top-level key a line, no NaN."""
    dump = record.model_dump(mode="json")
    lines = (
        f"{json.dumps(key)}: {json.dumps(dump[key], sort_keys=True, allow_nan=False)}"
        for key in sorted(dump)
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and durably: temporary file, fsync, rename.

    Raises:
        WorldError: if the disk refuses (full, read-only); nothing half-written stays behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".tmp-{path.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise WorldError(f"cannot write {path}: {error.strerror}") from error


def write(path: Path, record: Record) -> None:
    """Write a record atomically.

    Raises:
        WorldError: if the disk refuses.
    """
    write_atomic(path, to_json(record).encode())


def read(path: Path) -> Record:
    """Read and validate a record.

    Raises:
        WorldError: one line naming the file, if it is missing, truncated or not a sound record.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorldError(f"cannot read record {path}: {error.strerror}") from error
    except ValueError as error:
        raise WorldError(f"record {path} is truncated or not JSON: {error}") from error
    try:
        return validate(Record, values, f"record {path}")
    except RequestError as error:
        raise WorldError(str(error)) from error
