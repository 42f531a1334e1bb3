"""Telling people how training goes: a bar on a terminal, plain lines elsewhere, wandb."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bench.config import RunConfig
from bench.errors import RequestError, WorldError
from bench.history import History


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


class Bar:
    """A progress bar with the time left, episodes per second and the current score.

    Args:
        config: the run.
        label: what the bar is called.
    """

    def __init__(self, config: RunConfig, label: str) -> None:
        self._bar = tqdm(total=config.episodes, unit=" episodes", desc=label, smoothing=0.05)

    def evaluated(self, history: History) -> None:
        """Show the newest greedy score."""
        name, value = _newest(history)
        self._bar.set_postfix_str(f"greedy {name} {value:.2f}", refresh=False)

    def advanced(self, episodes: int) -> None:
        """Move on."""
        self._bar.update(episodes - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


class Lines:
    """One line per evaluation, for logs.

    Args:
        config: the run.
        label: what the lines start with.
    """

    def __init__(self, config: RunConfig, label: str) -> None:
        self._episodes, self._label, self._start = config.episodes, label, time.monotonic()

    def evaluated(self, history: History) -> None:
        """Print the newest greedy score."""
        name, value = _newest(history)
        done = f"{self._label}: episode {history.episode[-1]} of {self._episodes}"
        seconds = time.monotonic() - self._start
        print(f"{done}, greedy {name} {value:.2f}, {seconds:.0f} s", file=sys.stderr, flush=True)

    def advanced(self, episodes: int) -> None:
        """Say nothing between evaluations."""

    def close(self) -> None:
        """Say nothing more."""


class Wandb:
    """Mirrors the curves to wandb, offline unless WANDB_MODE says otherwise; never read back.

    Args:
        config: the run; with a fleet, its first replica.
        folder: where wandb keeps its files.
        name: what the run is called there.

    Raises:
        RequestError: if wandb is not installed.
        WorldError: if wandb refuses, here or in any method.
    """

    def __init__(self, config: RunConfig, folder: Path, name: str) -> None:
        import os

        os.environ.setdefault("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        try:
            import wandb
        except ImportError as error:
            raise RequestError("--wandb needs wandb: pip install 'hypercoop[wandb]'") from error
        self._errors = wandb.Error
        folder.mkdir(parents=True, exist_ok=True)
        with self._asking():
            self._run: Any = wandb.init(
                project="hypercoop",
                name=name,
                id=f"{config.digest}",
                resume="allow",
                dir=folder,
                config=config.model_dump(mode="json"),
            )

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise WorldError(f"wandb: {error}; nothing trained is lost") from error

    def evaluated(self, history: History) -> None:
        """Log the newest point, averaged over the replicas."""
        point = {f"evaluation/{k}": _mean(v[-1]) for k, v in history.mean.items()}
        point |= {f"training/{k}": _mean(v[-1]) for k, v in history.training.items()}
        with self._asking():
            self._run.log({**point, "updates": history.updates[-1]}, step=history.episode[-1])

    def advanced(self, episodes: int) -> None:
        """Log nothing between evaluations."""

    def close(self) -> None:
        """Close the mirror."""
        with self._asking():
            self._run.finish()


def _newest(history: History) -> tuple[str, float]:
    """Return the name and the mean over replicas of the newest score."""
    return history.score, _mean(history.mean[history.score][-1])
