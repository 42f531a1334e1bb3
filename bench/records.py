"""The run record: one JSON file a run, written once, validated on reading, never edited.

Everything but ``provenance`` is a pure function of the configuration and the behaviour versions:
the same run gives the same bytes.  Nothing downstream of training reads anything but records.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bench import registry
from bench.config import RunConfig
from bench.errors import RequestError, WorldError
from bench.files import place_once, write_atomic
from bench.validation import Positive, Strict, validate

SCHEMA: Literal[2] = 2
"""Version of the layout.  2: with a checksum, as `provenance.checksum`."""
MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: lambda values: values,  # what had no checksum is read without one
}
"""What brings the values of a record of an older version to the next one."""
LARGEST = 3.4028235e38
"""No float32 is larger, so no number of a run is."""
MAX_BYTES = 64 << 20
"""No record is larger by far; what is, is not read."""

Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class Curve(Strict):
    """Evaluation curve: K points, each summarising the greedy episodes of one evaluation."""

    episode: list[Count]
    """[K] training episodes done."""
    env_steps: list[Count]
    """[K] joint environment steps done."""
    updates: list[Count]
    """[K] network updates done."""
    mean: dict[str, list[Number]]
    """[K] mean over the evaluation episodes, by metric."""
    std: dict[str, list[Number]]
    """[K] population standard deviation over the evaluation episodes, by metric."""


class Training(Strict):
    """What was seen while training, averaged over the interval that ends at each point, but for
    `rewarded_share_buffer`, which is what it was at that point."""

    episode: list[Count]
    """[K-1] training episodes done."""
    mean: dict[str, list[Number]]
    """[K-1] by name: episode metrics under exploration, `rewarded_share_buffer`,
    `rewarded_share_batch` (share of transitions with a positive reward) and the algorithm's own."""


class Assessment(Strict):
    """Greedy episodes of one policy, raw."""

    episode: Count
    """Training episodes that the policy had seen."""
    raw: dict[str, Annotated[list[Number], Field(min_length=1)]]
    """One value per greedy episode, by metric; sums over the steps unless said otherwise."""


class Cost(Strict):
    """What the method costs, counted and not timed."""

    trained_parameters: Count
    """Numbers that the optimisers train (a hypernetwork, not what it generates)."""
    inference_parameters: Count
    """Numbers needed to act for the whole team (generated weights, not their generator)."""
    peak_parameters: Count
    """Most parameter numbers held at once in training: trained, targets and generated weights."""
    flops_per_update: Count
    """Floating-point operations of one update's matrix products, forward and backward."""


class Layer(Strict):
    """One layer of the acting network: a number per set of weights, so one if all agents share."""

    shape: tuple[Count, Count]
    """Inputs and outputs."""
    norm: Annotated[list[Number], Field(min_length=1)]
    """[G] Frobenius norm of W."""
    largest: Annotated[list[Number], Field(min_length=1)]
    """[G] largest singular value of W."""
    bias: list[Number]
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

    observations: Count
    """Number of observations that all agents were asked about."""
    distance: Literal["euclidean", "disagreement"]
    """Of two actions: Euclidean, or 1 if the moves differ."""
    diversity: Number
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

    schema_version: Literal[2] = SCHEMA
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
    horizon: Annotated[int, Field(gt=0, lt=2**31)]
    """Steps T in an episode."""
    evaluation: Curve
    training: Training
    final: Assessment | None
    """The last policy; none if the run diverged."""
    absolute: Assessment | None
    """The policy with the best evaluation (the later one of equals); none if the run diverged."""
    transfer: dict[Positive, Assessment] | None = None
    """The policy of `absolute` in teams of other sizes, on as many episodes drawn alike; none if
    the configuration asks for none, or the run diverged."""
    cost: Cost
    diagnostics: Diagnostics | None = None
    """None for controllers, diverged runs, and records made before there was such a block."""
    teamwork: Teamwork | None = None
    """None for tasks other than cooperative navigation, diverged runs, and earlier records."""
    provenance: dict[str, Any]
    """Host facts, the only part that may differ between two equal runs."""

    @property
    def scored(self) -> Assessment | None:
        """Whose score the run's is: the best policy's, but in tasks without chance, where choosing
        is all that there is to learn, the last one's; none if the run diverged."""
        chance = registry.task_entry(self.config.task).chance
        return self.absolute if chance else self.final

    @model_validator(mode="after")
    def _sound(self) -> Record:
        if self.config_hash != self.config.digest:
            raise ValueError("config_hash does not match config")
        curve, points = self.evaluation, len(self.evaluation.episode)
        lengths = {len(values) for part in (curve.mean, curve.std) for values in part.values()}
        if {len(curve.env_steps), len(curve.updates), *lengths} != {points}:
            raise ValueError("evaluation series differ in length")
        if any(a >= b for a, b in itertools.pairwise(curve.episode)):
            raise ValueError("evaluation.episode does not rise")
        if self.score not in curve.mean:
            raise ValueError(f"evaluation lacks the score '{self.score}'")
        if any(len(values) != len(self.training.episode) for values in self.training.mean.values()):
            raise ValueError("training series differ in length")
        if self.status == "complete":
            if self.cost.trained_parameters and points != self.config.evaluations:
                raise ValueError(f"{points} evaluations, not {self.config.evaluations}")
            if self.final is None or self.absolute is None:
                raise ValueError("a complete run must have final and absolute evaluations")
            transfer = self.transfer or {}
            if sorted(transfer) != sorted(self.config.transfer_agents):
                raise ValueError("transfer is not what the configuration asks for")
            assessments = (self.final, self.absolute, *transfer.values())
            if any(self.score not in assessed.raw for assessed in assessments):
                raise ValueError(f"an assessment lacks the score '{self.score}'")
        return self


