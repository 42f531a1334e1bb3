"""Profiles of clusters: what they say, and their scripts against what the engines print.

What an engine prints is from its manual; only SLURM's is tried on the real thing.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_workflow import Sandbox

PROFILES = Path(__file__).parents[1] / "profiles"
CLUSTERS = ("slurm", "pbs", "lsf", "sge")


def profile(name: str) -> dict[str, Any]:
    return yaml.safe_load((PROFILES / name / "profile.yaml").read_text())


def test_all_clusters_are_alike_but_for_their_engine() -> None:
    def common(name: str) -> dict[str, Any]:
        return {
            key: value
            for key, value in profile(name).items()
            if not key.startswith(("executor", "cluster-generic-", "slurm-"))
        }

    for name in CLUSTERS:
        assert common(name) == common("slurm"), name
        assert common(name)["retries"] == 2
    rules = [path.read_text() for path in (PROFILES.parent / "rules").glob("*.smk")]
    assert not any("retries" in text for text in rules), "in the profile, where each is a job"


def test_every_profile_keeps_what_restarting_needs() -> None:
    needed = ("ignore-incomplete", "keep-going", "nolock", "rerun-triggers", "scheduler")
    for path in PROFILES.glob("*/profile.yaml"):
        found = yaml.safe_load(path.read_text())
        default = profile("default")
        assert {key: found[key] for key in needed} == {key: default[key] for key in needed}, path


@pytest.mark.parametrize("name", CLUSTERS)
def test_it_is_read_by_snakemake(name: str, tmp_path: Path) -> None:
    plugin = profile(name)["executor"].replace("-", "_")
    if not importlib.util.find_spec(f"snakemake_executor_plugin_{plugin}"):
        pytest.skip(f"no plugin {plugin}: pip install -e '.[cluster]'")
    sandbox = Sandbox(tmp_path / "sandbox")
    done = sandbox.run("--workflow-profile", f"profiles/{name}", "-n")
    assert "train" in done.stdout


ENDED = "job_state = F\n    Exit_status = "
SAID = {
    "pbs": {
        "running": {"qstat": "Job Id: 7\n    job_state = R"},
        "success": {"qstat": f"Job Id: 7\n    {ENDED}0"},
        "failed": {"qstat": f"Job Id: 7\n    {ENDED}271"},
    },
    "lsf": {
        "running": {"bjobs": "PEND"},
        "success": {"bjobs": "DONE"},
        "failed": {"bjobs": "EXIT"},
    },
    "sge": {
        "running": {"qstat": "job_number: 7"},
        "success": {"qacct": "failed       0\nexit_status  0"},
        "failed": {"qacct": "failed       0\nexit_status  137"},
    },
}
"""What the engine's commands print, by the status that it means; others know nothing and fail."""


@pytest.mark.parametrize("engine", SAID)
def test_a_status_script_understands_its_engine(engine: str, tmp_path: Path) -> None:
    for status, said in {**SAID[engine], "unknown": {}}.items():
        folder = tmp_path / status
        folder.mkdir()
        for command in ("qstat", "qacct", "bjobs"):
            text = said.get(command)
            body = "exit 1" if text is None else f"cat <<'END'\n{text}\nEND"
            (folder / command).write_text(f"#!/bin/sh\n{body}\n")
            (folder / command).chmod(0o755)
        done = subprocess.run(
            [PROFILES / engine / "status", "7"],
            env={"PATH": f"{folder}:{os.environ['PATH']}", "SGE_STATUS_WAIT": "0"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == ("failed\n" if status == "unknown" else f"{status}\n")


def test_lsf_submission_prints_the_jobs_number_alone(tmp_path: Path) -> None:
    (tmp_path / "bsub").write_text('#!/bin/sh\necho "Job <42> is submitted to queue <normal>."\n')
    (tmp_path / "bsub").chmod(0o755)
    done = subprocess.run(
        [PROFILES / "lsf" / "submit", "-n", "1", "script.sh"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "42\n"


def test_the_kubernetes_job_mounts_the_volume_where_results_go() -> None:
    text = (PROFILES / "kubernetes" / "job.yaml").read_text()
    claim, job = yaml.safe_load_all(text)
    pod = job["spec"]["template"]["spec"]
    (container,), (records,) = pod["containers"], pod["initContainers"]
    (mount,), (outside,) = container["volumeMounts"], records["volumeMounts"]
    (volume,) = pod["volumes"]
    assert volume["name"] == mount["name"] == outside["name"]
    assert records["image"] == container["image"]
    assert records["command"][-2:] == [mount["mountPath"], outside["mountPath"]]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert mount["mountPath"] == f"{container['workingDir']}/results"
