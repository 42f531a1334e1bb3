"""BenchMARL's MADDPG on simple_spread, VMAS's or mpe2's (Bettini et al. 2024).

The actor is one network for all agents, the critic one for the team; batch, sizes, rates and the
steps between updates are the workload's.  On VMAS all E environments advance together, and an
update follows each E steps; mpe2 has one environment.  Replay is uniform, on both sides: with
prioritized replay this version's loss refuses the weights.  In an environment of its own:

    python3 -m venv peers
    peers/bin/pip install torch==2.13.0 torchvision==0.28.0 av==13.1.0 benchmarl==1.5.2
    peers/bin/pip install torchrl==0.11.1 tensordict==0.11.0 vmas==1.5.2 mpe2 pettingzoo
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from typing import Any

import mpe2
import torch
from benchmarl.algorithms import MaddpgConfig
from benchmarl.environments import PettingZooTask, VmasTask
from benchmarl.experiment import Callback, Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig

sys.modules["pettingzoo.mpe"] = mpe2  # where torchrl looks for what has moved out of pettingzoo


class Counter(Callback):  # type: ignore[misc]
    """Counts the work, and tells when warming up is over."""

    def __init__(self, warm_env_steps: int, mark: Callable[[], None]) -> None:
        super().__init__()
        self.warm_env_steps, self.mark = warm_env_steps, mark
        self.env_steps = self.updates = 0

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing: BenchMARL pickles its callbacks for a resumption that never comes."""
        return {}

    def on_batch_collected(self, batch: Any) -> None:
        """Count environment steps."""
        self.env_steps += batch.numel()

    def on_train_step(self, batch: Any, group: str) -> None:
        """Count an update."""
        self.updates += 1

    def on_train_end(self, training_td: Any, group: str) -> None:
        """End warming up, and begin counting."""
        if self.env_steps == self.warm_env_steps:
            self.env_steps = self.updates = 0
            self.warm_env_steps = -1
            self.mark()


def run(workload: dict[str, Any], mark: Callable[[], None]) -> dict[str, float]:
    """Train for `warm_env_steps`, then for `env_steps`; count the latter."""
    torch.set_num_threads(1)
    config = workload["config"]
    N, horizon = config["agents"], config["task_options"]["horizon"]
    vectorised = workload["world"] == "vmas"
    if vectorised:
        task = VmasTask.SIMPLE_SPREAD.get_from_yaml()
        task.config = {**task.config, "n_agents": N, "max_steps": horizon}
    else:
        task = PettingZooTask.SIMPLE_SPREAD.get_from_yaml()
        task.config = {**task.config, "N": N, "max_cycles": horizon}
    experiment = ExperimentConfig.get_from_yaml()
    total = config["episodes"] * horizon
    settings = {
        "max_n_frames": workload["warm_env_steps"] + workload["env_steps"],
        "exploration_eps_init": config["noise_start"],
        "exploration_eps_end": config["noise_end"],
        "exploration_anneal_frames": total,
        "gamma": config["gamma"],
        "lr": config["actor_lr"],
        "polyak_tau": config["tau"],
        "clip_grad_val": config["grad_clip"],
        "off_policy_collected_frames_per_batch": config["steps_per_update"],
        "off_policy_n_envs_per_worker": config["parallel"] if vectorised else 1,
        "off_policy_n_optimizer_steps": 1,
        "off_policy_train_batch_size": config["batch"],
        "off_policy_memory_size": config["buffer"],
        "off_policy_use_prioritized_replay_buffer": False,
        "evaluation": False,
        "evaluation_episodes": 1,
        "render": False,
        "loggers": [],
        "create_json": False,
    }
    for name, value in settings.items():
        setattr(experiment, name, value)
    network = MlpConfig(
        num_cells=config["hidden"], layer_class=torch.nn.Linear, activation_class=torch.nn.ReLU
    )
    counter = Counter(workload["warm_env_steps"], mark)
    with tempfile.TemporaryDirectory() as folder:
        experiment.save_folder = folder
        algorithm = MaddpgConfig.get_from_yaml()
        Experiment(task, algorithm, network, config["seed"], experiment, None, [counter]).run()
    return {"env_steps": counter.env_steps, "updates": counter.updates}
