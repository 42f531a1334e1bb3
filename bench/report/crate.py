"""What a results folder is, for archives: RO-Crate 1.1 metadata (Soiland-Reyes et al. 2022).

``ro-crate-metadata.json`` names every file that was built, with its size and hash, the records that
it was built from, and the software and commits that made both.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from bench.errors import WorldError
from bench.files import write_atomic
from bench.places import Places
from bench.report.load import Results

NAME = "ro-crate-metadata.json"
CITATION = Path(__file__).resolve().parents[2] / "CITATION.cff"
"""Who made this, when and under which licence."""
CONTEXT = [
    "https://w3id.org/ro/crate/1.1/context",
    {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"},
]
FORMATS = {
    **{".csv": "text/csv", ".html": "text/html", ".json": "application/json"},
    **{".pdf": "application/pdf", ".png": "image/png", ".svg": "image/svg+xml"},
    **{".gif": "image/gif", ".tex": "text/x-tex"},
}
"""Media type by ending; what else lies in a results folder is no part of the crate."""
BUILT = (".", "tables", "figures", "leaderboard")
"""Folders that reports write to."""


def build(results: Results, out_dir: Path) -> list[Path]:
    """Write ``ro-crate-metadata.json`` in ``out_dir``, about what lies there now.

    Returns:
        The path written.

    Raises:
        WorldError: if CITATION.cff cannot be read, or the disk refuses.
    """
    try:
        citation = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorldError(f"cannot read {CITATION}: {error.strerror}") from error
    graph = [*_frame(results, citation), *_software(citation), *_runs(results, out_dir)]
    files = [
        _file(path, out_dir)
        for folder in BUILT
        for path in sorted((out_dir / folder).glob("*"))
        if path.suffix in FORMATS and path.name != NAME
    ]
    parts = [{"@id": entity["@id"]} for entity in [*files, {"@id": "runs/"}]]
    next(entity for entity in graph if entity["@id"] == "./")["hasPart"] = parts
    report = _action("report", "Tables, figures, leaderboard and paper, from the records alone")
    graph.append({**report, "object": {"@id": "runs/"}, "result": parts[:-1]})
    content = {"@context": CONTEXT, "@graph": graph + files}
    write_atomic(out_dir / NAME, (json.dumps(content, indent=1) + "\n").encode())
    return [out_dir / NAME]


def _frame(results: Results, citation: dict[str, Any]) -> list[dict[str, Any]]:
    """Describe the crate itself, its licence and its authors."""
    licence = f"https://spdx.org/licenses/{citation['license']}"
    return [
        {
            "@id": NAME,
            "@type": "CreativeWork",
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
            "about": {"@id": "./"},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": results.grid.title,
            "description": " ".join(
                [
                    *(f"{name}: {e.question}" for name, e in results.grid.experiments.items()),
                    results.notice(),
                ]
            ).strip(),
            "datePublished": str(citation["date-released"]),
            "license": {"@id": licence},
            "author": [{"@id": f"#author-{n}"} for n, _ in enumerate(citation["authors"])],
        },
        {"@id": licence, "@type": "CreativeWork", "name": citation["license"]},
        *(
            {"@id": f"#author-{n}", "@type": "Organization", "name": author["name"]}
            if "name" in author
            else {
                "@id": f"#author-{n}",
                "@type": "Person",
                "name": f"{author['given-names']} {author['family-names']}",
            }
            for n, author in enumerate(citation["authors"])
        ),
    ]


def _software(citation: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "@id": "#hypercoop",
            "@type": "SoftwareApplication",
            "name": citation["title"],
            "softwareVersion": citation["version"],
        }
    ]


def _runs(results: Results, out_dir: Path) -> list[dict[str, Any]]:
    """Describe the records, and the training that made them: at which commits."""
    commits: Counter[str] = Counter()
    digest = hashlib.sha256()
    for key in sorted(results.outcomes):
        content = Places(out_dir).record(key).read_bytes()
        digest.update(content)
        made = json.loads(content)["provenance"]
        dirty = " with uncommitted changes" if made.get("dirty") else ""
        commits[f"{made.get('commit') or 'unknown'}{dirty}"] += 1
    where = "; ".join(f"{commit}: {count} runs" for commit, count in sorted(commits.items()))
    count = f"{len(results.outcomes)} of {len(results.expected)} run records"
    return [
        {
            "@id": "runs/",
            "@type": "Dataset",
            "name": count,
            "description": "One JSON file a run; the hash is of them all, in the order of names",
            "sha256": digest.hexdigest(),
        },
        {
            **_action("training", f"Training, at commits {where}"),
            "result": {"@id": "runs/"},
        },
    ]


def _action(name: str, description: str) -> dict[str, Any]:
    return {
        "@id": f"#{name}",
        "@type": "CreateAction",
        "name": name,
        "description": description,
        "instrument": {"@id": "#hypercoop"},
    }


def _file(path: Path, out_dir: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {
        "@id": path.relative_to(out_dir).as_posix(),
        "@type": "File",
        "name": path.name,
        "encodingFormat": FORMATS[path.suffix],
        "contentSize": str(len(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
