"""Whether a record is what its run would give now, and in what it is not."""

from __future__ import annotations

from bench.config import behaviour
from bench.grid import Run
from bench.records import Record


def changed_settings(record: Record, run: Run) -> str:
    """Say in what a record's configuration is not that of its run; empty if in nothing."""
    if record.config_hash == run.config.digest:
        return ""
    old, new = record.config.model_dump(), run.config.model_dump()
    changed = ", ".join(f"{k} = {old[k]} (now {new[k]})" for k in old if old[k] != new[k])
    return f"made with {changed}"


def changed_behaviour(record: Record, run: Run) -> str:
    """Say which parts have another behaviour version now than made the record; empty if none."""
    current = behaviour(run.config)
    names = sorted({part for part, _ in record.behaviour.items() ^ current.items()})
    was = ", ".join(f"{name} {record.behaviour.get(name, 'none')}" for name in names)
    now = ", ".join(f"{name} {current.get(name, 'none')}" for name in names)
    return f"made by {was}; now {now}" if names else ""


def changed(record: Record, run: Run) -> str:
    """Say why a record is stale, by its settings first; empty if it is not."""
    return changed_settings(record, run) or changed_behaviour(record, run)
