"""Tensors of several parts in one mapping, those of each under its own prefix."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def put_under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put a part's tensors under its prefix."""
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def found_under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a part's tensors by their own names."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