def rounded(values: list[float]) -> list[float]:
    """Round to 7 significant digits: more than float32 holds, and short in JSON."""
    return [float(f"{value:.7g}") for value in values]


def to_json(record: Record) -> str:
    """Serialise deterministically: sorted keys, one top-level key a line, no NaN."""
    return sealed(record.model_dump(mode="json"))


def sealed(values: Mapping[str, Any]) -> str:
    """Serialise the values of a record with their checksum in the provenance."""
    provenance = {k: v for k, v in values["provenance"].items() if k != "checksum"}
    checksum = _checksum({**values, "provenance": provenance})
    return _text({**values, "provenance": {**provenance, "checksum": checksum}})


def _text(values: Mapping[str, Any]) -> str:
    lines = (
        f"{json.dumps(key)}: {json.dumps(values[key], sort_keys=True, allow_nan=False)}"
        for key in sorted(values)
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _checksum(values: Mapping[str, Any]) -> str:
    """Hash the values of a record without its checksum: 64 hex digits, a SHA-256."""
    return hashlib.sha256(_text(values).encode()).hexdigest()


def deterministic(record: Record) -> str:
    """Return the part that equal runs have in common: all but the provenance, as text."""
    return _text(record.model_dump(mode="json", exclude={"provenance"}))


def write(path: Path, record: Record, *, replace: bool = False) -> None:
    """Write a record, once: an equal one that is there already stays as it is.

    Args:
        path: where it is to lie.
        record: what it is to hold.
        replace: whether one that is there gives way, at the moment when the new one is whole.

    Raises:
        WorldError: if there is another one already, which stays, or the disk refuses.
    """
    content = to_json(record).encode()
    if replace:
        write_atomic(path, content)
        return
    try:
        write_atomic(path, content, place_once)
    except WorldError as error:
        if not isinstance(error.__cause__, FileExistsError):
            raise
        refuse_another(path, read(path), record)


def refuse_another(path: Path, old: Record, new: Record) -> None:
    """Compare a record with one that is there already.

    Raises:
        WorldError: if they differ in more than their provenance.
    """
    if deterministic(old) != deterministic(new):
        raise WorldError(
            f"record {path} is there already and differs from the one made now: it stays; "
            "to keep another, remove it first"
        )


def read(path: Path) -> Record:
    """Read and validate a record.

    Raises:
        WorldError: one line naming the file, if it is missing, truncated or not a sound record.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise WorldError(f"cannot read record {path}: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise WorldError(f"record {path} is larger than {MAX_BYTES >> 20} MiB, as no record is")
    try:
        values = json.loads(content.decode("utf-8"))
        _verify_checksum(values)
    except (ValueError, RecursionError) as error:
        raise WorldError(f"record {path} is truncated, damaged or not JSON: {error}") from error
    try:
        return validate(Record, _migrated(values), f"record {path}")
    except RequestError as error:
        raise WorldError(str(error)) from error


def _verify_checksum(values: Any) -> None:
    """Take the checksum out of the values of a record, and check it.

    Raises:
        ValueError: if it does not match, or a number is not finite.
    """
    provenance = values.get("provenance") if isinstance(values, dict) else None
    found = provenance.pop("checksum", None) if isinstance(provenance, dict) else None
    if found is not None and found != _checksum(values):
        raise ValueError("its checksum does not match")
    if found is None and isinstance(values, dict) and values.get("schema_version") != 1:
        raise ValueError("it has no checksum")


def _migrated(values: Any) -> Any:
    """Bring the values of a record to the current version of the schema."""
    while isinstance(values, dict) and type(version := values.get("schema_version")) is int:
        if version not in MIGRATIONS:
            break
        values = {**MIGRATIONS[version](values), "schema_version": version + 1}
    return values
