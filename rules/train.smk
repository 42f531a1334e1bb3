# Training: one job a run, or one a fleet with `--config fleet_size=120 device=cuda`.  The rules have
# no input files, so committed records are never retrained because of a file's date; what makes a
# record stale is in `params`.  What a run asks for grows with its configuration and each attempt.
FLEET_SIZE = config.get("fleet_size", 1)
if type(FLEET_SIZE) is not int or FLEET_SIZE < 1:
    raise WorkflowError(f"fleet_size={FLEET_SIZE}: choose a whole number, 1 or more")
DEVICE = config.get("device", "cpu")
HOW = f"--device {DEVICE}" + " --compile" * COMPILE
CONFIGS = {key: run.config for key, run in RUNS.items()}


if FLEET_SIZE == 1:

    rule train:
        output:
            update(f"{RESULTS}/runs/{{key}}.json"),
        log:
            f"{RESULTS}/logs/{{key}}.log",
        wildcard_constraints:
            key=".+/seed[0-9]+",
        threads: 1
        resources:
            mem_mb=lambda wildcards, attempt: memory_mb(
                [CONFIGS[wildcards.key]], COMPILE
            )
            * attempt,
            runtime=lambda wildcards, attempt: minutes([CONFIGS[wildcards.key]])
            * attempt,
        params:
            fingerprint=lambda wildcards: RUNS[wildcards.key].fingerprint,
            grid=GRID_FILE,
        shell:
            f"hypercoop train --grid {{params.grid}} --run {{wildcards.key}} {HOW}"
            " 2> {log}"

else:

    for number, fleet in enumerate(fleets(RUNS, FLEET_SIZE)):

        rule:
            name:
                f"train_fleet_{number}"
            output:
                update([f"{RESULTS}/runs/{key}.json" for key in fleet]),
            log:
                [f"{RESULTS}/logs/{key}.log" for key in fleet],
            threads: 1
            resources:
                # On a GPU the estimates, made for a core, are generous.
                mem_mb=lambda wildcards, attempt, fleet=fleet: attempt
                * memory_mb([CONFIGS[key] for key in fleet], COMPILE),
                runtime=lambda wildcards, attempt, fleet=fleet: attempt
                * minutes([CONFIGS[key] for key in fleet]),
                gpu=0 if DEVICE == "cpu" else 1,
            params:
                fingerprints=[RUNS[key].fingerprint for key in fleet],
                runs=" ".join(fleet),
                grid=GRID_FILE,
            shell:
                "{{ hypercoop train --grid {params.grid} --run {params.runs}"
                f" {HOW}"
                " 2>&1 1>&3 | tee {log} > /dev/null; }} 3>&1"
