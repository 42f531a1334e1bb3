"""The floor: the matrix products that a part really does, timed alone on warm buffers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.speed.clock import Clock

aten = torch.ops.aten
OPERATIONS: dict[Any, str] = {
    aten.mm.default: "mm",
    aten.bmm.default: "bmm",
    aten.addmm.default: "addmm",
    aten.baddbmm.default: "baddbmm",
}
ONEDNN = "_linear_pointwise"
"""oneDNN's product of the first tensor and the transposed second."""
if hasattr(torch.ops.mkldnn, ONEDNN):
    OPERATIONS[torch.ops.mkldnn._linear_pointwise.default] = ONEDNN


@dataclass(frozen=True)
class Product:
    """One matrix product: the operation, and sizes and strides of its two or three tensors."""

    operation: str
    sizes: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]

    @property
    def flops(self) -> int:
        """Count 2 m k n for every pair of matrices; an added third tensor is not counted."""
        left, right = self.sizes[-2:]
        return 2 * math.prod(left) * right[0 if self.operation == ONEDNN else -1]

    def rehearsal(self) -> Callable[[], Tensor]:
        """Return a function that does it once, on buffers of its own laid out as recorded."""
        tensors = [_like(*layout) for layout in zip(self.sizes, self.strides, strict=True)]
        if self.operation == ONEDNN:
            operation = partial(torch.ops.mkldnn._linear_pointwise, *tensors, None, "none", [], "")
        else:
            out = torch.empty(*tensors[-2].shape[:-1], tensors[-1].shape[-1])
            operation = partial(getattr(torch, self.operation), *tensors, out=out)

        def product() -> Tensor:
            with torch.no_grad():
                return operation()

        return product


def _like(size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Random float32 numbers of a layout; expanded axes, of stride 0, included."""
    reach = 1 + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    return torch.randn(reach).as_strided(size, stride)


class Recorder(TorchDispatchMode):
    """Records the products of everything in its block, backward passes too, by the clock's part."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._clock = clock
        self.products: dict[str, Counter[Product]] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Note a product and let it pass."""
        if func in OPERATIONS:
            tensors = [argument for argument in args if isinstance(argument, Tensor)]
            product = Product(
                OPERATIONS[func],
                tuple(tuple(tensor.shape) for tensor in tensors),
                tuple(tensor.stride() for tensor in tensors),
            )
            self.products.setdefault(self._clock.part, Counter())[product] += 1
        return func(*args, **(kwargs or {}))


def flops(products: Mapping[Product, int]) -> int:
    """Add up the FLOPs of counted products."""
    return sum(product.flops * count for product, count in products.items())
