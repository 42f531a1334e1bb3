"""Dynamic-weight products: every form against the definition, row by row."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from baselines.hypernet import products
from baselines.hypernet.grouped import GROUPED, grouped, grouped_form
from baselines.hypernet.products import GENERATED, LOW_RANK

CPU_FORMS = [form for form in GENERATED if form != "fused"]
# R, K, M, C, in, out
SHAPES = [
    (1, 3, 4, 8, 64, 64),
    (1, 1, 5, 4, 7, 20),  # one group
    (1, 40, 1, 3, 33, 17),  # one row per group; not a whole number of blocks
    (2, 5, 3, 1, 6, 18),  # a code of one feature, and replicas
    (3, 4, 2, 5, 9, 2),  # a narrow layer
    (2, 3, 4, 2, 5, 1),  # a single output
    (1, 1, 1, 1, 1, 1),
]


def draw(
    R: int, K: int, M: int, C: int, fan_in: int, fan_out: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, h, G and g, all with gradients."""
    torch.manual_seed(K + M)
    shapes = [(R, K, M, fan_in), (R, K, C), (R, C, fan_in * fan_out), (R, 1, fan_in * fan_out)]
    x, code, generator, base = (torch.randn(s, dtype=dtype, requires_grad=True) for s in shapes)
    return x, code, generator, base


def by_definition(x: Tensor, code: Tensor, generator: Tensor, base: Tensor | None) -> Tensor:
    """Every group's weights as they are written down, in float64."""
    x, code, generator = x.double(), code.double(), generator.double()
    R, K, M, fan_in = x.shape
    out = torch.zeros(R, K, M, generator.shape[2] // fan_in, dtype=torch.float64)
    for r in range(R):
        for k in range(K):
            flat = sum(h * row for h, row in zip(code[r, k], generator[r], strict=True))
            flat = flat if base is None else flat + base[r, 0].double()
            out[r, k] = x[r, k] @ flat.view(fan_in, -1)
    return out


def close(found: Tensor, expected: Tensor) -> bool:
    """Equal to 1e-5 of the largest number."""
    error, scale = (found - expected).abs().max(), expected.abs().max()
    return found.shape == expected.shape and bool(error <= 1e-5 * scale)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", [None, *CPU_FORMS])
@pytest.mark.parametrize("with_base", [True, False])
def test_all_forms_are_the_definition(
    form: str | None, shape: tuple[int, ...], with_base: bool
) -> None:
    x, code, generator, base = draw(*shape)
    inputs = (x, code, generator, base if with_base else None)
    y, expected = products.generated(*inputs, form), by_definition(*inputs)
    assert y.dtype == torch.float32 and close(y, expected)
    wanted = [tensor for tensor in inputs if tensor is not None]
    direction = torch.randn_like(y)
    gradients = torch.autograd.grad(y, wanted, direction)
    correct = torch.autograd.grad(expected, wanted, direction.double())
    assert all(close(g, c) for g, c in zip(gradients, correct, strict=True))


@pytest.mark.parametrize("form", CPU_FORMS)
@pytest.mark.parametrize("fan_out", [2, 16])
def test_gradients_against_finite_differences(form: str, fan_out: int) -> None:
    inputs = draw(2, 3, 2, 2, 3, fan_out, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *i: products.generated(*i, form), inputs)


@pytest.mark.parametrize("form", CPU_FORMS)
def test_rows_need_not_lie_together(form: str) -> None:
    x, code, generator, base = draw(2, 3, 4, 5, 6, 16)
    turned = x.detach().permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    expected = products.generated(x, code, generator, base, form)
    assert torch.allclose(products.generated(turned, code, generator, base, form), expected)


@pytest.mark.parametrize(
    "shape",
    [(2, 20, 1, 4, 64, 64), (2, 64, 8, 4, 64, 64), (2, 64, 1, 4, 64, 8), (2, 3, 9, 4, 8, 8)],
)
def test_a_replica_is_the_same_in_a_fleet_and_alone(shape: tuple[int, ...]) -> None:
    together = draw(*shape)
    alone = [tensor[1:] for tensor in together]
    assert torch.equal(products.generated(*together)[1:], products.generated(*alone))


sizes = st.integers(1, 2**12)


@given(sizes, sizes, sizes, sizes, sizes, st.sampled_from(["cpu", "cuda", "mps", "meta"]))
def test_the_rule_knows_a_form_for_every_shape(
    K: int, M: int, C: int, fan_in: int, fan_out: int, device: str
) -> None:
    form = products.generated_form(K, M, C, fan_in, fan_out, device)
    assert form in GENERATED
    assert (form == "fused") <= (device == "cuda")
    assert form == "plain" or M * C <= 256  # with many rows nothing beats forming the weights
    assert products.low_rank_form(M, C, fan_in, fan_out) in LOW_RANK
    assert grouped_form(M, K, C) in GROUPED


def test_the_rule_falls_back_to_plain() -> None:
    assert products.generated_form(3, 1024, 64, 64, 64) == "plain"
    assert products.generated_form(1024, 1, 8, 64, 64) == "outer"
    assert products.generated_form(1024, 1, 8, 64, 1) == "plain"
    assert products.generated_form(1024, 1, 8, 64, 64, "mps") == "plain"
    assert products.generated_form(1024, 1, 8, 64, 64, "cuda") == "fused"


def test_without_triton_a_gpu_takes_the_plain_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "generated_form", lambda *_: "fused")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    inputs = draw(1, 3, 2, 2, 4, 16)
    assert torch.equal(products.generated(*inputs), products.generated(*inputs, "plain"))


