"""Where the files of runs lie, and who may write them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.checkpoint_files import below
from bench.errors import RequestError, WorldError
from bench.grid import Run
from bench.methods import methods_file


@dataclass(frozen=True)
class Places:
    """Where the files of a grid's runs lie.

    Args:
        folder: results/<grid>.
    """

    folder: Path

    def record(self, key: str) -> Path:
        """Return the path of a run's record; its existence means that the run is done."""
        return self.folder / "runs" / f"{key}.json"

    def policy(self, key: str) -> Path:
        """Return the path of the saved policy."""
        return self.folder / "policies" / f"{key}.safetensors"

    def log(self, key: str) -> Path:
        """Return the path of what the workflow's job of a run said."""
        return self.folder / "logs" / f"{key}.log"

    def lock(self, key: str) -> Path:
        """Return the path of the lock that who trains a run holds."""
        return self.checkpoint([key]).with_suffix(".lock")

    def checkpoint(self, keys: Sequence[str]) -> Path:
        """Return the path of the checkpoint of a run, or of a fleet of just these."""
        name = keys[0]
        if len(keys) > 1:
            name += f"-x{len(keys)}-{hashlib.sha256(' '.join(keys).encode()).hexdigest()[:8]}"
        return self.folder / "checkpoints" / f"{name}.safetensors"

    def checkpoints(self, keys: Sequence[str]) -> list[Path]:
        """List where runs may have begun: by themselves, and in fleets led by one of their cells.

        Those too of which there is but the one before, or one that was being written.
        """
        alone = [self.checkpoint([key]) for key in keys]
        folders = dict.fromkeys(path.parent for path in alone)
        led = (path for folder in folders for path in below(folder, "*-x*"))
        return list(dict.fromkeys((*alone, *led)))


def by_cell(told: Iterable[tuple[str, str]]) -> list[tuple[str, str, int]]:
    """Gather what is said alike of runs that differ in their seeds only.

    Args:
        told: keys of runs, each with what is said of it.

    Returns:
        The key with all seeds, what is said of them, and how many they are.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for key, what in told:
        cell, _, seed = key.rpartition("/")
        groups.setdefault((cell, what), []).append(seed)
    return [
        (f"{cell}/{', '.join(seeds)}", what, len(seeds)) for (cell, what), seeds in groups.items()
    ]


def keys_of(runs: Sequence[Run]) -> list[str]:
    """Return the keys of runs."""
    return [run.key for run in runs]


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Let one process train a run at a time; the kernel frees the lock of one that is killed.

    Two can meet when a workflow was killed and started again while its jobs went on.

    Args:
        path: of the run's lock.
        wait: until nobody else holds it.

    Yields:
        Whether it is held now: always, where it was waited for.

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
            if not wait:
                yield False
                return
            print(f"waiting: another process trains this run ({path})", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise WorldError(
                f"cannot lock {path}: {error.strerror}; give --results on a file system with flock"
            ) from error
        # Never removed: a process that waits on a removed file would not meet the next one.
        yield True


def find_grid(results: Path) -> Path:
    """Return the grid file that a results folder is named after.

    Raises:
        RequestError: if there is none.
    """
    if not results.is_dir():
        raise RequestError(f"{results} is not a folder of results")
    grids = sorted(path.parent.name for path in results.glob("*/runs"))
    if grids and not (results / "runs").exists():  # where an experiment may have that name
        raise RequestError(f"{results} holds grids; name one of them, such as {results / grids[0]}")
    name = f"{results.resolve().name}.yaml"
    for folder in (Path("config"), methods_file().parent):
        if (folder / name).exists():
            return folder / name
    raise RequestError(
        f"{results}: no grid file config/{name}; name it with --grid (what `hypercoop train` makes "
        "without one belongs to none, and `hypercoop verify` takes it as it is)"
    )
