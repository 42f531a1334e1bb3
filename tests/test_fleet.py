"""Fleets: replicas of different rewards and samplers, no look at a number, what a device holds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small import tiny
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench import records, runner
from bench.capture import Captured
from bench.config import RunConfig
from bench.device import replicas_that_fit
from bench.errors import RequestError
from bench.fleet import Fleet
from bench.grid import Run, fleets
from bench.places import Places
from bench.records import Record
from bench.runner import Job, train_runs
from bench.train import Trainer, train

METHODS = [
    *("iql", "iddpg", "maddpg", "ps-maddpg", "hyper-maddpg"),
    *("maddpg-joint", "ps-maddpg-joint", "ps-maddpg-twin", "maddpg-gumbel", "ps-maddpg-gumbel"),
    *("meta-ddpg", "meta-dqn", "vdn", "qmix"),
]


def mixed(**values: Any) -> list[RunConfig]:
    """Every reward and sampler of Figure 4, under two seeds each."""
    rewards = ("group-goal", "summed-individual")
    return [
        tiny(reward=reward, sampler=sampler, seed=seed, **values)
        for reward, sampler, seed in itertools.product(
            rewards, ("uniform", "prioritized"), range(2)
        )
    ]


SELDOM: dict[str, Any] = {"steps_per_update": 100}
"""An operation without numbers takes long, and the third update does what the fifteenth does."""


class FromTheHost(TorchDispatchMode):
    """Notes the types of what operations read from the CPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        self.dtypes |= {x.dtype for x in leaves if x.device.type == "cpu"}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", ["ps-maddpg", "iql"])
def test_replicas_of_any_reward_and_sampler_give_the_bytes_of_the_run_alone(method: str) -> None:
    configs = mixed(method=method)
    together = train(configs, torch.device("cpu"))
    for config, outcome in zip(configs, together, strict=True):
        alone = train([config], torch.device("cpu"))[0]
        assert outcome.record.config == config
        assert records.deterministic(outcome.record) == records.deterministic(alone.record)


@pytest.mark.parametrize(
    "method",
    [name for name in METHODS if name.endswith(("-joint", "-twin", "-gumbel"))]
    + ["meta-ddpg", "meta-dqn", "vdn", "qmix"],
)
def test_the_second_of_two_replicas_gives_the_bytes_of_the_run_alone(method: str) -> None:
    values: dict[str, Any] = {"agents": 3, "episodes": 20, "evaluations": 2}
    configs = [tiny(method=method, seed=seed, **values) for seed in range(2)]
    fleet = train(configs, torch.device("cpu"))
    alone = train(configs[1:], torch.device("cpu"))
    assert records.deterministic(fleet[1].record) == records.deterministic(alone[0].record)
    for name, tensor in alone[0].policy.items():
        assert torch.equal(fleet[1].policy[name], tensor), name


def test_a_mixed_fleet_goes_on_from_its_state() -> None:
    whole, cut = (Trainer(Fleet(mixed(), torch.device("cpu")), None, ()) for _ in range(2))
    whole.episodes()
    cut.episodes()
    state = {name: tensor.clone() for name, tensor in cut._fleet.state().items()}
    resumed = Fleet(mixed(), torch.device("cpu"))
    resumed.load(state)
    for name, tensor in whole._fleet.state().items():
        assert torch.equal(resumed.state()[name], tensor), name


@pytest.mark.parametrize(
    ("method", "agents"), [*((name, 2) for name in METHODS), *((name, 8) for name in METHODS[:5])]
)
def test_the_loop_never_looks_at_a_number(method: str, agents: int) -> None:
    """On torch's meta device there are none: an accelerator need not wait for the host."""
    configs = mixed(method=method, agents=agents, **SELDOM)
    run = Trainer(Fleet(configs, torch.device("meta")), None, ())
    run.episodes()
    with FromTheHost() as sent:
        run.episodes()
        run.episodes()
    assert run._updates == 3 * 10 * 30 // 100
    assert sent.dtypes == {torch.int64}, "more than the keys of random numbers"


@pytest.mark.parametrize(
    "method",
    ["deep-set-maddpg", "deep-set-maddpg-hyper", "attention-maddpg", "exchangeable-maddpg"],
)
@pytest.mark.parametrize("curriculum", ["radius", "reverse", "agents"])
def test_nor_does_what_relabels_and_eases(method: str, curriculum: str) -> None:
    samplers = ["hindsight", "hindsight-prioritized", "self-imitation", "uniform"]
    settings = {"curriculum": curriculum, "augmentation": "permutation", "lr_end": 0.5, **SELDOM}
    configs = [tiny(method=method, sampler=name, **settings) for name in samplers]
    run = Trainer(Fleet(configs, torch.device("meta")), None, ())
    run.episodes()
    with FromTheHost() as sent:
        run.episodes()
    assert sent.dtypes == {torch.int64}, "more than the keys of random numbers"


