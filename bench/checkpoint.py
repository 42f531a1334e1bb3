"""Checkpoints: everything a run depends on, between episodes, in one safetensors file.

Written atomically and with a checksum; identified by the configurations, behaviour versions, code
and torch that it belongs to; deleted when the run's records are written.  The one before is kept
until then, for the case that the newest is damaged, so a run never holds more than two, and a third
while it is being written.  Because random numbers are functions of (seed, purpose, step), a
checkpoint holds no generator states.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.checkpoint_files import MIN_INTERVAL, files, remove
from bench.config import RunConfig, behaviour, outside_digest
from bench.errors import WorldError
from bench.files import sync_folder
from bench.provenance import code_digest

FORMAT = "2"
"""Version of the file's layout.  2: with a checksum, and the code it was made by."""
SHARE = 0.03
"""Largest share of a run's time that checkpoints may take."""


class Checkpoint:
    """The newest checkpoint of a run, and the one before.

    Args:
        path: where the newest lies; the one before has `.before` behind its name.
        configs: the fleet that it belongs to.
        interval: least seconds between two checkpoints.
        keys: the names of the fleet's runs, which it says of itself.
    """

    def __init__(
        self,
        path: Path,
        configs: Sequence[RunConfig],
        interval: float = MIN_INTERVAL,
        keys: Sequence[str] = (),
    ) -> None:
        self._interval, self._keys = interval, keys
        self._path, self._before, self._temporary = files(path)
        runs = [[c.digest, behaviour(c)] for c in configs]
        identity = [FORMAT, runs, code_digest(), outside_digest(configs), torch.__version__]
        self._identity = json.dumps(identity, sort_keys=True)
        self._started = self._last = time.monotonic()
        self._spent = self._cost = 0.0

    def usable(self) -> bool:
        """Whether one is there and belongs to this fleet, code and torch; it is not read."""
        for path in (self._path, self._before):
            with contextlib.suppress(SafetensorError, OSError), safe_open(path, "pt") as file:
                return self._belongs(file.metadata())
        return False

    def _belongs(self, metadata: Mapping[str, str] | None) -> bool:
        return (metadata or {}).get("identity") == self._identity

    def due(self) -> bool:
        """Whether enough time has passed that one more costs no more than its share.

        The replay fills, so the next may cost more than the last: twice as much is allowed for.
        """
        now = time.monotonic()
        affordable = self._spent + 2 * self._cost <= SHARE * (now - self._started)
        return affordable and now - self._last >= self._interval

    def write(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Replace the one before by the newest, and the newest by this.

        Raises:
            WorldError: if the disk refuses; the newest stays.
        """
        start = time.monotonic()
        tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        metadata = {"identity": self._identity, "header": json.dumps(header)}
        metadata["keys"] = json.dumps(self._keys)
        metadata["checksum"] = _checksum(tensors, metadata["header"])
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.unlink(missing_ok=True)  # a link there must not be followed
            save_file(tensors, self._temporary, metadata)
            with open(self._temporary, "rb+") as file:
                os.fsync(file.fileno())
            if self._path.exists():
                os.replace(self._path, self._before)
            os.replace(self._temporary, self._path)
            sync_folder(self._path.parent)
        except (OSError, SafetensorError) as error:
            self._temporary.unlink(missing_ok=True)
            raise WorldError(f"cannot write checkpoint {self._path}: {error}") from error
        self._last = time.monotonic()
        self._cost = self._last - start
        self._spent += self._cost

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the tensors and the header, or None if there is no usable checkpoint.

        One that is damaged, or belongs to something else, is named on stderr and removed: the run
        then goes on from the one before, or starts afresh.
        """
        named = False
        for path in (self._path, self._before):
            if not path.exists():
                continue
            try:
                found = self._read(path)
            except (SafetensorError, OSError, ValueError, KeyError, struct.error) as error:
                print(f"checkpoint {path} is left out: {error}", file=sys.stderr)
                path.unlink()  # else the next write would keep it instead of a sound one
                named = True
                continue
            if named:
                print(f"going on from the checkpoint before, {path}", file=sys.stderr)
            return found
        if named:
            print(f"starting afresh: no checkpoint of {self._path} is usable", file=sys.stderr)
        return None

    def _read(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if not self._belongs(metadata):
                raise ValueError(
                    "it belongs to another configuration, behaviour version, code or torch"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata["checksum"] != _checksum(tensors, metadata["header"]):
            raise ValueError("it is damaged: its checksum does not match")
        return tensors, json.loads(metadata["header"])

    def delete(self) -> None:
        """Remove both checkpoints: the run is done."""
        remove(self._path)


def _checksum(tensors: Mapping[str, Tensor], header: str) -> str:
    """Hash names, types, shapes and numbers of the tensors, and the header."""
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
