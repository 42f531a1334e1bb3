"""Products with dynamic weights, each in several forms: equal but for rounding, not in their cost.

A generated layer multiplies a group's rows by W_k = reshape(h_k G) + g.  Where a group has many
rows W_k is formed and used; where it has few, forming it costs more than using it.

Which form is taken is a rule of the shapes alone, the same for every replica of a fleet and for
one alone.  The CPU's constants were read off `hypercoop speed` ("dynamic products": the regret of
every choice) on one thread of an AMD EPYC with 1 MiB of L2 cache; look there again after a change
of machine or of `product`.  Those for CUDA are estimates, never timed.

Shapes, beside the usual: K groups of M rows, C features of a code h, r the rank.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NARROW = 16
"""Columns of a result below which it is computed transposed."""
CACHED = 2**16
"""Numbers in the weights that a core keeps at hand, 256 KiB: beyond, forming them is traffic."""
FEWEST = 8
"""Groups below which a product with the generator no longer repays reading it."""
CUDA_CACHED = 2**20
"""CACHED of a GPU, where several kernels of a few microseconds are nothing to save on."""


def batched(left: Tensor, right: Tensor, added: Tensor | None = None) -> Tensor:
    """Multiply matrices in batches; every product of every form is done here.

    Args:
        left: [batch, m, k].
        right: [batch, k, n].
        added: to be added to the result, or broadcast over it.

    Returns:
        [batch, m, n], strided as it comes.
    """
    if right.shape[2] < NARROW:
        # Few columns are done as few rows: BLAS is several times faster that way round.
        turned = torch.bmm(right.mT, left.mT).mT
        return turned if added is None else turned + added
    if added is None:
        return torch.bmm(left, right)
    return torch.baddbmm(added, left, right)


def generated(
    x: Tensor, code: Tensor, generator: Tensor, base: Tensor | None = None, form: str | None = None
) -> Tensor:
    """Multiply every group's rows by the weights generated from its code: x_k (h_k G + g).

    Args:
        x: [R, K, M, in].
        code: h [R, K, C].
        generator: G [R, C, in out].
        base: g [R, 1, in out], or none.
        form: one of `GENERATED`; chosen by the shapes if not given.

    Returns:
        [R, K, M, out].
    """
    if form is None:
        (K, M, fan_in), fan_out = x.shape[1:], generator.shape[2] // x.shape[3]
        form = generated_form(K, M, code.shape[2], fan_in, fan_out, x.device.type)
        if form == "fused" and (x.dtype != torch.float32 or not _has_triton()):
            form = "plain"
    return GENERATED[form](x, code, generator, base)


def generated_form(
    groups: int, rows: int, code: int, fan_in: int, fan_out: int, device: str = "cpu"
) -> str:
    """Choose a form of `generated` for K groups of M rows.

    On the CPU, `plain` is beaten where its weights outgrow the cache and M C is small:

    - by `outer` where M C <= 16: up to 11 times faster with C = 2, 4 times with C = 8, and with
      C = 16 and M = 1 from equal to 1.5 times.  At C = 64 they are equal, at M = 1.
    - by `inputs` there if the layer is narrow, but for a single output: up to 2 times with two
      outputs, and slower by a sixth at worst.  Else it is never far ahead of `outer`.
    - by `blocks` with more rows but C <= 8: 1.1 to 1.5 times when only acting, 2 times with layers
      of 128 x 128; when learning they are about equal.

    On CUDA `fused` is taken where it does hardly more operations, and saves writing and reading
    many weights.  All else is `plain`.
    """
    weights, repeated = groups * fan_in * fan_out, rows * code
    if device == "cuda":
        fits = repeated <= 16 and weights >= CUDA_CACHED and fan_out >= NARROW
        return "fused" if fits else "plain"
    if device != "cpu" or fan_out == 1:
        return "plain"
    if fan_out < NARROW:
        return "inputs" if repeated <= 16 and weights >= CACHED / 2 else "plain"
    if repeated <= 16 and weights >= CACHED * max(1, repeated / 8):
        return "outer"
    if code <= 8 and rows <= 32 and weights >= 4 * CACHED:
        return "blocks"
    return "plain"


def _plain(x: Tensor, code: Tensor, generator: Tensor, base: Tensor | None) -> Tensor:
    """Form all weights, then use them: 2 K (C + M) in out operations."""
    R, K, M, fan_in = x.shape
    weights = batched(code, generator, base).reshape(R * K, fan_in, -1)
    return batched(x.reshape(R * K, M, fan_in), weights).reshape(R, K, M, -1)


def _blocks(x: Tensor, code: Tensor, generator: Tensor, base: Tensor | None) -> Tensor:
    """Form and use weights of a few groups at a time, which stay in the cache meanwhile."""
    step = max(FEWEST, CACHED // generator.shape[2])
    parts = zip(x.split(step, 1), code.split(step, 1), strict=True)
    return torch.cat([_plain(*part, generator, base) for part in parts], 1)


def _outer(x: Tensor, code: Tensor, generator: Tensor, base: Tensor | None) -> Tensor:
    """Multiply all h x, of C in features, by G seen as [C in, out]: 2 K M C in out operations."""
    R, K, M, fan_in = x.shape
    rows = x.reshape(R, K * M, fan_in)
    features = code[:, :, None, :, None] * x[:, :, :, None, :]
    stacked = generator.reshape(R, code.shape[2] * fan_in, -1)
    y = batched(features.reshape(R, K * M, -1), stacked, _with_base(rows, base))
    return y.reshape(R, K, M, -1)


def _inputs(x: Tensor, code: Tensor, generator: Tensor, base: Tensor | None) -> Tensor:
    """Multiply the rows by every feature's part of G, [in, C out], then weigh the parts by h."""
    (R, K, M, fan_in), C = x.shape, code.shape[2]
    rows = x.reshape(R, K * M, fan_in)
    beside = generator.reshape(R, C, fan_in, -1).transpose(1, 2)
    parts = batched(rows, beside.reshape(R, fan_in, -1)).reshape(R * K * M, C, -1)
    each = code.unsqueeze(2).expand(R, K, M, C).reshape(R * K * M, 1, C)
    y = torch.bmm(each, parts).reshape(R, K * M, -1)
    shared = _with_base(rows, base)
    return (y if shared is None else y + shared).reshape(R, K, M, -1)


