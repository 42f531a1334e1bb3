"""Training as a user asks for it: what is already done, what is gone on with, what is written."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.checkpoint_files import MIN_INTERVAL, begun, metadata, remove
from bench.device import find_device, replicas_that_fit, settle_cpu
from bench.errors import RequestError, WorldError
from bench.files import clear_temporary, write_atomic
from bench.grid import Run
from bench.places import Places, keys_of, locked
from bench.records import Record, read, refuse_another, write
from bench.staleness import changed, changed_settings

if TYPE_CHECKING:
    import torch

    from bench.outcome import Outcome
    from bench.train import Listener

Overwrite = Literal["stale", "outdated", "any"]
"""Which records give way to a new one: those that are unsound or of other behaviour versions
(`stale`), also those of another configuration (`outdated`), or whatever is there (`any`)."""


@dataclass(frozen=True)
class Job:
    """How runs are to be trained."""

    places: Places
    device: str = "cpu"
    compiled: bool = False
    """Whether updates are compiled, which is for a CPU."""
    overwrite: Overwrite = "outdated"
    checkpoint_seconds: float = MIN_INTERVAL
    """Least seconds between two checkpoints."""
    wandb: bool = False
    """Whether the curves are mirrored to wandb."""


def train_runs(runs: Sequence[Run], job: Job) -> list[Record]:
    """Train runs of one shape side by side, and write policies, then records.

    Runs whose records are up to date are not trained again, unless those too may be overwritten.

    Raises:
        RequestError: if the runs cannot be built or compiled, one is asked for twice, or a record
            is in the way.
        WorldError: if the disk refuses; found out before training wherever possible.
    """
    places, keys = job.places, keys_of(runs)
    if job.compiled and job.device != "cpu":
        raise RequestError(f"--compile: for --device cpu, not {job.device}; leave one out")
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise RequestError(f"run '{twice}' is asked for twice; name each once")
    _refuse_to_overwrite(runs, job)
    with contextlib.ExitStack() as locks:
        # In one order, whatever was asked for: two fleets must not each hold what the other awaits.
        for key in sorted(keys):
            locks.enter_context(locked(places.lock(key)))
            for path in (places.record(key), places.policy(key), places.checkpoint([key])):
                clear_temporary(path)
        _refuse_to_overwrite(runs, job)  # who was waited for may have left one
        clear_temporary(places.checkpoint(keys))
        kept = {} if job.overwrite == "any" else _up_to_date(runs, places)
        for key in kept:
            print(f"{key}: not trained, its record is up to date", file=sys.stderr)
        todo = [run for run in runs if run.key not in kept]
        if todo:
            _refuse_to_end(runs, job)
        fleet = _begun(runs, todo, places) or todo
        made = (_train(fleet, keys_of(todo), job) if todo else {}) | kept
        _clear_checkpoints(runs, job)
        return [made[key] for key in keys]


def _up_to_date(runs: Sequence[Run], places: Places) -> dict[str, Record]:
    """Find the records that are there, sound, and of this configuration and behaviour, by key."""
    found = {}
    for run in runs:
        path = places.record(run.key)
        if not path.exists():
            continue
        try:
            record = read(path)
        except WorldError as error:
            print(f"training again: {error}", file=sys.stderr)
            continue
        if reason := changed(record, run):
            print(f"training again: {path} was {reason}", file=sys.stderr)
        else:
            found[run.key] = record
    return found


def _refuse_to_overwrite(runs: Sequence[Run], job: Job) -> None:
    """Keep finished runs of other configurations under the same names, unless they may go.

    Raises:
        RequestError: naming what differs.
    """
    for run in runs if job.overwrite == "stale" else ():
        path = job.places.record(run.key)
        with contextlib.suppress(WorldError):
            if reason := changed_settings(read(path), run.config):
                raise RequestError(f"{path} was {reason}: give --force or other --results")


def _refuse_to_end(runs: Sequence[Run], job: Job) -> None:
    """Keep what other configurations have begun under the same names, unless it may go.

    Raises:
        RequestError: naming the checkpoint.
    """
    digests = {run.key: run.config.digest for run in runs}
    for path in job.places.checkpoints(list(digests)) if job.overwrite == "stale" else ():
        if any(digests.get(key, other) != other for key, (other, _) in begun(path).items()):
            raise RequestError(
                f"{path} is of a run with other settings that has not ended: give --force or other "
                "--results"
            )


def _begun(runs: Sequence[Run], todo: Sequence[Run], places: Places) -> list[Run]:
    """Find a fleet of these runs that is nearer to the end of what is to do than a new one.

    Killed while it wrote its records, a fleet is whole in its checkpoint.  Empty if there is none.
    """
    by_key, missing = {run.key: run for run in runs}, set(keys_of(todo))
    found: dict[float, list[Run]] = {len(todo): []}
    for path in places.checkpoints(keys_of(runs)) if todo else ():
        told = metadata(path)
        keys = told.get("keys", [])
        if not (missing <= set(keys) <= by_key.keys()):
            continue
        from bench.checkpoint import Checkpoint

        fleet = [by_key[key] for key in keys]
        config = fleet[0].config
        left = 1 - told["header"]["group"] * config.parallel / config.episodes
        if Checkpoint(path, [run.config for run in fleet]).usable():
            found[left * len(fleet)] = fleet
    return found[min(found)]


def _clear_checkpoints(runs: Sequence[Run], job: Job) -> None:
    """Remove what processes that were killed after writing these runs' records did not.

    Of fleets with other runs, too, once all of their runs have such records as they would make, and
    while nobody trains them again.  What another configuration has begun stays unless it may go.
    """
    places, ours = job.places, set(keys_of(runs))
    own = [places.checkpoint([key]) for key in ours] + [places.checkpoint(keys_of(runs))]

    def done(key: str, by: tuple[str, dict[str, str]]) -> bool:
        return (key in ours and job.overwrite != "stale") or _made(places.record(key)) == by

    for path in places.checkpoints(keys_of(runs)):
        with contextlib.ExitStack() as locks:
            of = begun(path)
            others = [locked(places.lock(key), wait=False) for key in sorted(of.keys() - ours)]
            if all(locks.enter_context(lock) for lock in others) and (
                all(done(key, by) for key, by in of.items()) if of else path in own
            ):
                remove(path)


def _made(path: Path) -> tuple[str, dict[str, str]] | None:
    """Return what made a record: the digest of its configuration, and behaviour versions."""
    try:
        record = read(path)
    except WorldError:
        return None
    return record.config_hash, dict(record.behaviour)


def _train(runs: Sequence[Run], todo: Sequence[str], job: Job) -> dict[str, Record]:
    """Train what fits the device at once, one such fleet after the other; write what is to do."""
    import torch

    _check_writable(runs, job.places)
    settle_cpu()
    device = find_device(job.device)
    size = replicas_that_fit(runs[0].config, len(runs), device)
    if size < len(runs):  # their checkpoint is of no use to a part of them
        runs = [run for run in runs if run.key in todo]
    records: dict[str, Record] = {}
    while len(records) < len(runs):
        fleet = runs[len(records) : len(records) + size]
        try:
            records |= _train_fleet(fleet, todo, job, device)
            continue
        except torch.OutOfMemoryError:
            if len(fleet) == 1:
                raise
        # Out of the handler, whose traceback holds all that filled the device.
        size = -(-len(fleet) // 2)
        print(f"{device} is full at {len(fleet)} replicas: trying {size}", file=sys.stderr)
        gc.collect()
        torch.cuda.empty_cache()
    return records


def _train_fleet(
    runs: Sequence[Run], todo: Sequence[str], job: Job, device: torch.device
) -> dict[str, Record]:
    """Train runs side by side, and write the policies and records of those that are to do."""
    from bench import progress
    from bench.checkpoint import Checkpoint
    from bench.train import train

    configs, keys, places = [run.config for run in runs], keys_of(runs), job.places
    checkpoint = Checkpoint(places.checkpoint(keys), configs, job.checkpoint_seconds, keys)
    label = keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"
    show = progress.Bar if sys.stderr.isatty() else progress.Lines
    with contextlib.ExitStack() as closing:
        bar = show(configs[0], label)
        closing.callback(bar.close)
        listeners: list[Listener] = [bar]
        if job.wandb:
            mirror = progress.Wandb(configs[0], places.folder / "wandb", label)
            closing.callback(mirror.close)
            listeners.append(mirror)
        outcomes = train(configs, device, checkpoint, listeners, job.compiled)
        # Before anybody is told that it is over, which may fail.
        for run, outcome in zip(runs, outcomes, strict=True):
            if run.key in todo:
                _write(run, outcome, job)
        checkpoint.delete()
    return {key: outcome.record for key, outcome in zip(keys, outcomes, strict=True)}


def _write(run: Run, outcome: Outcome, job: Job) -> None:
    """Write a run's policy, and then its record, each in one stroke.

    Killed between the two, it leaves its policy beside the record that was to give way.

    Raises:
        WorldError: if the disk refuses, or a record that is up to date and differs has come in the
            meantime: before the policy that belongs to it is written over.
    """
    from bench.policies import save_policy

    path = job.places.record(run.key)
    try:
        old = read(path)
    except WorldError:
        gives_way = os.path.lexists(path)  # damaged, or a link to nowhere
    else:
        gives_way = job.overwrite == "any" or bool(changed(old, run))
        if not gives_way:
            refuse_another(path, old, outcome.record)
    if outcome.policy:
        save_policy(job.places.policy(run.key), run.config, outcome.policy)
    write(path, outcome.record, replace=gives_way)


def _check_writable(runs: Sequence[Run], places: Places) -> None:
    """Find out before training whether the disk takes what is written in its course and last."""
    first = runs[0].key
    for path in (places.record(first), places.policy(first), places.checkpoint(keys_of(runs))):
        # Left by a killed process, it is not to be taken for a record.
        probe: Path = path.with_name(f".tmp-probe-{path.name}~")
        write_atomic(probe, b"\0" * 65536)
        probe.unlink(missing_ok=True)