@pytest.mark.parametrize("rank", [1, 3, 6])
@pytest.mark.parametrize(("K", "M", "fan_out"), [(1, 1, 9), (4, 1, 30), (4, 50, 30), (3, 7, 1)])
def test_low_rank_forms_are_the_definition(rank: int, K: int, M: int, fan_out: int) -> None:
    shapes = [(K, M, 6), (K, 6, rank), (K, rank, fan_out)]
    inputs = [torch.randn(shape, requires_grad=True) for shape in shapes]
    x, left, right = (tensor.double() for tensor in inputs)
    expected = torch.stack([x[k] @ (left[k] @ right[k]) for k in range(K)])
    direction = torch.randn(expected.shape, dtype=torch.float64)
    correct = torch.autograd.grad(expected, inputs, direction)
    for form in (None, *LOW_RANK):
        y = products.low_rank(*inputs, form)
        assert close(y, expected)
        gradients = torch.autograd.grad(y, inputs, direction.float())
        assert all(close(g, c) for g, c in zip(gradients, correct, strict=True))


@pytest.mark.parametrize("form", LOW_RANK)
@pytest.mark.parametrize("fan_out", [2, 16])
def test_low_rank_gradients_against_finite_differences(form: str, fan_out: int) -> None:
    shapes = [(2, 3, 4), (2, 4, 2), (2, 2, fan_out)]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(lambda *i: products.low_rank(*i, form), inputs)


@pytest.mark.parametrize(("R", "K", "B"), [(1, 3, 20), (2, 5, 12), (1, 4, 1), (2, 1, 3)])
@pytest.mark.parametrize("form", [None, *GROUPED])
def test_grouped_rows_meet_their_own_groups_weights(
    R: int, K: int, B: int, form: str | None
) -> None:
    _, code, generator, base = draw(R, K, 1, 2, 3, 17, dtype=torch.float64)
    x = torch.randn(R, B, 3, dtype=torch.float64, requires_grad=True)
    index = torch.randint(K, (R, B)) // 2 * 2 % K  # unsorted, and some groups have no row
    y = grouped(x, index, code, generator, base, form)
    for r in range(R):
        for b in range(B):
            k = int(index[r, b])
            weights = (code[r, k] @ generator[r] + base[r, 0]).view(3, 17)
            assert torch.allclose(y[r, b], x[r, b] @ weights)
    inputs = (x, code, generator, base)
    assert torch.autograd.gradcheck(lambda x, *rest: grouped(x, index, *rest, form), inputs)


KERNEL = """
import sys, torch
from baselines.hypernet.products import generated
path, device = sys.argv[1:]
results = []
for inputs, direction in torch.load(path):
    inputs = [None if t is None else t.detach().to(device).requires_grad_() for t in inputs]
    inputs[0].requires_grad_(False)  # not asked for, not done
    y = generated(*inputs, form="fused")
    wanted = [t for t in inputs[1:] if t is not None]
    results.append([y, *torch.autograd.grad(y, wanted, direction.to(device))])
torch.save([[t.detach().cpu() for t in result] for result in results], path)
"""
"""A process of its own: whether Triton interprets is settled when it is first imported."""


def test_the_kernel_is_the_definition(tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="Triton is not installed: it comes with torch for CUDA")
    cases = []
    for shape in SHAPES:
        x, code, generator, base = draw(*shape)
        direction = torch.randn(*x.shape[:3], shape[-1])
        cases += [((x, code, generator, base), direction), ((x, code, generator, None), direction)]
    torch.save(cases, tmp_path / "kernel")
    device, mode = ("cuda", "0") if torch.cuda.is_available() else ("cpu", "1")
    arguments = [sys.executable, "-c", KERNEL, str(tmp_path / "kernel"), device]
    subprocess.run(arguments, check=True, env={**os.environ, "TRITON_INTERPRET": mode})
    for (inputs, direction), found in zip(cases, torch.load(tmp_path / "kernel"), strict=True):
        expected = by_definition(*inputs)
        wanted = [tensor for tensor in inputs[1:] if tensor is not None]
        correct = [expected, *torch.autograd.grad(expected, wanted, direction.double())]
        assert all(close(f, c) for f, c in zip(found, correct, strict=True))
