"""What is missing or unsound is named, with the reason; the rest is read."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc

import many
import pytest
import synthetic
from counting import calls

from bench import records
from bench.errors import WorldError
from bench.grid import expand, load_grid
from bench.places import Places
from bench.report import leaderboard, tables
from bench.report.aggregate import cells
from bench.report.load import load

KEY = "figure4/ps-maddpg/group-goal-prioritized/n2/seed3"


def edit(path, **changes):
    path.write_text(records.sealed({**json.loads(path.read_text()), **changes}))


def stale_config(path):
    record = json.loads(path.read_text())
    config = synthetic.RunConfig(**{**record["config"], "gamma": 0.5})
    edit(path, config=config.model_dump(), config_hash=config.digest)


DAMAGE = {
    "missing": (lambda path: path.unlink(), "no record"),
    "truncated": (lambda path: path.write_text(path.read_text()[:300]), "truncated"),
    "empty": (lambda path: path.write_text(""), "truncated"),
    "unsound": (lambda path: edit(path, final=None), "must have final"),
    "without its score": (lambda path: edit(path, score="unknown"), "lacks the score"),
    "of another configuration": (stale_config, "gamma = 0.5 (now 0.95)"),
    "of other behaviour": (
        lambda path: edit(
            path, behaviour={**json.loads(path.read_text())["behaviour"], "loop": "x"}
        ),
        "made by loop x; now loop bench.train:train@",
    ),
    "diverged": (
        lambda path: edit(path, status="diverged", reason="NaN at 7", final=None, absolute=None),
        "NaN at 7",
    ),
}
KINDS = {
    "missing": "missing",
    "of another configuration": "stale",
    "of other behaviour": "stale",
    "diverged": "diverged",
}


def test_every_record_enters(results):
    assert results.complete
    assert results.notice() == ""
    assert list(results.outcomes) == list(results.expected)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_bad_record_is_named_and_the_rest_is_read(copy, damage):
    inflict, reason = DAMAGE[damage]
    inflict(Places(copy.root / "small").record(KEY))
    results = copy.load()
    (problem,) = results.problems
    assert problem.key == KEY
    assert problem.kind == KINDS.get(damage, "invalid")
    assert reason in problem.reason
    assert str(copy.root) not in str(problem)
    assert "\n" not in str(problem)
    assert len(results.outcomes) == len(results.expected) - 1
    assert KEY not in results.outcomes
    assert "1 " + problem.kind in results.notice()
    (short,) = [cell for cell in cells(results) if cell.problems]
    assert short.label() == f"5/6 (1 {problem.kind})"


def test_without_any_record_there_is_nothing_to_report(small, tmp_path):
    with pytest.raises(WorldError, match=r"no usable record of grid small in .* \(102 missing\)"):
        load(small.grid, tmp_path)


def test_reading_needs_no_heavy_library():
    code = (
        "import sys, bench.report.load, bench.report.tables, bench.report.figures, "
        "bench.report.leaderboard, bench.report.paper\n"
        "print([m for m in ('torch', 'pandas', 'matplotlib', 'scipy', 'typst', 'jinja2') "
        "if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


COMMAND = """
import json, sys
from bench import cli, records
read, paths = records.read, []
records.read = lambda path: paths.append(str(path)) or read(path)
status = cli.main(sys.argv[1:])
heavy = [name for name in ("torch", "pandas", "scipy.stats") if name in sys.modules]
print(json.dumps([status, len(paths), len(set(paths)), heavy]))
"""


@pytest.mark.parametrize("command", ["tables", "figures", "leaderboard", "paper"])
def test_a_command_reads_each_record_once_and_imports_no_torch(small, built, command):
    arguments = [command, f"--grid={small.grid}", f"--results={small.root}"]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, check=True
    )
    runs = len(small.load().expected)
    assert json.loads(done.stdout.splitlines()[-1]) == [0, runs, runs, []]


def test_ten_times_the_records_take_ten_times_the_reading_and_no_more_reporting(
    small, built, tmp_path
):
    """In calls: statistics are one call of numpy a cell, however many runs it has."""
    experiments = json.loads(json.dumps(synthetic.GRID["experiments"]))
    for experiment in experiments.values():
        experiment["seeds"] = list(range(10 * len(experiment["seeds"])))
    grid = synthetic.write_grid(tmp_path, experiments=experiments)
    synthetic.write_records(grid, tmp_path)
    assert calls(lambda: load(grid, tmp_path)) < 10.5 * calls(small.load)
    few, many = small.load(), load(grid, tmp_path)  # anew: nothing is computed of them yet
    assert len(many.outcomes) == 10 * len(few.outcomes)

    def report(found):
        for module in (tables, leaderboard):
            module.build(found, tmp_path / "out")

    assert calls(lambda: report(many)) < 1.5 * calls(lambda: report(few))


def test_the_grid_that_the_load_is_measured_with_is_sound(tmp_path):
    """Of every method that it can hold, with as many runs as are asked for."""
    runs = expand(load_grid(many.write_grid(tmp_path, 700, seeds=1)))
    assert 0.9 * 700 < len(runs) < 1.1 * 700
    assert len({run.config.method for run in runs.values()}) > 40


def test_thousands_of_records_fit_into_little_memory(tmp_path):
    """Scaled down; `python tests/report/many.py 5000` measures it, and the time, in full."""
    grid = many.write(tmp_path, 160)
    load(grid, tmp_path)  # imports and caches
    tracemalloc.start()
    try:
        results = load(grid, tmp_path)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    count = len(results.outcomes)
    assert count == 168
    assert held / count * 20_000 < 2**30, "20,000 stay below a GiB"
