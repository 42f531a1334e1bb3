"""The generators by name."""

from __future__ import annotations

import functools
from collections.abc import Callable

from baselines.hypernet.generators import Generator, Manifest
from baselines.hypernet.generators.chunked import Chunked
from baselines.hypernet.generators.core import Core
from baselines.hypernet.generators.dense import Dense
from baselines.hypernet.generators.grouped import Grouped
from baselines.hypernet.generators.low_rank import LowRank
from baselines.hypernet.generators.sparse import Sparse
from baselines.hypernet.options import HypernetOptions


def make_generator(options: HypernetOptions) -> Callable[[Manifest], Generator]:
    """Return what makes the generator that the options name, with its own options."""
    o = options
    known: dict[str, Callable[[Manifest], Generator]] = {
        "dense": Dense,
        "chunked": functools.partial(Chunked, chunk=o.chunk),
        "grouped": functools.partial(Grouped, groups=o.groups),
        "low-rank": functools.partial(LowRank, rank=o.rank),
        "core": functools.partial(Core, rank=o.rank),
        "sparse": functools.partial(Sparse, block=o.block, live=o.live),
    }
    return known[o.generator]
