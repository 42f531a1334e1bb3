"""docs/your-method.md: its file is a method that keeps every promise, and its grid is one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from small import FAST

from bench.cli import main
from bench.config import RunConfig
from bench.grid import expand, load_grid
from bench.layers import misfit
from bench.methods import MethodEntry, method_entry

PAGE = (Path(__file__).parents[1] / "docs" / "your-method.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "gains.py").write_text(block("python"))
    (tmp_path / "mine.yaml").write_text(block("yaml"))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_method_keeps_every_promise_and_trains(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-method", "gains:METHOD"]) == 0
    assert main(["methods", "--method=gains:METHOD"]) == 0
    assert "gains:METHOD" in capsys.readouterr().out
    assert main(["methods", "--method=gains:METHOD", "--growth"]) == 2
    assert main(["train", *FAST, "--method=gains:METHOD", f"--results={page}"]) == 0
    assert len(list(page.rglob("seed0.json"))) == 1


def test_the_page_lists_every_key_of_an_entry_and_how_q_learners_explore() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(MethodEntry.model_fields)
    explored = re.search(r'`"settings": (\{"noise_start".*?\})`', PAGE)
    assert explored is not None
    assert json.loads(explored.group(1)) == method_entry("iql").settings
    named = "noise_start", "noise_end", "noise_fraction"
    usual = "{}, {} and {}".format(*(RunConfig.model_fields[name].default for name in named))
    assert usual in PAGE


def test_layers_of_a_wrong_shape_are_refused_before_anything_trains(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = (page / "gains.py").read_text().replace("unsqueeze(3), bias", "unsqueeze(3), bias.mT")
    (page / "wrong.py").write_text(source.replace("gains:", "wrong:"))
    assert main(["train", *FAST, "--method=wrong:METHOD", f"--results={page}"]) == 2
    said = capsys.readouterr().err
    assert "wrong:Gains: layer 2: b is [1, 1, 2, 1]: must be [1, 1 or 2, 1, 2]" in said
    one = [(torch.ones(3), torch.ones(1, 1, 1, 3))]
    assert misfit(one, 1, 2) == "layer 0: W is [3]: must be [1, 1 or 2, in, out]"
    assert misfit([], 1, 2) == "there are no layers"


def test_the_grid_asks_for_what_the_page_says(page: Path) -> None:
    runs = expand(load_grid(page / "mine.yaml"))
    methods = {run.config.method for run in runs.values()}
    assert methods == {"oracle", "random", "gains:METHOD", "ps-maddpg", "id-maddpg"}
    assert len(runs) == 2 + 3 * 2 * 5
