# Training: one job a run, or one a fleet with `--config fleet_size=120 device=cuda`.  The rules have
# no input files, so committed records are never retrained because of a file's date; what makes a
# record stale is in `params`.
FLEET_SIZE = int(config.get("fleet_size", 1))
DEVICE = config.get("device", "cpu")


if FLEET_SIZE == 1:

    rule train:
        output:
            update(f"{RESULTS}/runs/{{key}}.json"),
        log:
            f"{RESULTS}/logs/{{key}}.log",
        wildcard_constraints:
            key=".+/seed[0-9]+",
        group:
            "train"
        threads: 1
        resources:
            mem_mb=lambda wildcards, attempt: 1500 * attempt,
            runtime=60,
        params:
            fingerprint=lambda wildcards: RUNS[wildcards.key].fingerprint,
            grid=GRID_FILE,
        shell:
            f"hypercoop train --grid {{params.grid}} --run {{wildcards.key}} --device {DEVICE}"
            " 2> {log}"

else:

    for number, fleet in enumerate(fleets(RUNS, FLEET_SIZE)):

        rule:
            name:
                f"train_fleet_{number}"
            output:
                update([f"{RESULTS}/runs/{key}.json" for key in fleet]),
            log:
                f"{RESULTS}/logs/fleet-{number}.log",
            threads: 1
            resources:
                mem_mb=lambda wildcards, attempt: 8000 * attempt,
                runtime=120,
                gpu=0 if DEVICE == "cpu" else 1,
            params:
                fingerprints=[RUNS[key].fingerprint for key in fleet],
                runs=" ".join(fleet),
                grid=GRID_FILE,
            shell:
                f"hypercoop train --grid {{params.grid}} --run {{params.runs}} --device {DEVICE}"
                " 2> {log}"
