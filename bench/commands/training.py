"""Training runs."""

from __future__ import annotations

import argparse
import difflib
import json

from bench.arguments import plain, read_task_options
from bench.config import RunConfig, refuse_idle, resolve
from bench.errors import RequestError
from bench.grid import Run, expand, load_grid
from bench.places import Places
from bench.runner import Job, train_runs
from bench.tasks.options import CoopNavOptions
from bench.validation import validate


def train(options: argparse.Namespace) -> None:
    """Train one run or fleet, and name the records."""
    given = {
        name: value if field.annotation is str else plain(value)
        for name, field in RunConfig.model_fields.items()
        if (value := getattr(options, name, None)) is not None
    }
    task_options = {
        name: plain(value)
        for name in CoopNavOptions.model_fields
        if (value := getattr(options, name, None)) is not None
    }
    task_options |= read_task_options(options)
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
        refuse_idle(base, given, "train")
        seeds = range(base.seed, base.seed + options.replicas)
        validate(RunConfig, {"seed": seeds[-1]}, f"train --replicas {options.replicas}")
        task = base.task.replace(":", ".")  # or the next task would meet this one's records
        runs = [Run(task, base.model_copy(update={"seed": seed})) for seed in seeds]
        places = Places(options.results / "local")
    job = Job(
        places,
        device=options.device,
        compiled=options.compile,
        overwrite="any" if options.force else "outdated" if options.grid else "stale",
        checkpoint_seconds=options.checkpoint_seconds,
        wandb=options.wandb,
    )
    records = train_runs(runs, job)
    rows = []
    for run, record in zip(runs, records, strict=True):
        scores = record.scored.raw[record.score] if record.scored else None
        row = {
            "record": str(places.record(run.key)),
            "status": record.status,
            record.score: sum(scores) / len(scores) if scores else None,
        }
        rows.append({**row, "reason": record.reason} if record.reason else row)
    if options.json:
        print(json.dumps(rows))
        return
    for row in rows:
        values = " ".join(
            f"{k}={v:.4g}" if isinstance(v, float) else str(v)
            for k, v in row.items()
            if v is not None
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
            close = difflib.get_close_matches(key, list(runs), n=3, cutoff=0)
            raise RequestError(
                f"{options.grid}: no run '{key}' among its {len(runs)}; nearest: {', '.join(close)}"
            )
    return [runs[key] for key in options.keys]
