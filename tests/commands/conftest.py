"""A tiny run, trained once for each file."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import FAST

from bench.cli import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a tiny run."""
    folder = tmp_path_factory.mktemp("results")
    assert main(["train", *FAST, f"--results={folder}"]) == 0
    (path,) = (folder / "local" / "runs").rglob("*.json")
    return path
