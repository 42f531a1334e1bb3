"""What there is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench import registry
from bench.arguments import plain
from bench.commands.output import print_as_made, print_table
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
    from bench.device import settle_cpu

    settle_cpu()
    names = options.method or load_methods()
    rows: Iterable[dict[str, Any]] = _counted(names, sizes, refuse=bool(options.method))
    if options.out:
        from bench.costs.output import write

        rows = list(rows)
        for path in write(rows, {"agents": sizes[0], "hidden": sizes[1]}, options.out):
            print(path, file=sys.stderr)
    if options.growth:
        from bench.costs.growth import slopes

        print_table(slopes() if options.json else [_rounded(row) for row in slopes()], options.json)
    elif options.json:
        print_table(list(rows), as_json=True)
    else:
        print_as_made(rows, [_about(name) for name in names])


def _counted(
    names: Iterable[str], sizes: tuple[Any, Any], *, refuse: bool
) -> Iterator[dict[str, Any]]:
    """Count methods one by one; one that cannot have these sizes is refused, or left out."""
    from bench.costs import costs

    for name in names:
        try:
            counted = costs(name, *sizes)
        except RequestError as error:
            if refuse:
                raise
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        yield {**_about(name), **counted}


def _about(name: str) -> dict[str, Any]:
    """Say what a method is and what it is put together from."""
    entry = method_entry(name)
    return {
        "method": name,
        "summary": entry.summary,
        "algorithm": entry.algorithm.rpartition(":")[2],
        "scheme": (entry.scheme or "-").rpartition(":")[2],
    }


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
