"""What a cluster is asked for suffices: for what was recorded and for what is counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.compilation import has_compiler
from bench.config import RunConfig, resolve
from bench.demand import FLOPS, LIBRARIES_MB, START_MINUTES, memory_mb, minutes
from bench.errors import RequestError
from bench.fleet import Fleet
from bench.methods import load_methods
from bench.provenance import COMPILED
from bench.records import read

ROOT = Path(__file__).parents[1]
COMPILING = """
import json, resource
from bench.config import resolve
from bench.speed.workload import stocked
run = stocked(resolve({"buffer": 10_000}), compiled=True)
run._learn(*run._batches(1))
status = dict(line.split(":") for line in open("/proc/self/status"))
beside = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([int(kib.split()[0]) // 1024 for kib in (status["VmHWM"], str(beside))]))
"""
"""Not by getrusage of itself, which remembers the process that it was forked from."""
METHODS = [name for name, entry in load_methods().items() if entry.scheme]


def test_recorded_runs_would_have_fitted_and_not_by_far() -> None:
    records = [read(path) for path in (ROOT / "results").glob("*/runs/**/*.json")]
    assert records
    for record in records:
        alone = record.provenance["replicas"] == 1
        if not alone or record.provenance["device"].startswith("cuda"):
            continue
        compiled = record.provenance["device"].endswith(COMPILED)
        used, asked = record.provenance["peak_memory_mb"], memory_mb([record.config], compiled)
        assert used < asked < 4 * used
        assert record.provenance["cpu_seconds"] < 60 * minutes([record.config])


@pytest.mark.parametrize("agents", [2, 4, 8])
def test_there_is_room_for_all_that_training_holds(agents: int) -> None:
    for method in METHODS:
        try:
            config = resolve({"method": method, "agents": agents})
        except RequestError:  # too many agents for it
            continue
        held = Fleet([config], torch.device("meta")).nbytes / 2**20
        assert held < memory_mb([config]) - LIBRARIES_MB, method


def test_there_is_time_for_every_method_as_counted() -> None:
    counted = json.loads((ROOT / "results" / "methods" / "methods.json").read_text())["methods"]
    for row in counted:
        try:
            config = resolve({"method": row["method"], "agents": 3})
        except RequestError:  # its costs are counted on another task
            continue
        updates = 30 * config.episodes / config.steps_per_update
        # A wide layer's products run several times as fast as small ones.
        assert updates * row["flops_per_update"] / (3 * FLOPS) < 60 * minutes([config])


@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_there_is_room_for_a_compiler(tmp_path: Path) -> None:
    """In the process, and beside it."""
    done = subprocess.run(
        [sys.executable, "-c", COMPILING],
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    own, beside = json.loads(done.stdout)
    assert beside > 100, f"a C++ compiler ran: {done.stdout}"
    assert own + beside < memory_mb([resolve({"buffer": 10_000})], compiled=True)


@pytest.mark.parametrize("agents", [8, 32])
def test_there_is_room_for_as_many_moves_as_agents(agents: int) -> None:
    config = resolve({"task": "specialisation", "method": "iql", "agents": agents})
    held = Fleet([config], torch.device("meta")).nbytes / 2**20
    assert held < 0.95 * (memory_mb([config]) - LIBRARIES_MB)


def test_longer_episodes_ask_for_as_much_more_time() -> None:
    short, long = (resolve({"task_options": {"horizon": horizon}}) for horizon in (30, 300))
    assert minutes([long]) - START_MINUTES > 9 * (minutes([short]) - START_MINUTES - 1)
    assert memory_mb([long]) > memory_mb([short])


def test_games_of_one_step_ask_for_little() -> None:
    config = resolve({"task": "climbing", "method": "iql", "agents": 2})
    assert minutes([config]) - START_MINUTES < minutes([resolve({"agents": 2})]) - START_MINUTES


def test_more_of_anything_asks_for_more() -> None:
    base = RunConfig(agents=2)
    for change in ({"agents": 3}, {"hidden": [128, 64]}, {"batch": 8192}, {"buffer": 10**7}):
        assert memory_mb([base.model_copy(update=change)]) > memory_mb([base])
    for change in ({"agents": 3}, {"episodes": 10**6}, {"steps_per_update": 10}):
        assert minutes([base.model_copy(update=change)]) > minutes([base])
    assert memory_mb([base, base]) > memory_mb([base])
    assert minutes([base] * 10) > minutes([base])
