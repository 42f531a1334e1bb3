"""Recorded runs trained again and compared: identical, or within a tolerance where it must do.

On the CPU type that made a record, with the same torch, the run ends in the same record to the bit
(if it was made in a fleet, at batches that are multiples of 16).
Elsewhere rounding differs, and a long run then goes its own way: there it has to start alike and to
end within the spread over seeds.
"""

from __future__ import annotations

import contextlib
import math
import random
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel

from bench import records
from bench.config import behaviour
from bench.errors import RequestError, WorldError
from bench.records import Record

FIRST = 0.1
"""Elsewhere, the evaluation before training may differ by this share of its standard deviation
over episodes, in every metric."""
LAST = 3.0
"""Elsewhere, the score may differ by so many standard deviations over the recorded seeds, or by so
many standard errors of the evaluation, whichever is more."""
VECTOR = 16
"""Numbers in the widest vector of a CPU."""
ModelT = TypeVar("ModelT", bound=BaseModel)

Verdict = Literal["identical", "within tolerance", "differs"]


@dataclass(frozen=True)
class Comparison:
    """A recorded run, and what came of training it again."""

    run: str
    behaviour: str
    """Behaviour version of every part."""
    cpu: Literal["same", "other", "not recorded"]
    """Whether this is the CPU type, and the torch, that the record was made with."""
    verdict: Verdict
    reason: str
    """What differs, or is within its tolerance."""


def _current(path: Path) -> Record | None:
    """Read a record that the code as it is can make again; None if that is other code."""
    record = records.read(path)
    try:
        return record if record.behaviour == behaviour(record.config) else None
    except RequestError:  # a module that is gone
        return None


@dataclass(frozen=True)
class Drawn:
    """Records to be repeated, and those that cannot be."""

    paths: list[Path]
    damaged: list[str]
    """What is wrong with each record that cannot be read."""
    outdated: int
    """Records of code that is not here: other behaviour versions, or modules that are gone."""


