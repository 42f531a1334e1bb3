"""The whole line: from a grid to the paper by Snakemake, killed on the way and started again."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "rules", "config", "profiles", "paper", "bench", "baselines", "CITATION.cff")
GRID = {
    "name": "tiny",
    "title": "A tiny grid",
    "defaults": {
        "task_options": {"dynamics": "first-order", "radius": 0.3},
        **{"episodes": 400, "parallel": 20, "steps_per_update": 10, "batch": 32},
        **{"hidden": [16, 16], "evaluations": 4, "absolute_episodes": 20},
    },
    "experiments": {
        "references": {
            "question": "?",
            "methods": ["oracle", "random"],
            "agents": [2],
            "seeds": [0],
        },
        "figure4": {
            "question": "?",
            "methods": ["ps-maddpg"],
            "rewards": ["group-goal", "summed-individual"],
            "samplers": ["uniform", "prioritized"],
            "agents": [2],
            "seeds": [0],
        },
    },
}
REPORTS = (
    *("tables/final.csv", "figures/figure4.svg", "figures/figure4.png"),
    *("leaderboard/index.html", "paper.pdf", "values.json", "ro-crate-metadata.json"),
)


class Sandbox:
    """A copy of the workflow with a tiny grid, so that nothing is written to the checkout.

    Args:
        folder: where.
        grid: the grid, named tiny.
        inside: words before each command, such as those that enter a cluster.
    """

    def __init__(
        self, folder: Path, grid: dict[str, Any] = GRID, inside: Sequence[str] = ()
    ) -> None:
        self.folder, self.inside = folder, inside
        folder.mkdir()
        for part in PARTS:
            source = ROOT / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)
        (folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(grid))
        self.results = folder / "results" / "tiny"

    def command(self, *more: str) -> dict[str, Any]:
        words = ["-m", "snakemake", "--configfile", "config/tiny.yaml", "--cores", "2", *more]
        return {
            "args": [*self.inside, sys.executable, *words],
            "cwd": self.folder,
            "env": {**os.environ, "PYTHONPATH": str(self.folder)},
            "text": True,
        }

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(**self.command(*more), capture_output=True)
        assert done.returncode == 0, done.stderr
        return done

    def records(self) -> dict[str, Path]:
        runs = self.results / "runs"
        found = [p for p in runs.rglob("*.json") if not p.name.startswith(".tmp")]
        return {str(path.relative_to(runs)): path for path in found}

    def deterministic(self) -> dict[str, Any]:
        found = {}
        for name, path in self.records().items():
            found[name] = json.loads(path.read_text())
            del found[name]["provenance"]
        return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A sandbox whose grid has run through."""
    sandbox = Sandbox(tmp_path_factory.mktemp("workflow") / "whole")
    sandbox.run()
    return sandbox


def test_one_command_builds_everything(whole: Sandbox) -> None:
    assert len(whole.records()) == 6
    for report in REPORTS:
        assert (whole.results / report).stat().st_size > 0
    assert "Nothing to be done" in whole.run().stderr


def test_killed_and_started_again_it_ends_in_the_same_records(
    whole: Sandbox, tmp_path: Path
) -> None:
    """Once only Snakemake is killed, its jobs going on; once everything."""
    sandbox = Sandbox(tmp_path / "killed")
    finished: dict[str, int] = {}
    for only_snakemake in (True, False):
        process = subprocess.Popen(
            **sandbox.command(),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        more = min(len(finished) + 2, len(whole.records()) - 1)
        while len(sandbox.records()) < more and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)  # into the next runs, or the reports
        assert process.poll() is None, "it ended before it could be killed"
        finished = {name: path.stat().st_mtime_ns for name, path in sandbox.records().items()}
        if only_snakemake:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    sandbox.run()
    assert sandbox.deterministic() == whole.deterministic()
    for name, stamp in finished.items():
        assert sandbox.records()[name].stat().st_mtime_ns == stamp, f"{name} was trained again"
    for report in ("tables/learning_curves.csv", "figures/figure4.svg", "figures/figure4.png"):
        assert (sandbox.results / report).read_bytes() == (whole.results / report).read_bytes()


