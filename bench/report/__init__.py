"""Everything that is built from run records, and from nothing else.

``load`` reads the records of a grid once; ``tables``, ``figures``, ``leaderboard``, ``values``,
``paper`` and ``crate`` each have ``build(results, out_dir) -> list of paths``, which write below
``out_dir`` (``results/<grid>``) whole files or none, the same bytes from the same records.  A
record that is missing or unsound is named and counted wherever it would have entered; the rest
still builds.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from bench.methods import methods_file


def claims_file() -> Path:
    """Return the source's claims: $HYPERCOOP_CLAIMS, or config/claims.yaml of this checkout."""
    own = Path(__file__).resolve().parents[2] / "config" / "claims.yaml"
    return Path(os.environ.get("HYPERCOOP_CLAIMS", own))


def code_digest(grid: str | Path) -> str:
    """Hash what decides the look of a grid's reports, its records apart.

    The sources of reports, statistics, grids and drawn scenes, the method table, the claims, how to
    cite all this, and the grid file: 16 hex digits of a SHA-256.
    """
    here = Path(__file__).parent
    sources = [*here.glob("*.py"), *here.glob("*.html"), methods_file(), claims_file()]
    sources += [here.parent / name for name in ("stats.py", "resampling.py", "scene.py", "grid.py")]
    sources.append(here.parents[1] / "CITATION.cff")
    digest = hashlib.sha256(Path(grid).read_bytes())
    for path in sorted(sources):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
