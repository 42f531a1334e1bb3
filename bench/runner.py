"""Training as a user asks for it: where files lie, what is already done, what is written last."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import registry
from bench.config import behaviour
from bench.errors import RequestError, WorldError
from bench.files import clear_temporary, write_atomic
from bench.grid import Run
from bench.records import Record, read, refuse_another, write

if TYPE_CHECKING:
    import torch

    from bench.train import Listener


@dataclass(frozen=True)
class Places:
    """Where the files of a grid's runs lie.

    Args:
        folder: results/<grid>.
    """

    folder: Path

    def record(self, run: Run) -> Path:
        """Return the record's path; its existence means that the run is done."""
        return self.folder / "runs" / f"{run.key}.json"

    def policy(self, run: Run) -> Path:
        """Return the saved policy's path."""
        return self.folder / "policies" / f"{run.key}.safetensors"

    def checkpoint(self, runs: Sequence[Run]) -> Path:
        """Return the checkpoint's path of a fleet of runs."""
        fleet = "" if len(runs) == 1 else f"-x{len(runs)}"
        return self.folder / "checkpoints" / f"{runs[0].key}{fleet}.safetensors"


def up_to_date(path: Path, run: Run) -> Record | None:
    """Return the record if it is there, sound, and of this configuration and behaviour."""
    if not path.exists():
        return None
    try:
        record = read(path)
    except WorldError as error:
        print(f"training again: {error}", file=sys.stderr)
        return None
    if changed := _changed(record, run):
        print(f"training again: {path} was made with {changed}", file=sys.stderr)
    return None if changed else record


def _changed(record: Record, run: Run) -> str:
    """Name what of a record is another than a run's: settings, or its behaviour versions."""
    old, new = record.config.model_dump(), run.config.model_dump()
    if changed := ", ".join(f"{k} = {old[k]}" for k in old if old[k] != new[k]):
        return changed
    return "other behaviour versions" if record.behaviour != behaviour(run.config) else ""


def train_runs(
    runs: Sequence[Run],
    places: Places,
    *,
    device: str = "cpu",
    force: bool = False,
    replace: bool = True,
    checkpoint_seconds: float = 10.0,
    wandb: bool = False,
) -> list[Record]:
    """Train runs of one shape side by side, and write policies, then records.

    Runs whose records are up to date are not trained again, unless `force`.  A sound record of
    another configuration gives way to `replace` or `force` only.

    Raises:
        RequestError: if the runs cannot be built, one is asked for twice, or is in the way.
        WorldError: if the disk refuses; found out before training wherever possible.
    """
    keys = [run.key for run in runs]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise RequestError(f"run '{twice}' is asked for twice; name each once")
    in_the_way = [] if force or replace else runs
    _refuse_to_overwrite(in_the_way, places)
    with contextlib.ExitStack() as locks:
        # In one order, whatever was asked for: two fleets must not each hold what the other awaits.
        for run in sorted(runs, key=lambda run: run.key):
            locks.enter_context(_lock(places.checkpoint([run]).with_suffix(".lock")))
            for path in (places.record(run), places.policy(run), places.checkpoint([run])):
                clear_temporary(path)
        _refuse_to_overwrite(in_the_way, places)  # who was waited for may have left one
        clear_temporary(places.checkpoint(runs))
        kept = {run.key: None if force else up_to_date(places.record(run), run) for run in runs}
        todo = [run for run in runs if kept[run.key] is None]
        for key in (key for key, record in kept.items() if record is not None):
            print(f"{key}: not trained, its record is up to date", file=sys.stderr)
        # Killed while it wrote its records, a fleet is whole in its checkpoint, and near its end.
        fleet = runs if todo and _resumable(runs, places) else todo
        trained = (
            _train(fleet, todo, places, device, checkpoint_seconds, wandb, force) if todo else []
        )
        for run in runs:
            _clear_checkpoints(places.checkpoint([run]))
        made = dict(zip((run.key for run in fleet), trained, strict=True)) | {
            key: record for key, record in kept.items() if record is not None
        }
        return [made[key] for key in keys]


def _refuse_to_overwrite(runs: Sequence[Run], places: Places) -> None:
    """Keep finished runs of other configurations under the same names.

    Raises:
        RequestError: naming what differs.
    """
    for run in runs:
        with contextlib.suppress(WorldError):
            record = read(places.record(run))
            if record.config != run.config:
                changed = _changed(record, run)
                raise RequestError(
                    f"{places.record(run)} was made with {changed}: give --force or other --results"
                )


def _resumable(runs: Sequence[Run], places: Places) -> bool:
    """Whether there is a checkpoint of these runs, side by side, to go on from."""
    from bench.checkpoint import Checkpoint

    path = places.checkpoint(runs)
    return path.exists() and Checkpoint(path, [run.config for run in runs]).usable()


def _clear_checkpoints(path: Path) -> None:
    """Remove what processes that were killed after writing a run's record did not.

    Also of fleets that began with that run, whoever was in them.
    """
    for ending in (".safetensors", "-x*.safetensors"):
        for left in path.parent.glob(f"{glob.escape(path.stem)}{ending}*"):
            left.unlink(missing_ok=True)


