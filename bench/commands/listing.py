"""What there is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from bench import registry
from bench.arguments import plain
from bench.commands.output import print_table
from bench.config import RunConfig, resolve
from bench.errors import RequestError
from bench.methods import load_methods, method_entry
from bench.validation import validate


def methods(options: argparse.Namespace) -> None:
    """List the methods, with what they cost."""
    if options.method and (options.growth or options.out):
        raise RequestError("--growth and --out are of the whole table: leave out --method")
    sizes = plain(options.agents), plain(options.hidden)
    # What is wrong with a size is found before torch is imported.
    validate(RunConfig, {"agents": sizes[0], "hidden": sizes[1]}, "methods")
    from bench.costs import costs
    from bench.device import settle_cpu

    settle_cpu()
    rows: list[dict[str, Any]] = []
    for name in options.method or load_methods():
        entry = method_entry(name)
        try:
            counted = costs(name, *sizes)
        except RequestError as error:
            if options.method:
                raise
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        parts = {
            "method": name,
            "algorithm": entry.algorithm.rpartition(":")[2],
            "scheme": (entry.scheme or "-").rpartition(":")[2],
        }
        rows.append({**parts, **counted, "summary": entry.summary})
    if options.out:
        from bench.costs.output import write

        for path in write(rows, {"agents": sizes[0], "hidden": sizes[1]}, options.out):
            print(path, file=sys.stderr)
    if options.growth:
        from bench.costs.growth import slopes

        rows = slopes() if options.json else [_rounded(row) for row in slopes()]
    print_table(rows, options.json)


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: f"{v:.2f}" if isinstance(v, float) else v or "-" for k, v in row.items()}


def tasks(options: argparse.Namespace) -> None:
    """List the tasks, with what can be chosen for each."""
    rows = []
    for name, entry in registry.TASKS.items():
        row = {"task": name, "rewards": ", ".join(entry.rewards)}
        known = entry.options
        fields = registry.load(known).model_fields if known else ["the environment's own"]
        row |= {"options": ", ".join(fields), "samplers": ", ".join(registry.samplers_of(name))}
        # Where every agent sees the same: the best score of one policy for all that sees no ID.
        row |= {"one_policy": "-", "one_stochastic_policy": "-"}
        if hasattr(registry.load(entry.path), "sharing_bound"):
            config = resolve({"task": name, "agents": plain(options.agents)}, where="tasks")
            game = registry.load(entry.path).from_config(config, None, "discrete")
            row["one_policy"] = f"{game.sharing_bound(stochastic=False):.4g}"
            row["one_stochastic_policy"] = f"{game.sharing_bound(stochastic=True):.4g}"
        rows.append(row)
    print_table(rows, options.json)
