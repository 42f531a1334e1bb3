"""Shared by all tests: one thread, torch's own generator seeded, and a tiny run."""

from __future__ import annotations

import pytest
import torch
from small import tiny

from bench.outcome import Outcome
from bench.records import Record
from bench.train import train

torch.set_num_threads(1)

LONGEST = ("test_slurm", "test_growth", "test_workflow", "test_fleet", "test_faults", "test_speed")
"""Files that take a minute or more."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Tests that draw from torch's own generator draw the same every time."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def outcome() -> Outcome:
    """What a tiny run leaves behind."""
    return train([tiny()], torch.device("cpu"))[0]


@pytest.fixture(scope="session")
def record(outcome: Outcome) -> Record:
    """The record of a tiny run."""
    return outcome.record
