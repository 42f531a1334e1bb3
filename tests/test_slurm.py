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
PACKED = ("--group-components", "train=2")


def _missing() -> str:
    """Say what a SLURM of one's own lacks here; empty if nothing."""
    lacking = [tool for tool in TOOLS if not shutil.which(tool)]
    if lacking:
        return f"no {', '.join(lacking)}: apt-get install slurm-wlm munge iproute2"
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        return "no snakemake-executor-plugin-slurm: pip install -e '.[cluster]'"
    allowed = subprocess.run(["unshare", "-mnupf", "true"], capture_output=True).returncode == 0
    return "" if allowed else "namespaces of its own need root"


pytestmark = pytest.mark.skipif(bool(_missing()), reason=_missing() or "-")


def wait_until(
    there: Callable[[], object], what: str, still: subprocess.Popen[str] | None = None
) -> None:
    """Wait for something while a process goes on."""
    deadline = time.monotonic() + 200
    while not there():
        assert time.monotonic() < deadline, f"waited for {what} in vain"
        assert still is None or still.poll() is None, f"ended before {what}"
        time.sleep(0.2)


class Cluster:
    """A SLURM that is up.

    Args:
        inside: words before a command that is to run where it is.
    """

    def __init__(self, inside: list[str]) -> None:
        self.inside = inside

    def ask(self, *words: str) -> str:
        """Run a command of SLURM's and return what it prints."""
        command = [*self.inside, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def set_node(self, state: str) -> None:
        self.ask("scontrol", "update", "nodename=localhost", f"state={state}", "reason=test")

    def jobs(self) -> dict[int, dict[str, str]]:
        """Return all jobs of this test, also those that have ended, by their IDs."""
        lines = self.ask("scontrol", "--oneliner", "show", "job").splitlines()
        found = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines if "JobId=" in line]
        return {int(job["JobId"]): job for job in found}

    def states(self) -> list[str]:
        return [job["JobState"] for job in self.jobs().values()]


FOUR_RUNS = {**GRID, "experiments": {"figure4": GRID["experiments"]["figure4"]}}


@pytest.fixture
def local(tmp_path: Path) -> Sandbox:
    """Four runs that were trained on this machine, without a cluster."""
    sandbox = Sandbox(tmp_path / "local", FOUR_RUNS)
    sandbox.run("--until", "train")
    return sandbox


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
    local: Sandbox, cluster: Cluster, tmp_path: Path
) -> None:
    """The cluster is up for minutes, so what it is compared with comes first."""
    folder = tmp_path / "cluster"
    sandbox = Sandbox(folder, FOUR_RUNS, [*cluster.inside, f"--wdns={folder}"])
    first = start(sandbox, tmp_path / "first.log")
    wait_until(lambda: trainings(sandbox), "the first training", first)
    submitted = len(cluster.jobs())
    assert submitted == 2, "four runs in groups of two"

    os.kill(trainings(sandbox)[0], signal.SIGKILL)  # as the kernel does when memory is short
    wait_until(lambda: len(cluster.jobs()) > submitted, "a retry of the job whose run died", first)
    failed = next(job for job in cluster.jobs().values() if job["JobState"] == "FAILED")
    retry, asked = max(cluster.jobs().items())
    for what in ("MinMemoryNode", "TimeLimit"):
        assert asked[what] != failed[what], "a retry asks for more"

    wait_until(lambda: trainings(sandbox), "a training of the retry", first)
    cluster.set_node("down")
    wait_until(lambda: not trainings(sandbox), "the lost node's jobs to end")
    cluster.set_node("resume")
    wait_until(lambda: trainings(sandbox), "a training after the node came back", first)
    requeued = sum(job["Restarts"] != "0" for job in cluster.jobs().values())
    assert requeued

    first.kill()
    first.wait()
    cluster.ask("scontrol", "suspend", str(retry))  # so that the two certainly overlap
    before = set(cluster.jobs())
    log = tmp_path / "second.log"
    second = start(sandbox, log)
    wait_until(lambda: len(trainings(sandbox)) > 1, "the same run in a second job", second)
    cluster.ask("scontrol", "resume", str(retry))
    assert second.wait(timeout=300) == 0, log.read_text()
    unfinished = {"RUNNING", "PENDING", "COMPLETING", "SUSPENDED"}
    wait_until(lambda: not unfinished & set(cluster.states()), "all jobs to end")
    assert sandbox.deterministic() == local.deterministic()

    jobs = cluster.jobs()
    assert jobs[retry]["JobState"] == "COMPLETED"
    counts = {
        "submitted at first": submitted,
        "submitted again after a run was killed": len(before) - submitted,
        "requeued after the node was lost": requeued,
        "submitted again after Snakemake was killed": len(jobs) - len(before),
        "records, all equal to a local run's": len(local.records()),
    }
    print("", *(f"{count} {what}" for what, count in counts.items()), sep="\n")


