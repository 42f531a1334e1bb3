"""The performance benchmark: what it counts and covers.  One test looks at times, at a ratio."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from small import tiny
from torch.utils.flop_counter import FlopCounterMode

from bench import speed
from bench.compilation import has_compiler
from bench.speed import suite, timing
from bench.speed.clock import NETWORK, REST, Clock, watched
from bench.speed.dynamic import FULL, QUICK, Case
from bench.speed.fleets import Traffic, traffic
from bench.speed.generation import FULL as FULL_GENERATION
from bench.speed.generation import QUICK as QUICK_GENERATION
from bench.speed.generation import generators
from bench.speed.products import Product, flops
from bench.speed.update import Floors, record_products
from bench.speed.workload import reference, stocked

SMALL = {"buffer": 6_000}
"""The reference workload but for the size of its ring."""
CASES = [
    Case("generated", 4, 3, 2, 5, 20),
    Case("low rank", 4, 3, 2),
    Case("grouped", 4, 3, 64, 5, 20),
]


def closed_form(n: int, batch: int, hidden: int, narrow: bool) -> dict[str, int]:
    """FLOPs of ps-maddpg's update on coop-nav, by part: multiply-adds of every product, twice.

    On a CPU the narrow products, onto one value and back through the last layers, are elementwise;
    they are counted if `narrow`.
    """
    seen, action = 4 + 2 * n + 2 * (n - 1), 2
    joint, state, rows = n * (seen + action), 6 * n, n * batch
    actor = rows * (seen * hidden + hidden * hidden + hidden * action)
    value = batch * (joint * hidden + hidden * hidden + narrow * hidden)
    critic_back = batch * (2 * narrow * hidden + 2 * hidden * hidden + joint * hidden)
    # Own gradient: the stored part once (each agent's change is added to it), n times the rest.
    judged = batch * joint * hidden + rows * hidden * hidden
    judged_back = rows * (narrow * hidden + hidden * hidden + hidden * action)
    actor_back = rows * ((1 + narrow) * hidden * action + 2 * hidden * hidden + seen * hidden)
    multiplied = {
        "re-observing": 2 * batch * state * n * seen,
        "targets": actor + value,
        "critic": value + critic_back,
        "actor": actor + judged + judged_back + actor_back,
    }
    return {part: 2 * count for part, count in multiplied.items()}


@pytest.mark.parametrize(("agents", "hidden", "batch"), [(3, 64, 1024), (2, 32, 128), (4, 128, 64)])
def test_flops_of_an_update_are_the_closed_form(agents: int, hidden: int, batch: int) -> None:
    run = stocked(reference(**SMALL, agents=agents, hidden=[hidden, hidden], batch=batch))
    products = record_products(run, "_learn", *run._batches(1))
    counted = {part: flops(p) for part, p in products.items()}
    counted.pop("reward", None)  # matches targets to agents
    assert counted == closed_form(agents, batch, hidden, narrow=False)


@pytest.mark.parametrize("method", ["ps-maddpg", "maddpg", "hyper-maddpg", "iddpg", "iql"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_recorded_products_are_all_that_torch_counts(method: str, replicas: int) -> None:
    run = stocked(reference(**SMALL, method=method, batch=64, parallel=10), replicas)
    with FlopCounterMode(display=False) as counter:
        products = record_products(run, "episodes")
    assert sum(map(flops, products.values())) == counter.get_total_flops() > 0


def test_flops_of_the_record_are_the_closed_form() -> None:
    run = stocked(reference(**SMALL))
    config = run._fleet.config
    expected = closed_form(config.agents, config.batch, config.hidden[0], narrow=True)
    assert run._fleet.cost().flops_per_update == sum(expected[part] for part in NETWORK[:3])


def test_watching_changes_no_number_and_leaves_nothing_behind() -> None:
    config = reference(**SMALL, batch=64)
    plain, seen = stocked(config), stocked(config)
    attributes = {name: set(vars(part)) for name, part in vars(seen._fleet).items() if _plain(part)}
    plain.episodes()
    with watched(seen, Clock()):
        seen.episodes()
    assert {name: set(vars(getattr(seen._fleet, name))) for name in attributes} == attributes
    assert not {"_learn", "_take_stock"} & set(vars(seen))
    assert seen._updates == plain._updates == 30
    expected, found = plain._fleet.state(), seen._fleet.state()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    # TD errors pass through the sums that are logged.
    assert {name: float(total) for name, total in plain._sums.items()} == {
        name: float(total) for name, total in seen._sums.items()
    }


def _plain(part: object) -> bool:
    return hasattr(part, "__dict__")


def test_parts_cover_the_loop() -> None:
    """With a clock that ticks once a reading, every tick lands in a part, and none is lost."""
    ticks = itertools.count()
    run, clock = stocked(reference(**SMALL, batch=64)), Clock(lambda: float(next(ticks)))
    with watched(run, clock):
        first = next(ticks)
        run._learn(*run._batches(1))
        learning = clock.lap()
        run.episodes()
        playing = clock.lap()
    learned = {"sampling", "reading transitions", "re-observing", "reward", "priorities"}
    assert set(learning) == {*learned, *NETWORK, REST}
    assert set(playing) == {*learning, "acting", "stepping", "storing"}
    assert sum(learning.values()) + sum(playing.values()) == next(ticks) - first


def test_methods_without_those_stages_are_one_part() -> None:
    run, clock = stocked(reference(**SMALL, method="iql", batch=64)), Clock()
    with watched(run, clock):
        run._learn(*run._batches(1))
    assert set(clock.lap()) & set(NETWORK) == {"targets"}


@pytest.mark.parametrize(
    ("operation", "sizes", "strides", "expected"),
    [
        ("mm", ((4, 5), (5, 6)), ((5, 1), (6, 1)), 2 * 4 * 5 * 6),
        ("bmm", ((3, 4, 5), (3, 5, 6)), ((20, 1, 4), (0, 6, 1)), 3 * 2 * 4 * 5 * 6),
        ("baddbmm", ((3, 1, 6), (3, 4, 5), (3, 5, 6)), ((6, 6, 1), (20, 5, 1), (30, 6, 1)), 720),
        ("addmm", ((6,), (4, 5), (5, 6)), ((1,), (5, 1), (1, 5)), 2 * 4 * 5 * 6),
        ("_linear_pointwise", ((1, 4, 5), (6, 5)), ((20, 5, 1), (1, 6)), 2 * 4 * 5 * 6),
    ],
)
def test_a_product_is_rehearsed_as_it_was(
    operation: str,
    sizes: tuple[tuple[int, ...], ...],
    strides: tuple[tuple[int, ...], ...],
    expected: int,
) -> None:
    product = Product(operation, sizes, strides)
    assert product.flops == expected
    columns = sizes[-1][0 if operation == "_linear_pointwise" else -1]
    assert product.rehearsal()().shape == (*sizes[-2][:-1], columns)


def test_traffic_is_what_operations_read_and_write() -> None:
    x, row = torch.ones(10, 20), torch.ones(20)
    for operation, expected in (
        (lambda: x + row, 4 * (200 + 20 + 200)),
        (lambda: x.add_(1.0), 4 * (200 + 200)),
        (lambda: x.T.view(20, 10)[3:], 0),
        (lambda: row.expand(10, 20) * x, 4 * (20 + 200 + 200)),
    ):
        with Traffic() as counted:
            operation()
        assert counted.bytes == expected
    config = reference(**SMALL, batch=64)
    assert traffic(config, 2) == pytest.approx(2 * traffic(config, 1), rel=0.1)
    assert config.sampler == "prioritized"
    larger = config.model_copy(update={"buffer": 2 * config.buffer})
    assert traffic(larger, 1) == traffic(config, 1), "of a batch, whatever the ring holds"


def test_floor_adds_up_what_each_part_does(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (
        Product("mm", ((2, 3), (3, 4)), ((3, 1), (4, 1))),
        Product("mm", ((5, 5), (5, 5)), ((5, 1), (5, 1))),
    )
    floors = Floors({"a": Counter({one: 2, two: 4}), "b": Counter({two: 6})}, updates=2)
    assert floors.flops() == {"a": one.flops + 2 * two.flops, "b": 3 * two.flops}
    ticks = itertools.count()
    monkeypatch.setattr("time.process_time", lambda: float(next(ticks)))
    each = 1 / Floors.REPEATS
    assert floors.sample() == pytest.approx({"a": 3 * each, "b": 3 * each})


def test_interleaving_gives_every_function_every_round() -> None:
    calls: list[str] = []
    functions = {name: lambda name=name: calls.append(name) for name in "ab"}
    samples = timing.interleave(functions, rounds=3, block=1e-6)
    assert {name: len(values) for name, values in samples.items()} == {"a": 3, "b": 3}
    turns = [name for name, _ in itertools.groupby(calls)]
    assert turns == ["a", "b"] * 4  # once to warm up


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    """A whole benchmark on a small workload."""
    out = tmp_path_factory.mktemp("speed")
    patch = pytest.MonkeyPatch()
    patch.setattr(suite, "reference", lambda: reference(**SMALL, batch=64, hidden=[16, 16]))
    patch.setattr(
        suite,
        "QUICK",
        suite.Plan(
            [2],
            {"agents": [2, 3], "replicas": [1, 2]},
            {"cpu": [1, 4]},
            2,
            1,
            CASES,
            QUICK_GENERATION,
        ),
    )
    try:
        return speed.run(True, out), out
    finally:
        patch.undo()


SECTIONS = [
    "host",
    "environment",
    "replay",
    "update",
    "evaluation",
    "start-up",
    "memory",
    "reference run",
    *(["compiled"] if has_compiler() else []),
    "growth",
    "fleets",
    "generation",
    "roofline",
    "dynamic products",
]


def test_rows_are_plain_and_have_units(measured: tuple[list[dict[str, Any]], Path]) -> None:
    rows, _ = measured
    assert [section for section, _ in itertools.groupby(rows, lambda row: row["section"])] == (
        SECTIONS
    )
    units = (
        "_us_",
        "_ms_",
        "_s",
        "_mib",
        "mib",
        "_flops",
        "gflop",
        "ratio",
        "share",
        "_bytes",
        "_gb_per_s",
    )
    units = (*units, "_per_byte")
    counts = {"agents", "parallel_episodes", "stored_transitions", "batch_transitions"}
    counts |= {"episodes", "updates", "threads", "value", "replicas"}
    counts |= {"groups", "rows", "code_or_rank", "fan_in", "fan_out"}
    for row in rows:
        for name, value in row.items():
            assert isinstance(value, str | int | float | bool)
            if not isinstance(value, str | bool) and name not in counts:
                assert any(unit in f"{name}_" for unit in units), name
    assert rows[0]["threads"] == 1 and rows[0]["cpu"] and rows[0]["torch"] == torch.__version__


def test_parts_add_up_to_the_total(measured: tuple[list[dict[str, Any]], Path]) -> None:
    parts = {row["part"]: row for row in measured[0] if row["section"] == "update"}
    sums = {"network update", "everything else", "all parts", "all parts, no clock inside"}
    for name in ("share_of_total", "gemm_flops_per_update"):
        single = sum(row[name] for part, row in parts.items() if part not in sums)
        assert single == pytest.approx(parts["all parts"][name], rel=1e-2)
        both = parts["network update"][name] + parts["everything else"][name]
        assert both == pytest.approx(single, rel=1e-2)
    assert all(("ratio_to_floor" in row) == bool(row.get("gemm_flops_per_update"))
               for row in parts.values())  # fmt: skip


def test_all_agents_at_once_are_ten_times_as_fast_as_one_by_one(
    measured: tuple[list[dict[str, Any]], Path],
) -> None:
    heads, whole = (row for row in measured[0] if row["section"] == "generation")
    assert (heads["method"], heads["agents"]) == ("hyper-maddpg", 64)
    assert heads["one_by_one_to_at_once_ratio"] >= 10
    assert whole["one_by_one_to_at_once_ratio"] > 1


@pytest.mark.parametrize("method", FULL_GENERATION)
def test_both_ways_of_generating_make_the_same_weights(method: str) -> None:
    at_once, one_by_one = generators(tiny(), method, agents=3)
    single = one_by_one()
    assert len(single) == 3
    for n, (weight, bias) in enumerate(at_once()):
        for i, layers in enumerate(single):
            for part, own in zip((weight, bias), layers[n], strict=True):
                torch.testing.assert_close(part[:, i % part.shape[1]], own[:, 0])


def test_the_chosen_form_is_measured_and_its_regret_is_that_of_its_time(
    measured: tuple[list[dict[str, Any]], Path],
) -> None:
    rows = [row for row in measured[0] if row["section"] == "dynamic products"]
    by_kind = {case.kind: [row for row in rows if row["kind"] == case.kind] for case in CASES}
    assert [len(forms) for forms in by_kind.values()] == [4, 2, 2]
    for forms in by_kind.values():
        for time, regret in (("cpu_us", "regret"), ("learn_cpu_us", "learn_regret")):
            times = {row["form"]: row[f"{time}_median"] for row in forms}
            expected = times[forms[0]["chosen"]] / min(times.values())
            for row in forms:
                assert row[f"{regret}_ratio"] == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("case", [*CASES, *QUICK, *FULL], ids=str)
def test_the_chosen_form_is_one_that_is_measured(case: Case) -> None:
    assert case.chosen() in case.forms()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_counted_work_of_dynamic_products_is_what_torch_counts(case: Case) -> None:
    inputs = case.inputs()
    for name, form in case.forms().items():
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            form(*inputs)
        assert case.work(name)[0] == counter.get_total_flops(), name


def test_what_is_written(measured: tuple[list[dict[str, Any]], Path]) -> None:
    rows, out = measured
    assert {path.name for path in out.iterdir()} == {
        "speed.json",
        "growth.csv",
        "speed.svg",
        "speed.png",
        "roofline.svg",
        "roofline.png",
    }
    whole = json.loads((out / "speed.json").read_text())
    assert whole == {"schema_version": 1, "rows": rows}
    lines = (out / "growth.csv").read_text().splitlines()
    assert len(lines) == 1 + sum(row["section"] == "growth" for row in rows)


def test_the_table_names_every_section_and_part(
    measured: tuple[list[dict[str, Any]], Path],
) -> None:
    rows, _ = measured
    text = speed.show(rows)
    assert all(f"\n{section}\n" in f"\n{text}" for section in SECTIONS)
    assert all(row["part"] in text for row in rows if row["section"] == "update")
    assert max(map(len, text.splitlines())) < 160
