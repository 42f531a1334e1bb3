"""Shared by all tests: one thread, and torch's own generator seeded."""

from __future__ import annotations

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Tests that draw from torch's own generator draw the same every time."""
    torch.manual_seed(0)
