"""The paper: the built tables, figures and values of one grid, set by typst."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import RequestError, WorldError
from bench.files import write_atomic
from bench.grid import Section
from bench.report import values
from bench.report.curves import FIGURE4
from bench.report.load import Results

BESIDE = Path(__file__).resolve().parents[2] / "results"
"""Where sections that a grid asks for have their data; without it the paper lacks the section."""
SECTIONS: Mapping[Section, str] = {
    "beyond": "tables/scaling.csv",
    "tuning": "tables/tuning.csv",
    "speed": "speed.json",
    "methods": "methods.json",
    "hypernet": "tables/ablation.csv",
    "specialisation": "tables/final.csv",
}
"""Folders there, each with a file that it has if it is built: the recipe and its ingredients, the
search for settings, the performance benchmark, what the methods cost, the ablation of
hypernetworks, and the game of specialisation."""
SOURCE = Path(__file__).resolve().parents[2] / "paper" / "paper.typ"
"""The paper's source in this checkout."""
FIGURES = ("figure4", "methods")
"""What it shows of every grid."""


def build(results: Results, out_dir: Path) -> list[Path]:
    """Write ``values.json``, ``values.tex``, ``claims.json`` and ``paper.pdf`` in ``out_dir``.

    The tables and figures must have been built there.

    Returns:
        The paths written.

    Raises:
        RequestError: if the tables or figures are not there, or the grid is not the paper's kind.
        WorldError: if typst warns or fails, or the disk refuses.
    """
    if FIGURE4 not in results.grid.experiments:
        raise RequestError(
            f"grid {results.grid.name} has no experiment '{FIGURE4}', which a paper is about"
        )
    for needed in ("tables/final.csv", *(f"figures/{name}.svg" for name in FIGURES)):
        if not (out_dir / needed).exists():
            raise RequestError(
                f"{out_dir / needed} is missing: run `hypercoop tables` and `hypercoop figures` on "
                "the same grid first"
            )
    paths = values.build(results, out_dir)
    pdf = out_dir / "paper.pdf"
    write_atomic(pdf, compile_pdf(out_dir, results.grid.sections))
    return [*paths, pdf]


def compile_pdf(out_dir: Path, sections: Sequence[Section]) -> bytes:
    """Set the paper from what lies in ``out_dir`` and beside; the same files give the same bytes.

    Raises:
        WorldError: at the first warning or error of typst.
    """
    import typst

    root, _ = location(out_dir)
    try:
        # The machine's own fonts are ignored: typst brings those that the paper uses.
        content, warnings = typst.compile_with_warnings(
            str(SOURCE), root=root, ignore_system_fonts=True, sys_inputs=inputs(out_dir, sections)
        )
    except typst.TypstError as error:
        raise WorldError(f"typst cannot set {SOURCE}: {error.message}") from error
    if warnings:
        raise WorldError(f"typst warns about {SOURCE}: {warnings[0].message}")
    return bytes(content)


def location(out_dir: Path) -> tuple[str, str]:
    """Return typst's root, above the source and the grid's files, and where in it these are."""
    data = out_dir.resolve()
    root = Path(os.path.commonpath([SOURCE.parent, data]))
    return str(root), f"/{data.relative_to(root).as_posix()}"


def inputs(out_dir: Path, sections: Sequence[Section]) -> dict[str, str]:
    """Return what the source reads in `sys.inputs`.

    The folders of the grid and of the sections, and by line the tables that there are in them.
    """
    root, data = location(out_dir)
    found = {"data": data}
    for name, file in SECTIONS.items():
        folder = BESIDE / name
        there = name in sections and (folder / file).exists() and folder.is_relative_to(root)
        found[name] = f"/{folder.relative_to(root).as_posix()}" if there else ""
    tables = (
        f"{folder}/tables/{path.name}"
        for folder in filter(None, [*found.values()])
        for path in sorted(Path(root, folder[1:], "tables").glob("*.csv"))
    )
    return {**found, "tables": "\n".join(tables)}
