"""How what a method costs grows with the number of agents and with the width of its networks.

Counted from the code of every named method, not read from records.  On logarithmic axes a
polynomial tends to a straight line whose slope is its degree; an exponential bends upwards without
end.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import RunConfig
from bench.errors import RequestError
from bench.methods import load_methods, methods_file
from bench.report.formats import Table, Value
from bench.resampling import Array

AGENTS = (2, 4, 8, 16, 32, 64)
WIDTHS = (16, 32, 64, 128, 256, 512)
"""Of both hidden layers."""
AGENTS_AT, WIDTH_AT = 4, 64
"""What is kept while the other varies."""

QUANTITIES = {
    "trained_parameters": "trained parameters",
    "inference_parameters": "parameters to act",
    "generated_parameters": "generated parameters",
    "flops_per_update": "FLOPs per update",
    "flops_per_action": "FLOPs per action",
}
AXES = {"agents": AGENTS, "width": WIDTHS}


@dataclass(frozen=True)
class Sweep:
    """One method along one axis."""

    method: str
    axis: str
    """`agents` or `width`."""
    counts: dict[str, tuple[int, ...]]
    """By quantity, at each value of the axis."""

    def slope(self, quantity: str) -> float | None:
        """Fit the slope on logarithmic axes by least squares; none for what does not occur."""
        if not all(self.counts[quantity]):
            return None
        return float(np.polyfit(*self._logarithms(quantity), 1)[0])

    def steepest(self, quantity: str) -> float:
        """Return the largest slope between two neighbouring points; 0 for what does not occur."""
        if not all(self.counts[quantity]):
            return 0.0
        along, up = map(np.diff, self._logarithms(quantity))
        return float((up / along).max())

    def _logarithms(self, quantity: str) -> tuple[Array, Array]:
        along, up = AXES[self.axis], self.counts[quantity]
        return np.log(np.array(along, float)), np.log(np.array(up, float))


def sweeps() -> tuple[Sweep, ...]:
    """Count every named method that trains and can serve every team, along both axes."""
    return _count(methods_file())


@functools.cache
def _count(path: Path) -> tuple[Sweep, ...]:
    """Count the methods of a table, which is the one in force, once."""
    from bench.costs import costs

    found = []
    for method in load_methods(path):
        at: dict[str, list[dict[str, int]]] = {}
        try:
            at["agents"] = [costs(method, N, [WIDTH_AT] * 2) for N in AGENTS]
            at["width"] = [costs(method, AGENTS_AT, [width] * 2) for width in WIDTHS]
        except RequestError:
            continue  # there is no such network for so many agents
        if not at["agents"][0]["trained_parameters"]:
            continue  # a scripted controller
        for axis, points in at.items():
            counts = {name: tuple(point[name] for point in points) for name in QUANTITIES}
            found.append(Sweep(method, axis, counts))
    return tuple(found)


def points() -> Table:
    """List every count: a row per method, axis and value."""
    rows: Table = []
    for sweep in sweeps():
        for place, value in enumerate(AXES[sweep.axis]):
            row: dict[str, Value] = {
                "method": sweep.method,
                "axis": sweep.axis,
                "agents": value if sweep.axis == "agents" else AGENTS_AT,
                "width": value if sweep.axis == "width" else WIDTH_AT,
            }
            rows.append(row | {name: sweep.counts[name][place] for name in QUANTITIES})
    return rows


def slopes() -> Table:
    """List the fitted slopes: a row per method and axis."""
    return [
        {"method": sweep.method, "axis": sweep.axis}
        | {name: sweep.slope(name) for name in QUANTITIES}
        for sweep in sweeps()
    ]


def summary() -> dict[str, Any]:
    """Say in few numbers how costs grow: what the paper's caption needs."""
    generated = {
        axis: [
            slope
            for sweep in sweeps()
            if sweep.axis == axis and (slope := sweep.slope("generated_parameters")) is not None
        ]
        for axis in AXES
    }
    steepest = max(
        (sweep.steepest(name), sweep.method, sweep.axis, label)
        for sweep in sweeps()
        for name, label in QUANTITIES.items()
    )
    return {
        "agents": [AGENTS[0], AGENTS[-1]],
        "widths": [WIDTHS[0], WIDTHS[-1]],
        "agents-at": AGENTS_AT,
        "width-at": WIDTH_AT,
        "batch": RunConfig.model_fields["batch"].default,
        "generated": {
            axis: float(f"{max(found):.6g}") if found else None for axis, found in generated.items()
        },
        "steepest": {
            "slope": float(f"{steepest[0]:.6g}"),
            "method": steepest[1],
            "axis": steepest[2],
            "quantity": steepest[3],
        },
    }
