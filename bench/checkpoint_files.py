"""The files of checkpoints, and what they say of themselves: all that needs no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

ENDING = ".safetensors"
MIN_INTERVAL = 10.0
"""Least seconds between two checkpoints."""


def files(path: Path) -> tuple[Path, Path, Path]:
    """Return where the newest lies, the one before, and one that is being written.

    Each under one name, so that what a killed write left is written over; the run's lock is held.
    """
    return path, path.with_name(f"{path.name}.before"), path.with_name(f"{path.name}.next")


def below(folder: Path, name: str = "**/*") -> list[Path]:
    """List checkpoints in a folder by a pattern of their names, without the ending.

    Those too of which there is but the one before, or one that was being written.
    """
    found = sorted(folder.glob(f"{name}{ENDING}*"))
    named = (path.with_name(path.name.partition(ENDING)[0] + ENDING) for path in found)
    return list(dict.fromkeys(named))


def remove(path: Path) -> None:
    """Remove the newest checkpoint of this path, the one before, and what a killed write left."""
    for file in files(path):
        file.unlink(missing_ok=True)


def metadata(path: Path) -> dict[str, Any]:
    """Read what the newest checkpoint says of itself, or the one before, by name.

    It has `keys` of runs, `identity` (see :class:`bench.checkpoint.Checkpoint`) and `header`.
    Empty if neither can be read.
    """
    for file in files(path)[:2]:
        try:
            with safe_open(file, framework="np") as opened:
                found = opened.metadata() or {}
            return {name: json.loads(found[name]) for name in ("keys", "identity", "header")}
        except (SafetensorError, OSError, ValueError, KeyError):
            continue
    return {}


def begun(path: Path) -> dict[str, tuple[str, dict[str, str]]]:
    """Return the digests of the configurations and the behaviour versions that began runs, by key.

    Empty if it cannot be told.
    """
    told = metadata(path)
    if not told:
        return {}
    _, runs, *_ = told["identity"]
    return {key: (run[0], run[1]) for key, run in zip(told["keys"], runs, strict=True)}
