"""The training loop by part against its floor, and how the update's cost grows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.config import RunConfig
from bench.speed.clock import NETWORK, Clock, watched
from bench.speed.products import Product, Recorder, flops
from bench.speed.timing import Row, enough, rounded, spread
from bench.speed.workload import stocked
from bench.train import Trainer

US = 1e6
"""Microseconds in a second."""
UPDATES = 2
"""Updates in a sample of growth."""


def record_products(run: Trainer, method: str, *arguments: object) -> dict[str, Counter[Product]]:
    """Call a method of a run, once, and return its matrix products by part."""
    clock = Clock()
    with watched(run, clock), Recorder(clock) as recorder:
        getattr(run, method)(*arguments)
    return recorder.products


class Floors:
    """The products of every part, ready to be timed alone.

    Args:
        products: by part, with how often `updates` updates do each.
        updates: how many updates they belong to.
    """

    REPEATS = 5
    """Consecutive runs of a product in a sample: the buffers are warm."""

    def __init__(self, products: Mapping[str, Counter[Product]], updates: int) -> None:
        self._products, self._updates = products, updates
        different = {product for counted in products.values() for product in counted}
        self._rehearsals = {product: product.rehearsal() for product in different}
        for rehearse in self._rehearsals.values():
            rehearse()

    def flops(self) -> dict[str, int]:
        """Return the FLOPs per update of every part."""
        return {part: flops(p) // self._updates for part, p in self._products.items()}

    def sample(self) -> dict[str, float]:
        """Time every product once; return the CPU seconds per update of every part."""
        seconds = {}
        for product, rehearse in self._rehearsals.items():
            start = time.process_time()
            for _ in range(self.REPEATS):
                rehearse()
            seconds[product] = (time.process_time() - start) / self.REPEATS
        return {
            part: sum(seconds[product] * count for product, count in counted.items())
            / self._updates
            for part, counted in self._products.items()
        }


@dataclass
class Samples:
    """Seconds per update of each round: CPU by part, its floor, and the loop with no clock in it.

    `cpu` and `floor` are by part.
    """

    cpu: dict[str, list[float]] = field(default_factory=dict)
    floor: dict[str, list[float]] = field(default_factory=dict)
    plain_cpu: list[float] = field(default_factory=list)
    plain_wall: list[float] = field(default_factory=list)

    def add(self, cpu: Mapping[str, float], floor: Mapping[str, float], updates: int) -> None:
        """Add a round's seconds by part, the CPU's being those of `updates` updates."""
        for part, seconds in cpu.items():
            self.cpu.setdefault(part, []).append(seconds / updates)
        for part, seconds in floor.items():
            self.floor.setdefault(part, []).append(seconds)

    def rows(self, work: Mapping[str, int]) -> list[Row]:
        """Return a row for every part, and for sums of parts."""
        everything = sum_rounds(self.cpu)
        total = sum(everything)
        rest = {part: samples for part, samples in self.cpu.items() if part not in NETWORK}
        network = {part: samples for part, samples in self.cpu.items() if part in NETWORK}
        groups = {
            **{part: {part: samples} for part, samples in self.cpu.items()},
            "network update": network,
            "everything else": rest,
            "all parts": self.cpu,
        }
        rows = []
        for name, parts in groups.items():
            cpu = sum_rounds(parts)
            floor = sum_rounds({part: self.floor[part] for part in parts if part in self.floor})
            row: Row = {"section": "update", "part": name, **spread(cpu, "cpu_us_per_update", US)}
            row["share_of_total"] = rounded(sum(cpu) / total)
            operations = sum(work.get(part, 0) for part in parts)
            row["gemm_flops_per_update"] = operations
            if operations:
                row |= spread(floor, "floor_us_per_update", US)
                row["gemm_gflop_per_s"] = rounded(
                    operations / row["floor_us_per_update_median"] / 1e3
                )
                row["ratio_to_floor"] = rounded(
                    row["cpu_us_per_update_median"] / row["floor_us_per_update_median"]
                )
            rows.append(row)
        plain = {
            "section": "update",
            "part": "all parts, no clock inside",
            **spread(self.plain_cpu, "cpu_us_per_update", US),
            **spread(self.plain_wall, "wall_us_per_update", US),
        }
        return [*rows, plain]


def sum_rounds(parts: Mapping[str, list[float]]) -> list[float]:
    """Add the parts up, round by round."""
    return [sum(values) for values in zip(*parts.values(), strict=True)]


def measure_update(config: RunConfig, rounds: int) -> tuple[list[Row], Trainer]:
    """Time groups of E episodes of a run by part, between plain ones and products alone.

    Returns:
        The rows, and the run, for others to use.
    """
    run, clock, samples = stocked(config), Clock(), Samples()
    run.episodes()
    before = run._updates
    products = record_products(run, "episodes")
    updates = run._updates - before
    floors = Floors(products, updates)
    for _ in range(rounds):
        cpu, wall = time.process_time(), time.perf_counter()
        run.episodes()
        samples.plain_cpu.append((time.process_time() - cpu) / updates)
        samples.plain_wall.append((time.perf_counter() - wall) / updates)
        with watched(run, clock):
            run.episodes()
            seconds = clock.lap()
        samples.add(seconds, floors.sample(), updates)
    return samples.rows(floors.flops()), run


def measure_growth(points: Mapping[str, list[int]], base: RunConfig, rounds: int) -> list[Row]:
    """Time one update, sampling to priorities, as one thing at a time grows.

    Args:
        points: values of `agents`, `width`, `replicas` and `buffer_transitions`.
        base: everything else.
        rounds: samples of each point.
    """
    return [row for axis, values in points.items() for row in _grow(axis, values, base, rounds)]


def _grow(axis: str, values: list[int], base: RunConfig, rounds: int) -> list[Row]:
    grown = []
    for value in values:
        changes: dict[str, dict[str, Any]] = {
            "agents": {"agents": value},
            "width": {"hidden": [value] * len(base.hidden)},
            "replicas": {},
            "buffer_transitions": {"buffer": value},
        }
        config = base.model_copy(update=changes[axis])
        run = stocked(config, value if axis == "replicas" else 1)
        run._learn(*run._batches(1))
        products = record_products(run, "_learn", *run._batches(1))
        grown.append((value, run, Floors(products, 1), Samples()))
    for _ in range(rounds):
        for _, run, floors, samples in grown:
            if enough(sum_rounds(samples.cpu), UPDATES):
                continue
            clock = Clock()
            with watched(run, clock):
                for batch in run._batches(UPDATES):
                    run._learn(batch)
                seconds = clock.lap()
            samples.add(seconds, floors.sample(), UPDATES)
    rows = []
    for value, run, floors, samples in grown:
        network = {part: s for part, s in samples.cpu.items() if part in NETWORK}
        floor = {part: s for part, s in samples.floor.items() if part in NETWORK}
        row: Row = {"section": "growth", "axis": axis, "value": value}
        row |= spread(sum_rounds(samples.cpu), "cpu_us_per_update", US)
        row |= spread(sum_rounds(network), "network_cpu_us_per_update", US)
        row |= spread(sum_rounds(floor), "network_floor_us_per_update", US)
        row["network_ratio_to_floor"] = rounded(
            row["network_cpu_us_per_update_median"] / row["network_floor_us_per_update_median"]
        )
        row["network_gemm_flops_per_update"] = sum(floors.flops().get(part, 0) for part in NETWORK)
        row["state_bytes"] = sum(tensor.nbytes for tensor in run._fleet.state().values())
        rows.append(row)
    return rows
