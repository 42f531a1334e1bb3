# Reports: all of them from records alone.  With `--config partial=true` they are built from the
# records that exist, marked incomplete, and nothing is trained.
RECORDS = [f"{RESULTS}/runs/{key}.json" for key in RUNS]
if config.get("partial"):
    RECORDS = [path for path in RECORDS if Path(path).exists()]


rule tables:
    input:
        RECORDS,
    output:
        f"{RESULTS}/tables/final.csv",
        f"{RESULTS}/tables/table1.csv",
    log:
        f"{RESULTS}/logs/tables.log",
    params:
        grid=str(GRID_FILE),
    shell:
        "hypercoop tables --grid {params.grid} > {log} 2>&1"


rule figures:
    input:
        RECORDS,
    output:
        f"{RESULTS}/figures/figure4.svg",
        f"{RESULTS}/figures/figure4.png",
    log:
        f"{RESULTS}/logs/figures.log",
    params:
        grid=str(GRID_FILE),
    shell:
        "hypercoop figures --grid {params.grid} > {log} 2>&1"


rule leaderboard:
    input:
        RECORDS,
    output:
        f"{RESULTS}/leaderboard/index.html",
    log:
        f"{RESULTS}/logs/leaderboard.log",
    params:
        grid=str(GRID_FILE),
    shell:
        "hypercoop leaderboard --grid {params.grid} > {log} 2>&1"


rule paper:
    input:
        RECORDS,
        rules.tables.output,
        rules.figures.output,
        "paper/paper.typ",
    output:
        f"{RESULTS}/paper.pdf",
    log:
        f"{RESULTS}/logs/paper.log",
    params:
        grid=str(GRID_FILE),
    shell:
        "hypercoop paper --grid {params.grid} > {log} 2>&1"
