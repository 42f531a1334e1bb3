"""Generated matrices whose largest singular value stays within a limit.

A plain matrix is bounded by where it starts and how far it is moved; a generated one jumps with its
code.  So it is scaled down as a whole (after Miyato et al. 2018, with the exact norm, as the
matrices are small).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def _norm(weight: Tensor) -> Tensor:
    """Return the largest singular value [R, N, 1, 1]; of a diverged replica, any number."""
    return torch.linalg.matrix_norm(weight.nan_to_num(), 2)[..., None, None]


def spectral(weight: Tensor, largest: float) -> Tensor:
    """Leave matrices within the limit alone and scale the others onto it: [R, N, in, out]."""
    return weight * (largest / _norm(weight).clamp(min=largest))


def smooth(weight: Tensor, largest: float) -> Tensor:
    """Scale a largest singular value s to c tanh(s / c), which has a slope everywhere.

    Args:
        weight: [R, N, in, out].
        largest: c.
    """
    ratio = (_norm(weight) / largest).clamp(min=1e-6)
    return weight * (torch.tanh(ratio) / ratio)


BOUNDS: Mapping[str, Callable[[Tensor, float], Tensor]] = {"spectral": spectral, "smooth": smooth}
"""Bounds by name."""
