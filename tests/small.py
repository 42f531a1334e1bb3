"""Small runs, shared by tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bench.config import RunConfig, resolve

TINY: dict[str, Any] = {
    "agents": 2,
    "task_options": {"dynamics": "first-order", "radius": 0.3},
    "episodes": 60,
    "parallel": 10,
    "steps_per_update": 20,
    "batch": 16,
    "hidden": [16, 16],
    "buffer": 900,
    "evaluations": 4,
    "evaluation_episodes": 4,
    "absolute_episodes": 8,
}
"""A run of a second or two whose ring of 900 transitions wraps."""

METHODS = [
    *("iql", "iddpg", "maddpg", "ps-maddpg"),
    *("hyper-maddpg", "hyper-iql", "hyper-maddpg-warm-up"),
]
"""One of every kind that is stored, resumed or trained side by side in its own way."""

FAST = [
    *("--dynamics=first-order", "--radius=0.3", "--hidden=[16, 16]"),
    *(
        f"--{name.replace('_', '-')}={value}"
        for name, value in TINY.items()
        if name not in ("task_options", "hidden")
    ),
]
"""The same as flags of `hypercoop train`."""


def tiny(**values: Any) -> RunConfig:
    """Return a tiny run's configuration."""
    return resolve(TINY, values)


def grid(**values: Any) -> dict[str, Any]:
    """Return a grid of one experiment e."""
    axes = {"methods": ["ps-maddpg"], "samplers": ["uniform"], "agents": [2], "seeds": [0, 1]}
    return {"name": "g", "title": "t", "experiments": {"e": {"question": "?", **axes, **values}}}


def write(folder: Path, values: Any) -> Path:
    """Write a grid file."""
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(values))
    return path
