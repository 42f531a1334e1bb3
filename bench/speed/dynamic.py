"""Products with dynamic weights: every form at every shape, under the machine's roofline.

Operations and bytes are counted, times and the roofline are measured, all in this process.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from baselines.hypernet import grouped, products
from bench.speed.timing import Row, interleave, rounded, spread

FLOAT = 4
"""Bytes of a float32."""
BLOCK = 2e-3
"""CPU seconds of a sample: products are short, and many."""
PEAK_SIZES = (256, 512, 1024)
"""Sides of the square products, of which the fastest makes the roof."""
HOPELESS, BRIEF = 16, 10**8
"""A form of more than so many times the fewest operations is measured only if it is brief."""
COPIES = {"cache": 2**15, "memory": 2**24}
"""Numbers in the tensors copied: 128 KiB stay in a core's cache, 64 MiB in no cache."""


@dataclass(frozen=True)
class Case:
    """A shape: K groups of M rows, and the width of the code, or the rank."""

    kind: str
    """`generated`, `low rank`, or `grouped`: then M rows a group on average, in random order."""
    groups: int
    rows: int
    width: int
    fan_in: int = 64
    fan_out: int = 64

    def inputs(self) -> list[Tensor]:
        """Draw what the forms take, all but the index of `grouped` with a gradient."""
        K, M, C = self.groups, self.rows, self.width
        weights = self.fan_in * self.fan_out
        draw = partial(torch.randn, requires_grad=True)
        if self.kind == "low rank":
            return [draw(K, M, self.fan_in), draw(K, self.fan_in, C), draw(K, C, self.fan_out)]
        code = [draw(1, K, C), draw(1, C, weights), draw(1, 1, weights)]
        if self.kind == "grouped":
            return [draw(1, K * M, self.fan_in), torch.arange(K * M).view(1, -1) % K, *code]
        return [draw(1, K, M, self.fan_in), *code]

    def forms(self) -> dict[str, Callable[..., Tensor]]:
        """Return what to measure, by form: the CPU's, without the hopeless ones."""
        kinds: Mapping[str, Mapping[str, Callable[..., Tensor]]] = {
            "generated": {n: form for n, form in products.GENERATED.items() if n != "fused"},
            "low rank": products.LOW_RANK,
            "grouped": grouped.GROUPED,
        }
        known = kinds[self.kind]
        flops = {name: self.work(name)[0] for name in known}
        worst = max(HOPELESS * min(flops.values()), BRIEF)
        return {name: known[name] for name, count in flops.items() if count <= worst}

    def chosen(self) -> str:
        """Return the form that the rule takes."""
        K, M, C = self.groups, self.rows, self.width
        if self.kind == "low rank":
            return products.low_rank_form(M, C, self.fan_in, self.fan_out)
        if self.kind == "grouped":
            return grouped.grouped_form(K * M, K, C)
        return products.generated_form(K, M, C, self.fan_in, self.fan_out)

    def work(self, form: str) -> tuple[int, int]:
        """Count the operations of the products, and the bytes moved.

        Arguments and result move once; what lies between is written and read, but for the weights
        that `blocks` keeps in the cache.
        """
        K, M, C, fan_in, fan_out = self.groups, self.rows, self.width, self.fan_in, self.fan_out
        weights, rows = fan_in * fan_out, self.groups * self.rows
        ends = rows * (fan_in + fan_out)
        if self.kind == "low rank":
            between, multiplied = {
                "formed": (K * weights, K * weights * (M + C)),
                "factored": (rows * C, rows * C * (fan_in + fan_out)),
            }[form]
            moved = ends + K * C * (fan_in + fan_out) + 2 * between
            return 2 * multiplied, FLOAT * moved
        if form == "rows":
            alone = Case("generated", rows, 1, C, fan_in, fan_out)
            return alone.work(alone.chosen())
        between, multiplied = {
            "plain": (K * weights, (K * C + rows) * weights),
            "blocks": (0, (K * C + rows) * weights),
            "segments": (K * weights + ends, (K * C + rows) * weights),
            "outer": (rows * (C * fan_in + fan_out), rows * (C + 1) * weights),
            "inputs": (
                C * weights + rows * (C + 1) * fan_out,
                rows * (C + 1) * weights + rows * C * fan_out,
            ),
        }[form]
        moved = ends + K * C + (C + 1) * weights + 2 * between
        return 2 * multiplied, FLOAT * moved


