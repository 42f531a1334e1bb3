"""The leaderboard: one self-contained HTML page that needs no network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench import stats
from bench.files import write_atomic
from bench.report.aggregate import Row, rows, unusual
from bench.report.formats import shown, shown_rank
from bench.report.load import Results, gathered
from bench.report.standings import Board, boards, overall
from bench.stats import Estimate

TEMPLATE = "leaderboard.html"
LISTED = 200
"""Lines of problems on the page; ``tables/problems.csv`` has them all."""


@dataclass(frozen=True)
class Box:
    """A table cell: what is shown, what it is sorted by (empty sorts last), and a class."""

    text: str
    order: float | str = ""
    kind: str = "number"
    bar: tuple[float, float, float] | None = None
    """Lower end, point and upper end of an interval in percent of the longest."""


@dataclass(frozen=True)
class Line:
    """A table row, and the values that filters match (an empty one matches every filter)."""

    boxes: list[Box]
    filters: dict[str, str]
    reference: bool


HEADER = {
    "rank": "Rank within the setting; a range where ranks cannot be told apart",
    "method": "Algorithm times parameter scheme",
    "experiment": "Experiment of the grid, with its variant",
    "task": "Task, and the options that differ from its defaults",
    "N": "Number of agents",
    "reward": "Reward that the method trained on",
    "sampler": "Replay sampler",
    "settings": "What the experiment sets beside the grid's defaults",
    "score": "Interquartile mean over runs of the primary metric, and its 95% bootstrap interval",
    "normalised": "The score with random actions at 0 and the scripted oracle at 1",
    "any success": "Share of episodes with any successful step, mean over runs",
    "runs": "Runs in the statistics, of runs that the grid asks for",
    "diverged": "Runs stopped by a NaN; they are in no average",
    "absent": "Runs without a usable record: missing, invalid or stale",
    "trained": "Trained parameters",
    "inference": "Parameters needed to act",
    "MFLOP/update": "Million floating-point operations of one update's matrix products",
    "CPU s": "Median CPU seconds of a run on the machine that made it",
}


def build(results: Results, out_dir: Path) -> list[Path]:
    """Write ``out_dir/leaderboard/index.html``.

    Returns:
        The path written.

    Raises:
        WorldError: if the disk refuses.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    table = rows(results)
    full, wrong = _full_scale(table), gathered(results.problems)
    lines = [
        _line(row, _rank(rank, board), full)
        for board in boards(table).values()
        for row, rank in board
    ]
    lines += [_line(row, Box("–"), full) for row in table if row.cell.reference]
    environment = Environment(
        loader=PackageLoader("bench", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(TEMPLATE).render(
        grid=results.grid,
        header=HEADER,
        lines=lines,
        filters={
            name: list(dict.fromkeys(f for line in lines if (f := line.filters[name])))
            for name in ("N", "reward", "sampler")
        },
        overall=overall(results),
        shown=shown,
        shown_rank=shown_rank,
        notice=results.notice(),
        problems=list(wrong)[:LISTED],
        more_problems=sum(list(wrong.values())[LISTED:]),
        min_seeds=stats.MIN_SEEDS,
    )
    path = out_dir / "leaderboard" / "index.html"
    write_atomic(path, page.encode())
    return [path]


def _full_scale(table: list[Row]) -> float:
    """Right end of the interval bars: the best that any score reaches."""
    tops = [row.score.hi or row.score.point for row in table if row.score]
    return max([top for top in tops if top > 0], default=1.0)


def _line(row: Row, rank: Box, full: float) -> Line:
    c, cell, cost = row.cell.config, row.cell, row.cost
    reward = "" if cell.reference else c.reward
    sampler = "" if cell.reference else c.sampler
    options = " ".join(f"{name}={value}" for name, value in unusual(c).items())
    settings = " ".join(f"{name}={value}" for name, value in cell.settings.items())
    absent = len(cell.problems) - cell.count("diverged")
    boxes = [
        rank,
        Box(c.method, c.method, "text"),
        Box(cell.experiment, cell.experiment, "text"),
        Box(f"{c.task} {options}".strip(), f"{c.task} {options}", "text"),
        Box(str(c.agents), c.agents),
        Box(reward or "any", reward, "text"),
        Box(sampler or "any", sampler, "text"),
        Box(settings or "–", settings, "text"),
        _estimate(row.score, full),
        _estimate(row.normalised),
        _number(row.any_success, "{:.3f}"),
        Box(f"{len(cell.outcomes)}/{cell.expected}", len(cell.outcomes), _alarm(cell.problems)),
        Box(str(cell.count("diverged")), cell.count("diverged"), _alarm(cell.count("diverged"))),
        Box(str(absent), absent, _alarm(absent)),
        _number(cost.trained_parameters if cost else None, "{:,}"),
        _number(cost.inference_parameters if cost else None, "{:,}"),
        _number(cost.flops_per_update / 1e6 if cost else None, "{:,.1f}"),
        _number(row.cpu_seconds, "{:,.0f}"),
    ]
    return Line(boxes, {"N": str(c.agents), "reward": reward, "sampler": sampler}, cell.reference)


def _rank(rank: tuple[int, int] | None, board: Board) -> Box:
    if rank is None:
        return Box("–")
    contestants = sum(other is not None for _, other in board)
    return Box(f"{shown_rank(rank)} of {contestants}", rank[0] + rank[1] / 1000)


def _estimate(found: Estimate | None, full: float | None = None) -> Box:
    if found is None:
        return Box("–")
    bar = None
    if full and found.lo is not None and found.hi is not None:
        lo, at, hi = (round(100 * x / full, 1) for x in (found.lo, found.point, found.hi))
        bar = (lo, at, hi) if lo >= 0 else None
    return Box(shown(found) or "", found.point, bar=bar)


def _number(value: float | None, form: str) -> Box:
    return Box("–") if value is None else Box(form.format(value), value)


def _alarm(problem: object) -> str:
    return "number alarm" if problem else "number"