def _with_base(rows: Tensor, base: Tensor | None) -> Tensor | None:
    """Multiply rows [R, K M, in] by the weights that all groups share."""
    if base is None:
        return None
    return batched(rows, base.reshape(*rows.shape[::2], -1))


def _fused(x: Tensor, code: Tensor, generator: Tensor, base: Tensor | None) -> Tensor:
    """Compute as `_outer` does, in one kernel that keeps the features in registers."""
    y: Tensor = _Fused.apply(x, code, generator, base)  # type: ignore[no-untyped-call]
    return y


class _Fused(torch.autograd.Function):
    """The kernel forward; backward, the gradients of the plain form."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, code: Tensor, generator: Tensor, base: Tensor | None
    ) -> Tensor:
        from baselines.hypernet.fused_triton import fused

        ctx.save_for_backward(x, code, generator, base)
        return fused(x, code, generator, base)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad
        inputs: list[Any] = [None if t is None else t.detach() for t in ctx.saved_tensors]
        wanted = [t.requires_grad_() for t, n in zip(inputs, needed, strict=True) if n]
        with torch.enable_grad():
            y = _plain(*inputs)
        found = iter(torch.autograd.grad(y, wanted, gradient))
        return tuple(next(found) if n else None for n in needed)


def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


GENERATED: Mapping[str, Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]] = {
    "plain": _plain,
    "blocks": _blocks,
    "outer": _outer,
    "inputs": _inputs,
    "fused": _fused,
}
"""Forms of `generated`; `fused` needs Triton, and a GPU or Triton's interpreter."""


def low_rank(x: Tensor, left: Tensor, right: Tensor, form: str | None = None) -> Tensor:
    """Multiply every group's rows by weights given as two factors: x_k U_k V_k.

    Args:
        x: [K, M, in]; replicas, if any, are merged into the groups.
        left: U [K, in, r].
        right: V [K, r, out].
        form: one of `LOW_RANK`; chosen by the shapes if not given.

    Returns:
        [K, M, out].
    """
    form = form or low_rank_form(x.shape[1], left.shape[2], x.shape[2], right.shape[2])
    return LOW_RANK[form](x, left, right)


def low_rank_form(rows: int, rank: int, fan_in: int, fan_out: int) -> str:
    """Choose a form of `low_rank`: the one of fewer operations, on any device.

    Measured, that is the faster one, but for wide batches at rank 1 onto few outputs, where
    `formed` is up to 1.4 times faster when only acting.
    """
    factored = rows * rank * (fan_in + fan_out)
    return "factored" if factored <= (rows + rank) * fan_in * fan_out else "formed"


LOW_RANK: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "formed": lambda x, left, right: batched(x, batched(left, right)),
    "factored": lambda x, left, right: batched(batched(x, left), right),
}
"""Forms of `low_rank`: 2 K in out (r + M) operations, and 2 K M r (in + out)."""
