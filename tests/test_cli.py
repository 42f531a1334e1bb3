"""The command line as a user meets it: one line for every mistake, and the right exit status."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from small import FAST

from bench import registry
from bench.cli import COMMANDS, main
from bench.commands.output import print_as_made, print_table
from bench.methods import methods_file

MISTAKES: list[tuple[list[str], int, str]] = [
    (["train", "--agents", "0"], 2, "greater than 0"),
    (["train", "--agents", "two"], 2, "agents = 'two': must be a whole number"),
    (["train", "--hidden", "64"], 2, "hidden = 64: must be a list, such as [1, 2]"),
    (["train", "--gamma", "much"], 2, "gamma = 'much': must be a number"),
    (["train", "--augmentation", "x"], 2, "augmentation = 'x': must be 'none' or 'permutation'"),
    (["train", "--agnets", "2"], 2, "--agnets"),
    (["train", "--method", "nope"], 2, "unknown method 'nope'"),
    (["train", "--method", "no.such:THING"], 2, "cannot import"),
    (["train", "--method", "gains:M"], 2, "'gains'; put its folder on PYTHONPATH, or install it"),
    (["train", "--method", "gains.py:M"], 2, "write gains:M, without .py"),
    (["train", "--reward", "my_rewards:near"], 2, "put its folder on PYTHONPATH"),
    (["train", "--reward", "nope"], 2, "group-goal"),
    (["train", "--sampler", "nope"], 2, "prioritized"),
    (["train", "--task", "nope"], 2, "coop-nav"),
    (["train", "--task-option", "raduis=1"], 2, "radius"),
    (["train", "--task-option", "radius"], 2, "KEY=VALUE"),
    (["train", "--seed", "0x10"], 2, "seed"),
    (["train", "--seed", "1:30"], 2, "seed"),
    (["train", "--seed", "true"], 2, "whole number"),
    (["train", "--task", "pettingzoo:"], 2, "pettingzoo:"),
    (["train", "--method", "gains:"], 2, "gains:"),
    (["train", "--curriculum", "my_rewards:near"], 2, "unknown curriculum"),
    (
        ["train", "--method=deep-set-maddpg", "--sampler=hindsight", "--hindsight-jitter=0.08"],
        2,
        "choose less than radius / sqrt(2) = 0.0707",
    ),
    (["verify", "results/demo", "--seed", "-1"], 2, "must be 0 or more"),
    (["faults", "--seed", "-1"], 2, "must be 0 or more"),
    (["train", "--replicas", "0"], 2, "at least 1"),
    (["train", "--replicas", "2", "--seed", "2147483647"], 2, "seed = 2147483648"),
    (["train", "--task", "coop-nav:x"], 2, "drop it"),
    (
        [
            *("train", "--task=pettingzoo:mpe2.simple_spread_v3", "--reward=environment"),
            *("--agents=3", "--method=joint-maddpg", "--sampler=uniform"),
        ],
        2,
        "unknown range",
    ),
    (["train", "--grid", "config/quick.yaml", "--run", "nope"], 2, "no run 'nope'"),
    (["train", "--grid", "nope.yaml", "--run", "x"], 2, "nope.yaml"),
    (["train", "--results", "/dev/null/x"], 1, "/dev/null/x"),
    (["train", "--device", "nonsense"], 2, "nonsense"),
    (["train", "--device", "cuda", "--compile"], 2, "--compile: for --device cpu, not cuda"),
    (["train", "--agents", "yes"], 2, "whole number"),
    (["train", "--checkpoint-seconds", "nan"], 2, "0 or more"),
    (["train", "--run", "x"], 2, "--grid"),
    (["train", "--device", "meta"], 2, "meta"),
    (["train", "--steps-per-update", "1000000"], 2, "no update falls between"),
    (["train", "--buffer", "2000000000"], 1, "out of memory"),
    (["train", "--curriculum", "nope"], 2, "radius"),
    (["train", "--augmentation", "nope"], 2, "permutation"),
    (["train", "--hindsight-share", "0.9"], 2, "hindsight_share is for sampler hindsight or"),
    (["evaluate", "x.safetensors", "--agents=0"], 2, "at least 1"),
    (["evaluate", "x.safetensors", "--seed=-1"], 2, "from 0 to"),
    (["evaluate", "x.safetensors", "--episodes=0"], 2, "at least 1"),
    (["evaluate", "nope.safetensors"], 1, "no policy"),
    (["evaluate", "nope.txt"], 2, "nope.txt"),
    (["watch", "nope.safetensors"], 1, "no policy"),
    (["methods", "--agents", "0"], 2, "greater than 0"),
    (["methods", "--method", "meta-dqn", "--agents", "7"], 2, "5^7 joint moves"),
    (["methods", "--method", "meta-dqn", "--agents", "7000"], 2, "choose fewer agents"),
    (["methods", "--hidden", "[0]"], 2, "greater than 0"),
    (["tasks", "--agents", "1"], 2, "at least 2"),
    (["check-method", "no.such:THING"], 2, "cannot import"),
    (["check-method", "nope"], 2, "unknown method 'nope'"),
    (["check-method", "baselines.algorithms.iql:IQL"], 2, "is no parameter scheme, which is built"),
    (["check-method", "bench.tasks.games:team"], 2, "missing a required argument: 'next_state'"),
    (["check-method", "oracle"], 2, "no parameter scheme"),
    (["check-method", "hyper-maddpg-no-grad"], 1, "hyper.e gets no gradient"),
    (["tables", "--grid", "nope.yaml"], 2, "nope.yaml"),
    (["nope"], 2, "nope"),
    ([], 2, "command"),
]


@pytest.mark.parametrize(("arguments", "status", "words"), MISTAKES)
def test_every_mistake_is_one_line(
    arguments: list[str],
    status: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    apart = ["--results", str(tmp_path)]  # or two tests at once would wait for each other
    own = arguments[:1] == ["train"] and "--results" not in arguments
    assert main(arguments + (apart if own else [])) == status
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("hypercoop: error: ")
    assert words in lines[0]


@pytest.mark.parametrize(
    ("limit", "words"), [(20_000, "tmp-probe"), (70_000, "checkpoint"), (10**6, None)]
)
def test_a_full_disk_is_one_line(limit: int, words: str | None, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk that fills up, before or while training."""
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        "from bench.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = ["train", *FAST, "--hidden=[64, 64]", "--checkpoint-seconds=0", "--results=."]
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=tmp_path, capture_output=True, text=True
    )
    errors = [line for line in done.stderr.splitlines() if "greedy" not in line]
    assert done.returncode == (1 if words else 0)
    assert len(errors) == (1 if words else 0)
    if words:
        assert words in errors[0] and "File too large" in errors[0]
        assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".lock"]


