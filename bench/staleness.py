"""Whether a record is what its run would give now, and in what it is not."""

from __future__ import annotations

from typing import Any

from bench.config import RunConfig, behaviour
from bench.grid import Run
from bench.records import Record


def changed_settings(record: Record, config: RunConfig, whose: str = "now") -> str:
    """Say in what a record's configuration is not this one; empty if in nothing."""
    if record.config_hash == config.digest:
        return ""
    old, new = (_flat(values.model_dump()) for values in (record.config, config))
    changed = [
        f"{name} = {old.get(name, 'unset')} ({whose} {new.get(name, 'unset')})"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]
    return f"made with {', '.join(changed)}"


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """Put the task's options beside the other settings of a configuration."""
    options = {f"task_options.{name}": value for name, value in config["task_options"].items()}
    return {name: value for name, value in config.items() if name != "task_options"} | options


def changed_behaviour(record: Record, config: RunConfig) -> str:
    """Say which parts have another behaviour version now than made the record; empty if none."""
    current = behaviour(config)
    names = sorted({part for part, _ in record.behaviour.items() ^ current.items()})
    was = ", ".join(f"{name} {record.behaviour.get(name, 'none')}" for name in names)
    now = ", ".join(f"{name} {current.get(name, 'none')}" for name in names)
    return f"made by {was}; now {now}" if names else ""


def changed(record: Record, run: Run) -> str:
    """Say why a record is stale, by its settings first; empty if it is not."""
    return changed_settings(record, run.config) or changed_behaviour(record, run.config)
