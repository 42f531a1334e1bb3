"""Products whose rows say which generated weights they are for, in two forms.

As in `products`, whose letters and measurements these are, the form is chosen by the shapes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from baselines.hypernet.products import batched, generated


def grouped(
    x: Tensor,
    index: Tensor,
    code: Tensor,
    generator: Tensor,
    base: Tensor | None = None,
    form: str | None = None,
) -> Tensor:
    """Multiply every row by the generated weights of the group that it says it belongs to.

    Args:
        x: [R, B, in].
        index: [R, B] groups, in any order; a group may have any number of rows.
        code: h [R, K, C].
        generator: G [R, C, in out].
        base: g [R, 1, in out], or none.
        form: one of `GROUPED`; chosen by the shapes if not given.

    Returns:
        [R, B, out].
    """
    form = form or grouped_form(x.shape[1], *code.shape[1:])
    return GROUPED[form](x, index, code, generator, base)


def grouped_form(rows: int, groups: int, code: int) -> str:
    """Choose a form of `grouped` for B rows of K groups, on any device.

    Measured: sorting costs as much as a few small products, but then each group's weights are
    formed once.  That is faster from 1.5 rows per group on with C = 64, from 5 with C = 8, where
    `rows` need not form them either; 7 times at 64 groups of 16 rows and C = 64.
    """
    worth = rows * code >= 256 and rows * code >= groups * (code + 32)
    return "segments" if worth else "rows"


def _rows(x: Tensor, index: Tensor, code: Tensor, generator: Tensor, base: Tensor | None) -> Tensor:
    """Take every row as a group of its own."""
    each = code.take_along_dim(index.unsqueeze(2), 1)
    return generated(x.unsqueeze(2), each, generator, base).squeeze(2)


def _segments(
    x: Tensor, index: Tensor, code: Tensor, generator: Tensor, base: Tensor | None
) -> Tensor:
    """Sort the rows by group, and do one product for each group that has any.

    The sizes of the segments are read back, which on a GPU waits for it.
    """
    (R, B, fan_in), K = x.shape, code.shape[1]
    weights = batched(code, generator, base).reshape(R * K, 1, fan_in, -1)
    group = (index + K * torch.arange(R, device=x.device).unsqueeze(1)).flatten()
    order = group.argsort(stable=True)
    sizes = group.bincount(minlength=R * K).tolist()
    segments = x.reshape(1, R * B, fan_in).index_select(1, order).split(sizes, 1)
    pairs = zip(segments, weights, strict=True)
    y = torch.cat([batched(rows, weight) for rows, weight in pairs if rows.shape[1]], 1)
    return y.index_select(1, order.argsort()).reshape(R, B, -1)


GROUPED: Mapping[str, Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None], Tensor]] = {
    "rows": _rows,
    "segments": _segments,
}
"""Forms of `grouped`."""
