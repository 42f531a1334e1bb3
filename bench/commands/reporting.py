"""Reports: from records, and of the machine's speed."""

from __future__ import annotations

import argparse
import importlib
import json
import sys

from bench.arguments import RESULTS

SHOWN = 12
"""Lines on runs left out that a report writes to the screen."""


def report(options: argparse.Namespace) -> None:
    """Build one kind of report from the records of a grid."""
    from bench.report.load import gathered, load

    results = load(options.grid, options.results)
    wrong = gathered(results.problems)
    for line in list(wrong)[:SHOWN]:
        print(f"hypercoop: {line}", file=sys.stderr)
    if len(wrong) > SHOWN:
        print(f"hypercoop: {results.notice()}; all in tables/problems.csv", file=sys.stderr)
    module = importlib.import_module(f"bench.report.{options.command}")
    for path in module.build(results, options.results / results.grid.name):
        print(path)


def speed(options: argparse.Namespace) -> None:
    """Measure what training costs."""
    from bench.speed import run, show

    out = options.out or RESULTS / ("local/speed" if options.quick else "speed")
    rows = run(options.quick, out, options.against, options.device)
    print(json.dumps(rows) if options.json else show(rows))
