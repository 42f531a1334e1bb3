# Training: one job a run.  The rule has no input files, so committed records are never retrained
# because of a file's date; what makes a record stale is in `params`.


rule train:
    output:
        f"{RESULTS}/runs/{{key}}.json",
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
        "hypercoop train --grid {params.grid} --run {wildcards.key} 2> {log}"
