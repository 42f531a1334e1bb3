"""The command line: thin.  Every error is one line; status 1 if the world failed, 2 if the request.

torch is imported only by the commands that train or act.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import yaml

from bench import registry
from bench.arguments import parser
from bench.config import RunConfig, resolve
from bench.errors import RequestError, WorldError, nearest
from bench.files import write_atomic
from bench.grid import Run, expand, load_grid
from bench.methods import load_methods
from bench.records import read
from bench.runner import Places, train_runs
from bench.tasks.options import CoopNavOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    with _terminable():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = parser().parse_args(arguments)
        COMMANDS[options.command](options)
        sys.stdout.flush()
        return 0
    except (RequestError, WorldError) as error:
        print(f"hypercoop: error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"hypercoop: error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
            raise  # a defect of ours, not of the request
        reason = (str(error).splitlines() or ["not enough memory"])[0]
        print(f"hypercoop: error: out of memory: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print("hypercoop: interrupted; the same command goes on from here", file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """End by SIGTERM as by the keyboard, so that nothing half-written stays behind."""

    def terminate(number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt(number)

    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not in the main thread: the caller's affair
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _train(options: argparse.Namespace) -> None:
    given = {
        name: _plain(value)
        for name in RunConfig.model_fields
        if (value := getattr(options, name, None)) is not None
    }
    task_options = {
        name: _plain(value)
        for name in CoopNavOptions.model_fields
        if (value := getattr(options, name, None)) is not None
    }
    task_options |= _task_options(options)
    if options.replicas < 1:
        raise RequestError(f"--replicas {options.replicas}: must be at least 1")
    if not 0 <= options.checkpoint_seconds < float("inf"):
        raise RequestError(f"--checkpoint-seconds {options.checkpoint_seconds}: must be 0 or more")
    if options.grid:
        if given or task_options:
            raise RequestError("with --grid the run's configuration comes from the grid alone")
        runs = _runs_of_grid(options)
        places = Places(options.results / load_grid(options.grid).name)
    else:
        if options.keys:
            raise RequestError("--run names a run of a grid: give --grid too")
        base = resolve(given, {"task_options": task_options}, where="train")
        seeds = range(base.seed, base.seed + options.replicas)
        runs = [Run("train", base.model_copy(update={"seed": seed})) for seed in seeds]
        places = Places(options.results / "local")
        for run in runs if not options.force else []:
            _refuse_to_overwrite(places.record(run), run)
    records = train_runs(
        runs,
        places,
        device=options.device,
        force=options.force,
        checkpoint_seconds=options.checkpoint_seconds,
        wandb=options.wandb,
    )
    rows = []
    for run, record in zip(runs, records, strict=True):
        scores = record.absolute.raw[record.score] if record.absolute else None
        rows.append(
            {
                "record": str(places.record(run)),
                "status": record.status,
                record.score: sum(scores) / len(scores) if scores else None,
            }
        )
    if options.json:
        print(json.dumps(rows))
        return
    for row in rows:
        values = " ".join(
            f"{k}={v:.4g}" if isinstance(v, float) else str(v) for k, v in row.items()
        )
        print(values)


def _runs_of_grid(options: argparse.Namespace) -> list[Run]:
    runs = expand(load_grid(options.grid))
    if not options.keys:
        raise RequestError(f"--grid {options.grid}: give --run and one or more of its runs")
    if options.replicas != 1:
        raise RequestError("with --grid name every replica's run after --run, not --replicas")
    for key in options.keys:
        if key not in runs:
            raise RequestError(f"{options.grid}: no run '{key}'; {nearest(key, list(runs)[:20])}")
    return [runs[key] for key in options.keys]


def _refuse_to_overwrite(path: Path, run: Run) -> None:
    """Keep a finished run of another configuration under the same name.

    Raises:
        RequestError: naming what differs.
    """
    if not path.exists():
        return
    with contextlib.suppress(WorldError):
        old, new = read(path).config.model_dump(), run.config.model_dump()
        changed = ", ".join(f"{k} = {old[k]}" for k in old if old[k] != new[k])
        if changed:
            raise RequestError(f"{path} was made with {changed}: give --force or other --results")


def _task_options(options: argparse.Namespace) -> dict[str, Any]:
    """Read --task-option KEY=VALUE, given any number of times."""
    read = {}
    for pair in options.task_option:
        name, equals, value = pair.partition("=")
        if not equals:
            raise RequestError(f"--task-option {pair}: write KEY=VALUE")
        read[name] = _plain(value)
    return read


def _plain(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def _check_acting(options: argparse.Namespace) -> None:
    if options.agents is not None and options.agents < 1:
        raise RequestError(f"--agents {options.agents}: must be at least 1")
    if options.seed < 0:
        raise RequestError(f"--seed {options.seed}: must be 0 or more")
    if options.episodes < 1:
        raise RequestError(f"--episodes {options.episodes}: must be at least 1")


def _evaluate(options: argparse.Namespace) -> None:
    _check_acting(options)
    from bench.evaluate import evaluate
    from bench.policies import find_policy, load_policy
    from bench.random import Random

    path = find_policy(options.policy)
    task_options = _task_options(options)
    config, task, algorithm = load_policy(path, options.which, task_options, options.agents)
    random = Random.from_seeds([options.seed]).fold("re-evaluation")
    raw = evaluate(task, algorithm, random, options.episodes)
    means = {name: float(values.mean()) for name, values in sorted(raw.items())}
    if options.json:
        print(json.dumps({"method": config.method, "episodes": options.episodes, "mean": means}))
        return
    print(f"{config.method}, {options.episodes} greedy episodes of {task.horizon} steps, means:")
    for name, value in means.items():
        print(f"  {name:18} {value:10.4f}")


def _watch(options: argparse.Namespace) -> None:
    _check_acting(options)
    from bench.policies import find_policy, load_policy
    from bench.random import Random
    from bench.watch import watch

    path = find_policy(options.policy)
    task_options = _task_options(options)
    _, task, algorithm = load_policy(path, options.which, task_options, options.agents)
    random = Random.from_seeds([options.seed]).fold("watch")
    out = options.out or path.with_suffix("")
    for written in watch(task, algorithm.act, random, out, options.episodes):
        print(written)


def _methods(options: argparse.Namespace) -> None:
    sizes = _plain(options.agents), _plain(options.hidden)
    # What is wrong with a size is found before torch is imported.
    resolve({"agents": sizes[0], "hidden": sizes[1]}, where="methods")
    import torch

    from bench.costs import costs

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name, entry in load_methods().items():
        try:
            counted = costs(name, *sizes)
        except RequestError as error:
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
    _print_table(rows, options.json)


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: f"{v:.2f}" if isinstance(v, float) else v or "-" for k, v in row.items()}


def _tasks(options: argparse.Namespace) -> None:
    rows = []
    for name, path in registry.TASKS.items():
        row = {"task": name, "rewards": ", ".join(registry.REWARDS[name])}
        known = registry.TASK_OPTIONS.get(name)
        fields = registry.load(known).model_fields if known else ["the environment's own"]
        row |= {"options": ", ".join(fields), "samplers": ", ".join(registry.SAMPLERS)}
        # Where every agent sees the same: the best score of one policy for all that sees no ID.
        row |= {"one_policy": "-", "one_stochastic_policy": "-"}
        if hasattr(registry.load(path), "sharing_bound"):
            config = resolve({"task": name, "agents": _plain(options.agents)}, where="tasks")
            game = registry.load(path).from_config(config, None, "discrete")
            row["one_policy"] = f"{game.sharing_bound(stochastic=False):.4g}"
            row["one_stochastic_policy"] = f"{game.sharing_bound(stochastic=True):.4g}"
        rows.append(row)
    _print_table(rows, options.json)


def _check_method(options: argparse.Namespace) -> None:
    import torch

    from bench.conformance import candidates, examine

    torch.set_num_threads(1)
    rows, failed = [], []
    for name, entry in candidates(options.method).items():
        for check, wrong in examine(entry).items():
            rows.append({"method": name, "check": check, "result": wrong or "ok"})
            failed += [f"{check}: {wrong}"] if wrong else []
    _print_table(rows, options.json)
    if failed:
        count = f"{len(failed)} of {len(rows)} checks failed"
        raise WorldError(f"{options.method}: {count}, first {failed[0]}")


def _speed(options: argparse.Namespace) -> None:
    from bench.speed import run, show

    rows = run(options.quick, options.out, options.against, options.device)
    print(json.dumps(rows) if options.json else show(rows))


def _faults(options: argparse.Namespace) -> None:
    if options.injections < 1:
        raise RequestError(f"--injections {options.injections}: must be at least 1")
    from bench.faults import inject, page, rows

    table = rows(inject(options.injections, options.seed))
    if options.out:
        write_atomic(options.out, page(table).encode())
    _print_table(table, options.json)
    total = table[-1]
    if any(total[column] for column in ("runs lost", "records differing", "files left behind")):
        raise WorldError(
            f"{total['runs lost']} runs lost, {total['records differing']} records differing, "
            f"{total['files left behind']} files left behind"
        )


def _doctor(options: argparse.Namespace) -> None:
    from bench.doctor import examine, find_grid

    findings = examine(options.results, options.grid or find_grid(options.results))
    rows = [asdict(finding) for finding in findings]
    if rows or options.json:
        _print_table(rows, options.json)
    defects = sum(finding.kind != "diverged" for finding in findings)
    if defects:
        raise WorldError(f"{options.results}: {defects} defects")


def _verify(options: argparse.Namespace) -> None:
    if options.sample < 1:
        raise RequestError(f"--sample {options.sample}: must be at least 1")
    from bench.verify import draw, verify

    rows = []
    for path in draw(options.results, options.sample, options.seed):
        print(f"training again: {path}", file=sys.stderr)
        rows.append(asdict(verify(path)))
    _print_table(rows, options.json)
    differing = sum(row["verdict"] == "differs" for row in rows)
    if differing:
        raise WorldError(f"{options.results}: {differing} of {len(rows)} runs differ")


def _print_table(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows))
        return
    cells = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())


SHOWN = 12
"""Runs left out that a report names on the screen."""


def _report(options: argparse.Namespace) -> None:
    import importlib

    from bench.report.load import load

    results = load(options.grid, options.results)
    for problem in results.problems[:SHOWN]:
        print(f"hypercoop: {problem}", file=sys.stderr)
    if len(results.problems) > SHOWN:
        print(f"hypercoop: {results.notice()}; all in tables/problems.csv", file=sys.stderr)
    module = importlib.import_module(f"bench.report.{options.command}")
    for path in module.build(results, options.results / results.grid.name):
        print(path)


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "train": _train,
    "evaluate": _evaluate,
    "watch": _watch,
    "methods": _methods,
    "tasks": _tasks,
    "check-method": _check_method,
    "speed": _speed,
    "faults": _faults,
    "doctor": _doctor,
    "verify": _verify,
    **dict.fromkeys(("tables", "figures", "leaderboard", "paper", "crate"), _report),
}

if __name__ == "__main__":
    sys.exit(main())
