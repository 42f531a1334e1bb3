"""One of each defect is planted in a folder of records: each is found, and nothing else is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from bench import doctor, places, records
from bench.checkpoint import Checkpoint
from bench.cli import main
from bench.config import RunConfig
from bench.places import Places

ROOT = Path(__file__).parents[1]
GRID = ROOT / "config" / "demo.yaml"
CELL = "figure4/ps-maddpg/group-goal-prioritized/n2"


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a record as somebody would who also puts the checksum right."""
    values = json.loads(path.read_text()) | {"schema_version": records.SCHEMA}
    change(values)
    path.write_text(records.sealed(values))


def another_gamma(values: dict[str, Any]) -> None:
    values["config"]["gamma"] = 0.5
    values["config_hash"] = RunConfig(**values["config"]).digest


def diverge(values: dict[str, Any]) -> None:
    values.update(status="diverged", reason="NaN at 7", final=None, absolute=None)


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "results" / "demo" / "runs", tmp_path / "demo" / "runs")
    return tmp_path / "demo"


def test_a_sound_folder_has_no_finding(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.examine(demo, GRID) == []
    assert main(["doctor", str(demo)]) == 0
    assert capsys.readouterr().out.endswith(
        "every run has its record, and nothing is wrong with any\n"
    )
    assert main(["doctor", str(demo), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_each_planted_defect_is_found_and_nothing_else(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = demo / "runs"
    keys = [p.relative_to(runs).with_suffix("").as_posix() for p in sorted(runs.rglob("*.json"))]
    cell = [key for key in keys if key.startswith("figure4")]
    files = {key: runs / f"{key}.json" for key in keys}
    planted: dict[str, str] = {}

    def plant(kind: str) -> Path:
        planted[key := cell.pop(0)] = kind
        return files[key]

    plant("missing").unlink()
    failed = plant("failed")
    failed.unlink()
    log = demo / "logs" / failed.relative_to(runs).with_suffix(".log")
    log.parent.mkdir(parents=True)
    log.write_text("figure4: episode 0\nhypercoop: error: out of memory\n")
    path = plant("invalid")
    path.write_bytes(path.read_bytes()[:1000])
    edit(plant("stale"), another_gamma)
    edit(plant("stale"), lambda v: v["behaviour"].update(loop="bench.train:train@1"))
    edit(plant("dirty"), lambda v: v["provenance"].update(dirty=True))
    edit(plant("diverged"), diverge)
    path = plant("duplicated")
    shutil.copy(files[cell[-1]], path)
    extra = files[cell[-1]].with_name("seed99.json")
    planted[extra.relative_to(runs).with_suffix("").as_posix()] = "unexpected"
    shutil.copy(files[cell[-1]], extra)

    def another_seed(values: dict[str, Any]) -> None:
        values["config"]["seed"] = 99
        values["config_hash"] = RunConfig(**values["config"]).digest

    edit(extra, another_seed)
    (files[cell[-1]].parent / ".tmp-seed0.json-xyz").write_text("{")  # of a killed writer
    assert set(planted.values()) == set(get_args(doctor.Kind)) == doctor.REMEDIES.keys()
    assert {f.run: f.kind for f in doctor.examine(demo, GRID)} == planted
    assert len(doctor.examine(demo, GRID)) == len(planted)
    assert main(["doctor", str(demo), f"--grid={GRID}", "--json"]) == 1
    said = capsys.readouterr()
    assert {row["run"]: row["kind"] for row in json.loads(said.out)} == planted
    assert said.err == f"hypercoop: error: {demo}: 1 missing and {len(planted) - 2} defective\n"
    assert main(["doctor", str(demo), f"--grid={GRID}"]) == 1
    last = capsys.readouterr().out.splitlines()[-len(doctor.REMEDIES) :]
    assert last == [f"{kind}: {remedy}" for kind, remedy in doctor.REMEDIES.items()]


@pytest.mark.parametrize("ending", ["", ".before"])
def test_of_a_run_that_has_begun_it_is_said_how_far(ending: str, demo: Path) -> None:
    """By the checkpoint before the newest, too, if a damaged one left no other."""
    key = f"{CELL}/seed0"
    path = demo / "runs" / f"{key}.json"
    config = records.read(path).config
    path.unlink()
    begun = Checkpoint(Places(demo).checkpoint([key]), [config], keys=[key])
    begun.write({"x": torch.zeros(1)}, {"group": 3})
    written = Places(demo).checkpoint([key])
    written.rename(f"{written}{ending}")
    (found,) = doctor.examine(demo, GRID)
    assert (found.run, found.kind) == (key, "missing")
    assert f"{3 * config.parallel:,} of {config.episodes:,} episodes are in " in found.reason


def test_a_diverged_run_alone_is_listed_and_no_defect(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(next((demo / "runs" / CELL).glob("*.json")), diverge)
    assert main(["doctor", str(demo)]) == 0
    assert "NaN at 7" in capsys.readouterr().out


def test_an_experiment_may_be_called_runs(tmp_path: Path) -> None:
    """Its folders are not taken for grids."""
    (tmp_path / "demo" / "runs" / "runs").mkdir(parents=True)
    assert places.find_grid(tmp_path / "demo").name == "demo.yaml"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["doctor", "nowhere", f"--grid={GRID}"], "nowhere is not a folder"),
        (["doctor", "nowhere"], "nowhere is not a folder"),
        (["doctor", "results"], "name one of them, such as results/beyond"),
        (["doctor", "results/speed"], "name it with --grid"),
        (["doctor", "results/demo/runs", f"--grid={GRID}"], "holds it, results/demo"),
        (["doctor", "results/demo", "--grid=config/quick.yaml"], "none of its 22 records is of"),
        (["verify", "nowhere"], "nowhere is not a folder"),
        (["verify", "docs"], "docs: no record below it"),
        (["verify", "results/demo", "--sample=0"], "at least 1"),
    ],
)
def test_a_wrong_request_is_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
