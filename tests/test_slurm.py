"""The workflow on a real SLURM of one node: a run killed, the node lost, Snakemake killed.

`pytest tests/test_slurm.py -s` prints what happened to the jobs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_workflow import GRID, Sandbox

RUN = Path(__file__).parent / "slurm" / "run"
TOOLS = ("slurmctld", "slurmd", "munged", "unshare", "nsenter", "ip")
PROFILE = ("--workflow-profile", "profiles/slurm")
QUICKLY = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5")
PACKED = ("--group-components", "train=2", "report=2")


def _missing() -> str:
    """Say what a SLURM of one's own lacks here; empty if nothing."""
    lacking = [tool for tool in TOOLS if not shutil.which(tool)]
    if lacking:
        return f"no {', '.join(lacking)}: apt-get install slurm-wlm munge iproute2"
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        return "no snakemake-executor-plugin-slurm: pip install 'hypercoop[cluster]'"
    allowed = subprocess.run(["unshare", "-mnupf", "true"], capture_output=True).returncode == 0
    return "" if allowed else "namespaces of its own need root"


pytestmark = pytest.mark.skipif(bool(_missing()), reason=_missing() or "-")


class Cluster:
    """A SLURM that is up.

    Args:
        inside: words before a command that is to run where it is.
    """

    def __init__(self, inside: list[str]) -> None:
        self.inside = inside

    def ask(self, *words: str) -> str:
        """Run a command of SLURM's and return what it prints."""
        done = subprocess.run(
            [*self.inside, *words], capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout

    def jobs(self) -> dict[int, dict[str, str]]:
        """Return all jobs of this test, also those that have ended, by their IDs."""
        lines = self.ask("scontrol", "--oneliner", "show", "job").splitlines()
        found = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines if "JobId=" in line]
        return {int(job["JobId"]): job for job in found}

    def states(self) -> list[str]:
        return [job["JobState"] for job in self.jobs().values()]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    process = subprocess.Popen(
        [RUN, "sh", "-c", "echo up; exec sleep 900"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        yield Cluster(["nsenter", "--target", child, "--mount", "--net", "--uts", "--pid"])
    finally:
        process.kill()  # and with it everything inside
        process.wait()


def wait_until(there: Callable[[], object], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, f"waited for {what} in vain"
        time.sleep(0.2)


def grid(**defaults: object) -> dict[str, object]:
    found = json.loads(json.dumps(GRID))
    found["defaults"] |= defaults
    return found


def trainings(sandbox: Sandbox) -> list[int]:
    """Return the processes that train a run of a sandbox."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().decode().split("\0")
            here = (path / "cwd").resolve() == sandbox.folder.resolve()
        except OSError:  # it has ended
            continue
        if here and "train" in words and "hypercoop" in " ".join(words[:2]):
            found.append(int(path.name))
    return found


def start(sandbox: Sandbox, log: Path) -> subprocess.Popen[str]:
    command = sandbox.command(*PROFILE, *QUICKLY, *PACKED, "--until", "train")
    with log.open("w") as file:
        return subprocess.Popen(**command, stdout=file, stderr=file, start_new_session=True)


def test_runs_killed_the_node_lost_and_snakemake_killed_end_in_the_same_records(
    cluster: Cluster, tmp_path: Path
) -> None:
    longer = grid(episodes=4000)
    local = Sandbox(tmp_path / "local", longer)
    local.run("--until", "train")

    sandbox = Sandbox(tmp_path / "cluster", longer, cluster.inside)
    log = tmp_path / "first.log"
    first = start(sandbox, log)
    wait_until(lambda: trainings(sandbox), "the first training")
    submitted = len(cluster.jobs())
    assert submitted == 3, "six runs in groups of two"

    os.kill(trainings(sandbox)[0], signal.SIGKILL)  # as the kernel does when memory is short
    wait_until(lambda: len(cluster.jobs()) > submitted, "a retry of the job whose run was killed")
    failed = next(job for job in cluster.jobs().values() if job["JobState"] == "FAILED")
    retry = max(cluster.jobs().items())[1]
    for what in ("MinMemoryNode", "TimeLimit"):
        assert retry[what] != failed[what], "a retry asks for more"

    wait_until(lambda: trainings(sandbox), "a training")
    cluster.ask("scontrol", "update", "nodename=localhost", "state=down", "reason=test")
    wait_until(lambda: "RUNNING" not in cluster.states(), "the node's jobs to end")
    cluster.ask("scontrol", "update", "nodename=localhost", "state=resume")
    wait_until(lambda: trainings(sandbox), "a training after the node came back")
    requeued = [job for job in cluster.jobs().values() if job["Restarts"] != "0"]
    assert requeued

    assert first.poll() is None, log.read_text()
    first.kill()
    first.wait()
    before = set(cluster.jobs())
    second = start(sandbox, tmp_path / "second.log")
    wait_until(lambda: set(cluster.jobs()) - before, "the same runs submitted again")
    assert "RUNNING" in cluster.states(), "none of the first Snakemake's jobs goes on beside them"
    assert second.wait(timeout=180) == 0, (tmp_path / "second.log").read_text()
    assert sandbox.deterministic() == local.deterministic()
    wait_until(
        lambda: not {"RUNNING", "PENDING", "COMPLETING"} & set(cluster.states()), "all jobs to end"
    )
    assert sandbox.deterministic() == local.deterministic(), "a late writer changed a record"

    jobs = cluster.jobs().values()
    print(
        f"\n{len(jobs)} jobs submitted: {submitted} at first, {len(before) - submitted} retried "
        f"after a run was killed, {len(jobs) - len(before)} again after Snakemake was killed; "
        f"{len(requeued)} requeued when the node was lost; "
        f"{len(local.records())} of {len(local.records())} records equal to a local run's"
    )
