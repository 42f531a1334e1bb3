"""A recipe's reports: what is compared with what, the rules, and grids that are only begun."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import synthetic
import yaml
from PIL import Image

from bench.errors import RequestError
from bench.grid import load_grid
from bench.report import draw_recipe, figures, leaderboard, tables
from bench.report.aggregate import Row, rows
from bench.report.load import Problem, Results, load
from bench.report.recipe import NAME, comparisons, example, judge, lines, transferred
from bench.report.recipe_tables import tables as recipe_tables
from bench.stats import Estimate

GRID = Path(__file__).parents[2] / "config" / "beyond.yaml"
RECIPE = load_grid(GRID).recipe
SEEDS = 5


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """The grid with five seeds, of which some runs are there; by what is kept of it."""

    def make(keep) -> tuple[Results, Path]:
        folder = tmp_path_factory.mktemp("beyond")
        path = synthetic.write_shortened(GRID, folder, SEEDS)
        synthetic.write_records(
            path, folder, there=lambda key: key.startswith("references/") or keep(key)
        )
        return load(path, folder), folder / "beyond"

    return make


@pytest.fixture(scope="module")
def whole(begun) -> tuple[Results, Path]:
    results, out = begun(lambda key: True)
    for module in (tables, figures):
        module.build(results, out)
    return results, out


def read(out: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "tables" / name).open()))


def test_every_selection_is_one_cell_and_differs_in_one_thing(whole) -> None:
    table = rows(whole[0])
    found = comparisons(RECIPE, table)
    removed = [c for c in found if c.kind == "removed"]
    added = [c for c in found if c.kind == "added"]
    assert {c.what for c in removed} == set(RECIPE.removed)
    assert {c.what for c in added} == set(RECIPE.added)
    assert {c.row.cell.config.agents for c in (*removed, *added)} == {RECIPE.ablated}
    for c in found:
        own, other = c.row.cell.config, c.than.cell.config
        differing = {k for k, v in own.model_dump().items() if v != getattr(other, k)}
        assert len(differing - {"noise_end", "critic_lr"}) == (c.kind != "base"), c.what
    (base,) = (c for c in found if c.kind == "base")
    assert {c.than for c in added} == {base.row}
    assert [name for name, group in lines(RECIPE, table).rows.items() if not group] == []


def test_replay_and_schemes_are_compared_wherever_a_twin_is(whole) -> None:
    found = comparisons(RECIPE, rows(whole[0]))
    pairs = {
        (
            c.row.cell.config.method,
            c.row.cell.config.sampler,
            c.row.cell.config.agents,
            c.row.cell.config.curriculum,
        )
        for c in found
        if c.kind == "replay"
    }
    assert ("deep-set-maddpg", "prioritized", 6, "radius") in pairs
    assert ("deep-set-maddpg", "hindsight-prioritized", 3, "none") in pairs, "twin in `recipe`"
    assert ("deep-set-maddpg-heads", "hindsight-prioritized", 4, "none") in pairs
    assert len(pairs) == 3 + 8 + 1
    schemes = {
        (c.what, c.row.cell.config.sampler, c.row.cell.config.agents)
        for c in found
        if c.kind == "scheme"
    }
    assert schemes == {
        (what, sampler, N)
        for what in ("Heads", "Independent", "Hypernet")
        for sampler in ("hindsight", "hindsight-prioritized")
        for N in (3, 4)
    }


def test_effects_are_by_hand_and_in_order(whole) -> None:
    results, out = whole
    written = read(out, "comparisons.csv")
    recipe = scores(results, "recipe/deep-set-maddpg/group-goal-hindsight/n4")
    without = scores(results, "remove-one/nearest-maddpg/group-goal-hindsight/n4")
    (row,) = (r for r in written if (r["kind"], r["what"]) == ("removed", "critic of the set"))
    middle = [np.sort(values)[1:-1].mean() for values in (recipe, without)]
    assert float(row["effect"]) == pytest.approx(middle[0] - middle[1], rel=1e-4)
    assert float(row["effect_lo"]) <= float(row["effect"]) <= float(row["effect_hi"])
    assert float(row["probability"]) == 1
    assert float(row["decisive_above"]) == pytest.approx(RECIPE.decisive * middle[0], rel=1e-4)
    assert row["verdict"] == "decisive"
    for kind in ("removed", "added"):
        effects = [float(r["effect"]) for r in written if r["kind"] == kind]
        assert effects == sorted(effects, reverse=True)
    (added,) = (r for r in written if (r["kind"], r["what"]) == ("added", "hindsight"))
    assert float(added["effect"]) == pytest.approx(
        float(added["iqm"]) - float(added["than_iqm"]), abs=1e-4
    )


def scores(results: Results, prefix: str) -> np.ndarray:
    return np.array(
        [o.score for key, o in results.outcomes.items() if key.startswith(prefix + "/")]
    )


def test_the_rule_of_the_verdict() -> None:
    def of(lo: float | None, hi: float | None, line: float | None = 10.0) -> str | None:
        return judge(Estimate(0.0, lo, hi), line)

    assert of(10.1, 12) == "decisive"
    assert of(9.9, 12) == "helps"
    assert of(10.1, 12, None) == "helps"
    assert of(-1, 12) == "open"
    assert of(-3, -1) == "harms"
    assert of(0, 0, 0.0) == "open"
    assert of(None, None) is None


def test_targets_are_reached_by_shares_of_the_oracle(whole) -> None:
    asked = [r for r in read(whole[1], "scaling.csv") if r["target"]]
    written = [r for r in asked if r["name"] == NAME]
    elsewhere = [(r["experiment"], r["agents"]) for r in asked if r["name"] != NAME]
    again = [("retuned", "6"), ("retuned", "8"), ("retuned-mpe", "4"), ("horizon-mpe", "4")]
    assert elsewhere == [("mpe", "4"), ("scale", "12"), ("scale", "16"), *again]
    longer = [r for r in asked if r["experiment"] == "scale"]
    assert [int(r["agents"]) for r in (*written, *longer)] == sorted(RECIPE.targets)
    written = asked
    for row in written:
        share = float(row["iqm"]) / float(row["oracle"])
        assert float(row["share"]) == pytest.approx(share, rel=1e-4)
        assert float(row["target"]) == RECIPE.targets[int(row["agents"])]
        assert row["verdict"] == ("reached" if share >= float(row["target"]) else "missed")


def test_a_team_that_covers_all_targets_later_at_once_is_as_late_for_each(whole) -> None:
    """Nothing covered for 12 of 30 steps and everything then, against 7 steps of the oracle."""

    def waiting(row: Row) -> Row:
        steps = 30 - (7 if row.cell.config.method == "oracle" else 12)
        covered = steps / 30 * row.cell.config.agents
        return dataclasses.replace(row, mean=float(steps), covered=covered)

    found = recipe_tables(whole[0].grid, [waiting(row) for row in rows(whole[0])])
    for row in found["scaling.csv"]:
        assert (row["late"], row["late_per_target"]) == (5, pytest.approx(5))
    for lacking in ({"mean": None, "covered": None}, {"covered": None}):
        table = [dataclasses.replace(row, **lacking) for row in rows(whole[0])]
        written = recipe_tables(whole[0].grid, table)["scaling.csv"]
        assert {row["late_per_target"] for row in written} == {None}
        assert ({row["late"] for row in written} == {None}) == ("mean" in lacking)


def test_survivors_of_divergence_get_no_verdict(whole) -> None:
    table = rows(whole[0])
    lost = Problem("recipe/deep-set-maddpg/group-goal-hindsight/n4/seed9", "diverged", "a NaN")

    def broken(row: Row) -> Row:
        if row.cell.experiment != "recipe" or row.cell.config.agents != RECIPE.ablated:
            return row
        return dataclasses.replace(row, cell=dataclasses.replace(row.cell, problems=(lost,)))

    found = recipe_tables(whole[0].grid, [broken(row) for row in table])
    judged = {r["agents"]: r["verdict"] for r in found["scaling.csv"] if r["name"] == NAME}
    assert [N for N, verdict in judged.items() if verdict is None] == [RECIPE.ablated]
    removed = [r for r in found["comparisons.csv"] if r["kind"] == "removed"]
    assert removed and all(r["effect"] is not None and r["verdict"] is None for r in removed)


def test_other_team_sizes_are_reported_with_their_own_oracle(whole) -> None:
    results, out = whole
    written = read(out, "transfer.csv")
    assert [(r["trained"], r["agents"]) for r in written] == [("4", N) for N in "3468"]
    oracles = {r["agents"]: r["oracle"] for r in read(out, "scaling.csv")}
    assert {r["agents"]: r["oracle"] for r in written} == {N: oracles[N] for N in "3468"}
    (row,) = lines(RECIPE, rows(results)).transfer
    moved = tuple(
        dataclasses.replace(o, transfer={3: 1.0, 6: 2.0, 8: 3.0}) for o in row.cell.outcomes
    )
    other = dataclasses.replace(row, cell=dataclasses.replace(row.cell, outcomes=moved))
    for agents, score in ((3, 1.0), (6, 2.0), (8, 3.0)):
        assert transferred(other, agents).tolist() == [score] * SEEDS
    assert np.array_equal(transferred(other, 4), row.cell.scores)


def test_the_episode_is_the_median_runs_of_the_largest_team(whole) -> None:
    results, out = whole
    shown = example(lines(RECIPE, rows(results)))
    assert shown is not None and shown.outcome.config.agents == 8
    own = scores(results, "recipe/deep-set-maddpg/group-goal-hindsight/n8")
    assert shown.outcome.score == np.sort(own)[(SEEDS - 1) // 2]
    (row,) = read(out, "episode.csv")
    assert float(row["score"]) == pytest.approx(shown.outcome.score, rel=1e-4)
    path = out / "figures" / "episode.gif"
    assert path.stat().st_size < 1_000_000
    with Image.open(path) as animation:
        assert animation.n_frames == synthetic.HORIZON + 1


def test_the_figures_show_every_run_and_mark_what_is_decisive(whole) -> None:
    table = rows(whole[0])
    found, compared = lines(RECIPE, table), comparisons(RECIPE, table)
    drawn = draw_recipe.scaling(found)
    (ax,), labels = drawn.axes, legend(drawn)
    assert labels[:4] == ["scripted oracle", "random actions", "target of the recipe", NAME]
    elsewhere = {name for name in RECIPE.beside if "mpe" in name}  # other ends
    assert set(RECIPE.beside) - elsewhere < set(labels) and not elsewhere & set(labels)
    assert elsewhere and not any("no runs" in label for label in labels)
    named = [line for line in ax.lines if line.get_label() in labels[3:]]
    looks = {(line.get_color(), str(line._dash_pattern), line.get_marker()) for line in named}
    assert len(looks) == len(named) == len(labels) - 3
    (oracle,) = (line for line in ax.lines if line.get_label() == "scripted oracle")
    known = dict(zip(oracle.get_xdata().tolist(), oracle.get_ydata().tolist(), strict=True))
    assert list(known) == sorted(known) and found.own.keys() < known.keys()
    for rows_of in found.rows.values():
        for N, row in rows_of.items():
            if row.cell.setting.world.task_options["dynamics"] == "first-order":
                assert known[N] == row.reference.oracle, "of the recipe's world alone"
    score, beats = draw_recipe.ingredients(found, compared).axes
    dots = sorted(len(line.get_xdata()) for line in score.lines if line.get_marker() == "o")
    assert dots == [SEEDS] * (2 + len(RECIPE.removed) + len(RECIPE.added))
    marked = [text.get_text() for text in beats.texts]
    assert marked == ["decisive"] * sum(
        c.verdict == "decisive" for c in compared if c.kind in ("removed", "added")
    )
    assert marked


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_grid_that_is_only_begun_says_so(begun) -> None:
    """Three runs of the recipe, and of nothing else."""
    results, _ = begun(lambda key: key.startswith("recipe/") and int(key[-1]) < 3)
    table = rows(results)
    written = recipe_tables(results.grid, table)
    compared = [r for r in written["comparisons.csv"] if r["kind"] != "base"]
    assert {(r["verdict"], r["effect"]) for r in compared} == {(None, None)}
    assert {r["runs"] for r in compared if r["kind"] == "removed"} == {0}
    assert {(r["runs"], r["iqm_lo"]) for r in written["scaling.csv"]} == {(3, None), (0, None)}
    assert written["episode.csv"]
    found = lines(RECIPE, table)
    assert legend(draw_recipe.scaling(found))[3:] == [NAME], "what has no run has no line"
    drawn = draw_recipe.ingredients(found, comparisons(RECIPE, table))
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == ["the recipe, N = 4"]
    asked = sum(r["expected"] for r in compared if r["kind"] in ("removed", "added"))
    assert f"of {asked + 2 * SEEDS} runs" in drawn.get_suptitle()


def test_a_grid_that_has_references_only_has_all_its_reports(begun) -> None:
    results, out = begun(lambda key: False)
    for module in (tables, figures, leaderboard):
        module.build(results, out)
    for name in ("scaling", "ingredients"):
        assert (out / "figures" / f"{name}.svg").exists()
    assert not (out / "figures" / "episode.gif").exists()
    (ax,) = draw_recipe.scaling(lines(RECIPE, rows(results))).axes
    assert "no runs" in [text.get_text() for text in ax.texts]


def test_a_grid_without_a_recipe_has_none_of_it(results) -> None:
    assert results.grid.recipe is None and recipe_tables(results.grid, rows(results)) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"experiment": "recipee"}, "unknown experiment 'recipee'; did you mean 'recipe'"),
        (
            {"base": {"experiment": "add-one"}},
            "experiment 'add-one': method ''; choose joint-maddpg",
        ),
        ({"base": {"experiment": "remove-setting.pen"}}, "variant 'pen'; choose penalty or"),
        ({"decisive": 2}, "decisive = 2"),
    ],
)
def test_a_recipe_that_its_grid_does_not_have_is_refused(tmp_path, change, message) -> None:
    values = yaml.safe_load(GRID.read_text())
    values["recipe"] |= change
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    with pytest.raises(RequestError, match=message):
        load_grid(path)