AGENTS, ROWS = (3, 8, 64), (1, 4, 32, 100, 1024)
QUICK = [
    *(Case("generated", K, M, C) for K in (3, 64) for M in (1, 32) for C in (8, 64)),
    Case("generated", 3, 1024, 64, 64, 2),
    Case("generated", 256, 1, 8, 64, 5),
    Case("generated", 256, 1, 8),
    Case("generated", 256, 8, 8),
    *(Case("low rank", 8, M, 16) for M in (1, 100)),
    Case("low rank", 8, 1024, 64),
    *(Case("grouped", 8, M, 64) for M in (1, 32)),
]
FULL = [
    *(Case("generated", K, M, C) for K in AGENTS for M in ROWS for C in (8, 64) if K * M <= 6400),
    *(Case("generated", K, M, 64, 64, 2) for K in AGENTS for M in (1, 32, 1024)),
    *(Case("generated", K, 1, 8, 64, out) for K in (64, 256, 1024) for out in (1, 2, 5)),
    *(Case("generated", K, 1, C) for K in (16, 32, 256, 1024) for C in (2, 8, 16, 32, 64)),
    *(Case("generated", 256, M, C) for M in (2, 4, 8) for C in (4, 8, 16)),
    *(Case("generated", K, M, 8, 128, 128) for K in (3, 32) for M in (1, 4, 100)),
    *(Case("low rank", 8, M, r) for M in ROWS for r in (1, 8, 32, 64)),
    *(Case("low rank", 8, M, r, 64, 2) for M in (1, 32, 1024) for r in (1, 8)),
    *(Case("grouped", K, M, C) for K in AGENTS for M in (1, 4, 16) for C in (8, 64)),
]
"""N = 3 to 64 agents, codes of 8 and 64 features and layers of 64 x 64 are those of our runs;
M = 1 to 1,024 rows are what acts and what learns.  More groups have codes of their own per row."""


def measure_dynamic(cases: Iterable[Case], rounds: int) -> list[Row]:
    """Time every form forward, and forward and backward, and set it against the roofline.

    Returns:
        One row of section `roofline`; then a row per shape and form, with the form that is
        chosen there, and the regret: its median time over that of the fastest.
    """
    roof = measure_roofline(rounds)
    return [roof, *(row for case in cases for row in _measure(case, roof, rounds))]


def measure_roofline(rounds: int) -> Row:
    """Measure the peak of float32 products, and the bandwidth of copies in cache and memory."""
    functions: dict[tuple[str, int], Callable[[], object]] = {}
    for size in PEAK_SIZES:
        pair = torch.randn(size, size), torch.randn(size, size)
        functions["mm", size] = partial(torch.mm, *pair)
        if torch.backends.mkldnn.is_available():
            onednn = torch.ops.mkldnn._linear_pointwise
            functions["onednn", size] = partial(onednn, *pair, None, "none", [], "")
    for place, size in COPIES.items():
        functions[place, size] = partial(torch.empty(size).copy_, torch.randn(size))
    least = {name: min(times) for name, times in interleave(functions, rounds, BLOCK).items()}
    copied = {place: 2 * FLOAT * size / least[place, size] for place, size in COPIES.items()}

    def peak(library: str) -> float:
        return max((2 * n**3 / s for (name, n), s in least.items() if name == library), default=0)

    return {
        "section": "roofline",
        "peak_gflop_per_s": rounded(max(peak("mm"), peak("onednn")) / 1e9),
        "peak_of_torch_mm_gflop_per_s": rounded(peak("mm") / 1e9),
        "copy_in_cache_gb_per_s": rounded(copied["cache"] / 1e9),
        "copy_in_memory_gb_per_s": rounded(copied["memory"] / 1e9),
    }


def _measure(case: Case, roof: Row, rounds: int) -> list[Row]:
    inputs, forms = case.inputs(), case.forms()
    functions: dict[tuple[str, str], Callable[[], object]] = {}
    for name, form in forms.items():
        functions[name, "act"] = partial(_act, form, inputs)
        functions[name, "learn"] = partial(_learn, form, inputs)
    samples = interleave(functions, rounds, BLOCK)
    chosen = case.chosen()
    medians = {key: statistics.median(times) for key, times in samples.items()}
    regret = {
        phase: medians[chosen, phase] / min(medians[name, phase] for name in forms)
        for phase in ("act", "learn")
    }
    rows = []
    for name in forms:
        row: Row = {
            "section": "dynamic products",
            "kind": case.kind,
            "groups": case.groups,
            "rows": case.rows,
            "code_or_rank": case.width,
            "fan_in": case.fan_in,
            "fan_out": case.fan_out,
            "form": name,
            **spread(samples[name, "act"], "cpu_us", 1e6),
        }
        flops, moved = case.work(name)
        rate, intensity = flops / medians[name, "act"] / 1e9, flops / moved
        attainable = min(roof["peak_gflop_per_s"], intensity * roof["copy_in_cache_gb_per_s"])
        row |= {
            "gemm_flops": flops,
            "moved_bytes": moved,
            "flops_per_byte": rounded(intensity),
            "gflop_per_s": rounded(rate),
            "share_of_roofline": rounded(rate / attainable),
            "learn_cpu_us_median": rounded(medians[name, "learn"] * 1e6),
            "chosen": chosen,
            "regret_ratio": rounded(regret["act"]),
            "learn_regret_ratio": rounded(regret["learn"]),
        }
        rows.append(row)
    return rows


def _act(form: Callable[..., Tensor], inputs: list[Tensor]) -> Tensor:
    with torch.no_grad():
        return form(*inputs)


def _learn(form: Callable[..., Tensor], inputs: list[Tensor]) -> object:
    """Differentiate a sum: its gradient, all ones, costs next to nothing."""
    trained = [tensor for tensor in inputs if tensor.requires_grad]
    y = form(*inputs)
    return torch.autograd.grad(y, trained, torch.ones_like(y))
