"""JaxMARL's simple_spread: E environments at once under random actions (Rutherford et al. 2024).

    python3 -m venv peers; peers/bin/pip install jaxmarl==0.2.0 jax==0.10.2

An episode is one compiled program, as its own training scripts have it: `reset`, then a scan over
`step_env`, both mapped over the environments.  All observations and rewards are given back, so that
no work can be optimised away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jaxmarl


def run(workload: dict[str, Any], mark: Callable[[], None]) -> dict[str, float]:
    """Play `warm_env_steps`, then `env_steps`, in groups of E whole episodes; count the latter."""
    E, N = workload["parallel"], workload["config"]["agents"]
    horizon = workload["config"]["task_options"]["horizon"]
    env = jaxmarl.make(
        "MPE_simple_spread_v3", num_agents=N, num_landmarks=N, action_type="Continuous"
    )
    # mpe2's five numbers of an action, of which a random choice is as much work as any other.
    keys = jax.random.split(jax.random.PRNGKey(0), N)
    actions = {
        agent: jax.random.uniform(key, (horizon, E, 5))
        for agent, key in zip(env.agents, keys, strict=True)
    }

    def step(carry: Any, action: Any) -> Any:
        key, state = carry
        key, own = jax.random.split(key)
        observation, state, reward, _, _ = jax.vmap(env.step_env)(
            jax.random.split(own, E), state, action
        )
        return (key, state), (observation, reward)

    def episode(key: Any, actions: Any) -> Any:
        first, later = jax.random.split(key)
        told, state = jax.vmap(env.reset)(jax.random.split(first, E))
        return told, jax.lax.scan(step, (later, state), actions)

    key = jax.random.PRNGKey(1)
    start = time.process_time()
    compiled = jax.jit(episode).lower(key, actions).compile()
    compile_cpu_s = time.process_time() - start

    def play(env_steps: int) -> int:
        steps = 0
        while steps < env_steps:
            jax.block_until_ready(compiled(jax.random.fold_in(key, steps), actions))
            steps += E * horizon
        return steps

    play(workload["warm_env_steps"])
    mark()
    return {"env_steps": play(workload["env_steps"]), "compile_cpu_s": compile_cpu_s}
