"""Grids with learned records, built once; tests that break records take a copy."""

from __future__ import annotations

import shutil

import pytest
import synthetic
from evidence import EXPERIMENTS
from synthetic import Small

from bench.report.aggregate import Row, rows
from bench.report.load import Results


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Small:
    folder = tmp_path_factory.mktemp("small")
    grid = synthetic.write_grid(folder)
    synthetic.write_records(grid, folder)
    return Small(grid, folder)


@pytest.fixture(scope="session")
def results(small) -> Results:
    return small.load()


@pytest.fixture(scope="session")
def built(small, results) -> dict[str, bytes]:
    return synthetic.build_all(results, small.out)


@pytest.fixture
def copy(small, tmp_path) -> Small:
    shutil.copytree(small.out / "runs", tmp_path / "small" / "runs")
    return Small(small.grid, tmp_path)


@pytest.fixture(scope="session")
def why(tmp_path_factory) -> Small:
    folder = tmp_path_factory.mktemp("why")
    grid = synthetic.write_grid(folder, experiments=EXPERIMENTS)
    synthetic.write_records(grid, folder)
    return Small(grid, folder)


@pytest.fixture(scope="session")
def found(why) -> Results:
    return why.load()


@pytest.fixture(scope="session")
def table(found) -> list[Row]:
    return rows(found)
