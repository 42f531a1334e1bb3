"""Recorded runs are drawn, trained again, and told apart from what they should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small import tiny

from bench import records, verify
from bench.cli import main
from bench.records import Record
from bench.train import train


@pytest.fixture(scope="module")
def cell() -> list[Record]:
    configs = [tiny(method="ps-maddpg", reward="mpe-dense", seed=seed) for seed in range(3)]
    return [outcome.record for outcome in train(configs, torch.device("cpu"))]


@pytest.fixture
def folder(cell: list[Record], tmp_path: Path) -> Path:
    for record in cell:
        path = tmp_path / f"runs/x/m/r-s/n2/seed{record.config.seed}.json"
        records.write(path, record)
    return tmp_path


def edited(record: Record, **changes: Any) -> Record:
    return Record.model_validate(json.loads(records.to_json(record)) | changes)


def moved(record: Record, by: float) -> Record:
    """Return a record whose curve, behind its first point, and score lie elsewhere."""
    values = json.loads(records.to_json(record))
    values["evaluation"]["mean"][record.score][-1] += by
    raw = values["absolute"]["raw"]
    raw[record.score] = [score + by for score in raw[record.score]]
    return Record.model_validate(values)


def test_a_run_trained_again_is_identical(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(folder), "--sample=2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 2 and len({row["run"] for row in rows}) == 2
    for row in rows:
        assert (row["cpu"], row["verdict"]) == ("same", "identical")
        assert "loop@2" in row["behaviour"] and row["run"].startswith("x/m/r-s/n2/seed")


@pytest.mark.parametrize("part", ["cpu", "device"])
def test_a_run_that_moved_need_not_come_again_to_the_bit(folder: Path, part: str) -> None:
    path = next(folder.rglob("seed*.json"))
    record = moved(records.read(path), 1e-6)
    facts = {**record.provenance, part: f"{record.provenance[part]} then cuda another"}
    path.write_text(records.to_json(record.model_copy(update={"provenance": facts})))
    found = verify.verify(path)
    assert (found.cpu, found.verdict) == ("other", "within tolerance")


def test_a_replica_at_a_batch_that_fills_no_vectors_need_not_either(tmp_path: Path) -> None:
    config = tiny(method="ps-maddpg", reward="mpe-dense", batch=10)
    record = moved(train([config], torch.device("cpu"))[0].record, 1e-6)
    path = tmp_path / "runs/x/m/r-s/n2/seed0.json"
    for replicas, demanded in ((1, True), (3, False)):
        facts = {**record.provenance, "replicas": replicas}
        records.write(path, record.model_copy(update={"provenance": facts}))
        found = verify.verify(path)
        assert found.cpu == "same"
        assert ("on the same CPU type" in found.reason) == demanded
        path.unlink()


def test_a_record_that_does_not_come_again_fails(
    folder: Path, cell: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    for path in folder.rglob("seed*.json"):
        record = records.read(path)
        path.write_text(records.to_json(moved(record, 1e-6)))
    assert main(["verify", str(folder)]) == 1
    said = capsys.readouterr()
    assert "1 of 1 runs differ" in said.err
    assert "on the same CPU type: evaluation, absolute" in said.out


def test_the_draw_is_a_function_of_its_seed_and_leaves_out_what_cannot_be_repeated(
    folder: Path, cell: list[Record]
) -> None:
    paths = sorted(folder.rglob("*.json"))
    assert verify.draw(folder, 9, 0) == verify.Drawn(paths, [], 0)
    draws = [verify.draw(folder, 1, seed).paths for seed in range(20)]
    assert draws == [verify.draw(folder, 1, seed).paths for seed in range(20)]
    assert {path for (path,) in draws} == set(paths)
    other = edited(cell[0], behaviour={**cell[0].behaviour, "loop": "bench.train:train@1"})
    paths[0].write_text(records.to_json(other))
    paths[1].write_text("{")
    drawn = verify.draw(folder, 9, 0)
    assert (drawn.paths, drawn.outdated, len(drawn.damaged)) == (paths[2:], 1, 1)
    assert str(paths[1]) in drawn.damaged[0]


def test_a_damaged_record_is_told_and_the_others_are_repeated(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = min(folder.rglob("seed*.json"))
    path.write_text(path.read_text().replace('"gamma": 0.95', '"gamma": 0.96'))
    assert main(["verify", str(folder), "--sample=3", "--json"]) == 1
    said = capsys.readouterr()
    assert [row["verdict"] for row in json.loads(said.out)] == ["identical"] * 2
    assert f"damaged, and left out: record {path}" in said.err
    assert "0 of 2 runs differ, and 1 records cannot be read" in said.err


def test_elsewhere_a_run_starts_alike_and_ends_within_the_spread_over_seeds(
    cell: list[Record],
) -> None:
    old, spread = cell[0], [10.0, 12.0, 14.0]
    assert verify.compare(old, old, False, spread)[0] == "identical"
    assert verify.compare(old, moved(old, 5.9), False, spread)[0] == "within tolerance"
    raw = old.absolute.raw[old.score] if old.absolute else []
    error = (sum((x - sum(raw) / len(raw)) ** 2 for x in raw) / len(raw)) ** 0.5 / len(raw) ** 0.5
    far = verify.LAST * max(2.0, 2**0.5 * error) + 0.1
    verdict, reason = verify.compare(old, moved(old, far), False, spread)
    assert verdict == "differs" and "tolerance" in reason
    alone = verify.compare(old, moved(old, verify.LAST * 2**0.5 * error + 0.1), False, [10.0])
    assert alone[0] == "differs", "a single seed has no spread to lie in"


def test_elsewhere_what_is_counted_and_how_it_starts_must_agree(cell: list[Record]) -> None:
    old = cell[0]
    cost = {**old.cost.model_dump(), "trained_parameters": 1}
    assert verify.compare(old, edited(old, cost=cost), False, [])[1].startswith("cost")
    curve = old.evaluation.model_dump()
    curve["updates"][-1] += 1
    assert "points" in verify.compare(old, edited(old, evaluation=curve), False, [])[1]
    curve = old.evaluation.model_dump()
    curve["mean"]["return"][0] += 0.2 * curve["std"]["return"][0] + 1
    assert "before training" in verify.compare(old, edited(old, evaluation=curve), False, [])[1]


def test_what_came_later_is_not_compared_and_the_rest_is(cell: list[Record]) -> None:
    new = cell[0]
    assert new.diagnostics is not None and new.diagnostics.gradient is not None
    layers = [
        layer.model_copy(update={"gradient": [], "alike": None, "dead": []})
        for layer in new.diagnostics.layers
    ]
    old = new.model_copy(
        update={
            "teamwork": None,
            "diagnostics": new.diagnostics.model_copy(update={"gradient": None, "layers": layers}),
        }
    )
    assert verify.compare(old, new, True, [])[0] == "identical"
    assert verify.compare(new, old, True, [])[0] == "differs"
    other = old.diagnostics.model_copy(update={"diversity": 0.5})
    assert (
        verify.compare(old.model_copy(update={"diagnostics": other}), new, True, [])[0] == "differs"
    )
    assert verify.compare(old.model_copy(update={"absolute": None}), new, True, [])[0] == "differs"