def test_nor_does_the_replay_of_weights_which_counts_on_the_device() -> None:
    """A count on the host would stand still in a captured update, and no entry be made."""
    run = Trainer(Fleet([tiny(method="hyper-maddpg-replay")], torch.device("meta")), None, ())
    run.episodes()
    with FromTheHost() as sent:
        run.episodes()
    assert run._updates == 2 * 10 * 30 // 20
    assert sent.dtypes == {torch.int64}, "more than the keys of random numbers"
    state = run._fleet.algorithm.state()
    kept = {name: tensor for name, tensor in state.items() if ".memory." in name}
    assert kept and {tensor.device.type for tensor in kept.values()} == {"meta"}


def test_other_differences_are_refused() -> None:
    for other in (tiny(agents=3), tiny(batch=17), tiny(method="maddpg"), tiny(gamma=0.9)):
        with pytest.raises(RequestError, match="seed, reward, sampler only"):
            Fleet([tiny(), other], torch.device("cpu"))


def test_a_grid_falls_into_fleets_of_one_shape() -> None:
    configs = [*mixed(), *mixed(method="iql"), *mixed(agents=3)]
    runs = {run.key: run for run in (Run("e", config) for config in configs)}
    for size in (1, 3, 8, 100):
        groups = fleets(runs, size)
        assert sorted(itertools.chain(*groups)) == sorted(runs)
        assert max(map(len, groups)) == min(size, 8)
        for group in groups:
            members = [runs[key].config for key in group]
            assert len({config.shape.digest for config in members}) == 1
            kinds = [(config.reward, config.sampler) for config in members]
            assert len(list(itertools.groupby(kinds))) == len(set(kinds)), "not neighbours"
    assert len(fleets(runs, 8)) == 3


def test_a_fleet_too_large_for_the_device_is_split(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes: list[int] = []
    honest = runner._train_fleet

    def room_for_three(runs: Sequence[Run], *rest: Any) -> dict[str, Record]:
        sizes.append(len(runs))
        if len(runs) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return honest(runs, *rest)

    monkeypatch.setattr(runner, "_train_fleet", room_for_three)
    runs = [Run("e", config) for config in mixed(episodes=20, evaluations=2)]
    found = train_runs(runs, Job(Places(tmp_path)))
    assert sizes == [8, 4, 2, 2, 2, 2]
    assert [record.config for record in found] == [run.config for run in runs]
    assert "full at 8 replicas: trying 4" in capsys.readouterr().err


def test_what_a_card_holds_follows_from_the_bytes_of_a_replica(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = [Run("e", config) for config in mixed()]
    held = Fleet([runs[0].config], torch.device("cpu")).nbytes
    assert Fleet([runs[0].config], torch.device("meta")).nbytes == held
    going = Trainer(Fleet([runs[0].config], torch.device("cpu")), None, ())
    while not going.done:  # the ring wraps
        going.episodes()
    assert sum(tensor.nbytes for tensor in going._fleet.state().values()) - held < 100
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (held * 10, held * 20))
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert replicas_that_fit(runs[0].config, len(runs), cuda) == 5
    assert replicas_that_fit(runs[0].config, 3, cuda) == 3
    assert replicas_that_fit(runs[0].config, len(runs), cpu) == len(runs)


def test_off_an_accelerator_nothing_is_captured() -> None:
    seen: list[torch.Tensor] = []

    def double(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return 2 * x

    captured, x = Captured(double, torch.device("cpu")), torch.ones(3)
    for _ in range(5):
        assert torch.equal(captured(x), 2 * x)
    assert len(seen) == 5 and seen[0] is x


# -- with a card -----------------------------------------------------------------------------------

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@cuda
@pytest.mark.parametrize("method", METHODS)
def test_a_captured_update_learns_what_a_plain_one_does(method: str) -> None:
    device = torch.device("cuda")
    captured, plain = (Trainer(Fleet(mixed(method=method), device), None, ()) for _ in range(2))
    plain._learn_from = plain._update  # type: ignore[assignment]
    for run in (captured, plain):
        run.episodes()
    assert captured._learn_from._graph is not None
    for name, tensor in plain._fleet.state().items():
        assert torch.allclose(captured._fleet.state()[name].float(), tensor.float(), atol=1e-4), (
            name
        )


@cuda
def test_a_card_gives_the_records_of_the_cpu_over_20_seeds() -> None:
    """One rounding apart, runs diverge; their scores must have one distribution."""
    from scipy.stats import mannwhitneyu

    values: dict[str, Any] = {"reward": "mpe-dense", "agents": 1, "episodes": 1000, "batch": 128}
    configs = [tiny(**values, hidden=[32, 32], buffer=50_000, seed=seed) for seed in range(20)]
    scores = []
    for name in ("cpu", "cuda"):
        outcomes = train(configs, torch.device(name))
        scores.append([o.record.evaluation.mean[o.record.score][-1] for o in outcomes])
    first = [train([configs[0]], torch.device(name))[0].record for name in ("cpu", "cuda")]
    assert first[0].evaluation.mean["return"][0] == pytest.approx(
        first[1].evaluation.mean["return"][0], rel=1e-4
    )
    assert mannwhitneyu(*scores).pvalue > 0.01
