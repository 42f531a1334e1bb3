"""What methods cost: counted, against formulas written out by hand; and how it grows."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.config import resolve
from bench.costs import costs, draw, growth, world
from bench.costs.output import write
from bench.fleet import Fleet
from bench.methods import load_methods

H = 32
ROOT = Path(__file__).parents[2]


def plain(*sizes: int) -> int:
    """Parameters of a plain network."""
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in itertools.pairwise(sizes))


def products(*sizes: int) -> int:
    """FLOPs of one row through a plain network."""
    return sum(2 * fan_in * fan_out for fan_in, fan_out in itertools.pairwise(sizes))


@pytest.mark.parametrize("agents", [2, 5])
def test_counts_are_those_of_the_formulas(agents: int) -> None:
    N, O = agents, 2 + 4 * agents  # noqa: E741
    joint, trunk, code, embedding = N * (O + 2), plain(O, H, H), 64, 8
    head = plain(H, 2)
    one_critic = plain(joint, H, H, 1)
    hyper = trunk + one_critic + embedding * (N + code) + head * code + H * 2
    trained = {
        "iql": N * plain(O, H, H, 5),
        "iddpg": N * (plain(O, H, H, 2) + plain(O + 2, H, H, 1)),
        "maddpg": N * (plain(O, H, H, 2) + plain(joint, H, H, 1)),
        "ps-maddpg": trunk + N * head + one_critic,
        "hyper-maddpg": hyper,
        "maddpg-joint": N * (plain(O, H, H, 2) + plain(joint, H, H, 1)),
        "ps-maddpg-twin": trunk + N * head + 2 * one_critic,
        "ps-maddpg-gumbel": trunk + N * plain(H, 5) + plain(N * (O + 5), H, H, 1),
        "meta-ddpg": plain(N * O, H, H, 2 * N) + one_critic,
        "meta-dqn": plain(N * O, H, H, 5**N),
        "vdn": plain(O + N, H, H, 5),
        "qmix": plain(O + N, H, H, 5) + plain(N * O, 32 * (N + 2)) + plain(N * O, 32, 1),
    }
    acting = N * products(O, H, H, 2)
    per_action = {
        "iql": N * products(O, H, H, 5),
        **dict.fromkeys(("iddpg", "maddpg", "ps-maddpg"), acting),
        "hyper-maddpg": acting + N * 2 * (embedding * code + code * head),
        **dict.fromkeys(("maddpg-joint", "ps-maddpg-twin"), acting),
        **dict.fromkeys(("ps-maddpg-gumbel", "vdn", "qmix"), N * products(O, H, H, 5)),
        "meta-ddpg": products(N * O, H, H, 2 * N),
        "meta-dqn": products(N * O, H, H, 5**N),
    }
    for method, expected in trained.items():
        counted = costs(method, agents, [H, H])
        assert counted["trained_parameters"] == expected
        assert counted["flops_per_action"] == per_action[method]
        generated = N * head if method == "hyper-maddpg" else 0
        if method not in ("vdn", "qmix"):  # whose first bias is put together for each agent
            assert counted["generated_parameters"] == generated
            assert counted["peak_parameters"] == 2 * expected + generated


@pytest.mark.parametrize("agents", [2, 5, 8])
def test_generated_heads_are_as_many_numbers_to_act_and_not_to_train(agents: int) -> None:
    """The network that acts is the same; what generates it is larger, by a size of its own."""
    hyper, stored = (costs(name, agents, [H, H]) for name in ("hyper-maddpg", "ps-maddpg"))
    assert hyper["inference_parameters"] == stored["inference_parameters"]
    head = plain(H, 2)
    more = 8 * (agents + 64) + 64 * head + H * 2 - agents * head
    assert hyper["trained_parameters"] - stored["trained_parameters"] == more > 0


def test_counts_without_numbers_are_those_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no method of ours needs any, which would take minutes at N = 64."""
    count, counted_on = Fleet._count_flops, set()

    def noted(fleet: Fleet, device: torch.device, work: Any) -> int:
        counted_on.add(device.type)
        return count(fleet, device, work)

    monkeypatch.setattr(Fleet, "_count_flops", noted)
    trained = [name for name, entry in load_methods().items() if entry.scheme]
    for method in ["oracle", "random", *trained]:
        sizes = {"sampler": "uniform", "hidden": [H, H], "buffer": 1}
        config = resolve({"method": method, **world(method)}, sizes)
        counted = costs(method, config.agents, [H, H])
        fleet = Fleet([config], torch.device("cpu"))
        assert fleet.cost().model_dump().items() <= counted.items()
        assert fleet.flops_per_action() == counted["flops_per_action"]
    assert counted_on == {"meta"}


