"""What the figures show, asked of matplotlib's own objects; and that bytes repeat."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import synthetic
import yaml
from synthetic import build_all

from bench.places import Places
from bench.report import draw_curves, draw_learning, draw_methods, figures, style
from bench.report.aggregate import rows
from bench.report.contestants import settings
from bench.report.curves import panels
from bench.report.load import load
from bench.report.standings import overall
from bench.stats import performance_profile


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))]


def curves_of(results, method="ps-maddpg"):
    figure = draw_curves.learning_curves(method, panels(rows(results))[method])
    return figure, figure.axes


def named(figure):
    """The names of the rows, by what their line of panels is headed with."""
    first = [ax for ax in figure.axes if ax.get_subplotspec().is_first_col()]
    return {
        ax.texts[0].get_text(): [label.get_text() for label in ax.get_yticklabels()] for ax in first
    }


def test_bytes_repeat(small, built, tmp_path):
    assert build_all(small.load(), tmp_path / "again") == built


def test_the_last_bits_of_a_layout_do_not_show(results, monkeypatch):
    """They differ between processes: the layout's solver orders by addresses in memory."""
    from matplotlib.figure import Figure

    def draw():
        return draw_methods.final_scores(rows(results))

    before = style.drawn("methods", draw)
    lay_out = Figure.draw_without_rendering

    def elsewhere(figure):
        lay_out(figure)
        for ax in figure.axes:
            left, *rest = ax.get_position(original=True).bounds
            ax.set_position((left + 1e-14, *rest))
        for text in figure.texts:
            text.set_x(text.get_position()[0] + 1e-14)

    monkeypatch.setattr(Figure, "draw_without_rendering", elsewhere)
    assert style.drawn("methods", draw) == before


def test_figures_of_the_grid_as_it_was_are_removed(copy):
    folder = copy.out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("curves-gone.svg", "curves-gone.png", "notes.txt"):
        (folder / name).write_text("")
    figures.build(copy.load(), copy.out)
    left = {path.name for path in folder.iterdir()}
    assert {"notes.txt", "figure4.svg"} <= left
    assert not {"curves-gone.svg", "curves-gone.png"} & left


def test_every_figure_is_there_in_both_formats(built):
    names = {"figure4", "figure4-iql", "learning", "methods", "profiles"}
    names |= {"enrichment", "switches", "figure5"}
    assert {f"figures/{n}.{e}" for n in names for e in ("svg", "png")} == {
        path for path in built if path.startswith("figures/")
    }
    for path, content in built.items():
        if path.endswith(".svg"):
            ElementTree.fromstring(content)
            assert b"<dc:date>" not in content
        elif path.endswith(".png"):
            assert content.startswith(b"\x89PNG")


def test_figure4_has_a_panel_per_n_with_four_banded_curves(results):
    figure, axes = curves_of(results)
    assert [ax.get_title() for ax in axes] == ["N = 2\nn = 6 seeds", "N = 3\nn = 6 seeds"]
    for N, ax in zip((2, 3), axes, strict=True):
        panel = panels(rows(results))["ps-maddpg"][N]
        oracle = next(iter(panel.values())).reference.oracle
        drawn = [line.get_ydata() for line in ax.lines]
        assert len(drawn) == 4 + 1
        assert len(ax.collections) == 4
        for line, row in zip(drawn, panel.values(), strict=False):
            ordered = np.sort(row.cell.curves, axis=0)
            np.testing.assert_allclose(line, ordered[1:5].mean(axis=0))
        assert drawn[-1][0] == oracle
        assert f"oracle {oracle:.1f}" in texts(figure)
        assert ax.get_ylim()[1] == 30
        assert ax.get_ylim()[0] <= 0
        assert ax.get_xlim() == (0, 0.6)
    assert axes[0].get_ylabel() == "successful steps per episode"
    assert axes[0].get_xlabel() == "training episodes (thousands)"
    assert any("95% bootstrap" in text for text in texts(figure))


def test_below_five_seeds_the_seeds_are_drawn_and_no_band(copy):
    for seed in (0, 1, 2):
        for path in (copy.out / "runs/figure4/ps-maddpg").rglob(f"seed{seed}.json"):
            path.unlink()
    figure, axes = curves_of(copy.load())
    assert len(axes[0].collections) == 0
    assert len(axes[0].lines) == 4 * (1 + 3) + 1
    assert axes[0].get_title() == "N = 2\nonly 3 of 6 seeds"
    assert any("thin lines: single seeds" in text for text in texts(figure))
    assert any("Incomplete: 24 of 48 runs (24 missing)" in text for text in texts(figure))


