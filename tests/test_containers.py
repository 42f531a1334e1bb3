"""Both containers are one environment: the locked versions of constraints.txt.

`containers/replay` builds it, or without a container engine does its steps; that takes minutes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DEFINITION = (ROOT / "containers" / "hypercoop.def").read_text()


def pins(text: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)==(\S+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_the_lock_has_every_pin_but_torch_with_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    wanted = pins((ROOT / "constraints.txt").read_text())
    assert wanted.pop("torch")
    assert pins(lock) == wanted, "write it anew with containers/lock"
    for entry in re.split(r"\n(?=[A-Za-z0-9])", lock.partition("\n")[2]):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_both_containers_do_the_same_from_the_same_image() -> None:
    image = re.search(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert image and f"From: {image[1]}\n" in DEFINITION
    for step in ("apt-get install -y --no-install-recommends git make", "containers/install"):
        assert step in DOCKERFILE and step in DEFINITION
    sections = re.findall(r"^%(\w+)", DEFINITION, re.MULTILINE)
    assert sections == ["files", "post", "runscript", "test"]


def test_the_workflow_names_the_image_that_is_built() -> None:
    built = re.search(r"docker build -t (\S+)", DOCKERFILE)
    assert built and f'container: "docker://{built[1]}"' in (ROOT / "Snakefile").read_text()


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint")
    if not hadolint:
        pytest.skip("no hadolint: pip install -e '.[dev]'")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", ["install", "replay", "lock"])
def test_scripts_are_executable_and_parse(script: str) -> None:
    path = ROOT / "containers" / script
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", path], check=True)
