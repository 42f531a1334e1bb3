"""What is wrong with a folder of records, run by run: nothing here trains or repairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench import checkpoint_files, records
from bench.errors import RequestError, WorldError
from bench.grid import Run, expand, load_grid
from bench.places import Places
from bench.staleness import changed

Kind = Literal[
    "missing",  # the grid asks for the run, and there is no record
    "failed",  # the same, and the run's log ends in an error
    "invalid",  # truncated, damaged, or not a record
    "stale",  # made with another configuration than the grid's, or by another behaviour version
    "duplicated",  # the record of another run of the grid
    "unexpected",  # the grid has no such run
    "dirty",  # made from a checkout with uncommitted changes
    "diverged",  # a sound record of a run that met a NaN or infinity: a result, and no defect
]

REMEDIES: Mapping[Kind, str] = {
    "missing": "train it, as `snakemake` or `hypercoop train --grid GRID --run RUN` does",
    "failed": "its log, of the same name below logs/, says why; then train it",
    "invalid": "delete the record, and the run is trained anew",
    "stale": "delete the record, and the run is trained anew",
    "duplicated": "delete the record, and the run is trained anew",
    "unexpected": "delete the record, or ask for the run in the grid",
    "dirty": "commit what it was made by, and train it with --force",
    "diverged": "nothing to mend: every table and figure says so",
}


@dataclass(frozen=True)
class Finding:
    """One thing about one run."""

    run: str
    """Its path below runs/, without an ending."""
    kind: Kind
    reason: str


def examine(results: Path, grid: Path) -> list[Finding]:
    """Find all that is wrong with the records of a grid.

    Args:
        results: the folder that holds `runs/`.
        grid: the grid file.

    Raises:
        RequestError: if there is no such folder, the grid file is wrong, or the records are not of
            its runs.
    """
    if not results.is_dir():
        raise RequestError(f"{results} is not a folder of results")
    if results.name == "runs" and not (results / "runs").is_dir():
        raise RequestError(f"{results}: name the folder that holds it, {results.parent}")
    asked = load_grid(grid)
    expected = expand(asked)
    # Of an experiment's runs no two have the same configuration.
    owners = {(run.experiment, run.config.digest): key for key, run in expected.items()}
    runs = results / "runs"
    there = {p.relative_to(runs).with_suffix("").as_posix(): p for p in runs.rglob("*.json")}
    findings = [
        finding
        for key, path in sorted(there.items())
        for finding in _examine_record(key, path, expected.get(key), owners)
    ]
    foreign = {found.run for found in findings if found.kind in ("stale", "unexpected")}
    if there and foreign == there.keys() and results.name != asked.name:
        raise RequestError(
            f"{results}: none of its {len(there)} records is of a run of {grid}, whose results lie "
            f"in results/{asked.name}; name the grid that they were made for by --grid"
        )
    begun = _begun(results, expected)
    return findings + [_absent(key, results, begun) for key in expected if key not in there]


def _begun(results: Path, expected: Mapping[str, Run]) -> dict[str, str]:
    """Say how far the checkpoints of runs are, by key."""
    found = {}
    for path in checkpoint_files.below(results / "checkpoints"):
        told = checkpoint_files.metadata(path)
        for key in told.get("keys", []):
            if key in expected:
                config = expected[key].config
                done = told["header"]["group"] * config.parallel
                found[key] = f"{done:,} of {config.episodes:,} episodes are in {path}"
    return found


def _examine_record(
    key: str, path: Path, run: Run | None, owners: Mapping[tuple[str, str], str]
) -> Iterator[Finding]:
    try:
        record = records.read(path)
    except WorldError as error:
        yield Finding(key, "invalid", str(error).replace(str(path), path.name))
        return
    owner = owners.get((key.partition("/")[0], record.config_hash))
    if owner not in (None, key):
        yield Finding(key, "duplicated", f"it is the record of {owner}")
    elif run is None:
        yield Finding(key, "unexpected", "the grid has no such run")
    elif reason := changed(record, run):
        yield Finding(key, "stale", reason)
    if record.provenance.get("dirty"):
        commit = record.provenance.get("commit")
        yield Finding(key, "dirty", f"made with uncommitted changes to commit {commit}")
    if record.status == "diverged":
        yield Finding(key, "diverged", record.reason or "no reason recorded")


def _absent(key: str, results: Path, begun: Mapping[str, str]) -> Finding:
    try:
        log = Places(results).log(key).read_text(encoding="utf-8", errors="replace")
    except OSError:
        log = ""
    last = (log.splitlines() or [""])[-1]
    if "error: " in last.lower():
        return Finding(key, "failed", last[:300])
    return Finding(key, "missing", begun.get(key, "no record"))