def test_sigterm_ends_a_command_in_one_line_and_is_the_callers_again_afterwards(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    for command in ("tasks", "train"):
        monkeypatch.setitem(COMMANDS, command, lambda _: signal.raise_signal(signal.SIGTERM))
    assert main(["tasks"]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "hypercoop: interrupted\n"
    assert main(["train"]) == 128 + signal.SIGTERM
    assert "the same command goes on from here" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("command", ["evaluate", "watch"])
def test_what_a_flag_left_out_means_is_said(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    flags = " ".join(capsys.readouterr().out.split()).partition("--help")[2].split(" --")[1:]
    assert len(flags) == 6
    for flag in (flag for flag in flags if not flag.startswith("json")):
        assert "(default: " in flag, flag


def test_methods_and_tasks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--agents=2", "--json"]) == 0
    rows = {row["method"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["ps-maddpg"]["trained_parameters"] < rows["maddpg"]["trained_parameters"]
    assert rows["random"]["flops_per_action"] == 0 < rows["iql"]["flops_per_action"]
    assert main(["methods", "--agents=2", "--hidden=[128, 128]", "--json"]) == 0
    wide = {row["method"]: row for row in json.loads(capsys.readouterr().out)}
    assert wide["iql"]["trained_parameters"] > 2 * rows["iql"]["trained_parameters"]
    assert main(["tasks", "--agents=2", "--json"]) == 0
    tasks = {row["task"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(tasks) == set(registry.TASKS)
    assert "split" in tasks["roles"]["options"] and tasks["roles"]["one_policy"] == "-"
    assert tasks["specialisation"]["one_policy"] == "0.5"
    assert tasks["specialisation"]["one_stochastic_policy"] == "0.75"
    assert main(["tasks"]) == 0
    assert "coop-nav" in capsys.readouterr().out


def test_rows_are_printed_as_they_are_made(capsys: pytest.CaptureFixture[str]) -> None:
    table: list[dict[str, Any]] = [{"name": "a", "of": 2}, {"name": "longer", "of": 3}]

    def rows() -> Iterator[dict[str, Any]]:
        yield table[0]
        assert capsys.readouterr().out == "name  of\na     2\n"
        yield table[1]

    print_as_made(rows(), [])
    assert capsys.readouterr().out == "longer  3\n"
    print_table(table, as_json=False)
    assert capsys.readouterr().out == "name    of\na       2\nlonger  3\n"


def test_the_growth_of_costs_is_listed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = yaml.safe_load(methods_file().read_text())
    for names in (["ps-maddpg"], ["ps-maddpg", "hyper-maddpg"]):  # what is kept is of one table
        few = tmp_path / f"{len(names)}.yaml"
        few.write_text(yaml.safe_dump({name: table[name] for name in names}))
        monkeypatch.setenv("HYPERCOOP_METHODS", str(few))
        assert main(["methods", "--growth", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        for axis in ("agents", "width"):
            assert {row["method"] for row in found if row["axis"] == axis} == set(names)


def imports_torch(*arguments: str) -> bool:
    """Whether a command, alone in a process, imports torch; it may end as it likes."""
    code = (
        "import sys, bench.cli\ntry: bench.cli.main(sys.argv[1:])\n"
        "finally: print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    return {"True": True, "False": False}[done.stdout.splitlines()[-1]]


@pytest.mark.parametrize(
    "command",
    [
        *("--help", "train --help", "methods --help", "evaluate --help", "speed --help"),
        *(
            "tasks --help",
            "nope",
            "methods --agents=0",
            "train --agents=0",
            "tables --grid=nope.yaml",
        ),
        "train --grid=config/quick.yaml --run=nope",
    ],
)
def test_what_neither_trains_nor_acts_imports_no_torch(command: str) -> None:
    assert not imports_torch(*command.split())


def test_torch_is_imported_to_train_and_not_for_what_is_trained(tmp_path: Path) -> None:
    command = ["train", *FAST, f"--results={tmp_path}"]
    assert imports_torch(*command)
    assert not imports_torch(*command)


SCHEME = """
from baselines.sharing.shared import Shared

VERSION = 1


class Sound(Shared):
    pass


class Mute(Shared):
    def weights(self, parameters):
        return [(w.detach(), b) for w, b in super().weights(parameters)]


ENTRY = {
    "summary": "of one's own",
    "algorithm": "baselines.algorithms.iql:IQL",
    "scheme": f"{__name__}:Sound",
    "actions": "discrete",
}
"""


def test_a_scheme_from_outside_is_checked_under_every_algorithm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "outside"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "schemes.py").write_text(SCHEME)
    (package / "broken.py").write_text("1 / 0\n")
    (tmp_path / "alone.py").write_text(SCHEME.replace("VERSION = 1", ""))
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["check-method", "outside.schemes:Sound", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    tried = {row["method"] for row in rows}
    assert {"IQL discrete", "ActorCritic {'critic': 'one'} continuous", "QMIX discrete"} <= tried
    assert {row["result"] for row in rows} == {"ok"}
    assert main(["check-method", "outside.schemes:ENTRY", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(rows) / len(tried)
    (package / "typo.py").write_text(
        "from outside.schemes import ENTRY as SOUND\n"
        'SETTING = {**SOUND, "settings": {"actorlr": 3}}\n'
        'SAMPLER = {**SOUND, "samplers": ["unifrm"]}\n'
    )
    for name, words in (("SETTING", "unknown key 'actorlr'"), ("SAMPLER", "sampler 'unifrm'")):
        assert main(["check-method", f"outside.typo:{name}"]) == 1
        assert words in capsys.readouterr().err
    assert main(["check-method", "outside.schemes:Mute"]) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "gradients: W0 gets no gradient" in said.err
    summary, failures = (
        said.out.splitlines()[: len(tried) + 1],
        said.out.splitlines()[len(tried) + 1 :],
    )
    assert summary[0].split() == ["method", "checks", "failed"]
    count = sum(int(line.split()[-1]) for line in summary[1:])
    (repeated,) = (line for line in failures if "gradients: W0 gets no gradient" in line)
    assert repeated.endswith(f"(and so under {len(tried)} of {len(tried)})")
    assert len(failures) < len(tried) <= count and f"{count} of " in said.err
    assert main(["check-method", "alone:ENTRY"]) == 1, "no package is needed, but a version is"
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "alone.py declares no behaviour version" in error
    assert main(["check-method", "outside.broken:Sound"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "division by zero" in error
