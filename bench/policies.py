"""Saved policies: safetensors with the run's configuration, never pickle."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from bench import records
from bench.config import RunConfig
from bench.errors import RequestError, WorldError
from bench.files import write_atomic
from bench.interfaces import Algorithm, Task
from bench.methods import method_entry
from bench.places import find_grid
from bench.staleness import changed_behaviour, changed_settings
from bench.team import Team
from bench.validation import validate


def save_policy(path: Path, config: RunConfig, policy: Mapping[str, Tensor]) -> None:
    """Write the best and the final policy of a run.

    Args:
        path: ends in .safetensors.
        config: the run.
        policy: `best.*` and `final.*`, each [...].

    Raises:
        WorldError: if the disk refuses.
    """
    metadata = {"config": json.dumps(config.model_dump(mode="json"), sort_keys=True)}
    write_atomic(path, save({k: v.contiguous() for k, v in policy.items()}, metadata))


def load_policy(
    run: Path,
    which: str = "best",
    task_options: Mapping[str, Any] | None = None,
    agents: int | None = None,
) -> tuple[RunConfig, Task, Algorithm]:
    """Rebuild the task and the acting half of a saved policy, as one replica.

    Of a run named by its record, the record is read, too, and has to be of the policy's run; where
    other behaviour versions made it, a line on stderr says so.

    Args:
        run: its policy or its record.
        which: `best` or `final`.
        task_options: other options of the task than it was trained with, such as a held-out split.
        agents: how many are to act, if not as many as it was trained with.

    Raises:
        WorldError: if a file is missing or damaged, the policy is not finite or does not fit its
            configuration, or the record is another run's.
        RequestError: if `run` is neither a policy nor a record, its method no longer exists or
            learns nothing, the task has no such option, or the policy's weights are for another
            number of agents.
    """
    path = find_policy(run)
    record = None if path == run else records.read(run)
    if record is not None and method_entry(record.config.method).scheme is None:
        raise RequestError(f"{run}: '{record.config.method}' learns nothing and saves no policy")
    try:
        with safe_open(path, framework="pt") as file:
            values = json.loads((file.metadata() or {})["config"])
            names = [name for name in file.keys() if name.startswith(f"{which}.")]  # noqa: SIM118
            tensors = {n.removeprefix(f"{which}."): file.get_tensor(n)[None] for n in names}
    except FileNotFoundError as error:
        raise WorldError(
            f"no policy at {path}: records are kept without; train the run anew{_how(path)}"
        ) from error
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError) as error:
        raise WorldError(f"policy {path} is unreadable: {error}") from error
    config = validate(RunConfig, values, f"policy {path}")
    if record is not None and (reason := changed_settings(record, config, "its policy")):
        raise WorldError(f"record {run} is not of its policy's run: {reason}")
    options = {**config.task_options, **(task_options or {})}
    team = Team([config.model_copy(update={"task_options": options})], torch.device("cpu"))
    wanted = {name: tensor.shape for name, tensor in team.algorithm.policy.items()}
    if wanted != {name: tensor.shape for name, tensor in tensors.items()}:
        raise WorldError(f"policy {path} does not fit method '{config.method}'")
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise WorldError(f"policy {path} holds a NaN or infinity: its run diverged")
    if record is not None and (reason := changed_behaviour(record, config)):
        print(f"{run} was {reason}: it may not act as recorded", file=sys.stderr)
    team.algorithm.load_policy(tensors)
    if agents not in (None, config.agents):
        team = team.resized(agents)
    return team.config, team.task, team.algorithm


def _how(policy: Path) -> str:
    """Say how a run is trained anew, where its record stays as it is if its grid is known."""
    for folder in policy.parents:
        if folder.name == "policies":
            with contextlib.suppress(RequestError):
                grid = str(find_grid(folder.parent))
                key = policy.relative_to(folder).with_suffix("").as_posix()
                how = ["--grid", grid, "--run", key, "--results", "results/local", "--force"]
                return f": {shlex.join(['hypercoop', 'train', *how])}"
    return " with --force"


def find_policy(run: Path) -> Path:
    """Return the policy of a run named by its policy or by its record.

    Raises:
        RequestError: if the name is neither.
    """
    if run.suffix == ".safetensors":
        return run
    parts = list(run.parts)
    if run.suffix == ".json" and "runs" in parts:
        at = len(parts) - 1 - parts[::-1].index("runs")
        parts[at] = "policies"
        return Path(*parts).with_suffix(".safetensors")
    if not run.exists():
        raise RequestError(f"'{run}' does not exist: name a record (results/.../runs/.../*.json)")
    raise RequestError(f"'{run}' is neither a policy (.safetensors) nor a record (runs/.../*.json)")
