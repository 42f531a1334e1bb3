"""Golden micro-runs: numbers may change only together with a behaviour version.

Each method, sampler, reward, task and dynamics has its numbers in golden.json, with the behaviour
versions that made them.  When a test here fails: if the change of numbers is meant, raise the
VERSION of the module that changed (shared code counts as the loop's, in bench/train.py), which
makes the records that depend on it stale, and write the new numbers with
``python tests/test_golden.py``.  If it is not meant, it is a bug.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small import TINY

from bench.config import RunConfig, behaviour, resolve
from bench.methods import load_methods
from bench.train import train

FILE = Path(__file__).with_name("golden.json")

CASES: dict[str, dict[str, Any]] = {
    **{
        f"{method}/{sampler}": {"method": method, "sampler": sampler}
        for method, sampler in itertools.product(
            ["iql", "iddpg", "maddpg", "ps-maddpg", "hyper-maddpg"], ["uniform", "prioritized"]
        )
    },
    **{
        # Short, and at a seed where another rounding tips no target's cover over the edge.
        f"{method}/uniform": {"method": method, "sampler": "uniform", "episodes": 20, "seed": 1}
        for method in load_methods()
        if (
            method.startswith(("hyper-maddpg-", "joined-", "wide-"))
            and method != "hyper-maddpg-roles"
        )
        or method.endswith(("-joint", "-twin", "-gumbel"))
        or method in ("meta-ddpg", "meta-dqn", "vdn", "qmix")
    },
    **{
        f"reward/{reward}": {"reward": reward}
        for reward in ["summed-individual", "distance", "mpe-dense", "assignment-shaping"]
    },
    "task/defaults": {},
    "task/roles": {"task": "roles", "agents": 4},
    "task/roles-held-out": {"task": "roles", "task_options": {"split": "held-out"}},
    "task/roles-features": {"task": "roles", "method": "hyper-maddpg-roles", "episodes": 20},
    **{
        f"task/specialisation-{method}": {"task": "specialisation", "method": method, "agents": 4}
        for method in ["hyper-iql-orthogonal", "id-iql", "shared-iql"]
    },
    "task/specialisation": {"task": "specialisation", "method": "iql", "agents": 4},
    "task/synchronisation": {"task": "synchronisation", "method": "iql", "reward": "team"},
    "task/climbing": {"task": "climbing", "method": "iql", "steps_per_update": 2},
    "task/penalty": {"task": "penalty", "method": "meta-dqn", "steps_per_update": 2},
    "dynamics/mpe": {"task_options": {"dynamics": "mpe"}},
    "dynamics/collisions": {
        "task_options": {"dynamics": "mpe", "collisions": True},
        "reward": "mpe-dense",
    },
    "targets/fixed": {"task_options": {"targets": "fixed"}},
    "end/success": {"task_options": {"end": "success"}},
    **{
        f"deep-set-maddpg/{sampler}": {"method": "deep-set-maddpg", "sampler": sampler}
        for sampler in ["hindsight", "hindsight-prioritized", "self-imitation"]
    },
    **{
        f"{method}/hindsight": {"method": method, "sampler": "hindsight", "episodes": 20}
        for method in ["deep-set-maddpg-twin", "attention-maddpg", "exchangeable-maddpg"]
    },
    **{
        f"curriculum/{name}": {"curriculum": name, "curriculum_stages": 3, "curriculum_gate": 0.05}
        for name in ["radius", "reverse", "agents"]
    },
    "augmentation/permutation": {"augmentation": "permutation"},
    "rates/falling": {"lr_end": 0.1},
    "agents/8": {"agents": 8},
    "controllers/oracle": {"method": "oracle", "sampler": "uniform"},
    "controllers/random": {"method": "random", "sampler": "uniform"},
}


def config_of(case: str) -> RunConfig:
    base = dict(TINY)
    if case.startswith("task/"):
        del base["task_options"]  # those of TINY are coop-nav's
    return resolve(base, {"episodes": 40, "evaluations": 3}, CASES[case])


def numbers(config: RunConfig) -> dict[str, list[float]]:
    """The curves and the final policy of a micro-run, in few numbers."""
    outcome = train([config], torch.device("cpu"))[0]
    curve, training = outcome.record.evaluation, outcome.record.training
    found = {f"evaluation/{name}": values for name, values in curve.mean.items()}
    found |= {f"training/{name}": values for name, values in training.mean.items()}
    for name, tensor in outcome.policy.items():
        found[f"policy/{name}"] = [float(tensor.double().norm()), float(tensor.double().sum())]
    return found


@pytest.mark.parametrize("case", CASES)
def test_numbers_change_only_with_a_behaviour_version(case: str) -> None:
    golden = json.loads(FILE.read_text())[case]
    config = config_of(case)
    assert behaviour(config) == golden["behaviour"], (
        "a behaviour version changed: write the new numbers with `python tests/test_golden.py`"
    )
    found = numbers(config)
    assert found.keys() == golden["numbers"].keys()
    for name, values in golden["numbers"].items():
        # Loose enough for another CPU's rounding over 60 updates, tight enough for any real change.
        assert found[name] == pytest.approx(values, rel=1e-3, abs=1e-4), (
            f"{name} changed and no behaviour version did: see the top of this file"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    # Cases whose versions stand are kept: another CPU's rounding is no new number.
    written = json.loads(FILE.read_text())
    for case in CASES:
        versions = behaviour(config_of(case))
        if written.get(case, {}).get("behaviour") != versions:
            written[case] = {"behaviour": versions, "numbers": numbers(config_of(case))}
    FILE.write_text(json.dumps({case: written[case] for case in CASES}, indent=1) + "\n")
