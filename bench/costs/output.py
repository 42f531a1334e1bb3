"""What the methods cost, as files: for the paper, and for whoever wants to draw it otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.costs import draw, growth
from bench.files import write_all
from bench.report.formats import to_csv
from bench.report.style import drawn

SCHEMA = 1
"""Version of the layout of methods.json."""


def write(rows: Sequence[dict[str, Any]], at: Mapping[str, Any], out_dir: Path) -> list[Path]:
    """Write methods.json, growth.csv, growth.svg and growth.png; return their paths.

    Args:
        rows: the methods at one size, as `hypercoop methods` prints them.
        at: that size, `agents` and `hidden`.
        out_dir: where.

    Raises:
        WorldError: if the disk refuses.
    """
    whole = {
        "schema_version": SCHEMA,
        "at": dict(at),
        "methods": list(rows),
        "growth": growth.summary(),
        "slopes": growth.slopes(),
    }
    files = {
        "methods.json": json.dumps(whole, indent=1).encode() + b"\n",
        "growth.csv": to_csv(growth.points()).encode(),
        **drawn("growth", draw.costs),
    }
    return write_all(out_dir, files)