def _train(
    runs: Sequence[Run],
    todo: Sequence[Run],
    places: Places,
    device: str,
    checkpoint_seconds: float,
    wandb: bool,
    force: bool,
) -> list[Record]:
    """Train what fits the device at once, one such fleet after the other; write what is to do."""
    _check_writable(places, runs)
    import torch

    # One thread: products this small gain nothing from more, and more round differently.
    torch.set_num_threads(1)
    keep_freed_memory()
    where = find_device(device)
    size = min(_fits(runs, where), len(runs))
    records: list[Record] = []
    while len(records) < len(runs):
        fleet = runs[len(records) : len(records) + size]
        try:
            records += _train_fleet(fleet, todo, places, where, checkpoint_seconds, wandb, force)
        except torch.OutOfMemoryError:
            if len(fleet) == 1:
                raise
            size = -(-len(fleet) // 2)
            print(f"{where} is full at {len(fleet)} replicas: trying {size}", file=sys.stderr)
            torch.cuda.empty_cache()
    return records


def _fits(runs: Sequence[Run], device: torch.device) -> int:
    """Estimate how many replicas a device holds: as many as half of its free memory can store.

    The other half is for what an update needs in passing.
    """
    import torch

    from bench.fleet import Fleet

    # PettingZoo's environments have numbers, and live on the host.
    if device.type != "cuda" or registry.family(runs[0].config.task) == "pettingzoo":
        return len(runs)
    # Without numbers, so without memory.
    held = max(Fleet([runs[0].config], torch.device("meta")).nbytes, 1)
    free, _ = torch.cuda.mem_get_info(device)
    size = max(free // 2 // held, 1)
    text = f"{held / 2**20:.0f} MiB a replica, {free / 2**20:,.0f} MiB free"
    print(f"{device}: {text}: up to {size} replicas at once", file=sys.stderr)
    return int(size)


def _train_fleet(
    runs: Sequence[Run],
    todo: Sequence[Run],
    places: Places,
    device: torch.device,
    checkpoint_seconds: float,
    wandb: bool,
    force: bool,
) -> list[Record]:
    from bench import progress
    from bench.checkpoint import Checkpoint
    from bench.policies import save_policy
    from bench.train import train

    configs = [run.config for run in runs]
    checkpoint = Checkpoint(places.checkpoint(runs), configs, checkpoint_seconds)
    label = runs[0].key if len(runs) == 1 else f"{runs[0].key} and {len(runs) - 1} more"
    show = progress.Bar if sys.stderr.isatty() else progress.Lines
    listeners: list[Listener] = [show(configs[0], label)]
    mirror = progress.Wandb(configs[0], places.folder / "wandb", label) if wandb else None
    if mirror:
        listeners.append(mirror)
    outcomes = train(configs, device, checkpoint, listeners)
    for run, outcome in zip(runs, outcomes, strict=True):
        if run not in todo:
            continue
        _make_room(places.record(run), run, outcome.record, force)
        if outcome.policy:
            save_policy(places.policy(run), run.config, outcome.policy)
        write(places.record(run), outcome.record)
    checkpoint.delete()
    if mirror:
        mirror.finish()
    return [outcome.record for outcome in outcomes]


def _make_room(path: Path, run: Run, new: Record, force: bool) -> None:
    """Remove a record that is no longer good; one that is, and is another, gives way to force.

    Raises:
        WorldError: naming it, before the policy that belongs to it is written over.
    """
    try:
        old = read(path)
    except WorldError:
        old = None
    if old is None or force or _changed(old, run):
        path.unlink(missing_ok=True)
    else:
        refuse_another(path, old, new)


def keep_freed_memory() -> None:
    """Let glibc reuse freed buffers instead of handing them back to the kernel.

    An update frees and allocates the same few hundred kilobytes dozens of times; fetching them anew
    as zeroed pages each time costs a quarter of the training time.  No number depends on it.
    """
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(mmap_threshold, 32 << 20)
        libc.mallopt(trim_threshold, 1 << 30)


def find_device(name: str) -> torch.device:
    """Return a torch device that works.

    Raises:
        RequestError: naming the reason.
    """
    import torch

    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise RequestError(f"--device {name}: {reason}; cpu always works") from error
    return device


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Let one process train a run at a time; the kernel frees the lock of one that is killed.

    Two can meet when a workflow was killed and started again while its jobs went on.

    Raises:
        WorldError: if the file system refuses, or has no locks: two would spoil each other's files.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise WorldError(f"cannot lock {path}: {error.strerror}") from error
    with open(handle, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting: another process trains this run ({path})", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise WorldError(
                f"cannot lock {path}: {error.strerror}; give --results on a file system with flock"
            ) from error
        # Never removed: a process that waits on a removed file would not meet the next one.
        yield


def _check_writable(places: Places, runs: Sequence[Run]) -> None:
    for path in (places.record(runs[0]), places.policy(runs[0]), places.checkpoint(runs)):
        probe = path.with_name(f".tmp-probe-{path.name}")
        write_atomic(probe, b"\0" * 65536)
        probe.unlink(missing_ok=True)