def draw(folder: Path, count: int, seed: int) -> Drawn:
    """Draw recorded runs that the code as it is can repeat; all of them if there are not so many.

    Raises:
        RequestError: if there is none.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder} is not a folder of results")
    found = sorted(path for path in folder.rglob("*.json") if "runs" in path.parts)
    if not found:
        raise RequestError(f"{folder}: no record below it in a folder runs/")
    current, damaged = [], []
    for path in found:
        try:
            current += [path] if _current(path) else []
        except WorldError as error:
            damaged.append(str(error))
    if not current:
        raise RequestError(
            f"{folder}: none of {len(found)} records was made by the current behaviour versions"
            + (f", and {len(damaged)} cannot be read: {damaged[0]}" if damaged else "")
        )
    chosen = sorted(random.Random(seed).sample(current, min(count, len(current))))
    return Drawn(chosen, damaged, len(found) - len(current) - len(damaged))


def verify(path: Path) -> Comparison:
    """Train a recorded run again, on the CPU, compiled if it was, and compare.

    Raises:
        WorldError: if the record cannot be read.
    """
    import torch

    from bench.device import settle_cpu
    from bench.provenance import COMPILED, THEN, cpu
    from bench.train import train

    settle_cpu()
    old = records.read(path)
    devices = str(old.provenance.get("device", "cpu")).split(THEN)
    compiled = [device.endswith(COMPILED) for device in devices]
    new = train([old.config], torch.device("cpu"), compiled=all(compiled))[0].record
    made_on = old.provenance.get("cpu")
    packages = old.provenance.get("packages")
    version = packages.get("torch") if isinstance(packages, dict) else None
    # Side by side with others, batches that do not fill vectors round otherwise, as does machine
    # code that was made for as many.
    alike = old.provenance.get("replicas", 1) == 1 or (
        old.config.batch % VECTOR == 0 and not any(compiled)
    )
    on_cpu = all(device.startswith("cpu") for device in devices) and len({*compiled}) == 1
    same = on_cpu and (made_on, version) == (cpu(), torch.__version__)
    verdict, reason = compare(old, new, same and alike, scores(path.parent))
    return Comparison(
        run=Path(*path.parts[-5:]).with_suffix("").as_posix(),
        behaviour=_short(old.behaviour),
        cpu="same" if same else "other" if made_on else "not recorded",
        verdict=verdict,
        reason=reason,
    )


def _short(versions: Mapping[str, str]) -> str:
    return " ".join(
        f"{part}@{found[1]}"
        for part, version in sorted(versions.items())
        if (found := re.search(r"@(\d+)", version))
    )


def scores(folder: Path) -> list[float]:
    """Return the scores of the runs of one cell, which differ in nothing but the seed."""
    cell: list[Record | None] = []
    for path in sorted(folder.glob("seed*.json")):
        with contextlib.suppress(WorldError):  # a damaged one has been told
            cell.append(_current(path))
    return [statistics.fmean(r.scored.raw[r.score]) for r in cell if r and r.scored]


def compare(old: Record, new: Record, here: bool, seeds: list[float]) -> tuple[Verdict, str]:
    """Compare a record with that of the run trained again.

    Args:
        old: the record.
        new: the other.
        here: whether they must be identical.
        seeds: recorded scores of the cell.
    """
    new = as_far_as(old, new)
    if records.deterministic(old) == records.deterministic(new):
        return "identical", "every bit of the deterministic part"
    if here:
        was, now = old.model_dump(exclude={"provenance"}), new.model_dump()
        parts = [name for name in was if was[name] != now[name]]
        return "differs", f"on the same CPU type: {', '.join(parts)}"
    for name in ("status", "score", "horizon", "cost"):
        if getattr(old, name) != getattr(new, name):
            return "differs", f"{name}: {getattr(old, name)}, now {getattr(new, name)}"
    a, b = old.evaluation, new.evaluation
    if (a.episode, a.env_steps, a.updates) != (b.episode, b.env_steps, b.updates):
        return "differs", "the points of the evaluation curve"
    for name, values in a.mean.items():
        first = b.mean.get(name, [math.nan])[0]
        if not abs(first - values[0]) <= FIRST * a.std[name][0] + 1e-6 * abs(values[0]):
            return "differs", f"{name} before training: {values[0]:.6g}, now {first:.6g}"
    return _final(old, new, seeds)


def as_far_as(old: ModelT, new: ModelT) -> ModelT:
    """Return the new one without what was not yet measured when the old one was made.

    Such blocks and numbers, at any depth, are those that may be missing and are so in the old.
    """
    cut: dict[str, object] = {}
    for name, field in type(old).model_fields.items():
        was, now = getattr(old, name), getattr(new, name)
        if name != "reason" and field.default in (None, []) and was == field.default:
            now = was
        elif isinstance(was, BaseModel) and isinstance(now, BaseModel):
            now = as_far_as(was, now)
        elif isinstance(was, list) and len(was) == len(now):
            pairs = zip(was, now, strict=True)
            now = [as_far_as(a, b) if isinstance(a, BaseModel) else b for a, b in pairs]
        cut[name] = now
    return new.model_copy(update=cut)


def _final(old: Record, new: Record, seeds: list[float]) -> tuple[Verdict, str]:
    if old.scored is None or new.scored is None:
        return "within tolerance", "both diverged"
    raw = [scored.raw[old.score] for scored in (old.scored, new.scored)]
    was, now = (statistics.fmean(values) for values in raw)
    errors = [statistics.pstdev(values) / math.sqrt(len(values)) for values in raw]
    spread = statistics.stdev(seeds) if len(seeds) > 1 else 0.0
    tolerance = LAST * max(math.hypot(*errors), spread)
    said = f"{old.score} {was:.4g}, now {now:.4g}; tolerance {tolerance:.3g} ({len(seeds)} seeds)"
    return ("within tolerance" if abs(now - was) <= tolerance else "differs"), said
