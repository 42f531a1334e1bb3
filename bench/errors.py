"""The two kinds of failure that a user may see, each one line and an exit status."""

from __future__ import annotations

from collections.abc import Iterable


class RequestError(Exception):
    """The request was wrong (unknown key, impossible grid, bad value): exit status 2."""

    status = 2


class WorldError(Exception):
    """The request was sound but the world failed it (truncated record, full disk): status 1."""

    status = 1


FEW = 12
"""Names that a line may list beside the closest one."""


def nearest(name: str, known: list[str]) -> str:
    """Say what would have been right: the closest known name, and all of them if they are few."""
    close = meant(name, known)
    if close and len(known) > FEW:
        return close.strip()
    return f"{close}known: {', '.join(sorted(known))}" if known else "there is none"


def meant(name: str, known: Iterable[str]) -> str:
    """Ask for the closest known name, with a space behind; nothing if none is close."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'? " if close else ""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says so, as torch's do: of the host that it cannot allocate memory."""
    said = str(error).lower()
    short = "out of memory" in said or "allocate memory" in said
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and short)