def test_other_engines_plugin_submits_retries_and_builds_everything(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The profile of PBS with SLURM's commands in place of its own; one run is killed."""
    two_runs = json.loads(json.dumps(GRID))
    two_runs["experiments"]["figure4"] |= {"rewards": ["group-goal"]}
    folder = tmp_path / "cluster"
    sandbox = Sandbox(folder, two_runs, [*cluster.inside, f"--wdns={folder}"])
    submit = "sbatch --parsable -o /dev/null -c {threads} --mem {resources.mem_mb}"
    words = (
        *("--workflow-profile", "profiles/pbs", "--latency-wait", "5"),
        *("--cluster-generic-submit-cmd", f"{submit} -t {{resources.runtime}}"),
        *("--cluster-generic-status-cmd", str(RUN.with_name("status"))),
        *("--cluster-generic-cancel-cmd", "scancel"),
    )
    log = tmp_path / "log"
    with log.open("w") as file:
        command = sandbox.command(*words)
        process = subprocess.Popen(**command, stdout=file, stderr=file)
    wait_until(lambda: trainings(sandbox), "a training", process)
    os.kill(trainings(sandbox)[0], signal.SIGKILL)
    assert process.wait(timeout=300) == 0, log.read_text()
    assert len(sandbox.records()) == 4
    assert (sandbox.results / "paper.pdf").stat().st_size > 0
    states = cluster.states()
    assert states.count("FAILED") == 1 and states.count("COMPLETED") == len(states) - 1 == 2
    failed, retry = list(cluster.jobs().values())[:2]
    assert retry["MinMemoryNode"] != failed["MinMemoryNode"]


def test_only_what_asks_for_a_gpu_goes_to_its_partition(cluster: Cluster, tmp_path: Path) -> None:
    """The jobs stay in the queue: there is no GPU to run on."""
    folder = tmp_path / "cluster"
    sandbox = Sandbox(folder, GRID, [*cluster.inside, f"--wdns={folder}"])
    cluster.set_node("drain")
    partitions = ("--slurm-partition-config", "profiles/slurm/partitions.yaml")
    log = tmp_path / "log"
    for device, expected in (("cuda", "gpu"), ("cpu", "cpu")):
        fleets = ("--config", "fleet_size=4", f"device={device}", "--until", "train_fleet_2")
        with log.open("w") as file:
            command = sandbox.command(*PROFILE, *partitions, *fleets)
            process = subprocess.Popen(**command, stdout=file, stderr=file)
        before = len(cluster.jobs())
        wait_until(lambda before=before: len(cluster.jobs()) > before, "a job", process)
        process.kill()
        process.wait()
        newest = cluster.jobs()[max(cluster.jobs())]
        assert newest["Partition"] == expected, log.read_text()
        assert ("gpu:1" in newest.get("TresPerJob", "")) == (expected == "gpu"), newest
