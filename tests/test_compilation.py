"""Compiled updates: what is recorded is what is done, of every method, and machine code does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import tiny
from torch import Tensor
from torch.utils._pytree import tree_unflatten

from bench import records
from bench.checkpoint import Checkpoint
from bench.compilation import Compiled, has_compiler, recorded
from bench.errors import RequestError
from bench.fleet import Fleet
from bench.train import Trainer, train
from bench.verify import verify

CPU = torch.device("cpu")
compiler = pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")


class Repeated:
    """An update that is recorded at its first call and repeated by the record afterwards."""

    def __init__(self, run: Trainer) -> None:
        self._function = run._update
        self._made: Any = None

    def __call__(self, *tensors: Tensor) -> Any:
        if self._made is None:
            kept: list[Any] = []

            def called(*tensors: Tensor) -> Any:
                kept.append(self._function(*tensors))
                return kept[0]

            self._made, self._spec = recorded(called, *tensors)
            return kept[0]
        with torch.no_grad():
            return tree_unflatten(self._made(*tensors), self._spec)


def pair(*seeds: int, **values: Any) -> list[Trainer]:
    """Two fleets of the same runs."""
    settings = {"agents": 3, "episodes": 40, "evaluations": 2, **values}
    configs = [tiny(seed=seed, **settings) for seed in seeds or (0,)]
    return [Trainer(Fleet(configs, CPU), None, ()) for _ in range(2)]


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("meta-dqn", {"sampler": "prioritized"}),
        ("ps-maddpg-gumbel", {"sampler": "hindsight-prioritized"}),
        ("hyper-maddpg-replay", {"sampler": "self-imitation", "curriculum": "reverse"}),
        ("deep-set-maddpg", {"sampler": "hindsight", "curriculum": "radius"}),
        ("exchangeable-maddpg", {"sampler": "hindsight", "curriculum": "agents"}),
        ("ps-maddpg", {"sampler": "hindsight", "agents": 6}),
        ("ps-maddpg", {"sampler": "uniform", "agents": 6, "reward": "summed-individual"}),
        ("ps-maddpg", {"sampler": "uniform", "agents": 7, "reward": "assignment-shaping"}),
    ],
)
def test_repeating_the_operations_of_one_update_is_training(
    method: str, values: dict[str, Any]
) -> None:
    """So nothing that changes is kept out of tensors: a captured update does so on a card, too."""
    both = pair(**{"method": method, "reward": "group-goal", "lr_end": 0.5, **values})
    both[1]._learn_from = Repeated(both[1])  # type: ignore[assignment]
    for run in both:
        for _ in range(3):
            run.episodes()
    plain, repeated = (run._fleet.state() for run in both)
    for name, tensor in plain.items():
        assert torch.equal(repeated[name], tensor), name


def noted(run: Trainer) -> list[dict[str, Tensor]]:
    """What the algorithm and the sampler consist of after each update of E episodes."""
    found, learn = [], run._learn_from

    def noting(*tensors: Tensor) -> Any:
        outputs = learn(*tensors)
        state = {**run._fleet.algorithm.state(), **run._fleet.sampler.state()}
        found.append({name: tensor.clone() for name, tensor in state.items()})
        return outputs

    run._learn_from = noting  # type: ignore[assignment]
    run.episodes()
    return found


@compiler
@pytest.mark.parametrize(
    ("method", "agents"),
    [("ps-maddpg", 3), ("hyper-maddpg", 3), ("deep-set-maddpg", 6), ("iql", 3)],
)
def test_machine_code_learns_what_operations_do(method: str, agents: int) -> None:
    """To rounding, of two replicas: what is theirs lies in memory in strides.

    Six agents are matched to targets by a solver, which machine code calls.
    """
    values: dict[str, Any] = {"method": method, "agents": agents, "sampler": "prioritized"}
    plain, made = pair(0, 1, **values)
    made._learn_from = Compiled(made._update, made._fleet.algorithm, made._fleet.sampler)
    first, second = noted(plain), noted(made)
    assert len(first) == len(second) == 15
    for number, (a, b) in enumerate(zip(first, second, strict=True)):
        for name, tensor in a.items():
            error = (b[name] - tensor).abs().max() / tensor.abs().max().clamp(min=1e-6)
            assert error < 1e-4, f"{name} at update {number}"


@compiler
def test_a_compiled_run_says_so_and_is_made_again_to_the_bit(tmp_path: Path) -> None:
    """Whether it was cut off or not."""
    config, kept = tiny(method="ps-maddpg", sampler="prioritized"), tmp_path / "run.safetensors"
    one = train([config], CPU, compiled=True)[0].record
    going = Trainer(Fleet([config], CPU), Checkpoint(kept, [config], interval=0.0), (), True)
    going.evaluate_if_due()
    going.episodes()
    going.save_if_due()
    assert Checkpoint(kept, [config]).usable()
    other = train([config], CPU, Checkpoint(kept, [config]), compiled=True)[0].record
    assert records.deterministic(one) == records.deterministic(other)
    assert one.provenance["device"].endswith(", compiled")
    path = tmp_path / "seed0.json"
    records.write(path, one)
    assert verify(path).verdict == "identical"
    plain = train([config], CPU)[0].record
    assert not plain.provenance["device"].endswith(", compiled")
    assert plain.evaluation.episode == one.evaluation.episode


def test_an_update_that_looks_at_a_number_is_refused() -> None:
    run, _ = pair()

    def looking(x: Tensor) -> Tensor:
        return x * x.sum().item()

    with pytest.raises(RequestError, match=r"--compile: .*; train without it"):
        Compiled(looking, run._fleet.algorithm)(torch.ones(3))
