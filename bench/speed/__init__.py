"""The performance benchmark: where the time of training goes, and how near it is to its floor.

Nothing else imports this folder, and no number of a record depends on it.
"""

from __future__ import annotations

from bench.speed.report import show
from bench.speed.suite import run

__all__ = ["run", "show"]
