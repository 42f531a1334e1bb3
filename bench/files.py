"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from bench.errors import WorldError


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


Place = Callable[[str, Path], object]


def _place(name: str, path: Path) -> None:
    os.replace(name, path)


def write_atomic(path: Path, content: bytes, place: Place = _place) -> None:
    """Write a file whole or not at all, and durably: temporary file, fsync, rename.

    Args:
        path: where it is to lie.
        content: what it is to hold.
        place: puts the temporary file there.

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
            place(name, path)
            sync_folder(path.parent)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise WorldError(f"cannot write {path}: {error.strerror}") from error


def write_all(folder: Path, files: Mapping[str, bytes], owned: Collection[str] = ()) -> list[Path]:
    """Write files into a folder, each whole or not at all, and return their paths.

    Args:
        folder: where.
        files: their contents by name.
        owned: endings; what else has one in the folder is of before, and removed.

    Raises:
        WorldError: if the disk refuses.
    """
    for path in folder.glob("*.*") if owned else ():
        if path.suffix in owned and path.name not in files:
            path.unlink()
    for name, content in files.items():
        write_atomic(folder / name, content)
    return [folder / name for name in files]


def place_once(name: str, path: Path) -> None:
    """Put a file where there is none yet: a link fails where a rename would replace.

    Raises:
        FileExistsError: if there is one.
    """
    try:
        os.link(name, path)
    except FileExistsError:
        raise
    except OSError as error:  # not every file system has links
        if path.exists():
            raise FileExistsError(error.errno, "it is there already") from error
        os.replace(name, path)


def clear_temporary(path: Path) -> None:
    """Remove what killed processes left behind of their attempts to write a file."""
    for left in path.parent.glob(f".tmp-*{glob.escape(path.name)}*"):
        left.unlink(missing_ok=True)
