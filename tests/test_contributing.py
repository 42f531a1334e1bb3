"""What CONTRIBUTING.md says of the code is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"\| (\S+\.py) \| `(.*?)` \| .* \| (test_\w+): (.*) \|")


def test_every_line_that_a_test_would_notice_is_there_and_so_is_the_test() -> None:
    rows = [found for line in (ROOT / "CONTRIBUTING.md").open() if (found := ROW.match(line))]
    assert len(rows) > 80
    for file, line, module, test in (row.groups() for row in rows):
        folder = ROOT if file.startswith("bench/") else ROOT / "baselines"
        assert line in (folder / file).read_text(), f"{file} has no line {line}"
        (source,) = (ROOT / "tests").rglob(f"{module}.py")
        named = "def test_" + re.sub(r"\W", "_", test.partition("[")[0].replace("-", " "))
        assert named in source.read_text(), f"{module} has no test {named}"