def test_two_workflows_in_one_folder_at_once_end_in_the_same_records(
    whole: Sandbox, tmp_path: Path
) -> None:
    """They meet on runs, where one waits for the other; the folder has no lock of its own."""
    sandbox = Sandbox(tmp_path / "shared by two")
    names = sorted(name for name in whole.records() if "uniform/n2" in name)[:2]
    targets = [f"results/tiny/runs/{name}" for name in names]
    both = [
        subprocess.Popen(
            **sandbox.command(*targets), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(2)
    ]
    for process in both:
        said, _ = process.communicate()
        assert process.returncode == 0, said
    expected = whole.deterministic()
    assert sandbox.deterministic() == {name: expected[name] for name in names}
    left = [p.name for p in (sandbox.results / "checkpoints").rglob("*") if p.is_file()]
    assert {Path(name).suffix for name in left} == {".lock"}


def test_a_fresh_clone_with_records_trains_nothing(whole: Sandbox, tmp_path: Path) -> None:
    clone = Sandbox(tmp_path / "clone")
    shutil.copytree(whole.results / "runs", clone.results / "runs")
    planned = clone.run("-n").stdout
    assert re.search(r"^paper +1$", planned, re.MULTILINE)
    assert not re.search(r"^train +[0-9]", planned, re.MULTILINE)
    clone.run()
    for report in REPORTS:
        assert (clone.results / report).read_bytes() == (whole.results / report).read_bytes()


def test_a_missing_and_a_damaged_record_are_named_and_the_rest_is_built(
    whole: Sandbox, tmp_path: Path
) -> None:
    clone = Sandbox(tmp_path / "clone")
    shutil.copytree(whole.results / "runs", clone.results / "runs")
    missing, damaged = sorted(name for name in clone.records() if "figure4" in name)[:2]
    clone.records()[missing].unlink()
    path = clone.records()[damaged]
    path.write_bytes(path.read_bytes()[:1000])
    done = clone.run("--config", "partial=true")
    assert not re.search(r"^train +[0-9]", done.stdout + done.stderr, re.MULTILINE)
    for name, kind in ((missing, "missing"), (damaged, "invalid")):
        assert f"{name.removesuffix('.json')}: {kind}" in done.stderr
    for report in REPORTS:
        assert (clone.results / report).exists()
    assert missing not in clone.records()


def changed(whole: Sandbox, folder: Path, episodes: int) -> Sandbox:
    """Copy a folder with all that Snakemake knows of it, and change the references' setting."""
    copy = Sandbox.__new__(Sandbox)
    shutil.copytree(whole.folder, folder)
    copy.folder, copy.results, copy.inside = folder, folder / "results" / "tiny", ()
    grid = json.loads(json.dumps(GRID))
    grid["experiments"]["references"]["settings"] = {"absolute_episodes": episodes}
    (folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(grid))
    return copy


def test_a_changed_setting_retrains_what_it_touches_and_nothing_else(
    whole: Sandbox, tmp_path: Path
) -> None:
    sandbox = changed(whole, tmp_path / "copy", 21)
    before = {name: path.stat().st_mtime_ns for name, path in sandbox.records().items()}
    sandbox.run()
    after = {name: path.stat().st_mtime_ns for name, path in sandbox.records().items()}
    again = {name for name in before if before[name] != after[name]}
    assert again == {name for name in before if name.startswith("references")}


def test_reports_on_what_there_is_train_nothing_even_where_snakemake_would(
    whole: Sandbox, tmp_path: Path
) -> None:
    """Records that this folder's Snakemake has made, and of whose grid a setting has changed."""
    copy = changed(whole, tmp_path / "copy", 22)
    jobs = re.compile(r"^train +([0-9]+)", re.MULTILINE)
    assert jobs.search(copy.run("-n").stdout), "asked for all, it would"
    assert not jobs.search(copy.run("-n", "--config", "partial=true").stdout)


def test_fleets_make_the_same_records_and_train_only_what_is_missing(
    whole: Sandbox, tmp_path: Path
) -> None:
    sandbox = Sandbox(tmp_path / "fleets")
    sandbox.run("--config", "fleet_size=3")
    logs = [sandbox.results / "logs" / Path(name).with_suffix(".log") for name in whole.records()]
    said = {path.read_text() for path in logs}
    assert len(said) == 4, "oracle, random, 3 of Figure 4, and 1: every run has its fleet's"
    assert sandbox.deterministic() == whole.deterministic()
    lost = next(path for name, path in sorted(sandbox.records().items()) if "group-goal-u" in name)
    lost.unlink()
    shutil.rmtree(sandbox.results / "tables")
    sandbox.run("--config", "fleet_size=3")
    assert sandbox.deterministic() == whole.deterministic()
    said = "".join(path.read_text() for path in logs)
    trained = set(re.findall(r"^(figure4/\S+)( and [0-9]+ more)?: episode 400", said, re.MULTILINE))
    again = lost.relative_to(sandbox.results / "runs").with_suffix("").as_posix()
    assert (again, "") in trained


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("fleet_size=3", "device=nowhere"), "--device nowhere"),
        (("compile=true", "device=cuda"), "--compile: for --device cpu, not cuda"),
    ],
)
def test_a_job_that_fails_is_not_taken_for_done(
    whole: Sandbox, tmp_path: Path, asked: Sequence[str], said: str
) -> None:
    """Over records of another setting, which are there whatever becomes of the job."""
    copy = changed(whole, tmp_path / "copy", 23)
    done = subprocess.run(**copy.command("--config", *asked), capture_output=True)
    assert done.returncode != 0 and "Exiting because a job execution failed" in done.stderr
    assert said in next((copy.results / "logs").rglob("references/**/*.log")).read_text()


