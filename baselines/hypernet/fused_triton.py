"""A generated layer as one Triton kernel: the weights are never formed, nor are the outer features.

Needs Triton, so it is imported only where it is used.  It compiles for NVIDIA GPUs of compute
capability 8.0 and 9.0, but has been run in Triton's interpreter only (TRITON_INTERPRET=1), never
on a GPU: its results are tested, its speed is unknown.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, IN, OUT = 16, 32, 64
"""A program's tile: rows times outputs, and inputs at a time; `tl.dot` takes no less than 16."""


def fused(x: Tensor, code: Tensor, generator: Tensor, base: Tensor | None) -> Tensor:
    """Multiply every group's rows by the weights generated from its code: x_k (h_k G + g).

    Args:
        x: [R, K, M, in], float32 as all the others.
        code: h [R, K, C].
        generator: G [R, C, in out].
        base: g [R, 1, in out], or none.

    Returns:
        [R, K, M, out], with no graph.
    """
    (R, K, M, fan_in), C = x.shape, code.shape[2]
    fan_out = generator.shape[2] // fan_in
    y = torch.empty(R, K, M, fan_out, dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(K * M, ROWS), triton.cdiv(fan_out, OUT), R)
    x, code, generator = x.contiguous(), code.contiguous(), generator.contiguous()
    shared = generator if base is None else base.contiguous()  # a pointer is needed either way
    sizes = (K * M, M, C, fan_in, fan_out)
    compiled[grid](x, code, generator, shared, y, *sizes, base is not None, ROWS, IN, OUT)
    return y


def _kernel(  # type: ignore[no-untyped-def]  # Triton compiles annotations, too
    x,
    code,
    generator,
    base,
    y,
    rows,
    rows_per_group,
    features,
    fan_in,
    fan_out,
    has_base: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_in: tl.constexpr,
    tile_out: tl.constexpr,
):
    """Compute a tile of y: for every block of inputs, x g plus the sum over c of (h_c x) G_c."""
    replica = tl.program_id(2).to(tl.int64)
    x += replica * rows * fan_in
    code += replica * (rows // rows_per_group) * features
    generator += replica * features * fan_in * fan_out
    base += replica * fan_in * fan_out
    y += replica * rows * fan_out

    row = tl.program_id(0) * tile_rows + tl.arange(0, tile_rows)
    column = tl.program_id(1) * tile_out + tl.arange(0, tile_out)
    real_row, real_column = row < rows, column < fan_out
    code += (row // rows_per_group) * features

    total = tl.zeros((tile_rows, tile_out), dtype=tl.float32)
    for start in range(0, fan_in, tile_in):
        i = start + tl.arange(0, tile_in)
        real_in = i < fan_in
        block = tl.load(
            x + row[:, None] * fan_in + i[None, :],
            mask=real_row[:, None] & real_in[None, :],
            other=0.0,
        )
        place = i[:, None] * fan_out + column[None, :]
        real = real_in[:, None] & real_column[None, :]
        # All in full float32: a GPU's faster formats keep three digits.
        if has_base:
            weight = tl.load(base + place, mask=real, other=0.0)
            total = tl.dot(block, weight, total, input_precision="ieee")
        for c in range(features):
            h = tl.load(code + c, mask=real_row, other=0.0)
            weight = tl.load(generator + c * fan_in * fan_out + place, mask=real, other=0.0)
            total = tl.dot(block * h[:, None], weight, total, input_precision="ieee")
    tl.store(
        y + row[:, None] * fan_out + column[None, :],
        total,
        mask=real_row[:, None] & real_column[None, :],
    )


compiled = triton.jit(_kernel)
