"""The paper compiles without a warning, uses every number, cites every figure."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import synthetic
import typst
from synthetic import build_all

from bench.errors import RequestError, WorldError
from bench.report import figures, paper, tables
from bench.report.load import load

ALL = list(paper.SECTIONS)
QUICK = Path(__file__).parents[2] / "config" / "quick.yaml"


def query(out, selector, field=None):
    root, _ = paper.location(out)
    return json.loads(
        typst.query(
            str(paper.SOURCE),
            selector,
            field=field,
            root=root,
            sys_inputs=paper.inputs(out, ALL),
            ignore_system_fonts=True,
        )
    )


def test_it_is_a_pdf(built):
    assert built["paper.pdf"].startswith(b"%PDF")
    assert b"CreationDate" not in built["paper.pdf"]


def test_every_number_is_used(small, built):
    used = set(query(small.out, "<value>", "value"))
    assert used >= set(json.loads(built["values.json"])["numbers"]) - {
        "runs-expected",  # of these only an incomplete paper speaks
        "runs-used",
        "runs-left-out",
    }


def test_every_figure_is_cited(small, built):
    cited = {ref["target"] for ref in query(small.out, "ref")}
    labels = [figure.get("label") for figure in query(small.out, "figure")]
    assert len(labels) >= 10
    assert set(labels) <= cited


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """Sections of the appendix whose grids have records of their own, beside the paper's."""
    monkeypatch.setattr(paper, "BESIDE", tmp_path)
    for name in ("hypernet", "specialisation", "beyond"):
        grid = synthetic.write_shortened(QUICK.with_name(f"{name}.yaml"), tmp_path, 1)
        synthetic.write_records(grid, tmp_path)
        for module in (tables, figures):
            module.build(load(grid, tmp_path), tmp_path / name)
    return tmp_path


def test_sections_of_other_grids_are_set_and_cite_their_figures(small, built, beside):
    for name in ("hypernet", "specialisation", "beyond"):
        assert paper.inputs(small.out, ALL)[name].endswith(name)
        assert paper.inputs(small.out, [])[name] == "", "nothing that its grid does not ask for"
    assert paper.compile_pdf(small.out, ALL) != built["paper.pdf"]
    assert paper.compile_pdf(small.out, []) == built["paper.pdf"]
    cited = {ref["target"] for ref in query(small.out, "ref")}
    labels = {figure.get("label") for figure in query(small.out, "figure")}
    expected = {"<ablation-changes>", "<ablation-changed>", "<specialised>"}
    expected |= {"<scaling>", "<reached>", "<ingredients>", "<effects>", "<pairs>", "<transfer>"}
    assert expected | {"<episode>"} <= labels <= cited


def test_a_recipe_without_a_single_success_has_a_paper(small, tmp_path, monkeypatch):
    monkeypatch.setattr(paper, "BESIDE", tmp_path)
    grid = synthetic.write_shortened(QUICK.with_name("beyond.yaml"), tmp_path, 5)
    synthetic.write_records(grid, tmp_path, "zero")
    for module in (tables, figures):
        module.build(load(grid, tmp_path), tmp_path / "beyond")
    assert paper.compile_pdf(small.out, ALL)


def test_the_paper_says_where_a_recipe_has_no_runs(small, built, tmp_path, monkeypatch):
    monkeypatch.setattr(paper, "BESIDE", tmp_path)
    grid = QUICK.with_name("beyond.yaml")
    synthetic.write_records(grid, tmp_path, there=lambda key: key.startswith("references/"))
    for module in (tables, figures):
        module.build(load(grid, tmp_path), tmp_path / "beyond")
    assert paper.compile_pdf(small.out, ALL) != built["paper.pdf"]
    assert {"<scaling>", "<ingredients>"} <= {f.get("label") for f in query(small.out, "figure")}


def test_every_reference_is_cited_somewhere():
    text = "".join(path.read_text() for path in paper.SOURCE.parent.glob("*.typ"))
    cited = set(re.findall(r"@(\w+)", text))
    entries = re.findall(r"^@\w+\{(\w+),", (paper.SOURCE.parent / "refs.bib").read_text(), re.M)
    assert len(entries) >= 10
    assert set(entries) <= cited


def test_prose_types_no_result():
    """A decimal number in the source is a constant of the task, never a measurement."""
    prose = "".join(path.read_text() for path in paper.SOURCE.parent.glob("[!s]*.typ"))
    prose = re.sub(r"//.*", "", prose)
    assert set(re.findall(r"(?<![\w.])\d+\.\d+(?!\w)", prose)) <= {"0.5", "10.0"}


@pytest.mark.parametrize(
    ("source", "message"),
    [('#set text(font: "No Such Font")\nText', "typst warns"), ("#nothing", "typst cannot set")],
)
def test_a_warning_or_an_error_is_a_failure(small, built, tmp_path, monkeypatch, source, message):
    broken = tmp_path / "paper.typ"
    broken.write_text(source)
    monkeypatch.setattr(paper, "SOURCE", broken)
    with pytest.raises(WorldError, match=message):
        paper.compile_pdf(small.out, ALL)


def test_an_incomplete_paper_says_so(copy):
    for path in (copy.out / "runs/figure4/iql").rglob("n3/*.json"):
        path.unlink()
    (copy.out / "runs/references/oracle/group-goal-uniform/n2/seed0.json").unlink()
    built = build_all(copy.load(), copy.out)
    found = json.loads(built["values.json"])
    assert not found["complete"]
    assert set(query(copy.out, "<value>", "value")) >= set(found["numbers"])
    assert query(copy.out, "<left-out>")
    assert not [t for t in found["teams"] if t["agents"] == 2 and t["oracle"] is not None]


@pytest.mark.parametrize("regime", ["zero", "learned"])
def test_the_quick_grid_has_a_paper(tmp_path, regime):
    synthetic.write_records(QUICK, tmp_path, regime)
    results = load(QUICK, tmp_path)
    assert results.complete
    build_all(results, tmp_path / "quick")


def test_what_is_not_built_yet_is_named(results, tmp_path):
    with pytest.raises(RequestError, match=r"tables/final\.csv is missing: run `hypercoop tables`"):
        paper.build(results, tmp_path)
    tables.build(results, tmp_path)
    with pytest.raises(RequestError, match=r"figures/figure4\.svg is missing"):
        paper.build(results, tmp_path)


def test_another_first_method_may_be_the_papers(tmp_path):
    """A grid whose Figure 4 has one method, one N and two curves, and no second method."""
    figure4 = {
        **synthetic.GRID["experiments"]["figure4"],
        "methods": ["maddpg"],
        "rewards": ["group-goal"],
        "agents": [2],
    }
    experiments = {
        "references": synthetic.GRID["experiments"]["references"],
        "figure4": figure4,
    }
    grid = synthetic.write_grid(tmp_path, experiments=experiments)
    synthetic.write_records(grid, tmp_path)
    built = build_all(load(grid, tmp_path), tmp_path / "small")
    assert "figures/profiles.svg" not in built
    assert json.loads(built["values.json"])["numbers"]["method"] == "maddpg"
