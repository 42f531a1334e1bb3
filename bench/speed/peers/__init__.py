"""Other people's code on equal work, beside ours, in the same invocation.

Each side of a comparison is one file, run by path in a process of its own (`worker.py`), under this
Python or another's; nothing here imports a peer.
"""

from __future__ import annotations

from bench.speed.peers.against import Side, compare, find_peers, measure_against

__all__ = ["Side", "compare", "find_peers", "measure_against"]
