"""Rollouts as pictures."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image
from torch import Tensor

from bench import scene, watch
from bench.errors import RequestError, WorldError
from bench.random import Random
from bench.tasks.coop_nav import CoopNav
from bench.tasks.options import CoopNavOptions
from bench.tasks.rewards import group_goal


def make(agents: int = 2, **options: Any) -> CoopNav:
    return CoopNav(agents, group_goal, CoopNavOptions(**{"horizon": 3, **options}))


def drift(observation: Tensor, noise: float = 0.0, random: Random | None = None) -> Tensor:
    """Push everybody to the right."""
    assert noise == 0.0
    assert random is not None
    return torch.tensor([1.0, 0.0]).expand(*observation.shape[:-1], 2)


def source() -> Random:
    return Random.from_seeds([0]).fold("watch")


def centre(image: Any, colour: str) -> tuple[float, float]:
    """Mean pixel (right, up) of a colour."""
    wanted = np.array(to_rgb(colour)) * 255
    rows, columns = np.nonzero(np.abs(image.astype(float) - wanted).max(-1) < 3)
    assert rows.size, f"no pixel of {colour}"
    return float(columns.mean()), -float(rows.mean())


def state(agents: list[list[float]], targets: list[list[float]]) -> Tensor:
    still = [0.0] * (2 * len(agents))
    return torch.tensor([[*np.ravel(agents), *still, *np.ravel(targets)]])


def test_trajectory_is_the_tasks_own() -> None:
    task = make()
    states = watch.trajectory(task, drift, source(), 4)
    assert states.shape == (4, 1, 4, task.state_size)
    assert torch.equal(states[0], task.reset(source().fold("reset"), 4))
    for before, after in itertools.pairwise(states):
        assert torch.equal(after, task.step(before, drift(task.observe(before), random=source())))

    drawn = []

    def remember(observation: Tensor, random: Random) -> Tensor:
        drawn.append(random.uniform(1).item())
        return drift(observation, random=random)

    watch.trajectory(task, remember, source(), 1)
    assert len(set(drawn)) == 3, "a step has random numbers of its own"
    with pytest.raises(RequestError, match="episodes = 0"):
        watch.trajectory(task, drift, source(), 0)


def test_watch_writes_a_picture_and_an_animation(tmp_path: Path) -> None:
    paths = watch.watch(make(), drift, source(), tmp_path / "new" / "folder", episodes=4)
    assert [path.name for path in paths] == ["trajectories.png", "animation.gif"]
    with Image.open(paths[0]) as png, Image.open(paths[1]) as gif:
        assert png.format == "PNG"
        assert png.width > png.height
        assert gif.format == "GIF"
        assert gif.n_frames == 4
        assert gif.size == png.size
        assert gif.info["loop"] == 0
    again = watch.watch(make(), drift, source(), tmp_path / "again", episodes=4)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


def test_agents_are_drawn_where_they_are() -> None:
    task = make(1)
    target = [[0.9, -0.9]]
    middle, right, up = (
        centre(scene.picture(task, state([place], target))[:300], scene.COLOURS[0])
        for place in ([0.0, 0.0], [0.5, 0.0], [0.0, 0.5])
    )
    assert right[0] - middle[0] > 40
    assert abs(right[1] - middle[1]) < 1
    assert up[1] - middle[1] == pytest.approx(right[0] - middle[0], abs=1.5), "equal scales"
    assert abs(up[0] - middle[0]) < 1


def test_targets_have_their_true_radius_and_turn_green_with_success() -> None:
    green = np.array(to_rgb(scene.SUCCESS)) * 255

    def width(radius: float) -> int:
        picture = scene.picture(make(1, radius=radius), state([[0.0, 0.0]], [[0.0, 0.0]]))
        _, columns = np.nonzero(np.abs(picture - green).max(-1) < 3)
        return int(columns.max() - columns.min())

    assert width(0.2) > 30
    # The axes' range grows with the radius, so a doubled radius is a little less than double.
    assert 1.6 < width(0.4) / width(0.2) < 2.0
    for agent, expected in (([0.0, 0.05], True), ([0.5, 0.5], False)):
        picture = scene.picture(make(1), state([agent], [[0.0, 0.0]]))
        assert (np.abs(picture - green).max(-1) < 3).any() == expected


def test_a_path_grows_in_the_animation(tmp_path: Path) -> None:
    task = make(1, horizon=6, dynamics="first-order")
    states = watch.trajectory(task, drift, source(), 1)[:, 0]
    watch.draw_gif(tmp_path / "a.gif", task, states)
    frames = []
    with Image.open(tmp_path / "a.gif") as gif:
        for frame in range(gif.n_frames):
            gif.seek(frame)
            frames.append(np.asarray(gif.convert("RGB"))[:300])
    assert len(frames) == 7
    for frame in frames:
        centre(frame, scene.COLOURS[0])  # in its true colour, on white
        assert frame[0, 0].tolist() == [255, 255, 255]
    assert not any(np.array_equal(a, b) for a, b in itertools.pairwise(frames))


def test_a_task_without_positions_is_refused(tmp_path: Path) -> None:
    class Abstract:
        horizon = 3

    with pytest.raises(RequestError, match="cannot draw a task without positions") as refusal:
        watch.watch(Abstract(), drift, source(), tmp_path / "out")  # type: ignore[arg-type]
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_an_unwritable_place_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorldError, match="cannot write"):
        watch.watch(make(), drift, source(), tmp_path / "file")
    states = watch.trajectory(make(), drift, source(), 1)[:, 0]
    for draw in (watch.draw_png, watch.draw_gif):
        with pytest.raises(WorldError, match="cannot write"):
            draw(tmp_path / "none" / "picture", make(), states)


def test_matplotlib_is_imported_only_to_draw() -> None:
    code = "import bench.watch, bench.tasks.bridge, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
