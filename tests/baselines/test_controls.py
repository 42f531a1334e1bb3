"""What hypernetworks are compared with: the joined input, and sharing of the same size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import tiny
from torch import Tensor

from baselines.hypernet.scheme import Hypernet
from baselines.mlp import mlp
from baselines.sharing.joined import Joined
from baselines.sharing.shared import Shared
from baselines.sharing.widened import Widened, flops
from bench.conformance.scheme import SIZES, N, R, drawn, observations, stepped
from bench.errors import RequestError
from bench.fleet import Fleet

ROLES = torch.tensor([[1.0, 0.0], [0.3, 2.0], [1.0, 1.0]])
CONDITIONINGS = ["learned", "orthogonal", "one-hot", "features"]


def embedding(conditioning: str, values: dict[str, Tensor]) -> Tensor:
    given = {"one-hot": torch.eye(N), "features": ROLES}
    if conditioning in given:
        return given[conditioning].expand(R, -1, -1)
    return values["e"]


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_joined_is_a_shared_network_with_e_beside_the_observation(conditioning: Any) -> None:
    scheme = Joined(SIZES, N, ROLES, conditioning=conditioning)
    values = stepped(scheme, 2)
    e = embedding(conditioning, values)
    width = e.shape[2]
    plain = {name: value for name, value in values.items() if name[0] in "Wb"}
    plain["W0"] = torch.cat([values["W0"], values["rows"].unsqueeze(1)], 2)
    shared = Shared([SIZES[0] + width, *SIZES[1:]], N, agent_id=False)
    x = observations()
    joined = torch.cat([x, e.unsqueeze(2).expand(-1, -1, x.shape[2], -1)], 3)
    out = mlp(scheme.weights(values), x)
    assert torch.allclose(out, mlp(shared.weights(plain), joined), rtol=1e-5, atol=1e-5)


def test_what_joined_generates_is_a_first_bias_linear_in_e() -> None:
    scheme = Joined(SIZES, N)
    values = stepped(scheme)

    def bias(e: Tensor) -> Tensor:
        first, *others = scheme.weights({**values, "e": e})
        assert first[0].shape[1] == 1
        assert all(part.shape[1] == 1 for layer in others for part in layer)
        return first[1] - values["b0"]

    a, b = torch.randn(R, N, 8), torch.randn(R, N, 8)
    assert torch.allclose(bias(2 * a - 3 * b), 2 * bias(a) - 3 * bias(b), atol=1e-4)


HYPERNETS: list[dict[str, Any]] = [
    {},
    {"target": "all"},
    {"target": "all", "generator": "low-rank", "rank": 2},
]


def size(scheme: Any) -> int:
    return sum(value[0].numel() for value in drawn(scheme).values())


@pytest.mark.parametrize("agent_id", [True, False])
@pytest.mark.parametrize("options", HYPERNETS)
def test_no_other_width_comes_closer_to_the_hypernetworks_size(
    options: dict[str, Any], agent_id: bool
) -> None:
    sizes, batch = [5, 16, 16, 2], 64
    hypernet = Hypernet(sizes, N, **options)
    x = torch.empty(1, N, batch, 5, device="meta")
    for match, cost in (("parameters", size), ("flops", lambda scheme: flops(scheme, x))):
        choices: dict[str, Any] = {"match": match, "batch": batch, "agent_id": agent_id}
        made = Widened(sizes, N, **choices, of=options)
        width = drawn(made)["W1"].shape[2]
        others = [Shared([5, w, w, 2], N, agent_id=agent_id) for w in (width - 1, width + 1)]
        off = abs(cost(made) - cost(hypernet))
        assert off <= min(abs(cost(other) - cost(hypernet)) for other in others)
        assert width > 16


@pytest.mark.parametrize(("batch", "agents"), [(128, 2), (1024, 3)])
def test_an_update_multiplies_as_much_with_the_control_as_with_the_hypernetwork(
    batch: int, agents: int
) -> None:
    """Within half of what a unit of width costs: 1% of an update, a third of the difference."""
    plain, hyper, wide = (
        Fleet([config], torch.device("cpu")).cost().flops_per_update
        for config in (
            tiny(method=method, batch=batch, agents=agents, hidden=[64, 64])
            for method in ("id-maddpg", "hyper-maddpg-full", "wide-flops-maddpg")
        )
    )
    assert wide == pytest.approx(hyper, rel=0.01)
    assert wide - plain == pytest.approx(hyper - plain, rel=1 / 3)


def test_features_that_a_task_has_not_are_refused_in_one_line() -> None:
    with pytest.raises(RequestError, match="choose conditioning: learned"):
        Joined(SIZES, N, conditioning="features")
