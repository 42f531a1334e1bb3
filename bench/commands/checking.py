"""Checks, which fail where something is wrong."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from bench.commands.output import print_table
from bench.errors import RequestError, WorldError
from bench.files import write_atomic
from bench.places import by_cell


def check_method(options: argparse.Namespace) -> None:
    """Check a method of the table or from outside."""
    from bench.conformance import candidates, examine
    from bench.device import settle_cpu

    settle_cpu()
    rows, summary = [], []
    failed: dict[str, list[str]] = {}
    for name, entry in candidates(options.method).items():
        found = examine(entry, thorough=True)
        wrong = [f"{check}: {result}" for check, result in found.items() if result]
        rows += [{"method": name, "check": c, "result": r or "ok"} for c, r in found.items()]
        summary.append({"method": name, "checks": len(found), "failed": len(wrong)})
        for what in wrong:
            failed.setdefault(what, []).append(name)
    print_table(rows if options.json else summary, options.json)
    if failed:
        # What is wrong under many algorithms is said once.
        lines = [
            f"{names[0]}: {what}"
            + (f" (and so under {len(names)} of {len(summary)})" if len(names) > 1 else "")
            for what, names in failed.items()
        ]
        if not options.json:
            print(*lines, sep="\n")
        count = f"{sum(map(len, failed.values()))} of {len(rows)} checks failed"
        raise WorldError(f"{options.method}: {count}, first {lines[0]}")


def faults(options: argparse.Namespace) -> None:
    """Strike small runs, and count what became of them."""
    if options.injections < 1:
        raise RequestError(f"--injections {options.injections}: must be at least 1")
    _check_seed(options.seed)
    from bench.faults import inject, page, rows

    table = rows(inject(options.injections, options.seed))
    if options.out:
        write_atomic(options.out, page(table).encode())
    print_table(table, options.json)
    total = table[-1]
    if any(total[column] for column in ("runs lost", "records differing", "files left behind")):
        raise WorldError(
            f"{total['runs lost']} runs lost, {total['records differing']} records differing, "
            f"{total['files left behind']} files left behind"
        )


def doctor(options: argparse.Namespace) -> None:
    """Say what is wrong with a folder of records."""
    from bench.doctor import REMEDIES, examine
    from bench.places import find_grid

    findings = examine(options.results, options.grid or find_grid(options.results))
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings]))
    else:
        for runs, what, _ in by_cell((f.run, f"{f.kind}: {f.reason}") for f in findings):
            print(f"{runs}: {what}")
        kinds = {finding.kind for finding in findings}
        for kind, remedy in REMEDIES.items():
            if kind in kinds:
                print(f"{kind}: {remedy}")
    missing = sum(finding.kind == "missing" for finding in findings)
    defects = sum(finding.kind not in ("diverged", "missing") for finding in findings)
    counts = {"missing": missing, "defective": defects}
    if missing or defects:
        parts = " and ".join(f"{count} {what}" for what, count in counts.items() if count)
        raise WorldError(f"{options.results}: {parts}")
    if not options.json:
        print(f"{options.results}: every run has its record, and nothing is wrong with any")


def verify(options: argparse.Namespace) -> None:
    """Train recorded runs again, and compare."""
    if options.sample < 1:
        raise RequestError(f"--sample {options.sample}: must be at least 1")
    _check_seed(options.seed)
    from bench.verify import draw, verify

    drawn = draw(options.results, options.sample, options.seed)
    if drawn.outdated:
        print(f"of other code, and left out: {drawn.outdated} records", file=sys.stderr)
    for what in drawn.damaged:
        print(f"damaged, and left out: {what}", file=sys.stderr)
    rows: list[dict[str, Any]] = []
    try:
        for path in drawn.paths:
            print(f"training again: {path}", file=sys.stderr)
            rows.append(asdict(verify(path)))
    finally:
        if rows:
            print_table(rows, options.json)
    differing = sum(row["verdict"] == "differs" for row in rows)
    if differing or drawn.damaged:
        raise WorldError(
            f"{options.results}: {differing} of {len(rows)} runs differ, and {len(drawn.damaged)} "
            "records cannot be read"
        )


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise RequestError(f"--seed {seed}: must be 0 or more")