def test_only_clusters_group_jobs() -> None:
    """In a group, Snakemake looks at every record of every report again, whenever a run has ended.

    Planning the paper's grid from nothing takes three times as long then, by the square of it.
    """
    for rules in ("train", "report"):
        assert "group:" not in (ROOT / f"rules/{rules}.smk").read_text()
    profiles = [path.read_text() for path in ROOT.glob("profiles/*/profile.yaml")]
    for profile in profiles:
        assert ("groups: {train: train, " in profile) == ("group-components: {train: " in profile)
    assert sum("groups:" in profile for profile in profiles) == 4


def test_planning_imports_no_torch(tmp_path: Path) -> None:
    command = Sandbox(tmp_path / "planned").command("-n")
    command["args"][1:1] = ["-X", "importtime"]
    done = subprocess.run(**command, capture_output=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "bench.grid" in imported
    assert not imported & {"torch", "matplotlib", "scipy"}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("partial=no", "choose true or false"),
        ("compile=maybe", "compile=maybe: choose true or false"),
        ("fleet_size=0", "choose a whole number, 1 or more"),
        ("fleetsize=3", "did you mean 'fleet_size'"),
        ("partial=true", "there is no record"),
        ("name=other", "the grid says that; change it in config/"),
    ],
)
def test_a_wrong_setting_of_the_workflow_is_one_line(
    setting: str, words: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        **Sandbox(tmp_path / "wrong").command("-n", "--config", setting), capture_output=True
    )
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert f"{setting.partition('=')[0]}" in said and words in said
    assert "Traceback" not in said


def test_axes_of_figure4_may_be_left_out(tmp_path: Path) -> None:
    """They are then what `hypercoop train` takes; and its one curve makes a paper all the same."""
    sandbox = Sandbox(tmp_path / "bare")
    grid = json.loads(json.dumps(GRID))
    for axis in ("rewards", "samplers"):
        del grid["experiments"]["figure4"][axis]
    (sandbox.folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(grid))
    done = subprocess.run(**sandbox.command("-n"), capture_output=True, check=True)
    assert "paper" in done.stdout


def test_a_wrong_grid_is_refused_when_it_is_read(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "wrong")
    grid = json.loads(json.dumps(GRID))
    grid["experiments"]["figure4"]["rewards"] = ["group-gaol"]
    (sandbox.folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(grid))
    done = subprocess.run(**sandbox.command(), capture_output=True)
    assert done.returncode != 0
    assert "did you mean 'group-goal'" in done.stderr
    assert "Traceback" not in done.stderr
