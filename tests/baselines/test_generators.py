"""Generators: each against the dense one or by hand, and their sizes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from baselines.hypernet.generators import Layer, Manifest
from baselines.hypernet.generators.sparse import Sparse
from baselines.hypernet.initialisation import Scale
from baselines.hypernet.scheme import Hypernet
from baselines.mlp import mlp
from bench.conformance.scheme import SIZES, N, R, drawn, observations, stepped
from bench.interfaces import ParameterScheme
from bench.random import Random


def count(scheme: ParameterScheme) -> int:
    return sum(value[0].numel() for value in drawn(scheme).values())


def same_input() -> Tensor:
    return observations()[:, :1].expand(-1, N, -1, -1)


def dense(**options: Any) -> tuple[Hypernet, dict[str, Tensor]]:
    scheme = Hypernet(SIZES, N, target="all", **options)
    return scheme, stepped(scheme)


def assert_same(one: ParameterScheme, a: dict[str, Tensor], other: Hypernet, b: Any) -> None:
    for left, right in zip(one.weights(a), other.weights(b), strict=True):
        for part, whole in zip(left, right, strict=True):
            assert torch.allclose(part, whole, atol=1e-6)


def test_one_group_is_a_dense_generator_bit_for_bit() -> None:
    scheme, values = dense()
    grouped = Hypernet(SIZES, N, target="all", generator="grouped", groups=1)
    same = {n: v.unsqueeze(1) if ".G" in n else v for n, v in values.items()}
    for left, right in zip(scheme.weights(values), grouped.weights(same), strict=True):
        assert torch.equal(left[0], right[0])


@pytest.mark.parametrize("groups", [2, 3, 4, 5])
def test_an_agents_weights_come_from_its_groups_generator(groups: int) -> None:
    agents = 5
    scheme = Hypernet(SIZES, agents, generator="grouped", groups=groups)
    values = drawn(scheme)
    h = torch.relu(values["hyper.e"] @ values["hyper.A"])
    h = h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6)
    weight = scheme.weights(values)[-1][0]
    for i in range(agents):
        one = h[:, i : i + 1] @ values["hyper.G2"][:, i % groups] + values["hyper.g2"]
        assert torch.allclose(weight[:, i].flatten(1), one.squeeze(1), atol=1e-6)


def test_a_chunk_comes_from_its_own_embedding_and_layers_are_cut_from_all_in_a_row() -> None:
    S = 32
    scheme = Hypernet(SIZES, N, target="all", generator="chunked", chunk=S, rho=1.0)
    values = {name: value.double() for name, value in drawn(scheme).items()}
    h = torch.relu(values["hyper.e"] @ values["hyper.A"])
    h = h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6)
    chunks = []
    for c in values["hyper.chunks"].unbind(1):
        hidden = torch.relu(h @ values["hyper.H"] + c.unsqueeze(1) @ values["hyper.C"])
        hidden = hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + 1e-6)
        chunks.append(hidden @ values["hyper.O"])
    row, place = torch.cat(chunks, -1), 0
    for n, (weight, _) in enumerate(scheme.weights(values)):
        own = row[:, :, place : place + weight[0, 0].numel()].unflatten(2, weight.shape[2:])
        ratio = weight / own
        assert torch.allclose(ratio, ratio.flatten()[0], rtol=1e-5), n
        place += weight[0, 0].numel()
    assert len(chunks) == -(-place // S) > 2


def test_a_core_of_full_rank_is_a_dense_generator() -> None:
    """Of any bases: S = P' G Q' gives P S Q = G where they are orthogonal."""
    scheme, values = dense()
    core = Hypernet(SIZES, N, target="all", generator="core", rank=max(SIZES))
    same = {**values, **{n: v for n, v in drawn(core).items() if n[6] in "PQ"}}
    for n, layer in core.manifest.items():
        generator = values[f"hyper.G{n}"].unflatten(2, layer.shape)
        p, q = same[f"hyper.P{n}"].unsqueeze(1), same[f"hyper.Q{n}"].unsqueeze(1)
        same[f"hyper.S{n}"] = (p.mT @ generator @ q.mT).flatten(2)
    assert_same(scheme, values, core, same)


def test_sparse_attention_to_all_rows_is_a_dense_generator() -> None:
    scheme, values = dense()
    sparse = Hypernet(SIZES, N, target="all", generator="sparse", live=1.0)
    own = drawn(sparse)
    same = {**values, **{n: v for n, v in own.items() if "keys" in n or "query" in n}}
    for n in sparse.manifest:
        blocks = own[f"hyper.G{n}"].shape[1]
        same[f"hyper.G{n}"] = values[f"hyper.G{n}"].unflatten(2, (blocks, -1)).transpose(1, 2)
    assert_same(scheme, values, sparse, same)


def sparse_generator(live: float) -> tuple[Sparse, Manifest]:
    manifest = Manifest([Layer(0, 32, 10, Scale(1.0, 1.0, 0.0, 0.0))], N, 16, 16.0)
    return Sparse(manifest, block=4, live=live), manifest


def test_sparse_attention_multiplies_only_what_lives() -> None:
    counted = []
    for live in (1, 2, 4, 8):
        generator, _ = sparse_generator(live / 8)
        values = generator.init(Random.from_seeds(range(R)))
        with FlopCounterMode(display=False) as counter:
            (weight,) = generator(values, torch.randn(R, N, 16))
        rows = weight.unflatten(2, (8, 4)).abs().amax((3, 4))
        assert (rows > 0).sum(2).eq(live).all()
        scoring = 2 * R * N * (16 * 8 + 8 * 8)
        counted.append(counter.get_total_flops() - scoring)
        assert counted[-1] == 2 * R * N * 16 * live * 4 * 10


def test_straight_through_weighs_nothing_forwards_and_by_the_softmax_backwards() -> None:
    generator, _ = sparse_generator(0.5)
    values = {n: v.double() for n, v in generator.init(Random.from_seeds([0])).items()}
    code = torch.randn(1, N, 16, dtype=torch.float64)
    estimated = [values[name].requires_grad_() for name in ("keys0", "query0")]
    (weight,) = generator(values, code)
    found = torch.autograd.grad(weight.sin().sum(), estimated)
    # The gradient of what would be, were every live block weighted by its score.
    score = (code @ values["query0"]) @ values["keys0"].mT / math.sqrt(8)
    best = score.topk(4, 2).indices
    scaled = score.softmax(2)
    blocks = torch.einsum("rnc,rmcx->rnmx", code, values["G0"])
    slope = (blocks.detach() * blocks.detach().cos()).sum(3)
    mask = torch.zeros_like(scaled).scatter(2, best, 1.0)
    expected = torch.autograd.grad((scaled * slope * mask).sum(), estimated)
    for own, other in zip(found, expected, strict=True):
        assert torch.allclose(own, other, atol=1e-10)
        assert own.abs().max() > 1e-6


def test_a_zero_factor_starts_every_agent_at_its_base() -> None:
    scheme = Hypernet(SIZES, N, target="all", generator="low-rank", rho=0.0)
    values = drawn(scheme)
    out = mlp(scheme.weights(values), same_input())
    assert torch.equal(out, out[:, :1].expand_as(out))
    assert float(values["hyper.U0"].abs().max()) > 0
    after = mlp(scheme.weights(stepped(scheme)), same_input())
    assert (after - after[:, :1]).abs().max() > 1e-4


@pytest.mark.parametrize(("agents", "width"), list(itertools.product([2, 3, 7], [8, 20])))
def test_parameter_counts_are_what_the_formulas_say(agents: int, width: int) -> None:
    sizes = [5, width, width + 4, 2]
    layers = list(itertools.pairwise(sizes))
    E, C = 8, 12
    shared = agents * E + E * C + sum(i * o + C * o for i, o in layers)

    def of(**options: Any) -> int:
        return count(Hypernet(sizes, agents, target="all", hidden=C, **options)) - shared

    assert of() == sum(C * i * o for i, o in layers)
    for groups in range(1, agents + 1):
        assert of(generator="grouped", groups=groups) == groups * of()
    for rank in (1, 2):
        assert of(generator="low-rank", rank=rank) == sum(C * rank * (i + o) for i, o in layers)
    for rank in (1, 4, 99):
        cores = [(i, o, min(rank, i), min(rank, o)) for i, o in layers]
        expected = sum(C * p * q + i * p + q * o for i, o, p, q in cores)
        assert of(generator="core", rank=rank) == expected
    chunks = math.ceil(sum(i * o for i, o in layers) / 32)
    assert of(generator="chunked", chunk=32) == (C + 32) * 32 + (32 + chunks) * 8
    trunk, head = sum(i * o + o for i, o in layers[:-1]), layers[-1][0] * 2
    hybrid = trunk + agents * E + E * 64 + 64 * (head + 2) + head
    assert count(Hypernet(sizes, agents)) == hybrid