def test_an_empty_panel_and_a_missing_oracle_say_so(copy):
    for path in (copy.out / "runs/figure4/ps-maddpg").rglob("n3/*.json"):
        path.unlink()
    for path in (copy.out / "runs/figure4/ps-maddpg").rglob("n2/*.json"):
        path.write_text("{")
    Places(copy.root / "small").record("references/oracle/group-goal-uniform/n3/seed0").unlink()
    figure, _ = curves_of(copy.load())
    assert {"no runs", "no usable runs"} <= set(texts(figure))
    assert "oracle: no record" in texts(figure)


def test_final_scores_name_every_method_and_what_is_left_out(copy):
    Places(copy.root / "small").record("figure4/iql/group-goal-uniform/n2/seed1").write_text("{")
    figure = draw_methods.final_scores(rows(copy.load()))
    shown = texts(figure)
    assert "5/6" in shown
    heading, notice = figure.get_suptitle().splitlines()
    assert heading.startswith("coop-nav, ")
    assert heading.endswith(" episodes: 16 of 17 cells (tables/final.csv has all)")
    assert notice == "Incomplete: 95 of 96 runs (1 invalid)"
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["iql", "ps-maddpg"]
    assert sum(ax.axison for ax in figure.axes) == 8


def test_final_scores_leave_out_what_has_no_run_and_fit_a_page(copy, monkeypatch):
    for path in (copy.out / "runs/figure4/iql").rglob("*.json"):
        if path.parts[-3] != "group-goal-uniform":
            path.unlink()
    for path in (copy.out / "runs/figure4").rglob("summed-individual-uniform/n*/seed*.json"):
        path.unlink()
    figure = draw_methods.final_scores(rows(copy.load()))
    assert named(figure) == {
        "group-goal, uniform": ["iql", "ps-maddpg"],
        "group-goal, prioritized": ["ps-maddpg"],
        "summed-individual, prioritized": ["ps-maddpg"],
    }
    monkeypatch.setattr(style, "PAGE_HEIGHT", 2.6)
    assert draw_methods.final_scores(rows(copy.load())).get_figheight() == pytest.approx(2.6)


def test_a_line_of_panels_is_named_where_its_first_column_has_no_panel(copy):
    changed = yaml.safe_load(copy.grid.read_text())
    changed["experiments"]["figure4"]["exclude"] = [
        {"where": {"reward": "summed-individual", "sampler": "uniform", "agents": 2}, "why": "x"}
    ]
    grid = copy.root / "other.yaml"
    grid.write_text(yaml.safe_dump(changed))
    figure = draw_methods.final_scores(rows(load(grid, copy.root)))
    assert named(figure)["summed-individual, uniform"] == ["iql", "ps-maddpg"]
    titles = [ax.get_title() for ax in figure.axes]
    assert (titles.count("N = 2"), titles.count("N = 3")) == (3, 4)
    assert sum(ax.xaxis.get_visible() and ax.axison for ax in figure.axes) == 7


def learning_panels(table):
    """The curves drawn, by legend's title and panel's title: those of each line of panels."""
    found, axes = [], {}
    for ax in draw_learning.every_curve(table).axes:
        if ax.get_subplotspec().is_last_col():
            names = [text.get_text() for text in ax.get_legend().get_texts()]
            found += [(ax.get_legend().get_title().get_text(), names, axes)]
        else:
            if ax.get_subplotspec().is_first_col():
                axes = {}
            if ax.axison:
                axes[ax.get_title()] = ax
    return found


def test_learning_curves_are_those_of_the_methods_of_each_setting(results):
    table = rows(results)
    drawn = learning_panels(table)
    assert [kind for kind, _, _ in drawn] == [
        "group-goal, uniform",
        "group-goal, prioritized",
        "summed-individual, uniform",
        "summed-individual, prioritized",
    ]
    for kind, names, axes in drawn:
        assert names == ["iql", "ps-maddpg"]
        assert list(axes) == ["N = 2", "N = 3"]
        for agents, ax in zip((2, 3), axes.values(), strict=True):
            for name, line in zip(names, ax.lines, strict=False):
                (row,) = (
                    row
                    for row in table
                    if (row.cell.config.method, row.cell.config.agents) == (name, agents)
                    and f"{row.cell.config.reward}, {row.cell.config.sampler}" == kind
                    and not row.cell.reference
                    and row.cell.experiment == "figure4"
                )
                expected = np.sort(row.cell.curves, axis=0)[1:5].mean(axis=0)
                np.testing.assert_allclose(line.get_ydata(), expected)
            assert len(ax.collections) == len(names), "a band each"
            assert len(ax.lines) == len(names) + 1, "and the oracle"
            assert ax.get_xlim() == (0, 0.6)