def test_a_slope_is_the_degree_and_an_exponential_has_none() -> None:
    cubes = tuple(7 * n**3 for n in growth.AGENTS)
    powers = tuple(2**n for n in growth.AGENTS)
    sweep = growth.Sweep("m", "agents", {"cubes": cubes, "powers": powers, "none": (0,) * 6})
    assert sweep.slope("cubes") == pytest.approx(3)
    assert sweep.steepest("cubes") == pytest.approx(3)
    assert sweep.slope("none") is None
    assert sweep.steepest("none") == 0
    assert sweep.steepest("powers") == pytest.approx(32), "log2 of 2^64 / 2^32"


def test_no_count_grows_faster_than_a_polynomial() -> None:
    """Degree 3 in N at most: N critics, each of N observations of 4 N numbers; 2 in the width."""
    for sweep in growth.sweeps():
        limit = 3 if sweep.axis == "agents" else 2
        assert max(sweep.steepest(name) for name in growth.QUANTITIES) < limit
    found = growth.summary()
    assert 0.99 < found["generated"]["agents"] < 3
    assert 0.9 < found["generated"]["width"] < 2
    assert found["steepest"]["slope"] < 3


def test_what_is_written_has_every_method_that_trains(tmp_path: Path) -> None:
    written = {path.name for path in write([{"method": "a"}], {"agents": 3}, tmp_path)}
    assert written == {"methods.json", "growth.csv", "growth.svg", "growth.png"}
    with (tmp_path / "growth.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert json.loads((tmp_path / "methods.json").read_text())["at"] == {"agents": 3}
    trained = {name for name, entry in load_methods().items() if entry.scheme} - {"meta-dqn"}
    assert {row["method"] for row in rows} == trained
    assert len(rows) == len(trained) * (len(growth.AGENTS) + len(growth.WIDTHS))
    row = next(r for r in rows if (r["method"], r["axis"], r["agents"]) == ("iql", "agents", "8"))
    counted = costs("iql", 8, [growth.WIDTH_AT] * 2)
    assert all(int(row[name]) == counted[name] for name in growth.QUANTITIES)


def test_the_committed_counts_are_those_of_the_code() -> None:
    committed = json.loads((ROOT / "results" / "methods" / "methods.json").read_text())
    assert committed["growth"] == growth.summary()
    assert committed["slopes"] == [dict(row) for row in growth.slopes()]
    for row in committed["methods"]:
        assert costs(row["method"], 3, [64, 64]).items() <= row.items()


def test_a_panel_has_a_line_per_method() -> None:
    figure = draw.costs()
    methods = {sweep.method for sweep in growth.sweeps()} & set(draw.METHODS)
    assert len(methods) == len(draw.METHODS)
    drawn = figure.axes[: len(growth.AXES) * len(draw.DRAWN)]
    assert all(len(ax.lines) == len(methods) for ax in drawn)
    looks = {
        (line.get_color(), str(line.get_linestyle()), line.get_marker()) for line in drawn[0].lines
    }
    assert len(looks) == len(methods), "told apart"
