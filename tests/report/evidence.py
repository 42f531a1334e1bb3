"""A grid with an experiment for each kind of evidence, and what tests of it pick out of it."""

from __future__ import annotations

import csv
import dataclasses
import json

import synthetic
from synthetic import CONTROLLERS

from bench.places import Places

FIRST_ORDER = {"task_options": {"dynamics": "first-order"}}
CURVES = {
    "methods": ["ps-maddpg"],
    "rewards": ["group-goal", "summed-individual"],
    "samplers": ["uniform", "prioritized"],
    "agents": [2, 3],
    "seeds": [0, 1, 2, 3, 4],
}
EXPERIMENTS = {
    "references": {
        **synthetic.GRID["experiments"]["references"],
        "variants": {
            "mpe": {},
            "first-order": FIRST_ORDER,
            "wide": {"task_options": {"radius": 0.2}},
            "fixed": {"task_options": {"targets": "fixed"}},
            "centre": {"task_options": {"start": "centre"}},
        },
    },
    "figure4": {"question": "What learns?", **CURVES},
    "first-order": {"question": "And without inertia?", "settings": FIRST_ORDER, **CURVES},
    "repeated": {"question": "The same, once more.", "settings": FIRST_ORDER, **CURVES},
    "distance": {
        "question": "What is the flaw?",
        "methods": ["gatherer", "oracle"],
        "rewards": ["distance"],
        "agents": [2, 3],
        "seeds": [0],
        "settings": FIRST_ORDER,
    },
    "rewards": {
        "question": "And what does it teach?",
        "methods": ["ps-maddpg"],
        "rewards": ["distance"],
        "samplers": ["prioritized"],
        "agents": [2, 3],
        "seeds": [0, 1, 2, 3, 4],
        "settings": FIRST_ORDER,
    },
    "sensitivity": {
        "question": "What decides?",
        "methods": ["ps-maddpg"],
        "samplers": ["prioritized"],
        "agents": [2, 3],
        "seeds": [0, 1, 2, 3, 4],
        "variants": {
            "wide": {"task_options": {"radius": 0.2}},
            "gamma-0_99": {"gamma": 0.99},
            "two-at-once": {"gamma": 0.99, "task_options": {"radius": 0.2}},
        },
    },
}


def pick(table, experiment, agents=2, reward="group-goal", sampler="prioritized", method=None):
    return next(
        row
        for row in table
        if row.cell.experiment == experiment
        and (row.cell.config.agents, row.cell.config.reward) == (agents, reward)
        and (row.cell.config.sampler == sampler or row.cell.config.method in CONTROLLERS)
        and row.cell.config.method == (method or row.cell.config.method)
    )


def with_outcomes(row, outcomes):
    return dataclasses.replace(row, cell=dataclasses.replace(row.cell, outcomes=tuple(outcomes)))


def record(why, key):
    return json.loads(Places(why.root / "small").record(key).read_text())


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))]