def test_methods_beyond_the_colours_go_on_a_line_below_if_the_page_has_room(results, monkeypatch):
    table = rows(results)
    monkeypatch.setattr(draw_learning, "METHOD_LINES", draw_learning.METHOD_LINES[:1])
    lines = draw_learning.lines(table)
    assert [names for _, names in lines] == [["iql"], ["ps-maddpg"]] * 4
    assert not draw_learning.fits_a_page(table)
    monkeypatch.setattr(draw_learning, "LINES", 8)
    assert draw_learning.fits_a_page(table)
    drawn = learning_panels(table)
    assert [names for _, names, _ in drawn] == [names for _, names in lines]
    assert all(len(ax.lines) == 2 for _, _, axes in drawn for ax in axes.values())


def test_learning_curves_of_few_seeds_are_single_and_without_any_say_so(copy):
    for path in (copy.out / "runs/figure4").rglob("*.json"):
        if path.stem in ("seed0", "seed1", "seed2") or path.parts[-2] == "n3":
            path.unlink()
    figure = draw_learning.every_curve(rows(copy.load()))
    assert "no runs" in texts(figure)
    assert any("thin lines: single seeds" in text for text in texts(figure))
    assert any("Incomplete" in text for text in texts(figure))
    first = figure.axes[0]
    assert len(first.collections) == 0
    assert len(first.lines) == 2 * (1 + 3) + 1


def test_the_note_tells_of_single_seeds_only_where_some_are_drawn(copy):
    for path in (copy.out / "runs/figure4/iql").rglob("*.json"):
        path.unlink()
    figure = draw_learning.every_curve(rows(copy.load()))
    assert not any("thin lines" in text for text in texts(figure))
    assert any("bands: 95% bootstrap" in text for text in texts(figure))


def test_every_method_has_a_panel_of_its_profile_before_those_of_the_others(results):
    found = overall(results)
    panels = draw_methods.profiles(found).axes
    assert [ax.get_title() for ax in panels] == [s.method for s in found.standings]
    for ax, standing in zip(panels, found.standings, strict=True):
        *others, own = ax.lines
        assert len(others) == len(found.standings)
        expected = performance_profile(standing.strata, own.get_xdata())
        assert own.get_ydata().tolist() == expected.tolist()
        assert ax.collections, "its band"


def test_a_name_is_one_thing_in_every_panel(tmp_path):
    """Also where the experiment that has it by name alone asks for no cell of a panel."""
    text = synthetic.write_grid(tmp_path).read_text()
    changed = yaml.safe_load(text)
    again = {**changed["experiments"]["figure4"], "settings": {"actor_lr": 0.1}}
    changed["experiments"]["later"] = again
    changed["experiments"]["figure4"] = {
        **changed["experiments"]["figure4"],
        "samplers": ["uniform"],
    }
    grid = tmp_path / "two.yaml"
    grid.write_text(yaml.safe_dump(changed))
    synthetic.write_records(grid, tmp_path, "zero")
    named = settings(rows(load(grid, tmp_path)))
    assert {setting.sampler for setting in named} == {"uniform", "prioritized"}
    for setting, contestants in named.items():
        for name, row in contestants.items():
            assert name.endswith(" (later)") == (row.cell.experiment == "later")
        assert len(contestants) == (4 if setting.sampler == "uniform" else 2)


def test_a_score_without_ends_has_a_free_axis(results):
    outcome = next(iter(results.outcomes.values()))
    assert style.score_range([outcome]) == (-0.6, 30)
    assert style.score_range([dataclasses.replace(outcome, metric="return")]) is None
    assert style.score_range([]) is None


def test_what_is_a_mean_over_steps_is_not_called_a_sum_over_an_episode():
    assert style.metric_label("successful_steps") == "successful steps per episode"
    assert style.metric_label("mean_reward") == "mean reward per step"


def test_names_are_not_mathematics(results, tmp_path):
    """A dollar sign in a name must neither fail nor be typeset as a formula."""
    changed = {
        key: dataclasses.replace(outcome, metric="a$_b$ & <c>")
        for key, outcome in results.outcomes.items()
    }
    paths = figures.build(dataclasses.replace(results, outcomes=changed), tmp_path)
    for path in paths:
        if path.suffix == ".svg":
            ElementTree.fromstring(path.read_bytes())


def test_curves_on_each_other_are_told_apart_by_their_markers(tmp_path):
    grid = synthetic.write_grid(tmp_path)
    synthetic.write_records(grid, tmp_path, "zero")
    _, axes = curves_of(load(grid, tmp_path))
    offsets = [tuple(line.get_markevery()) for line in axes[0].lines if line.get_markevery()]
    assert len(offsets) == len(set(offsets)) == 4
