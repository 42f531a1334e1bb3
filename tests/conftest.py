"""Shared by all tests: one thread, torch's own generator seeded, and the record of a tiny run."""

from __future__ import annotations

import pytest
import torch
from small import tiny

from bench.records import Record
from bench.train import train

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Tests that draw from torch's own generator draw the same every time."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def record() -> Record:
    """The record of a tiny run."""
    return train([tiny()], torch.device("cpu"))[0].record
