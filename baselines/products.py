"""Products of matrices, each by the fastest way that the machine has for its shape.

torch multiplies float32 by MKL, which on CPUs that are not Intel's does without the widest
instructions.  oneDNN, which torch ships with and its compiler uses for this purpose, does not: at
64 x 64 x 3,072 it is twice as fast on an AMD EPYC.  On an Intel Xeon it is half as fast there, but
faster where the inner size is the large one, as in the gradients of weights.  It costs some 10
microseconds a call more and has no batched form, so small products stay with MKL.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from bench.provenance import cpu_is_intel

INTEL = cpu_is_intel()
ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
WORTHWHILE = 1 << 21
"""Multiplications from which one product is worth a call of oneDNN."""
DEEP = 1024
"""Inner size from which oneDNN is the faster one on CPUs of Intel's."""
NARROWEST = 8
"""Rows and columns of a result below which oneDNN is the slower one."""
FEW = 2
"""Inner sizes up to which a product is faster as a sum of outer products."""


def product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply K pairs of matrices: [K, m, k] x [K, k, n] -> [K, m, n].

    Which way is taken depends on m, k and n alone, never on K, so that a replica's numbers do not
    depend on its fleet.  `left` should be the one with contiguous rows, or the smaller one.
    """
    if left.device.type != "cpu":
        return torch.bmm(left, right)
    (count, m, k), n = left.shape, right.shape[2]
    if k <= FEW:
        result = left[:, :, :1] * right[:, :1]
        for inner in range(1, k):
            result.addcmul_(left[:, :, inner : inner + 1], right[:, inner : inner + 1])
        return result
    if min(m, n) == 1:
        # Onto one row or column BLAS rounds differently alone than in a batch; this does not.
        if n == 1:
            return (left * right.mT).sum(2, keepdim=True)
        return (left.mT * right).sum(1, keepdim=True)
    if not (ONEDNN and large(left, m, k, n)) or (INTEL and k < DEEP):
        return torch.bmm(left, right)
    if count == 1:
        return _onednn(left, right[0])
    return torch.stack([_onednn(a, b) for a, b in zip(left, right, strict=True)])


def large(like: Tensor, m: int, k: int, n: int) -> bool:
    """Whether products of matrices like this, of m x k by k x n, gain nothing from one another."""
    wide = min(m, n) >= NARROWEST and k > FEW and m * k * n >= WORTHWHILE
    return wide and like.dtype == torch.float32 and like.device.type == "cpu"


def _onednn(left: Tensor, right: Tensor) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(left, right.mT, None, "none", [], "")
    return result


if ONEDNN:

    @register_flop_formula(torch.ops.mkldnn._linear_pointwise)
    def _flops(left: torch.Size, right: torch.Size, *_: object, **__: object) -> int:
        return 2 * left.numel() * right[0]
