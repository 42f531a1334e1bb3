"""Imported by the process that others are forked from: what a first run imports and sets up.

On one thread, so that there is none that a fork would lose.
"""

from __future__ import annotations

import torch

from bench import cli, policies, runner
from bench.config import resolve
from bench.train import train

torch.set_num_threads(1)
SMALL = {"episodes": 2, "parallel": 1, "steps_per_update": 10, "batch": 2, "evaluations": 2}
train([resolve(SMALL, {"buffer": 60, "absolute_episodes": 1})], torch.device("cpu"))
READY = (cli, policies, runner)
