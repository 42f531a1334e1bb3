"""Fault injection: does a run that was struck end in the record that it would have made anyway?

Small runs are trained by the command line, each in a process of its own, struck at a random point,
and given the same command again.  What counts is the deterministic part of the record, and the
saved policies, to the bit.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import WorldError
from bench.faults.kinds import KINDS
from bench.faults.lab import RUNS, Ending, Lab

ATTEMPTS = 50
"""Tries to strike before a run has ended; a slow machine may miss some."""


@dataclass(frozen=True)
class Injection:
    """One fault, and how the run went on."""

    kind: str
    ending: Ending


def inject(count: int, seed: int) -> list[Injection]:
    """Strike so many small runs, each kind of fault in its turn.

    Raises:
        WorldError: if the machine cannot train an uninterrupted run.
    """
    draw = random.Random(seed)
    names = list(KINDS)
    injections = []
    with tempfile.TemporaryDirectory(prefix="hypercoop-faults-") as folder:
        labs: dict[int, Lab] = {}
        for number in range(count):
            kind, place = names[number % len(names)], number // len(names) % len(RUNS)
            if place not in labs:
                labs[place] = Lab(Path(folder) / str(place), RUNS[place])
            lab = labs[place]
            print(f"{number + 1} of {count}: {kind}", file=sys.stderr, flush=True)
            injections.append(Injection(kind, _strike(lab, kind, draw)))
    return injections


def _strike(lab: Lab, kind: str, draw: random.Random) -> Ending:
    for _ in range(ATTEMPTS):
        shutil.rmtree(lab.results, ignore_errors=True)
        if KINDS[kind](lab, draw):
            return lab.finish()
    raise WorldError(f"no run was struck in {ATTEMPTS} tries: {kind}")


def rows(injections: Sequence[Injection]) -> list[dict[str, str | int]]:
    """Count what became of the runs, by kind of fault, and in all."""
    table: list[dict[str, str | int]] = []
    for kind in (*KINDS, "all"):
        endings = [each.ending for each in injections if kind in (each.kind, "all")]
        went_on = Counter(ending.went_on for ending in endings)
        table.append(
            {
                "fault": kind,
                "injections": len(endings),
                "from a checkpoint": went_on["checkpoint"],
                "from the one before": went_on["before"],
                "from the start": went_on["start"],
                "was done": went_on["done"],
                "runs lost": sum(ending.lost for ending in endings),
                "records differing": sum(ending.differs for ending in endings),
                "files left behind": sum(len(ending.left) for ending in endings),
            }
        )
    return table


def page(table: Sequence[dict[str, str | int]]) -> str:
    """Write the table and what its kinds are as Markdown."""
    lines = [
        "# Faults survived",
        "",
        "<!-- Written by `hypercoop faults --out`; do not edit. -->",
        "",
        "What `hypercoop faults` found: small runs, struck at a random point and then given the",
        "same command again.  A record differs if a bit of its deterministic part, or of the saved",
        "policies, is another than after an uninterrupted run.",
        "",
        "| " + " | ".join(table[0]) + " |",
        "|---" * len(table[0]) + "|",
        *("| " + " | ".join(map(str, row.values())) + " |" for row in table),
        "",
        *(
            f"- **{name}**: {' '.join((kind.__doc__ or '').split())}"
            for name, kind in KINDS.items()
        ),
        "",
        "Runs were, one after the other:",
        "",
        *(f"    hypercoop train {' '.join(flags)}" for flags in RUNS),
    ]
    return "\n".join(lines) + "\n"
