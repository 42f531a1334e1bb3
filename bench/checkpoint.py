"""Checkpoints: everything a run depends on, between episodes, in one safetensors file.

Written atomically; identified by the configurations and behaviour versions it belongs to; deleted
when the run's records are written.  Because random numbers are functions of (seed, purpose, step),
a checkpoint holds no generator states.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.config import RunConfig, behaviour
from bench.errors import WorldError

SHARE = 0.03
"""Largest share of a run's time that checkpoints may take."""
MIN_INTERVAL = 10.0
"""Least seconds between two checkpoints."""


class Checkpoint:
    """The one checkpoint file of a run.

    Args:
        path: where it lies.
        configs: the fleet that it belongs to.
        interval: least seconds between two checkpoints.
    """

    def __init__(
        self, path: Path, configs: Sequence[RunConfig], interval: float = MIN_INTERVAL
    ) -> None:
        self._path, self._least = path, interval
        identity = [[c.digest, behaviour(c)] for c in configs]
        self._identity = json.dumps(identity, sort_keys=True)
        self._interval, self._last = interval, time.monotonic()

    def due(self) -> bool:
        """Whether enough time has passed that one more costs no more than its share."""
        return time.monotonic() - self._last >= self._interval

    def write(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Replace the checkpoint.

        Raises:
            WorldError: if the disk refuses; the checkpoint before stays.
        """
        start = time.monotonic()
        temporary = self._path.with_name(f".tmp-{self._path.name}-{os.getpid()}")
        metadata = {"identity": self._identity, "header": json.dumps(header)}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            save_file(
                {name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata
            )
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        except (OSError, SafetensorError) as error:
            temporary.unlink(missing_ok=True)
            raise WorldError(f"cannot write checkpoint {self._path}: {error}") from error
        self._last = time.monotonic()
        self._interval = max(self._least, (self._last - start) / SHARE)

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the tensors and the header, or None if there is no usable checkpoint.

        One that is damaged, or of another configuration or behaviour version, is named on stderr
        and left out: the run then starts afresh.
        """
        if not self._path.exists():
            return None
        try:
            with safe_open(self._path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("identity") != self._identity:
                    raise ValueError("it belongs to another configuration or behaviour version")
                header = json.loads(metadata["header"])
                return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, KeyError, struct.error) as error:
            print(f"starting afresh: checkpoint {self._path}: {error}", file=sys.stderr)
            return None

    def delete(self) -> None:
        """Remove the checkpoint: the run is done."""
        self._path.unlink(missing_ok=True)
